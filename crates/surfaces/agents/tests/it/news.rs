//! Streams of what changes: what is sent, to whom, and where a stream goes on.

use crate::sync::{Stream, open, open_with, paths};
use crate::world::{Node, World};
use core::time::Duration;
use signet_feed::{Event, NodeState, Replica, hello, hello_holding, resync};
use signet_id::SpiffeId;
use signet_proto::agent::v1::sync_response::Message;
use signet_registry::{NewEntry, PLACES_MAX};
use signet_surface_agents::FeedPace;
use signet_time::Clock as _;
use std::sync::Arc;

pub(crate) fn count(world: &World, series: &str) -> u64 {
    let text = world.metrics.text();
    let line = text.lines().find(|line| line.starts_with(series));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Snapshots and deltas that were sent.
fn sent(world: &World) -> (u64, u64) {
    let of = |kind: &str| count(world, &format!("signet_feed_messages_total{{kind=\"{kind}\"}}"));
    (of("snapshot"), of("delta"))
}

/// A stream that goes on from `held`.
pub(crate) async fn again(world: &World, node: &Node, held: &Arc<NodeState>) -> Stream {
    let said = hello_holding("agent test", Some(held.cursor), world.clock.now());
    let mut stream = open_with(world, node, said).await.unwrap();
    stream.replica = Replica::resuming(world.domain.clone(), Arc::clone(held));
    stream.greeted().await
}

#[tokio::test]
async fn a_change_is_sent_as_what_changed() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    for number in 0..30 {
        world.entry(&format!("/w/{number}"), None).await;
    }
    let mut stream = open(&world, &node).await.greeted().await;
    assert_eq!(stream.state().await.entries.len(), 30);
    assert_eq!(sent(&world), (1, 0));
    let entry = world.entry("/one", Some(&node.id)).await;
    assert_eq!(stream.state().await.entries.len(), 31);
    world
        .registry
        .delete(entry.id, None, world.origin())
        .await
        .unwrap();
    assert_eq!(stream.state().await.entries.len(), 30);
    assert_eq!(sent(&world), (1, 2));
}

#[tokio::test]
async fn a_stream_goes_on_where_the_one_before_it_broke() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let gone = world.entry("/gone", Some(&node.id)).await;
    world.entry("/stays", None).await;
    let mut stream = open(&world, &node).await.greeted().await;
    let held = stream.state().await;
    drop(stream);
    world
        .registry
        .delete(gone.id, None, world.origin())
        .await
        .unwrap();
    world.entry("/new", Some(&node.id)).await;
    let mut stream = again(&world, &node, &held).await;
    let held = stream.state().await;
    assert_eq!(paths(&held), ["/stays", "/new"]);
    // Where nothing changed, that is what is said.
    let mut stream = again(&world, &node, &held).await;
    assert_eq!(stream.state().await.cursor, held.cursor);
    assert_eq!(sent(&world).0, 1, "no second snapshot");
}

#[tokio::test]
async fn a_place_that_the_server_does_not_know_is_answered_with_a_snapshot() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    world.entry("/a", None).await;
    let held = open(&world, &node).await.greeted().await.state().await;
    let (mut restored, mut forked, mut ahead) = (held.cursor, held.cursor, held.cursor);
    restored.epoch = [0; 16];
    forked.chain = [0; 32];
    ahead.seq += 1;
    for (number, (cursor, is_ours)) in (2..).zip([(restored, false), (forked, true), (ahead, true)]) {
        let stale = Arc::new(NodeState {
            cursor,
            ..NodeState::clone(&held)
        });
        let state = again(&world, &node, &stale).await.state().await;
        assert_eq!((state.cursor.seq, paths(&state)), (held.cursor.seq, vec!["/a"]));
        // A place that this very log would have to know makes it another log, once.
        assert_eq!(state.cursor.epoch != held.cursor.epoch, is_ours);
        assert_eq!(sent(&world), (number, 0));
    }
}

