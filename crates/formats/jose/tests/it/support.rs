//! Tokens with any header and payload, and verifiers for them.

use serde_json::{Value, json};
use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
use signet_jose::*;
use signet_time::UnixTime;
use std::sync::OnceLock;

pub(crate) const ISSUER: &str = "https://issuer.test";
pub(crate) const AUDIENCE: &str = "https://audience.test";
pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const NOW: UnixTime = UnixTime::from_secs(NOW_S);

/// One key of each kind, made when first asked for: RSA takes long.
static KEYS: [OnceLock<LocalKey>; KeyKind::ALL.len()] = [const { OnceLock::new() }; KeyKind::ALL.len()];

pub(crate) fn key(kind: KeyKind) -> &'static LocalKey {
    KEYS[kind as usize].get_or_init(|| LocalKey::generate(kind).unwrap())
}

/// A key of every kind.
pub(crate) fn keys() -> impl Iterator<Item = (KeyKind, &'static LocalKey)> {
    KeyKind::ALL.into_iter().map(|kind| (kind, key(kind)))
}

pub(crate) fn p256() -> &'static LocalKey {
    key(KeyKind::P256)
}

/// A kind of key for `algorithm`.
pub(crate) fn kind_for(algorithm: JwsAlgorithm) -> KeyKind {
    KeyKind::ALL
        .into_iter()
        .find(|kind| algorithm.suits(*kind))
        .unwrap()
}

/// Signs header and payload exactly as they are written.
pub(crate) fn sign_text(header: &str, payload: &str, key: &LocalKey, algorithm: JwsAlgorithm) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(payload.as_bytes())
    );
    let signature = key
        .sign(
            algorithm.signature_algorithm(),
            SignatureEncoding::Fixed,
            input.as_bytes(),
        )
        .unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

pub(crate) fn es256(header: &Value, payload: &Value) -> String {
    sign_text(
        &header.to_string(),
        &payload.to_string(),
        p256(),
        JwsAlgorithm::Es256,
    )
}

/// A header that every profile for plain JWTs takes.
pub(crate) fn good_header() -> Value {
    json!({"alg": "ES256", "kid": "k", "typ": "JWT"})
}

/// Claims that [`profile`] takes at [`NOW`].
pub(crate) fn good_claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "iat": NOW_S - 10, "exp": NOW_S + 300})
}

/// `value` with one member set, or taken out where it is null.
pub(crate) fn with(mut value: Value, name: &str, member: Value) -> Value {
    let map = value.as_object_mut().unwrap();
    if member.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), member);
    }
    value
}

pub(crate) fn profile() -> Profile {
    profile_of(TokenKind::Jwt)
}

pub(crate) fn profile_of(kind: TokenKind) -> Profile {
    Profile::new(
        kind,
        IssuerRule::Exactly(ISSUER.to_owned()),
        AudienceRule::Contains(AUDIENCE.to_owned()),
    )
    .leeway(Leeway::OURS)
}

pub(crate) fn jwk(key: &LocalKey, kid: &str, alg: Option<JwsAlgorithm>) -> Jwk {
    let params = JwkParams {
        kid: Some(kid.to_owned()),
        alg,
        use_: None,
    };
    Jwk::from_public_key(key.public_key(), params).unwrap()
}

/// `key` as the only key `k` of [`ISSUER`].
pub(crate) fn only(key: &LocalKey, alg: Option<JwsAlgorithm>) -> IssuerKeys {
    let mut keys = IssuerKeys::new();
    keys.insert(ISSUER, JwkSet::new(vec![jwk(key, "k", alg)]).unwrap());
    keys
}

/// Verifies an ES256 token with [`profile`] at [`NOW`].
pub(crate) fn check(token: &str) -> Result<Verified, JoseError> {
    verify(token, &profile(), &only(p256(), Some(JwsAlgorithm::Es256)), NOW)
}
