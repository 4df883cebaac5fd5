use super::*;
use proptest::prelude::*;
use serde_json::json;
use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
use signet_jose::{Jwk, JwkParams, JwsAlgorithm, Unsigned, base64url};
use signet_trust::{Bundle, JwtAuthority};
use std::sync::LazyLock;

const NOW_S: u64 = 1_800_000_000;
const NOW: UnixTime = UnixTime::from_secs(NOW_S);
const AUDIENCE: &str = "spiffe://own.test/server";

static P256: LazyLock<LocalKey> = LazyLock::new(|| LocalKey::generate(KeyKind::P256).unwrap());
static OTHER: LazyLock<LocalKey> = LazyLock::new(|| LocalKey::generate(KeyKind::P256).unwrap());
static RSA: LazyLock<LocalKey> = LazyLock::new(|| LocalKey::generate(KeyKind::Rsa2048).unwrap());

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn authority(key: &LocalKey, kid: &str, use_: Option<&str>) -> JwtAuthority {
    let params = JwkParams {
        kid: Some(kid.to_owned()),
        alg: None,
        use_: use_.map(str::to_owned),
    };
    JwtAuthority {
        kid: kid.to_owned(),
        jwk: Jwk::from_public_key(key.public_key(), params).unwrap(),
        tainted: false,
    }
}

fn bundle(name: &str, jwt: Vec<JwtAuthority>) -> Bundle {
    Bundle::new(domain(name), 1, None, Vec::new(), jwt).unwrap()
}

fn view_of(jwt: Vec<JwtAuthority>) -> TrustView {
    TrustView::new(domain("own.test")).with_bundle(bundle("own.test", jwt))
}

/// The own domain with `P256` as its key `k`.
fn view() -> TrustView {
    view_of(vec![authority(&P256, "k", Some("jwt-svid"))])
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "k", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"sub": "spiffe://own.test/client", "aud": [AUDIENCE], "iat": NOW_S - 10, "exp": NOW_S + 300})
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    let map = value.as_object_mut().unwrap();
    if member.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), member);
    }
    value
}

