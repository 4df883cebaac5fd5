use crate::{KeyKind, SignatureAlgorithm};
use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;

/// Why a key, a signature or a sealed blob was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Not a well-formed public key, or one that may not be used (wrong curve, point not on it, small order).
    #[error("malformed public key: {what}")]
    PublicKey {
        /// What is wrong with it.
        what: &'static str,
    },
    /// An RSA key that is too weak, or of a size that is not supported.
    #[error("refused rsa key: {what}")]
    Rsa {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key's algorithm is none of those of [`KeyKind`].
    #[error("unsupported kind of key")]
    Kind,
    /// Not a well-formed unencrypted PKCS#8 private key.
    #[error("malformed private key: {what}")]
    PrivateKey {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key's kind does not sign or verify with this algorithm.
    #[error("a {} key does not work with {}", kind.as_str(), algorithm.as_str())]
    Mismatch {
        /// The key's kind.
        kind: KeyKind,
        /// What was asked of it.
        algorithm: SignatureAlgorithm,
    },
    /// The signature does not match key, algorithm and message, or is malformed.
    #[error("signature does not match")]
    Signature,
    /// The provider could not make a key.
    #[error("generate {} key", kind.as_str())]
    Generate {
        /// What was asked for.
        kind: KeyKind,
    },
    /// The provider, or a remote key store, did not sign.
    #[error("sign: {what}")]
    Sign {
        /// What went wrong.
        what: String,
    },
    /// The system's random generator failed.
    #[error("read random bytes")]
    Random,
    /// A sealed blob does not open: another key, other associated data, or changed bytes.
    #[error("open sealed data: it is damaged or was sealed with another key")]
    Open,
    /// The provider could not seal.
    #[error("seal data")]
    Seal,
}

impl Coded for CryptoError {
    fn code(&self) -> &'static str {
        match self {
            Self::PublicKey { .. } => "SGCR001",
            Self::Rsa { .. } => "SGCR002",
            Self::Kind => "SGCR003",
            Self::PrivateKey { .. } => "SGCR004",
            Self::Mismatch { .. } => "SGCR005",
            Self::Signature => "SGCR006",
            Self::Generate { .. } => "SGCR007",
            Self::Sign { .. } => "SGCR008",
            Self::Random => "SGCR009",
            Self::Open => "SGCR010",
            Self::Seal => "SGCR011",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The error codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGCR001",
        meaning: "a public key is malformed or not allowed",
        remedy: "send the key as DER SubjectPublicKeyInfo with a named curve and an uncompressed point",
    },
    Entry {
        code: "SGCR002",
        meaning: "an RSA key is too weak or of an unsupported size",
        remedy: "use an RSA key of 2048, 3072 or 4096 bits with exponent 65537, or better a P-256 key",
    },
    Entry {
        code: "SGCR003",
        meaning: "the kind of key is not supported",
        remedy: "use P-256, P-384, P-521, Ed25519, RSA or ML-DSA",
    },
    Entry {
        code: "SGCR004",
        meaning: "a private key is malformed",
        remedy: "give the key as unencrypted PKCS#8, for example with `openssl pkcs8 -topk8 -nocrypt`",
    },
    Entry {
        code: "SGCR005",
        meaning: "key and signature algorithm do not belong together",
        remedy: "choose an algorithm of the key's own kind",
    },
    Entry {
        code: "SGCR006",
        meaning: "a signature does not match",
        remedy: "check that the signer's key is the one that is trusted and that nothing changed the message",
    },
    Entry {
        code: "SGCR007",
        meaning: "a key could not be generated",
        remedy: "look at the system's entropy and memory, then try again",
    },
    Entry {
        code: "SGCR008",
        meaning: "a key did not sign",
        remedy: "look at the key store that holds the key, then try again",
    },
    Entry {
        code: "SGCR009",
        meaning: "the system's random generator failed",
        remedy: "check that getrandom(2) is allowed by the sandbox the process runs in",
    },
    Entry {
        code: "SGCR010",
        meaning: "sealed data does not open",
        remedy: "start with the sealing key that the data was written with",
    },
    Entry {
        code: "SGCR011",
        meaning: "data could not be sealed",
        remedy: "look at the system's memory and entropy, then try again",
    },
];
