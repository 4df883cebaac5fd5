use crate::world::{Node, World, reason};
use signet_feed::{Event, NodeState, Replica, hello};
use signet_proto::agent::v1::{self, sync_request::Message};
use signet_time::Clock as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

pub(crate) struct Stream {
    world_now: signet_time::UnixTime,
    pub(crate) replica: Replica,
    pub(crate) incoming: Streaming<v1::SyncResponse>,
    pub(crate) outgoing: mpsc::Sender<v1::SyncRequest>,
}

fn say(message: Message) -> v1::SyncRequest {
    v1::SyncRequest {
        message: Some(message),
    }
}

pub(crate) async fn open(world: &World, node: &Node) -> Stream {
    open_with(world, node, hello("agent test", world.clock.now()))
        .await
        .unwrap()
}

pub(crate) async fn open_with(world: &World, node: &Node, first: v1::Hello) -> Result<Stream, Status> {
    let (outgoing, waiting) = mpsc::channel(4);
    outgoing.send(say(Message::Hello(first))).await.unwrap();
    let incoming = node
        .client
        .clone()
        .sync(ReceiverStream::new(waiting))
        .await?
        .into_inner();
    Ok(Stream {
        world_now: world.clock.now(),
        replica: Replica::new(world.domain.clone()),
        incoming,
        outgoing,
    })
}

impl Stream {
    /// The next event but heartbeats, which may come at any time.
    async fn next(&mut self) -> Result<Event, Status> {
        loop {
            match self.any().await? {
                Event::Alive { .. } => {}
                event => return Ok(event),
            }
        }
    }

    pub(crate) async fn any(&mut self) -> Result<Event, Status> {
        let message = self
            .incoming
            .message()
            .await?
            .expect("the stream ends with a status");
        Ok(self.replica.read(&message, self.world_now).unwrap())
    }

    pub(crate) async fn state(&mut self) -> Arc<NodeState> {
        loop {
            match self.next().await.unwrap() {
                Event::State(state) => return state,
                Event::Piece => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn greeted(mut self) -> Self {
        assert!(matches!(self.next().await, Ok(Event::Hello(_))));
        self
    }
}

pub(crate) fn paths(state: &NodeState) -> Vec<&str> {
    state.entries.iter().map(|entry| entry.spiffe_id.path()).collect()
}

#[tokio::test]
async fn the_first_snapshot_comes_at_once_and_each_change_that_concerns_the_node_after_it() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    world.entry("/everywhere", None).await;
    let mut stream = open(&world, &node).await.greeted().await;
    let first = stream.state().await;
    assert_eq!(paths(&first), ["/everywhere"]);
    assert_eq!(first.jwt_issuer, "https://localhost/workload");
    assert_eq!(
        first.trust.own_bundle().unwrap().x509().len(),
        2,
        "active and prepared"
    );

    let here = world.entry("/here", Some(&node.id)).await;
    assert_eq!(paths(&*stream.state().await), ["/everywhere", "/here"]);
    // What concerns another node alone sends nothing here: the next message is about the entry after it.
    world.entry("/there", Some(&other.id)).await;
    world
        .registry
        .delete(here.id, None, world.origin())
        .await
        .unwrap();
    let last = stream.state().await;
    assert_eq!(paths(&last), ["/everywhere"]);
    assert!(last.cursor.seq > first.cursor.seq && last.cursor.epoch == first.cursor.epoch);
    let mut elsewhere = open(&world, &other).await.greeted().await;
    assert_eq!(paths(&*elsewhere.state().await), ["/everywhere", "/there"]);
}

#[tokio::test]
async fn a_fifth_stream_of_a_node_takes_the_place_of_its_oldest() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    let mut apart = open(&world, &other).await.greeted().await;
    apart.state().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = open(&world, &node).await.greeted().await;
        stream.state().await;
        streams.push(stream);
    }
    let status = streams.remove(0).next().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "SGAS031")
    );
    assert!(status.message().contains("4 may be open"), "{status:?}");
    world.entry("/w", None).await;
    for stream in streams.iter_mut().chain([&mut apart]) {
        assert_eq!(paths(&*stream.state().await), ["/w"]);
    }
}

