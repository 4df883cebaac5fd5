//! Bundles read and written, rule by rule (`docs/rules/spiffe.md`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::Coded as _;
use signet_id::TrustDomain;
use signet_jose::{Jwk, JwkParams};
use signet_testkit::forge::Authority;
use signet_trust::{Bundle, JwtAuthority, Offer, TrustError, TrustView, WitAuthority, X509Authority};
use std::time::Duration;

fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

fn parse(document: &Value) -> Result<Bundle, TrustError> {
    Bundle::parse_spiffe(domain(), document.to_string().as_bytes())
}

fn jwk(kid: &str) -> Jwk {
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let params = JwkParams {
        kid: Some(kid.to_owned()),
        ..JwkParams::default()
    };
    Jwk::from_public_key(key.public_key(), params).unwrap()
}

fn jwt_key(kid: &str) -> Value {
    let mut value = jwk(kid).to_value();
    value["use"] = "jwt-svid".into();
    value
}

fn x509_key(x5c: &Value) -> Value {
    let mut value = jwk("x").to_value();
    value.as_object_mut().unwrap().remove("kid");
    value["use"] = "x509-svid".into();
    value["x5c"] = x5c.clone();
    value
}

fn bundle() -> Bundle {
    let authority = |tainted| X509Authority {
        certificate: Authority::root("example.org").certificate,
        tainted,
    };
    let jwt = |kid: &str| JwtAuthority {
        kid: kid.to_owned(),
        jwk: jwk(kid),
        tainted: false,
    };
    Bundle::new(
        domain(),
        9,
        Some(Duration::from_mins(5)),
        vec![authority(false), authority(true)],
        vec![jwt("a"), jwt("b")],
    )
    .unwrap()
}

#[test]
fn what_is_written_reads_back() {
    let bundle = bundle();
    let read = Bundle::parse_spiffe(domain(), &bundle.to_spiffe_json().unwrap()).unwrap();
    assert_eq!(read.sequence(), 9);
    assert_eq!(read.refresh_hint(), Some(Duration::from_mins(5)));
    let certificates = |b: &Bundle| b.x509().iter().map(|a| a.certificate.clone()).collect::<Vec<_>>();
    assert_eq!(certificates(&read), certificates(&bundle));
    let keys = |b: &Bundle| {
        b.jwt()
            .iter()
            .map(|k| (k.kid.clone(), k.jwk.thumbprint()))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&read), keys(&bundle));
}

#[test]
fn spiffe_23_the_jwk_set_has_jwt_keys_only_each_with_kid() {
    let document: Value = serde_json::from_slice(&bundle().to_jwks_json()).unwrap();
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(
        keys.iter()
            .all(|key| key.get("x5c").is_none() && key["use"] == "jwt-svid")
    );
    assert_eq!(document.as_object().unwrap().len(), 1);
}

#[test]
fn spiffe_18_authorities_are_concatenated_der() {
    let bundle = bundle();
    let both = [
        &bundle.x509()[0].certificate[..],
        &bundle.x509()[1].certificate[..],
    ]
    .concat();
    assert_eq!(bundle.x509_concat_der(), both);
}

#[test]
fn spiffe_79_80_sequence_and_hint_are_whole_numbers() {
    let read = parse(&json!({"keys": [], "spiffe_sequence": u64::MAX, "spiffe_refresh_hint": 300})).unwrap();
    assert_eq!(
        (read.sequence(), read.refresh_hint()),
        (u64::MAX, Some(Duration::from_secs(300)))
    );
    for wrong in [json!("7"), json!(1.5), json!(-1), json!(null)] {
        for name in ["spiffe_sequence", "spiffe_refresh_hint"] {
            let refused = parse(&json!({"keys": [], name: wrong})).unwrap_err();
            assert!(
                matches!(refused, TrustError::Member { .. }),
                "{name} {wrong}: {refused}"
            );
        }
    }
}

