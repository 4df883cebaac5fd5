//! A database that was put back while its server runs: the server was ahead of it.

use crate::liar::{refusals, wishes};
use crate::news::{again, count};
use crate::sync::{open, paths};
use crate::world::World;
use core::time::Duration;
use signet_feed::{Event, FeedError, NodeState};
use signet_keys::Purpose;
use signet_store::ChangeLog as _;
use signet_time::Clock as _;
use std::sync::Arc;
use tonic::Code;

/// How long what must happen may take.
const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_a_database_lost_is_served_to_nobody_and_agents_get_what_it_holds() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let kept = world.entry("/kept", None).await;
    let copy = world.log.copy();
    let lost = world.entry("/lost", None).await;
    let late = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    let held = stream.state().await;
    assert_eq!(paths(&held), ["/kept", "/lost"]);
    assert!(refusals(&late, wishes(&lost)).await.is_empty());

    world.log.put_back(&copy);
    let before = world.recorded();
    // The server follows by itself.
    let mut applied = world.registry.followed().applied();
    let went_back = applied.wait_for(|seq| seq.0 < held.cursor.seq);
    tokio::time::timeout(WITHIN, went_back).await.unwrap().unwrap();
    assert_eq!(refusals(&node, wishes(&lost)).await, ["SGDE001"; 3]);
    let mut of_late = late.client.clone();
    let items = wishes(&kept);
    let asked = of_late.issue(signet_proto::agent::v1::IssueRequest { items });
    assert_eq!(
        asked.await.unwrap_err().code(),
        Code::PermissionDenied,
        "a node that is lost too"
    );
    assert_eq!(world.recorded(), before, "nothing was issued of what is lost");
    assert!(refusals(&node, wishes(&kept)).await.is_empty());

    // The open stream is sent the state there is, which an agent does not take for news of the same log: it comes again.
    let refused = tokio::time::timeout(WITHIN, async {
        loop {
            let message = stream.incoming.message().await.unwrap().expect("a message");
            if let Err(error) = stream.replica.read(&message, world.clock.now()) {
                break error;
            }
        }
    });
    let refused = refused.await.unwrap();
    assert!(matches!(refused, FeedError::Order { .. }), "{refused}");
    assert_eq!(world.alarm.told(), None);
    let mut stream = again(&world, &node, &held).await;
    let served = stream.state().await;
    assert_eq!(paths(&served), ["/kept"]);
    assert_ne!(
        served.cursor.epoch, held.cursor.epoch,
        "a log of its own from here on"
    );
    let told = world.alarm.told().unwrap();
    assert!(
        told.contains("SGAS027") && told.contains(node.id.as_str()),
        "{told}"
    );

    // And on it goes, with the numbers of what was lost.
    world.entry("/new", None).await;
    loop {
        match stream.any().await.unwrap() {
            Event::State(state) => break assert_eq!(paths(&state), ["/kept", "/new"]),
            Event::Alive { .. } | Event::Piece => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The keys of a server may be ahead of the log that was put back, or behind its registry: neither waits for the other.
#[tokio::test]
async fn a_change_of_keys_that_a_database_lost_holds_up_no_stream() {
    for world in [
        World::new("dev.test").await,
        World::with_lagging_keys("dev.test").await,
    ] {
        let node = world.join().await;
        world.entry("/kept", None).await;
        let copy = world.log.copy();
        let kid = world.keys.active(Purpose::JwtSvid).unwrap().kid().to_owned();
        world.keys.taint(&kid, world.origin()).await.unwrap();
        let is_tainted = |state: &NodeState| {
            let bundle = state.trust.own_bundle().unwrap();
            bundle.jwt().iter().any(|key| key.kid == kid && key.tainted)
        };
        let mut stream = open(&world, &node).await.greeted().await;
        let held = stream.state().await;
        assert!(is_tainted(&held));
        drop(stream);

        world.log.put_back(&copy);
        // Nothing is committed from here on.
        let served = async {
            let mut stream = again(&world, &node, &held).await;
            stream.state().await
        };
        let served = tokio::time::timeout(WITHIN, served).await.expect("served");
        assert!(!is_tainted(&served));
        assert_eq!(paths(&served), ["/kept"]);
    }
}

/// The whole state of a server that is put back, record and all, is found by what agents know: at once where they know more,
/// and also once the lost numbers were given again.
#[tokio::test]
async fn a_state_that_was_put_back_is_told_and_goes_on_under_an_epoch_of_its_own() {
    for changed_since in [false, true] {
        let world = World::new("dev.test").await;
        let (node, other) = (world.join().await, world.join().await);
        world.entry("/kept", None).await;
        let copy = world.log.copy();
        world.entry("/lost", None).await;
        let mut stream = open(&world, &node).await.greeted().await;
        let held = stream.state().await;
        drop(stream);
        let mut quiet = open(&world, &other).await.greeted().await;
        let other_held = quiet.state().await;
        drop(quiet);
        world.log.put_back(&copy);
        if changed_since {
            for path in ["/new", "/newer"] {
                world.entry(path, None).await;
            }
        }
        let wanted = if changed_since {
            vec!["/kept", "/new", "/newer"]
        } else {
            vec!["/kept"]
        };
        let before = world.registry.followed().catch_up().await.unwrap();
        let mut stream = again(&world, &node, &held).await;
        let served = stream.state().await;
        assert_eq!(paths(&served), wanted);
        assert_ne!(served.cursor.epoch, held.cursor.epoch);
        assert_eq!(served.cursor.seq, before.0, "nothing was lost of what is there");
        let put_back = || count(&world, "signet_state_put_back_total");
        assert_eq!(put_back(), 1);
        // Who comes later knows a log that is not this one any more: there is nothing to tell.
        let mut quiet = again(&world, &other, &other_held).await;
        assert_eq!(paths(&*quiet.state().await), wanted);
        assert_eq!(put_back(), 1);
        // Who lies is heard as well, but has all others begin anew no more than once in a while.
        let mut lie = NodeState::clone(&served);
        lie.cursor.seq += 1_000;
        let mut stream = again(&world, &node, &Arc::new(lie)).await;
        assert_eq!(stream.state().await.cursor, served.cursor);
        assert_eq!(put_back(), 2);
    }
}

/// A place that the log has forgotten, or that is another log's, is no reason for alarm.
#[tokio::test]
async fn a_place_that_is_too_old_or_of_another_log_is_no_state_that_was_put_back() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    let held = stream.state().await;
    world.entry("/one", None).await;
    let seq = world.registry.followed().seq();
    world.log.prune(seq).await.unwrap();
    let mut foreign = NodeState::clone(&held);
    foreign.cursor.epoch = [7; 16];
    foreign.cursor.seq += 1_000;
    for place in [held, Arc::new(foreign)] {
        let mut stream = again(&world, &node, &place).await;
        assert_eq!(paths(&*stream.state().await), ["/one"]);
    }
    assert_eq!(world.alarm.told(), None);
}
