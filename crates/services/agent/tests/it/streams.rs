//! The streams: first message, full state, pushes, ends.

use crate::world::{Client, Domain, World, channel_with, client, entry, first, ids, next};
use signet_feed::FeedEntry;
use signet_proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest,
    X509svidResponse,
};
use signet_x509::Certificate;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::{Code, Streaming};

struct Open {
    svids: Streaming<X509svidResponse>,
    x509: Streaming<X509BundlesResponse>,
    jwt: Streaming<JwtBundlesResponse>,
}

async fn open(client: &mut Client) -> Open {
    Open {
        svids: client
            .fetch_x509svid(X509svidRequest {})
            .await
            .expect("open")
            .into_inner(),
        x509: client
            .fetch_x509_bundles(X509BundlesRequest {})
            .await
            .expect("open")
            .into_inner(),
        jwt: client
            .fetch_jwt_bundles(JwtBundlesRequest {})
            .await
            .expect("open")
            .into_inner(),
    }
}

fn federated(number: u8, path: &str, with: &[&str]) -> FeedEntry {
    let mut entry = entry(number, path);
    entry.federates_with = with.iter().map(|d| d.parse().expect("domain")).collect();
    entry
}

#[tokio::test]
async fn spiffe_13_the_first_message_comes_at_once_each_time() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut open = open(&mut world.client().await).await;
        // Nothing changes meanwhile: a stream that waited for news would hang here.
        let svids = next(&mut open.svids).await.expect("svids");
        let x509 = next(&mut open.x509).await.expect("bundles");
        let jwt = next(&mut open.jwt).await.expect("bundles");
        seen.push((svids, x509, jwt));
    }
    assert_eq!(seen[0], seen[1], "identical to what an earlier connection saw");
    assert_eq!(seen[1], seen[2]);
    assert_eq!(
        world.server.x509_issued.load(Ordering::SeqCst),
        1,
        "one svid serves all of them"
    );
}

#[tokio::test]
async fn spiffe_14_each_message_is_the_whole_state() {
    let foreign = Domain::new("b.test");
    let mut world = World::with(vec![federated(1, "/a", &["b.test"]), entry(2, "/b")]).await;
    let mut open = open(&mut world.client().await).await;
    assert_eq!(next(&mut open.svids).await.expect("first").svids.len(), 2);
    assert_eq!(next(&mut open.x509).await.expect("first").bundles.len(), 1);
    assert_eq!(next(&mut open.jwt).await.expect("first").bundles.len(), 1);
    world.federate(vec![foreign.bundle()]).await;
    let message = next(&mut open.svids).await.expect("second");
    assert_eq!(
        ids(&message),
        ["spiffe://a.test/a", "spiffe://a.test/b"],
        "not only what changed"
    );
    assert_eq!(message.federated_bundles.len(), 1);
    assert_eq!(next(&mut open.x509).await.expect("second").bundles.len(), 2);
    assert_eq!(next(&mut open.jwt).await.expect("second").bundles.len(), 2);
}

#[tokio::test]
async fn spiffe_15_a_renewed_svid_is_pushed_with_a_new_key_before_the_old_one_ends() {
    let mut short = entry(1, "/a");
    short.x509_ttl = Duration::from_secs(20);
    let world = World::with(vec![short]).await;
    let mut open = open(&mut world.client().await).await;
    let mut before = next(&mut open.svids).await.expect("first").svids.remove(0);
    for _ in 0..3 {
        // Half of 20 s, and a tenth more at most.
        world.pass(Duration::from_millis(11_001));
        let after = next(&mut open.svids).await.expect("renewed").svids.remove(0);
        assert_eq!(after.spiffe_id, before.spiffe_id);
        assert_ne!(after.x509_svid, before.x509_svid);
        assert_ne!(after.x509_svid_key, before.x509_svid_key, "a new key each time");
        before = after;
    }
    // The bundles did not change, so the streams of bundles say nothing after their first message.
    next(&mut open.x509).await.expect("first");
    let silent = tokio::time::timeout(Duration::from_millis(50), open.x509.message()).await;
    assert!(silent.is_err(), "{silent:?}");
}

