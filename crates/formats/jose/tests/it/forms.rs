use crate::support::*;
use signet_crypto::KeyKind;
use signet_jose::*;

fn signed(header: &str, payload: &str) -> String {
    sign_text(header, payload, p256(), JwsAlgorithm::Es256)
}

fn good_texts() -> (String, String) {
    (good_header().to_string(), good_claims().to_string())
}

#[test]
fn token_j5_repeated_members_are_refused_in_header_and_payload() {
    let (header, payload) = good_texts();
    let repeat = |text: &str, member: &str| format!("{},{member}}}", text.trim_end_matches('}'));
    for member in [r#""alg":"ES256""#, r#""\u0061lg":"none""#, r#""kid":"k""#] {
        let error = check(&signed(&repeat(&header, member), &payload)).unwrap_err();
        assert!(
            matches!(error, JoseError::Json { part: "header", .. }),
            "{member}: {error}"
        );
    }
    for member in [r#""sub":"other""#, r#""exp":1"#, r#""x":{"a":1,"a":1}"#] {
        let error = check(&signed(&header, &repeat(&payload, member))).unwrap_err();
        assert!(
            matches!(error, JoseError::Json { part: "payload", .. }),
            "{member}: {error}"
        );
    }
}

#[test]
fn token_j5_header_and_payload_are_objects() {
    let (header, payload) = good_texts();
    for other in ["[]", "1", "null", "\"a\"", "true", "", "{", "{}{}", "\u{feff}{}"] {
        assert!(matches!(
            check(&signed(other, &payload)),
            Err(JoseError::Json { part: "header", .. })
        ));
        assert!(matches!(
            check(&signed(&header, other)),
            Err(JoseError::Json { part: "payload", .. })
        ));
    }
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(b"\xff{}")
    );
    assert!(check(&format!("{input}.AAAA")).is_err());
}

#[test]
fn token_j5_a_header_ends_at_4_kib() {
    let (_, payload) = good_texts();
    let header = |bytes: usize| {
        let frame = r#"{"alg":"ES256","kid":"k","x":""}"#.len();
        format!(
            r#"{{"alg":"ES256","kid":"k","x":"{}"}}"#,
            "x".repeat(bytes - frame)
        )
    };
    assert!(check(&signed(&header(4096), &payload)).is_ok());
    assert_eq!(
        check(&signed(&header(4097), &payload)).unwrap_err(),
        JoseError::TooLong {
            what: "token header",
            bytes: 4097,
            bytes_max: 4096
        }
    );
}

