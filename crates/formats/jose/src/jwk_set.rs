use crate::strict_json::{self, Limits};
use crate::{DEPTH_MAX, JoseError, Jwk, KeyHint, KeyMiss, ResolvedKey};
use serde_json::{Value, json};

/// The public keys of one issuer (RFC 7517 §5). No two have the same `kid`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwkSet(Vec<Jwk>);

impl JwkSet {
    /// The longest document that is read.
    pub const BYTES_MAX: usize = 64 * 1024;
    /// The most keys that are taken.
    pub const KEYS_MAX: usize = 32;

    /// The set of `keys`.
    ///
    /// # Errors
    /// [`JoseError::Jwk`] for too many keys and for a `kid` that stands twice.
    pub fn new(keys: Vec<Jwk>) -> Result<Self, JoseError> {
        if keys.len() > Self::KEYS_MAX {
            return Err(JoseError::Jwk {
                what: "more than 32 keys in a set",
            });
        }
        let mut kids: Vec<_> = keys.iter().filter_map(Jwk::kid).collect();
        kids.sort_unstable();
        if kids.is_sorted_by(|a, b| a < b) {
            Ok(Self(keys))
        } else {
            Err(JoseError::Jwk {
                what: "two keys of a set have the same kid",
            })
        }
    }

    /// Reads a JWK Set. Keys of a type that is not known are left out (RFC 7517 §5); one that is known and broken,
    /// private or weak makes the whole set refused.
    ///
    /// # Errors
    /// [`JoseError::Json`], and as [`Jwk::parse`] and [`JwkSet::new`].
    pub fn parse(text: &[u8]) -> Result<Self, JoseError> {
        let limits = Limits {
            bytes_max: Self::BYTES_MAX,
            depth_max: DEPTH_MAX,
        };
        let document = strict_json::parse_object(text, limits).map_err(|source| JoseError::Json {
            part: "key set",
            source,
        })?;
        let Some(Value::Array(keys)) = document.get("keys") else {
            return Err(JoseError::Jwk {
                what: "a set has an array `keys`",
            });
        };
        let known = |key: &&Value| Jwk::is_known_type(key);
        Self::new(
            keys.iter()
                .filter(known)
                .map(Jwk::parse)
                .collect::<Result<_, _>>()?,
        )
    }

    /// The set as a JSON document.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({ "keys": self.0.iter().map(Jwk::to_value).collect::<Vec<_>>() })
    }

    /// The keys, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Jwk> {
        self.0.iter()
    }

    /// The key with exactly this `kid`.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.0.iter().find(|jwk| jwk.kid() == Some(kid))
    }

    /// The key for a token whose issuer this set is already known to belong to. Without `kid` there must be exactly
    /// one candidate; whether a token may come without is for its profile to say.
    ///
    /// # Errors
    /// [`KeyMiss::NoKey`]; [`KeyMiss::Refused`] for a key that is published for encryption.
    pub fn resolve(&self, hint: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss> {
        let jwk = match hint.kid {
            Some(kid) => self.find(kid).ok_or(KeyMiss::NoKey)?,
            None => {
                let mut candidates = self
                    .0
                    .iter()
                    .filter(|jwk| jwk.algorithm_for(hint.algorithm).is_same_as(hint.algorithm));
                match (candidates.next(), candidates.next()) {
                    (Some(only), None) => only,
                    _ => return Err(KeyMiss::NoKey),
                }
            }
        };
        if jwk.use_() == Some("enc") {
            return Err(KeyMiss::Refused {
                why: "it is for encryption",
            });
        }
        Ok(ResolvedKey {
            key: jwk.public_key().clone(),
            algorithm: jwk.algorithm_for(hint.algorithm),
        })
    }
}
