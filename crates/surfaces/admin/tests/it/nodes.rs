use crate::{JSON, World, entry, escaped, problem, text_of, value};
use core::time::Duration;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet_api::JoinString;
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_id::SpiffeId;
use signet_keys::{KeyState, Purpose};
use signet_registry::{JoinTokenWish, NodeIssue, NodeSvid, Step};
use signet_store::Origin;
use signet_testkit::START;
use std::io;
use std::sync::{Arc, Mutex};

impl World {
    /// A node of that path, by the way that nodes take.
    pub(crate) async fn join(&self, path: &str) -> SpiffeId {
        let wish = JoinTokenWish {
            ttl: None,
            spiffe_id: Some(format!("spiffe://dev.test{path}")),
        };
        let origin = Origin::new("test", "test", START);
        let (secret, _) = self.registry.create_join_token(&wish, origin).await.unwrap();
        let key = LocalKey::generate(KeyKind::Ed25519).unwrap();
        let node = self
            .registry
            .attest_with_token(&secret.expose(), key.public_key(), START)
            .await
            .unwrap();
        let svid = NodeSvid {
            serial: "0a0b".to_owned(),
            not_after: START + Duration::from_secs(3_600),
        };
        let id = node.id.clone();
        let issue = NodeIssue {
            attested_at: START,
            key: key.public_key(),
            svid,
            step: Step::Unsaid,
        };
        self.registry.record_node_svid(&id, issue, START).await.unwrap();
        id
    }
}

fn path(id: &SpiffeId) -> String {
    format!("/api/v1/nodes/{}", escaped(id.as_str()))
}