#[test]
fn spiffe_81_keys_must_be_there_and_may_be_none() {
    let read = parse(&json!({"keys": []})).unwrap();
    assert!(read.x509().is_empty() && read.jwt().is_empty());
    for wrong in [json!({}), json!({"keys": null}), json!({"keys": {}})] {
        let refused = parse(&wrong).unwrap_err();
        assert_eq!(refused.code(), "SGTR003", "{wrong}");
    }
    assert!(matches!(parse(&json!([])), Err(TrustError::Json(_))));
}

#[test]
fn spiffe_82_a_key_of_unknown_type_or_use_is_passed_over() {
    let without = |name: &str| {
        let mut key = jwt_key("x");
        key.as_object_mut().unwrap().remove(name);
        key
    };
    let with = |name: &str, value: &str| {
        let mut key = jwt_key("x");
        key[name] = value.into();
        key
    };
    let keys = [
        without("kty"),
        without("use"),
        with("kty", "XYZ"),
        with("use", "JWT-SVID"),
        with("use", "sig"),
        json!("no object"),
        jwt_key("good"),
    ];
    let read = parse(&json!({ "keys": keys })).unwrap();
    assert_eq!(
        read.jwt().iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(),
        ["good"]
    );
}

#[test]
fn spiffe_83_x5c_may_be_missing_empty_or_too_long_but_not_wrong() {
    let one = Authority::root("example.org").certificate;
    let other = Authority::root("example.org").certificate;
    let text = |der: &[u8]| Value::from(STANDARD.encode(der));
    let mut missing = x509_key(&json!([]));
    missing.as_object_mut().unwrap().remove("x5c");
    let keys = [
        missing,
        x509_key(&json!([])),
        x509_key(&json!([text(&one), text(&other)])),
    ];
    let read = parse(&json!({ "keys": keys })).unwrap();
    assert_eq!(
        read.x509().iter().map(|a| &a.certificate).collect::<Vec<_>>(),
        [&one]
    );
    let trailing = [&one[..], &[0]].concat();
    // Its key is on prime239v3 (RFC 3279 §2.3.5) instead of P-256.
    let mut strange = one.to_vec();
    let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let at = strange.windows(8).position(|part| part == curve).unwrap();
    strange[at + 7] = 6;
    for wrong in [
        json!(["!"]),
        json!([7]),
        json!([text(b"no certificate")]),
        json!([text(&trailing)]),
        json!([text(&strange)]),
    ] {
        let refused = parse(&json!({"keys": [x509_key(&wrong)]})).unwrap_err();
        assert!(
            matches!(refused, TrustError::Certificate { index: 0, .. }),
            "{wrong}: {refused}"
        );
    }
}

#[test]
fn spiffe_83_an_x509_authority_is_written_without_kid_and_with_one_certificate() {
    let document: Value = serde_json::from_slice(&bundle().to_spiffe_json().unwrap()).unwrap();
    let keys = document["keys"].as_array().unwrap();
    let x509: Vec<_> = keys.iter().filter(|key| key["use"] == "x509-svid").collect();
    assert_eq!(x509.len(), 2);
    assert!(
        x509.iter()
            .all(|key| key.get("kid").is_none() && key["x5c"].as_array().unwrap().len() == 1)
    );
}

#[test]
fn spiffe_84_a_jwt_key_needs_a_kid_of_its_own() {
    let mut nameless = jwt_key("x");
    nameless.as_object_mut().unwrap().remove("kid");
    assert!(matches!(
        parse(&json!({"keys": [nameless]})),
        Err(TrustError::NoKid { index: 0 })
    ));
    assert!(matches!(
        parse(&json!({"keys": [jwt_key("")]})),
        Err(TrustError::NoKid { .. } | TrustError::JwtKey { .. })
    ));
    let twice = parse(&json!({"keys": [jwt_key("a"), jwt_key("a")]})).unwrap_err();
    assert!(
        matches!(&twice, TrustError::SameKid { kid } if kid == "a"),
        "{twice}"
    );
}

#[test]
fn a_broken_jwt_key_is_told_apart_from_an_unknown_one() {
    let mut broken = jwt_key("a");
    broken["x"] = "AAAA".into();
    assert!(matches!(
        parse(&json!({"keys": [broken]})),
        Err(TrustError::JwtKey { index: 0, .. })
    ));
    let mut private = jwt_key("a");
    private["d"] = "AAAA".into();
    assert!(matches!(
        parse(&json!({"keys": [private]})),
        Err(TrustError::JwtKey { index: 0, .. })
    ));
}

