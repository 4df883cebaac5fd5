//! SVIDs over time: renewal, a server that is away, a server that errs.

use crate::world::{Domain, World, entry, next};
use signet_proto::agent::v1::Refusal;
use signet_proto::workload::X509svidRequest;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::Code;

fn short() -> signet_feed::FeedEntry {
    let mut short = entry(1, "/a");
    short.x509_ttl = Duration::from_secs(20);
    short
}

#[tokio::test]
async fn an_svid_is_not_renewed_before_its_time() {
    let world = World::with(vec![short()]).await;
    world.fetch_x509().await.expect("first");
    // A tenth before half of 20 s.
    world.pass(Duration::from_millis(8_900));
    world.fetch_x509().await.expect("second");
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_the_server_is_away_svids_are_served_until_they_end_and_no_longer() {
    let world = World::with(vec![short()]).await;
    let mut client = world.client().await;
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let first = next(&mut stream).await.expect("first");
    world.server.away.send_replace(true);
    world.pass(Duration::from_millis(19_999));
    assert_eq!(world.fetch_x509().await.expect("still good"), first);
    world.pass(Duration::from_millis(1));
    assert_eq!(
        next(&mut stream).await.expect_err("it ended").code(),
        Code::Unavailable
    );
    assert_eq!(
        world.fetch_x509().await.expect_err("none").code(),
        Code::Unavailable
    );
    // Bundles need no server.
    client
        .fetch_jwt_bundles(signet_proto::workload::JwtBundlesRequest {})
        .await
        .expect("bundles");
    world.server.away.send_replace(false);
    world.pass(Duration::from_secs(60));
    loop {
        match world.fetch_x509().await {
            Ok(message) => break assert_ne!(message, first),
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    }
}

#[tokio::test]
async fn one_entry_that_is_refused_withholds_nothing_from_the_others() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = world
        .client()
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    // The agent knows an entry that the server has dropped meanwhile.
    let refusal = Refusal {
        code: "SGAU002".to_owned(),
        message: "no such entry".to_owned(),
        retry: false,
    };
    *world.server.refusal.lock().expect("lock") = Some(refusal);
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let message = world.fetch_x509().await.expect("the other one");
    assert_eq!(crate::world::ids(&message), ["spiffe://a.test/a"]);
    // News from the server: it is tried again at once.
    *world.server.refusal.lock().expect("lock") = None;
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    assert_eq!(next(&mut stream).await.expect("both").svids.len(), 2);
}

#[tokio::test]
async fn the_first_message_waits_for_all_svids_and_not_for_those_that_are_refused() {
    let world = World::with(vec![entry(1, "/a"), entry(2, "/b"), entry(3, "/c")]).await;
    assert_eq!(world.fetch_x509().await.expect("fetch").svids.len(), 3);
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_handed_out() {
    let spoils: [fn(&mut signet_proto::agent::v1::X509Issued); 4] = [
        // Another key's certificate for another identity, by another authority.
        |issued| {
            let other = Domain::new("a.test").root.leaf("spiffe://a.test/other");
            issued.chain = vec![other.certificate.to_vec().into()];
        },
        |issued| issued.chain.clear(),
        |issued| issued.chain[0] = vec![0x30, 0].into(),
        // Without the intermediate no path leads to the root.
        |issued| issued.chain.truncate(1),
    ];
    for spoil in spoils {
        let world = World::with(vec![entry(1, "/a")]).await;
        *world.server.spoil.lock().expect("lock") = Some(spoil);
        let status = world.fetch_x509().await.expect_err("spoiled");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(world.server.x509_issued.load(Ordering::SeqCst) > 0);
    }
}

#[tokio::test]
async fn an_svid_whose_root_is_tainted_is_replaced_at_once() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = world
        .client()
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let before = next(&mut stream).await.expect("first");
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 1);
    let domain = &world.server.domain;
    let mut tainted = domain.x509_authority();
    tainted.tainted = true;
    let bundle = domain.bundle_of(vec![tainted], vec![domain.jwt_authority()]);
    world.set_own_bundle(bundle).await;
    // This server has no other root, so what it issues does not stand; that it is asked at once is what shows.
    while world.server.x509_issued.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        world
            .fetch_x509()
            .await
            .expect("the old one serves meanwhile")
            .svids[0]
            .x509_svid,
        before.svids[0].x509_svid
    );
}

#[tokio::test]
async fn nobody_asks_for_svids_that_nobody_wants() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let request = signet_proto::workload::JwtsvidRequest {
        audience: vec!["b".to_owned()],
        spiffe_id: String::new(),
    };
    client.fetch_jwtsvid(request).await.expect("jwt");
    client
        .fetch_x509_bundles(signet_proto::workload::X509BundlesRequest {})
        .await
        .expect("bundles");
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 0);
    // One that was used once and then no more is let go.
    world.fetch_x509().await.expect("x509");
    while !world
        .metrics
        .text()
        .contains("signet_streams{kind=\"x509_svid\"} 0")
    {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        world.pass(Duration::from_secs(3600));
        tokio::task::yield_now().await;
    }
    world.fetch_x509().await.expect("x509 again");
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 2);
}