#[tokio::test]
async fn a_node_is_shown_banned_and_evicted() {
    let world = World::new().await;
    let id = world.join("/rack/1").await;
    let shown = world.shown(&path(&id)).await;
    assert_eq!(shown["id"], id.as_str());
    assert_eq!(
        (&shown["attestor"], &shown["banned"]),
        (&json!("join"), &json!(false))
    );
    assert_eq!(shown["serial"], "0a0b");
    assert_eq!(shown["key_sha256"].as_str().unwrap().len(), 64);

    let ban = format!("{}/ban", path(&id));
    let reply = world.post(&ban, &json!({"reason": "stolen"})).await;
    assert_eq!(reply.status, StatusCode::OK);
    let banned = value(&reply);
    assert_eq!(
        (&banned["banned"], &banned["ban_reason"]),
        (&json!(true), &json!("stolen"))
    );
    assert_eq!(world.shown(&path(&id)).await, banned);
    // A second ban changes nothing, a missing reason is none.
    let again = world.send(Method::POST, &ban, &[], "").await;
    assert_eq!(value(&again)["ban_reason"], "stolen");
    let refused = world.post(&ban, &json!({"reason": ""})).await;
    problem(&refused, 422, "SGRG014");

    let gone = world.send(Method::DELETE, &path(&id), &[], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    problem(&world.get(&path(&id)).await, 404, "SGRG008");
    let again = world.send(Method::DELETE, &path(&id), &[], "").await;
    problem(&again, 404, "SGRG008");
    problem(&world.send(Method::POST, &ban, &[], "").await, 404, "SGRG008");
}

#[tokio::test]
async fn a_ban_without_a_word_is_a_ban() {
    let world = World::new().await;
    let id = world.join("/rack/1").await;
    let ban = format!("{}/ban", path(&id));
    let reply = world.send(Method::POST, &ban, &[], "").await;
    assert_eq!(value(&reply)["banned"], true);
    assert!(!value(&reply)["ban_reason"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn nodes_are_paged() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for n in 0..7 {
        expected.push(world.join(&format!("/rack/{n}")).await.to_string());
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.shown(&format!("/api/v1/nodes?limit=3{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|node| node["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={}", escaped(next));
    }
    assert_eq!(seen, expected);
    let exact = world.shown("/api/v1/nodes?limit=7").await;
    assert_eq!(exact["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_join_string_leads_a_node_to_the_server() {
    let world = World::new().await;
    let reply = world
        .post(
            "/api/v1/join-tokens",
            &json!({"ttl": "5m", "spiffe_id": "spiffe://dev.test/rack/1"}),
        )
        .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let made = value(&reply);
    assert_eq!(made["spiffe_id"], "spiffe://dev.test/rack/1");
    let expires = (START + Duration::from_secs(300)).to_string();
    assert_eq!(made["expires_at"], expires.as_str());
    let join = JoinString::parse(made["join"].as_str().unwrap()).unwrap();
    assert_eq!(join.trust_domain.as_str(), "dev.test");
    assert_eq!(join.servers, ["127.0.0.1:8445"]);
    let roots = world.keys.published(Purpose::X509Root);
    let expected: Vec<_> = roots
        .iter()
        .filter(|key| matches!(key.state(), KeyState::Active | KeyState::Prepared))
        .map(|key| digest::sha256(key.certificate().unwrap()))
        .collect();
    assert_eq!((join.root_hashes, expected.len()), (expected, 2));
    let token = String::from_utf8(join.token.expose().to_vec()).unwrap();
    let key = LocalKey::generate(KeyKind::Ed25519).unwrap();
    let node = world
        .registry
        .attest_with_token(&token, key.public_key(), START)
        .await
        .unwrap();
    assert_eq!(node.id.as_str(), "spiffe://dev.test/rack/1");
}

#[tokio::test]
async fn roots_that_are_on_their_way_out_are_not_in_a_join_string() {
    let world = World::new().await;
    let active = world.keys.active(Purpose::X509Root).unwrap();
    let origin = Origin::new("test", "test", START);
    world.keys.taint(active.kid(), origin).await.unwrap();
    let reply = world.send(Method::POST, "/api/v1/join-tokens", &[], "").await;
    let join = JoinString::parse(value(&reply)["join"].as_str().unwrap()).unwrap();
    let called_off = digest::sha256(active.certificate().unwrap());
    assert!(!join.root_hashes.is_empty() && !join.root_hashes.contains(&called_off));
}

#[tokio::test]
async fn join_tokens_that_may_not_be() {
    let world = World::new().await;
    world.create(&entry("/taken")).await;
    let post = async |body: Value| world.post("/api/v1/join-tokens", &body).await;
    let reply = post(json!({"ttl": "40d", "spiffe_id": "spiffe://other.test/a"})).await;
    let refused = problem(&reply, 422, "SGRG013");
    let fields: Vec<_> = refused
        .errors
        .iter()
        .filter_map(|e| e.fault.field.clone())
        .collect();
    assert_eq!(fields, ["spiffe_id", "ttl"]);
    let reply = post(json!({"spiffe_id": "spiffe://dev.test/signet/server/x"})).await;
    problem(&reply, 422, "SGRG013");
    let reply = post(json!({"spiffe_id": "spiffe://dev.test/taken"})).await;
    problem(&reply, 409, "SGRG006");
    let tokens = world.registry.read(|state| state.join_tokens().len());
    assert_eq!(tokens, 0);
    // And no entry may take what a token promises.
    assert_eq!(
        post(json!({"spiffe_id": "spiffe://dev.test/n"})).await.status,
        StatusCode::CREATED
    );
    problem(&world.post("/api/v1/entries", &entry("/n")).await, 409, "SGRG005");
}

/// What is logged, kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn changes_are_logged_and_a_join_token_is_seen_once() {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Everything of this test runs on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let headers = [JSON, ("x-request-id", "req-1")];
    let reply = world
        .send(Method::POST, "/api/v1/join-tokens", &headers, "{}")
        .await;
    let join_string = value(&reply)["join"].as_str().unwrap().to_owned();
    let join = JoinString::parse(&join_string).unwrap();
    let token = String::from_utf8(join.token.expose().to_vec()).unwrap();
    assert_eq!(text_of(&reply, "cache-control"), "no-store");

    let headers = [JSON, ("x-request-id", "req-2")];
    let reply = world
        .send(Method::POST, "/api/v1/entries", &headers, "{\"spiffe_id\":")
        .await;
    problem(&reply, 400, "SGAD010");
    world.log.plan(
        signet_store::faulty::Op::Commit,
        1,
        signet_store::faulty::Fault::Refused,
    );
    let headers = [JSON, ("x-request-id", "req-3")];
    let reply = world
        .send(Method::POST, "/api/v1/entries", &headers, entry("/a").to_string())
        .await;
    problem(&reply, 503, "SGRG016");
    // What a caller wrote into a path stays on its line.
    world
        .send(
            Method::DELETE,
            "/api/v1/entries/a%0Ab",
            &[("x-request-id", "req-4")],
            "",
        )
        .await;
    for path in [
        "/api/v1/nodes",
        "/api/v1/entries",
        "/api/v1/ca",
        "/api/v1/bundle",
        "/api/v1/server",
    ] {
        let body = world.get(path).await.body;
        assert!(!String::from_utf8_lossy(&body).contains(&token), "{path}");
    }

    let log = kept.text();
    assert!(
        !log.contains(&token) && !log.contains(&join_string),
        "the token stays out of the log"
    );
    let line = |request: &str| -> Value {
        let wanted = |line: &Value| line["request_id"] == request && line["action"].is_string();
        let mut lines = log
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .filter(wanted);
        let found = lines
            .next()
            .unwrap_or_else(|| panic!("no line of {request} in {log}"));
        assert!(lines.next().is_none(), "{request} is logged once");
        found
    };
    let made = line("req-1");
    assert_eq!((&made["level"], &made["status"]), (&json!("INFO"), &json!(201)));
    assert_eq!(made["action"], "join_token.create");
    assert!(made["who"].as_str().unwrap().starts_with("local:uid:"));
    let bad = line("req-2");
    assert_eq!((&bad["level"], &bad["code"]), (&json!("INFO"), &json!("SGAD010")));
    let failed = line("req-3");
    assert_eq!(
        (&failed["level"], &failed["code"]),
        (&json!("ERROR"), &json!("SGRG016"))
    );
    assert!(
        failed["cause"].as_str().unwrap().starts_with("commit: "),
        "{failed}"
    );
    assert_eq!(line("req-4")["resource"], "entry:a\\nb");
}
