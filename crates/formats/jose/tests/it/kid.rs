use crate::support::*;
use serde_json::json;
use signet_crypto::{KeyKind, LocalKey};
use signet_jose::*;

const NO_KEY: JoseError = JoseError::Key(KeyMiss::NoKey);

#[test]
fn token_j10_a_kid_is_looked_up_by_its_exact_bytes() {
    let mut keys = IssuerKeys::new();
    keys.insert(ISSUER, JwkSet::new(vec![jwk(p256(), "Key-1", None)]).unwrap());
    let long = "k".repeat(3_000);
    for kid in [
        "key-1",
        "Key-1 ",
        " Key-1",
        "Key-1\u{0}",
        "Key-1\u{0}x",
        "Key",
        "",
        "../Key-1",
        "../../../../etc/passwd",
        "' OR '1'='1",
        "Key-1'; DROP TABLE keys; --",
        "%4bey-1",
        "Ke\u{0301}y-1",
        &long,
    ] {
        let token = es256(&with(good_header(), "kid", json!(kid)), &good_claims());
        assert_eq!(
            verify(&token, &profile(), &keys, NOW).unwrap_err(),
            NO_KEY,
            "{kid:?}"
        );
    }
    let token = es256(&with(good_header(), "kid", json!("Key-1")), &good_claims());
    assert!(verify(&token, &profile(), &keys, NOW).is_ok());
    // With 4 KiB of it the header is over its limit.
    let token = es256(
        &with(good_header(), "kid", json!("k".repeat(4096))),
        &good_claims(),
    );
    assert!(matches!(
        verify(&token, &profile(), &keys, NOW),
        Err(JoseError::TooLong { .. })
    ));
}

#[test]
fn token_j10_the_same_kid_of_two_issuers_does_not_cross_over() {
    let other = LocalKey::generate(KeyKind::P256).unwrap();
    let mut keys = only(p256(), None);
    keys.insert(
        "https://other.test",
        JwkSet::new(vec![jwk(&other, "k", None)]).unwrap(),
    );
    let claims = good_claims().to_string();
    let forged = sign_text(&good_header().to_string(), &claims, &other, JwsAlgorithm::Es256);
    assert_eq!(
        verify(&forged, &profile(), &keys, NOW).unwrap_err(),
        JoseError::Signature
    );
    let honest = with(good_claims(), "iss", json!("https://other.test")).to_string();
    let honest = sign_text(&good_header().to_string(), &honest, &other, JwsAlgorithm::Es256);
    assert_eq!(
        verify(&honest, &profile(), &keys, NOW).unwrap_err(),
        JoseError::Issuer
    );
}

#[test]
fn token_j10_an_unknown_issuer_has_no_keys() {
    let token = es256(
        &good_header(),
        &with(good_claims(), "iss", json!("https://x.test")),
    );
    assert_eq!(check(&token).unwrap_err(), JoseError::Key(KeyMiss::NoSet));
    let token = es256(&good_header(), &with(good_claims(), "iss", json!(null)));
    assert_eq!(check(&token).unwrap_err(), JoseError::Key(KeyMiss::NoSet));
}

#[test]
fn token_j10_without_kid_a_token_is_refused_unless_the_profile_and_a_sole_key_allow_it() {
    let token = es256(&with(good_header(), "kid", json!(null)), &good_claims());
    assert_eq!(check(&token).unwrap_err(), JoseError::KidMissing);
    let lenient = profile().kid(KidRule::SoleKeyAllowed);
    assert!(verify(&token, &lenient, &only(p256(), None), NOW).is_ok());
    let second = LocalKey::generate(KeyKind::P256).unwrap();
    let set = |keys: Vec<Jwk>| {
        let mut all = IssuerKeys::new();
        all.insert(ISSUER, JwkSet::new(keys).unwrap());
        all
    };
    let two = set(vec![jwk(p256(), "k", None), jwk(&second, "l", None)]);
    assert_eq!(verify(&token, &lenient, &two, NOW).unwrap_err(), NO_KEY);
    // A key for another algorithm is no candidate.
    let mixed = set(vec![
        jwk(p256(), "k", None),
        jwk(key(KeyKind::Ed25519), "l", None),
    ]);
    assert!(verify(&token, &lenient, &mixed, NOW).is_ok());
    assert_eq!(verify(&token, &lenient, &set(vec![]), NOW).unwrap_err(), NO_KEY);
}

#[test]
fn a_key_for_encryption_verifies_nothing() {
    let params = JwkParams {
        kid: Some("k".to_owned()),
        use_: Some("enc".to_owned()),
        alg: None,
    };
    let mut keys = IssuerKeys::new();
    let jwk = Jwk::from_public_key(p256().public_key(), params).unwrap();
    keys.insert(ISSUER, JwkSet::new(vec![jwk]).unwrap());
    let token = es256(&good_header(), &good_claims());
    assert!(matches!(
        verify(&token, &profile(), &keys, NOW),
        Err(JoseError::Key(KeyMiss::Refused { .. }))
    ));
}
