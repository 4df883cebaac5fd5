use crate::support::*;
use core::time::Duration;
use serde_json::{Value, json};
use signet_jose::*;
use signet_time::UnixTime;

fn claim(name: &'static str, value: Value) -> Result<Verified, JoseError> {
    check(&es256(&good_header(), &with(good_claims(), name, value)))
}

#[test]
fn token_j6_times_of_the_wrong_type_are_refused_and_not_taken_for_absent() {
    for name in ["exp", "nbf", "iat"] {
        for wrong in [
            json!((NOW_S + 60).to_string()),
            json!(""),
            json!([NOW_S]),
            json!({}),
            json!(true),
            json!(-1),
            json!(-0.5),
            json!(1_u64 << 53),
            json!(u64::MAX),
            json!(1e300),
        ] {
            let error = claim(name, wrong.clone()).unwrap_err();
            assert!(
                matches!(error, JoseError::ClaimType { name: found, .. } if found == name),
                "{name} {wrong}: {error}"
            );
        }
        let mut null = good_claims();
        null[name] = Value::Null;
        let error = check(&es256(&good_header(), &null)).unwrap_err();
        assert!(
            matches!(error, JoseError::ClaimType { .. }),
            "{name} null: {error}"
        );
    }
    for text in ["NaN", "Infinity", "-Infinity", "1e999", "01", "0x10"] {
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{text}}}"#);
        let token = sign_text(&good_header().to_string(), &payload, p256(), JwsAlgorithm::Es256);
        assert!(matches!(check(&token), Err(JoseError::Json { .. })), "{text}");
    }
}

#[test]
fn token_j6_times_may_be_as_large_as_2_to_the_53_and_have_a_fraction() {
    assert!(claim("exp", json!((1_u64 << 53) - 1)).is_ok());
    let fraction = claim("exp", json!(NOW_S as f64 + 60.5)).unwrap();
    assert_eq!(fraction.exp, UnixTime::from_millis(NOW_S * 1000 + 60_500));
    let exponent = sign_text(
        &good_header().to_string(),
        &format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":3e9}}"#),
        p256(),
        JwsAlgorithm::Es256,
    );
    assert_eq!(check(&exponent).unwrap().exp, UnixTime::from_secs(3_000_000_000));
}

#[test]
fn token_j6_names_and_audiences_of_the_wrong_type_are_refused() {
    for name in ["iss", "sub", "jti"] {
        for wrong in [json!(1), json!([ISSUER]), json!({}), json!(false)] {
            let error = claim(name, wrong).unwrap_err();
            assert!(matches!(error, JoseError::ClaimType { name: found, .. } if found == name));
        }
    }
    for wrong in [
        json!(1),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
        json!({AUDIENCE: 1}),
        json!([null]),
    ] {
        let error = claim("aud", wrong).unwrap_err();
        assert!(matches!(error, JoseError::ClaimType { name: "aud", .. }));
    }
}

#[test]
fn token_j7_exp_is_required_by_every_profile() {
    for kind in TokenKind::ALL {
        let typ = match kind.typ() {
            TypRule::Verbatim(typ) | TypRule::Exactly(typ) | TypRule::ExactlyOrGeneric(typ) => typ,
            TypRule::Generic | TypRule::Svid => "JWT",
        };
        let header = with(good_header(), "typ", json!(typ));
        let token = |claims: &Value| {
            verify(
                &es256(&header, claims),
                &profile_of(kind),
                &only(p256(), None),
                NOW,
            )
        };
        assert!(token(&good_claims()).is_ok(), "{kind:?}");
        assert_eq!(
            token(&with(good_claims(), "exp", json!(null))).unwrap_err(),
            JoseError::ClaimMissing { name: "exp" },
            "{kind:?}"
        );
    }
}

/// At `now`, with `claims`, under `leeway`.
fn at(claims: &Value, leeway: Leeway, now: UnixTime) -> Result<Verified, JoseError> {
    let profile = profile().leeway(leeway);
    verify(&es256(&good_header(), claims), &profile, &only(p256(), None), now)
}

