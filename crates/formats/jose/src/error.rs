use crate::register::REGISTER;
use crate::strict_json::JsonError;
use crate::{JwsAlgorithm, KeyMiss};
use signet_fault::{Coded, remedy_of};
use std::borrow::Cow;

/// Why a token or a key was refused. What a peer sent is shown cut to a few characters, and never a whole token.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// Longer than is read.
    #[error("{what} has {bytes} bytes, allowed are {bytes_max}")]
    TooLong {
        /// The token, or its header.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not three parts of strict base64url (RFC 7515 §3.1).
    #[error("malformed token: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A JWS in JSON serialisation; only the compact one is taken.
    #[error("token is in json serialisation")]
    JsonSerialization,
    /// A JWE, or a token inside a token.
    #[error("token is encrypted or holds another token")]
    Encrypted,
    /// Header or payload is not the JSON it must be.
    #[error("{part}: {source}")]
    Json {
        /// `header`, `payload` or `key`.
        part: &'static str,
        /// What the reader found.
        source: JsonError,
    },
    /// A header member that is never taken: `crit`, `b64`, `zip`, or a key that comes with the token.
    #[error("header has `{name}`, which is not accepted")]
    Header {
        /// The member.
        name: &'static str,
    },
    /// A header member with another JSON type than its own.
    #[error("header member `{name}` must be a string")]
    HeaderType {
        /// The member.
        name: &'static str,
    },
    /// `alg` is missing, unknown, or not one that the profile takes.
    #[error("algorithm `{found}` is not accepted")]
    Algorithm {
        /// The header's `alg`; empty if it is missing.
        found: String,
    },
    /// The header names another algorithm than the key's own.
    #[error("header says {header}, the key's algorithm is {key}")]
    KeyAlgorithm {
        /// What the header says.
        header: JwsAlgorithm,
        /// What the key is for.
        key: JwsAlgorithm,
    },
    /// `typ` is not that of the kind of token asked for.
    #[error("token type `{found}` is not accepted here")]
    Typ {
        /// The header's `typ`; empty if it is missing.
        found: String,
    },
    /// The header has no `kid` and the profile demands one.
    #[error("header has no `kid`")]
    KidMissing,
    /// No key for this token.
    #[error(transparent)]
    Key(#[from] KeyMiss),
    /// The signature does not match.
    #[error("signature does not match")]
    Signature,
    /// A claim that must be there is not.
    #[error("claim `{name}` is missing")]
    ClaimMissing {
        /// The claim.
        name: &'static str,
    },
    /// A claim with another JSON type or range than its own. Never taken for absent.
    #[error("claim `{name}` must be {wanted}")]
    ClaimType {
        /// The claim.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A claim that this kind of token must not have.
    #[error("claim `{name}` must not be there")]
    ClaimForbidden {
        /// The claim.
        name: &'static str,
    },
    /// `iss` is not the issuer that the profile names, byte for byte.
    #[error("token is by another issuer")]
    Issuer,
    /// `aud` is not what the profile asks for.
    #[error("token is for another audience")]
    Audience,
    /// `exp` has passed.
    #[error("token expired {late_s} s ago")]
    Expired {
        /// How long ago, in whole seconds, leeway not counted.
        late_s: u64,
    },
    /// `nbf` or `iat` lies in the future.
    #[error("claim `{name}` lies {early_s} s in the future")]
    Early {
        /// The claim.
        name: &'static str,
        /// How far off, in whole seconds, leeway not counted.
        early_s: u64,
    },
    /// `exp` lies further behind `iat` than the profile allows.
    #[error("token lives {life_s} s, allowed are {life_s_max} s")]
    Lifetime {
        /// Its life in seconds.
        life_s: u64,
        /// The profile's maximum.
        life_s_max: u64,
    },
    /// More leeway than is ever given.
    #[error("leeway is {leeway_s} s, allowed are 60 s")]
    Leeway {
        /// What was asked for.
        leeway_s: u64,
    },
    /// Not a JWK that we take.
    #[error("refused jwk: {what}")]
    Jwk {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The JWK has private or symmetric key material where a public key belongs.
    #[error("jwk has the private member `{name}`")]
    JwkPrivate {
        /// The member.
        name: &'static str,
    },
    /// The key itself is refused.
    #[error("refused jwk: {0}")]
    JwkKey(#[source] signet_crypto::CryptoError),
    /// Claims to be signed are not a JSON object.
    #[error("claims to be signed are not a json object")]
    Claims,
    /// The key did not sign.
    #[error("sign token: {0}")]
    Sign(#[source] signet_crypto::CryptoError),
}

impl Coded for JoseError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "SGJO001",
            Self::Malformed { .. } => "SGJO002",
            Self::JsonSerialization => "SGJO003",
            Self::Encrypted => "SGJO004",
            Self::Json { .. } => "SGJO005",
            Self::Header { .. } => "SGJO006",
            Self::HeaderType { .. } => "SGJO007",
            Self::Algorithm { .. } => "SGJO008",
            Self::KeyAlgorithm { .. } => "SGJO009",
            Self::Typ { .. } => "SGJO010",
            Self::KidMissing => "SGJO011",
            Self::Key(_) => "SGJO012",
            Self::Signature => "SGJO013",
            Self::ClaimMissing { .. } => "SGJO014",
            Self::ClaimType { .. } => "SGJO015",
            Self::ClaimForbidden { .. } => "SGJO016",
            Self::Issuer => "SGJO017",
            Self::Audience => "SGJO018",
            Self::Expired { .. } => "SGJO019",
            Self::Early { .. } => "SGJO020",
            Self::Lifetime { .. } => "SGJO021",
            Self::Leeway { .. } => "SGJO022",
            Self::Jwk { .. } => "SGJO023",
            Self::JwkPrivate { .. } => "SGJO024",
            Self::JwkKey(_) => "SGJO025",
            Self::Claims => "SGJO026",
            Self::Sign(_) => "SGJO027",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// As much of a peer's text as an error shows.
pub(crate) fn shown(text: &str) -> String {
    signet_fault::shown(text, 32)
}
