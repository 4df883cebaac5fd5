use crate::support::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use signet_crypto::{Components, KeyKind, LocalKey};
use signet_jose::*;

fn all() -> AlgorithmSet {
    AlgorithmSet::of(&JwsAlgorithm::ALL)
}

#[test]
fn token_j2_every_algorithm_verifies_with_its_own_kind_of_key_only() {
    for algorithm in JwsAlgorithm::ALL {
        let header = json!({"alg": algorithm.as_str(), "kid": "k"}).to_string();
        let signer = key(kind_for(algorithm));
        let token = sign_text(&header, &good_claims().to_string(), signer, algorithm);
        let profile = profile().algorithms(all());
        assert!(
            verify(&token, &profile, &only(signer, None), NOW).is_ok(),
            "{algorithm}"
        );
        assert!(verify(&token, &profile, &only(signer, Some(algorithm)), NOW).is_ok());
        for (_, other) in keys().filter(|(kind, _)| !algorithm.suits(*kind)) {
            let error = verify(&token, &profile, &only(other, None), NOW).unwrap_err();
            assert!(
                matches!(error, JoseError::KeyAlgorithm { .. }),
                "{algorithm}: {error}"
            );
        }
    }
}

#[test]
fn token_j2_the_header_must_name_the_keys_own_algorithm() {
    let rsa = key(KeyKind::Rsa2048);
    let six = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    for (signed, published) in six.iter().flat_map(|a| six.map(|b| (*a, b))) {
        let algorithm = JwsAlgorithm::parse(signed).unwrap();
        let header = json!({"alg": signed, "kid": "k"}).to_string();
        let token = sign_text(&header, &good_claims().to_string(), rsa, algorithm);
        let keys = only(rsa, JwsAlgorithm::parse(published));
        let result = verify(&token, &profile().algorithms(all()), &keys, NOW);
        assert_eq!(
            result.is_ok(),
            signed == published,
            "{signed} with a key for {published}"
        );
        if signed != published {
            assert!(matches!(result, Err(JoseError::KeyAlgorithm { .. })));
        }
    }
}

#[test]
fn token_j2_the_default_algorithms() {
    let named = |set: AlgorithmSet| set.iter().map(JwsAlgorithm::as_str).collect::<Vec<_>>();
    assert_eq!(
        named(AlgorithmSet::DEFAULT),
        ["ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"]
    );
    assert_eq!(
        named(AlgorithmSet::SVID),
        [
            "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
        ]
    );
    for algorithm in JwsAlgorithm::ALL {
        let signer = key(kind_for(algorithm));
        for (kind, taken) in [
            (TokenKind::Jwt, AlgorithmSet::DEFAULT),
            (TokenKind::JwtSvid, AlgorithmSet::SVID),
        ] {
            let header = json!({"alg": algorithm.as_str(), "kid": "k"}).to_string();
            let token = sign_text(&header, &good_claims().to_string(), signer, algorithm);
            let result = verify(&token, &profile_of(kind), &only(signer, None), NOW);
            assert_eq!(result.is_ok(), taken.contains(algorithm), "{algorithm} {kind:?}");
        }
    }
}

#[test]
fn token_j2_none_in_any_case_unknown_and_missing_algorithms_are_refused() {
    let wrong = [
        "none",
        "None",
        "nOnE",
        "NONE",
        "",
        "HS256",
        "HS384",
        "HS512",
        "es256",
        "ES256 ",
        "ES256K",
        "Ed448",
        "RSA-OAEP",
        "dir",
        "A128KW",
        "ES256\u{0}",
        "RS1",
    ];
    for alg in wrong {
        let token = es256(&with(good_header(), "alg", json!(alg)), &good_claims());
        let error = check(&token).unwrap_err();
        assert!(matches!(error, JoseError::Algorithm { .. }), "{alg}: {error}");
        assert_eq!(JwsAlgorithm::parse(alg), None);
    }
    let token = es256(&with(good_header(), "alg", json!(null)), &good_claims());
    assert_eq!(
        check(&token).unwrap_err(),
        JoseError::Algorithm { found: String::new() }
    );
    let token = es256(&with(good_header(), "alg", json!(7)), &good_claims());
    assert_eq!(check(&token).unwrap_err(), JoseError::HeaderType { name: "alg" });
}

#[test]
fn token_j2_a_token_without_signature_is_refused() {
    let good = es256(&good_header(), &good_claims());
    check(&good).unwrap();
    let (input, _) = good.rsplit_once('.').unwrap();
    for bad in [format!("{input}."), input.to_owned(), format!("{input}.AAAA")] {
        assert!(check(&bad).is_err(), "{bad}");
    }
    let none = es256(&with(good_header(), "alg", json!("none")), &good_claims());
    let (input, _) = none.rsplit_once('.').unwrap();
    assert!(check(&format!("{input}.")).is_err());
    assert!(check(input).is_err());
}

