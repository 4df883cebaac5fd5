//! Private keys as JWK.

use serde_json::{Value, json};
use signet_crypto::{KeyKind, LocalKey};
use signet_jose::{JoseError, Jwk, JwsAlgorithm, PrivateJwk, base64url};

/// RFC 7517 Appendix A.2, the first key.
const RFC: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
  "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
  "use":"enc","kid":"1"}"#;

const CURVES: [(KeyKind, JwsAlgorithm, usize); 3] = [
    (KeyKind::P256, JwsAlgorithm::Es256, 43),
    (KeyKind::P384, JwsAlgorithm::Es384, 64),
    (KeyKind::P521, JwsAlgorithm::Es512, 88),
];

fn members(jwk: &PrivateJwk) -> Value {
    serde_json::from_slice(jwk.to_text().unwrap().expose()).unwrap()
}

fn text(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

#[test]
fn what_is_written_is_read_and_signs_for_the_same_key() {
    for (kind, algorithm, length) in CURVES {
        let key = LocalKey::generate(kind).unwrap();
        let public = key.public_key().clone();
        let jwk = PrivateJwk::new(key, algorithm).unwrap();
        let members = members(&jwk);
        assert_eq!(members["d"].as_str().unwrap().len(), length);
        assert_eq!(
            (&members["kty"], &members["alg"]),
            (&json!("EC"), &json!(algorithm.as_str()))
        );
        let read = PrivateJwk::parse(jwk.to_text().unwrap().expose()).unwrap();
        assert_eq!((read.key().public_key(), read.algorithm()), (&public, algorithm));
        assert_eq!(read.to_public().unwrap(), jwk.to_public().unwrap());
        // The public half is what stands beside `d`.
        let mut without = members;
        without.as_object_mut().unwrap().remove("d");
        assert_eq!(Jwk::parse(&without).unwrap(), jwk.to_public().unwrap());
        let secret = read.key().ec_scalar().unwrap().unwrap();
        let shown = format!("{jwk:?}");
        assert!(!shown.contains(&base64url::encode(secret.expose())));
    }
}

#[test]
fn the_rfcs_key_is_read() {
    let jwk = PrivateJwk::parse(RFC.as_bytes()).unwrap();
    assert_eq!(jwk.algorithm(), JwsAlgorithm::Es256);
    let d = members(&jwk)["d"].clone();
    assert_eq!(d, "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE");
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    for (kind, algorithm, _) in CURVES {
        let make = || members(&PrivateJwk::new(LocalKey::generate(kind).unwrap(), algorithm).unwrap());
        let (mut one, other) = (make(), make());
        one["d"] = other["d"].clone();
        let error = PrivateJwk::parse(&text(&one)).unwrap_err();
        assert!(matches!(error, JoseError::JwkKey(_)), "{error}");
    }
}

#[test]
fn what_is_missing_malformed_or_of_another_kind_is_refused() {
    let good =
        members(&PrivateJwk::new(LocalKey::generate(KeyKind::P256).unwrap(), JwsAlgorithm::Es256).unwrap());
    PrivateJwk::parse(&text(&good)).unwrap();
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 12] = [
        ("no d", |v| drop(v.as_object_mut().unwrap().remove("d"))),
        ("d is a number", |v| v["d"] = json!(7)),
        ("d is padded", |v| {
            v["d"] = json!(format!("{}=", v["d"].as_str().unwrap()))
        }),
        ("d is short", |v| v["d"] = json!("AQ")),
        ("d is zero", |v| v["d"] = json!(base64url::encode(&[0; 32]))),
        ("d is above the order", |v| {
            v["d"] = json!(base64url::encode(&[0xff; 32]))
        }),
        ("no x", |v| drop(v.as_object_mut().unwrap().remove("x"))),
        ("another curve", |v| v["crv"] = json!("P-384")),
        ("an unknown curve", |v| v["crv"] = json!("secp256k1")),
        ("an algorithm of another curve", |v| v["alg"] = json!("ES384")),
        ("only for verifying", |v| v["key_ops"] = json!(["verify"])),
        ("symmetric", |v| v["k"] = json!("AQAB")),
    ];
    for (what, change) in changes {
        let mut broken = good.clone();
        change(&mut broken);
        assert!(PrivateJwk::parse(&text(&broken)).is_err(), "{what}");
    }
    let mut signing = good.clone();
    signing["key_ops"] = json!(["sign"]);
    PrivateJwk::parse(&text(&signing)).unwrap();
    let twice = String::from_utf8(text(&good))
        .unwrap()
        .replacen('{', r#"{"kty":"EC","#, 1);
    assert!(PrivateJwk::parse(twice.as_bytes()).is_err());
    assert!(PrivateJwk::parse(&vec![b' '; PrivateJwk::BYTES_MAX + 1]).is_err());
    assert!(PrivateJwk::parse(b"[]").is_err());
}

#[test]
fn other_kinds_of_keys_have_no_such_form() {
    for kind in [KeyKind::Ed25519, KeyKind::Rsa2048, KeyKind::MlDsa44] {
        let key = LocalKey::generate(kind).unwrap();
        assert!(key.ec_scalar().unwrap().is_none());
        let algorithm = JwsAlgorithm::for_key(kind);
        assert!(PrivateJwk::new(key, algorithm).is_err(), "{kind:?}");
    }
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    assert!(PrivateJwk::new(key, JwsAlgorithm::Es384).is_err());
}
