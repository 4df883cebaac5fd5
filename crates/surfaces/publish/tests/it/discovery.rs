use crate::World;
use http::Method;
use serde_json::Value;
use signet_jose::Jwk;
use signet_keys::Purpose;
use signet_surface_publish::routes;
use std::collections::BTreeSet;

const OAUTH: &str = "/.well-known/openid-configuration";
const WORKLOAD: &str = "/workload/.well-known/openid-configuration";

#[tokio::test]
async fn token_r2_both_names_of_an_issuer_give_the_same_bytes() {
    let world = World::new().await;
    for (openid, oauth) in [
        (OAUTH, "/.well-known/oauth-authorization-server"),
        // RFC 8414 §3.1 puts its well-known name before the issuer's path.
        (WORKLOAD, "/.well-known/oauth-authorization-server/workload"),
    ] {
        let (one, other) = (world.get(openid).await, world.get(oauth).await);
        assert_eq!(one.body, other.body);
        assert_eq!(one.header("etag"), other.header("etag"));
    }
}

#[tokio::test]
async fn token_r2_the_issuer_is_the_configured_one_and_its_documents_lie_where_it_says() {
    let world = World::new().await;
    for (path, issuer) in [
        (OAUTH, "https://id.example.org"),
        (WORKLOAD, "https://id.example.org/workload"),
    ] {
        let document = world.get(path).await.json();
        assert_eq!(document["issuer"], issuer);
        let appended = format!("{issuer}/.well-known/openid-configuration");
        assert_eq!(appended, format!("https://id.example.org{path}"));
        let keys = document["jwks_uri"].as_str().unwrap();
        let path = keys.strip_prefix("https://id.example.org").unwrap();
        let set = world.get(path).await.json();
        assert!(set["keys"].is_array());
    }
}

#[tokio::test]
async fn token_r2_a_foreign_host_changes_no_byte() {
    let world = World::new().await;
    for route in routes() {
        let plain = world.get(route.path).await;
        let foreign = [
            ("host", "evil.example"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "host=evil.example;proto=http"),
            ("x-original-url", "/evil"),
        ];
        let reply = world.ask(Method::GET, route.path, &foreign).await;
        assert_eq!(reply.body, plain.body);
        let whole = world
            .ask(Method::GET, &format!("https://evil.example{}", route.path), &[])
            .await;
        assert_eq!(whole.body, plain.body);
        assert!(!String::from_utf8(reply.body).unwrap().contains("evil"));
    }
}

#[tokio::test]
async fn metadata_names_no_endpoint_and_no_grant_that_is_not_there() {
    let world = World::new().await;
    for path in [OAUTH, WORKLOAD] {
        let document = world.get(path).await.json();
        for (name, value) in document.as_object().unwrap() {
            // Whatever is an address must lead somewhere.
            if name.ends_with("_endpoint") || name.ends_with("_uri") {
                let path = value
                    .as_str()
                    .unwrap()
                    .strip_prefix("https://id.example.org")
                    .unwrap();
                world.get(path).await;
            }
        }
    }
    let oauth = world.get(OAUTH).await.json();
    assert_eq!(oauth["grant_types_supported"], Value::Array(Vec::new()));
    assert_eq!(oauth["response_types_supported"], Value::Array(Vec::new()));
}

fn kids(set: &Value) -> BTreeSet<String> {
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn token_k6_the_two_issuers_have_no_key_in_common() {
    let world = World::new().await;
    let oauth = world.get("/oauth2/jwks").await.json();
    let workload = world.get("/workload/jwks").await.json();
    assert!(kids(&oauth).is_disjoint(&kids(&workload)));
    let published = world.keys.published(Purpose::JwtSvid);
    let expected: BTreeSet<_> = published.iter().map(|key| key.kid().to_owned()).collect();
    assert_eq!(kids(&workload), expected);
    assert!(kids(&oauth).is_empty(), "access tokens do not exist yet");
}

#[tokio::test]
async fn the_key_set_of_workloads_says_what_relying_parties_look_for() {
    let world = World::new().await;
    let set = world.get("/workload/jwks").await.json();
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    for key in set["keys"].as_array().unwrap() {
        assert_eq!((&key["use"], &key["alg"]), (&"sig".into(), &"ES256".into()));
        assert_eq!(Jwk::parse(key).unwrap().kid(), key["kid"].as_str());
    }
    let metadata = world.get(WORKLOAD).await.json();
    assert_eq!(
        metadata["id_token_signing_alg_values_supported"],
        serde_json::json!(["ES256"])
    );
}

#[tokio::test]
async fn token_k2_no_document_has_a_private_member() {
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.keys().cloned());
                map.values().for_each(|value| names(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }
    let world = World::new().await;
    for route in routes() {
        let reply = world.get(route.path).await;
        let text = String::from_utf8(reply.body.clone()).unwrap();
        assert!(!text.contains("PRIVATE"), "{}", route.path);
        let mut found = BTreeSet::new();
        if !route.path.ends_with(".pem") {
            names(&reply.json(), &mut found);
        }
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            assert!(!found.contains(private), "`{private}` in {}", route.path);
        }
    }
}
