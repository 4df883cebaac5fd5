//! JWT-SVIDs (JWT-SVID §2 and §3) and the token rules that one of them can show.

mod form;
mod header;
mod payload;

use crate::chains::ID;
use crate::collection::Collection;
use crate::keys;
use serde_json::{Value, json};
use signet_corpus::{Kind, folder};
use signet_crypto::SignatureEncoding;
use signet_jose::{JwsAlgorithm, base64url};
use signet_testkit::START;

const AUDIENCE: &str = "spiffe://example.org/server";
const TWIN: &str = "right_token.txt";
const EC_TWIN: &str = "right_token_es256.txt";

fn now() -> u64 {
    START.as_secs()
}

fn header() -> Value {
    json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"sub": ID, "aud": [AUDIENCE], "iat": now() - 10, "exp": now() + 300})
}

/// `value` with a member put in, or taken out where it is null.
fn with(mut value: Value, name: &str, member: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    if member.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), member);
    }
    value
}

fn input(header: &str, payload: &str) -> String {
    format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(payload.as_bytes())
    )
}

/// Signs text as it stands. Not for ECDSA, whose signatures differ each time.
fn signed_text(header: &str, payload: &str, key: &str, algorithm: JwsAlgorithm) -> Vec<u8> {
    let input = input(header, payload);
    let signature = keys::local(key)
        .sign(
            algorithm.signature_algorithm(),
            SignatureEncoding::Fixed,
            input.as_bytes(),
        )
        .unwrap();
    format!("{input}.{}", base64url::encode(&signature)).into_bytes()
}

/// A token by the usual key.
fn signed(header: &Value, claims: &Value) -> Vec<u8> {
    signed_text(
        &header.to_string(),
        &claims.to_string(),
        "token-rsa",
        JwsAlgorithm::Rs256,
    )
}

fn header_with(name: &str, member: Value) -> Vec<u8> {
    signed(&with(header(), name, member), &claims())
}

fn claim(name: &str, member: Value) -> Vec<u8> {
    signed(&header(), &with(claims(), name, member))
}

/// The three parts of a token.
fn parts(token: &[u8]) -> [String; 3] {
    let text = std::str::from_utf8(token).unwrap();
    let parts: Vec<_> = text.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

pub(crate) fn forge(all: &mut Collection) {
    right_ones(all);
    header::algorithms(all);
    header::headers(all);
    payload::claim_rules(all);
    payload::times(all);
    form::forms(all);
    key_rules(all);
    form::signatures(all);
}

fn right_ones(all: &mut Collection) {
    let mut right = |file: &str, what: &str, bytes| {
        let case = all.right(Kind::Token, file, what, bytes);
        case.bundles
            .insert("example.org".into(), "trust/example.org.json".into());
        case.audience = Some(AUDIENCE.to_owned());
    };
    right(
        TWIN,
        "a JWT-SVID of `example.org`, RS256",
        signed(&header(), &claims()),
    );
    let named = json!({"alg": "RS256", "kid": "rs256", "typ": "JWT"});
    let bytes = signed_text(
        &named.to_string(),
        &claims().to_string(),
        "token-rs256",
        JwsAlgorithm::Rs256,
    );
    right(
        "right_token_declared_alg.txt",
        "a JWT-SVID by a key that declares its algorithm",
        bytes,
    );
    right(EC_TWIN, "a JWT-SVID of `example.org`, ES256", es256());
    let deep = signed(&header(), &with(claims(), "deep", nested(15)));
    right(
        "right_token_16_deep.txt",
        "a JWT-SVID with claims as deep as is read",
        deep,
    );
    let long = signed(&with(header(), "x", json!("x".repeat(2_900))), &claims());
    right(
        "right_token_long_header.txt",
        "a JWT-SVID with a long header that nobody needs",
        long,
    );
    let long = signed(&header(), &with(claims(), "x", json!("x".repeat(11_000))));
    right(
        "right_token_long.txt",
        "a JWT-SVID with a long claim that nobody needs",
        long,
    );
    let theirs = with(header(), "kid", json!("other")).to_string();
    let subject = with(claims(), "sub", json!("spiffe://example.com/web")).to_string();
    let bytes = signed_text(&theirs, &subject, "other-token", JwsAlgorithm::Rs256);
    let what = "a JWT-SVID of `example.com`, whose bundle the verifier has too";
    right("right_token_of_another_domain.txt", what, bytes);
    let case = &mut all.forged.last_mut().unwrap().case;
    case.bundles
        .insert("example.com".into(), "trust/example.com.json".into());
}

/// An ECDSA signature is made once and kept: as long as the one that is checked in verifies, it is the one.
fn es256() -> Vec<u8> {
    let header = json!({"alg": "ES256", "kid": "ec", "typ": "JWT"}).to_string();
    let input = input(&header, &claims().to_string());
    let key = keys::local("token-ec");
    let algorithm = JwsAlgorithm::Es256.signature_algorithm();
    let kept = std::fs::read(folder().join(EC_TWIN)).ok().filter(|kept| {
        let [head, payload, signature] = parts(kept);
        let signature = base64url::decode(&signature).unwrap_or_default();
        let verified =
            key.public_key()
                .verify(algorithm, SignatureEncoding::Fixed, input.as_bytes(), &signature);
        format!("{head}.{payload}") == input && verified.is_ok()
    });
    kept.unwrap_or_else(|| {
        let signature = key
            .sign(algorithm, SignatureEncoding::Fixed, input.as_bytes())
            .unwrap();
        format!("{input}.{}", base64url::encode(&signature)).into_bytes()
    })
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!([]), |inner, _| json!([inner]))
}

fn key_rules(all: &mut Collection) {
    let theirs = with(header(), "kid", json!("other")).to_string();
    let bytes = signed_text(&theirs, &claims().to_string(), "other-token", JwsAlgorithm::Rs256);
    all.broken(
        "jwt_key_of_another_domain.txt",
        "right_token_of_another_domain.txt",
        &["spiffe-63"],
        "a subject of `example.org` by a key of `example.com`",
        "SGCK106",
        bytes,
    );
    let other_use = with(header(), "kid", json!("other-use")).to_string();
    let bytes = signed_text(
        &other_use,
        &claims().to_string(),
        "token-unlisted-use",
        JwsAlgorithm::Rs256,
    );
    all.broken(
        "jwt_key_of_another_use.txt",
        TWIN,
        &["spiffe-64"],
        "by a key of the bundle whose use is `sig`",
        "SGCK106",
        bytes,
    );
}
