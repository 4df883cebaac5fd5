//! From a leaf to an anchor of one bundle.

use super::{X509SvidError, check_key, parse};
use crate::path;
use rustls_pki_types::CertificateDer;
use signet_time::UnixTime;
use signet_trust::Bundle;
use signet_x509::Certificate;
use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
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
    let mut usable = authorities
        .iter()
        .filter(|authority| !is_tainted(authority.certificate.spki_der(), &authorities))
        .map(|authority| &authority.certificate)
        .filter(|certificate| path::may_anchor(certificate, now))
        .peekable();
    if usable.peek().is_none() {
        return Err(X509SvidError::EmptyBundle {
            trust_domain: bundle.trust_domain().clone(),
        });
    }
    path::verify(leaf, behind, usable, ForTls, now).map_err(|error| refusal(error, bundle))
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
        if !path::may_sign(&certificate) {
            return Err(X509SvidError::NotAnAuthority { index });
        }
        if is_tainted(certificate.spki_der(), authorities) {
            return Err(X509SvidError::TaintedAuthority { index });
        }
        check_key(index, &certificate)?;
    }
    Ok(())
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
