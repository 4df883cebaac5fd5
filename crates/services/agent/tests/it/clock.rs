//! Clocks that are set, and clocks of agent and server that differ.

use crate::world::{World, entry, next};
use signet_agent::Pace;
use signet_proto::workload::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use signet_time::Clock as _;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::{Code, Streaming};

const HOUR: Duration = Duration::from_secs(3_600);

impl World {
    /// The clock is set back, and looked at.
    fn set_back(&self, span: Duration) {
        let now = self.clock.now().as_millis() - u64::try_from(span.as_millis()).expect("short");
        self.clock.set(signet_time::UnixTime::from_millis(now));
        self.engine.wake();
    }

    async fn token(&self) -> String {
        let request = JwtsvidRequest {
            audience: vec!["backend".to_owned()],
            spiffe_id: String::new(),
        };
        let answer = self.client().await.fetch_jwtsvid(request).await.expect("token");
        answer.into_inner().svids.remove(0).svid
    }

    /// A stream of X.509-SVIDs, open.
    async fn svids(&self) -> Streaming<X509svidResponse> {
        let opened = self.client().await.fetch_x509svid(X509svidRequest {}).await;
        opened.expect("open").into_inner()
    }

    fn x509_issued(&self) -> u64 {
        self.server.x509_issued.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_a_clock_set_forward_ends_is_not_handed_out_to_whoever_comes_next() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let first = world.fetch_x509().await.expect("first");
    // Set, and nobody woke the agent: its next look at the clock is half a minute away.
    world.clock.advance(2 * HOUR);
    let second = world.fetch_x509().await.expect("one that is valid now");
    assert_ne!(first.svids[0].x509_svid, second.svids[0].x509_svid);

    world.server.away.send_replace(true);
    world.clock.advance(2 * HOUR);
    let status = world.fetch_x509().await.expect_err("none that is valid");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn open_streams_are_told_of_a_clock_set_forward_though_nobody_asks() {
    // But for the step it would not look before the hour is over, and the test not end.
    let mut world = World::with_pace(Pace {
        look: HOUR,
        ..Pace::default()
    });
    world.publish(vec![entry(1, "/a")]).await;
    let mut stream = world.svids().await;
    let before = next(&mut stream).await.expect("first");
    world.clock.advance(2 * HOUR);
    let after = next(&mut stream).await.expect("one that is valid now");
    assert_ne!(before.svids[0].x509_svid, after.svids[0].x509_svid);
    assert_eq!(world.x509_issued(), 2);
    // And of one that is set back, so that what was issued meanwhile is not valid yet.
    world.clock.set(signet_time::UnixTime::from_millis(
        world.clock.now().as_millis() - 7_200_000,
    ));
    let back = next(&mut stream).await.expect("one that is valid already");
    assert_ne!(after.svids[0].x509_svid, back.svids[0].x509_svid);

    // Without a server what has expired goes all the same.
    world.server.away.send_replace(true);
    world.clock.advance(2 * HOUR);
    let status = next(&mut stream).await.expect_err("none that is valid");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn what_was_issued_by_a_clock_that_was_then_set_back_is_replaced_at_once() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = world.svids().await;
    let before = next(&mut stream).await.expect("first");
    // As far as what is issued is valid before it is issued, nothing changes.
    world.set_back(Duration::from_secs(30));
    assert_eq!(world.fetch_x509().await.expect("the same"), before);
    assert_eq!(world.x509_issued(), 1);
    world.set_back(HOUR);
    let after = next(&mut stream).await.expect("another");
    assert_ne!(before.svids[0].x509_svid, after.svids[0].x509_svid);
    assert_eq!(world.x509_issued(), 2);
    // Once is enough.
    world.engine.wake();
    assert_eq!(world.fetch_x509().await.expect("the same"), after);
    assert_eq!(world.x509_issued(), 2);
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_right_again_puts_no_attempt_off() {
    let world = World::with(vec![entry(1, "/a")]).await;
    world.server.away.send_replace(true);
    // The pause after the failure ends by a clock that is an hour ahead.
    world.clock.advance(HOUR);
    let status = world.fetch_x509().await.expect_err("away");
    assert_eq!(status.code(), Code::Unavailable);
    world.server.away.send_replace(false);
    world.set_back(HOUR);
    loop {
        match world.fetch_x509().await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    }
}

#[tokio::test]
async fn a_token_of_a_clock_that_was_ahead_is_not_handed_out_when_it_is_right_again() {
    let world = World::with(vec![entry(1, "/a")]).await;
    world.clock.advance(HOUR);
    let ahead = world.token().await;
    // As far as it lies in the past of the clock that it was made by, it is the same.
    world.set_back(Duration::from_secs(20));
    assert_eq!(world.token().await, ahead);
    world.set_back(HOUR);
    let right = world.token().await;
    assert_ne!(right, ahead, "nobody would take it yet");
    assert_eq!(world.token().await, right, "which is kept as any other");
    assert_eq!(world.server.jwt_issued.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_pause_after_failures_of_a_clock_that_was_ahead_puts_no_later_renewal_off() {
    let mut short = entry(1, "/a");
    short.x509_ttl = Duration::from_secs(20);
    let world = World::with(vec![short]).await;
    // An attempt fails by a clock that is an hour ahead; the next one does not.
    world.server.away.send_replace(true);
    world.clock.advance(HOUR);
    let status = world.fetch_x509().await.expect_err("away");
    assert_eq!(status.code(), Code::Unavailable);
    world.server.away.send_replace(false);
    let ahead = loop {
        if let Ok(ahead) = world.fetch_x509().await {
            break ahead;
        }
        world.clock.advance(Duration::from_millis(100));
        world.engine.wake();
    };
    world.set_back(HOUR);
    let right = loop {
        let right = world.fetch_x509().await.expect("one or the other");
        if right != ahead {
            break right;
        }
    };
    // What that gave ends, too, and is replaced by then and not an hour later.
    world.clock.advance(Duration::from_secs(21));
    let next = world.fetch_x509().await.expect("the next one");
    assert_ne!(right, next);
}