fn sign(header: &Value, claims: &Value, key: &LocalKey, algorithm: JwsAlgorithm) -> String {
    let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", part(header), part(claims));
    let algorithm = algorithm.signature_algorithm();
    let signature = key
        .sign(algorithm, SignatureEncoding::Fixed, input.as_bytes())
        .unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

fn es256(header: &Value, claims: &Value) -> String {
    sign(header, claims, &P256, JwsAlgorithm::Es256)
}

fn check(token: &str) -> Result<VerifiedJwtSvid, JwtSvidError> {
    validate_svid(token, AUDIENCE, &view(), NOW)
}

/// Why a token is refused whose only fault is this claim.
fn claim(name: &str, value: Value) -> JwtSvidError {
    check(&es256(&header(), &with(claims(), name, value))).unwrap_err()
}

fn header_member(name: &str, value: Value) -> Result<VerifiedJwtSvid, JwtSvidError> {
    check(&es256(&with(header(), name, value), &claims()))
}

#[test]
fn a_jwt_svid_is_taken() {
    let svid = check(&es256(&header(), &with(claims(), "color", json!("blue")))).unwrap();
    assert_eq!(svid.id.as_str(), "spiffe://own.test/client");
    assert_eq!(
        (svid.kid.as_str(), svid.exp),
        ("k", UnixTime::from_secs(NOW_S + 300))
    );
    assert_eq!(svid.audiences, [AUDIENCE]);
    assert_eq!(svid.claims.get("color"), Some(&json!("blue")));
}

#[test]
fn spiffe_24_aud_is_returned_as_a_list() {
    let svid = check(&es256(&header(), &with(claims(), "aud", json!(AUDIENCE)))).unwrap();
    assert_eq!(svid.claims.get("aud"), Some(&json!([AUDIENCE])));
    let several = json!(["a", AUDIENCE]);
    let svid = check(&es256(&header(), &with(claims(), "aud", several.clone()))).unwrap();
    assert_eq!(svid.claims.get("aud"), Some(&several));
    assert_eq!(svid.audiences, ["a", AUDIENCE]);
}

#[test]
fn spiffe_24_a_token_without_exp_is_refused() {
    let missing = JwtSvidError::Token(JoseError::ClaimMissing { name: "exp" });
    assert_eq!(claim("exp", json!(null)), missing);
    let mut null = claims();
    null["exp"] = Value::Null;
    for wrong in [null, with(claims(), "exp", json!("2000000000"))] {
        let error = check(&es256(&header(), &wrong)).unwrap_err();
        assert!(matches!(
            error,
            JwtSvidError::Token(JoseError::ClaimType { name: "exp", .. })
        ));
    }
}

#[test]
fn spiffe_24_only_the_subjects_own_bundle_is_asked() {
    let federated = bundle("other.test", vec![authority(&OTHER, "k", Some("jwt-svid"))]);
    let view = view().with_bundle(federated);
    let sub = |name: &str| with(claims(), "sub", json!(format!("spiffe://{name}/client")));
    let offer = |claims: &Value, key: &LocalKey| {
        let token = sign(&header(), claims, key, JwsAlgorithm::Es256);
        validate_svid(&token, AUDIENCE, &view, NOW).map(|svid| svid.id.to_string())
    };
    assert_eq!(
        offer(&sub("own.test"), &P256),
        Ok("spiffe://own.test/client".to_owned())
    );
    assert_eq!(
        offer(&sub("other.test"), &OTHER),
        Ok("spiffe://other.test/client".to_owned())
    );
    let forged = Err(JwtSvidError::Token(JoseError::Signature));
    assert_eq!(offer(&sub("own.test"), &OTHER), forged);
    assert_eq!(offer(&sub("other.test"), &P256), forged);
    let trust_domain = domain("third.test");
    assert_eq!(
        offer(&sub("third.test"), &P256),
        Err(JwtSvidError::NoBundle { trust_domain })
    );
}

#[test]
fn spiffe_53_exactly_nine_algorithms_are_taken() {
    let keys: Vec<LocalKey> = [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Ed25519,
        KeyKind::Rsa2048,
        KeyKind::MlDsa44,
        KeyKind::MlDsa65,
        KeyKind::MlDsa87,
    ]
    .into_iter()
    .map(|kind| LocalKey::generate(kind).unwrap())
    .collect();
    let mut taken = Vec::new();
    for algorithm in JwsAlgorithm::ALL {
        let key = keys
            .iter()
            .find(|key| algorithm.suits(key.public_key().kind()))
            .unwrap();
        let view = view_of(vec![authority(key, "k", Some("jwt-svid"))]);
        let token = sign(
            &with(header(), "alg", json!(algorithm.as_str())),
            &claims(),
            key,
            algorithm,
        );
        match validate_svid(&token, AUDIENCE, &view, NOW) {
            Ok(_) => taken.push(algorithm.as_str()),
            Err(error) => assert!(matches!(error, JwtSvidError::Token(JoseError::Algorithm { .. }))),
        }
    }
    let nine = [
        "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    ];
    assert_eq!(taken, nine);
    for alg in ["none", "None", "HS256", "HS384", "HS512", "EdDSA", "ES256K", ""] {
        let error = header_member("alg", json!(alg)).unwrap_err();
        assert!(
            matches!(error, JwtSvidError::Token(JoseError::Algorithm { .. })),
            "{alg}"
        );
    }
    let unsigned = es256(&with(header(), "alg", json!("none")), &claims());
    let (input, _) = unsigned.rsplit_once('.').unwrap();
    assert!(check(&format!("{input}.")).is_err());
}

#[test]
fn spiffe_54_algorithm_and_key_must_belong_together() {
    let view = view_of(vec![
        authority(&P256, "p256", Some("jwt-svid")),
        authority(&RSA, "rsa", Some("jwt-svid")),
    ]);
    for (alg, kid) in [
        ("ES384", "p256"),
        ("RS256", "p256"),
        ("PS512", "p256"),
        ("ES256", "rsa"),
        ("ES512", "rsa"),
    ] {
        let token = es256(&json!({"alg": alg, "kid": kid}), &claims());
        let error = validate_svid(&token, AUDIENCE, &view, NOW).unwrap_err();
        assert!(
            matches!(error, JwtSvidError::Token(JoseError::KeyAlgorithm { .. })),
            "{alg} {kid}: {error}"
        );
    }
    // A key that declares its algorithm is for that one alone.
    let params = JwkParams {
        kid: Some("rsa".to_owned()),
        alg: Some(JwsAlgorithm::Rs256),
        use_: Some("jwt-svid".to_owned()),
    };
    let declared = JwtAuthority {
        kid: "rsa".to_owned(),
        jwk: Jwk::from_public_key(RSA.public_key(), params).unwrap(),
        tainted: false,
    };
    let view = view_of(vec![declared]);
    for (algorithm, taken) in [(JwsAlgorithm::Rs256, true), (JwsAlgorithm::Ps256, false)] {
        let header = json!({"alg": algorithm.as_str(), "kid": "rsa"});
        let token = sign(&header, &claims(), &RSA, algorithm);
        assert_eq!(
            validate_svid(&token, AUDIENCE, &view, NOW).is_ok(),
            taken,
            "{algorithm}"
        );
    }
}

#[test]
fn spiffe_55_json_serialisation_is_refused() {
    let token = es256(&header(), &claims());
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
    for text in [
        json!({"protected": header, "payload": payload, "signature": signature}),
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}),
    ] {
        assert_eq!(
            check(&text.to_string()).unwrap_err(),
            JwtSvidError::Token(JoseError::JsonSerialization)
        );
    }
}

