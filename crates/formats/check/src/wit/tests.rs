use super::*;
use core::time::Duration;
use serde_json::json;
use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
use signet_fault::Coded as _;
use signet_id::TrustDomain;
use signet_jose::{JoseError, Jwk, JwkParams, JwsAlgorithm, PrivateJwk, Unsigned, base64url};
use signet_trust::{Bundle, JwtAuthority, WitAuthority};
use std::sync::LazyLock;

const NOW_S: u64 = 1_800_000_000;
const NOW: UnixTime = UnixTime::from_secs(NOW_S);
const AUDIENCE: &str = "https://server.own.test";

/// The issuer's key for WIT-SVIDs, that for JWT-SVIDs, and the workload's own.
static WIT: LazyLock<LocalKey> = LazyLock::new(|| LocalKey::generate(KeyKind::P256).unwrap());
static JWT: LazyLock<LocalKey> = LazyLock::new(|| LocalKey::generate(KeyKind::P256).unwrap());
static HOLDER: LazyLock<LocalKey> = LazyLock::new(|| LocalKey::generate(KeyKind::P256).unwrap());

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn jwk(key: &LocalKey, kid: &str, use_: Option<&str>) -> Jwk {
    let params = JwkParams {
        kid: Some(kid.to_owned()),
        alg: None,
        use_: use_.map(str::to_owned),
    };
    Jwk::from_public_key(key.public_key(), params).unwrap()
}

fn wit_authority(key: &LocalKey, kid: &str, use_: Option<&str>) -> WitAuthority {
    WitAuthority {
        kid: kid.to_owned(),
        jwk: jwk(key, kid, use_),
        tainted: false,
    }
}

fn bundle(name: &str, wit: Vec<WitAuthority>) -> Bundle {
    let jwt = JwtAuthority {
        kid: "j".to_owned(),
        jwk: jwk(&JWT, "j", Some("jwt-svid")),
        tainted: false,
    };
    Bundle::new(domain(name), 1, None, Vec::new(), vec![jwt])
        .unwrap()
        .with_wit(wit)
        .unwrap()
}

fn view_of(wit: Vec<WitAuthority>) -> TrustView {
    TrustView::new(domain("own.test")).with_bundle(bundle("own.test", wit))
}

/// The own domain with `JWT` as its JWT key `j` and `WIT` as its WIT key `w`.
fn view() -> TrustView {
    view_of(vec![wit_authority(&WIT, "w", Some("wit-svid"))])
}

fn cnf() -> Value {
    Confirmation::new(HOLDER.public_key(), JwsAlgorithm::Es256)
        .unwrap()
        .to_value()
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "w", "typ": "wit+jwt"})
}