#[test]
fn spiffe_86_unknown_members_are_tolerated() {
    assert!(parse(&json!({"keys": [], "x": {"y": [1, 2]}})).is_ok());
}

#[test]
fn a_document_that_can_be_read_two_ways_is_refused() {
    for text in [r#"{"keys": [], "keys": []}"#, "{\"keys\": []} x", "", "{"] {
        let refused = Bundle::parse_spiffe(domain(), text.as_bytes()).unwrap_err();
        assert!(matches!(refused, TrustError::Json(_)), "{text}: {refused}");
    }
}

#[test]
fn bundles_are_bounded() {
    let long = format!(r#"{{"keys": [], "x": "{}"}}"#, "x".repeat(Bundle::BYTES_MAX));
    assert!(matches!(
        Bundle::parse_spiffe(domain(), long.as_bytes()),
        Err(TrustError::Json(_))
    ));
    let many = vec![Value::Null; Bundle::KEYS_MAX + 1];
    assert!(matches!(
        parse(&json!({ "keys": many })),
        Err(TrustError::ManyKeys { .. })
    ));
}

#[test]
fn a_tainted_key_is_not_found_by_name() {
    let key = JwtAuthority {
        kid: "a".to_owned(),
        jwk: jwk("a"),
        tainted: true,
    };
    let bundle = Bundle::new(domain(), 1, None, Vec::new(), vec![key]).unwrap();
    assert!(bundle.jwt_key("a").is_none());
    assert_eq!(bundle.jwt().len(), 1);
}

/// It is listed for verifiers that know taint; to all others it would be one more root.
#[test]
fn a_tainted_intermediate_is_in_no_document() {
    let root = Authority::root("example.org");
    let intermediate = root.intermediate("example.org").certificate;
    let authority = |certificate: &signet_x509::Der, tainted| X509Authority {
        certificate: certificate.clone(),
        tainted,
    };
    let x509 = vec![authority(&root.certificate, true), authority(&intermediate, true)];
    let bundle = Bundle::new(domain(), 1, None, x509, Vec::new()).unwrap();
    assert_eq!(bundle.x509_concat_der(), root.certificate.to_vec());
    let read = Bundle::parse_spiffe(domain(), &bundle.to_spiffe_json().unwrap()).unwrap();
    assert_eq!(read.x509().len(), 1);
    assert_eq!(read.x509()[0].certificate, root.certificate);
}

#[test]
fn spiffe_93_a_bundle_takes_the_place_of_the_old_one_and_is_not_merged() {
    let view = TrustView::new(domain())
        .with_bundle(bundle())
        .with_bundle(Bundle::empty(domain()));
    assert!(view.own_bundle().unwrap().x509().is_empty());
    assert_eq!(view.bundles().len(), 1);
    let other: TrustDomain = "example.com".parse().unwrap();
    assert!(view.bundle(&other).is_none());
    assert!(view.without(&domain()).own_bundle().is_none());
}

#[test]
fn spiffe_79_93_an_older_sequence_never_takes_the_place_of_a_newer() {
    let numbered = |sequence| Bundle::new(domain(), sequence, None, Vec::new(), Vec::new()).unwrap();
    let mut view = TrustView::new(domain());
    let mut offers = Vec::new();
    for sequence in [7, 6, 7, 9, 8, u64::MAX, 9] {
        let (next, offer) = view.with_newer(numbered(sequence));
        offers.push((offer, next.own_bundle().unwrap().sequence()));
        view = next;
    }
    use Offer::{Older, Taken};
    let expected = [
        (Taken, 7),
        (Older, 7),
        (Taken, 7),
        (Taken, 9),
        (Older, 9),
        (Taken, u64::MAX),
        (Older, u64::MAX),
    ];
    assert_eq!(offers, expected);
    // Of a publisher that gives no sequence nothing can be said; and sequences of two domains have nothing in common.
    let (view, offer) = view.with_newer(numbered(0));
    assert_eq!((offer, view.own_bundle().unwrap().sequence()), (Taken, 0));
    let other = Bundle::empty("example.com".parse().unwrap());
    assert!(!other.may_replace(&numbered(0)));
    let (view, offer) = view.with_newer(other);
    assert_eq!((offer, view.bundles().len()), (Taken, 2));
}

#[test]
fn spiffe_85_a_map_that_names_a_domain_twice_is_refused_whole() {
    let good = r#"{"trust_domains": {"a.test": {"keys": [], "spiffe_sequence": 3, "spiffe_refresh_hint": 60},
        "b.test": {"keys": []}}, "more": 1}"#;
    let map = Bundle::parse_map(good.as_bytes()).unwrap();
    let named: Vec<_> = map.keys().map(TrustDomain::as_str).collect();
    assert_eq!(named, ["a.test", "b.test"]);
    let first = &map[&"a.test".parse().unwrap()];
    // The hint of a bundle in a map is not followed.
    assert_eq!((first.sequence(), first.refresh_hint()), (3, None));
    assert!(map.iter().all(|(domain, bundle)| domain == bundle.trust_domain()));
    for twice in [
        r#"{"trust_domains": {"a.test": {"keys": []}, "b.test": {"keys": []}, "a.test": {"keys": []}}}"#,
        r#"{"trust_domains": {"a.test": {"keys": []}, "\u0061.test": {"keys": []}}}"#,
        r#"{"trust_domains": {}, "trust_domains": {}}"#,
    ] {
        let refused = Bundle::parse_map(twice.as_bytes()).unwrap_err();
        assert!(matches!(refused, TrustError::Json(_)), "{twice}: {refused}");
    }
}

