use crate::der::{self, Reader};
use crate::{CryptoError, KeyKind, ed25519};

/// What an AlgorithmIdentifier can name. RSA alone leaves the kind to the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlgorithmId {
    Ec(KeyKind),
    Ed25519,
    Rsa,
    MlDsa(KeyKind),
}

const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const CURVES: [(KeyKind, &[u8]); 3] = [
    (KeyKind::P256, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
    (KeyKind::P384, &[0x2b, 0x81, 0x04, 0x00, 0x22]),
    (KeyKind::P521, &[0x2b, 0x81, 0x04, 0x00, 0x23]),
];
const ML_DSA: [(KeyKind, &[u8]); 3] = [
    (
        KeyKind::MlDsa44,
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11],
    ),
    (
        KeyKind::MlDsa65,
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12],
    ),
    (
        KeyKind::MlDsa87,
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13],
    ),
];

impl AlgorithmId {
    pub(crate) fn of(kind: KeyKind) -> Self {
        match kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => Self::Ec(kind),
            KeyKind::Ed25519 => Self::Ed25519,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Self::Rsa,
            KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => Self::MlDsa(kind),
        }
    }

    /// Reads the contents of an AlgorithmIdentifier.
    pub(crate) fn parse(contents: &[u8]) -> Result<Self, CryptoError> {
        const BAD: CryptoError = CryptoError::PublicKey {
            what: "wrong algorithm parameters",
        };
        let mut reader = Reader::new(contents);
        let oid = reader.element(der::OID).ok_or(BAD)?;
        let named = |list: &[(KeyKind, &[u8])], oid: &[u8]| {
            list.iter()
                .find(|(_, known)| *known == oid)
                .map(|(kind, _)| *kind)
        };
        let id = if oid == OID_EC {
            let curve = reader.element(der::OID).ok_or(BAD)?;
            Self::Ec(named(&CURVES, curve).ok_or(CryptoError::Kind)?)
        } else if oid == OID_RSA {
            reader
                .element(der::NULL)
                .filter(|null| null.is_empty())
                .ok_or(BAD)?;
            Self::Rsa
        } else if oid == OID_ED25519 {
            Self::Ed25519
        } else {
            Self::MlDsa(named(&ML_DSA, oid).ok_or(CryptoError::Kind)?)
        };
        reader.end().ok_or(BAD)?;
        Ok(id)
    }

    pub(crate) fn der(self) -> Vec<u8> {
        let oid_of = |list: &[(KeyKind, &'static [u8])], kind: KeyKind| {
            let oid = list.iter().find(|(known, _)| *known == kind);
            der::element(der::OID, &[oid.map_or(&[][..], |(_, oid)| oid)])
        };
        let parts = match self {
            Self::Ec(kind) => [der::element(der::OID, &[OID_EC]), oid_of(&CURVES, kind)],
            Self::Rsa => [der::element(der::OID, &[OID_RSA]), der::element(der::NULL, &[])],
            Self::Ed25519 => [der::element(der::OID, &[OID_ED25519]), Vec::new()],
            Self::MlDsa(kind) => [oid_of(&ML_DSA, kind), Vec::new()],
        };
        let [oid, parameters] = &parts;
        der::element(der::SEQUENCE, &[oid, parameters])
    }

    /// The kind of the key whose bits these are, once their form is known to be right.
    pub(crate) fn kind(self, bits: &[u8]) -> Result<KeyKind, CryptoError> {
        let refuse = |what| Err(CryptoError::PublicKey { what });
        match self {
            Self::Ec(kind) => {
                let width = kind.coordinate_bytes().unwrap_or_default();
                if bits.len() != 1 + 2 * width || bits.first() != Some(&4) {
                    return refuse("not an uncompressed point of its curve");
                }
                Ok(kind)
            }
            Self::Ed25519 => match bits.try_into() {
                Ok(point) if ed25519::is_strict_point(point) => Ok(KeyKind::Ed25519),
                Ok(_) => refuse("ed25519 point of small order or not reduced"),
                Err(_) => refuse("an ed25519 key has 32 bytes"),
            },
            Self::Rsa => rsa_kind(bits),
            Self::MlDsa(kind) if kind.ml_dsa_bytes() == Some(bits.len()) => Ok(kind),
            Self::MlDsa(_) => refuse("not the length of its ml-dsa parameter set"),
        }
    }
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 A.1.1).
pub(crate) fn rsa_numbers(bits: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader::new(bits);
    let mut inner = Reader::new(outer.element(der::SEQUENCE)?);
    outer.end()?;
    let numbers = (inner.unsigned()?, inner.unsigned()?);
    inner.end()?;
    Some(numbers)
}

fn rsa_kind(bits: &[u8]) -> Result<KeyKind, CryptoError> {
    let refuse = |what| Err(CryptoError::Rsa { what });
    let Some((n, e)) = rsa_numbers(bits) else {
        return refuse("not a DER RSAPublicKey");
    };
    let odd = |number: &[u8]| number.last().is_some_and(|b| b & 1 == 1);
    // The provider takes exponents up to 33 bits; nothing larger is in use.
    let exponent = e
        .iter()
        .fold(0_u64, |sum, b| sum.saturating_mul(256) | u64::from(*b));
    if exponent < 65_537 || !odd(e) {
        return refuse("the exponent must be odd and at least 65537");
    }
    if !odd(n) {
        return refuse("the modulus is even");
    }
    let leading = n.first().map_or(0, |b| b.leading_zeros() as usize);
    match n.len() * 8 - leading {
        2048 => Ok(KeyKind::Rsa2048),
        3072 => Ok(KeyKind::Rsa3072),
        4096 => Ok(KeyKind::Rsa4096),
        0..2048 => refuse("fewer than 2048 bits"),
        _ => refuse("the size must be 2048, 3072 or 4096 bits"),
    }
}