fn claims() -> Value {
    json!({"sub": "spiffe://own.test/client", "exp": NOW_S + 300, "jti": "one", "cnf": cnf()})
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

fn token(header: &Value, claims: &Value) -> String {
    sign(header, claims, &WIT, JwsAlgorithm::Es256)
}

fn check(token: &str) -> Result<UnprovenWit, WitSvidError> {
    validate_svid(token, &view(), NOW)
}

/// Why a token is refused whose only fault is this claim.
fn claim(name: &str, value: Value) -> WitSvidError {
    check(&token(&header(), &with(claims(), name, value))).unwrap_err()
}

fn proof_header() -> Value {
    json!({"alg": "ES256", "typ": "wpt+jwt"})
}

fn proof_claims(wit: &str, jti: &str) -> Value {
    let wth = base64url::encode(&digest::sha256(wit.as_bytes()));
    json!({"aud": AUDIENCE, "exp": NOW_S + 30, "jti": jti, "wth": wth})
}

fn proof(wit: &str, jti: &str) -> String {
    sign(
        &proof_header(),
        &proof_claims(wit, jti),
        &HOLDER,
        JwsAlgorithm::Es256,
    )
}

/// Validates and proves with a proof made of these parts.
fn prove(wit: &str, header: &Value, claims: &Value, key: &LocalKey) -> Result<VerifiedWitSvid, WitSvidError> {
    let proof = sign(header, claims, key, JwsAlgorithm::Es256);
    check(wit)?.prove(&proof, AUDIENCE, &mut SeenProofs::new(1), NOW)
}

#[test]
fn spiffe_75_a_wit_svid_is_an_identity_once_its_key_is_proven() {
    let wit = token(&header(), &with(claims(), "color", json!("blue")));
    let unproven = check(&wit).unwrap();
    assert_eq!(format!("{unproven:?}"), "UnprovenWit { .. }");
    let mut seen = SeenProofs::new(1);
    let svid = unproven
        .prove(&proof(&wit, "p"), AUDIENCE, &mut seen, NOW)
        .unwrap();
    assert_eq!(svid.id.as_str(), "spiffe://own.test/client");
    assert_eq!(
        (svid.kid.as_str(), svid.exp),
        ("w", UnixTime::from_secs(NOW_S + 300))
    );
    assert_eq!(svid.claims.get("color"), Some(&json!("blue")));
    assert_eq!(svid.confirmation.to_value(), cnf());
}

#[test]
fn spiffe_75_a_proof_by_any_other_key_is_refused() {
    let wit = token(&header(), &claims());
    let forged = WitSvidError::Proof(JoseError::Signature);
    for key in [&*WIT, &*JWT] {
        let error = prove(&wit, &proof_header(), &proof_claims(&wit, "p"), key).unwrap_err();
        assert_eq!(error, forged);
    }
    // A key that the proof brings along is not looked at.
    let brought = with(proof_header(), "jwk", jwk(&JWT, "j", None).to_value());
    let error = prove(&wit, &brought, &proof_claims(&wit, "p"), &JWT).unwrap_err();
    assert_eq!(error, WitSvidError::Proof(JoseError::Header { name: "jwk" }));
}

#[test]
fn spiffe_75_a_proof_is_for_this_token_and_this_audience() {
    let wit = token(&header(), &claims());
    let other = token(&header(), &with(claims(), "exp", json!(NOW_S + 301)));
    let refused = |claims: Value| prove(&wit, &proof_header(), &claims, &HOLDER).unwrap_err();
    assert_eq!(refused(proof_claims(&other, "p")), WitSvidError::ProofOfOther);
    let good = || proof_claims(&wit, "p");
    for (name, value, error) in [
        ("aud", json!("https://other.test"), JoseError::Audience),
        (
            "aud",
            json!([AUDIENCE, "https://other.test"]),
            JoseError::Audience,
        ),
        ("aud", json!(null), JoseError::ClaimMissing { name: "aud" }),
        ("wth", json!(null), JoseError::ClaimMissing { name: "wth" }),
        ("jti", json!(null), JoseError::ClaimMissing { name: "jti" }),
        ("exp", json!(null), JoseError::ClaimMissing { name: "exp" }),
        ("exp", json!(NOW_S - 5), JoseError::Expired { late_s: 5 }),
        ("ath", json!("x"), JoseError::ClaimForbidden { name: "ath" }),
        ("tth", json!("x"), JoseError::ClaimForbidden { name: "tth" }),
    ] {
        let refused = refused(with(good(), name, value));
        assert_eq!(refused, WitSvidError::Proof(error), "{name}");
    }
    for jti in [String::new(), "x".repeat(JTI_BYTES_MAX + 1)] {
        let error = refused(with(good(), "jti", json!(jti)));
        assert!(matches!(
            error,
            WitSvidError::Proof(JoseError::ClaimType { name: "jti", .. })
        ));
    }
    let no_audience = check(&wit).unwrap().prove("x", "", &mut SeenProofs::new(1), NOW);
    assert_eq!(no_audience.unwrap_err(), WitSvidError::NoAudience);
}

#[test]
fn spiffe_75_a_proof_lives_a_minute_at_most() {
    let wit = token(&header(), &claims());
    let until = |secs: u64| {
        let claims = with(proof_claims(&wit, "p"), "exp", json!(NOW_S + secs));
        prove(&wit, &proof_header(), &claims, &HOLDER)
    };
    assert!(until(65).is_ok());
    assert_eq!(until(66).unwrap_err(), WitSvidError::ProofLife { life_s: 66 });
}

#[test]
fn spiffe_75_no_other_token_is_a_proof() {
    let wit = token(&header(), &claims());
    for typ in [json!(null), json!("JWT"), json!("wit+jwt"), json!("dpop+jwt")] {
        let header = with(proof_header(), "typ", typ.clone());
        let error = prove(&wit, &header, &proof_claims(&wit, "p"), &HOLDER).unwrap_err();
        assert!(
            matches!(error, WitSvidError::Proof(JoseError::Typ { .. })),
            "{typ}: {error}"
        );
    }
    let mut seen = SeenProofs::new(1);
    for nothing in ["", "x", wit.as_str()] {
        let error = check(&wit).unwrap().prove(nothing, AUDIENCE, &mut seen, NOW);
        assert!(matches!(error, Err(WitSvidError::Proof(_))), "{nothing}");
    }
}

#[test]
fn spiffe_71_a_proof_uses_the_algorithm_that_cnf_declares() {
    let key = LocalKey::generate(KeyKind::Rsa2048).unwrap();
    let cnf = Confirmation::new(key.public_key(), JwsAlgorithm::Ps256).unwrap();
    let wit = token(&header(), &with(claims(), "cnf", cnf.to_value()));
    for (algorithm, taken) in [(JwsAlgorithm::Ps256, true), (JwsAlgorithm::Rs256, false)] {
        let header = with(proof_header(), "alg", json!(algorithm.as_str()));
        let proof = sign(&header, &proof_claims(&wit, "p"), &key, algorithm);
        let proven = check(&wit)
            .unwrap()
            .prove(&proof, AUDIENCE, &mut SeenProofs::new(1), NOW);
        assert_eq!(proven.is_ok(), taken, "{algorithm}");
    }
}

#[test]
fn spiffe_75_a_proof_serves_once_and_is_remembered_as_long_as_it_could_serve() {
    let wit = token(&header(), &claims());
    let mut seen = SeenProofs::new(2);
    let mut send = |jti: &str, secs: u64| {
        let now = UnixTime::from_secs(NOW_S + secs);
        let claims = with(proof_claims(&wit, jti), "exp", json!(NOW_S + 30));
        let proof = sign(&proof_header(), &claims, &HOLDER, JwsAlgorithm::Es256);
        validate_svid(&wit, &view(), now)?.prove(&proof, AUDIENCE, &mut seen, now)
    };
    assert!(send("a", 0).is_ok());
    assert_eq!(send("a", 0).unwrap_err(), WitSvidError::ProofRepeated);
    assert_eq!(send("a", 34).unwrap_err(), WitSvidError::ProofRepeated);
    assert!(send("b", 34).is_ok());
    assert_eq!(send("c", 34).unwrap_err(), WitSvidError::ManyProofs);
    let expired = WitSvidError::Proof(JoseError::Expired { late_s: 5 });
    assert_eq!(send("a", 35).unwrap_err(), expired);
}

#[test]
fn room_for_proofs_comes_back_when_they_have_expired() {
    let wit = token(&header(), &claims());
    let mut seen = SeenProofs::new(1);
    for n in 0..4 {
        let now = UnixTime::from_secs(NOW_S + 40 * n);
        let claims = with(proof_claims(&wit, "same"), "exp", json!(NOW_S + 40 * n + 30));
        let proof = sign(&proof_header(), &claims, &HOLDER, JwsAlgorithm::Es256);
        let unproven = validate_svid(&wit, &view(), now).unwrap();
        assert!(unproven.prove(&proof, AUDIENCE, &mut seen, now).is_ok(), "{n}");
    }
}

#[test]
fn spiffe_77_the_jti_of_a_wit_svid_is_no_replay_key() {
    let mut seen = SeenProofs::new(9);
    let (one, two) = (
        token(&header(), &claims()),
        token(&header(), &with(claims(), "exp", json!(NOW_S + 200))),
    );
    // Two tokens with one `jti`, one of them twice, each with a proof of its own; and one without.
    let without = token(&header(), &with(claims(), "jti", json!(null)));
    for (wit, jti) in [(&one, "a"), (&two, "b"), (&one, "c"), (&without, "d")] {
        let proven = check(wit)
            .unwrap()
            .prove(&proof(wit, jti), AUDIENCE, &mut seen, NOW);
        assert!(proven.is_ok(), "{jti}");
    }
}

#[test]
fn spiffe_72_a_wit_svid_that_expired_before_its_proof_came_is_refused() {
    let wit = token(&header(), &with(claims(), "exp", json!(NOW_S + 10)));
    let unproven = check(&wit).unwrap();
    let later = NOW + Duration::from_secs(15);
    let error = unproven
        .prove(&proof(&wit, "p"), AUDIENCE, &mut SeenProofs::new(1), later)
        .unwrap_err();
    assert_eq!(error, WitSvidError::Token(JoseError::Expired { late_s: 5 }));
}

#[test]
fn spiffe_72_expired_and_early_beyond_5_seconds_of_our_own_domain_and_30_of_others() {
    let federated = bundle("other.test", vec![wit_authority(&WIT, "w", Some("wit-svid"))]);
    let view = view().with_bundle(federated);
    for (name, leeway_s) in [("own.test", 5), ("other.test", 30)] {
        let at = |member: &str, value: u64| {
            let claims = with(claims(), "sub", json!(format!("spiffe://{name}/client")));
            let claims = with(claims, member, json!(value));
            validate_svid(&token(&header(), &claims), &view, NOW).map(|_| ())
        };
        assert_eq!(at("exp", NOW_S - leeway_s + 1), Ok(()), "{name}");
        let expired = JoseError::Expired { late_s: leeway_s };
        assert_eq!(
            at("exp", NOW_S - leeway_s),
            Err(WitSvidError::Token(expired)),
            "{name}"
        );
        for member in ["nbf", "iat"] {
            assert_eq!(at(member, NOW_S + leeway_s), Ok(()), "{name}");
            let early = JoseError::Early {
                name: member,
                early_s: leeway_s + 1,
            };
            assert_eq!(
                at(member, NOW_S + leeway_s + 1),
                Err(WitSvidError::Token(early)),
                "{name}"
            );
        }
    }
}

#[test]
fn spiffe_69_sub_exp_and_cnf_are_needed() {
    assert_eq!(claim("sub", json!(null)), WitSvidError::NoSubject);
    for name in ["exp", "cnf"] {
        let missing = WitSvidError::Token(JoseError::ClaimMissing { name });
        assert_eq!(claim(name, json!(null)), missing);
    }
    for wrong in ["", "client", "https://own.test/client", "spiffe://own.test/a//b"] {
        let error = claim("sub", json!(wrong));
        assert!(matches!(error, WitSvidError::Subject(_)), "{wrong:?}: {error}");
    }
    assert_eq!(
        claim("sub", json!("spiffe://own.test")),
        WitSvidError::SubjectWithoutPath {
            trust_domain: domain("own.test")
        }
    );
}

#[test]
fn spiffe_70_a_wit_svid_with_aud_is_refused() {
    let forbidden = WitSvidError::Token(JoseError::ClaimForbidden { name: "aud" });
    for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!([]), json!("")] {
        assert_eq!(claim("aud", aud), forbidden);
    }
}

