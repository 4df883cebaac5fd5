//! Our algorithms in rcgen's words.

use rcgen::PublicKeyData;
use signet_crypto::{KeyKind, PublicKey, SignatureAlgorithm};

/// What rcgen calls `algorithm`; `None` where it has no form for it (RSA-PSS).
pub(crate) fn signature(algorithm: SignatureAlgorithm) -> Option<&'static rcgen::SignatureAlgorithm> {
    Some(match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        SignatureAlgorithm::EcdsaP521Sha512 => &rcgen::PKCS_ECDSA_P521_SHA512,
        SignatureAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
        SignatureAlgorithm::RsaPkcs1Sha256 => &rcgen::PKCS_RSA_SHA256,
        SignatureAlgorithm::RsaPkcs1Sha384 => &rcgen::PKCS_RSA_SHA384,
        SignatureAlgorithm::RsaPkcs1Sha512 => &rcgen::PKCS_RSA_SHA512,
        SignatureAlgorithm::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
        SignatureAlgorithm::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
        SignatureAlgorithm::MlDsa87 => &rcgen::PKCS_ML_DSA_87,
        _ => return None,
    })
}

/// A public key as rcgen wants it: it writes the SubjectPublicKeyInfo from the kind and the bare bits.
pub(crate) struct SubjectKey<'a> {
    bits: &'a [u8],
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl<'a> SubjectKey<'a> {
    pub(crate) fn new(key: &'a PublicKey) -> Option<Self> {
        let algorithm = match key.kind() {
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
            kind => signature(kind.default_algorithm())?,
        };
        Some(Self {
            bits: key.key_bits(),
            algorithm,
        })
    }
}

impl PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

/// The algorithms that a certificate or certificate request may be signed with, by the DER of their OID.
const BY_OID: &[(&[u8], SignatureAlgorithm)] = &[
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        SignatureAlgorithm::EcdsaP256Sha256,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
        SignatureAlgorithm::EcdsaP384Sha384,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        SignatureAlgorithm::EcdsaP521Sha512,
    ),
    (&[0x2b, 0x65, 0x70], SignatureAlgorithm::Ed25519),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        SignatureAlgorithm::RsaPkcs1Sha256,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        SignatureAlgorithm::RsaPkcs1Sha384,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        SignatureAlgorithm::RsaPkcs1Sha512,
    ),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11],
        SignatureAlgorithm::MlDsa44,
    ),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12],
        SignatureAlgorithm::MlDsa65,
    ),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13],
        SignatureAlgorithm::MlDsa87,
    ),
];

const NULL: &[u8] = &[0x05, 0x00];

/// The algorithm that an AlgorithmIdentifier's contents name.
pub(crate) fn from_identifier(content: &[u8]) -> Option<SignatureAlgorithm> {
    let (algorithm, parameters) = split(content)?;
    // RFC 4055 §5 wants NULL with RSA and accepts its absence; the others never have parameters.
    (parameters.is_empty() || is_rsa(algorithm) && parameters == NULL).then_some(algorithm)
}

/// Whether these are the contents of `algorithm`'s AlgorithmIdentifier in the one form that we write.
pub(crate) fn is_identifier(content: &[u8], algorithm: SignatureAlgorithm) -> bool {
    let wanted: &[u8] = if is_rsa(algorithm) { NULL } else { &[] };
    split(content) == Some((algorithm, wanted))
}

/// The algorithm that is named, and its parameters.
fn split(content: &[u8]) -> Option<(SignatureAlgorithm, &[u8])> {
    use crate::der::{OID, Reader};
    let oid = Reader::new(content).expect(OID).ok()?;
    let parameters = content.get(oid.raw.len()..)?;
    let &(_, algorithm) = BY_OID.iter().find(|(known, _)| *known == oid.content)?;
    Some((algorithm, parameters))
}

fn is_rsa(algorithm: SignatureAlgorithm) -> bool {
    use SignatureAlgorithm as A;
    matches!(
        algorithm,
        A::RsaPkcs1Sha256 | A::RsaPkcs1Sha384 | A::RsaPkcs1Sha512
    )
}
