use crate::algorithm_id::{AlgorithmId, rsa_numbers};
use crate::der::{self, Reader};
use crate::{CryptoError, KeyKind, SignatureAlgorithm, SignatureEncoding, digest, ed25519};
use aws_lc_rs::signature::{self as provider, ParsedPublicKey, VerificationAlgorithm};
use core::fmt;
use core::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// A public key: parsed once, cheap to clone, equal where the SubjectPublicKeyInfo is equal.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kind: KeyKind,
    spki: Box<[u8]>,
    /// Where the contents of the BIT STRING begin in `spki`; they reach to its end.
    bits_at: usize,
    /// The provider's parsed key for each way of verifying: it ties a key to one. Filled when first used.
    parsed: Box<[OnceLock<ParsedPublicKey>]>,
}

/// The numbers a public key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Components<'a> {
    /// A point on a NIST curve; both coordinates have the full width of the curve.
    Ec {
        /// The x coordinate.
        x: &'a [u8],
        /// The y coordinate.
        y: &'a [u8],
    },
    /// The 32 bytes of an Ed25519 public key.
    Ed25519(&'a [u8]),
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        /// The modulus.
        n: &'a [u8],
        /// The public exponent.
        e: &'a [u8],
    },
    /// The bytes of an ML-DSA public key.
    MlDsa(&'a [u8]),
}

impl PublicKey {
    /// The longest SubjectPublicKeyInfo that is read; an ML-DSA-87 key has 2614 bytes.
    pub const SPKI_BYTES_MAX: usize = 4096;

    /// Reads a DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), all of it.
    ///
    /// # Errors
    /// [`CryptoError::PublicKey`], [`CryptoError::Rsa`] or [`CryptoError::Kind`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, CryptoError> {
        const BAD: CryptoError = CryptoError::PublicKey {
            what: "not a DER SubjectPublicKeyInfo",
        };
        if der.len() > Self::SPKI_BYTES_MAX {
            return Err(CryptoError::PublicKey {
                what: "longer than 4096 bytes",
            });
        }
        let mut outer = Reader::new(der);
        let mut info = Reader::new(outer.element(der::SEQUENCE).ok_or(BAD)?);
        outer.end().ok_or(BAD)?;
        let algorithm = info.element(der::SEQUENCE).ok_or(BAD)?;
        let bits = info.element(der::BIT_STRING).ok_or(BAD)?;
        info.end().ok_or(BAD)?;
        // The first byte counts the unused bits of the last; a key has none.
        let Some((0, bits)) = bits.split_first() else {
            return Err(BAD);
        };
        Self::from_key_bits(AlgorithmId::parse(algorithm)?, bits)
    }

    /// The key with this point of P-256, P-384 or P-521; the coordinates have the curve's full width.
    ///
    /// # Errors
    /// [`CryptoError::PublicKey`] for other widths, kinds that are no such curve, and points not on it.
    pub fn from_ec_point(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, CryptoError> {
        let width = kind.coordinate_bytes().ok_or(CryptoError::Kind)?;
        if x.len() != width || y.len() != width {
            return Err(CryptoError::PublicKey {
                what: "coordinates do not have the width of the curve",
            });
        }
        Self::from_key_bits(AlgorithmId::of(kind), &[&[4], x, y].concat())
    }

    /// The Ed25519 key with these 32 bytes.
    ///
    /// # Errors
    /// [`CryptoError::PublicKey`] for another length and for points that strict verification refuses.
    pub fn from_ed25519(key: &[u8]) -> Result<Self, CryptoError> {
        Self::from_key_bits(AlgorithmId::Ed25519, key)
    }

    /// The RSA key with this modulus and exponent, big-endian; leading zeros are ignored.
    ///
    /// # Errors
    /// [`CryptoError::Rsa`] for weak keys and unsupported sizes.
    pub fn from_rsa_components(n: &[u8], e: &[u8]) -> Result<Self, CryptoError> {
        if n.len() > Self::SPKI_BYTES_MAX || e.len() > Self::SPKI_BYTES_MAX {
            return Err(CryptoError::Rsa { what: "too long" });
        }
        let bits = der::element(der::SEQUENCE, &[&der::unsigned(n), &der::unsigned(e)]);
        Self::from_key_bits(AlgorithmId::Rsa, &bits)
    }

    /// The ML-DSA key with these bytes (FIPS 204 `pkEncode`).
    ///
    /// # Errors
    /// [`CryptoError::Kind`] for kinds that are not ML-DSA, [`CryptoError::PublicKey`] for another length.
    pub fn from_mldsa(kind: KeyKind, key: &[u8]) -> Result<Self, CryptoError> {
        kind.ml_dsa_bytes().ok_or(CryptoError::Kind)?;
        Self::from_key_bits(AlgorithmId::of(kind), key)
    }

    pub(crate) fn from_key_bits(algorithm: AlgorithmId, bits: &[u8]) -> Result<Self, CryptoError> {
        let kind = algorithm.kind(bits)?;
        let info = algorithm.der();
        let bit_string = der::element(der::BIT_STRING, &[&[0], bits]);
        let spki = der::element(der::SEQUENCE, &[&info, &bit_string]).into_boxed_slice();
        let bits_at = spki.len() - bits.len();
        let parsed = core::iter::repeat_with(OnceLock::new).take(ways(kind)).collect();
        let key = Self(Arc::new(Inner {
            kind,
            spki,
            bits_at,
            parsed,
        }));
        // The provider's own checks (point on curve, odd modulus) come now and not at the first signature.
        key.parsed(kind.default_algorithm(), SignatureEncoding::Asn1)?;
        Ok(key)
    }

    /// The key's kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// The DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki
    }

    /// The contents of the subjectPublicKey BIT STRING.
    #[must_use]
    pub fn key_bits(&self) -> &[u8] {
        self.0.spki.get(self.0.bits_at..).unwrap_or_default()
    }

    /// The key identifier for certificates: the first 20 bytes of SHA-256 over [`PublicKey::key_bits`] (RFC 7093 §2).
    #[must_use]
    pub fn key_id(&self) -> [u8; 20] {
        let mut id = [0; 20];
        for (to, from) in id.iter_mut().zip(digest::sha256(self.key_bits())) {
            *to = from;
        }
        id
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        digest::sha256(&self.0.spki)
    }

    /// The numbers the key is made of.
    #[must_use]
    pub fn components(&self) -> Components<'_> {
        let bits = self.key_bits();
        match self.0.kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let point = bits.get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                Components::Ec { x, y }
            }
            KeyKind::Ed25519 => Components::Ed25519(bits),
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                let (n, e) = rsa_numbers(bits).unwrap_or_default();
                Components::Rsa { n, e }
            }
            KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => Components::MlDsa(bits),
        }
    }

    /// Checks `signature` over `message`.
    ///
    /// # Errors
    /// [`CryptoError::Mismatch`] where the key's kind does not support `algorithm`, [`CryptoError::Signature`] for
    /// everything else.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        encoding: SignatureEncoding,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let kind = self.0.kind;
        if !kind.supports(algorithm) {
            return Err(CryptoError::Mismatch { kind, algorithm });
        }
        if kind == KeyKind::Ed25519 {
            let (r, _) = signature.split_first_chunk().ok_or(CryptoError::Signature)?;
            if !ed25519::is_strict_point(r) {
                return Err(CryptoError::Signature);
            }
        }
        self.parsed(algorithm, encoding)?
            .verify_sig(message, signature)
            .map_err(|_| CryptoError::Signature)
    }

    fn parsed(
        &self,
        algorithm: SignatureAlgorithm,
        encoding: SignatureEncoding,
    ) -> Result<&ParsedPublicKey, CryptoError> {
        const BAD: CryptoError = CryptoError::PublicKey {
            what: "the provider refuses it",
        };
        let (way, algorithm) = way(algorithm, encoding);
        let slot = self.0.parsed.get(way).ok_or(BAD)?;
        if let Some(parsed) = slot.get() {
            return Ok(parsed);
        }
        let parsed = ParsedPublicKey::new(algorithm, self.key_bits()).map_err(|_| BAD)?;
        Ok(slot.get_or_init(|| parsed))
    }
}