/// The secrets that an attacker knows: our own public key in each form it is published in.
fn public_forms(key: &LocalKey) -> Vec<(&'static str, Vec<u8>)> {
    let public = key.public_key();
    let body = base64_of(public.spki_der());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    let own = jwk(key, "k", None).to_value().to_string();
    let number = match public.components() {
        Components::Rsa { n, .. } => n,
        Components::Ec { x, .. } => x,
        Components::Ed25519(bytes) | Components::MlDsa(bytes) => bytes,
    };
    vec![
        ("pem", pem.into_bytes()),
        ("der", public.spki_der().to_vec()),
        ("jwk", own.into_bytes()),
        ("modulus", number.to_vec()),
    ]
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    lines.join("\n")
}

#[test]
fn token_j2_hmac_with_our_own_public_key_is_refused_in_four_variants() {
    for kind in [KeyKind::Rsa2048, KeyKind::P256, KeyKind::Ed25519] {
        let signer = key(kind);
        for (form, secret) in public_forms(signer) {
            for hmac in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let mut header = Header::new(hmac);
                header.kid = Some("k".to_owned());
                let secret = EncodingKey::from_secret(&secret);
                let token = jsonwebtoken::encode(&header, &good_claims(), &secret).unwrap();
                let profile = profile().algorithms(all());
                let error = verify(&token, &profile, &only(signer, None), NOW).unwrap_err();
                assert!(
                    matches!(error, JoseError::Algorithm { .. }),
                    "{form} {kind:?} {hmac:?}: {error}"
                );
            }
            // The same bytes under an algorithm that is taken: the signature is no signature.
            let own = JwsAlgorithm::for_key(kind);
            let header = json!({"alg": own.as_str(), "kid": "k"}).to_string();
            let input = format!(
                "{}.{}",
                base64url::encode(header.as_bytes()),
                base64url::encode(good_claims().to_string().as_bytes())
            );
            let mac = jsonwebtoken::crypto::sign(
                input.as_bytes(),
                &EncodingKey::from_secret(&secret),
                Algorithm::HS256,
            )
            .unwrap();
            let error = verify(&format!("{input}.{mac}"), &profile(), &only(signer, None), NOW).unwrap_err();
            assert_eq!(error, JoseError::Signature, "{form} {kind:?}");
        }
    }
}

#[test]
fn token_j2_both_names_of_ed25519_are_taken_for_ed25519_keys() {
    let signer = key(KeyKind::Ed25519);
    for named in ["EdDSA", "Ed25519"] {
        let header = json!({"alg": named, "kid": "k"}).to_string();
        let token = sign_text(&header, &good_claims().to_string(), signer, JwsAlgorithm::EdDsa);
        for declared in [None, Some(JwsAlgorithm::EdDsa), Some(JwsAlgorithm::Ed25519)] {
            assert!(
                verify(&token, &profile(), &only(signer, declared), NOW).is_ok(),
                "{named}"
            );
        }
        assert!(verify(&token, &profile(), &only(p256(), None), NOW).is_err());
    }
}

#[test]
fn token_j2_keys_of_other_edwards_and_montgomery_curves_are_refused() {
    for crv in ["Ed448", "X25519", "X448", "ed25519", ""] {
        let jwk = json!({"kty": "OKP", "crv": crv, "x": base64url::encode(&[9; 32])});
        assert_eq!(
            Jwk::parse(&jwk),
            Err(JoseError::Jwk { what: "unknown crv" }),
            "{crv}"
        );
    }
}

#[test]
fn token_j2_a_key_may_not_declare_an_algorithm_of_another_kind() {
    for (kind, alg) in [
        (KeyKind::P256, "ES384"),
        (KeyKind::P384, "ES256"),
        (KeyKind::P256, "RS256"),
        (KeyKind::Rsa2048, "ES256"),
        (KeyKind::Ed25519, "ES256"),
        (KeyKind::MlDsa44, "ML-DSA-65"),
    ] {
        let params = JwkParams {
            alg: JwsAlgorithm::parse(alg),
            ..JwkParams::default()
        };
        let result = Jwk::from_public_key(key(kind).public_key(), params);
        assert!(matches!(result, Err(JoseError::Jwk { .. })), "{kind:?} {alg}");
        let written = with(jwk(key(kind), "k", None).to_value(), "alg", json!(alg));
        assert!(Jwk::parse(&written).is_err(), "{kind:?} {alg}");
    }
}

#[test]
fn token_j2_weak_rsa_keys_are_refused() {
    let Components::Rsa { n, .. } = key(KeyKind::Rsa2048).public_key().components() else {
        panic!("an rsa key");
    };
    let number = |bytes: &[u8]| json!(base64url::encode(bytes));
    let rsa = |n: &[u8], e: &[u8]| Jwk::parse(&json!({"kty": "RSA", "n": number(n), "e": number(e)}));
    assert!(rsa(n, &[1, 0, 1]).is_ok());
    for e in [&[1][..], &[3], &[17], &[]] {
        assert!(matches!(rsa(n, e), Err(JoseError::JwkKey(_))), "{e:?}");
    }
    assert!(matches!(rsa(&n[128..], &[1, 0, 1]), Err(JoseError::JwkKey(_))));
}