#[test]
fn spiffe_56_typ_is_jwt_jose_or_absent() {
    for typ in [json!(null), json!("JWT"), json!("JOSE")] {
        assert!(header_member("typ", typ).is_ok());
    }
    for typ in [
        "wit+jwt",
        "application/wit+jwt",
        "at+jwt",
        "wpt+jwt",
        "JWS",
        "",
        "JWT+x",
    ] {
        let error = header_member("typ", json!(typ)).unwrap_err();
        assert!(
            matches!(error, JwtSvidError::Token(JoseError::Typ { .. })),
            "{typ}: {error}"
        );
    }
    assert!(header_member("typ", json!(["JWT"])).is_err());
}

#[test]
fn spiffe_57_sub_is_the_spiffe_id_of_a_workload() {
    assert_eq!(claim("sub", json!(null)), JwtSvidError::NoSubject);
    for wrong in [
        "",
        "client",
        "own.test/client",
        "https://own.test/client",
        "spiffe://Own.test/client",
        "spiffe://own.test/a//b",
        "spiffe://own.test/../client",
        "spiffe://own.test/client/",
        "spiffe://own.test/client?x",
        "spiffe://own.test:80/client",
        " spiffe://own.test/client",
    ] {
        let error = claim("sub", json!(wrong));
        assert!(matches!(error, JwtSvidError::Subject(_)), "{wrong:?}: {error}");
    }
    assert_eq!(
        claim("sub", json!("spiffe://own.test")),
        JwtSvidError::SubjectWithoutPath {
            trust_domain: domain("own.test")
        }
    );
    for mistyped in [json!(1), json!(["spiffe://own.test/client"]), json!({})] {
        let error = claim("sub", mistyped);
        assert!(matches!(
            error,
            JwtSvidError::Token(JoseError::ClaimType { name: "sub", .. })
        ));
    }
}

#[test]
fn spiffe_58_aud_holds_our_audience() {
    let missing = JwtSvidError::Token(JoseError::ClaimMissing { name: "aud" });
    assert_eq!(claim("aud", json!(null)), missing);
    let mut prefix = AUDIENCE.to_owned();
    prefix.pop();
    for other in [
        json!([]),
        json!(""),
        json!([""]),
        json!("other"),
        json!([format!("{AUDIENCE}/")]),
        json!(prefix),
    ] {
        assert_eq!(claim("aud", other), JwtSvidError::Token(JoseError::Audience));
    }
    for mistyped in [json!(1), json!([AUDIENCE, 1]), json!({})] {
        let error = claim("aud", mistyped);
        assert!(matches!(
            error,
            JwtSvidError::Token(JoseError::ClaimType { name: "aud", .. })
        ));
    }
    let token = es256(&header(), &with(claims(), "aud", json!([""])));
    assert_eq!(
        validate_svid(&token, "", &view(), NOW).unwrap_err(),
        JwtSvidError::NoAudience
    );
}

