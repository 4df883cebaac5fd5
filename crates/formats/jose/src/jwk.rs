use crate::strict_json::{self, Limits};
use crate::{DEPTH_MAX, JoseError, JwsAlgorithm, base64url};
use serde_json::{Map, Value};
use signet_crypto::{Components, KeyKind, PublicKey, digest};

/// A public JSON Web Key: parsed, checked, and of a kind that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    key: PublicKey,
    params: JwkParams,
}

/// What a JWK says about its key beside the key itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwkParams {
    /// The key's name within its set.
    pub kid: Option<String>,
    /// The one algorithm that it is for.
    pub alg: Option<JwsAlgorithm>,
    /// What it is for: `sig`, `jwt-svid`, `wit-svid`; any text.
    pub use_: Option<String>,
}

/// Members that only a private or a symmetric key has (RFC 7518 §6, and ML-DSA's `priv`).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

impl Jwk {
    /// The longest text of one key that is read; an ML-DSA-87 key has about 3.5 KB.
    pub const BYTES_MAX: usize = 16 * 1024;

    /// The JWK of `key`.
    ///
    /// # Errors
    /// [`JoseError::Jwk`] where `params.alg` is not for such a key.
    pub fn from_public_key(key: &PublicKey, params: JwkParams) -> Result<Self, JoseError> {
        if params.alg.is_some_and(|alg| !alg.suits(key.kind())) {
            return Err(refused("alg is not for this kind of key"));
        }
        Ok(Self {
            key: key.clone(),
            params,
        })
    }

    /// Reads a key from its JSON text.
    ///
    /// # Errors
    /// [`JoseError::Json`], and as [`Jwk::parse`].
    pub fn parse_text(text: &[u8]) -> Result<Self, JoseError> {
        let limits = Limits {
            bytes_max: Self::BYTES_MAX,
            depth_max: DEPTH_MAX,
        };
        let map = strict_json::parse_object(text, limits)
            .map_err(|source| JoseError::Json { part: "key", source })?;
        Self::from_map(&map)
    }

    /// Reads a key. `value` comes out of [`strict_json`], so that no member stands twice; members that are not known
    /// are ignored (RFC 7517 §4).
    ///
    /// # Errors
    /// [`JoseError::Jwk`] for what is missing or malformed, [`JoseError::JwkPrivate`] for private and symmetric keys,
    /// [`JoseError::JwkKey`] for weak ones.
    pub fn parse(value: &Value) -> Result<Self, JoseError> {
        match value {
            Value::Object(map) => Self::from_map(map),
            _ => Err(refused("not an object")),
        }
    }

    pub(crate) fn from_map(map: &Map<String, Value>) -> Result<Self, JoseError> {
        if let Some(name) = PRIVATE.into_iter().find(|name| map.contains_key(*name)) {
            return Err(JoseError::JwkPrivate { name });
        }
        let key = match text(map, "kty")? {
            Some("EC") => ec(map)?,
            Some("OKP") => okp(map)?,
            Some("RSA") => {
                let (n, e) = (bytes(map, "n")?, bytes(map, "e")?);
                PublicKey::from_rsa_components(&n, &e).map_err(JoseError::JwkKey)?
            }
            Some("AKP") => akp(map)?,
            Some(_) => return Err(refused("unknown kty")),
            None => return Err(refused("kty is missing")),
        };
        check_key_ops(map)?;
        let alg = match text(map, "alg")? {
            Some(name) => Some(JwsAlgorithm::parse(name).ok_or(refused("unknown alg"))?),
            None => None,
        };
        let params = JwkParams {
            kid: text(map, "kid")?.map(str::to_owned),
            alg,
            use_: text(map, "use")?.map(str::to_owned),
        };
        Self::from_public_key(&key, params)
    }

    /// Whether `value` is an object with a `kty` that [`Jwk::parse`] knows. Sets leave others out.
    #[must_use]
    pub fn is_known_type(value: &Value) -> bool {
        let kty = value.get("kty").and_then(Value::as_str);
        matches!(kty, Some("EC" | "OKP" | "RSA" | "AKP" | "oct"))
    }

