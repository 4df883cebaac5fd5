use crate::support::*;
use serde_json::{Map, Value, json};
use signet_crypto::KeyKind;
use signet_jose::*;

fn read(cnf: &Value) -> Result<Confirmation, JoseError> {
    Confirmation::read(&Map::from_iter([("cnf".to_owned(), cnf.clone())]))
}

fn good() -> Value {
    jwk(p256(), "w", Some(JwsAlgorithm::Es256)).to_value()
}

#[test]
fn spiffe_71_cnf_is_read_and_written_for_the_nine_algorithms_and_no_others() {
    for algorithm in JwsAlgorithm::ALL {
        let key = key(kind_for(algorithm)).public_key();
        let made = Confirmation::new(key, algorithm);
        if !AlgorithmSet::SVID.contains(algorithm) {
            assert!(matches!(made, Err(JoseError::Algorithm { .. })), "{algorithm}");
            let mut jwk = Jwk::from_public_key(key, JwkParams::default())
                .unwrap()
                .to_value();
            jwk["alg"] = algorithm.as_str().into();
            let error = read(&json!({ "jwk": jwk })).unwrap_err();
            assert!(
                matches!(error, JoseError::Algorithm { .. }),
                "{algorithm}: {error}"
            );
            continue;
        }
        let made = made.unwrap();
        let value = made.to_value();
        assert_eq!(value["jwk"]["alg"], algorithm.as_str());
        assert_eq!(read(&value).unwrap(), made);
    }
}

#[test]
fn spiffe_71_cnf_jwk_names_an_algorithm_that_its_key_has() {
    for alg in [
        json!(null),
        json!("none"),
        json!("HS256"),
        json!("es256"),
        json!("ES256K"),
        json!(7),
    ] {
        let error = read(&json!({"jwk": with(good(), "alg", alg.clone())})).unwrap_err();
        assert!(matches!(error, JoseError::Algorithm { .. }), "{alg}: {error}");
    }
    for alg in ["ES384", "RS256"] {
        let error = read(&json!({"jwk": with(good(), "alg", json!(alg))})).unwrap_err();
        assert!(matches!(error, JoseError::Jwk { .. }), "{alg}: {error}");
    }
    let made = Confirmation::new(key(KeyKind::P384).public_key(), JwsAlgorithm::Es256);
    assert!(matches!(made, Err(JoseError::Jwk { .. })));
}

#[test]
fn spiffe_71_private_members_in_cnf_are_refused_whatever_else_is_wrong() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        for jwk in [good(), with(good(), "alg", json!(null)), json!({"kty": "oct"})] {
            let error = read(&json!({"jwk": with(jwk, name, json!("AAAA"))})).unwrap_err();
            assert_eq!(error, JoseError::JwkPrivate { name });
        }
    }
}

#[test]
fn spiffe_69_71_cnf_is_an_object_with_one_jwk() {
    let missing = Confirmation::read(&Map::new()).unwrap_err();
    assert_eq!(missing, JoseError::ClaimMissing { name: "cnf" });
    for wrong in [
        json!(null),
        json!("key"),
        json!([good()]),
        json!({}),
        json!({"jwk": null}),
        json!({"jwk": "x"}),
        json!({"jwk": [good()]}),
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"kid": "w"}),
        json!({"jwk": good(), "jku": "https://x.test/keys"}),
        json!({"jwk": good(), "jwe": "eyJ"}),
    ] {
        let error = read(&wrong).unwrap_err();
        assert!(
            matches!(error, JoseError::ClaimType { name: "cnf", .. }),
            "{wrong}: {error}"
        );
    }
    assert!(read(&json!({"jwk": good(), "other": 1})).is_ok());
    let encrypting = json!({"jwk": with(good(), "use", json!("enc"))});
    assert!(matches!(read(&encrypting), Err(JoseError::Jwk { .. })));
}

fn wit(header: &Value) -> Result<Verified, JoseError> {
    let claims = json!({"iss": ISSUER, "sub": "s", "exp": NOW_S + 300});
    let keys = only(p256(), None);
    verify(&es256(header, &claims), &Profile::wit_svid(), &keys, NOW)
}

#[test]
fn spiffe_68_typ_is_wit_jwt_byte_for_byte() {
    let typ = |typ: Value| wit(&with(good_header(), "typ", typ));
    assert!(typ(json!("wit+jwt")).is_ok());
    for wrong in [
        "",
        "JWT",
        "WIT+JWT",
        "wit+JWT",
        "application/wit+jwt",
        "wit",
        "wit+jwt ",
        "wpt+jwt",
    ] {
        let error = typ(json!(wrong)).unwrap_err();
        assert!(matches!(error, JoseError::Typ { .. }), "{wrong:?}: {error}");
    }
    assert!(matches!(typ(json!(null)), Err(JoseError::Typ { .. })));
}

#[test]
fn spiffe_68_73_kid_and_alg_are_needed_and_crit_is_refused_where_plain_headers_are_ignored() {
    let header = with(good_header(), "typ", json!("wit+jwt"));
    let without = |name: &str| wit(&with(header.clone(), name, json!(null))).unwrap_err();
    assert_eq!(without("kid"), JoseError::KidMissing);
    assert!(matches!(without("alg"), JoseError::Algorithm { .. }));
    assert!(wit(&with(header.clone(), "x-plain", json!({"a": 1}))).is_ok());
    for crit in [json!(["x-plain"]), json!(["exp"]), json!([])] {
        let error = wit(&with(header.clone(), "crit", crit)).unwrap_err();
        assert_eq!(error, JoseError::Header { name: "crit" });
    }
}