#[tokio::test]
async fn a_node_that_is_quiet_while_others_change_a_lot_is_still_told_what_changed() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let elsewhere = SpiffeId::parse("spiffe://dev.test/signet/node/join/elsewhere").unwrap();
    world.entry("/a", None).await;
    let mut stream = open(&world, &node).await.greeted().await;
    let held = stream.state().await;
    let mut made = 0;
    while made <= PLACES_MAX {
        let drafts: Vec<_> = (made..made + 5_000)
            .map(|number| NewEntry {
                spiffe_id: format!("spiffe://dev.test/w/{number}"),
                parent_id: Some(elsewhere.to_string()),
                selectors: vec!["unix:uid:1".into()],
                ..NewEntry::default()
            })
            .collect();
        world.registry.create(&drafts, world.origin()).await.unwrap();
        made += drafts.len();
        // The desk looks while it happens, as it does where other tasks run at all.
        tokio::task::yield_now().await;
    }
    world.entry("/b", Some(&node.id)).await;
    assert_eq!(paths(&*stream.state().await), ["/a", "/b"]);
    assert_eq!(sent(&world), (1, 1), "the stream that was there all the time");
    let state = again(&world, &node, &held).await.state().await;
    assert_eq!(paths(&state), ["/a", "/b"]);
    assert_eq!(
        sent(&world),
        (2, 1),
        "an agent that was away for longer than is remembered"
    );
}

