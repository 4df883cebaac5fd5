//! What is decided before a request is read, and what is counted before it is decoded.

use crate::world::{Node, World, chain, reason};
use bytes::Bytes;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use http::Extensions;
use http_body::{Body, Frame};
use prost::Message as _;
use signet_check::x509::verify_svid;
use signet_crypto::{KeyKind, LocalKey};
use signet_net::{ConnectionAge, Guest, Member};
use signet_proto::agent::v1;
use signet_surface_agents::service;
use signet_time::Clock as _;
use signet_tls::PeerIdentity;
use signet_trust::TrustView;
use signet_x509::make_csr;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::codegen::Service as _;
use tonic::{Code, Status};
use tower::ServiceExt as _;

const METHODS: [&str; 4] = ["Attest", "Renew", "Sync", "Issue"];

/// A request body in pieces that counts how often it is asked for one.
struct Pieces {
    pieces: VecDeque<Bytes>,
    asked: Arc<AtomicUsize>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// As much at once as a frame of HTTP/2 carries.
const PIECE_BYTES: usize = 16 << 10;

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

/// The most nothings that fit into a request: each takes dozens of bytes once it is decoded.
fn nothings() -> Bytes {
    framed(&[0x0a, 0].repeat((5 << 20) / 2))
}

/// How `method` is answered over a connection that proved `peer`, and how many pieces of `body` it asked for.
async fn answered(
    world: &World,
    peer: PeerIdentity,
    method: &str,
    body: &Bytes,
) -> (http::Response<tonic::body::Body>, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let pieces = body.chunks(PIECE_BYTES).map(Bytes::copy_from_slice).collect();
    let mut request = http::Request::post(format!("/signet.agent.v1.Agent/{method}"))
        .header("content-type", "application/grpc")
        .body(Pieces {
            pieces,
            asked: Arc::clone(&asked),
        })
        .unwrap();
    let mut extensions = Extensions::new();
    extensions.insert(peer);
    request.extensions_mut().extend(extensions);
    let response = service(world.agents.clone()).oneshot(request).await.unwrap();
    (response, asked.load(Ordering::SeqCst))
}

/// The same of a call that is refused.
async fn call(world: &World, peer: PeerIdentity, method: &str, body: &Bytes) -> (Status, usize) {
    let (response, asked) = answered(world, peer, method, body).await;
    let status = Status::from_header_map(response.headers()).expect("a refusal");
    (status, asked)
}

fn stranger() -> PeerIdentity {
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    PeerIdentity::ProofOfPossession(key.public_key().clone())
}

fn of_node(world: &World, node: &Node) -> PeerIdentity {
    let view = TrustView::new(world.domain.clone()).with_bundle(world.keys.bundle().unwrap());
    PeerIdentity::Spiffe(verify_svid(&node.chain, &view, world.clock.now()).unwrap())
}

/// Of a workload of this trust domain, whose identity `node` asked for.
async fn of_workload(world: &World, node: &Node) -> PeerIdentity {
    let entry = world.entry("/web", Some(&node.id)).await;
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let wish = v1::X509Wish {
        csr: make_csr(&key, None, &[]).unwrap().into(),
    };
    let item = v1::IssueItem {
        entry_id: entry.id.as_bytes().to_vec().into(),
        wish: Some(v1::issue_item::Wish::X509(wish)),
        ..v1::IssueItem::default()
    };
    let request = v1::IssueRequest { items: vec![item] };
    let answer = node.client.clone().issue(request).await.unwrap().into_inner();
    let Some(v1::issue_answer::Outcome::X509(issued)) = &answer.answers[0].outcome else {
        panic!("{answer:?}");
    };
    let view = TrustView::new(world.domain.clone()).with_bundle(world.keys.bundle().unwrap());
    PeerIdentity::Spiffe(verify_svid(&chain(&issued.chain), &view, world.clock.now()).unwrap())
}

#[tokio::test]
async fn a_node_may_stay_as_long_as_its_svid_lasts_and_anybody_else_is_a_guest() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    let peer = of_node(&world, &node);
    let PeerIdentity::Spiffe(svid) = &peer else {
        panic!("{peer:?}");
    };
    let not_after = svid.not_after;
    let of = |peer: &PeerIdentity| {
        let extensions = world.agents.welcome(peer.clone());
        let age = extensions.get::<ConnectionAge>().map(|age| age.0);
        let member = extensions.get::<Member>().copied();
        assert_eq!(extensions.get::<Guest>().is_some(), member.is_none());
        (age, member)
    };
    let (age, member) = of(&peer);
    assert_eq!(age, Some(not_after.since(world.clock.now())));
    assert_ne!(member, None);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(
        of(&peer),
        (Some(not_after.since(world.clock.now())), member),
        "less by now, and the same member"
    );
    assert_ne!(of(&of_node(&world, &other)).1, member);
    for guest in [stranger(), PeerIdentity::None, of_workload(&world, &node).await] {
        assert_eq!(of(&guest), (None, None), "{guest:?}");
    }
    world
        .registry
        .ban_node(&node.id, "lost", world.origin())
        .await
        .unwrap();
    assert_eq!(of(&peer), (None, None), "banned");
}

