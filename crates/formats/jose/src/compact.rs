//! The raw parser. Nothing it returns is verified, so nothing outside `verify` may call it: a test looks for calls.

use crate::strict_json::{self, Limits};
use crate::{DEPTH_MAX, HEADER_BYTES_MAX, JoseError, Jwk, base64url};
use serde_json::{Map, Value};

/// A token taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) header: Header,
    pub(crate) payload: Map<String, Value>,
    /// What the signature is over: the first two parts as they were sent.
    pub(crate) signing_input: &'a str,
    pub(crate) signature: Vec<u8>,
}

/// The members of a header that are looked at.
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    pub(crate) jwk: Option<Jwk>,
}

/// Whether a key in the header is looked at. A closed pair, so that no caller passes a bare `true`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderJwk {
    Taken,
    Refused,
}

/// Members that are refused wherever they stand: extensions that must be understood, payloads that are not what they
/// seem, and keys or places of keys that the sender picked (token-J3, token-J4).
const REFUSED: [&str; 6] = ["crit", "b64", "zip", "jku", "x5u", "x5c"];
/// Members that only an encrypted token has.
const OF_JWE: [&str; 5] = ["enc", "epk", "apu", "apv", "p2s"];

/// Takes `token` apart without believing any of it.
pub(crate) fn split_unverified(
    token: &str,
    bytes_max: usize,
    header_jwk: HeaderJwk,
) -> Result<Parts<'_>, JoseError> {
    if token.len() > bytes_max {
        return Err(JoseError::TooLong {
            what: "token",
            bytes: token.len(),
            bytes_max,
        });
    }
    if token.trim_start().starts_with('{') {
        return Err(JoseError::JsonSerialization);
    }
    let malformed = |what| JoseError::Malformed { what };
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("fewer than three parts"));
    };
    match parts.count() {
        0 => {}
        2 => return Err(JoseError::Encrypted),
        _ => return Err(malformed("more than three parts")),
    }
    let signing_input = token
        .get(..header.len() + 1 + payload.len())
        .ok_or(malformed("fewer than three parts"))?;
    let decoded = |part, what| base64url::decode(part).ok_or(malformed(what));
    let header = decoded(header, "the header is not strict base64url")?;
    let signature = decoded(signature, "the signature is not strict base64url")?;
    if signature.is_empty() {
        return Err(malformed("the signature is empty"));
    }
    if header.len() > HEADER_BYTES_MAX {
        return Err(JoseError::TooLong {
            what: "token header",
            bytes: header.len(),
            bytes_max: HEADER_BYTES_MAX,
        });
    }
    let header = read_header(&object("header", &header)?, header_jwk)?;
    let payload = decoded(payload, "the payload is not strict base64url")?;
    let payload = object("payload", &payload)?;
    Ok(Parts {
        header,
        payload,
        signing_input,
        signature,
    })
}

fn object(part: &'static str, text: &[u8]) -> Result<Map<String, Value>, JoseError> {
    // The token as a whole is bounded already.
    let limits = Limits {
        bytes_max: usize::MAX,
        depth_max: DEPTH_MAX,
    };
    strict_json::parse_object(text, limits).map_err(|source| JoseError::Json { part, source })
}

fn read_header(header: &Map<String, Value>, header_jwk: HeaderJwk) -> Result<Header, JoseError> {
    if OF_JWE.into_iter().any(|name| header.contains_key(name)) {
        return Err(JoseError::Encrypted);
    }
    if let Some(name) = REFUSED.into_iter().find(|name| header.contains_key(*name)) {
        return Err(JoseError::Header { name });
    }
    let jwk = match (header.get("jwk"), header_jwk) {
        (None, _) => None,
        (Some(_), HeaderJwk::Refused) => return Err(JoseError::Header { name: "jwk" }),
        (Some(jwk), HeaderJwk::Taken) => Some(Jwk::parse(jwk)?),
    };
    // `cty` announces a token inside the token (RFC 7519 §5.2).
    let cty = text(header, "cty")?.unwrap_or_default();
    if cty.eq_ignore_ascii_case("JWT") || cty.eq_ignore_ascii_case("application/jwt") {
        return Err(JoseError::Encrypted);
    }
    let alg = text(header, "alg")?.unwrap_or_default().to_owned();
    let kid = text(header, "kid")?.map(str::to_owned);
    let typ = text(header, "typ")?.map(str::to_owned);
    Ok(Header { alg, kid, typ, jwk })
}

fn text<'a>(header: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JoseError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JoseError::HeaderType { name }),
    }
}
