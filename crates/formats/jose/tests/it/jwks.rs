use crate::support::*;
use serde_json::{Value, json};
use signet_crypto::{KeyKind, PublicKey};
use signet_fault::Coded;
use signet_jose::*;

#[test]
fn jwks_read_back() {
    for (kind, key) in keys() {
        for alg in [None, Some(JwsAlgorithm::for_key(kind))] {
            let jwk = Jwk::from_public_key(
                key.public_key(),
                JwkParams {
                    kid: Some("k".to_owned()),
                    alg,
                    use_: Some("sig".to_owned()),
                },
            )
            .unwrap();
            let read = Jwk::parse(&jwk.to_value()).unwrap();
            assert_eq!(read.public_key(), key.public_key());
            assert_eq!((read.kid(), read.use_()), (Some("k"), Some("sig")));
            assert_eq!(
                Jwk::parse_text(jwk.to_value().to_string().as_bytes()).unwrap(),
                read
            );
            assert_eq!(read.thumbprint(), jwk.thumbprint());
        }
    }
}

/// RFC 7638 §3.1.
#[test]
fn the_thumbprint_of_the_rfc() {
    let jwk = json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29"
    });
    let jwk = Jwk::parse(&jwk).unwrap();
    assert_eq!(
        base64url::encode(&jwk.thumbprint()),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

/// RFC 8037 A.3.
#[test]
fn the_thumbprint_of_an_ed25519_key() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(
        base64url::encode(&Jwk::parse(&jwk).unwrap().thumbprint()),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn private_and_symmetric_keys_are_refused() {
    for (kind, key) in keys() {
        let public = jwk(key, "k", None).to_value();
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            for value in [json!("AQ"), json!(null), json!([])] {
                let mut private = public.clone();
                private[name] = value;
                assert_eq!(
                    Jwk::parse(&private),
                    Err(JoseError::JwkPrivate { name }),
                    "{kind:?}"
                );
            }
        }
    }
    let symmetric = json!({"kty": "oct", "k": "AQ", "alg": "HS256"});
    assert_eq!(Jwk::parse(&symmetric), Err(JoseError::JwkPrivate { name: "k" }));
    assert!(Jwk::parse(&json!({"kty": "oct"})).is_err());
}

#[test]
fn each_missing_or_mistyped_member_is_refused() {
    for (kind, key) in keys() {
        let whole = jwk(key, "k", None).to_value();
        for name in whole.as_object().unwrap().keys() {
            for wrong in [json!(1), json!(["a"]), json!({}), json!(null)] {
                let mut broken = whole.clone();
                broken[name] = wrong;
                assert!(Jwk::parse(&broken).is_err(), "{kind:?} {name}");
            }
            if name != "kid" {
                assert!(
                    Jwk::parse(&with(whole.clone(), name, json!(null))).is_err(),
                    "{kind:?} {name}"
                );
            }
        }
        for name in ["x", "y", "n", "pub"] {
            let Some(Value::String(text)) = whole.get(name) else {
                continue;
            };
            for wrong in ["", "AQ", &format!("{text}="), &format!("{text}A"), &text[1..]] {
                let broken = with(whole.clone(), name, json!(wrong));
                assert!(Jwk::parse(&broken).is_err(), "{kind:?} {name} {wrong}");
            }
        }
    }
    for other in [
        json!([]),
        json!("k"),
        json!(null),
        json!({}),
        json!({"kty": "ec"}),
    ] {
        assert!(Jwk::parse(&other).is_err(), "{other}");
    }
}

#[test]
fn a_curve_is_that_of_its_point() {
    for (kind, wrong) in [
        (KeyKind::P256, "P-384"),
        (KeyKind::P384, "P-256"),
        (KeyKind::P521, "P-256"),
        (KeyKind::P256, "secp256k1"),
        (KeyKind::P256, "p-256"),
    ] {
        let broken = with(jwk(key(kind), "k", None).to_value(), "crv", json!(wrong));
        assert!(Jwk::parse(&broken).is_err(), "{kind:?} {wrong}");
    }
}

#[test]
fn key_ops_must_let_the_key_verify() {
    let whole = jwk(p256(), "k", None).to_value();
    for (ops, taken) in [
        (json!(["verify"]), true),
        (json!(["sign", "verify"]), true),
        (json!(["encrypt"]), false),
        (json!([]), false),
        (json!("verify"), false),
    ] {
        assert_eq!(
            Jwk::parse(&with(whole.clone(), "key_ops", ops.clone())).is_ok(),
            taken,
            "{ops}"
        );
    }
}

#[test]
fn an_unknown_alg_is_refused_and_unknown_members_are_not() {
    let whole = jwk(p256(), "k", None).to_value();
    for alg in ["none", "HS256", "ECDH-ES", ""] {
        assert!(
            Jwk::parse(&with(whole.clone(), "alg", json!(alg))).is_err(),
            "{alg}"
        );
    }
    assert!(Jwk::parse(&with(whole, "x-note", json!({"a": 1}))).is_ok());
}

#[test]
fn repeated_members_of_a_key_are_refused() {
    let text = jwk(p256(), "k", None).to_value().to_string();
    let repeated = format!(r#"{},"kid":"l"}}"#, text.trim_end_matches('}'));
    assert!(matches!(
        Jwk::parse_text(repeated.as_bytes()),
        Err(JoseError::Json { part: "key", .. })
    ));
    assert!(Jwk::parse_text(&vec![b' '; Jwk::BYTES_MAX + 1]).is_err());
}

#[test]
fn sets_read_back_and_leave_unknown_kinds_out() {
    let set = JwkSet::new(vec![
        jwk(p256(), "a", None),
        jwk(key(KeyKind::Ed25519), "b", None),
    ])
    .unwrap();
    assert_eq!(
        JwkSet::parse(set.to_value().to_string().as_bytes()),
        Ok(set.clone())
    );
    assert_eq!(set.iter().count(), 2);
    assert!(set.find("a").is_some() && set.find("A").is_none());
    let mut more = set.to_value();
    more["keys"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kty": "future"}));
    more["keys"].as_array_mut().unwrap().push(json!({"use": "sig"}));
    more["other"] = json!(1);
    assert_eq!(JwkSet::parse(more.to_string().as_bytes()), Ok(set));
    for bad in [r#"{}"#, r#"{"keys":{}}"#, r#"[]"#, r#"{"keys":[],"keys":[]}"#, ""] {
        assert!(JwkSet::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(JwkSet::parse(br#"{"keys":[{"kty":"oct","k":"AQ"}]}"#).is_err());
}

#[test]
fn sets_are_bounded_and_have_each_kid_once() {
    let twice = JwkSet::new(vec![jwk(p256(), "a", None), jwk(key(KeyKind::P384), "a", None)]);
    assert!(matches!(twice, Err(JoseError::Jwk { .. })));
    let many = |count: usize| JwkSet::new((0..count).map(|i| jwk(p256(), &i.to_string(), None)).collect());
    assert!(many(32).is_ok());
    assert!(many(33).is_err());
    assert!(JwkSet::parse(&vec![b' '; JwkSet::BYTES_MAX + 1]).is_err());
}

/// What a set shows is what a public key has, for every kind of key.
#[test]
fn no_private_member_is_ever_written() {
    for (_, key) in keys() {
        let text = jwk(key, "k", None).to_value().to_string();
        let shown: Vec<String> = serde_json::from_str::<serde_json::Map<String, Value>>(&text)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let public = ["alg", "crv", "e", "kid", "kty", "n", "pub", "use", "x", "y"];
        assert!(
            shown.iter().all(|name| public.contains(&name.as_str())),
            "{shown:?}"
        );
    }
}

#[test]
fn every_error_is_registered() {
    assert_eq!(signet_fault::flaws(&[REGISTER]), []);
    assert_eq!(REGISTER.len(), 27);
    assert!(!JoseError::Signature.remedy().is_empty());
    assert_eq!(
        JoseError::Sign(signet_crypto::CryptoError::Random).code(),
        "SGJO027"
    );
    let shown = PublicKey::from_spki_der(&[])
        .map_err(JoseError::JwkKey)
        .unwrap_err();
    assert!(shown.to_string().starts_with("refused jwk: "));
}