#[tokio::test]
async fn of_what_a_stranger_sends_to_any_method_but_attest_no_byte_is_read() {
    let world = World::new("dev.test").await;
    let body = nothings();
    for method in ["Renew", "Sync", "Issue", "Other"] {
        let (status, asked) = call(&world, stranger(), method, &body).await;
        assert_eq!(
            (status.code(), reason(&status).as_str(), asked),
            (Code::PermissionDenied, "SGAS002", 0),
            "{method}"
        );
    }
    for method in METHODS {
        let (status, asked) = call(&world, PeerIdentity::None, method, &body).await;
        assert_eq!(
            (status.code(), reason(&status).as_str(), asked),
            (Code::Unauthenticated, "SGAS001", 0),
            "{method}"
        );
    }
}

#[tokio::test]
async fn of_what_a_node_sends_that_may_not_no_byte_is_read() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let peer = of_node(&world, &node);
    let body = nothings();
    let (status, asked) = call(&world, peer.clone(), "Attest", &body).await;
    assert_eq!((reason(&status).as_str(), asked), ("SGAS003", 0));
    world
        .registry
        .ban_node(&node.id, "lost", world.origin())
        .await
        .unwrap();
    for method in ["Renew", "Sync", "Issue"] {
        let (status, asked) = call(&world, peer.clone(), method, &body).await;
        assert_eq!(
            (reason(&status).as_str(), asked),
            ("SGAS006", 0),
            "{method} of a node that is banned"
        );
    }
}

#[tokio::test]
async fn an_attest_that_is_long_or_full_of_nothings_is_not_decoded() {
    let world = World::new("dev.test").await;
    // By what it announces, in its first piece.
    let long = framed(&vec![0; (64 << 10) + 1]);
    let (status, asked) = call(&world, stranger(), "Attest", &long).await;
    assert_eq!(
        (status.code(), reason(&status).as_str(), asked),
        (Code::OutOfRange, "SGAS023", 1)
    );
    // Within the bound, and a hello of thousands of empty names.
    let hello = [0x1a, 0].repeat(16 << 10);
    let message = [&[0x0a, 0x80, 0x80, 0x02], hello.as_slice()].concat();
    let decoded = v1::AttestRequest::decode(message.as_slice()).unwrap();
    assert_eq!(decoded.hello.unwrap().capabilities.len(), 16 << 10);
    let (status, asked) = call(&world, stranger(), "Attest", &framed(&message)).await;
    assert_eq!(
        (status.code(), reason(&status).as_str(), asked),
        (Code::InvalidArgument, "SGFE003", 1)
    );
    let (status, _) = call(&world, stranger(), "Attest", &framed(&[0x0b])).await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "SGAS024")
    );
}

#[tokio::test]
async fn an_issue_of_millions_of_nothings_ends_in_its_first_piece() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let (status, asked) = call(&world, of_node(&world, &node), "Issue", &nothings()).await;
    assert_eq!(
        (status.code(), reason(&status).as_str(), asked),
        (Code::InvalidArgument, "SGAS010", 1)
    );
    // A method that is not there is told to nodes, and reads nothing either.
    let (status, asked) = call(&world, of_node(&world, &node), "Other", &nothings()).await;
    assert_eq!((status.code(), asked), (Code::Unimplemented, 0));
}

