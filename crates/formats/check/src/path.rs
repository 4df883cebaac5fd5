//! From a leaf to an anchor, by rustls-webpki, with what it does not look at: an anchor's validity, CA bit and path
//! length.

use rustls_pki_types::{CertificateDer, TrustAnchor};
use signet_time::UnixTime;
use signet_x509::Certificate;
use std::time::Duration;
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, VerifiedPath};

/// Builds and verifies a path from `leaf` over `behind` to one of `anchors`, all of which [`may_anchor`].
pub(crate) fn verify<'a>(
    leaf: &CertificateDer<'_>,
    behind: &[CertificateDer<'_>],
    anchors: impl Iterator<Item = &'a Certificate>,
    usage: impl ExtendedKeyUsageValidator,
    now: UnixTime,
) -> Result<(), Error> {
    let read = |certificate: &'a Certificate| {
        let anchor = webpki::anchor_from_trusted_cert(certificate.der()).ok()?;
        Some((anchor, certificate))
    };
    let usable: Vec<(TrustAnchor<'_>, &Certificate)> = anchors.filter_map(read).collect();
    let anchors: Vec<TrustAnchor<'_>> = usable.iter().map(|(anchor, _)| anchor.clone()).collect();
    let fits = |path: &VerifiedPath<'_>| {
        let anchor = usable.iter().find(|(anchor, _)| anchor == path.anchor());
        fits_path_length(anchor.map(|(_, certificate)| *certificate), path)
    };
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            behind,
            rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs())),
            usage,
            None,
            Some(&fits),
        )
        .map(drop)
}

/// Whether it is an authority's: the path builder looks at cA only.
pub(crate) fn may_sign(certificate: &Certificate) -> bool {
    certificate.is_ca() && certificate.key_usage().is_some_and(|usage| usage.key_cert_sign)
}

/// The path builder takes name, key and constraints from an anchor and nothing else; the rest is looked at here.
pub(crate) fn may_anchor(certificate: &Certificate, now: UnixTime) -> bool {
    let now = now.floor_secs();
    let is_valid = certificate.not_before() <= now && now <= certificate.not_after();
    may_sign(certificate) && is_valid && certificate.public_key().is_ok()
}

/// The anchor's path length, which the path builder does not know. Self-issued certificates do not count
/// (RFC 5280 §6.1.4).
fn fits_path_length(anchor: Option<&Certificate>, path: &VerifiedPath<'_>) -> Result<(), Error> {
    let anchor = anchor.ok_or(Error::UnknownIssuer)?;
    let between = path
        .intermediate_certificates()
        .filter(|c| c.subject() != c.issuer())
        .count();
    match anchor.basic_constraints().and_then(|c| c.path_len) {
        Some(max) if between > usize::try_from(max).unwrap_or(usize::MAX) => {
            Err(Error::PathLenConstraintViolated)
        }
        _ => Ok(()),
    }
}