#[test]
fn spiffe_59_exp_is_required() {
    let missing = JwtSvidError::Token(JoseError::ClaimMissing { name: "exp" });
    assert_eq!(claim("exp", json!(null)), missing);
}

/// `claims` at `now_s`, when the subject is of this domain.
fn at(subject: &str, claims: &Value, now_s: u64) -> Result<VerifiedJwtSvid, JwtSvidError> {
    let federated = bundle("other.test", vec![authority(&P256, "k", Some("jwt-svid"))]);
    let token = es256(&header(), &with(claims.clone(), "sub", json!(subject)));
    validate_svid(
        &token,
        AUDIENCE,
        &view().with_bundle(federated),
        UnixTime::from_secs(now_s),
    )
}

const DOMAINS: [(&str, u64); 2] = [("spiffe://own.test/a", 5), ("spiffe://other.test/a", 30)];

#[test]
fn spiffe_60_expired_beyond_5_seconds_of_our_own_domain_and_30_of_others() {
    for (subject, leeway_s) in DOMAINS {
        let end = NOW_S + 300 + leeway_s;
        assert!(at(subject, &claims(), end - 1).is_ok(), "{subject}");
        for late in [end, end + 1] {
            assert_eq!(
                at(subject, &claims(), late).unwrap_err(),
                JwtSvidError::Token(JoseError::Expired {
                    late_s: late - NOW_S - 300
                }),
                "{subject}"
            );
        }
    }
}

#[test]
fn spiffe_61_kid_is_required() {
    let error = header_member("kid", json!(null)).unwrap_err();
    assert_eq!(error, JwtSvidError::Token(JoseError::KidMissing));
}

#[test]
fn spiffe_62_an_unknown_kid_is_refused() {
    let trust_domain = domain("own.test");
    for kid in ["", "K", "k ", "k\u{0}", "../k", "kk"] {
        let error = header_member("kid", json!(kid)).unwrap_err();
        assert_eq!(
            error,
            JwtSvidError::UnknownKey {
                trust_domain: trust_domain.clone()
            },
            "{kid:?}"
        );
    }
    let empty = view_of(Vec::new());
    let error = validate_svid(&es256(&header(), &claims()), AUDIENCE, &empty, NOW).unwrap_err();
    assert_eq!(error, JwtSvidError::UnknownKey { trust_domain });
}

#[test]
fn spiffe_63_a_key_of_another_trust_domains_bundle_is_refused() {
    let federated = bundle("other.test", vec![authority(&OTHER, "o", Some("jwt-svid"))]);
    let view = view().with_bundle(federated);
    let token = sign(
        &with(header(), "kid", json!("o")),
        &claims(),
        &OTHER,
        JwsAlgorithm::Es256,
    );
    assert_eq!(
        validate_svid(&token, AUDIENCE, &view, NOW).unwrap_err(),
        JwtSvidError::UnknownKey {
            trust_domain: domain("own.test")
        }
    );
}

#[test]
fn spiffe_64_a_key_for_another_use_is_refused() {
    let token = es256(&header(), &claims());
    for use_ in [
        None,
        Some("sig"),
        Some("x509-svid"),
        Some("wit-svid"),
        Some("JWT-SVID"),
        Some(""),
    ] {
        let view = view_of(vec![authority(&P256, "k", use_)]);
        assert_eq!(
            validate_svid(&token, AUDIENCE, &view, NOW).unwrap_err(),
            JwtSvidError::Use {
                trust_domain: domain("own.test")
            },
            "{use_:?}"
        );
    }
}

#[test]
fn spiffe_65_encrypted_and_nested_tokens_are_refused() {
    let encrypted = JwtSvidError::Token(JoseError::Encrypted);
    let jwe = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AQ.AQ.AQ.AQ";
    assert_eq!(check(jwe).unwrap_err(), encrypted);
    assert_eq!(header_member("enc", json!("A256GCM")).unwrap_err(), encrypted);
    assert_eq!(header_member("cty", json!("JWT")).unwrap_err(), encrypted);
    let inner = es256(&header(), &claims());
    let input = format!(
        "{}.{}",
        base64url::encode(header().to_string().as_bytes()),
        base64url::encode(inner.as_bytes())
    );
    let algorithm = JwsAlgorithm::Es256.signature_algorithm();
    let signature = P256
        .sign(algorithm, SignatureEncoding::Fixed, input.as_bytes())
        .unwrap();
    let nested = format!("{input}.{}", base64url::encode(&signature));
    assert!(matches!(
        check(&nested),
        Err(JwtSvidError::Token(JoseError::Json { .. }))
    ));
}