#[tokio::test]
async fn agents_from_before_are_sent_whole_snapshots_and_nothing_else() {
    let pace = FeedPace {
        heartbeat: Duration::from_millis(1),
        digest: Duration::ZERO,
    };
    let world = World::with_pace("dev.test", pace).await;
    let node = world.join().await;
    world.entry("/a", None).await;
    let mut said = hello("agent from before", world.clock.now());
    said.capabilities
        .retain(|name| name == "going-away" || name == "wit-svid");
    let mut before = open_with(&world, &node, said).await.unwrap();
    let mut today = open(&world, &node).await.greeted().await;
    today.state().await;
    for number in 0..3 {
        // Heartbeats were due meanwhile, as the other stream shows.
        assert!(matches!(today.any().await, Ok(Event::Alive { .. })));
        world.entry(&format!("/w/{number}"), Some(&node.id)).await;
        today.state().await;
    }
    world.shutdown.cancel();
    let mut entries = Vec::new();
    while let Ok(Some(message)) = before.incoming.message().await {
        match message.message.unwrap() {
            Message::Hello(_) | Message::GoingAway(_) => {}
            Message::Snapshot(snapshot) => entries.push(snapshot.entries.len()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(entries.first(), Some(&1));
    assert!(entries.is_sorted_by(|a, b| a < b), "{entries:?}");
}

#[tokio::test]
async fn heartbeats_say_how_far_the_agent_is_and_digests_agree() {
    let pace = FeedPace {
        heartbeat: Duration::from_millis(5),
        digest: Duration::ZERO,
    };
    let world = World::with_pace("dev.test", pace).await;
    let (node, other) = (world.join().await, world.join().await);
    world.entry("/a", None).await;
    let mut stream = open(&world, &node).await.greeted().await;
    let first = stream.state().await.cursor.seq;
    world.entry("/there", Some(&other.id)).await;
    let head = world.registry.followed().seq().0;
    assert!(head > first);
    loop {
        let event = stream.any().await.unwrap();
        let Event::Alive { interval, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!(interval, pace.heartbeat);
        if stream.replica.state().unwrap().cursor.seq == head {
            break;
        }
    }
    // A place that was only heard of is one to go on from.
    let held = Arc::clone(stream.replica.state().unwrap());
    let mut stream = again(&world, &node, &held).await;
    stream.state().await;
    assert_eq!(sent(&world), (1, 1));
}

#[tokio::test]
async fn an_agent_that_drifted_is_sent_everything_anew() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let gone = world.entry("/gone", None).await;
    world.entry("/stays", None).await;
    let mut stream = open(&world, &node).await.greeted().await;
    let held = stream.state().await;
    let mut broken = NodeState::clone(&held);
    broken.entries.remove(gone.id.as_bytes());
    let broken = Arc::new(broken);
    let mut stream = again(&world, &node, &broken).await;
    assert_eq!(paths(&*stream.state().await), ["/stays"]);
    // The first heartbeat of a stream has a digest.
    assert!(matches!(
        stream.any().await,
        Ok(Event::Drift { held: 1, told: 2 })
    ));
    stream.outgoing.send(resync(broken.cursor)).await.unwrap();
    assert_eq!(paths(&*stream.state().await), ["/gone", "/stays"]);
    assert_eq!(count(&world, "signet_feed_resyncs_total"), 1);
}

#[tokio::test]
async fn a_change_wakes_the_streams_of_its_node_alone() {
    let world = World::new("dev.test").await;
    let mut nodes = Vec::new();
    for _ in 0..50 {
        nodes.push(world.join().await);
    }
    let mut streams = Vec::new();
    for node in &nodes {
        for _ in 0..4 {
            let mut stream = open(&world, node).await.greeted().await;
            stream.state().await;
            streams.push(stream);
        }
    }
    let before = count(&world, "signet_feed_wakes_total");
    world.entry("/one", Some(&nodes[3].id)).await;
    for stream in &mut streams[12..16] {
        assert_eq!(paths(&*stream.state().await), ["/one"]);
    }
    assert_eq!(count(&world, "signet_feed_wakes_total") - before, 4);
    world.entry("/all", None).await;
    for stream in &mut streams {
        stream.state().await;
    }
    assert_eq!(count(&world, "signet_feed_wakes_total") - before, 204);
}

/// A thousand streams, and one of them that is not read: it holds up nobody, costs the server no more than what two
/// messages and the connection hold, and finds the newest state once it is read.
#[tokio::test]
async fn one_slow_reader_among_a_thousand_holds_up_nobody() {
    const NODES: usize = 250;
    const CHANGES: usize = 24;
    const LARGE: usize = 40;
    let world = World::new("dev.test").await;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(world.join().await);
    }
    let slow_node = world.join().await;
    let mut streams = Vec::new();
    for node in &nodes {
        for _ in 0..999_usize.div_ceil(NODES) {
            let mut stream = open(&world, node).await.greeted().await;
            stream.state().await;
            streams.push(stream);
        }
    }
    streams.truncate(999);
    let mut slow = open(&world, &slow_node).await.greeted().await;
    slow.state().await;
    let (_, before) = sent(&world);
    // For its node there is so much more that a few changes fill what a connection holds: the rest waits in the server.
    let audiences: Vec<String> = (0..16)
        .map(|n| format!("https://api/{n}/{}", "x".repeat(480)))
        .collect();
    for change in 0..CHANGES {
        let mut drafts = vec![NewEntry {
            spiffe_id: format!("spiffe://dev.test/all/{change}"),
            selectors: vec!["unix:uid:1".into()],
            ..NewEntry::default()
        }];
        drafts.extend((0..LARGE).map(|n| NewEntry {
            spiffe_id: format!("spiffe://dev.test/slow/{change}/{n}"),
            parent_id: Some(slow_node.id.to_string()),
            selectors: vec!["unix:uid:1".into()],
            jwt_audiences: audiences.clone(),
            ..NewEntry::default()
        }));
        world.registry.create(&drafts, world.origin()).await.unwrap();
        // All others have each change before the next is made.
        for stream in &mut streams {
            while stream.state().await.entries.len() <= change {}
        }
    }
    let (_, after) = sent(&world);
    let deltas = usize::try_from(after - before).unwrap();
    // Whatever more than the others' is the slow one's.
    assert!(deltas >= 999 * CHANGES);
    let mut messages = 0;
    while slow.state().await.entries.len() < (1 + LARGE) * CHANGES {
        messages += 1;
    }
    assert!(
        messages < CHANGES - 1,
        "{messages} messages for {CHANGES} changes: none were put together"
    );
}