#[test]
fn spiffe_71_a_wit_svid_with_a_private_key_in_cnf_is_refused() {
    let mut leaked = cnf();
    leaked["jwk"]["d"] = "AAAA".into();
    let error = claim("cnf", leaked);
    assert_eq!(error, WitSvidError::Token(JoseError::JwkPrivate { name: "d" }));
    let mut unlabelled = cnf();
    unlabelled["jwk"].as_object_mut().unwrap().remove("alg");
    let error = claim("cnf", unlabelled);
    assert!(matches!(error, WitSvidError::Token(JoseError::Algorithm { .. })));
}

#[test]
fn spiffe_68_what_we_sign_has_alg_kid_and_typ_alone() {
    let wit = Unsigned::new(JwsAlgorithm::Es256, "w", Some("wit+jwt"), &claims())
        .unwrap()
        .sign_with(&WIT)
        .unwrap();
    let (first, _) = wit.split_once('.').unwrap();
    let written: Value = serde_json::from_slice(&base64url::decode(first).unwrap()).unwrap();
    assert_eq!(written, header());
    assert!(check(&wit).is_ok());
}

#[test]
fn spiffe_78_only_keys_for_wit_svids_verify_them() {
    let wit = token(&header(), &claims());
    let trust_domain = || domain("own.test");
    for use_ in [None, Some("sig"), Some("jwt-svid"), Some("WIT-SVID"), Some("")] {
        let view = view_of(vec![wit_authority(&WIT, "w", use_)]);
        let error = validate_svid(&wit, &view, NOW).unwrap_err();
        let expected = WitSvidError::Use {
            trust_domain: trust_domain(),
        };
        assert_eq!(error, expected, "{use_:?}");
    }
    let mut tainted = wit_authority(&WIT, "w", Some("wit-svid"));
    tainted.tainted = true;
    let error = validate_svid(&wit, &view_of(vec![tainted]), NOW).unwrap_err();
    let expected = WitSvidError::Tainted {
        trust_domain: trust_domain(),
    };
    assert_eq!(error, expected);
    let error = validate_svid(&wit, &TrustView::new(trust_domain()), NOW).unwrap_err();
    let expected = WitSvidError::NoBundle {
        trust_domain: trust_domain(),
    };
    assert_eq!(error, expected);
}

