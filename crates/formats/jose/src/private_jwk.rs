use crate::jwk::{curve, refused};
use crate::strict_json::{self, Limits};
use crate::{DEPTH_MAX, JoseError, Jwk, JwkParams, JwsAlgorithm, base64url};
use core::fmt;
use serde_json::Value;
use signet_crypto::{Components, LocalKey, Secret};

/// A private key with the one algorithm that it signs with, as a JWK (RFC 7518 §6.2.2): the form in which the Workload
/// API hands out the keys of WIT-SVIDs (Workload API §7).
///
/// Keys on elliptic curves only; RSA keys are left to PKCS#8.
pub struct PrivateJwk {
    key: LocalKey,
    algorithm: JwsAlgorithm,
}

impl PrivateJwk {
    /// The longest text that is read.
    pub const BYTES_MAX: usize = 4 * 1024;

    /// `key`, which signs with `algorithm`.
    ///
    /// # Errors
    /// [`JoseError::Jwk`] where it is not on an elliptic curve or `algorithm` is not for it.
    pub fn new(key: LocalKey, algorithm: JwsAlgorithm) -> Result<Self, JoseError> {
        if !matches!(key.public_key().components(), Components::Ec { .. }) {
            return Err(refused("a private key in this form is on an elliptic curve"));
        }
        if !algorithm.suits(key.public_key().kind()) {
            return Err(refused("alg is not for this kind of key"));
        }
        Ok(Self { key, algorithm })
    }

    /// Reads what [`PrivateJwk::to_text`] and others write; members that are not known are ignored.
    ///
    /// # Errors
    /// [`JoseError::Json`]; [`JoseError::Jwk`] for what is missing, malformed, of another kind or not for signing;
    /// [`JoseError::JwkKey`] where private and public half do not belong together.
    pub fn parse(text: &[u8]) -> Result<Self, JoseError> {
        let limits = Limits {
            bytes_max: Self::BYTES_MAX,
            depth_max: DEPTH_MAX,
        };
        let mut map = strict_json::parse_object(text, limits)
            .map_err(|source| JoseError::Json { part: "key", source })?;
        let scalar = match map.remove("d") {
            // Taken out and wiped, so that no copy stays behind in the map.
            Some(Value::String(text)) => Secret::new(text.into_bytes()),
            Some(_) => return Err(refused("a member that must be a string is not")),
            None => return Err(refused("the private member d is missing")),
        };
        match map.remove("key_ops") {
            None => {}
            Some(Value::Array(ops)) if ops.iter().any(|op| op == "sign") => {}
            Some(_) => return Err(refused("key_ops does not let the key sign")),
        }
        let jwk = Jwk::from_map(&map)?;
        let scalar = core::str::from_utf8(scalar.expose())
            .ok()
            .and_then(base64url::decode)
            .map(Secret::new)
            .ok_or(refused("a member of the key is not strict base64url"))?;
        let public = jwk.public_key();
        if !matches!(public.components(), Components::Ec { .. }) {
            return Err(refused("a private key in this form is on an elliptic curve"));
        }
        let key = LocalKey::from_ec_scalar(scalar.expose(), public).map_err(JoseError::JwkKey)?;
        let algorithm = jwk.alg().unwrap_or(JwsAlgorithm::for_key(public.kind()));
        Self::new(key, algorithm)
    }

    /// The key as JSON, private half included. Zeroed when dropped.
    ///
    /// # Errors
    /// [`JoseError::JwkKey`] where the provider cannot write the key.
    pub fn to_text(&self) -> Result<Secret, JoseError> {
        let public = self.key.public_key();
        let scalar = self.key.ec_scalar().map_err(JoseError::JwkKey)?;
        let (Some(scalar), Components::Ec { x, y }) = (scalar, public.components()) else {
            return Err(refused("a private key in this form is on an elliptic curve"));
        };
        // Of the full size from the start, so that growing leaves no copy behind. Nothing in it needs escaping.
        let mut text = String::with_capacity(TEXT_BYTES_USUAL + 2 * 3 * scalar.expose().len());
        text.push_str("{\"alg\":\"");
        text.push_str(self.algorithm.as_str());
        text.push_str("\",\"crv\":\"");
        text.push_str(curve(public.kind()));
        text.push_str("\",\"d\":\"");
        base64url::encode_into(scalar.expose(), &mut text);
        text.push_str("\",\"kty\":\"EC\",\"x\":\"");
        base64url::encode_into(x, &mut text);
        text.push_str("\",\"y\":\"");
        base64url::encode_into(y, &mut text);
        text.push_str("\"}");
        Ok(Secret::new(text.into_bytes()))
    }

    /// The public half, with the algorithm.
    ///
    /// # Errors
    /// None in practice: the two were matched before.
    pub fn to_public(&self) -> Result<Jwk, JoseError> {
        let params = JwkParams {
            alg: Some(self.algorithm),
            ..JwkParams::default()
        };
        Jwk::from_public_key(self.key.public_key(), params)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &LocalKey {
        &self.key
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> JwsAlgorithm {
        self.algorithm
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateJwk")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// What stands around the three numbers, and room to spare.
const TEXT_BYTES_USUAL: usize = 96;