#[tokio::test]
async fn spiffe_15_a_change_of_the_own_bundle_is_pushed_on_all_streams() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut open = open(&mut world.client().await).await;
    let before = next(&mut open.svids).await.expect("first");
    next(&mut open.x509).await.expect("first");
    next(&mut open.jwt).await.expect("first");
    let (domain, coming) = (&world.server.domain, Domain::new("a.test"));
    let mut key = coming.jwt_authority();
    key.kid = "coming".to_owned();
    let bundle = domain.bundle_of(
        vec![domain.x509_authority(), coming.x509_authority()],
        vec![domain.jwt_authority()],
    );
    world.set_own_bundle(bundle).await;
    let after = next(&mut open.svids).await.expect("pushed");
    assert_eq!(
        after.svids[0].x509_svid, before.svids[0].x509_svid,
        "the svid still stands"
    );
    let roots = [
        world.server.domain.root.certificate.to_vec(),
        coming.root.certificate.to_vec(),
    ]
    .concat();
    assert_eq!(after.svids[0].bundle, roots);
    assert_eq!(
        next(&mut open.x509).await.expect("pushed").bundles["spiffe://a.test"],
        roots
    );
}

#[tokio::test]
async fn spiffe_15_entries_that_come_change_and_go_are_pushed() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = open(&mut world.client().await).await.svids;
    assert_eq!(
        ids(&next(&mut stream).await.expect("first")),
        ["spiffe://a.test/a"]
    );
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    assert_eq!(
        ids(&next(&mut stream).await.expect("come")),
        ["spiffe://a.test/a", "spiffe://a.test/b"]
    );
    let mut elsewhere = entry(2, "/b");
    elsewhere.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    world.publish(vec![entry(1, "/a"), elsewhere]).await;
    assert_eq!(
        ids(&next(&mut stream).await.expect("no longer matches")),
        ["spiffe://a.test/a"]
    );
    let mut renamed = entry(1, "/c");
    renamed.seq = 2;
    world.publish(vec![renamed]).await;
    assert_eq!(
        ids(&next(&mut stream).await.expect("renamed")),
        ["spiffe://a.test/c"]
    );
    let mut named = entry(1, "/c");
    named.hint = "main".to_owned();
    world.publish(vec![named]).await;
    assert_eq!(next(&mut stream).await.expect("hint").svids[0].hint, "main");
}

#[tokio::test]
async fn spiffe_15_an_entry_that_expires_is_pushed_by_the_clock_alone() {
    let mut short = entry(2, "/b");
    short.expires_at = Some(signet_testkit::START + Duration::from_secs(60));
    let world = World::with(vec![entry(1, "/a"), short]).await;
    let mut stream = open(&mut world.client().await).await.svids;
    assert_eq!(next(&mut stream).await.expect("first").svids.len(), 2);
    world.pass(Duration::from_secs(60));
    assert_eq!(
        ids(&next(&mut stream).await.expect("expired")),
        ["spiffe://a.test/a"]
    );
}

#[tokio::test]
async fn spiffe_15_a_foreign_bundle_that_changes_is_pushed() {
    let (one, other) = (Domain::new("b.test"), Domain::new("b.test"));
    let mut world = World::with(vec![federated(1, "/a", &["b.test"])]).await;
    world.federate(vec![one.bundle()]).await;
    let mut open = open(&mut world.client().await).await;
    let before = next(&mut open.svids).await.expect("first");
    assert_eq!(
        before.federated_bundles["spiffe://b.test"],
        one.root.certificate.to_vec()
    );
    next(&mut open.x509).await.expect("first");
    next(&mut open.jwt).await.expect("first");
    world.federate(vec![other.bundle()]).await;
    let after = next(&mut open.svids).await.expect("pushed");
    assert_eq!(
        after.federated_bundles["spiffe://b.test"],
        other.root.certificate.to_vec()
    );
    assert_eq!(
        next(&mut open.x509).await.expect("pushed").bundles["spiffe://b.test"],
        other.root.certificate.to_vec()
    );
    next(&mut open.jwt).await.expect("pushed");
}