/// Kind by kind: what is right for one verifier is refused by the other, even where a key is told by its name alone.
#[test]
fn spiffe_56_64_78_neither_kind_of_token_passes_at_the_verifier_of_the_other() {
    let jwt_claims = json!({"sub": "spiffe://own.test/client", "aud": [AUDIENCE], "exp": NOW_S + 300});
    let jwt_header = json!({"alg": "ES256", "kid": "j", "typ": "JWT"});
    let jwt_svid = sign(&jwt_header, &jwt_claims, &JWT, JwsAlgorithm::Es256);
    let wit = token(&header(), &claims());
    let as_jwt = |token: &str| crate::jwt::validate_svid(token, AUDIENCE, &view(), NOW).map(|_| ());
    let as_wit = |token: &str| check(token).map(|_| ());
    assert_eq!((as_jwt(&jwt_svid), as_wit(&wit)), (Ok(()), Ok(())));
    assert!(matches!(
        as_jwt(&wit),
        Err(crate::jwt::JwtSvidError::Token(JoseError::Typ { .. }))
    ));
    assert!(matches!(
        as_wit(&jwt_svid),
        Err(WitSvidError::Token(JoseError::Typ { .. }))
    ));
    // The right form, signed by the other kind's key.
    let trust_domain = domain("own.test");
    let by_jwt_key = sign(
        &with(header(), "kid", json!("j")),
        &claims(),
        &JWT,
        JwsAlgorithm::Es256,
    );
    assert_eq!(
        as_wit(&by_jwt_key),
        Err(WitSvidError::UnknownKey {
            trust_domain: trust_domain.clone()
        })
    );
    let by_wit_key = with(jwt_header, "kid", json!("w"));
    let by_wit_key = sign(&by_wit_key, &jwt_claims, &WIT, JwsAlgorithm::Es256);
    assert_eq!(
        as_jwt(&by_wit_key),
        Err(crate::jwt::JwtSvidError::UnknownKey { trust_domain })
    );
}

