use core::fmt;
use signet_crypto::{KeyKind, SignatureAlgorithm};

/// A JWS algorithm that we sign or verify. `none` and the HMAC family have no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the IANA registry")]
pub enum JwsAlgorithm {
    Es256,
    Es384,
    Es512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    /// RFC 8037. With an Ed25519 key it is the same as [`JwsAlgorithm::Ed25519`]; other curves are not taken.
    EdDsa,
    /// RFC 9864, the fully specified name.
    Ed25519,
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl JwsAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 14] = [
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::EdDsa,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// The name in a header's or a key's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// Reads an `alg`, compared byte for byte; `None` for everything that is not listed.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// What it means for a key.
    #[must_use]
    pub const fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Es256 => SignatureAlgorithm::EcdsaP256Sha256,
            Self::Es384 => SignatureAlgorithm::EcdsaP384Sha384,
            Self::Es512 => SignatureAlgorithm::EcdsaP521Sha512,
            Self::Rs256 => SignatureAlgorithm::RsaPkcs1Sha256,
            Self::Rs384 => SignatureAlgorithm::RsaPkcs1Sha384,
            Self::Rs512 => SignatureAlgorithm::RsaPkcs1Sha512,
            Self::Ps256 => SignatureAlgorithm::RsaPssSha256,
            Self::Ps384 => SignatureAlgorithm::RsaPssSha384,
            Self::Ps512 => SignatureAlgorithm::RsaPssSha512,
            Self::EdDsa | Self::Ed25519 => SignatureAlgorithm::Ed25519,
            Self::MlDsa44 => SignatureAlgorithm::MlDsa44,
            Self::MlDsa65 => SignatureAlgorithm::MlDsa65,
            Self::MlDsa87 => SignatureAlgorithm::MlDsa87,
        }
    }

    /// The algorithm to sign with where nobody asked for one: ES256 for P-256, RS256 for RSA.
    #[must_use]
    pub const fn for_key(kind: KeyKind) -> Self {
        match kind {
            KeyKind::P256 => Self::Es256,
            KeyKind::P384 => Self::Es384,
            KeyKind::P521 => Self::Es512,
            KeyKind::Ed25519 => Self::EdDsa,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Self::Rs256,
            KeyKind::MlDsa44 => Self::MlDsa44,
            KeyKind::MlDsa65 => Self::MlDsa65,
            KeyKind::MlDsa87 => Self::MlDsa87,
        }
    }

    /// Whether a key of this kind works with it.
    #[must_use]
    pub const fn suits(self, kind: KeyKind) -> bool {
        kind.supports(self.signature_algorithm())
    }

    /// Whether both are names of one algorithm: `EdDSA` and `Ed25519` are, all others only of themselves.
    #[must_use]
    pub fn is_same_as(self, other: Self) -> bool {
        self.signature_algorithm() == other.signature_algorithm()
    }
}

impl fmt::Display for JwsAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Algorithms that a profile takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// What we take where nothing else is said (token-J2).
    pub const DEFAULT: Self = Self::of(&[
        JwsAlgorithm::Es256,
        JwsAlgorithm::EdDsa,
        JwsAlgorithm::Ed25519,
        JwsAlgorithm::Ps256,
        JwsAlgorithm::Rs256,
        JwsAlgorithm::Es384,
    ]);
    /// The nine of JWT-SVID §2.1.
    pub const SVID: Self = Self::of(&[
        JwsAlgorithm::Rs256,
        JwsAlgorithm::Rs384,
        JwsAlgorithm::Rs512,
        JwsAlgorithm::Es256,
        JwsAlgorithm::Es384,
        JwsAlgorithm::Es512,
        JwsAlgorithm::Ps256,
        JwsAlgorithm::Ps384,
        JwsAlgorithm::Ps512,
    ]);

    /// Exactly these.
    #[must_use]
    pub const fn of(algorithms: &[JwsAlgorithm]) -> Self {
        let mut bits = 0;
        let mut rest = algorithms;
        while let [first, tail @ ..] = rest {
            bits |= 1 << *first as u16;
            rest = tail;
        }
        Self(bits)
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, algorithm: JwsAlgorithm) -> Self {
        Self(self.0 | 1 << algorithm as u16)
    }

    /// Whether `algorithm` is among them.
    #[must_use]
    pub const fn contains(self, algorithm: JwsAlgorithm) -> bool {
        self.0 & 1 << algorithm as u16 != 0
    }

    /// The algorithms, in the order of [`JwsAlgorithm::ALL`].
    pub fn iter(self) -> impl Iterator<Item = JwsAlgorithm> {
        JwsAlgorithm::ALL.into_iter().filter(move |a| self.contains(*a))
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