#[tokio::test]
async fn a_state_that_changes_nothing_for_a_caller_is_not_pushed() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = open(&mut world.client().await).await.svids;
    next(&mut stream).await.expect("first");
    let mut elsewhere = entry(9, "/elsewhere");
    elsewhere.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    // A foreign bundle that this caller may not use, an entry that is not its own: nothing to tell.
    world.publish(vec![entry(1, "/a"), elsewhere]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    // The next message is the one after something that matters.
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    assert_eq!(next(&mut stream).await.expect("second").svids.len(), 2);
}

#[tokio::test]
async fn spiffe_16_a_foreign_bundle_that_is_removed_is_gone_from_the_next_message() {
    let mut world = World::with(vec![federated(1, "/a", &["b.test", "c.test"])]).await;
    let (b, c) = (Domain::new("b.test"), Domain::new("c.test"));
    world.federate(vec![b.bundle(), c.bundle()]).await;
    let mut open = open(&mut world.client().await).await;
    assert_eq!(
        next(&mut open.svids)
            .await
            .expect("first")
            .federated_bundles
            .len(),
        2
    );
    assert_eq!(next(&mut open.x509).await.expect("first").bundles.len(), 3);
    assert_eq!(next(&mut open.jwt).await.expect("first").bundles.len(), 3);
    // The bundle itself goes,
    world.federate(vec![b.bundle()]).await;
    let left: Vec<_> = next(&mut open.svids)
        .await
        .expect("pushed")
        .federated_bundles
        .into_keys()
        .collect();
    assert_eq!(left, ["spiffe://b.test"]);
    assert_eq!(next(&mut open.x509).await.expect("pushed").bundles.len(), 2);
    assert_eq!(next(&mut open.jwt).await.expect("pushed").bundles.len(), 2);
    // or the entry's right to it.
    world.publish(vec![entry(1, "/a")]).await;
    assert_eq!(
        next(&mut open.svids)
            .await
            .expect("pushed")
            .federated_bundles
            .len(),
        0
    );
    assert_eq!(next(&mut open.x509).await.expect("pushed").bundles.len(), 1);
    assert_eq!(next(&mut open.jwt).await.expect("pushed").bundles.len(), 1);
}

#[tokio::test]
async fn spiffe_16_streams_end_with_permission_denied_when_the_last_identity_goes() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut open = open(&mut world.client().await).await;
    next(&mut open.svids).await.expect("first");
    next(&mut open.x509).await.expect("first");
    next(&mut open.jwt).await.expect("first");
    world.publish(Vec::new()).await;
    assert_eq!(
        next(&mut open.svids).await.expect_err("end").code(),
        Code::PermissionDenied
    );
    assert_eq!(
        next(&mut open.x509).await.expect_err("end").code(),
        Code::PermissionDenied
    );
    assert_eq!(
        next(&mut open.jwt).await.expect_err("end").code(),
        Code::PermissionDenied
    );
    assert!(
        world
            .metrics
            .text()
            .contains("signet_streams{kind=\"x509_svid\"} 0")
    );
    // An identity that comes back is served again.
    world.publish(vec![entry(1, "/a")]).await;
    world.fetch_x509().await.expect("fetch");
}