#[test]
fn token_j7_expired_from_exp_plus_leeway_on() {
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": NOW_S});
    for (leeway, secs) in [
        (Leeway::NONE, 0),
        (Leeway::OURS, 5),
        (Leeway::FOREIGN, 30),
        (Leeway::MAX, 60),
    ] {
        let end = NOW_S + secs;
        assert!(at(&claims, leeway, UnixTime::from_secs(end - 1)).is_ok());
        assert!(at(&claims, leeway, UnixTime::from_millis(end * 1000 - 1)).is_ok());
        let late = |now: u64| JoseError::Expired { late_s: now - NOW_S };
        assert_eq!(
            at(&claims, leeway, UnixTime::from_secs(end)).unwrap_err(),
            late(end)
        );
        assert_eq!(
            at(&claims, leeway, UnixTime::from_secs(end + 1)).unwrap_err(),
            late(end + 1)
        );
    }
}

#[test]
fn token_j7_nbf_and_iat_lie_at_most_the_leeway_ahead() {
    for name in ["nbf", "iat"] {
        for (leeway, secs) in [
            (Leeway::NONE, 0),
            (Leeway::OURS, 5),
            (Leeway::FOREIGN, 30),
            (Leeway::MAX, 60),
        ] {
            let early = |ahead: u64| {
                let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": NOW_S + 600, name: NOW_S + ahead});
                at(&claims, leeway, NOW)
            };
            if secs > 0 {
                assert!(early(secs - 1).is_ok(), "{name} {secs}");
            }
            assert!(early(secs).is_ok(), "{name} {secs}");
            let error = early(secs + 1).unwrap_err();
            assert_eq!(
                error,
                JoseError::Early {
                    name,
                    early_s: secs + 1
                }
            );
        }
    }
}

#[test]
fn token_j7_fractions_are_cut_to_the_refusing_side() {
    let base = |name: &str, time: f64| {
        with(
            json!({"iss": ISSUER, "aud": AUDIENCE, "exp": NOW_S + 9}),
            name,
            json!(time),
        )
    };
    let soon = NOW_S as f64 + 0.000_4;
    assert!(at(&base("exp", soon), Leeway::NONE, NOW).is_err());
    assert!(at(&base("nbf", soon), Leeway::NONE, NOW).is_err());
    assert!(at(&base("iat", soon), Leeway::NONE, NOW).is_err());
}

#[test]
fn token_j7_life_is_bounded_by_the_profile() {
    let profile = profile().lifetime_max(Duration::from_secs(300));
    let token = |claims: &Value| verify(&es256(&good_header(), claims), &profile, &only(p256(), None), NOW);
    let life = |secs: u64| {
        let claims = with(good_claims(), "iat", json!(NOW_S - 1));
        token(&with(claims, "exp", json!(NOW_S - 1 + secs)))
    };
    assert!(life(299).is_ok());
    assert!(life(300).is_ok());
    assert_eq!(
        life(301).unwrap_err(),
        JoseError::Lifetime {
            life_s: 301,
            life_s_max: 300
        }
    );
    let without = with(good_claims(), "iat", json!(null));
    assert_eq!(
        token(&without).unwrap_err(),
        JoseError::ClaimMissing { name: "iat" }
    );
}

#[test]
fn token_j7_leeway_ends_at_60_seconds() {
    assert_eq!(Leeway::new(Duration::from_secs(60)), Ok(Leeway::MAX));
    assert_eq!(Leeway::new(Duration::from_secs(5)), Ok(Leeway::OURS));
    assert_eq!(
        Leeway::new(Duration::from_millis(60_001)),
        Err(JoseError::Leeway { leeway_s: 60 })
    );
    let default = Profile::new(TokenKind::Jwt, IssuerRule::ByKeys, AudienceRule::NotUsed);
    let claims = json!({"iss": ISSUER, "exp": NOW_S});
    let token = es256(&good_header(), &claims);
    let at = |secs: u64| verify(&token, &default, &only(p256(), None), UnixTime::from_secs(secs));
    assert!(at(NOW_S + 4).is_ok() && at(NOW_S + 5).is_err());
}