/// A token of exactly `bytes` bytes, or one or two more where base64url has no such length.
fn token_of(bytes: usize, typ: &str) -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"k","typ":"{typ}"}}"#);
    let claims = good_claims().to_string();
    let claims = claims.trim_end_matches('}');
    (0..)
        .map(|fill| signed(&header, &format!(r#"{claims},"x":"{}"}}"#, "x".repeat(fill))))
        .find(|token| token.len() >= bytes)
        .unwrap()
}

#[test]
fn token_j5_a_token_ends_at_16_kib_and_an_assertion_at_8() {
    let keys = only(p256(), None);
    for (kind, typ, bytes_max) in [
        (TokenKind::Jwt, "JWT", 16 * 1024),
        (TokenKind::ClientAssertion, "client-authentication+jwt", 8 * 1024),
        (TokenKind::IdentityAssertion, "oauth-id-jag+jwt", 8 * 1024),
    ] {
        let fits = token_of(bytes_max - 2, typ);
        assert!(fits.len() <= bytes_max);
        assert!(verify(&fits, &profile_of(kind), &keys, NOW).is_ok(), "{kind:?}");
        let longer = token_of(bytes_max + 1, typ);
        assert_eq!(
            verify(&longer, &profile_of(kind), &keys, NOW).unwrap_err(),
            JoseError::TooLong {
                what: "token",
                bytes: longer.len(),
                bytes_max
            }
        );
    }
}

#[test]
fn token_j5_payloads_nest_16_deep_at_most() {
    let (header, payload) = good_texts();
    let nested = |depth: usize| {
        let inner = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        format!(r#"{},"x":{inner}}}"#, payload.trim_end_matches('}'))
    };
    assert!(check(&signed(&header, &nested(15))).is_ok());
    assert!(check(&signed(&header, &nested(16))).is_err());
    assert!(check(&signed(&header, &nested(3000))).is_err());
}

#[test]
fn token_j5_base64url_is_strict_in_every_part() {
    let good = es256(&good_header(), &good_claims());
    assert!(check(&good).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    for at in 0..3 {
        let broken = |part: String| {
            let mut parts: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            parts[at] = part;
            parts.join(".")
        };
        let part = parts[at];
        for bad in [
            format!("{part}="),
            format!("{part}=="),
            format!(" {part}"),
            format!("{part}\n"),
            format!("{part}+"),
            format!("{part}/"),
            format!("{}\u{0}", &part[1..]),
            format!("{part}é"),
        ] {
            let error = check(&broken(bad.clone())).unwrap_err();
            assert!(
                matches!(error, JoseError::Malformed { .. }),
                "part {at} {bad:?}: {error}"
            );
        }
    }
    // 64 bytes leave four unused bits in the last character: the other fifteen ways to write it are refused.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (front, last) = good.split_at(good.len() - 1);
    let place = alphabet.iter().position(|c| [*c] == last.as_bytes()).unwrap();
    assert_eq!(place % 16, 0);
    for other in &alphabet[place + 1..place + 16] {
        let token = format!("{front}{}", char::from(*other));
        assert!(
            matches!(check(&token), Err(JoseError::Malformed { .. })),
            "{other}"
        );
    }
}

#[test]
fn a_token_has_exactly_three_parts() {
    let good = es256(&good_header(), &good_claims());
    for bad in [
        "",
        ".",
        "..",
        "a",
        "a.b",
        &format!("{good}."),
        &format!(".{good}"),
        &format!("{good}.AQ"),
    ] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn every_changed_byte_of_a_token_is_noticed() {
    let good = es256(&good_header(), &good_claims());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(check(std::str::from_utf8(&bytes).unwrap()).is_err(), "byte {at}");
    }
}

#[test]
fn what_we_sign_we_take_and_it_has_no_other_header_members() {
    for (kind, signer) in keys() {
        let algorithm = JwsAlgorithm::for_key(kind);
        let unsigned = Unsigned::new(algorithm, "k", Some("JWT"), &good_claims()).unwrap();
        assert_eq!(unsigned.algorithm(), algorithm);
        let input = String::from_utf8(unsigned.signing_input().to_vec()).unwrap();
        let token = unsigned.sign_with(signer).unwrap();
        let profile = profile().algorithms(AlgorithmSet::of(&JwsAlgorithm::ALL));
        let verified = verify(&token, &profile, &only(signer, Some(algorithm)), NOW).unwrap();
        assert_eq!(verified.claims, *good_claims().as_object().unwrap());
        assert_eq!(
            (verified.kid.as_deref(), verified.typ.as_deref()),
            (Some("k"), Some("JWT"))
        );
        let (header, _) = input.split_once('.').unwrap();
        let header = String::from_utf8(base64url::decode(header).unwrap()).unwrap();
        let expected = format!(r#"{{"alg":"{algorithm}","kid":"k","typ":"JWT"}}"#);
        assert_eq!(header, expected);
    }
}

#[test]
fn what_cannot_be_verified_is_not_signed() {
    let new = |claims: &serde_json::Value| Unsigned::new(JwsAlgorithm::Es256, "k", None, claims).err();
    assert_eq!(new(&serde_json::json!([1])), Some(JoseError::Claims));
    assert_eq!(new(&serde_json::json!("a")), Some(JoseError::Claims));
    let long = serde_json::json!({"x": "x".repeat(16 * 1024)});
    assert!(matches!(new(&long), Some(JoseError::TooLong { .. })));
    let unsigned = Unsigned::new(JwsAlgorithm::Es384, "k", None, &good_claims()).unwrap();
    assert!(matches!(
        unsigned.sign_with(key(KeyKind::P256)),
        Err(JoseError::Sign(_))
    ));
}

#[test]
fn a_kid_is_written_so_that_it_reads_back() {
    for kid in ["a\"b", "a\\", "\u{0}\n", "ключ", ""] {
        let token = Unsigned::new(JwsAlgorithm::Es256, kid, None, &good_claims())
            .unwrap()
            .sign_with(p256())
            .unwrap();
        let mut keys = IssuerKeys::new();
        keys.insert(ISSUER, JwkSet::new(vec![jwk(p256(), kid, None)]).unwrap());
        assert_eq!(
            verify(&token, &profile(), &keys, NOW).unwrap().kid.as_deref(),
            Some(kid)
        );
    }
}
