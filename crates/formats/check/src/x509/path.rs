//! From a leaf to an anchor of one bundle.

use super::{X509SvidError, check_key, parse};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use signet_time::UnixTime;
use signet_trust::Bundle;
use signet_x509::Certificate;
use std::time::Duration;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath,
};

/// Builds and verifies a path from `leaf` over `behind` to an authority of `bundle`.
pub(super) fn verify(
    leaf: &CertificateDer<'_>,
    behind: &[CertificateDer<'_>],
    bundle: &Bundle,
    now: UnixTime,
) -> Result<(), X509SvidError> {
    let authorities = parse_authorities(bundle);
    check_behind(behind, &authorities)?;
    let usable: Vec<(TrustAnchor<'_>, &Certificate)> = authorities
        .iter()
        .filter(|authority| !is_tainted(authority.certificate.spki_der(), &authorities))
        .filter(|authority| may_anchor(&authority.certificate, now))
        .filter_map(|authority| {
            let certificate = &authority.certificate;
            webpki::anchor_from_trusted_cert(certificate.der())
                .ok()
                .map(|anchor| (anchor, certificate))
        })
        .collect();
    if usable.is_empty() {
        return Err(X509SvidError::EmptyBundle {
            trust_domain: bundle.trust_domain().clone(),
        });
    }
    let anchors: Vec<TrustAnchor<'_>> = usable.iter().map(|(anchor, _)| anchor.clone()).collect();
    let fits = |path: &VerifiedPath<'_>| {
        let anchor = usable.iter().find(|(anchor, _)| anchor == path.anchor());
        fits_path_length(anchor.map(|(_, certificate)| *certificate), path)
    };
    let refused = |error| refusal(error, bundle);
    EndEntityCert::try_from(leaf)
        .map_err(refused)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            behind,
            rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs())),
            ForTls,
            None,
            Some(&fits),
        )
        .map_err(refused)?;
    Ok(())
}

struct Authority {
    certificate: Certificate,
    tainted: bool,
}

/// What cannot be read anchors nothing.
fn parse_authorities(bundle: &Bundle) -> Vec<Authority> {
    let read = |authority: &signet_trust::X509Authority| {
        let certificate = Certificate::parse(&authority.certificate).ok()?;
        Some(Authority {
            certificate,
            tainted: authority.tainted,
        })
    };
    bundle.x509().iter().filter_map(read).collect()
}

/// Taint is a matter of the key, in whatever certificate it comes.
fn is_tainted(spki: &[u8], authorities: &[Authority]) -> bool {
    authorities
        .iter()
        .any(|a| a.tainted && a.certificate.spki_der() == spki)
}

/// Every certificate behind the leaf must be an authority's, used or not: the path builder looks at cA only, and a
/// leaf that signs is the oldest trick. A tainted authority's stands in the way even where somebody cross-signed it.
fn check_behind(behind: &[CertificateDer<'_>], authorities: &[Authority]) -> Result<(), X509SvidError> {
    for (index, der) in (1..).zip(behind) {
        let certificate = parse(index, der)?;
        if !may_sign(&certificate) {
            return Err(X509SvidError::NotAnAuthority { index });
        }
        if is_tainted(certificate.spki_der(), authorities) {
            return Err(X509SvidError::TaintedAuthority { index });
        }
        check_key(index, &certificate)?;
    }
    Ok(())
}

fn may_sign(certificate: &Certificate) -> bool {
    certificate.is_ca() && certificate.key_usage().is_some_and(|usage| usage.key_cert_sign)
}

/// The path builder takes name, key and constraints from an anchor and nothing else; the rest is looked at here.
fn may_anchor(certificate: &Certificate, now: UnixTime) -> bool {
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

/// Extended key usage, where a certificate has any, must allow one of the two ends of TLS: an SVID serves for both,
/// so the end at which it is shown does not matter (X509-SVID §4.4).
struct ForTls;

impl ExtendedKeyUsageValidator for ForTls {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut any, mut for_tls) = (false, false);
        for usage in usages {
            any = true;
            for_tls |= FOR_TLS.contains(&usage?);
        }
        if any && !for_tls {
            return Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
                required: KeyUsage::server_auth(),
                present: Vec::new(),
            }));
        }
        Ok(())
    }
}

/// serverAuth, clientAuth, anyExtendedKeyUsage.
const FOR_TLS: [KeyPurposeId<'static>; 3] = [
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]),
];

fn refusal(error: Error, bundle: &Bundle) -> X509SvidError {
    let time = |time: rustls_pki_types::UnixTime| UnixTime::from_secs(time.as_secs());
    match error {
        Error::CertExpired { not_after, .. } => X509SvidError::Expired {
            not_after: time(not_after),
        },
        Error::CertNotValidYet { not_before, .. } => X509SvidError::NotYetValid {
            not_before: time(not_before),
        },
        Error::UnknownIssuer => X509SvidError::UnknownAuthority {
            trust_domain: bundle.trust_domain().clone(),
        },
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => X509SvidError::Signature,
        Error::UnsupportedCriticalExtension => X509SvidError::CriticalExtension,
        Error::NameConstraintViolation | Error::MalformedNameConstraint => X509SvidError::NameConstraint,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => X509SvidError::ExtendedKeyUsage,
        Error::PathLenConstraintViolated => X509SvidError::PathLength,
        Error::CaUsedAsEndEntity => X509SvidError::LeafIsCa,
        other => X509SvidError::Path {
            why: format!("{other:?}"),
        },
    }
}
