//! Bundles as JSON: the SPIFFE bundle format (§4), bundle maps (§5), the plain JWK sets of the Workload API (§6.2.2
//! and §7.2.2), and the JWK set that OpenID Connect readers take.

use crate::{Bundle, JwtAuthority, TrustError, WitAuthority, X509Authority};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use signet_id::TrustDomain;
use signet_jose::strict_json::{self, Limits};
use signet_jose::{Jwk, JwkParams};
use signet_x509::{Certificate, Der, X509Error};
use std::collections::BTreeMap;
use std::time::Duration;

/// `use` of an X.509 authority (X509-SVID §6.1). Compared as it stands: case matters.
const X509_SVID: &str = "x509-svid";
/// `use` of a JWT authority (JWT-SVID §6.1).
const JWT_SVID: &str = "jwt-svid";
/// `use` of a WIT authority (WIT-SVID §6.1).
const WIT_SVID: &str = "wit-svid";
/// `use` of a JWT authority's key for readers of OpenID Connect, who pass over what they do not know (RFC 7517 §4.2).
const SIG: &str = "sig";

/// Deep enough for `keys`, a key and its `x5c`, and for members that are not known.
const DEPTH_MAX: usize = 16;

impl Bundle {
    /// Reads a SPIFFE bundle document as that of `trust_domain`, which the document itself does not name.
    ///
    /// As the standard has it: a key without `kty` or `use`, or with one that is not known, is passed over, and so is
    /// an X.509 authority without certificate; more than one certificate is cut to the first; members that are not
    /// known are ignored; no keys at all mean that nothing of the domain is trusted. What is left must be right.
    ///
    /// # Errors
    /// One variant of [`TrustError`] for each reason.
    pub fn parse_spiffe(trust_domain: TrustDomain, json: &[u8]) -> Result<Self, TrustError> {
        let limits = Limits {
            bytes_max: Self::BYTES_MAX,
            depth_max: DEPTH_MAX,
        };
        let document = strict_json::parse_object(json, limits).map_err(TrustError::Json)?;
        Self::from_document(trust_domain, &document)
    }

    /// Reads a bundle map (§5): an object `trust_domains` with a bundle for each domain.
    ///
    /// A domain that stands twice, however its name is escaped, refuses the whole map. Refresh hints of the bundles in
    /// it are passed over: the map is refreshed as one. Other members are ignored.
    ///
    /// # Errors
    /// As [`Bundle::parse_spiffe`]; [`TrustError::ManyBundles`], [`TrustError::Domain`].
    pub fn parse_map(json: &[u8]) -> Result<BTreeMap<TrustDomain, Self>, TrustError> {
        let limits = Limits {
            bytes_max: Self::BYTES_MAX,
            depth_max: DEPTH_MAX + 2,
        };
        let map = strict_json::parse_object(json, limits).map_err(TrustError::Json)?;
        let domains = map
            .get("trust_domains")
            .and_then(Value::as_object)
            .ok_or(TrustError::Member {
                name: "trust_domains",
                expected: "an object",
            })?;
        if domains.len() > Self::MAP_MAX {
            let (count, max) = (domains.len(), Self::MAP_MAX);
            return Err(TrustError::ManyBundles { count, max });
        }
        let mut bundles = BTreeMap::new();
        for (name, document) in domains {
            let domain = TrustDomain::parse(name).map_err(|source| TrustError::Domain {
                name: signet_fault::shown(name, 64),
                source,
            })?;
            let document = document.as_object().ok_or(TrustError::Member {
                name: "trust_domains",
                expected: "an object of objects",
            })?;
            let mut bundle = Self::from_document(domain.clone(), document)?;
            bundle.forget_hint();
            bundles.insert(domain, bundle);
        }
        Ok(bundles)
    }

    fn from_document(trust_domain: TrustDomain, document: &Map<String, Value>) -> Result<Self, TrustError> {
        let member = |name, expected| TrustError::Member { name, expected };
        let number = |name| match document.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(member(name, "a whole number")),
        };
        let sequence = number("spiffe_sequence")?.unwrap_or(0);
        let refresh_hint = number("spiffe_refresh_hint")?.map(Duration::from_secs);
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(member("keys", "an array"))?;
        if keys.len() > Self::KEYS_MAX {
            return Err(TrustError::ManyKeys {
                count: keys.len(),
                max: Self::KEYS_MAX,
            });
        }
        let (mut x509, mut jwt, mut wit) = (Vec::new(), Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate() {
            if !Jwk::is_known_type(key) {
                continue;
            }
            match key.get("use").and_then(Value::as_str) {
                Some(X509_SVID) => x509.extend(x509_authority(index, key)?),
                Some(JWT_SVID) => {
                    let (kid, jwk, tainted) = token_key(index, key)?;
                    jwt.push(JwtAuthority { kid, jwk, tainted });
                }
                Some(WIT_SVID) => {
                    let (kid, jwk, tainted) = token_key(index, key)?;
                    check_sole(&kid, keys)?;
                    wit.push(WitAuthority { kid, jwk, tainted });
                }
                _ => {}
            }
        }
        Self::new(trust_domain, sequence, refresh_hint, x509, jwt)?.with_wit(wit)
    }

