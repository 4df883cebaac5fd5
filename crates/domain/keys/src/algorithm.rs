//! Which algorithms a trust domain signs with: closed sets, chosen by name in the settings.

use signet_crypto::KeyKind;
use signet_jose::JwsAlgorithm;

/// The kinds of key that sign certificates. A leaf's own key is of the workload's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum X509Algorithm {
    /// ECDSA on P-256. Every verifier has it.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519. Fast and small; some verifiers lack it.
    Ed25519,
    /// ML-DSA-44 (FIPS 204, RFC 9881): holds against quantum computers. Certificates of several KB; few verifiers
    /// know it yet, and that goes for its two sisters too.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

impl X509Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// All names, as a sentence lists them.
    pub const NAMES: &'static str = "p256, p384, ed25519, ml-dsa-44, ml-dsa-65 or ml-dsa-87";

    /// Reads what [`X509Algorithm::as_str`] writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// The name that users write.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.kind().as_str()
    }

    pub(crate) const fn kind(self) -> KeyKind {
        match self {
            Self::P256 => KeyKind::P256,
            Self::P384 => KeyKind::P384,
            Self::Ed25519 => KeyKind::Ed25519,
            Self::MlDsa44 => KeyKind::MlDsa44,
            Self::MlDsa65 => KeyKind::MlDsa65,
            Self::MlDsa87 => KeyKind::MlDsa87,
        }
    }
}

/// How JWT-SVIDs and WIT-SVIDs are signed: those of the nine algorithms of JWT-SVID §2.1 that are worth having. Ed25519 and ML-DSA
/// are not among the nine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JwtAlgorithm {
    /// ECDSA on P-256.
    #[default]
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// RSA PKCS#1 v1.5 with a key of 2048 bits: for verifiers that know nothing else.
    Rs256,
    /// RSA PKCS#1 v1.5 with a key of 3072 bits.
    Rs256With3072,
    /// RSA-PSS with a key of 2048 bits.
    Ps256,
    /// RSA-PSS with a key of 3072 bits.
    Ps256With3072,
}

impl JwtAlgorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Rs256With3072,
        Self::Ps256,
        Self::Ps256With3072,
    ];

    /// All names, as a sentence lists them.
    pub const NAMES: &'static str = "es256, es384, rs256, rs256-3072, ps256 or ps256-3072";

    /// Reads what [`JwtAlgorithm::as_str`] writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }

    /// What `key` was made to sign tokens with; `None` for a key that this version makes none like.
    #[must_use]
    pub fn of(key: &crate::IssuingKey) -> Option<Self> {
        let (jws, kind) = (key.jws_algorithm(), key.public_key().kind());
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.jws() == jws && algorithm.kind() == kind)
    }

    /// The name that users write. RSA without a number has 2048 bits.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "es256",
            Self::Es384 => "es384",
            Self::Rs256 => "rs256",
            Self::Rs256With3072 => "rs256-3072",
            Self::Ps256 => "ps256",
            Self::Ps256With3072 => "ps256-3072",
        }
    }

    pub(crate) const fn kind(self) -> KeyKind {
        match self {
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::Rs256 | Self::Ps256 => KeyKind::Rsa2048,
            Self::Rs256With3072 | Self::Ps256With3072 => KeyKind::Rsa3072,
        }
    }

    pub(crate) const fn jws(self) -> JwsAlgorithm {
        match self {
            Self::Es256 => JwsAlgorithm::Es256,
            Self::Es384 => JwsAlgorithm::Es384,
            Self::Rs256 | Self::Rs256With3072 => JwsAlgorithm::Rs256,
            Self::Ps256 | Self::Ps256With3072 => JwsAlgorithm::Ps256,
        }
    }
}

/// What a key signs with: the algorithm that it was made for where it was made for one, else its kind's usual one.
pub(crate) fn of_key(made_for: Option<JwsAlgorithm>, kind: KeyKind) -> JwsAlgorithm {
    made_for.unwrap_or(JwsAlgorithm::for_key(kind))
}

/// Reads the algorithm that a record names: none where it is empty, as with certificates' keys.
pub(crate) fn from_record(name: &str, kind: KeyKind) -> Result<Option<JwsAlgorithm>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    JwsAlgorithm::parse(name)
        .filter(|algorithm| algorithm.suits(kind))
        .map(Some)
        .ok_or_else(|| format!("`{name}` is no algorithm of a {} key", kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet_jose::AlgorithmSet;

    fn sentence<'a>(names: impl Iterator<Item = &'a str>) -> String {
        let names: Vec<_> = names.collect();
        let (last, others) = names.split_last().unwrap();
        format!("{} or {last}", others.join(", "))
    }

    #[test]
    fn names_read_back_and_the_sentence_has_all_of_them() {
        for algorithm in X509Algorithm::ALL {
            assert_eq!(X509Algorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        for algorithm in JwtAlgorithm::ALL {
            assert_eq!(JwtAlgorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        assert_eq!(
            sentence(X509Algorithm::ALL.iter().map(|a| a.as_str())),
            X509Algorithm::NAMES
        );
        assert_eq!(
            sentence(JwtAlgorithm::ALL.iter().map(|a| a.as_str())),
            JwtAlgorithm::NAMES
        );
        for wrong in ["", "P256", "rsa2048", "p521", "ml-dsa", "es512", "eddsa", "none"] {
            assert_eq!(X509Algorithm::parse(wrong), None, "{wrong}");
            assert_eq!(JwtAlgorithm::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spiffe_53_tokens_are_signed_with_one_of_the_nine_by_a_key_of_its_kind() {
        for algorithm in JwtAlgorithm::ALL {
            assert!(AlgorithmSet::SVID.contains(algorithm.jws()), "{algorithm:?}");
            assert!(algorithm.jws().suits(algorithm.kind()), "{algorithm:?}");
        }
    }

    #[test]
    fn a_record_names_an_algorithm_of_its_key_or_none() {
        assert_eq!(from_record("", KeyKind::P256), Ok(None));
        assert_eq!(
            from_record("PS256", KeyKind::Rsa2048),
            Ok(Some(JwsAlgorithm::Ps256))
        );
        for (name, kind) in [
            ("PS256", KeyKind::P256),
            ("ES256", KeyKind::P384),
            ("none", KeyKind::P256),
            ("ps256", KeyKind::Rsa2048),
        ] {
            assert!(from_record(name, kind).is_err(), "{name} {kind:?}");
        }
        assert_eq!(of_key(None, KeyKind::Rsa3072), JwsAlgorithm::Rs256);
        assert_eq!(
            of_key(Some(JwsAlgorithm::Ps256), KeyKind::Rsa3072),
            JwsAlgorithm::Ps256
        );
    }
}
