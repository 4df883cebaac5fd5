//! JWT-SVIDs: fetching, bundles, validation.

use crate::world::{Client, DOMAIN, Domain, World, entry, first};
use prost_types::value::Kind;
use serde_json::json;
use signet_proto::workload::{
    JwtBundlesRequest, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use signet_testkit::START;
use tonic::{Code, Status};

pub(crate) async fn fetch(
    client: &mut Client,
    audience: &[&str],
    id: &str,
) -> Result<JwtsvidResponse, Status> {
    let audience = audience.iter().map(|&a| a.to_owned()).collect();
    client
        .fetch_jwtsvid(JwtsvidRequest {
            audience,
            spiffe_id: id.to_owned(),
        })
        .await
        .map(tonic::Response::into_inner)
}

pub(crate) async fn validate(
    client: &mut Client,
    audience: &str,
    svid: &str,
) -> Result<ValidateJwtsvidResponse, Status> {
    let request = ValidateJwtsvidRequest {
        audience: audience.to_owned(),
        svid: svid.to_owned(),
    };
    client
        .validate_jwtsvid(request)
        .await
        .map(tonic::Response::into_inner)
}

/// Right claims for `/a`; each test spoils one.
fn claims() -> serde_json::Value {
    json!({"sub": "spiffe://a.test/a", "aud": ["b"], "exp": START.as_secs() + 60, "iat": START.as_secs()})
}

fn with(name: &str, value: serde_json::Value) -> serde_json::Value {
    let mut claims = claims();
    match value {
        serde_json::Value::Null => claims.as_object_mut().expect("object").remove(name),
        value => claims
            .as_object_mut()
            .expect("object")
            .insert(name.to_owned(), value),
    };
    claims
}

#[tokio::test]
async fn spiffe_17_a_missing_mandatory_field_is_an_invalid_argument() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    for audience in [&[][..], &[""], &["b", ""]] {
        let status = fetch(&mut client, audience, "").await.expect_err("no audience");
        assert_eq!(status.code(), Code::InvalidArgument, "{audience:?}");
    }
    let token = world.server.domain.token(&claims());
    for (audience, token) in [("", token.as_str()), ("b", ""), ("", "")] {
        let status = validate(&mut client, audience, token).await.expect_err("missing");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    validate(&mut client, "b", &token).await.expect("both given");
}

#[tokio::test]
async fn spiffe_22_all_identities_or_exactly_the_one_that_was_asked_for() {
    let mut hinted = entry(2, "/b");
    hinted.hint = "second".to_owned();
    let mut same_id = entry(3, "/b");
    same_id.hint = "third".to_owned();
    let world = World::with(vec![entry(1, "/a"), hinted, same_id]).await;
    let mut client = world.client().await;
    let shown = |response: JwtsvidResponse| -> Vec<_> {
        response
            .svids
            .into_iter()
            .map(|s| (s.spiffe_id, s.hint))
            .collect()
    };
    let all = shown(fetch(&mut client, &["x"], "").await.expect("all"));
    let of = |id: &str, hint: &str| (format!("spiffe://{DOMAIN}{id}"), hint.to_owned());
    assert_eq!(all, [of("/a", ""), of("/b", "second"), of("/b", "third")]);
    let one = shown(
        fetch(&mut client, &["x"], "spiffe://a.test/b")
            .await
            .expect("one"),
    );
    assert_eq!(one, [of("/b", "second")]);
}

#[tokio::test]
async fn spiffe_22_a_token_that_is_refused_withholds_no_other() {
    let world = World::with(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let mut client = world.client().await;
    // The server has dropped the entries, and the agent has not heard of it yet.
    world.server.set_entries(&[std::sync::Arc::new(entry(2, "/b"))]);
    let all = fetch(&mut client, &["x"], "").await.expect("the other one");
    let ids: Vec<_> = all.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, ["spiffe://a.test/b"]);
    let one = fetch(&mut client, &["x"], "spiffe://a.test/a").await;
    assert_eq!(one.expect_err("dropped").code(), Code::PermissionDenied);
    world.server.set_entries(&[]);
    let none = fetch(&mut client, &["y"], "").await;
    assert_eq!(none.expect_err("all dropped").code(), Code::PermissionDenied);
    // What cannot be had for the moment is no refusal: the call may succeed soon, with all of them.
    world.server.away.send_replace(true);
    let away = fetch(&mut client, &["x"], "").await;
    assert_eq!(away.expect_err("away").code(), Code::Unavailable);
}

#[tokio::test]
async fn spiffe_22_an_identity_of_others_is_denied_and_what_is_none_is_invalid() {
    let mut other = entry(2, "/other");
    other.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    let world = World::with(vec![entry(1, "/a"), other]).await;
    let mut client = world.client().await;
    for id in [
        "spiffe://a.test/other",
        "spiffe://a.test/nobody",
        "spiffe://b.test/a",
        "spiffe://a.test",
    ] {
        let status = fetch(&mut client, &["x"], id).await.expect_err(id);
        assert_eq!(status.code(), Code::PermissionDenied, "{id}");
    }
    for id in [
        "a",
        "spiffe://",
        "http://a.test/a",
        "spiffe://a.test/a/",
        "SPIFFE://A.test/a",
    ] {
        let status = fetch(&mut client, &["x"], id).await.expect_err(id);
        assert_eq!(status.code(), Code::InvalidArgument, "{id}");
    }
}

#[tokio::test]
async fn spiffe_22_all_audiences_are_in_the_token() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let token = fetch(&mut client, &["two", "one", "two"], "")
        .await
        .expect("fetch")
        .svids
        .remove(0)
        .svid;
    for audience in ["one", "two"] {
        let valid = validate(&mut client, audience, &token).await.expect(audience);
        assert_eq!(valid.spiffe_id, "spiffe://a.test/a");
    }
    assert_eq!(
        validate(&mut client, "three", &token)
            .await
            .expect_err("not for it")
            .code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn audiences_are_bounded() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let most: Vec<String> = (0..16).map(|n| format!("{n:0512}")).collect();
    let most: Vec<&str> = most.iter().map(String::as_str).collect();
    fetch(&mut client, &most, "").await.expect("within");
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(513);
    for audience in [&many[..], &[long.as_str()]] {
        assert_eq!(
            fetch(&mut client, audience, "").await.expect_err("beyond").code(),
            Code::InvalidArgument
        );
    }
    // Beyond what any request may weigh.
    let huge = "x".repeat(100 << 10);
    assert!(fetch(&mut client, &[&huge], "").await.is_err());
    fetch(&mut client, &["x"], "")
        .await
        .expect("the connection goes on");
}

#[tokio::test]
async fn spiffe_23_bundles_hold_the_jwt_keys_and_no_others() {
    let mut federated = entry(1, "/a");
    federated.federates_with = vec!["b.test".parse().expect("domain")];
    let mut world = World::with(vec![federated]).await;
    world
        .federate(vec![
            Domain::new("b.test").bundle(),
            Domain::new("c.test").bundle(),
        ])
        .await;
    let stream = world
        .client()
        .await
        .fetch_jwt_bundles(JwtBundlesRequest {})
        .await
        .expect("open");
    let message = first(stream).await.expect("first");
    let mut domains: Vec<_> = message.bundles.keys().map(String::as_str).collect();
    domains.sort_unstable();
    assert_eq!(domains, ["spiffe://a.test", "spiffe://b.test"]);
    for (domain, json) in &message.bundles {
        let set: serde_json::Value = serde_json::from_slice(json).expect("json");
        let keys = set["keys"].as_array().expect("keys");
        assert_eq!(
            keys.len(),
            1,
            "the bundle has an X.509 authority too, which must not be here"
        );
        let name = domain.strip_prefix("spiffe://").expect("id");
        assert_eq!(keys[0]["kid"], format!("{name}-1"));
        assert!(keys[0].get("x5c").is_none());
        assert_ne!(keys[0]["use"], "x509-svid");
        assert!(keys[0].get("d").is_none(), "public");
    }
}

#[tokio::test]
async fn spiffe_24_a_valid_token_gives_its_identity_and_its_claims() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let rich = with(
        "rich",
        json!({"number": 1.5, "list": [true, null, "x"], "whole": 9_007_199_254_740_991_i64}),
    );
    let valid = validate(&mut client, "b", &world.server.domain.token(&rich))
        .await
        .expect("valid");
    assert_eq!(valid.spiffe_id, "spiffe://a.test/a");
    let fields = valid.claims.expect("claims").fields;
    let kind = |name: &str| fields[name].kind.clone().expect("kind");
    #[expect(clippy::cast_precision_loss, reason = "protobuf's only number")]
    let exp = (START.as_secs() + 60) as f64;
    assert_eq!(kind("exp"), Kind::NumberValue(exp));
    assert_eq!(kind("sub"), Kind::StringValue("spiffe://a.test/a".to_owned()));
    let Kind::StructValue(rich) = kind("rich") else {
        panic!("{fields:?}")
    };
    assert_eq!(rich.fields["number"].kind, Some(Kind::NumberValue(1.5)));
    assert_eq!(
        rich.fields["whole"].kind,
        Some(Kind::NumberValue(9_007_199_254_740_991.0))
    );
    let Some(Kind::ListValue(list)) = &rich.fields["list"].kind else {
        panic!("{rich:?}")
    };
    assert_eq!(list.values[1].kind, Some(Kind::NullValue(0)));
    // A single audience comes back as a list as well.
    let single = validate(
        &mut client,
        "b",
        &world.server.domain.token(&with("aud", json!("b"))),
    )
    .await
    .expect("valid");
    let aud = single.claims.expect("claims").fields["aud"].kind.clone();
    assert!(matches!(aud, Some(Kind::ListValue(list)) if list.values.len() == 1));
}