/// What is sent to a peer that does not read is kept for it: it must not have the more of it the more often it comes.
#[tokio::test]
async fn a_replaced_stream_that_nobody_reads_takes_its_connection_along() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use prost::Message as _;
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let tls = world.tls(node.chain.clone(), &node.key);
    let stream = signet_net::client::channel::tls_stream(&world.address.to_string(), tls)
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let hello = say(Message::Hello(hello("agent test", world.clock.now()))).encode_to_vec();
    let framed = [
        &[0],
        &u32::try_from(hello.len()).unwrap().to_be_bytes()[..],
        &hello,
    ]
    .concat();
    let request = http::Request::post(format!("https://{}/signet.agent.v1.Agent/Sync", world.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(http_body_util::Full::new(bytes::Bytes::from(framed)))
        .unwrap();
    let _unread = sender.send_request(request).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..4 {
        assert!(!connection.is_finished());
        streams.push(open(&world, &node).await.greeted().await);
    }
    let _ = connection.await.unwrap();
    for stream in &mut streams {
        stream.state().await;
    }
}

#[tokio::test]
async fn an_agent_may_ask_for_everything_anew_once_in_a_heartbeat() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    let state = stream.state().await;
    let resync = signet_feed::resync(state.cursor);
    stream.outgoing.send(resync.clone()).await.unwrap();
    stream.state().await;
    stream.outgoing.send(resync).await.unwrap();
    let status = stream.next().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "SGAS030")
    );
}

#[tokio::test]
async fn a_change_of_keys_is_sent() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    let before = stream.state().await.trust.own_bundle().unwrap().sequence();
    let kid = world
        .keys
        .active(signet_keys::Purpose::JwtSvid)
        .unwrap()
        .kid()
        .to_owned();
    world.keys.taint(&kid, world.origin()).await.unwrap();
    let after = stream.state().await;
    let bundle = after.trust.own_bundle().unwrap();
    assert!(bundle.sequence() > before);
    assert!(bundle.jwt().iter().any(|key| key.kid == kid && key.tainted));
}

/// An agent from before WIT-SVIDs is sent nothing of them.
#[tokio::test]
async fn wit_keys_are_sent_to_agents_that_named_them() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    let state = stream.state().await;
    assert_eq!(state.trust.own_bundle().unwrap().wit().len(), 2);
    let mut said = hello("agent from before", world.clock.now());
    said.capabilities.retain(|name| name != "wit-svid");
    let mut stream = open_with(&world, &node, said).await.unwrap().greeted().await;
    let state = stream.state().await;
    let own = state.trust.own_bundle().unwrap();
    assert_eq!((own.jwt().len(), own.wit().len()), (2, 0));
}