    /// The key as JSON; [`Jwk::parse`] reads it back.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = self.required_members();
        let mut put = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), value.into());
            }
        };
        put("kid", self.kid());
        put("use", self.use_());
        put("alg", self.alg().map(JwsAlgorithm::as_str));
        Value::Object(map)
    }

    /// The key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// The key's name within its set.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.params.kid.as_deref()
    }

    /// What the key is for.
    #[must_use]
    pub fn use_(&self) -> Option<&str> {
        self.params.use_.as_deref()
    }

    /// The algorithm that it declares.
    #[must_use]
    pub fn alg(&self) -> Option<JwsAlgorithm> {
        self.params.alg
    }

    /// The one algorithm that the key verifies a token with whose header names `header`.
    ///
    /// That is the declared one; else the only one that its kind has. An RSA key that declares none is for any of the
    /// six RSA algorithms (RFC 7517 §4.4 leaves `alg` optional), so there the header's stands if it is one of them.
    #[must_use]
    pub fn algorithm_for(&self, header: JwsAlgorithm) -> JwsAlgorithm {
        let kind = self.key.kind();
        match self.params.alg {
            Some(alg) => alg,
            None if header.suits(kind) => header,
            None => JwsAlgorithm::for_key(kind),
        }
    }

    /// The SHA-256 thumbprint (RFC 7638): the same for every way of writing the same key.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        // The members stand in the order of their names and are written without white space, as the RFC asks.
        digest::sha256(Value::Object(self.required_members()).to_string().as_bytes())
    }

    fn required_members(&self) -> Map<String, Value> {
        let kind = self.key.kind();
        let number = |bytes: &[u8]| base64url::encode(bytes);
        let members = match self.key.components() {
            Components::Ec { x, y } => vec![
                ("crv", curve(kind).to_owned()),
                ("kty", "EC".to_owned()),
                ("x", number(x)),
                ("y", number(y)),
            ],
            Components::Ed25519(x) => vec![
                ("crv", "Ed25519".to_owned()),
                ("kty", "OKP".to_owned()),
                ("x", number(x)),
            ],
            Components::Rsa { n, e } => {
                vec![("e", number(e)), ("kty", "RSA".to_owned()), ("n", number(n))]
            }
            Components::MlDsa(key) => vec![
                ("alg", JwsAlgorithm::for_key(kind).as_str().to_owned()),
                ("kty", "AKP".to_owned()),
                ("pub", number(key)),
            ],
        };
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect()
    }
}

pub(crate) const fn curve(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::P256 => "P-256",
        KeyKind::P384 => "P-384",
        KeyKind::P521 => "P-521",
        _ => "Ed25519",
    }
}

pub(crate) const fn refused(what: &'static str) -> JoseError {
    JoseError::Jwk { what }
}

/// A member that is a string or absent; another type is refused and not taken for absent.
fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, JoseError> {
    match map.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(refused("a member that must be a string is not")),
    }
}

fn bytes(map: &Map<String, Value>, name: &str) -> Result<Vec<u8>, JoseError> {
    let text = text(map, name)?.ok_or(refused("a member of the key is missing"))?;
    base64url::decode(text).ok_or(refused("a member of the key is not strict base64url"))
}

fn ec(map: &Map<String, Value>) -> Result<PublicKey, JoseError> {
    let crv = text(map, "crv")?.ok_or(refused("crv is missing"))?;
    let kind = [KeyKind::P256, KeyKind::P384, KeyKind::P521]
        .into_iter()
        .find(|kind| curve(*kind) == crv)
        .ok_or(refused("unknown crv"))?;
    PublicKey::from_ec_point(kind, &bytes(map, "x")?, &bytes(map, "y")?).map_err(JoseError::JwkKey)
}

fn okp(map: &Map<String, Value>) -> Result<PublicKey, JoseError> {
    // Ed448, X25519 and X448 are OKP as well, and none of them is taken.
    if text(map, "crv")? != Some("Ed25519") {
        return Err(refused("unknown crv"));
    }
    PublicKey::from_ed25519(&bytes(map, "x")?).map_err(JoseError::JwkKey)
}

fn akp(map: &Map<String, Value>) -> Result<PublicKey, JoseError> {
    let alg = text(map, "alg")?.ok_or(refused("an AKP key names its alg"))?;
    let kind = [KeyKind::MlDsa44, KeyKind::MlDsa65, KeyKind::MlDsa87]
        .into_iter()
        .find(|kind| JwsAlgorithm::for_key(*kind).as_str() == alg)
        .ok_or(refused("unknown alg"))?;
    PublicKey::from_mldsa(kind, &bytes(map, "pub")?).map_err(JoseError::JwkKey)
}

/// `key_ops`, where it stands, must let the key verify (RFC 7517 §4.3).
fn check_key_ops(map: &Map<String, Value>) -> Result<(), JoseError> {
    match map.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(refused("key_ops does not let the key verify")),
    }
}