#[tokio::test]
async fn spiffe_24_every_fault_of_a_token_is_an_invalid_argument() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let domain = &world.server.domain;
    let right = domain.token(&claims());
    validate(&mut client, "b", &right).await.expect("right");
    let impostor = Domain::new(DOMAIN);
    let (header, rest) = right.split_once('.').expect("parts");
    let (payload, signature) = rest.split_once('.').expect("parts");
    let none = signet_jose::base64url::encode(br#"{"alg":"none","typ":"JWT"}"#);
    let faults = [
        ("not a token", "x.y.z".to_owned()),
        ("no exp", domain.token(&with("exp", json!(null)))),
        ("expired", domain.token(&with("exp", json!(START.as_secs() - 60)))),
        ("another audience", domain.token(&with("aud", json!(["c"])))),
        ("no audience", domain.token(&with("aud", json!(null)))),
        ("no subject", domain.token(&with("sub", json!(null)))),
        ("subject that is no id", domain.token(&with("sub", json!("a")))),
        ("another's signature", impostor.token(&claims())),
        ("no signature", format!("{header}.{payload}.")),
        ("alg none", format!("{none}.{payload}.")),
        (
            "changed claims",
            format!("{header}.{}.{signature}", signet_jose::base64url::encode(b"{}")),
        ),
        (
            "not yet valid",
            domain.token(&with("nbf", json!(START.as_secs() + 600))),
        ),
    ];
    for (fault, token) in faults {
        let status = validate(&mut client, "b", &token).await.expect_err(fault);
        assert_eq!(status.code(), Code::InvalidArgument, "{fault}: {status}");
    }
}