#[tokio::test]
async fn another_state_has_another_cursor() {
    let world = World::with_lagging_keys("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    let mut states = vec![stream.state().await];
    for number in 0..4 {
        world.entry(&format!("/w/{number}"), None).await;
        states.push(stream.state().await);
    }
    let kid = world
        .keys
        .active(signet_keys::Purpose::JwtSvid)
        .unwrap()
        .kid()
        .to_owned();
    world.keys.taint(&kid, world.origin()).await.unwrap();
    states.push(stream.state().await);
    let places: Vec<_> = states.iter().map(|state| state.cursor.seq).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    let newest = world.registry.followed().seq().max(world.keys.followed().seq());
    assert_eq!(
        places.last(),
        Some(&newest.0),
        "and it is the place of what is shown"
    );
}

#[tokio::test]
async fn the_same_cursor_has_the_same_content_when_time_goes_by() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let draft = signet_registry::NewEntry {
        spiffe_id: "spiffe://dev.test/short".into(),
        selectors: vec!["unix:uid:1".into()],
        expires_at: Some((world.clock.now() + core::time::Duration::from_secs(60)).to_string()),
        ..signet_registry::NewEntry::default()
    };
    world.registry.create(&[draft], world.origin()).await.unwrap();
    let before = open(&world, &node).await.greeted().await.state().await;
    world.clock.advance(core::time::Duration::from_secs(60));
    // The agent knows the end by itself; the entry goes with the next sweep, which is a change.
    let after = open(&world, &node).await.greeted().await.state().await;
    assert_eq!(
        (before.cursor.seq, paths(&before)),
        (after.cursor.seq, paths(&after))
    );
    assert_eq!(
        after.entries.iter().next().unwrap().expires_at,
        Some(world.clock.now())
    );
    let mut stream = open(&world, &node).await.greeted().await;
    stream.state().await;
    world.registry.sweep(world.clock.now()).await.unwrap();
    let swept = stream.state().await;
    assert!(swept.entries.is_empty() && swept.cursor.seq > after.cursor.seq);
}

#[tokio::test]
async fn a_slow_reader_finds_the_newest_state_and_not_all_between() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    for number in 0..200 {
        world.entry(&format!("/w/{number}"), None).await;
    }
    let mut messages = 0;
    loop {
        messages += 1;
        if stream.state().await.entries.len() == 200 {
            break;
        }
    }
    assert!(messages < 200, "{messages} snapshots for 200 changes");
}

#[tokio::test]
async fn the_hello_is_demanded_and_its_protocol_checked() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut newer = hello("agent test", world.clock.now());
    newer.protocol = 7;
    let mut stream = open_with(&world, &node, newer).await.unwrap();
    let status = stream.next().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "SGFE001")
    );

    let requests = tokio_stream::iter([say(Message::Applied(v1::Applied { seq: 1 }))]);
    let mut incoming = node.client.clone().sync(requests).await.unwrap().into_inner();
    let status = incoming.message().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "SGAS009")
    );
}

#[tokio::test]
async fn a_banned_nodes_stream_ends() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    stream.state().await;
    world
        .registry
        .ban_node(&node.id, "stolen", world.origin())
        .await
        .unwrap();
    let status = stream.next().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "SGAS006")
    );
    let again = open_with(&world, &node, hello("agent test", world.clock.now())).await;
    assert_eq!(again.err().unwrap().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let mut stream = open(&world, &node).await.greeted().await;
    stream.state().await;
    let mut plain = hello("agent test", world.clock.now());
    plain.capabilities.clear();
    let mut without = open_with(&world, &node, plain).await.unwrap().greeted().await;
    without.state().await;
    assert!(world.metrics.text().contains("signet_streams{kind=\"agent\"} 2"));
    world.shutdown.cancel();
    assert!(matches!(stream.next().await, Ok(Event::GoingAway { .. })));
    for stream in [&mut stream, &mut without] {
        let status = stream.next().await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "SGAS012")
        );
    }
}

#[tokio::test]
async fn a_thousand_streams_are_served_and_a_reader_that_sleeps_blocks_nobody() {
    let world = World::new("dev.test").await;
    let mut sleeper = open(&world, &world.join().await).await;
    let mut streams = Vec::new();
    // A node has at most four.
    for _ in 0..250 {
        let node = world.join().await;
        for _ in 0..4 {
            streams.push(open(&world, &node).await.greeted().await);
        }
    }
    for stream in &mut streams {
        stream.state().await;
    }
    assert_eq!(streams.len(), 1_000);
    world.entry("/w", None).await;
    for stream in &mut streams {
        assert_eq!(paths(&*stream.state().await), ["/w"]);
    }
    assert!(matches!(sleeper.next().await, Ok(Event::Hello(_))));
}
