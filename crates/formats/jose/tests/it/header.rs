use crate::support::*;
use serde_json::{Value, json};
use signet_crypto::{KeyKind, LocalKey};
use signet_jose::*;

fn refused(name: &'static str, member: Value) {
    let token = es256(&with(good_header(), name, member), &good_claims());
    assert_eq!(check(&token).unwrap_err(), JoseError::Header { name });
}

#[test]
fn token_j3_keys_in_the_header_are_refused_even_our_own() {
    let own = jwk(p256(), "k", None).to_value();
    refused("jwk", own);
    refused("jwk", json!("k"));
    refused("jku", json!("https://issuer.test/jwks"));
    refused("x5u", json!("https://issuer.test/cert"));
    refused("x5c", json!(["AQ"]));
    refused("x5c", json!([]));
}

#[test]
fn token_j3_a_key_in_the_header_never_verifies_its_own_token() {
    let attacker = LocalKey::generate(KeyKind::P256).unwrap();
    let own = jwk(&attacker, "k", None).to_value();
    let header = json!({"alg": "ES256", "kid": "k", "jwk": own}).to_string();
    let token = sign_text(
        &header,
        &good_claims().to_string(),
        &attacker,
        JwsAlgorithm::Es256,
    );
    assert_eq!(check(&token).unwrap_err(), JoseError::Header { name: "jwk" });
    assert!(matches!(
        verify(&token, &profile(), &IssuerKeys::new(), NOW),
        Err(JoseError::Header { name: "jwk" })
    ));
}

/// A DPoP proof is bound to its key by its thumbprint elsewhere; only there the header's key is handed on.
struct Proofs;

impl KeyResolver for Proofs {
    fn resolve(&self, hint: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss> {
        let jwk = hint.header_jwk.ok_or(KeyMiss::NoKey)?;
        Ok(ResolvedKey {
            key: jwk.public_key().clone(),
            algorithm: jwk.algorithm_for(hint.algorithm),
        })
    }
}

#[test]
fn token_j3_a_dpop_proof_alone_brings_its_key() {
    let claims = json!({"exp": NOW_S + 5, "iat": NOW_S, "jti": "j"});
    let own = jwk(p256(), "k", None).to_value();
    let header = |typ: &str, jwk: &Value| json!({"alg": "ES256", "typ": typ, "jwk": jwk});
    let of =
        |kind| Profile::new(kind, IssuerRule::ByKeys, AudienceRule::NotUsed).kid(KidRule::SoleKeyAllowed);
    let proof = es256(&header("dpop+jwt", &own), &claims);
    assert!(verify(&proof, &of(TokenKind::DpopProof), &Proofs, NOW).is_ok());
    for kind in TokenKind::ALL
        .into_iter()
        .filter(|kind| *kind != TokenKind::DpopProof)
    {
        let typ = match kind.typ() {
            TypRule::Exactly(typ) | TypRule::ExactlyOrGeneric(typ) => typ,
            _ => "JWT",
        };
        let token = es256(&header(typ, &own), &claims);
        let error = verify(&token, &of(kind), &Proofs, NOW).unwrap_err();
        assert_eq!(error, JoseError::Header { name: "jwk" }, "{kind:?}");
    }
    let private = with(own, "d", json!("AQ"));
    let proof = es256(&header("dpop+jwt", &private), &claims);
    assert_eq!(
        verify(&proof, &of(TokenKind::DpopProof), &Proofs, NOW).unwrap_err(),
        JoseError::JwkPrivate { name: "d" }
    );
}

#[test]
fn token_j4_crit_is_refused_whatever_it_names() {
    for crit in [
        json!(["b64"]),
        json!(["exp"]),
        json!([]),
        json!("b64"),
        json!(null),
        json!({}),
    ] {
        let mut header = good_header();
        header["crit"] = crit;
        let token = es256(&header, &good_claims());
        assert_eq!(check(&token).unwrap_err(), JoseError::Header { name: "crit" });
    }
}

#[test]
fn token_j4_b64_and_zip_are_refused() {
    refused("b64", json!(false));
    refused("b64", json!(true));
    refused("zip", json!("DEF"));
}

#[test]
fn token_j4_encrypted_and_nested_tokens_are_refused() {
    let jwe = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AQ.AQ.AQ.AQ";
    assert_eq!(check(jwe).unwrap_err(), JoseError::Encrypted);
    for (name, value) in [
        ("enc", json!("A256GCM")),
        ("epk", json!({})),
        ("p2s", json!("AQ")),
        ("cty", json!("JWT")),
        ("cty", json!("jwt")),
        ("cty", json!("application/jwt")),
    ] {
        let token = es256(&with(good_header(), name, value), &good_claims());
        assert_eq!(check(&token).unwrap_err(), JoseError::Encrypted, "{name}");
    }
    let inner = es256(&good_header(), &good_claims());
    let nested = sign_text(&good_header().to_string(), &inner, p256(), JwsAlgorithm::Es256);
    assert!(matches!(
        check(&nested),
        Err(JoseError::Json { part: "payload", .. })
    ));
}

#[test]
fn token_j4_json_serialisation_is_refused() {
    let token = es256(&good_header(), &good_claims());
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
    let flattened = json!({"protected": header, "payload": payload, "signature": signature});
    let general = json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]});
    for text in [
        flattened.to_string(),
        general.to_string(),
        format!(" \n{flattened}"),
    ] {
        assert_eq!(check(&text).unwrap_err(), JoseError::JsonSerialization);
    }
}

#[test]
fn members_that_mean_nothing_to_us_are_ignored() {
    let header = with(with(good_header(), "x", json!([1])), "x5t#S256", json!("AQ"));
    assert!(check(&es256(&header, &good_claims())).is_ok());
}

#[test]
fn kid_and_typ_are_strings() {
    for name in ["kid", "typ", "cty"] {
        for wrong in [json!(1), json!(["k"]), json!({}), json!(true)] {
            let token = es256(&with(good_header(), name, wrong), &good_claims());
            assert_eq!(check(&token).unwrap_err(), JoseError::HeaderType { name });
        }
    }
}