#[tokio::test]
async fn spiffe_20_the_default_identity_is_the_oldest_and_stays_first() {
    let list = vec![entry(9, "/young"), entry(1, "/old"), entry(5, "/middle")];
    let wanted = [
        "spiffe://a.test/old",
        "spiffe://a.test/middle",
        "spiffe://a.test/young",
    ];
    let mut world = World::with(list.clone()).await;
    for _ in 0..4 {
        assert_eq!(ids(&world.fetch_x509().await.expect("fetch")), wanted);
    }
    // The order in which the server lists them does not matter.
    world.publish(list.into_iter().rev().collect()).await;
    assert_eq!(ids(&world.fetch_x509().await.expect("fetch")), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spiffe_26_a_thousand_streams_all_see_each_change() {
    signet_sys::process::raise_descriptor_limit().expect("descriptors");
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut client = world.client().await;
        for _ in 0..20 {
            streams.push(
                client
                    .fetch_x509svid(X509svidRequest {})
                    .await
                    .expect("open")
                    .into_inner(),
            );
        }
    }
    for stream in &mut streams {
        next(stream).await.expect("first");
    }
    assert!(
        world
            .metrics
            .text()
            .contains("signet_streams{kind=\"x509_svid\"} 1000")
    );
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    for stream in &mut streams {
        assert_eq!(next(stream).await.expect("second").svids.len(), 2);
    }
    assert_eq!(
        world.server.x509_issued.load(Ordering::SeqCst),
        2,
        "one svid per entry"
    );
    assert_eq!(
        world.attestor.calls.load(Ordering::SeqCst),
        50,
        "one look per connection"
    );
}

#[tokio::test]
async fn spiffe_26_a_reader_that_stops_blocks_nobody_and_then_sees_the_latest_state() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    // This client lets the agent send a few bytes and then reads no more.
    let mut slow = client(channel_with(world.socket(), |e| e.initial_stream_window_size(64)).await);
    let mut stopped = slow
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let mut other = world
        .client()
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    // On the very connection of the slow one, too.
    let mut beside = slow
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut other).await.expect("first");
    for round in 1..=50_u8 {
        world
            .publish((1..=1 + round % 2).map(|n| entry(n, &format!("/{n}"))).collect())
            .await;
        assert_eq!(
            next(&mut other).await.expect("push").svids.len(),
            usize::from(1 + round % 2)
        );
    }
    next(&mut beside).await.expect("bundles");
    world.publish(vec![entry(1, "/last")]).await;
    let mut messages = 0;
    loop {
        messages += 1;
        let message = next(&mut stopped).await.expect("late");
        if ids(&message) == ["spiffe://a.test/last"] {
            break;
        }
    }
    assert!(messages <= 4, "{messages} messages were kept for it");
}

#[tokio::test]
async fn a_client_that_drops_streams_in_a_storm_hurts_nobody() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut calm = open(&mut world.client().await).await.svids;
    next(&mut calm).await.expect("first");
    let storm = world.client().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let mut client = storm.clone();
            tokio::spawn(async move {
                for round in 0..400 {
                    let response = client.fetch_x509svid(X509svidRequest {}).await.expect("open");
                    // Half of them not even read.
                    if round % 2 == 0 {
                        first(response).await.expect("first");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("storm");
    }
    // Its own connection goes on, and so do the others.
    first(
        storm
            .clone()
            .fetch_x509svid(X509svidRequest {})
            .await
            .expect("open"),
    )
    .await
    .expect("first");
    world.fetch_x509().await.expect("fetch");
    assert!(
        tokio::time::timeout(Duration::from_millis(20), calm.message())
            .await
            .is_err(),
        "still open"
    );
}

#[tokio::test]
async fn a_shutdown_ends_streams_with_unavailable_and_refuses_new_calls() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let mut open = open(&mut client).await;
    next(&mut open.svids).await.expect("first");
    next(&mut open.x509).await.expect("first");
    next(&mut open.jwt).await.expect("first");
    world.shutdown.cancel();
    assert_eq!(
        next(&mut open.svids).await.expect_err("end").code(),
        Code::Unavailable
    );
    assert_eq!(
        next(&mut open.x509).await.expect_err("end").code(),
        Code::Unavailable
    );
    assert_eq!(
        next(&mut open.jwt).await.expect_err("end").code(),
        Code::Unavailable
    );
    let socket = world.socket().to_owned();
    world.served.await.expect("served");
    assert!(!socket.exists(), "the socket is gone with the agent");
    assert!(client.fetch_x509svid(X509svidRequest {}).await.is_err());
}

#[tokio::test]
async fn lives_of_svids_are_those_of_their_entries() {
    let mut short = entry(2, "/b");
    short.x509_ttl = Duration::from_secs(20);
    let world = World::with(vec![entry(1, "/a"), short]).await;
    let message = world.fetch_x509().await.expect("fetch");
    let ends: Vec<_> = message
        .svids
        .iter()
        .map(|svid| {
            Certificate::parse(crate::svids::split(&svid.x509_svid)[0])
                .expect("leaf")
                .not_after()
        })
        .map(|end| end.since(signet_testkit::START).as_secs())
        .collect();
    assert_eq!(ends, [3600, 20]);
}