#[test]
fn only_the_subjects_own_bundle_is_asked() {
    let other = LocalKey::generate(KeyKind::P256).unwrap();
    let federated = bundle("other.test", vec![wit_authority(&other, "w", Some("wit-svid"))]);
    let view = view().with_bundle(federated);
    for (subject, key, taken) in [
        ("own.test", &*WIT, true),
        ("other.test", &other, true),
        ("own.test", &other, false),
        ("other.test", &*WIT, false),
    ] {
        let claims = with(claims(), "sub", json!(format!("spiffe://{subject}/client")));
        let token = sign(&header(), &claims, key, JwsAlgorithm::Es256);
        let result = validate_svid(&token, &view, NOW).map(|_| ());
        let forged = Err(WitSvidError::Token(JoseError::Signature));
        assert_eq!(result, if taken { Ok(()) } else { forged }, "{subject}");
    }
}

#[test]
fn every_error_is_registered() {
    assert_eq!(signet_fault::flaws(&[REGISTER, signet_jose::REGISTER]), []);
    assert_eq!(REGISTER.len(), 16);
    assert!(!WitSvidError::ProofRepeated.remedy().is_empty());
}

/// What we make ourselves serves once, for one service, and for the one token.
#[test]
fn spiffe_75_77_a_proof_of_our_own_serves_once_for_one_service_and_one_token() {
    let holder = PrivateJwk::new(
        LocalKey::from_pkcs8(HOLDER.to_pkcs8().unwrap().expose()).unwrap(),
        JwsAlgorithm::Es256,
    )
    .unwrap();
    let wit = token(&header(), &claims());
    let other = token(&header(), &with(claims(), "jti", json!("two")));
    let make = || make_proof(&wit, &holder, AUDIENCE, NOW).unwrap();
    let mut seen = SeenProofs::new(8);
    let first = make();
    let head = base64url::decode(first.split('.').next().unwrap()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&head).unwrap(),
        json!({"alg": "ES256", "typ": "wpt+jwt"})
    );
    let mut prove = |token: &str, proof: &str, audience: &str, now| {
        let unproven = validate_svid(token, &view(), now).unwrap();
        unproven.prove(proof, audience, &mut seen, now).map(drop)
    };
    prove(&wit, &first, AUDIENCE, NOW).unwrap();
    assert_eq!(
        prove(&wit, &first, AUDIENCE, NOW),
        Err(WitSvidError::ProofRepeated)
    );
    prove(&wit, &make(), AUDIENCE, NOW).unwrap();
    assert!(matches!(
        prove(&wit, &make(), "https://other", NOW),
        Err(WitSvidError::Proof(_))
    ));
    assert_eq!(
        prove(&other, &make(), AUDIENCE, NOW),
        Err(WitSvidError::ProofOfOther)
    );
    let late = NOW + PROOF_LIFE + Duration::from_secs(6);
    assert!(matches!(
        prove(&wit, &make(), AUDIENCE, late),
        Err(WitSvidError::Proof(JoseError::Expired { .. }))
    ));
}

