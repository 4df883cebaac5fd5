use signet_fault::{Coded, Entry, remedy_of};
use signet_id::IdError;
use signet_jose::JoseError;
use signet_jose::strict_json::JsonError;
use signet_x509::X509Error;
use std::borrow::Cow;

/// Why a bundle was refused.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not a JSON object, one with a member twice, too deep, or longer than [`crate::Bundle::BYTES_MAX`].
    #[error("parse bundle")]
    Json(#[source] JsonError),
    /// More keys than [`crate::Bundle::KEYS_MAX`].
    #[error("bundle of {count} keys, more than {max}")]
    ManyKeys {
        /// How many.
        count: usize,
        /// What is accepted.
        max: usize,
    },
    /// A member of the document is absent or of the wrong type.
    #[error("member `{name}` of the bundle is missing or not {expected}")]
    Member {
        /// Its name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A JWT-SVID or WIT-SVID key that cannot be used.
    #[error("key {index} of the bundle")]
    JwtKey {
        /// Its place in `keys`, from 0.
        index: usize,
        /// Why.
        #[source]
        source: JoseError,
    },
    /// A JWT-SVID or WIT-SVID key without `kid` (SPIFFE bundle §4.2.2; JWT-SVID §6.1, WIT-SVID §6.1).
    #[error("key {index} of the bundle has no `kid`")]
    NoKid {
        /// Its place in `keys`, from 0.
        index: usize,
    },
    /// Two keys with one `kid`, of the same use or of two: a token could be meant for either.
    #[error("two keys of the bundle have the kid `{kid}`")]
    SameKid {
        /// The `kid`.
        kid: String,
    },
    /// An X.509 authority whose `x5c` is not base64 of one certificate.
    #[error("key {index} of the bundle has an `x5c` that is no certificate")]
    Certificate {
        /// Its place in `keys`, from 0.
        index: usize,
        /// Why, if it was base64 at all.
        #[source]
        source: Option<X509Error>,
    },
    /// More bundles in a map than [`crate::Bundle::MAP_MAX`].
    #[error("bundle map of {count} trust domains, more than {max}")]
    ManyBundles {
        /// How many.
        count: usize,
        /// What is accepted.
        max: usize,
    },
    /// A name in a bundle map is no trust domain's.
    #[error("`{name}` in the bundle map is no trust domain")]
    Domain {
        /// The name, cut to 64 characters.
        name: String,
        /// Why.
        #[source]
        source: IdError,
    },
    /// An X.509 authority's key has no JWK form.
    #[error("write x.509 authority {index} as jwk")]
    Authority {
        /// Its place among the X.509 authorities, from 0.
        index: usize,
        /// Why.
        #[source]
        source: X509Error,
    },
}

impl Coded for TrustError {
    fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "SGTR001",
            Self::ManyKeys { .. } => "SGTR002",
            Self::Member { .. } => "SGTR003",
            Self::JwtKey { .. } => "SGTR004",
            Self::NoKid { .. } => "SGTR005",
            Self::SameKid { .. } => "SGTR006",
            Self::Certificate { .. } => "SGTR007",
            Self::Authority { .. } => "SGTR008",
            Self::ManyBundles { .. } => "SGTR010",
            Self::Domain { .. } => "SGTR011",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// This crate's error codes.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGTR001",
        "bundle is not strict JSON or too long",
        "fetch the bundle again; if it stays so, tell whoever publishes it",
    ),
    entry(
        "SGTR002",
        "bundle has too many keys",
        "ask whoever publishes the bundle to drop keys that are out of use",
    ),
    entry(
        "SGTR003",
        "bundle lacks a member or has one of the wrong type",
        "check that the address serves a SPIFFE bundle and not a plain JWK set",
    ),
    entry(
        "SGTR004",
        "JWT-SVID or WIT-SVID key of a bundle cannot be used",
        "tell whoever publishes the bundle which key is broken",
    ),
    entry(
        "SGTR005",
        "JWT-SVID or WIT-SVID key without `kid`",
        "tell whoever publishes the bundle that each key needs a `kid`",
    ),
    entry(
        "SGTR006",
        "two keys with one `kid`",
        "tell whoever publishes the bundle that each `kid` must be unique",
    ),
    entry(
        "SGTR007",
        "X.509 authority is no certificate",
        "tell whoever publishes the bundle which key is broken",
    ),
    entry(
        "SGTR008",
        "X.509 authority has no JWK form",
        "use an authority with a P-256, P-384, Ed25519, RSA or ML-DSA key",
    ),
    entry(
        "SGTR010",
        "bundle map has too many trust domains",
        "leave out of the map the domains that nobody here deals with",
    ),
    entry(
        "SGTR011",
        "name in a bundle map is no trust domain",
        "name each bundle by its trust domain alone, without `spiffe://`",
    ),
];
