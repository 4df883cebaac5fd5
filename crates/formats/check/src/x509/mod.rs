//! X.509-SVIDs: the path by rustls-webpki, the SPIFFE profile by us (X509-SVID §5).
//!
//! The leaf's trust domain picks the bundle before any path is built, and nothing outside that bundle is an anchor.
//! Above what the path builder checks: exactly one URI name that is a SPIFFE ID with path; keyUsage of leaf and
//! intermediates; strength and kind of every key; the anchors' own validity, CA bit and path length; tainted keys neither anchor nor stand between.

mod error;
mod path;

pub(crate) use error::REGISTER;
pub use error::X509SvidError;

use rustls_pki_types::CertificateDer;
use signet_crypto::LocalKey;
use signet_id::SpiffeId;
use signet_time::UnixTime;
use signet_trust::TrustView;
use signet_x509::{Certificate, Der};

/// The longest chain that is looked at, leaf included.
pub const CHAIN_MAX: usize = 8;

/// An identity that a chain proves, as far as certificates can: whoever shows it must still prove to have the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedX509Svid {
    /// The identity.
    pub id: SpiffeId,
    /// The end of the leaf.
    pub not_after: UnixTime,
    /// The leaf.
    pub leaf: Der,
}

/// Verifies `chain`, leaf first, at the time `now` against the bundle in `view` of the leaf's own trust domain.
///
/// # Errors
/// The first rule that the chain breaks, as a variant of [`X509SvidError`].
pub fn verify_svid(
    chain: &[CertificateDer<'_>],
    view: &TrustView,
    now: UnixTime,
) -> Result<VerifiedX509Svid, X509SvidError> {
    let (leaf, behind) = chain.split_first().ok_or(X509SvidError::NoCertificates)?;
    verify_svid_parts(leaf, behind, view, now)
}

/// As [`verify_svid`], with the leaf apart from what came behind it: the form in which TLS hands a chain over.
///
/// # Errors
/// As [`verify_svid`].
pub fn verify_svid_parts(
    leaf: &CertificateDer<'_>,
    behind: &[CertificateDer<'_>],
    view: &TrustView,
    now: UnixTime,
) -> Result<VerifiedX509Svid, X509SvidError> {
    let count = behind.len() + 1;
    if count > CHAIN_MAX {
        return Err(X509SvidError::LongChain {
            count,
            max: CHAIN_MAX,
        });
    }
    let parsed = parse(0, leaf)?;
    let id = check_leaf(&parsed)?;
    check_key(0, &parsed)?;
    let trust_domain = id.trust_domain();
    let bundle = view.bundle(trust_domain).ok_or_else(|| X509SvidError::NoBundle {
        trust_domain: trust_domain.clone(),
    })?;
    path::verify(leaf, behind, bundle, now)?;
    Ok(VerifiedX509Svid {
        not_after: parsed.not_after(),
        leaf: parsed.der().clone(),
        id,
    })
}

/// Whether `key` is the private key of the certificate `leaf`.
///
/// # Errors
/// [`X509SvidError::PrivateKey`] if it is not, [`X509SvidError::Malformed`] if the certificate cannot be read.
pub fn match_private_key(leaf: &[u8], key: &LocalKey) -> Result<(), X509SvidError> {
    let public_key = parse(0, leaf)?
        .public_key()
        .map_err(|source| X509SvidError::Malformed { index: 0, source })?;
    if public_key == *key.public_key() {
        Ok(())
    } else {
        Err(X509SvidError::PrivateKey)
    }
}

/// What may be read from certificates without verifying them. Each name says what the caller vouches for.
pub mod danger {
    use super::{VerifiedX509Svid, X509SvidError, check_leaf, parse};

    /// The identity in `leaf`, which the caller has just verified by other means: TLS keeps the certificate that
    /// its verifier accepted, but not what the verifier found.
    ///
    /// # Errors
    /// As [`super::verify_svid`] as far as the leaf goes.
    pub fn svid_of_verified_leaf(leaf: &[u8]) -> Result<VerifiedX509Svid, X509SvidError> {
        let parsed = parse(0, leaf)?;
        let id = check_leaf(&parsed)?;
        Ok(VerifiedX509Svid {
            not_after: parsed.not_after(),
            leaf: parsed.der().clone(),
            id,
        })
    }
}

fn parse(index: usize, der: &[u8]) -> Result<Certificate, X509SvidError> {
    Certificate::parse(der).map_err(|source| X509SvidError::Malformed { index, source })
}

/// The path builder takes RSA keys of any exponent and more sizes than we do, and never looks at a leaf's own key.
fn check_key(index: usize, certificate: &Certificate) -> Result<(), X509SvidError> {
    match certificate.public_key() {
        Ok(_) => Ok(()),
        Err(source) => Err(X509SvidError::Key { index, source }),
    }
}

/// The SPIFFE profile of a leaf (X509-SVID §5.2). Says nothing about who signed it.
fn check_leaf(leaf: &Certificate) -> Result<SpiffeId, X509SvidError> {
    let id = match leaf.uri_names() {
        [] => return Err(X509SvidError::NoUriName),
        [id] => SpiffeId::parse(id).map_err(X509SvidError::NotSpiffeId)?,
        many => return Err(X509SvidError::ManyUriNames { count: many.len() }),
    };
    if !id.has_path() {
        return Err(X509SvidError::RootPath {
            trust_domain: id.trust_domain().clone(),
        });
    }
    if leaf.is_ca() {
        return Err(X509SvidError::LeafIsCa);
    }
    let usage = leaf.key_usage().ok_or(X509SvidError::NoDigitalSignature)?;
    if usage.key_cert_sign {
        return Err(X509SvidError::LeafSignsCertificates);
    }
    if usage.crl_sign {
        return Err(X509SvidError::LeafSignsLists);
    }
    if !usage.digital_signature {
        return Err(X509SvidError::NoDigitalSignature);
    }
    Ok(id)
}