/// A request of `peer` whose body is `body`.
fn request<B>(peer: &PeerIdentity, method: &str, body: B) -> http::Request<B> {
    let mut request = http::Request::post(format!("/signet.agent.v1.Agent/{method}"))
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    request.extensions_mut().insert(peer.clone());
    request
}

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_node_has_sixteen_calls_under_way_and_the_next_is_refused_unread() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    let (peer, other) = (of_node(&world, &node), of_node(&world, &other));
    let mut gate = service(world.agents.clone());
    let mut under_way: Vec<_> = ["Issue", "Renew"]
        .iter()
        .cycle()
        .take(16)
        .map(|method| gate.call(request(&peer, method, Never)))
        .collect();
    for method in ["Issue", "Renew"] {
        let (status, asked) = call(&world, peer.clone(), method, &nothings()).await;
        assert_eq!(
            (status.code(), reason(&status).as_str(), asked),
            (Code::ResourceExhausted, "SGAS028", 0),
            "{method}"
        );
    }
    assert!(world.metrics.text().contains("reason=\"limited\"} 2"));
    // What is said of these is that they are no requests: they were read.
    let (status, _) = call(&world, other, "Issue", &nothings()).await;
    assert_eq!(reason(&status), "SGAS010");
    under_way.pop();
    let (status, _) = call(&world, peer.clone(), "Issue", &nothings()).await;
    assert_eq!(reason(&status), "SGAS010");
    // A call that has ended gives its place back.
    let (status, _) = call(&world, peer, "Issue", &nothings()).await;
    assert_eq!(reason(&status), "SGAS010");
}

#[tokio::test]
async fn streams_that_follow_one_another_fast_are_refused() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let peer = of_node(&world, &node);
    tokio::time::pause();
    let sync = async || {
        let answer = service(world.agents.clone())
            .oneshot(request(&peer, "Sync", Never))
            .await
            .unwrap();
        Status::from_header_map(answer.headers()).map(|status| (status.code(), reason(&status)))
    };
    for _ in 0..16 {
        assert_eq!(sync().await, None);
    }
    assert_eq!(
        sync().await,
        Some((Code::ResourceExhausted, "SGAS029".to_owned()))
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(sync().await, None);
    assert!(sync().await.is_some());
}

#[tokio::test]
async fn a_connection_outlives_the_refusal_of_what_was_too_much() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let items = vec![v1::IssueItem::default(); 1_000_000];
    let status = node
        .client
        .clone()
        .issue(v1::IssueRequest { items })
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SGAS010");
    let csr = make_csr(&node.key, None, &[]).unwrap().into();
    node.client
        .clone()
        .renew(v1::RenewRequest { csr, step: None })
        .await
        .unwrap();
    // The same for a stranger, who may still attest afterwards.
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let mut prover = world.prover(&key, world.root_hashes());
    let items = vec![v1::IssueItem::default(); 1_000_000];
    let status = prover.issue(v1::IssueRequest { items }).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "SGAS002")
    );
    let token = world.token().await;
    prover.attest(world.attest_request(&key, &token)).await.unwrap();
}

#[tokio::test]
async fn a_node_that_asks_for_much_does_not_keep_another_waiting() {
    let world = World::new("dev.test").await;
    let (greedy, other) = (world.join().await, world.join().await);
    let entry = world.entry("/w", None).await;
    let wishes = |count: usize| {
        let wish = v1::JwtWish {
            audience: vec!["a".to_owned()],
        };
        let item = v1::IssueItem {
            entry_id: entry.id.as_bytes().to_vec().into(),
            wish: Some(v1::issue_item::Wish::Jwt(wish)),
            ..v1::IssueItem::default()
        };
        let items = vec![item; count];
        framed(&v1::IssueRequest { items }.encode_to_vec())
    };
    let (much, little) = (wishes(256), wishes(1));
    let before = world.recorded();
    tokio::select! {
        biased;
        _ = answered(&world, of_node(&world, &greedy), "Issue", &much) => panic!("all of the much came first"),
        (answer, _) = answered(&world, of_node(&world, &other), "Issue", &little) => {
            assert!(Status::from_header_map(answer.headers()).is_none());
        }
    }
    // Nothing is recorded of what is still being signed.
    assert_eq!(world.recorded() - before, 1);
}
