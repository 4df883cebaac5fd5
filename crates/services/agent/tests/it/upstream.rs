//! The agent as a whole against a server over TLS: joining, the stream, signatures, coming back.

use crate::site::{Site, TOKEN};
use crate::world::{Client, channel, client, entry, first, ids, next};
use signet_agent::{Agent, AgentError, AgentSettings, Handle, Launch, Pace};
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::Coded as _;
use signet_net::CancellationToken;
use signet_proto::workload::{JwtsvidRequest, X509svidRequest};
use signet_settings::ListenAddress;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::{Code, Status};

pub(crate) async fn workload(handle: &Handle) -> Client {
    client(channel(handle.socket()).await)
}

pub(crate) async fn fetched(handle: &Handle) -> Result<Vec<String>, Status> {
    let stream = workload(handle).await.fetch_x509svid(X509svidRequest {}).await?;
    Ok(ids(&first(stream).await?)
        .into_iter()
        .map(str::to_owned)
        .collect())
}

/// `GET path` from the metrics port.
pub(crate) async fn get(handle: &Handle, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = handle.metrics_address().expect("served");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("send");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    let (head, body) = text.split_once("\r\n\r\n").expect("head");
    (head[9..12].parse().expect("code"), body.to_owned())
}

#[tokio::test]
async fn a_node_joins_and_serves_and_says_what_it_serves() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.settings()).await;
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    let mut applied = site.control.applied.subscribe();
    applied.wait_for(|seq| *seq == 1).await.expect("told");
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    applied.wait_for(|seq| *seq == 2).await.expect("told");
    assert_eq!(fetched(&handle).await.expect("fetch").len(), 2);
    let request = JwtsvidRequest {
        audience: vec!["b".to_owned()],
        spiffe_id: String::new(),
    };
    assert_eq!(
        workload(&handle)
            .await
            .fetch_jwtsvid(request)
            .await
            .expect("jwt")
            .into_inner()
            .svids
            .len(),
        2
    );
}

#[tokio::test]
async fn health_and_metrics_are_shown() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    site.stop().await;
    let handle = site
        .agent(site.settings(), Some(&site.join()))
        .await
        .expect("start");
    assert_eq!(get(&handle, "/health/live").await.0, 200);
    let (code, body) = get(&handle, "/health/ready").await;
    assert_eq!(code, 503);
    assert!(
        body.contains("\"starting\"") && body.contains("cannot be reached"),
        "{body}"
    );
    assert_eq!(
        fetched(&handle).await.expect_err("no state yet").code(),
        Code::Unavailable
    );
    site.start().await;
    handle.ready().await.expect("ready");
    let (code, body) = get(&handle, "/health/ready").await;
    assert_eq!(code, 200, "{body}");
    let (_, text) = get(&handle, "/metrics").await;
    assert!(
        text.contains("signet_agent_entries 1") && text.ends_with("# EOF\n"),
        "{text}"
    );
    assert_eq!(get(&handle, "/other").await.0, 404);
}

#[tokio::test]
async fn a_join_string_of_another_root_ends_the_agent_with_a_reason() {
    let site = Site::new(Vec::new()).await;
    let handle = site
        .agent(site.settings(), Some(&site.join_with([7; 32], TOKEN)))
        .await
        .expect("start");
    let error = handle.wait().await.expect_err("another root");
    assert_eq!(error.code(), "SGAG023", "{error}");
    assert!(error.to_string().contains("join string"), "{error}");
    assert_eq!(
        site.control.attested.load(Ordering::SeqCst),
        0,
        "the token was not shown to it"
    );
    assert!(site.control.bound.lock().expect("lock").is_none());
}

#[tokio::test]
async fn a_token_that_another_key_used_ends_the_agent_with_a_reason() {
    let site = Site::new(Vec::new()).await;
    let other = LocalKey::generate(KeyKind::P256).expect("key");
    *site.control.bound.lock().expect("lock") = Some(other.public_key().clone());
    let handle = site
        .agent(site.settings(), Some(&site.join()))
        .await
        .expect("start");
    let error = handle.wait().await.expect_err("refused");
    assert_eq!(error.code(), "SGAG022");
    assert!(error.to_string().contains("used with another key"), "{error}");
    assert!(error.remedy().contains("new join string"));
}