/// How many ways there are to verify with a key of this kind.
const fn ways(kind: KeyKind) -> usize {
    match kind {
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => 2,
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => 6,
        _ => 1,
    }
}

/// The provider's name for a way of verifying, and its place among the ways of its kind of key.
fn way(
    algorithm: SignatureAlgorithm,
    encoding: SignatureEncoding,
) -> (usize, &'static dyn VerificationAlgorithm) {
    use SignatureAlgorithm as A;
    use SignatureEncoding::{Asn1, Fixed};
    match (algorithm, encoding) {
        (A::EcdsaP256Sha256, Asn1) => (0, &provider::ECDSA_P256_SHA256_ASN1),
        (A::EcdsaP256Sha256, Fixed) => (1, &provider::ECDSA_P256_SHA256_FIXED),
        (A::EcdsaP384Sha384, Asn1) => (0, &provider::ECDSA_P384_SHA384_ASN1),
        (A::EcdsaP384Sha384, Fixed) => (1, &provider::ECDSA_P384_SHA384_FIXED),
        (A::EcdsaP521Sha512, Asn1) => (0, &provider::ECDSA_P521_SHA512_ASN1),
        (A::EcdsaP521Sha512, Fixed) => (1, &provider::ECDSA_P521_SHA512_FIXED),
        (A::Ed25519, _) => (0, &provider::ED25519),
        (A::RsaPkcs1Sha256, _) => (0, &provider::RSA_PKCS1_2048_8192_SHA256),
        (A::RsaPkcs1Sha384, _) => (1, &provider::RSA_PKCS1_2048_8192_SHA384),
        (A::RsaPkcs1Sha512, _) => (2, &provider::RSA_PKCS1_2048_8192_SHA512),
        (A::RsaPssSha256, _) => (3, &provider::RSA_PSS_2048_8192_SHA256),
        (A::RsaPssSha384, _) => (4, &provider::RSA_PSS_2048_8192_SHA384),
        (A::RsaPssSha512, _) => (5, &provider::RSA_PSS_2048_8192_SHA512),
        (A::MlDsa44, _) => (0, &provider::ML_DSA_44),
        (A::MlDsa65, _) => (0, &provider::ML_DSA_65),
        (A::MlDsa87, _) => (0, &provider::ML_DSA_87),
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.spki.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PublicKey({}, {})",
            self.0.kind.as_str(),
            digest::hex(&self.key_id())
        )
    }
}
