use crate::algorithm_id::AlgorithmId;
use crate::der::{self, Reader};
use crate::{CryptoError, KeyKind, PublicKey, Secret, SignatureAlgorithm, SignatureEncoding, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as provider, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair,
    PqdsaSigningAlgorithm, RsaEncoding, RsaKeyPair,
};
use core::fmt;
use std::sync::OnceLock;

/// A private key in this process's memory. The provider clears it when it is dropped.
///
/// Never cloned or printed; share it in an `Arc`. It leaves only through [`LocalKey::to_pkcs8`] and
/// [`LocalKey::ec_scalar`].
pub struct LocalKey {
    public: PublicKey,
    pair: Pair,
}

enum Pair {
    Ec {
        /// Signs with ASN.1 encoding.
        asn1: EcdsaKeyPair,
        /// The same key for fixed encoding, made when first asked for: the provider ties a key pair to one.
        fixed: OnceLock<EcdsaKeyPair>,
    },
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    MlDsa(PqdsaKeyPair),
}

impl LocalKey {
    /// The longest PKCS#8 document that is read; that of an RSA-4096 key has about 2.4 KB.
    pub const PKCS8_BYTES_MAX: usize = 16 * 1024;

    /// Makes a new key.
    ///
    /// # Errors
    /// [`CryptoError::Generate`] where the provider fails.
    pub fn generate(kind: KeyKind) -> Result<Self, CryptoError> {
        let failed = |_| CryptoError::Generate { kind };
        let rsa = |size| RsaKeyPair::generate(size).map(Pair::Rsa).map_err(failed);
        let pair = match kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let algorithm = ecdsa(kind, SignatureEncoding::Asn1).ok_or(CryptoError::Generate { kind })?;
                Pair::ec(EcdsaKeyPair::generate(algorithm).map_err(failed)?)
            }
            KeyKind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048)?,
            KeyKind::Rsa3072 => rsa(KeySize::Rsa3072)?,
            KeyKind::Rsa4096 => rsa(KeySize::Rsa4096)?,
            KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => {
                let algorithm = ml_dsa(kind).ok_or(CryptoError::Generate { kind })?;
                Pair::MlDsa(PqdsaKeyPair::generate(algorithm).map_err(failed)?)
            }
        };
        Self::new(AlgorithmId::of(kind), pair)
    }

    /// Reads an unencrypted DER PKCS#8 document (RFC 5958), all of it.
    ///
    /// # Errors
    /// [`CryptoError::PrivateKey`] where it is malformed, [`CryptoError::Kind`] for other kinds of keys,
    /// [`CryptoError::Rsa`] for weak ones.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        let refuse = |what| CryptoError::PrivateKey { what };
        let refused = |_| refuse("the provider refuses it");
        if der.len() > Self::PKCS8_BYTES_MAX {
            return Err(refuse("longer than 16 KiB"));
        }
        let algorithm =
            AlgorithmId::parse(pkcs8_algorithm(der).ok_or_else(|| refuse("not unencrypted DER PKCS#8"))?)?;
        let pair = match algorithm {
            AlgorithmId::Ec(kind) => {
                let algorithm = ecdsa(kind, SignatureEncoding::Asn1).ok_or(CryptoError::Kind)?;
                Pair::ec(EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(refused)?)
            }
            AlgorithmId::Ed25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(refused)?),
            AlgorithmId::Rsa => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(refused)?),
            AlgorithmId::MlDsa(kind) => {
                let algorithm = ml_dsa(kind).ok_or(CryptoError::Kind)?;
                Pair::MlDsa(PqdsaKeyPair::from_pkcs8(algorithm, der).map_err(refused)?)
            }
        };
        Self::new(algorithm, pair)
    }

    fn new(algorithm: AlgorithmId, pair: Pair) -> Result<Self, CryptoError> {
        let public = PublicKey::from_key_bits(algorithm, pair.key_bits())?;
        Ok(Self { public, pair })
    }

    /// The key as an unencrypted DER PKCS#8 document, version 1, which every client reads.
    ///
    /// # Errors
    /// [`CryptoError::PrivateKey`] where the provider cannot write it.
    pub fn to_pkcs8(&self) -> Result<Secret, CryptoError> {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        let failed = |_| CryptoError::PrivateKey {
            what: "the provider cannot write it",
        };
        let copy = |document: &[u8]| Secret::new(document.to_vec());
        // The provider's documents clear themselves; only the copy leaves.
        match &self.pair {
            Pair::Ec { asn1, .. } => asn1.to_pkcs8v1().map(|d| copy(d.as_ref())).map_err(failed),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|d| copy(d.as_ref())).map_err(failed),
            Pair::MlDsa(pair) => pair.to_pkcs8v1().map(|d| copy(d.as_ref())).map_err(failed),
            Pair::Rsa(pair) => {
                let document: Pkcs8V1Der<'static> = pair.as_der().map_err(failed)?;
                Ok(copy(document.as_ref()))
            }
        }
    }

    /// The secret number of an elliptic curve key, big-endian and as long as the curve's field (RFC 7518 §6.2.2.1);
    /// `None` for other keys.
    ///
    /// # Errors
    /// [`CryptoError::PrivateKey`] where the provider cannot write it.
    pub fn ec_scalar(&self) -> Result<Option<Secret>, CryptoError> {
        use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
        let Pair::Ec { asn1, .. } = &self.pair else {
            return Ok(None);
        };
        let number: EcPrivateKeyBin<'static> =
            asn1.private_key()
                .as_be_bytes()
                .map_err(|_| CryptoError::PrivateKey {
                    what: "the provider cannot write it",
                })?;
        Ok(Some(Secret::new(number.as_ref().to_vec())))
    }

    /// The key whose secret number is `scalar` and whose public half is `public`.
    ///
    /// # Errors
    /// [`CryptoError::PrivateKey`] where the two do not belong together, [`CryptoError::Kind`] where `public` is not on
    /// an elliptic curve.
    pub fn from_ec_scalar(scalar: &[u8], public: &PublicKey) -> Result<Self, CryptoError> {
        let refuse = |what| CryptoError::PrivateKey { what };
        let kind = public.kind();
        let algorithm = ecdsa(kind, SignatureEncoding::Asn1).ok_or(CryptoError::Kind)?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, public.key_bits())
            .map_err(|_| refuse("the provider refuses it"))?;
        let key = Self::new(AlgorithmId::Ec(kind), Pair::ec(pair))?;
        // The provider looks too; a key that signs for another one must not depend on that.
        if key.public == *public {
            Ok(key)
        } else {
            Err(refuse("it belongs to another public key"))
        }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`; it is hashed here.
    ///
    /// # Errors
    /// [`CryptoError::Mismatch`] where the key's kind does not support `algorithm`, [`CryptoError::Sign`] where the
    /// provider fails.
    pub fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        encoding: SignatureEncoding,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let kind = self.public.kind();
        let mismatch = CryptoError::Mismatch { kind, algorithm };
        if !kind.supports(algorithm) {
            return Err(mismatch);
        }
        let failed = |_| CryptoError::Sign {
            what: "the provider failed".to_owned(),
        };
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec { asn1, fixed } => {
                let pair = match encoding {
                    SignatureEncoding::Asn1 => asn1,
                    SignatureEncoding::Fixed => match fixed.get() {
                        Some(pair) => pair,
                        None => {
                            let made = self.fixed_pair()?;
                            fixed.get_or_init(|| made)
                        }
                    },
                };
                Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding = rsa(algorithm).ok_or(mismatch)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let len = pair.sign(message, &mut signature).map_err(failed)?;
                signature.truncate(len);
                Ok(signature)
            }
        }
    }

    fn fixed_pair(&self) -> Result<EcdsaKeyPair, CryptoError> {
        let failed = || CryptoError::Sign {
            what: "the provider cannot sign with fixed encoding".to_owned(),
        };
        let algorithm = ecdsa(self.public.kind(), SignatureEncoding::Fixed).ok_or_else(failed)?;
        EcdsaKeyPair::from_pkcs8(algorithm, self.to_pkcs8()?.expose()).map_err(|_| failed())
    }
}

impl Pair {
    fn ec(asn1: EcdsaKeyPair) -> Self {
        let fixed = OnceLock::new();
        Self::Ec { asn1, fixed }
    }

    fn key_bits(&self) -> &[u8] {
        match self {
            Self::Ec { asn1, .. } => asn1.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::MlDsa(pair) => pair.public_key().as_ref(),
        }
    }
}

/// The contents of the AlgorithmIdentifier of a PKCS#8 document whose outer form is right.
fn pkcs8_algorithm(der: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader::new(der);
    let mut info = Reader::new(outer.element(der::SEQUENCE)?);
    outer.end()?;
    let version = info.unsigned()?;
    let algorithm = info.element(der::SEQUENCE)?;
    info.element(der::OCTET_STRING)?;
    matches!(version, [0 | 1]).then_some(algorithm)
}

fn ecdsa(kind: KeyKind, encoding: SignatureEncoding) -> Option<&'static EcdsaSigningAlgorithm> {
    use SignatureEncoding::{Asn1, Fixed};
    Some(match (kind, encoding) {
        (KeyKind::P256, Asn1) => &provider::ECDSA_P256_SHA256_ASN1_SIGNING,
        (KeyKind::P256, Fixed) => &provider::ECDSA_P256_SHA256_FIXED_SIGNING,
        (KeyKind::P384, Asn1) => &provider::ECDSA_P384_SHA384_ASN1_SIGNING,
        (KeyKind::P384, Fixed) => &provider::ECDSA_P384_SHA384_FIXED_SIGNING,
        (KeyKind::P521, Asn1) => &provider::ECDSA_P521_SHA512_ASN1_SIGNING,
        (KeyKind::P521, Fixed) => &provider::ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => return None,
    })
}

fn ml_dsa(kind: KeyKind) -> Option<&'static PqdsaSigningAlgorithm> {
    match kind {
        KeyKind::MlDsa44 => Some(&provider::ML_DSA_44_SIGNING),
        KeyKind::MlDsa65 => Some(&provider::ML_DSA_65_SIGNING),
        KeyKind::MlDsa87 => Some(&provider::ML_DSA_87_SIGNING),
        _ => None,
    }
}

fn rsa(algorithm: SignatureAlgorithm) -> Option<&'static dyn RsaEncoding> {
    use SignatureAlgorithm as A;
    Some(match algorithm {
        A::RsaPkcs1Sha256 => &provider::RSA_PKCS1_SHA256,
        A::RsaPkcs1Sha384 => &provider::RSA_PKCS1_SHA384,
        A::RsaPkcs1Sha512 => &provider::RSA_PKCS1_SHA512,
        A::RsaPssSha256 => &provider::RSA_PSS_SHA256,
        A::RsaPssSha384 => &provider::RSA_PSS_SHA384,
        A::RsaPssSha512 => &provider::RSA_PSS_SHA512,
        _ => return None,
    })
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LocalKey({}, {})",
            self.public.kind().as_str(),
            digest::hex(&self.public.key_id())
        )
    }
}
