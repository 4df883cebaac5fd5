//! The verifier's bundles, and bundles that are wrong (SPIFFE Trust Domain and Bundle §4 and §5).

use crate::collection::{Collection, Row};
use crate::{chains, keys};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use signet_corpus::Kind;
use signet_jose::{Jwk, JwkParams, JwsAlgorithm};
use signet_testkit::forge::Authority;

/// The public half of a key as JWK, as a bundle has it for tokens.
pub(crate) fn jwk(key: &str, kid: &str, alg: Option<JwsAlgorithm>, use_: &str) -> Value {
    let params = JwkParams {
        kid: Some(kid.to_owned()),
        alg,
        use_: Some(use_.to_owned()),
    };
    Jwk::from_public_key(keys::local(key).public_key(), params)
        .unwrap()
        .to_value()
}

fn x509(authority: &Authority) -> Value {
    let key = authority.local_key();
    let mut value = Jwk::from_public_key(key.public_key(), JwkParams::default())
        .unwrap()
        .to_value();
    let members = value.as_object_mut().unwrap();
    members.remove("alg");
    members.insert("use".into(), "x509-svid".into());
    members.insert("x5c".into(), json!([STANDARD.encode(&authority.certificate)]));
    value
}

fn bundle(keys: Vec<Value>) -> Value {
    json!({"keys": keys, "spiffe_sequence": 7, "spiffe_refresh_hint": 300})
}

fn text(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap();
    text.push(b'\n');
    text
}

/// What most bundles here begin as: the root, and the key of most tokens.
fn small() -> Value {
    bundle(vec![
        x509(&chains::root()),
        jwk("token-rsa", "rsa", None, "jwt-svid"),
    ])
}

/// The small bundle with one thing changed.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = small();
    change(&mut value);
    text(&value)
}

pub(crate) fn forge(all: &mut Collection) {
    trust(all);
    let right = |all: &mut Collection, file, what, bytes: Vec<u8>, then: Option<&str>| {
        all.right(Kind::Bundle, file, what, bytes).then = then.map(str::to_owned);
    };
    let what = "a root and a key for tokens";
    right(all, "right_bundle.json", what, text(&small()), None);
    let what = "a root; a chain is checked against it";
    right(
        all,
        "right_bundle_for_chain.json",
        what,
        text(&small()),
        Some("right_chain.der"),
    );
    let what = "a key for tokens; a token is checked against it";
    right(
        all,
        "right_bundle_for_token.json",
        what,
        text(&small()),
        Some("right_token.txt"),
    );
    tolerated(all);
    documents(all);
    passed_over(all);
    followed(all);
    maps(all);
}

fn trust(all: &mut Collection) {
    let ours = bundle(vec![
        x509(&chains::root()),
        jwk("token-rsa", "rsa", None, "jwt-svid"),
        jwk("token-rs256", "rs256", Some(JwsAlgorithm::Rs256), "jwt-svid"),
        jwk("token-ec", "ec", None, "jwt-svid"),
        jwk("token-ed25519", "ed25519", None, "jwt-svid"),
        jwk("token-unlisted-use", "other-use", None, "sig"),
    ]);
    let theirs = bundle(vec![
        x509(&chains::other_root()),
        jwk("other-token", "other", None, "jwt-svid"),
    ]);
    let former = bundle(vec![x509(&chains::root()), x509(&chains::former_root())]);
    for (file, value) in [
        ("trust/example.org.json", ours),
        ("trust/example.com.json", theirs),
        ("trust/example.org.former.json", former),
    ] {
        all.extra.insert(file.into(), text(&value));
    }
}

/// What a strict reader might refuse and the standard does not.
fn tolerated(all: &mut Collection) {
    let mut right = |file: &str, rule: &str, what: &str, bytes| {
        let case = all.right(Kind::Bundle, file, what, bytes);
        case.rules = vec![rule.to_owned()];
        case.then = Some("right_chain.der".to_owned());
    };
    right(
        "right_bundle_unknown_member.json",
        "spiffe-86",
        "a member at the top that nobody knows",
        changed(|b| b["spiffe_color"] = json!("blue")),
    );
    let second = STANDARD.encode(&chains::other_root().certificate);
    right(
        "right_bundle_x5c_two.json",
        "spiffe-83",
        "a second certificate in `x5c`, which is passed over",
        changed(|b| b["keys"][0]["x5c"].as_array_mut().unwrap().push(json!(second))),
    );
}