#[tokio::test]
async fn a_node_with_a_state_directory_comes_back_without_joining() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let settings = site.kept_settings();
    let handle = site.joined(settings.clone()).await;
    drop(handle);
    // The first one ends in the background; its socket is not in the second one's way.
    let handle = site.ready(again(&site), None).await;
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    site.stop().await;
}

#[tokio::test]
async fn without_a_join_string_and_a_kept_identity_the_agent_does_not_start() {
    let site = Site::new(Vec::new()).await;
    let settings = site.kept_settings();
    let refused = site.agent(settings, None).await;
    assert!(matches!(refused.map(|_| ()), Err(AgentError::NothingToJoinWith)));
    let refused = site.agent(site.settings(), Some("sgjoin1.nonsense")).await;
    assert!(matches!(refused.map(|_| ()), Err(AgentError::Join(_))));
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_found_again() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.settings()).await;
    let mut stream = workload(&handle)
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let message = next(&mut stream).await.expect("first");
    let jwt = |audience: &str| JwtsvidRequest {
        audience: vec![audience.to_owned()],
        spiffe_id: String::new(),
    };
    let token = workload(&handle)
        .await
        .fetch_jwtsvid(jwt("b"))
        .await
        .expect("jwt")
        .into_inner();
    site.stop().await;
    while handle.metrics().text().contains("signet_agent_connected 1") {
        tokio::task::yield_now().await;
    }
    // Everything that was issued is still served, and what was not is refused at once.
    assert_eq!(
        first(
            workload(&handle)
                .await
                .fetch_x509svid(X509svidRequest {})
                .await
                .expect("open")
        )
        .await
        .expect("fetch"),
        message
    );
    assert_eq!(
        workload(&handle)
            .await
            .fetch_jwtsvid(jwt("b"))
            .await
            .expect("cached")
            .into_inner(),
        token
    );
    assert_eq!(
        workload(&handle)
            .await
            .fetch_jwtsvid(jwt("c"))
            .await
            .expect_err("away")
            .code(),
        Code::Unavailable
    );
    let (code, body) = get(&handle, "/health/ready").await;
    assert!(code == 200 && body.contains("cannot be reached"), "{body}");
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    site.start().await;
    assert_eq!(
        next(&mut stream).await.expect("news after the break").svids.len(),
        2
    );
    assert_eq!(
        site.control.attested.load(Ordering::SeqCst),
        1,
        "it did not join again"
    );
}

/// Whoever can cut connections and answer in the server's place must not be able to end agents and what they serve.
#[tokio::test]
async fn a_stranger_in_the_servers_place_takes_nothing_from_a_node_that_could_join_anew() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.settings()).await;
    fetched(&handle).await.expect("from now on in memory");
    let mut link = handle.link();
    site.stop().await;
    let mut stranger = Site::at(site.address, vec![entry(2, "/evil")]).await;
    for _ in 0..3 {
        let told = link.wait_for(|link| link.reason.contains("root")).await;
        drop(told.expect("the agent goes on"));
        link.mark_unchanged();
        link.changed().await.expect("the agent goes on");
    }
    assert_eq!(
        fetched(&handle).await.expect("from memory"),
        ["spiffe://a.test/a"]
    );
    assert_eq!(stranger.control.attested.load(Ordering::SeqCst), 0);
    stranger.stop().await;
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    site.start().await;
    while fetched(&handle).await.expect("served all the time").len() != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_node_that_was_evicted_joins_anew_if_it_has_a_join_string() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.kept_settings()).await;
    fetched(&handle).await.expect("from now on in memory");
    site.control.evicted.store(true, Ordering::SeqCst);
    site.stop().await;
    site.start().await;
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    while fetched(&handle).await.expect("served all the time").len() != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_node_whose_eviction_took_its_token_says_that_it_needs_a_new_join_string() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    // Where the key is kept, so that it is not another one that comes back.
    let handle = site.joined(site.kept_settings()).await;
    site.control.evicted.store(true, Ordering::SeqCst);
    site.control.token_removed.store(true, Ordering::SeqCst);
    site.stop().await;
    site.start().await;
    let error = handle.wait().await.expect_err("for good");
    assert_eq!(error.code(), "SGAG022");
    assert_eq!(
        error.to_string(),
        "the server refused this node: join token is unknown: removed when its node was evicted [SGRG010]; \
         the node needs a new join string"
    );
    assert!(error.remedy().starts_with("make a new join string"));
}