#[test]
fn a_bundle_map_is_right_in_every_part_or_refused() {
    for (text, code) in [
        (r#"{"a.test": {"keys": []}}"#, "SGTR003"),
        (r#"{"trust_domains": []}"#, "SGTR003"),
        (r#"{"trust_domains": {"a.test": []}}"#, "SGTR003"),
        (r#"{"trust_domains": {"a.test": {}}}"#, "SGTR003"),
        (
            r#"{"trust_domains": {"spiffe://a.test": {"keys": []}}}"#,
            "SGTR011",
        ),
        (r#"{"trust_domains": {"A.test": {"keys": []}}}"#, "SGTR011"),
    ] {
        assert_eq!(
            Bundle::parse_map(text.as_bytes()).unwrap_err().code(),
            code,
            "{text}"
        );
    }
    let many: serde_json::Map<_, _> = (0..=Bundle::MAP_MAX)
        .map(|n| (format!("d{n}.test"), json!({"keys": []})))
        .collect();
    let refused = Bundle::parse_map(json!({ "trust_domains": many }).to_string().as_bytes()).unwrap_err();
    assert_eq!(refused.code(), "SGTR010");
}

#[test]
fn token_k6_readers_of_openid_connect_get_the_same_keys_with_the_use_that_they_know() {
    let bundle = bundle();
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let (mut ours, theirs) = (read(&bundle.to_jwks_json()), read(&bundle.to_oidc_jwks_json()));
    for key in ours["keys"].as_array_mut().unwrap() {
        assert_eq!(key["use"], "jwt-svid");
        key["use"] = "sig".into();
    }
    assert_eq!(ours, theirs);
}

fn wit(kid: &str) -> WitAuthority {
    WitAuthority {
        kid: kid.to_owned(),
        jwk: jwk(kid),
        tainted: false,
    }
}

fn wit_key(kid: &str) -> Value {
    let mut value = jwk(kid).to_value();
    value["use"] = "wit-svid".into();
    value
}

#[test]
fn spiffe_78_wit_keys_have_the_use_wit_svid_and_read_back_as_they_were() {
    let bundle = bundle().with_wit(vec![wit("w1"), wit("w2")]).unwrap();
    let json = bundle.to_spiffe_json().unwrap();
    let document: Value = serde_json::from_slice(&json).unwrap();
    let keys = document["keys"].as_array().unwrap();
    let of_wit = keys.iter().filter(|key| key["use"] == "wit-svid");
    let kids: Vec<_> = of_wit.map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["w1", "w2"]);
    let read = Bundle::parse_spiffe(domain(), &json).unwrap();
    let thumbprints = |b: &Bundle| {
        b.wit()
            .iter()
            .map(|k| (k.kid.clone(), k.jwk.thumbprint()))
            .collect::<Vec<_>>()
    };
    assert_eq!(thumbprints(&read), thumbprints(&bundle));
    assert_eq!(read.jwt().len(), 2);
}

#[test]
fn spiffe_23_78_jwt_sets_have_no_wit_keys_and_wit_sets_no_others() {
    let bundle = bundle().with_wit(vec![wit("w")]).unwrap();
    let kids = |json: Vec<u8>, use_: &str| {
        let document: Value = serde_json::from_slice(&json).unwrap();
        let keys = document["keys"].as_array().unwrap();
        assert!(
            keys.iter()
                .all(|key| key["use"] == use_ && key.get("x5c").is_none())
        );
        let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
        keys.iter().map(kid).collect::<Vec<_>>()
    };
    assert_eq!(kids(bundle.to_jwks_json(), "jwt-svid"), ["a", "b"]);
    assert_eq!(kids(bundle.to_oidc_jwks_json(), "sig"), ["a", "b"]);
    assert_eq!(kids(bundle.to_wit_jwks_json(), "wit-svid"), ["w"]);
}

#[test]
fn spiffe_78_a_wit_keys_kid_is_that_of_no_other_key_of_the_bundle() {
    let same = |keys: Value| {
        let refused = parse(&json!({ "keys": keys })).unwrap_err();
        assert!(
            matches!(&refused, TrustError::SameKid { kid } if kid == "a"),
            "{refused}"
        );
    };
    same(json!([wit_key("a"), wit_key("a")]));
    same(json!([jwt_key("a"), wit_key("a")]));
    same(json!([wit_key("a"), jwt_key("a")]));
    // Whatever the other is for, and whether or not it would be looked at.
    let mut x509 = x509_key(&json!([]));
    x509["kid"] = "a".into();
    same(json!([x509, wit_key("a")]));
    same(json!([wit_key("a"), {"kty": "XYZ", "kid": "a"}]));
    assert_eq!(
        parse(&json!({"keys": [jwt_key("a"), wit_key("b")]}))
            .unwrap()
            .wit()
            .len(),
        1
    );
    assert!(matches!(
        bundle().with_wit(vec![wit("a")]),
        Err(TrustError::SameKid { kid }) if kid == "a"
    ));
}

#[test]
fn spiffe_78_a_wit_key_needs_a_kid_and_a_use_in_the_right_case() {
    let mut nameless = wit_key("x");
    nameless.as_object_mut().unwrap().remove("kid");
    for wrong in [nameless, wit_key("")] {
        assert!(matches!(
            parse(&json!({"keys": [wrong]})),
            Err(TrustError::NoKid { .. })
        ));
    }
    for use_ in ["WIT-SVID", "wit", "wit-svid "] {
        let mut key = wit_key("x");
        key["use"] = use_.into();
        let read = parse(&json!({"keys": [key]})).unwrap();
        assert!(read.wit().is_empty() && read.jwt().is_empty(), "{use_}");
    }
    let mut private = wit_key("a");
    private["d"] = "AAAA".into();
    assert!(matches!(
        parse(&json!({"keys": [private]})),
        Err(TrustError::JwtKey { index: 0, .. })
    ));
}

#[test]
fn wit_keys_count_towards_the_bound_of_a_bundle() {
    let one = wit("x");
    let many = (0..=Bundle::KEYS_MAX).map(|n| WitAuthority {
        kid: n.to_string(),
        ..one.clone()
    });
    assert!(matches!(
        Bundle::empty(domain()).with_wit(many.collect()),
        Err(TrustError::ManyKeys { .. })
    ));
}

#[test]
fn the_register_is_whole() {
    assert_eq!(signet_fault::flaws(&[signet_trust::REGISTER]), []);
}