/// Refused as documents.
fn documents(all: &mut Collection) {
    let weak = json!(URL_SAFE.encode([0xff; 128]).trim_end_matches('='));
    let url_safe = URL_SAFE.encode(&chains::root().certificate);
    assert!(url_safe.contains(['-', '_']), "tells the alphabets apart");
    let twice = String::from_utf8(text(&small())).unwrap().replacen(
        "\"spiffe_sequence\": 7",
        "\"spiffe_sequence\": 7,\n  \"spiffe_sequence\": 7",
        1,
    );
    let rows: Vec<Row> = vec![
        (
            "bundle_sequence_text.json",
            &["spiffe-79"],
            "the sequence is text",
            "SGTR003",
            changed(|b| b["spiffe_sequence"] = json!("7")),
        ),
        (
            "bundle_sequence_negative.json",
            &["spiffe-79"],
            "the sequence is below zero",
            "SGTR003",
            changed(|b| b["spiffe_sequence"] = json!(-7)),
        ),
        (
            "bundle_refresh_hint_fraction.json",
            &["spiffe-80"],
            "the refresh hint has a fraction",
            "SGTR003",
            changed(|b| b["spiffe_refresh_hint"] = json!(300.5)),
        ),
        (
            "bundle_keys_missing.json",
            &["spiffe-81"],
            "there is no `keys`",
            "SGTR003",
            changed(|b| drop(b.as_object_mut().unwrap().remove("keys"))),
        ),
        (
            "bundle_keys_object.json",
            &["spiffe-81"],
            "`keys` is an object",
            "SGTR003",
            changed(|b| b["keys"] = json!({})),
        ),
        (
            "bundle_x5c_no_certificate.json",
            &["spiffe-83"],
            "`x5c` is base64 of something else",
            "SGTR007",
            changed(|b| b["keys"][0]["x5c"][0] = json!("AAAA")),
        ),
        (
            "bundle_x5c_base64url.json",
            &["spiffe-83"],
            "`x5c` is base64url",
            "SGTR007",
            changed(|b| b["keys"][0]["x5c"][0] = json!(url_safe)),
        ),
        (
            "bundle_jwt_kid_missing.json",
            &["spiffe-84"],
            "the token key has no `kid`",
            "SGTR005",
            changed(|b| drop(b["keys"][1].as_object_mut().unwrap().remove("kid"))),
        ),
        (
            "bundle_jwt_kid_empty.json",
            &["spiffe-84"],
            "the token key has an empty `kid`",
            "SGTR005",
            changed(|b| b["keys"][1]["kid"] = json!("")),
        ),
        (
            "bundle_jwt_kid_twice.json",
            &["spiffe-84"],
            "two token keys have one `kid`",
            "SGTR006",
            changed(|b| {
                let second = jwk("token-rs256", "rsa", None, "jwt-svid");
                b["keys"].as_array_mut().unwrap().push(second);
            }),
        ),
        (
            "bundle_jwt_private_member.json",
            &["token-J2"],
            "the token key has the member `d`",
            "SGTR004",
            changed(|b| b["keys"][1]["d"] = json!("AQAB")),
        ),
        (
            "bundle_jwt_rsa_1024.json",
            &["token-J2"],
            "the token key is RSA of 1024 bits",
            "SGTR004",
            changed(|b| b["keys"][1]["n"] = weak),
        ),
        (
            "bundle_member_twice.json",
            &["token-J5"],
            "a member stands twice",
            "SGTR001",
            twice.into_bytes(),
        ),
    ];
    all.rows("right_bundle.json", rows);
}

