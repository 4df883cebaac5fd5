use crate::{Jwk, JwkSet, JwsAlgorithm};
use signet_crypto::PublicKey;
use std::collections::BTreeMap;

/// What a token says about who signed it. Nothing of it is verified yet: good for finding a key, for nothing else.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct KeyHint<'a> {
    /// The header's `kid`.
    pub kid: Option<&'a str>,
    /// The header's `alg`, which the profile takes.
    pub algorithm: JwsAlgorithm,
    /// The payload's `iss`.
    pub issuer: Option<&'a str>,
    /// The payload's `sub`.
    pub subject: Option<&'a str>,
    /// The header's `jwk`: only for a profile that takes one, such as that of a DPoP proof.
    pub header_jwk: Option<&'a Jwk>,
}

/// A key and the one algorithm that it verifies.
#[derive(Clone, Debug)]
pub struct ResolvedKey {
    /// The key.
    pub key: PublicKey,
    /// Its algorithm; the header must name the same.
    pub algorithm: JwsAlgorithm,
}

/// Why there is no key for a token.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMiss {
    /// No keys are known for the token's issuer or trust domain.
    #[error("no keys are known for the token's issuer")]
    NoSet,
    /// The issuer's keys do not include the one that the token names.
    #[error("the issuer's keys do not include the token's")]
    NoKey,
    /// The key is known, but not for this use.
    #[error("the token's key may not be used here: {why}")]
    Refused {
        /// Why not.
        why: &'static str,
    },
}

/// Finds the key for a token.
pub trait KeyResolver {
    /// The key that the token claims to be signed with, from the set that is bound to the token's issuer and from no
    /// other.
    ///
    /// # Errors
    /// [`KeyMiss`] says why there is none.
    fn resolve(&self, hint: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss>;
}

/// Key sets by issuer. A key is only ever looked for in the set of the token's own issuer (token-J10).
#[derive(Clone, Debug, Default)]
pub struct IssuerKeys(BTreeMap<String, JwkSet>);

impl IssuerKeys {
    /// No issuer yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds `keys` to `issuer`, in place of what was bound to it.
    pub fn insert(&mut self, issuer: &str, keys: JwkSet) {
        self.0.insert(issuer.to_owned(), keys);
    }
}

impl KeyResolver for IssuerKeys {
    fn resolve(&self, hint: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss> {
        let issuer = hint.issuer.ok_or(KeyMiss::NoSet)?;
        self.0.get(issuer).ok_or(KeyMiss::NoSet)?.resolve(hint)
    }
}