/// The settings of an agent that was started on the same state directory before.
pub(crate) fn again(site: &Site) -> AgentSettings {
    let mut settings = site.kept_settings();
    // The first one may still be ending; its socket is not in the second one's way.
    settings.workload_api.path = site.folder.path().join("again.sock");
    settings
}

#[tokio::test]
async fn a_node_that_was_off_until_its_svid_expired_comes_back_by_its_key() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    *site.control.node_ttl.lock().expect("lock") = Duration::from_secs(600);
    let handle = site.joined(site.kept_settings()).await;
    drop(handle);
    site.stop().await;
    site.control.clock.advance(Duration::from_secs(601));
    site.start().await;
    let handle = site.ready(again(&site), None).await;
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    assert_eq!(site.control.returned.load(Ordering::SeqCst), 1);
    // It goes on from what it said when it joined, so that a copy of its key would show.
    let steps = site.control.steps.lock().expect("lock").clone();
    assert_eq!((steps.len(), &steps[1].from), (2, &steps[0].to));
    drop(handle);
    // What it was given is kept: the next start needs no proof.
    let mut settings = again(&site);
    settings.workload_api.path = site.folder.path().join("third.sock");
    let _handle = site.ready(settings, None).await;
    assert_eq!(site.control.returned.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_node_whose_servers_were_away_until_its_svid_expired_goes_on_without_a_state_directory() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    *site.control.node_ttl.lock().expect("lock") = Duration::from_secs(600);
    let handle = site.joined(site.settings()).await;
    site.stop().await;
    site.control.token_removed.store(true, Ordering::SeqCst);
    site.control.clock.advance(Duration::from_secs(601));
    site.start().await;
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    while fetched(&handle).await.map_or(0, |ids| ids.len()) != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    assert_eq!(site.control.returned.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_node_whose_issuer_was_tainted_while_it_was_away_comes_back_by_its_key() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.kept_settings()).await;
    let mut stream = workload(&handle)
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    site.stop().await;
    while handle.metrics().text().contains("signet_agent_connected 1") {
        tokio::task::yield_now().await;
    }
    site.taint();
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    site.start().await;
    // The server refuses the SVID in the handshake: nothing but a broken connection tells the node.
    while next(&mut stream)
        .await
        .expect("the stream outlives it")
        .svids
        .len()
        != 2
    {}
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    assert!(site.control.returned.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_node_that_is_not_known_any_more_and_cannot_join_serves_what_it_has_and_asks_again() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.kept_settings()).await;
    drop(handle);
    let handle = site.ready(again(&site), None).await;
    fetched(&handle).await.expect("from now on in memory");
    site.control.evicted.store(true, Ordering::SeqCst);
    site.stop().await;
    site.start().await;
    while site.control.turned_away.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        fetched(&handle).await.expect("from memory"),
        ["spiffe://a.test/a"]
    );
    // Somebody mends it at the server.
    site.control.evicted.store(false, Ordering::SeqCst);
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    while fetched(&handle).await.expect("served all the time").len() != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_was_set_up_anew_is_joined_with_its_join_string() {
    let mut old = Site::new(vec![entry(1, "/a")]).await;
    let handle = old.joined(old.kept_settings()).await;
    drop(handle);
    old.stop().await;
    // The same trust domain, and nothing else of the old one: what was kept vouches for nobody any more.
    let new = Site::new(vec![entry(2, "/b")]).await;
    let handle = new.joined(again(&old)).await;
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/b"]);
    assert_eq!(new.control.attested.load(Ordering::SeqCst), 1);
    assert_eq!(new.control.returned.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_node_that_was_away_while_all_roots_were_replaced_comes_back_by_the_anchor() {
    let mut old = Site::new(vec![entry(1, "/a")]).await;
    let anchor = old.folder.path().join("anchor.pem");
    let mut settings = old.kept_settings();
    settings.bootstrap_anchor = Some(anchor.clone());
    settings.servers = vec!["localhost:1".parse().expect("address")];
    let joined = AgentSettings {
        servers: Vec::new(),
        ..settings.clone()
    };
    let handle = old.joined(joined).await;
    drop(handle);
    old.stop().await;
    // The same domain and nodes behind another root, to which nothing leads that the node holds.
    let new = Site::new(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let bound = old.control.bound.lock().expect("lock").clone();
    *new.control.bound.lock().expect("lock") = bound;
    settings.servers = vec![new.address.to_string().parse().expect("address")];
    settings.workload_api.path = old.folder.path().join("again.sock");
    let handle = new.agent(settings, None).await.expect("start");
    let mut link = handle.link();
    link.wait_for(|link| link.reason.contains("root"))
        .await
        .expect("it says why");
    assert_eq!(new.control.returned.load(Ordering::SeqCst), 0);
    // While the agent runs, its operator hands in the new root.
    let root = &new.control.server.domain.root.certificate;
    std::fs::write(
        &anchor,
        signet_x509::pem::encode_certs(std::slice::from_ref(root)),
    )
    .expect("write");
    handle.ready().await.expect("ready");
    assert_eq!(fetched(&handle).await.expect("fetch").len(), 2);
    assert_eq!(new.control.attested.load(Ordering::SeqCst), 0);
    assert_eq!(new.control.returned.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_node_whose_issuer_is_tainted_renews_at_once_over_the_connection_that_stands() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.kept_settings()).await;
    assert_eq!(site.control.renewed.load(Ordering::SeqCst), 0);
    // The clock stands: half of the node's life never passes.
    site.taint();
    while site.control.renewed.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // It comes back with what it was given, and follows on.
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    while fetched(&handle).await.expect("served all the time").len() != 2 {
        tokio::task::yield_now().await;
    }
    drop(handle);
    // So does the next start, which knows the taint and has no join string.
    let _handle = site.ready(again(&site), None).await;
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    assert_eq!(site.control.renewed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_nodes_identity_is_renewed_at_half_its_life() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    // The clock is moved past half of two seconds, with its scatter, and looked at when that time has really passed.
    *site.control.node_ttl.lock().expect("lock") = Duration::from_secs(2);
    let handle = site.joined(site.kept_settings()).await;
    let kept = || std::fs::read_to_string(site.state_dir().join("node.json")).expect("kept");
    let before = kept();
    let mut applied = site.control.applied.subscribe();
    applied.wait_for(|seq| *seq == 1).await.expect("told");
    site.control.clock.advance(Duration::from_millis(1_500));
    while site.control.renewed.load(Ordering::SeqCst) == 0 || kept() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    let steps = site.control.steps.lock().expect("lock").clone();
    assert_eq!(steps[1].from, steps[0].to);
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_agent_ends_when_it_is_told_to() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let shutdown = CancellationToken::new();
    let clock = Arc::new(site.control.clock.clone());
    let handle = Agent::start(Launch {
        settings: site.settings(),
        join: Some(&site.join()),
        clock,
        pace: Pace::default(),
        shutdown: shutdown.clone(),
    })
    .await
    .expect("start");
    handle.ready().await.expect("ready");
    let mut stream = workload(&handle)
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    shutdown.cancel();
    assert_eq!(
        next(&mut stream).await.expect_err("end").code(),
        Code::Unavailable
    );
    let socket = handle.socket().to_owned();
    handle.wait().await.expect("a clean end");
    assert!(!socket.exists());
}

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let site = Site::new(Vec::new()).await;
    let mut long = site.settings();
    long.workload_api.path = site.folder.path().join("x".repeat(120));
    let refused = site.agent(long, Some(&site.join())).await;
    assert!(matches!(
        refused.map(|_| ()),
        Err(AgentError::Listen(signet_net::NetError::PathLength { .. }))
    ));
    let mut taken = site.settings();
    taken.metrics = Some(ListenAddress(site.address));
    let refused = site.agent(taken, Some(&site.join())).await;
    assert!(matches!(
        refused.map(|_| ()),
        Err(AgentError::Listen(signet_net::NetError::PortTaken { .. }))
    ));
    let file = site.folder.path().join("file");
    std::fs::write(&file, "").expect("write");
    let occupied = AgentSettings {
        state_dir: Some(file),
        ..site.settings()
    };
    let refused = site.agent(occupied, Some(&site.join())).await;
    assert!(matches!(refused.map(|_| ()), Err(AgentError::FileUnsafe { .. })));
}