#[test]
fn token_j9_the_issuer_is_compared_byte_for_byte() {
    for other in [
        "https://issuer.test/",
        "https://issuer.test:443",
        "https://Issuer.test",
        "HTTPS://issuer.test",
        "https://issuer.test ",
        " https://issuer.test",
        "https://issuer.tes",
        "https://issuer.test\u{0}",
        "http://issuer.test",
        "",
    ] {
        // The key is found whatever the issuer is, so that it is the rule that refuses.
        let mut keys = only(p256(), None);
        keys.insert(other, JwkSet::new(vec![jwk(p256(), "k", None)]).unwrap());
        let token = es256(&good_header(), &with(good_claims(), "iss", json!(other)));
        let error = verify(&token, &profile(), &keys, NOW).unwrap_err();
        assert_eq!(error, JoseError::Issuer, "{other:?}");
    }
    struct Any;
    impl KeyResolver for Any {
        fn resolve(&self, hint: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss> {
            Ok(ResolvedKey {
                key: p256().public_key().clone(),
                algorithm: hint.algorithm,
            })
        }
    }
    let token = es256(&good_header(), &with(good_claims(), "iss", json!(null)));
    assert_eq!(
        verify(&token, &profile(), &Any, NOW).unwrap_err(),
        JoseError::ClaimMissing { name: "iss" }
    );
}

#[test]
fn token_j9_audience_rules() {
    let contains = AudienceRule::Contains(AUDIENCE.to_owned());
    let only_ours = AudienceRule::Only(AUDIENCE.to_owned());
    const MISSING: Option<JoseError> = Some(JoseError::ClaimMissing { name: "aud" });
    const OTHER: Option<JoseError> = Some(JoseError::Audience);
    const FORBIDDEN: Option<JoseError> = Some(JoseError::ClaimForbidden { name: "aud" });
    for (aud, in_contains, in_only, in_absent) in [
        (json!(AUDIENCE), None, None, FORBIDDEN),
        (json!([AUDIENCE]), None, None, FORBIDDEN),
        (json!([AUDIENCE, "other"]), None, OTHER, FORBIDDEN),
        (json!(["other", AUDIENCE]), None, OTHER, FORBIDDEN),
        (json!([AUDIENCE, AUDIENCE]), None, OTHER, FORBIDDEN),
        (json!("other"), OTHER, OTHER, FORBIDDEN),
        (json!([]), OTHER, OTHER, FORBIDDEN),
        (json!(""), OTHER, OTHER, FORBIDDEN),
        (json!(format!("{AUDIENCE}/")), OTHER, OTHER, FORBIDDEN),
        (json!(format!("{AUDIENCE}/token")), OTHER, OTHER, FORBIDDEN),
        (json!(&AUDIENCE[..5]), OTHER, OTHER, FORBIDDEN),
        (json!(AUDIENCE.to_uppercase()), OTHER, OTHER, FORBIDDEN),
        (json!(null), MISSING, MISSING, None),
    ] {
        let token = es256(&good_header(), &with(good_claims(), "aud", aud.clone()));
        let issuer = || IssuerRule::Exactly(ISSUER.to_owned());
        for (rule, expected) in [
            (contains.clone(), in_contains),
            (only_ours.clone(), in_only),
            (AudienceRule::Absent, in_absent),
            (AudienceRule::NotUsed, None),
        ] {
            let profile = Profile::new(TokenKind::Jwt, issuer(), rule.clone());
            let error = verify(&token, &profile, &only(p256(), None), NOW).err();
            assert_eq!(error, expected, "{aud} under {rule:?}");
        }
    }
}

#[test]
fn what_is_verified_is_typed() {
    let claims = with(good_claims(), "nbf", json!(NOW_S - 20));
    let verified = check(&es256(
        &good_header(),
        &with(claims, "aud", json!([AUDIENCE, "b"])),
    ))
    .unwrap();
    assert_eq!(verified.audiences, [AUDIENCE, "b"]);
    assert_eq!(verified.subject.as_deref(), Some("s"));
    assert_eq!(verified.algorithm, JwsAlgorithm::Es256);
    assert_eq!(verified.iat, Some(UnixTime::from_secs(NOW_S - 10)));
    assert_eq!(verified.nbf, Some(UnixTime::from_secs(NOW_S - 20)));
}

/// A forged token must not learn from the error whether its claims would have passed.
#[test]
fn claims_are_judged_after_the_signature() {
    let token = es256(&good_header(), &with(good_claims(), "exp", json!(1)));
    let (input, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{input}.{}", base64url::encode(&[1; 64]));
    assert_eq!(check(&forged).unwrap_err(), JoseError::Signature);
}
