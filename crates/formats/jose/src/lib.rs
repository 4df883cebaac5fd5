//! Strict JWS and JWK codec.
//!
//! Covers JWS in compact serialisation (RFC 7515), JWK and JWK sets (RFC 7517, RFC 7518 §6, RFC 8037, and the `AKP`
//! type of ML-DSA keys), thumbprints (RFC 7638), private JWK of elliptic curve keys, the registered claims of RFC 7519, the `cnf` claim of RFC 7800 (as `jwk`
//! only) and the `typ` practice of RFC 8725.
//!
//! A token is only ever read through a [`Profile`]: what kind it must be, which algorithms, `typ`, issuer, audience
//! and lifetime are taken. There is no function that decodes without one. The key decides the algorithm: each key
//! that a [`KeyResolver`] gives carries exactly one, and the header must name it.
//!
//! Not here: encryption (JWE), JSON serialisation, detached or unencoded payloads, `none`, HMAC, keys or URLs taken
//! from a token's header. What is repeated, oversized, too deep, padded or mistyped is refused.
//!
//! ```
//! use signet_crypto::{KeyKind, LocalKey};
//! use signet_jose::*;
//! use signet_time::UnixTime;
//!
//! let key = LocalKey::generate(KeyKind::P256)?;
//! let claims = serde_json::json!({"iss": "https://a.test", "aud": "b", "exp": 1_060, "iat": 1_000});
//! let token = Unsigned::new(JwsAlgorithm::Es256, "k1", Some("JWT"), &claims)?.sign_with(&key)?;
//!
//! let jwk = Jwk::from_public_key(key.public_key(), JwkParams { kid: Some("k1".into()), ..JwkParams::default() })?;
//! let mut keys = IssuerKeys::new();
//! keys.insert("https://a.test", JwkSet::new(vec![jwk])?);
//! let profile = Profile::new(
//!     TokenKind::Jwt,
//!     IssuerRule::Exactly("https://a.test".into()),
//!     AudienceRule::Contains("b".into()),
//! );
//! let verified = verify(&token, &profile, &keys, UnixTime::from_secs(1_030))?;
//! assert_eq!(verified.exp, UnixTime::from_secs(1_060));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
pub mod base64url;
mod claims;
mod compact;
mod confirmation;
mod error;
mod jwk;
mod jwk_set;
mod keys;
mod private_jwk;
mod profile;
mod register;
pub mod strict_json;
mod unsigned;
mod verify;

pub use algorithm::{AlgorithmSet, JwsAlgorithm};
pub use confirmation::Confirmation;
pub use error::JoseError;
pub use jwk::{Jwk, JwkParams};
pub use jwk_set::JwkSet;
pub use keys::{IssuerKeys, KeyHint, KeyMiss, KeyResolver, ResolvedKey};
pub use private_jwk::PrivateJwk;
pub use profile::{AudienceRule, IssuerRule, KidRule, Leeway, Profile, TokenKind, TypRule};
pub use register::REGISTER;
pub use unsigned::Unsigned;
pub use verify::{Verified, verify};

/// The longest token that is read or written.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The longest client assertion that is read.
pub const ASSERTION_BYTES_MAX: usize = 8 * 1024;
/// The longest header, decoded.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;
/// How deep JSON may nest, in tokens and keys; the outermost object is level 1.
pub const DEPTH_MAX: usize = 16;