    /// The SPIFFE bundle document: X.509, JWT and WIT authorities, sequence and refresh hint.
    ///
    /// Tainted roots and keys stay in it until they are revoked; the format has no word for them. Tainted intermediates
    /// do not stand in it.
    ///
    /// # Errors
    /// [`TrustError::Authority`].
    pub fn to_spiffe_json(&self) -> Result<Vec<u8>, TrustError> {
        let mut keys = Vec::with_capacity(self.x509().len() + self.jwt().len() + self.wit().len());
        for (index, authority) in self.anchors().enumerate() {
            keys.push(x509_value(authority).map_err(|source| TrustError::Authority { index, source })?);
        }
        keys.extend(
            self.jwt()
                .iter()
                .map(|key| token_value(&key.kid, &key.jwk, JWT_SVID)),
        );
        keys.extend(
            self.wit()
                .iter()
                .map(|key| token_value(&key.kid, &key.jwk, WIT_SVID)),
        );
        let mut document = Map::new();
        document.insert("keys".to_owned(), Value::Array(keys));
        document.insert("spiffe_sequence".to_owned(), self.sequence().into());
        if let Some(hint) = self.refresh_hint() {
            document.insert("spiffe_refresh_hint".to_owned(), hint.as_secs().into());
        }
        Ok(Value::Object(document).to_string().into_bytes())
    }

    /// A JWK set of the JWT authorities and nothing else (Workload API §6.2.2), each with its `kid`.
    #[must_use]
    pub fn to_jwks_json(&self) -> Vec<u8> {
        self.jwt_set(JWT_SVID)
    }

    /// A JWK set of the WIT authorities and nothing else (Workload API §7.2.2), each with its `kid`.
    #[must_use]
    pub fn to_wit_jwks_json(&self) -> Vec<u8> {
        let keys = self.wit().iter();
        jwk_set(keys.map(|key| token_value(&key.kid, &key.jwk, WIT_SVID)))
    }

    /// The JWT authorities for readers of OpenID Connect discovery (OpenID Connect Core §10.1, RFC 7517 §5): they know the use
    /// `sig` and pass over any other.
    #[must_use]
    pub fn to_oidc_jwks_json(&self) -> Vec<u8> {
        self.jwt_set(SIG)
    }

    fn jwt_set(&self, use_: &str) -> Vec<u8> {
        let keys = self.jwt().iter();
        jwk_set(keys.map(|key| token_value(&key.kid, &key.jwk, use_)))
    }
}

fn jwk_set(keys: impl Iterator<Item = Value>) -> Vec<u8> {
    let document = Map::from_iter([("keys".to_owned(), keys.collect())]);
    Value::Object(document).to_string().into_bytes()
}

/// The authority in `x5c`; none where the entry has no certificate.
fn x509_authority(index: usize, key: &Value) -> Result<Option<X509Authority>, TrustError> {
    let Some(first) = key
        .get("x5c")
        .and_then(Value::as_array)
        .and_then(|x5c| x5c.first())
    else {
        return Ok(None);
    };
    let broken = |source| TrustError::Certificate { index, source };
    // Standard base64, not base64url (RFC 7517 §4.7).
    let der = first
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| broken(None))?;
    // With a key that nobody can use the bundle could be read, and never be written to whoever asks for it.
    Certificate::parse(&der)
        .and_then(|certificate| certificate.public_key())
        .map_err(|source| broken(Some(source)))?;
    Ok(Some(X509Authority {
        certificate: Der::from(der),
        tainted: false,
    }))
}

/// The key that verifies tokens in entry `index`: its `kid`, itself, and that no document says it is tainted.
fn token_key(index: usize, key: &Value) -> Result<(String, Jwk, bool), TrustError> {
    let jwk = Jwk::parse(key).map_err(|source| TrustError::JwtKey { index, source })?;
    let kid = jwk
        .kid()
        .filter(|kid| !kid.is_empty())
        .ok_or(TrustError::NoKid { index })?
        .to_owned();
    Ok((kid, jwk, false))
}

/// A WIT key's `kid` is that of no other entry, whatever the other is for (WIT-SVID §6.1): also not of one that we
/// would pass over and another reader would not.
fn check_sole(kid: &str, keys: &[Value]) -> Result<(), TrustError> {
    let named = keys
        .iter()
        .filter(|key| key.get("kid").and_then(Value::as_str) == Some(kid));
    if named.count() > 1 {
        return Err(TrustError::SameKid { kid: kid.to_owned() });
    }
    Ok(())
}

fn x509_value(authority: &X509Authority) -> Result<Value, X509Error> {
    let key = Certificate::parse(&authority.certificate)?.public_key()?;
    let jwk = Jwk::from_public_key(&key, JwkParams::default()).map_err(|_| X509Error::Malformed {
        what: "key without jwk form",
    })?;
    let mut value = jwk.to_value();
    if let Some(members) = value.as_object_mut() {
        // No `kid`: X509-SVID §6.1.
        members.retain(|name, _| name != "kid" && name != "alg");
        members.insert("use".to_owned(), X509_SVID.into());
        members.insert(
            "x5c".to_owned(),
            vec![STANDARD.encode(&authority.certificate)].into(),
        );
    }
    Ok(value)
}

fn token_value(kid: &str, jwk: &Jwk, use_: &str) -> Value {
    let mut value = jwk.to_value();
    if let Some(members) = value.as_object_mut() {
        members.insert("use".to_owned(), use_.into());
        members.insert("kid".to_owned(), kid.into());
    }
    value
}
