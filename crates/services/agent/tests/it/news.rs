//! How changes reach the agent and those that it serves, and what happens where they do not.

use crate::site::{Mishap, Site};
use crate::upstream::{fetched, workload};
use crate::world::{World, entry, ids, next};
use signet_agent::Handle;
use signet_feed::FeedEntry;
use signet_proto::workload::X509svidRequest;
use std::sync::atomic::Ordering;
use tonic::Code;

const A: &str = "spiffe://a.test/a";

/// Waits until the stream that there was is known to be gone.
async fn disconnected(handle: &Handle) {
    let mut link = handle.link();
    link.wait_for(|link| !link.connected)
        .await
        .expect("the agent runs");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_and_called_anew() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    *site.control.mishap.lock().expect("lock") = Some(Mishap::Silence);
    let handle = site.joined(site.settings()).await;
    let mut held = site.control.held.subscribe();
    let streams = held
        .wait_for(|streams| streams.len() == 2)
        .await
        .expect("a second stream");
    assert_eq!(
        streams[..],
        [None, Some(1)],
        "the second one goes on from the first"
    );
    drop(streams);
    assert_eq!(fetched(&handle).await.expect("fetch"), [A]);
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_a_snapshot_leaves_the_old_state() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.settings()).await;
    let mut client = workload(&handle).await;
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    assert_eq!(ids(&next(&mut stream).await.expect("first")), [A]);
    *site.control.mishap.lock().expect("lock") = Some(Mishap::Cut);
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    let mut mishaps = site.control.mishaps.subscribe();
    mishaps.wait_for(|count| *count == 1).await.expect("sent");
    site.stop().await;
    disconnected(&handle).await;
    assert_eq!(fetched(&handle).await.expect("from memory"), [A]);
    site.start().await;
    assert_eq!(next(&mut stream).await.expect("news").svids.len(), 2);
    assert_eq!(site.control.held.borrow()[..], [None, Some(1)]);
}

#[tokio::test]
async fn a_state_that_is_not_what_was_sent_is_asked_for_anew_and_counted() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    *site.control.mishap.lock().expect("lock") = Some(Mishap::Drift);
    let handle = site.joined(site.settings()).await;
    let mut resynced = site.control.resynced.subscribe();
    resynced.wait_for(|count| *count == 1).await.expect("asked");
    let mut applied = site.control.applied.subscribe();
    applied
        .wait_for(|seq| *seq == 2)
        .await
        .expect("the snapshot that was asked for");
    assert!(
        handle
            .metrics()
            .text()
            .contains("signet_agent_feed_drifts_total 1")
    );
    assert_eq!(site.control.held.borrow().len(), 1, "on the same stream");
    assert_eq!(fetched(&handle).await.expect("fetch"), [A]);
}

#[tokio::test]
async fn the_link_says_what_was_heard_and_whether_there_is_a_server() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site.joined(site.settings()).await;
    let link = handle.link().borrow().clone();
    assert!(link.connected);
    assert_eq!(link.heard.map(|cursor| cursor.seq), Some(1));
    assert!(link.heard_at.is_some());
    site.stop().await;
    disconnected(&handle).await;
    assert_eq!(handle.link().borrow().heard, link.heard, "what was heard stays");
}

/// An entry that no process of this user has.
fn unrelated(number: u8, path: &str) -> FeedEntry {
    let mut entry = entry(number, path);
    entry.selectors = vec!["unix:uid:4294967294".parse().expect("selector")];
    entry
}

#[tokio::test]
async fn spiffe_15_changes_of_others_entries_sign_and_send_nothing() {
    let mut world = World::with(vec![entry(1, "/a"), unrelated(2, "/b")]).await;
    let mut client = world.client().await;
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    assert_eq!(ids(&next(&mut stream).await.expect("first")), [A]);
    for seq in 2..12 {
        let mut other = unrelated(2, "/b");
        other.seq = seq;
        let new = unrelated(u8::try_from(seq).expect("small") + 100, "/c");
        world.publish(vec![entry(1, "/a"), other, new]).await;
    }
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 1);
    world.publish(vec![entry(1, "/a"), entry(3, "/d")]).await;
    // The next message is the one about our own.
    assert_eq!(
        ids(&next(&mut stream).await.expect("second")),
        [A, "spiffe://a.test/d"]
    );
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 2);
    world.publish(vec![unrelated(2, "/b")]).await;
    assert_eq!(
        next(&mut stream).await.expect_err("nothing is left").code(),
        Code::PermissionDenied
    );
}
