//! New settings for an agent that runs.

use crate::jwt::validate;
use crate::site::Site;
use crate::upstream::{fetched, workload};
use crate::world::{Domain, entry, next};
use serde_json::json;
use signet_agent::{AgentSettings, Handle, SvidKey, UnixSettings};
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_net::CancellationToken;
use signet_proto::workload::X509svidRequest;
use signet_settings::{ByteSize, HostPort};
use signet_testkit::START;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

fn servers(address: SocketAddr) -> Vec<HostPort> {
    vec![HostPort::parse(&address.to_string()).expect("address")]
}

/// The keys that were taken over, of an agent that runs.
fn take_over(handle: &Handle, settings: AgentSettings) -> Vec<&'static str> {
    let changes = handle.reloader().take_over(settings).expect("running");
    assert_eq!(changes.waiting(), [""; 0]);
    changes.taken().iter().map(|taken| taken.key).collect()
}

#[tokio::test]
async fn a_node_that_lost_its_server_finds_the_one_that_was_taken_over() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let settings = |address| AgentSettings {
        servers: servers(address),
        ..site.settings()
    };
    let (old, join) = (settings(site.address), site.join());
    let handle = site.agent(old.clone(), Some(&join)).await.expect("start");
    handle.ready().await.expect("ready");
    site.move_away().await;
    while handle.metrics().text().contains("signet_agent_connected 1") {
        tokio::task::yield_now().await;
    }
    let moved = AgentSettings {
        servers: servers(site.address),
        ..old
    };
    assert_eq!(take_over(&handle, moved), ["servers"]);
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    while fetched(&handle).await.expect("served all the time").len() != 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_node_that_cannot_join_yet_joins_at_the_server_that_was_taken_over() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let (join, before) = (site.join(), site.address);
    site.move_away().await;
    let nobody = tokio::net::TcpListener::bind(before).await.expect("bind");
    let handle = site.agent(site.settings(), Some(&join)).await.expect("start");
    let moved = AgentSettings {
        servers: servers(site.address),
        ..site.settings()
    };
    // It has tried, in vain, and tries again.
    drop(nobody.accept().await.expect("accept"));
    drop(nobody);
    assert!(!handle.engine().is_ready());
    assert_eq!(take_over(&handle, moved), ["servers"]);
    handle.ready().await.expect("ready");
}

#[tokio::test]
async fn the_next_key_is_of_the_kind_that_was_taken_over_and_those_that_are_there_stay() {
    let mut short = entry(1, "/a");
    short.x509_ttl = Duration::from_secs(20);
    let site = Site::new(vec![short]).await;
    let handle = site.joined(site.settings()).await;
    let mut client = workload(&handle).await;
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let kind = |message: &signet_proto::workload::X509svidResponse| {
        let key = LocalKey::from_pkcs8(&message.svids[0].x509_svid_key).expect("key");
        key.public_key().kind()
    };
    let first = next(&mut stream).await.expect("first");
    assert_eq!(kind(&first), KeyKind::P256);
    let mut settings = site.settings();
    settings.svid.key = SvidKey::P384;
    assert_eq!(take_over(&handle, settings), ["svid.key"]);
    let again = client.fetch_x509svid(X509svidRequest {}).await.expect("open");
    assert_eq!(next(&mut again.into_inner()).await.expect("again"), first);
    // Past half of its life, with its scatter.
    site.control.clock.advance(Duration::from_secs(12));
    handle.engine().wake();
    assert_eq!(kind(&next(&mut stream).await.expect("renewed")), KeyKind::P384);
}

#[tokio::test]
async fn the_next_token_of_a_foreign_domain_keeps_the_claims_that_were_taken_over() {
    let foreign = Domain::new("b.test");
    let mut federated = entry(1, "/a");
    federated.federates_with = vec!["b.test".parse().expect("domain")];
    let site = Site::new(vec![federated]).await;
    site.control.foreign.lock().expect("lock").push(foreign.bundle());
    site.control.entries.send_modify(|_| {});
    let handle = site.joined(site.settings()).await;
    let token = foreign.token(&json!({
        "sub": "spiffe://b.test/x", "aud": ["b"], "role": "admin",
        "exp": START.as_secs() + 60, "iat": START.as_secs(),
    }));
    let mut client = workload(&handle).await;
    let mut has_role = async || {
        let valid = validate(&mut client, "b", &token).await.expect("valid");
        valid.claims.expect("claims").fields.contains_key("role")
    };
    assert!(!has_role().await);
    let allowed = AgentSettings {
        allowed_foreign_jwt_claims: vec!["role".to_owned()],
        ..site.settings()
    };
    assert_eq!(take_over(&handle, allowed), ["allowed_foreign_jwt_claims"]);
    assert!(has_role().await);
    assert_eq!(
        take_over(&handle, site.settings()),
        ["allowed_foreign_jwt_claims"]
    );
    assert!(!has_role().await);
}

#[tokio::test]
async fn the_next_caller_is_hashed_up_to_the_size_that_was_taken_over() {
    let exe = std::fs::read(std::env::current_exe().expect("own path")).expect("read");
    let mut by_hash = entry(1, "/a");
    let selector = format!("unix:sha256:{}", digest::hex(&digest::sha256(&exe)));
    by_hash.selectors = vec![selector.parse().expect("selector")];
    let site = Site::new(vec![by_hash]).await;
    let up_to = |bytes: usize| {
        let mut settings = site.settings();
        settings.attestors.unix = UnixSettings {
            sha256_bytes_max: ByteSize(bytes as u64),
        };
        settings
    };
    let handle = site.joined(up_to(exe.len() - 1)).await;
    let refused = fetched(&handle).await.expect_err("too large to hash");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        take_over(&handle, up_to(exe.len())),
        ["attestors.unix.sha256_bytes_max"]
    );
    assert_eq!(fetched(&handle).await.expect("hashed"), ["spiffe://a.test/a"]);
}

#[tokio::test]
async fn an_agent_that_stops_takes_nothing_over() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let shutdown = CancellationToken::new();
    let clock = Arc::new(site.control.clock.clone());
    let pace = signet_agent::Pace::default();
    let handle = signet_agent::Agent::start(signet_agent::Launch {
        settings: site.settings(),
        join: Some(&site.join()),
        clock,
        pace,
        shutdown: shutdown.clone(),
    })
    .await
    .expect("start");
    let reloader = handle.reloader();
    assert_eq!(
        reloader.take_over(site.settings()).map(|c| c.is_empty()),
        Some(true)
    );
    shutdown.cancel();
    handle.wait().await.expect("a clean end");
    assert_eq!(reloader.take_over(site.settings()), None);
}
