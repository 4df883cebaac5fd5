use crate::error::shown;
use crate::{AlgorithmSet, JoseError, Jwk, JwkParams, JwsAlgorithm};
use serde_json::{Map, Value, json};
use signet_crypto::PublicKey;

/// The key whose holder a token is for: `cnf.jwk` (RFC 7800 §3.2), with an `alg` of its own among the nine of SVIDs
/// (WIT-SVID §3). Public by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    jwk: Jwk,
    algorithm: JwsAlgorithm,
}

impl Confirmation {
    /// The name of the claim.
    pub const CLAIM: &str = "cnf";

    /// The confirmation of `key`, whose holder signs with `algorithm`.
    ///
    /// # Errors
    /// [`JoseError::Algorithm`] outside the nine, [`JoseError::Jwk`] where the key is of another kind.
    pub fn new(key: &PublicKey, algorithm: JwsAlgorithm) -> Result<Self, JoseError> {
        let params = JwkParams {
            alg: Some(algorithm),
            ..JwkParams::default()
        };
        Self::of(Jwk::from_public_key(key, params)?)
    }

    /// Reads the claim `cnf` of `claims`. Members of it that are not known are ignored (RFC 7800 §3.1); a second key,
    /// encrypted or at a URL, is not, for it would be open which one is meant.
    ///
    /// # Errors
    /// [`JoseError::ClaimMissing`], [`JoseError::ClaimType`], [`JoseError::Algorithm`] for an `alg` that is missing or
    /// outside the nine; for the key itself as [`Jwk::parse`].
    pub fn read(claims: &Map<String, Value>) -> Result<Self, JoseError> {
        const NAME: &str = Confirmation::CLAIM;
        let wrong = |wanted| JoseError::ClaimType { name: NAME, wanted };
        let cnf = claims.get(NAME).ok_or(JoseError::ClaimMissing { name: NAME })?;
        let cnf = cnf.as_object().ok_or(wrong("an object"))?;
        if cnf.contains_key("jwe") || cnf.contains_key("jku") {
            return Err(wrong("an object with one key, as `jwk`"));
        }
        match cnf.get("jwk") {
            Some(jwk @ Value::Object(members)) => {
                // Looked at before the key is read, so that an algorithm that we do not know is named as such. Private
                // members come first all the same: that a key leaked matters more than how it was labelled.
                let alg = members.get("alg").and_then(Value::as_str);
                match Jwk::parse(jwk) {
                    Err(private @ JoseError::JwkPrivate { .. }) => Err(private),
                    read => {
                        algorithm(alg)?;
                        Self::of(read?)
                    }
                }
            }
            _ => Err(wrong("an object with the member `jwk`, an object")),
        }
    }

    fn of(jwk: Jwk) -> Result<Self, JoseError> {
        let algorithm = algorithm(jwk.alg().map(JwsAlgorithm::as_str))?;
        if jwk.use_() == Some("enc") {
            return Err(JoseError::Jwk {
                what: "it is for encryption",
            });
        }
        Ok(Self { jwk, algorithm })
    }

    /// The value of the claim.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({ "jwk": self.jwk.to_value() })
    }

    /// The key.
    #[must_use]
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// What its holder signs with.
    #[must_use]
    pub fn algorithm(&self) -> JwsAlgorithm {
        self.algorithm
    }
}

fn algorithm(name: Option<&str>) -> Result<JwsAlgorithm, JoseError> {
    let name = name.unwrap_or_default();
    JwsAlgorithm::parse(name)
        .filter(|algorithm| AlgorithmSet::SVID.contains(*algorithm))
        .ok_or_else(|| JoseError::Algorithm { found: shown(name) })
}
