//! An agent that says what is not so, or asks for what it may not have any more.

use crate::sync::{open, paths};
use crate::world::{Node, World, reason};
use signet_crypto::{KeyKind, LocalKey};
use signet_proto::agent::v1::issue_answer::Outcome;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::sync_request::Message;
use signet_proto::agent::v1::{self, IssueItem};
use signet_registry::{Entry, NewEntry};
use signet_x509::make_csr;

fn csr() -> Vec<u8> {
    make_csr(&LocalKey::generate(KeyKind::P256).unwrap(), None, &[]).unwrap()
}

/// One wish of each kind.
pub(crate) fn wishes(entry: &Entry) -> Vec<IssueItem> {
    let all = [
        Wish::X509(v1::X509Wish { csr: csr().into() }),
        Wish::Jwt(v1::JwtWish {
            audience: vec!["a".to_owned()],
        }),
        Wish::Wit(v1::WitWish { csr: csr().into() }),
    ];
    let item = |wish| IssueItem {
        entry_id: entry.id.as_bytes().to_vec().into(),
        wish: Some(wish),
        ..IssueItem::default()
    };
    all.into_iter().map(item).collect()
}

/// The codes of what was refused; empty where all was issued.
pub(crate) async fn refusals(node: &Node, items: Vec<IssueItem>) -> Vec<String> {
    let answers = node.client.clone().issue(v1::IssueRequest { items }).await;
    let outcomes = answers.unwrap().into_inner().answers.into_iter();
    outcomes
        .filter_map(|answer| match answer.outcome.expect("an outcome") {
            Outcome::Refusal(refusal) => Some(refusal.code),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn an_entry_that_is_gone_or_another_nodes_gives_nothing_from_that_moment_on() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    let deleted = world.entry("/deleted", None).await;
    let moved = world.entry("/moved", Some(&node.id)).await;
    for entry in [&deleted, &moved] {
        assert!(refusals(&node, wishes(entry)).await.is_empty());
    }
    assert_eq!(refusals(&other, wishes(&moved)).await, ["SGDE001"; 3]);

    let draft = NewEntry {
        spiffe_id: moved.spiffe_id.to_string(),
        parent_id: Some(other.id.to_string()),
        selectors: vec!["unix:path:/moved".to_owned()],
        ..NewEntry::default()
    };
    let origin = world.origin();
    world
        .registry
        .update(moved.id, &draft, None, origin)
        .await
        .unwrap();
    let origin = world.origin();
    world.registry.delete(deleted.id, None, origin).await.unwrap();
    // Whatever the node was told before, and whether or not it has heard of the change.
    let before = world.recorded();
    for entry in [&deleted, &moved] {
        assert_eq!(refusals(&node, wishes(entry)).await, ["SGDE001"; 3]);
    }
    assert_eq!(world.recorded(), before, "nothing was issued");
    assert!(refusals(&other, wishes(&moved)).await.is_empty());
}

#[tokio::test]
async fn no_certificate_is_issued_for_a_key_that_did_not_sign_the_request() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let entry = world.entry("/w", None).await;
    // An uncompressed point of P-256 behind its BIT STRING's head.
    let head = [0x03, 0x42, 0x00, 0x04];
    let place = |der: &[u8]| der.windows(4).position(|window| window == head).unwrap() + 4;
    let (mut stolen, other) = (csr(), csr());
    let (to, from) = (place(&stolen), place(&other));
    stolen[to..to + 64].copy_from_slice(&other[from..from + 64]);
    let mut items = wishes(&entry);
    for item in &mut items {
        match item.wish.as_mut().unwrap() {
            Wish::X509(wish) => wish.csr = stolen.clone().into(),
            Wish::Wit(wish) => wish.csr = stolen.clone().into(),
            Wish::Jwt(_) => {}
        }
    }
    let before = world.recorded();
    let refused = refusals(&node, items).await;
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(world.recorded(), before + 1, "the token alone");
}

#[tokio::test]
async fn an_agent_that_claims_to_serve_what_was_never_sent_is_sent_what_there_is() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    world.entry("/a", None).await;
    let mut stream = open(&world, &node).await.greeted().await;
    assert_eq!(paths(&*stream.state().await), ["/a"]);
    for seq in [0, u64::MAX, 7] {
        let claim = v1::SyncRequest {
            message: Some(Message::Applied(v1::Applied { seq })),
        };
        stream.outgoing.send(claim).await.unwrap();
    }
    world.entry("/b", None).await;
    assert_eq!(paths(&*stream.state().await), ["/a", "/b"]);
}

#[tokio::test]
async fn a_node_cannot_come_back_as_another() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    let stranger = LocalKey::generate(KeyKind::P256).unwrap();
    for (key, id) in [(&node.key, &other.id), (&stranger, &node.id)] {
        let request = world.return_request(key, id.as_str());
        let asked = world.prover(key, world.root_hashes()).attest(request).await;
        let status = asked.unwrap_err();
        assert_eq!(
            status.code(),
            tonic::Code::PermissionDenied,
            "{}",
            reason(&status)
        );
    }
}
