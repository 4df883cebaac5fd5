use crate::support::*;
use proptest::prelude::*;
use signet_jose::*;

/// JSON-like text around the members that matter.
fn member_soup() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("alg"),
        Just("kid"),
        Just("typ"),
        Just("crit"),
        Just("exp"),
        Just("iat"),
        Just("aud"),
        Just("iss"),
        Just("kty"),
        Just("crv"),
        Just("x"),
        Just("y"),
        Just("n"),
        Just("e"),
        Just("keys"),
        Just("jwk")
    ];
    let value = prop_oneof![
        Just("\"ES256\"".to_owned()),
        Just("\"EC\"".to_owned()),
        Just("\"RSA\"".to_owned()),
        Just("\"P-256\"".to_owned()),
        Just("[]".to_owned()),
        Just("[\"a\"]".to_owned()),
        Just("{}".to_owned()),
        Just("null".to_owned()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "[A-Za-z0-9_-]{0,48}".prop_map(|text| format!("\"{text}\"")),
    ];
    proptest::collection::vec((name, value), 0..8).prop_map(|members| {
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #[test]
    fn no_token_panics(text in "\\PC{0,80}", bytes in any::<Vec<u8>>()) {
        prop_assert!(check(&text).is_err());
        prop_assert!(check(&String::from_utf8_lossy(&bytes)).is_err());
        let encoded = base64url::encode(&bytes);
        let token = format!("{encoded}.{encoded}.{encoded}");
        prop_assert!(check(&token).is_err());
    }

    #[test]
    fn no_json_in_a_token_panics(header in member_soup(), payload in member_soup()) {
        let token = sign_text(&header, &payload, p256(), JwsAlgorithm::Es256);
        for kind in TokenKind::ALL {
            let _ = verify(&token, &profile_of(kind), &only(p256(), None), NOW);
        }
        let token = sign_text(&good_header().to_string(), &payload, p256(), JwsAlgorithm::Es256);
        prop_assert!(check(&token).is_err(), "such claims never pass");
    }

    #[test]
    fn no_key_panics(text in member_soup(), bytes in any::<Vec<u8>>()) {
        let _ = Jwk::parse_text(text.as_bytes());
        let _ = Jwk::parse_text(&bytes);
        let _ = JwkSet::parse(text.as_bytes());
        let _ = JwkSet::parse(format!("{{\"keys\":[{text}]}}").as_bytes());
        let _ = JwkSet::parse(&bytes);
    }

    #[test]
    fn a_changed_token_is_refused(at in any::<proptest::sample::Index>(), to in any::<char>()) {
        let good = es256(&good_header(), &good_claims());
        let at = at.index(good.len());
        let changed = format!("{}{to}{}", &good[..at], &good[at + 1..]);
        if changed != good {
            prop_assert!(check(&changed).is_err());
        }
    }
}