/// Documents that are read, but from which nothing follows that would have the twin's chain or token accepted.
fn passed_over(all: &mut Collection) {
    let remove = |key: usize, member: &'static str| {
        changed(move |b| drop(b["keys"][key].as_object_mut().unwrap().remove(member)))
    };
    let rows: Vec<Row> = vec![
        (
            "bundle_keys_empty.json",
            &["spiffe-45", "spiffe-81"],
            "there are no keys, so nothing of the domain is trusted",
            "SGCK016",
            changed(|b| b["keys"] = json!([])),
        ),
        (
            "bundle_x509_use_upper_case.json",
            &["spiffe-82"],
            "the root's use is `X509-SVID`",
            "SGCK016",
            changed(|b| b["keys"][0]["use"] = json!("X509-SVID")),
        ),
        (
            "bundle_x509_use_missing.json",
            &["spiffe-82"],
            "the root has no use",
            "SGCK016",
            remove(0, "use"),
        ),
        (
            "bundle_x509_kty_unknown.json",
            &["spiffe-82"],
            "the root's `kty` is one that nobody knows",
            "SGCK016",
            changed(|b| b["keys"][0]["kty"] = json!("XYZ")),
        ),
        (
            "bundle_x509_x5c_missing.json",
            &["spiffe-83"],
            "the root has no `x5c`",
            "SGCK016",
            remove(0, "x5c"),
        ),
        (
            "bundle_x509_x5c_empty.json",
            &["spiffe-83"],
            "the root's `x5c` is empty",
            "SGCK016",
            changed(|b| b["keys"][0]["x5c"] = json!([])),
        ),
    ];
    all.rows("right_bundle_for_chain.json", rows);
    let rows: Vec<Row> = vec![
        (
            "bundle_jwt_use_upper_case.json",
            &["spiffe-82"],
            "the token key's use is `JWT-SVID`",
            "SGCK106",
            changed(|b| b["keys"][1]["use"] = json!("JWT-SVID")),
        ),
        (
            "bundle_jwt_use_missing.json",
            &["spiffe-82"],
            "the token key has no use",
            "SGCK106",
            remove(1, "use"),
        ),
        (
            "bundle_jwt_use_x509.json",
            &["spiffe-64"],
            "the token key's use is `x509-svid`",
            "SGCK106",
            changed(|b| b["keys"][1]["use"] = json!("x509-svid")),
        ),
        (
            "bundle_jwt_kty_missing.json",
            &["spiffe-82"],
            "the token key has no `kty`",
            "SGCK106",
            remove(1, "kty"),
        ),
    ];
    all.rows("right_bundle_for_token.json", rows);
}

fn followed(all: &mut Collection) {
    let twin = "right_bundle_next.json";
    all.right(
        Kind::NextBundle,
        twin,
        "a bundle that takes the place of itself",
        text(&small()),
    );
    let older = changed(|b| b["spiffe_sequence"] = json!(6));
    all.broken(
        "bundle_sequence_older.json",
        twin,
        &["spiffe-79"],
        "a lower sequence than before",
        "older",
        older,
    );
}

fn maps(all: &mut Collection) {
    let map = |names: [&str; 2]| {
        let one = small().to_string();
        let [first, second] = names;
        format!("{{\"trust_domains\":{{\"{first}\":{one},\"{second}\":{one}}}}}\n").into_bytes()
    };
    let twin = "right_bundle_map.json";
    all.right(
        Kind::BundleMap,
        twin,
        "bundles of two domains",
        map(["example.org", "example.com"]),
    );
    let twice = "a domain stands twice";
    all.broken(
        "bundle_map_domain_twice.json",
        twin,
        &["spiffe-85"],
        twice,
        "SGTR001",
        map(["example.org", "example.org"]),
    );
    let escaped = "a domain stands twice, once with an escape";
    all.broken(
        "bundle_map_domain_twice_escaped.json",
        twin,
        &["spiffe-85"],
        escaped,
        "SGTR001",
        map(["example.org", "\\u0065xample.org"]),
    );
    let id = "a domain is named by its SPIFFE ID";
    all.broken(
        "bundle_map_domain_as_id.json",
        twin,
        &["spiffe-85"],
        id,
        "SGTR011",
        map(["example.org", "spiffe://example.com"]),
    );
}