#[tokio::test]
async fn spiffe_24_a_token_is_checked_with_the_bundle_of_its_subjects_domain_alone() {
    let foreign = Domain::new("b.test");
    let mut federated = entry(1, "/a");
    federated.federates_with = vec!["b.test".parse().expect("domain")];
    let mut world = World::with(vec![federated]).await;
    let mut client = world.client().await;
    let theirs = with("sub", json!("spiffe://b.test/x"));
    // Before there is a bundle,
    assert_eq!(
        validate(&mut client, "b", &foreign.token(&theirs))
            .await
            .expect_err("no bundle")
            .code(),
        Code::InvalidArgument
    );
    world
        .federate(vec![foreign.bundle(), Domain::new("c.test").bundle()])
        .await;
    // with it,
    let valid = validate(&mut client, "b", &foreign.token(&theirs))
        .await
        .expect("valid");
    assert_eq!(valid.spiffe_id, "spiffe://b.test/x");
    // signed by another domain whose bundle is known as well,
    for (why, token) in [
        ("own key, foreign subject", world.server.domain.token(&theirs)),
        ("foreign key, own subject", foreign.token(&claims())),
        (
            "a domain not federated with",
            Domain::new("c.test").token(&with("sub", json!("spiffe://c.test/x"))),
        ),
    ] {
        assert_eq!(
            validate(&mut client, "b", &token).await.expect_err(why).code(),
            Code::InvalidArgument,
            "{why}"
        );
    }
    // and after it was removed.
    world.federate(Vec::new()).await;
    assert!(validate(&mut client, "b", &foreign.token(&theirs)).await.is_err());
}

#[tokio::test]
async fn spiffe_24_claims_of_foreign_domains_are_filtered_unless_allowed() {
    let foreign = Domain::new("b.test");
    let mut federated = entry(1, "/a");
    federated.federates_with = vec!["b.test".parse().expect("domain")];
    let mut world = World::with(vec![federated]).await;
    world.federate(vec![foreign.bundle()]).await;
    let mut client = world.client().await;
    let mut theirs = with("sub", json!("spiffe://b.test/x"));
    theirs["role"] = json!("admin");
    theirs["allowed"] = json!("yes");
    let names = |valid: ValidateJwtsvidResponse| {
        let mut names: Vec<_> = valid.claims.expect("claims").fields.into_keys().collect();
        names.sort_unstable();
        names
    };
    let valid = validate(&mut client, "b", &foreign.token(&theirs))
        .await
        .expect("valid");
    assert_eq!(names(valid), ["allowed", "aud", "exp", "iat", "sub"]);
    let mut ours = claims();
    ours["role"] = json!("admin");
    let valid = validate(&mut client, "b", &world.server.domain.token(&ours))
        .await
        .expect("valid");
    assert_eq!(
        names(valid),
        ["aud", "exp", "iat", "role", "sub"],
        "one's own domain says what it likes"
    );
}
