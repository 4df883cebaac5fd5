use crate::directory::{options, run_config};
use crate::world::{Wall, ask, clock, config, create_entry, domain, health, join, join_string, start};
use core::time::Duration;
use http::Method;
use signet_api::{EntryDoc, HealthView, JoinString, NodeView, Page};
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::Coded as _;
use signet_feed::hello;
use signet_net::client::channel;
use signet_proto::agent::v1::{self, sync_request, sync_response};
use signet_registry::{EntryId, JoinTokenWish, Registry};
use signet_server::{Config, Server, init};
use signet_store_sqlite::SqliteLog;
use signet_testkit::ManualClock;
use signet_time::{Clock as _, Day, UnixTime};
use signet_tls::{ClientTls, LiveIdentity};
use signet_x509::{Certificate, self_signed_node};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_administrators_agents_and_watchers() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    assert_eq!(health(&server, "/health/live").await.0, 200);
    let (status, body) = health(&server, "/health/ready").await;
    let view: HealthView = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, view.status.as_str(), view.reasons.len()),
        (200, "ready", 0)
    );

    let entry = create_entry(&server, "/w").await;
    let node = join(&join_string(&server).await).await;
    let mut client = node.connect(&server.addresses().agents.to_string());
    let item = wish_of(&entry);
    let answers = client
        .issue(v1::IssueRequest { items: vec![item] })
        .await
        .unwrap();
    assert!(matches!(
        answers.get_ref().answers[0].outcome,
        Some(v1::issue_answer::Outcome::Jwt(_))
    ));

    let reply = ask(&server, Method::GET, "/api/v1/nodes", "").await;
    assert_eq!(reply.headers["x-request-id"], "test-1");
    assert!(reply.headers.contains_key("x-signet-seq"));
    let nodes: Page<NodeView> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(nodes.items[0].id.as_str(), node.svid.spiffe_id);
    let (_, metrics) = health(&server, "/metrics").await;
    assert!(
        metrics.contains("signet_issue_total{kind=\"jwt\",outcome=\"ok\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("signet_signer_remaining_seconds{issuer=\"x509_svid\"}"),
        "{metrics}"
    );

    // What the handle gives is what the API gives.
    let by_handle = server.join_string(&JoinTokenWish::default()).await.unwrap();
    join(&JoinString::parse(&by_handle).unwrap()).await;
    assert_eq!(server.root_pem().matches("BEGIN CERTIFICATE").count(), 2);
    server.shutdown();
    server.finished().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_told_at_once_and_over_within_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let node = join(&join_string(&server).await).await;
    let mut client = node.connect(&server.addresses().agents.to_string());
    let (outgoing, waiting) = mpsc::channel(1);
    outgoing
        .send(v1::SyncRequest {
            message: Some(sync_request::Message::Hello(hello("agent test", UnixTime::EPOCH))),
        })
        .await
        .unwrap();
    let mut stream = client
        .sync(ReceiverStream::new(waiting))
        .await
        .unwrap()
        .into_inner();
    for _ in 0..2 {
        stream.message().await.unwrap().unwrap();
    }
    // A watcher that asks again and again over one connection sees the change from ready to draining.
    let api = server.addresses().api.clone();
    server.shutdown();
    // What was said just before the stop may still be under way.
    let mut last = stream.message().await.unwrap().unwrap().message;
    while let Some(sync_response::Message::Delta(_) | sync_response::Message::Heartbeat(_)) = last {
        last = stream.message().await.unwrap().unwrap().message;
    }
    assert!(
        matches!(last, Some(sync_response::Message::GoingAway(_))),
        "{last:?}"
    );
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(10), server.finished())
        .await
        .expect("over in time")
        .unwrap();
    assert!(!api.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_to_leave_says_so_and_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    server.leave();
    let (status, body) = health(&server, "/health/ready").await;
    assert!(status == 503 && body.contains("draining"), "{status} {body}");
    // A new node can join, and be served.
    let node = join(&join_string(&server).await).await;
    let mut client = node.connect(&server.addresses().agents.to_string());
    let answered = client.issue(v1::IssueRequest { items: Vec::new() }).await;
    assert_ne!(
        answered.err().map(|status| status.code()),
        Some(Code::Unavailable)
    );
    server.shutdown();
    server.finished().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_says_that_it_is_not_ready() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    // A request whose body does not come keeps the administration API busy. It is asked for its body, so it is there.
    let mut slow = tokio::net::UnixStream::connect(&server.addresses().api)
        .await
        .unwrap();
    let head = "POST /api/v1/entries HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 2\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).await.unwrap();
    assert_eq!(go_on, *b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(health(&server, "/health/ready").await.0, 200);
    server.shutdown();
    let (status, body) = health(&server, "/health/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("draining"), "{body}");
    assert_eq!(health(&server, "/health/live").await.0, 200);
    // The work in flight still finishes, with an answer about what was sent.
    slow.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    server.finished().await.unwrap();
}

/// Callers that neither finish nor read do not keep a server from ending in its ten seconds, after which
/// [`signet_server::Handle::finished`] would say that it did not.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_do_not_finish_are_cut_in_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let node = join(&join_string(&server).await).await;
    let mut client = node.connect(&server.addresses().agents.to_string());
    let (_outgoing, waiting) = mpsc::channel::<v1::SyncRequest>(1);
    // Never says hello, and is not read.
    let mut silent = client
        .sync(ReceiverStream::new(waiting))
        .await
        .unwrap()
        .into_inner();
    let mut endless = tokio::net::UnixStream::connect(&server.addresses().api)
        .await
        .unwrap();
    let head = "POST /api/v1/entries HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 2\r\nexpect: 100-continue\r\n\r\n";
    endless.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    endless.read_exact(&mut go_on).await.unwrap();
    server.shutdown();
    // Told long before the other is cut, and new callers find nobody.
    assert_eq!(silent.message().await.unwrap_err().code(), Code::Unavailable);
    let (status, _) = health(&server, "/health/ready").await;
    assert_eq!(status, 503);
    let agents = server.addresses().agents;
    server.finished().await.unwrap();
    assert!(tokio::net::TcpStream::connect(agents).await.is_err());
    let mut rest = String::new();
    let _ = endless.read_to_string(&mut rest).await;
    assert!(!rest.contains("201"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(config(dir.path())).await;
    let error = Server::start(
        Config {
            agents: first.addresses().agents,
            api_socket: dir.path().join("other.sock"),
            ..config(dir.path())
        },
        clock(),
    )
    .await
    .err()
    .unwrap();
    let told = signet_fault::chain(&error);
    assert_eq!(error.code(), "SGNE008");
    assert!(told.contains("`listen.agents`"), "{told}");
    assert!(
        told.contains(&first.addresses().agents.port().to_string()),
        "{told}"
    );
    // The same socket.
    let error = Server::start(config(dir.path()), clock()).await.err().unwrap();
    assert_eq!(error.code(), "SGNE005");
}

#[tokio::test]
async fn a_group_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        api_group: Some("no such group here".into()),
        ..config(dir.path())
    };
    let error = Server::start(config.clone(), clock()).await.err().unwrap();
    assert_eq!(error.code(), "SGSV007");
    let config = Config {
        api_group: None,
        api_minters_group: Some("no such group here".into()),
        ..config
    };
    let error = Server::start(config, clock()).await.err().unwrap();
    assert_eq!(error.code(), "SGSV007");
    assert!(error.to_string().contains("listen.api_minters_group"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_svid_is_renewed_at_half_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(Wall.now());
    let server = Server::start(config(dir.path()), Arc::new(clock.clone()))
        .await
        .unwrap();
    let join = join_string(&server).await;
    let address = server.addresses().agents.to_string();
    let leaf = async || {
        let key = LocalKey::generate(KeyKind::P256).unwrap();
        let shown = self_signed_node(&key, clock.now()).unwrap();
        let identity = Arc::new(LiveIdentity::new(vec![shown], &key).unwrap());
        let (hashes, domain) = (join.root_hashes.clone(), join.trust_domain.clone());
        let tls = ClientTls::pinned_join(identity, hashes, domain, Arc::new(clock.clone())).unwrap();
        let stream = channel::tls_stream(&address, tls.config()).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(
            chain.len(),
            3,
            "leaf, intermediate, and the root that the join string names"
        );
        Certificate::parse(&chain[0]).unwrap()
    };
    let first = leaf().await;
    assert_eq!(first.uri_names(), ["spiffe://dev.test/signet/server/dev"]);
    clock.advance(Duration::from_secs(1_801));
    // Any change wakes whoever follows the log; without one the server looks at the clock by itself, later.
    create_entry(&server, "/w").await;
    let mut next = leaf().await;
    while next.serial_hex() == first.serial_hex() {
        next = leaf().await;
    }
    assert!(next.not_after() > first.not_after());
    clock.advance(Duration::from_secs(1_801));
    assert!(clock.now() > first.not_after());
    leaf().await;
    server.shutdown();
    server.finished().await.unwrap();
}

/// A token for what `entry` entitles.
fn wish_of(entry: &EntryDoc) -> v1::IssueItem {
    let id = EntryId::parse(entry.id.as_ref().unwrap()).unwrap();
    let wish = v1::issue_item::Wish::Jwt(v1::JwtWish {
        audience: vec!["a".into()],
    });
    v1::IssueItem {
        entry_id: id.as_bytes().to_vec().into(),
        wish: Some(wish),
        ..v1::IssueItem::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_forgets_no_use_of_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    init(options(dir.path()), clock()).await.unwrap();
    let server = start(run_config(dir.path())).await;
    let (used, unused) = (
        create_entry(&server, "/used").await,
        create_entry(&server, "/unused").await,
    );
    let node = join(&join_string(&server).await).await;
    let mut client = node.connect(&server.addresses().agents.to_string());
    let before = Day::of(clock().now());
    let items = vec![wish_of(&used)];
    let answers = client.issue(v1::IssueRequest { items }).await.unwrap();
    let outcome = answers.into_inner().answers.remove(0).outcome;
    assert!(matches!(outcome, Some(v1::issue_answer::Outcome::Jwt(_))));
    let after = Day::of(clock().now());
    server.shutdown();
    server.finished().await.unwrap();
    let log = SqliteLog::open(&dir.path().join("server").join("state.db")).unwrap();
    let registry = Registry::open(Arc::new(log), domain()).await.unwrap();
    let last = |entry: &EntryDoc| registry.last_used(EntryId::parse(entry.id.as_ref().unwrap()).unwrap());
    let day = last(&used).expect("it was used");
    assert!((before..=after).contains(&day) && registry.watched_since().is_some());
    assert_eq!(last(&unused), None);
}
