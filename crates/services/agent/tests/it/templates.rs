//! Entries that are templates of identities, as callers see them.

use crate::world::{World, channel, entry, fetch_wit, ids, next};
use signet_feed::FeedEntry;
use signet_proto::local::v1::ProcessRequest;
use signet_proto::local::v1::why_client::WhyClient;
use signet_proto::workload::{JwtsvidRequest, X509svidRequest};
use std::sync::atomic::Ordering;
use tonic::Code;

const TEMPLATE: &str = "/host/x/uid/{unix.uid}/{unix.gid}";

/// What [`TEMPLATE`] gives to this process.
fn own() -> String {
    let (uid, gid) = (signet_sys::process::uid(), signet_sys::process::gid());
    format!("spiffe://a.test/host/x/uid/{uid}/{gid}")
}

fn newer(entry: &FeedEntry, change: impl FnOnce(&mut FeedEntry)) -> FeedEntry {
    let mut entry = entry.clone();
    entry.seq += 1;
    change(&mut entry);
    entry
}

#[tokio::test]
async fn a_template_gives_each_kind_of_svid_with_the_facts_of_the_caller() {
    let world = World::with(vec![entry(1, TEMPLATE), entry(2, "/plain")]).await;
    let x509 = world.fetch_x509().await.expect("fetch");
    assert_eq!(ids(&x509), [own().as_str(), "spiffe://a.test/plain"]);
    let wit = fetch_wit(&world, &own()).await.expect("fetch");
    assert_eq!(wit.svids[0].spiffe_id, own());
    let request = |spiffe_id: &str| JwtsvidRequest {
        audience: vec!["a".to_owned()],
        spiffe_id: spiffe_id.to_owned(),
    };
    let mut client = world.client().await;
    let jwt = client
        .fetch_jwtsvid(request(""))
        .await
        .expect("fetch")
        .into_inner();
    let shown: Vec<_> = jwt.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(shown, [own().as_str(), "spiffe://a.test/plain"]);
    assert_eq!(world.server.jwt_issued.load(Ordering::SeqCst), 2);
    let one = client
        .fetch_jwtsvid(request(&own()))
        .await
        .expect("fetch")
        .into_inner();
    assert_eq!(one.svids[0].svid, jwt.svids[0].svid, "from memory");
    assert_eq!(world.server.jwt_issued.load(Ordering::SeqCst), 2);
    let other = client
        .fetch_jwtsvid(request("spiffe://a.test/host/x/uid/1/1"))
        .await;
    assert_eq!(other.expect_err("another's").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_stream_follows_what_becomes_of_a_template() {
    let template = entry(1, TEMPLATE);
    let mut world = World::with(vec![template.clone()]).await;
    let mut stream = world
        .client()
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let first = next(&mut stream).await.expect("first");
    assert_eq!(ids(&first), [own().as_str()]);
    // What changes beside the identity leaves the SVID as it is.
    let hinted = newer(&template, |entry| entry.hint = "main".to_owned());
    world.publish(vec![hinted.clone()]).await;
    let second = next(&mut stream).await.expect("second");
    assert_eq!(second.svids[0].hint, "main");
    assert_eq!(second.svids[0].x509_svid, first.svids[0].x509_svid);
    // Another template takes the identity away, and gives another.
    let moved = newer(&hinted, |entry| {
        entry.spiffe_id = "spiffe://a.test/moved/{unix.uid}".parse().expect("template");
    });
    world.publish(vec![moved.clone()]).await;
    let id = format!("spiffe://a.test/moved/{}", signet_sys::process::uid());
    loop {
        let message = next(&mut stream).await.expect("next");
        assert!(
            !ids(&message).contains(&own().as_str()),
            "what was taken away is gone at once"
        );
        if ids(&message) == [id.as_str()] {
            break;
        }
    }
    // An entry of one identity in its place, and nothing at last.
    let plain = newer(&moved, |entry| {
        entry.spiffe_id = "spiffe://a.test/plain".parse().expect("id")
    });
    world.publish(vec![plain]).await;
    while ids(&next(&mut stream).await.expect("next")) != ["spiffe://a.test/plain"] {}
    world.publish(Vec::new()).await;
    assert_eq!(
        next(&mut stream).await.expect_err("none").code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_process_without_the_facts_gets_nothing_and_is_told_why() {
    // The systemd attestor is not there, and no process has a unit.
    let world = World::with(vec![entry(1, "/host/x/{systemd.unit}"), entry(2, TEMPLATE)]).await;
    let message = world.fetch_x509().await.expect("fetch");
    assert_eq!(ids(&message), [own().as_str()]);
    let local = world.serve_local(signet_sys::process::uid());
    let request = ProcessRequest {
        pid: std::process::id(),
        entries_max: 0,
    };
    let answer = WhyClient::new(channel(&local).await)
        .process(request)
        .await
        .expect("answer")
        .into_inner();
    let entries = answer.entries.expect("entries");
    assert_eq!((entries.total, entries.matched), (2, 1));
    let [given, not_given] = &entries.nearest[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (given.spiffe_id.as_str(), given.id_template.as_str()),
        (own().as_str(), "spiffe://a.test/host/x/uid/{unix.uid}/{unix.gid}")
    );
    assert_eq!(given.id, "02".repeat(16), "as the server knows it");
    assert!(given.matches && given.not_given.is_empty());
    assert!(!not_given.matches && not_given.missing.is_empty());
    assert_eq!(not_given.id_template, "spiffe://a.test/host/x/{systemd.unit}");
    assert_eq!(not_given.not_given, "`{systemd.unit}` has no value");
}