#[test]
fn spiffe_66_crit_and_keys_in_the_header_are_refused() {
    let own = authority(&P256, "k", None).jwk.to_value();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("jwk", own),
        ("jku", json!("https://x.test")),
        ("x5c", json!(["AQ"])),
        ("x5u", json!("https://x.test")),
    ] {
        let error = header_member(name, value).unwrap_err();
        assert_eq!(error, JwtSvidError::Token(JoseError::Header { name }));
    }
}

#[test]
fn spiffe_66_what_we_issue_has_alg_kid_and_typ_alone() {
    let token = Unsigned::new(JwsAlgorithm::Es256, "k", Some("JWT"), &claims())
        .unwrap()
        .sign_with(&P256)
        .unwrap();
    let (first, _) = token.split_once('.').unwrap();
    let written: Value = serde_json::from_slice(&base64url::decode(first).unwrap()).unwrap();
    assert_eq!(written, header());
    assert!(check(&token).is_ok());
}

#[test]
fn spiffe_67_nbf_and_iat_in_the_future_are_refused() {
    for (subject, leeway_s) in DOMAINS {
        for name in ["nbf", "iat"] {
            let ahead = |secs: u64| at(subject, &with(claims(), name, json!(NOW_S + secs)), NOW_S);
            assert!(ahead(leeway_s).is_ok(), "{subject} {name}");
            assert_eq!(
                ahead(leeway_s + 1).unwrap_err(),
                JwtSvidError::Token(JoseError::Early {
                    name,
                    early_s: leeway_s + 1
                }),
                "{subject}"
            );
        }
    }
    assert!(check(&es256(&header(), &with(claims(), "iat", json!(null)))).is_ok());
}

#[test]
fn a_tainted_key_verifies_nothing() {
    let mut tainted = authority(&P256, "k", Some("jwt-svid"));
    tainted.tainted = true;
    let error = validate_svid(
        &es256(&header(), &claims()),
        AUDIENCE,
        &view_of(vec![tainted]),
        NOW,
    )
    .unwrap_err();
    assert_eq!(
        error,
        JwtSvidError::Tainted {
            trust_domain: domain("own.test")
        }
    );
}

#[test]
fn a_forged_signature_is_refused_whatever_the_claims_are() {
    let forged = sign(
        &header(),
        &with(claims(), "exp", json!(1)),
        &OTHER,
        JwsAlgorithm::Es256,
    );
    assert_eq!(
        check(&forged).unwrap_err(),
        JwtSvidError::Token(JoseError::Signature)
    );
}

/// An independent implementation reads what we take as a JWT-SVID.
#[test]
fn another_implementation_agrees() {
    let token = Unsigned::new(JwsAlgorithm::Es256, "k", Some("JWT"), &claims())
        .unwrap()
        .sign_with(&P256)
        .unwrap();
    let jwk = authority(&P256, "k", None).jwk.to_value();
    let theirs: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_jwk(&theirs).unwrap();
    let read = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
    assert_eq!(read.claims, Value::Object(check(&token).unwrap().claims));
}

#[test]
fn every_error_is_registered() {
    assert_eq!(signet_fault::flaws(&[REGISTER, signet_jose::REGISTER]), []);
    assert_eq!(REGISTER.len(), 8);
    assert!(!JwtSvidError::NoAudience.remedy().is_empty());
    assert_eq!(
        JwtSvidError::Token(JoseError::Signature).code(),
        JoseError::Signature.code()
    );
}

proptest! {
    #[test]
    fn no_token_panics(text in "\\PC{0,80}", subject in "\\PC{0,40}", kid in "\\PC{0,10}") {
        prop_assert!(check(&text).is_err());
        let token = es256(&with(header(), "kid", json!(kid)), &with(claims(), "sub", json!(subject)));
        prop_assert!(check(&token).is_err());
    }
}