#[test]
fn spiffe_76_a_wit_svid_in_the_authorization_header_is_refused_whatever_else_is_there() {
    let wit = token(&header(), &claims());
    let proof = "p.p.p";
    let find = |headers: &[(&'static str, String)]| {
        carried(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
            .map(|found| found.map(|found| (found.token.to_owned(), found.proof.to_owned())))
    };
    let other_typ = |typ: &str| token(&with(header(), "typ", json!(typ)), &claims());
    for value in [
        format!("Bearer {wit}"),
        format!("bearer  {wit}"),
        format!("DPoP {wit}"),
        wit.clone(),
        format!("Bearer x, Bearer {wit}"),
        format!("Bearer {}", other_typ("application/WIT+JWT")),
    ] {
        for name in ["authorization", "Authorization"] {
            let alone = find(&[(name, value.clone())]);
            assert_eq!(alone, Err(WitSvidError::Bearer), "{value}");
            let both = [
                (TOKEN_HEADER, wit.clone()),
                (PROOF_HEADER, proof.to_owned()),
                (name, value.clone()),
            ];
            assert_eq!(find(&both), Err(WitSvidError::Bearer));
        }
    }
    // What others mean by the header is theirs.
    for value in [
        format!("Bearer {}", other_typ("JWT")),
        "Basic dXNlcjpwYXNz".to_owned(),
        "Bearer opaque".to_owned(),
        String::new(),
    ] {
        assert_eq!(find(&[("authorization", value.clone())]), Ok(None), "{value}");
        let both = [
            (TOKEN_HEADER, wit.clone()),
            ("Workload-Proof-Token", proof.to_owned()),
            ("authorization", value),
        ];
        assert_eq!(find(&both), Ok(Some((wit.clone(), proof.to_owned()))));
    }
}

#[test]
fn spiffe_75_a_request_carries_a_wit_svid_with_a_proof_or_not_at_all() {
    let find = |headers: &[(&'static str, &'static str)]| {
        carried(headers.iter().map(|(name, value)| (*name, value.as_bytes()))).map(drop)
    };
    let missing = |header| Err(WitSvidError::HeaderMissing { header });
    let form = |header| Err(WitSvidError::HeaderForm { header });
    assert_eq!(find(&[]), Ok(()));
    assert_eq!(find(&[("accept", "a")]), Ok(()));
    assert_eq!(find(&[(TOKEN_HEADER, "a")]), missing(PROOF_HEADER));
    assert_eq!(find(&[(PROOF_HEADER, "a")]), missing(TOKEN_HEADER));
    let twice = [
        (TOKEN_HEADER, "a"),
        (PROOF_HEADER, "b"),
        ("Workload-Identity-Token", "c"),
    ];
    assert_eq!(find(&twice), form(TOKEN_HEADER));
    let twice = [(PROOF_HEADER, "a"), (TOKEN_HEADER, "b"), (PROOF_HEADER, "a")];
    assert_eq!(find(&twice), form(PROOF_HEADER));
    assert_eq!(
        find(&[(TOKEN_HEADER, ""), (PROOF_HEADER, "b")]),
        form(TOKEN_HEADER)
    );
    let long = vec![b'a'; signet_jose::TOKEN_BYTES_MAX + 1];
    let found = carried([(TOKEN_HEADER, &long[..]), (PROOF_HEADER, b"b")]);
    assert_eq!(found.map(drop), form(TOKEN_HEADER));
    let found = carried([(TOKEN_HEADER, &b"a\xff"[..]), (PROOF_HEADER, b"b")]);
    assert_eq!(found.map(drop), form(TOKEN_HEADER));
}

#[test]
fn token_r5_a_wit_counts_with_a_proof_of_its_key_about_it_for_us_for_a_minute_and_once() {
    let wit = token(&header(), &claims());
    let alone = carried([(TOKEN_HEADER, wit.as_bytes())]);
    assert_eq!(alone, Err(WitSvidError::HeaderMissing { header: PROOF_HEADER }));
    let good = || proof_claims(&wit, "p");
    prove(&wit, &proof_header(), &good(), &HOLDER).unwrap();
    let cases = [
        (proof_header(), good(), &*JWT, "SGCK209"),
        (
            with(proof_header(), "typ", json!("wit+jwt")),
            good(),
            &*HOLDER,
            "SGCK209",
        ),
        (
            proof_header(),
            with(good(), "aud", json!("https://other")),
            &*HOLDER,
            "SGCK209",
        ),
        (
            proof_header(),
            with(good(), "jti", Value::Null),
            &*HOLDER,
            "SGCK209",
        ),
        (
            proof_header(),
            with(good(), "ath", json!("x")),
            &*HOLDER,
            "SGCK209",
        ),
        (
            proof_header(),
            with(good(), "tth", json!("x")),
            &*HOLDER,
            "SGCK209",
        ),
        (
            proof_header(),
            with(good(), "wth", json!("x")),
            &*HOLDER,
            "SGCK210",
        ),
        (
            proof_header(),
            with(good(), "exp", json!(NOW_S + 66)),
            &*HOLDER,
            "SGCK211",
        ),
    ];
    for (header, claims, key, code) in cases {
        let error = prove(&wit, &header, &claims, key).unwrap_err();
        assert_eq!(error.code(), code, "{claims}: {error}");
    }
    let mut seen = SeenProofs::new(8);
    let mut again = || {
        let unproven = check(&wit).unwrap();
        unproven
            .prove(&proof(&wit, "p"), AUDIENCE, &mut seen, NOW)
            .map(drop)
    };
    assert_eq!((again(), again()), (Ok(()), Err(WitSvidError::ProofRepeated)));
    // A key for JWT-SVIDs verifies none, whatever name it goes by.
    let by_jwt_key = |kid: &str| {
        let header = with(header(), "kid", json!(kid));
        check(&sign(&header, &claims(), &JWT, JwsAlgorithm::Es256)).map(drop)
    };
    assert!(matches!(by_jwt_key("j"), Err(WitSvidError::UnknownKey { .. })));
    assert_eq!(by_jwt_key("w"), Err(WitSvidError::Token(JoseError::Signature)));
}
