/// What kind of key it is. The kind fixes the algorithms that the key may be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the standards")]
pub enum KeyKind {
    P256,
    P384,
    P521,
    Ed25519,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

/// How a message is signed: one value stands for padding, hash and curve together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the standards")]
pub enum SignatureAlgorithm {
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    EcdsaP521Sha512,
    Ed25519,
    RsaPkcs1Sha256,
    RsaPkcs1Sha384,
    RsaPkcs1Sha512,
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

/// How an ECDSA signature is written. Other algorithms have one form only and ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureEncoding {
    /// A DER sequence of two integers: X.509, CSRs, CRLs (RFC 5480).
    Asn1,
    /// r and s side by side, each as wide as the curve's order: JOSE (RFC 7518 §3.4).
    Fixed,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// The name in settings and records: `p256`, `ed25519`, `rsa2048`, `ml-dsa-65`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::MlDsa44 => "ml-dsa-44",
            Self::MlDsa65 => "ml-dsa-65",
            Self::MlDsa87 => "ml-dsa-87",
        }
    }

    /// Reads what [`KeyKind::as_str`] writes; `None` for anything else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether a key of this kind signs and verifies with `algorithm`.
    #[must_use]
    pub const fn supports(self, algorithm: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm as A;
        match self {
            Self::P256 => matches!(algorithm, A::EcdsaP256Sha256),
            Self::P384 => matches!(algorithm, A::EcdsaP384Sha384),
            Self::P521 => matches!(algorithm, A::EcdsaP521Sha512),
            Self::Ed25519 => matches!(algorithm, A::Ed25519),
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => matches!(
                algorithm,
                A::RsaPkcs1Sha256
                    | A::RsaPkcs1Sha384
                    | A::RsaPkcs1Sha512
                    | A::RsaPssSha256
                    | A::RsaPssSha384
                    | A::RsaPssSha512
            ),
            Self::MlDsa44 => matches!(algorithm, A::MlDsa44),
            Self::MlDsa65 => matches!(algorithm, A::MlDsa65),
            Self::MlDsa87 => matches!(algorithm, A::MlDsa87),
        }
    }

    /// The algorithm to use where nobody asked for one. For RSA that is PKCS#1 with SHA-256, which every verifier knows.
    #[must_use]
    pub const fn default_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::P256 => SignatureAlgorithm::EcdsaP256Sha256,
            Self::P384 => SignatureAlgorithm::EcdsaP384Sha384,
            Self::P521 => SignatureAlgorithm::EcdsaP521Sha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => SignatureAlgorithm::RsaPkcs1Sha256,
            Self::MlDsa44 => SignatureAlgorithm::MlDsa44,
            Self::MlDsa65 => SignatureAlgorithm::MlDsa65,
            Self::MlDsa87 => SignatureAlgorithm::MlDsa87,
        }
    }

    /// Whether [`crate::LocalKey`] can hold and use such a key. The provider does so for every kind listed.
    #[must_use]
    pub const fn can_sign(self) -> bool {
        true
    }

    /// Bytes of one coordinate of a point, for the kinds that are points on a NIST curve.
    #[must_use]
    pub const fn coordinate_bytes(self) -> Option<usize> {
        match self {
            Self::P256 => Some(32),
            Self::P384 => Some(48),
            Self::P521 => Some(66),
            _ => None,
        }
    }

    /// Bytes of a raw ML-DSA public key (FIPS 204 table 2).
    pub(crate) const fn ml_dsa_bytes(self) -> Option<usize> {
        match self {
            Self::MlDsa44 => Some(1312),
            Self::MlDsa65 => Some(1952),
            Self::MlDsa87 => Some(2592),
            _ => None,
        }
    }
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 13] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::EcdsaP521Sha512,
        Self::Ed25519,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// A name for messages: `ecdsa-p256-sha256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::EcdsaP521Sha512 => "ecdsa-p521-sha512",
            Self::Ed25519 => "ed25519",
            Self::RsaPkcs1Sha256 => "rsa-pkcs1-sha256",
            Self::RsaPkcs1Sha384 => "rsa-pkcs1-sha384",
            Self::RsaPkcs1Sha512 => "rsa-pkcs1-sha512",
            Self::RsaPssSha256 => "rsa-pss-sha256",
            Self::RsaPssSha384 => "rsa-pss-sha384",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::MlDsa44 => "ml-dsa-44",
            Self::MlDsa65 => "ml-dsa-65",
            Self::MlDsa87 => "ml-dsa-87",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in KeyKind::ALL {
            assert_eq!(KeyKind::parse(kind.as_str()), Some(kind));
            assert!(kind.supports(kind.default_algorithm()), "{kind:?}");
        }
        for wrong in ["", "P256", "p-256", "rsa1024", "rsa"] {
            assert_eq!(KeyKind::parse(wrong), None, "{wrong}");
        }
    }
}
