//! Random histories: what a server folded step by step is what another loads, and no rule is broken on the way.

use crate::{draft, id, key, open, origin};
use proptest::prelude::*;
use signet_registry::{JoinToken, JoinTokenWish, NewEntry, Registry};
use signet_store::{Origin, memory::MemoryLog};
use signet_testkit::START;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Op {
    Create { who: u8, parent: u8, ttl_s: Option<u16> },
    Update { nth: usize, who: u8, parent: u8 },
    Delete { nth: usize },
    Join { node: u8 },
    Ban { node: u8 },
    Evict { node: u8 },
    Sweep,
    Wait { secs: u16 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6_u8, 0..3_u8, proptest::option::of(1..900_u16)).prop_map(|(who, parent, ttl_s)| Op::Create { who, parent, ttl_s }),
        2 => (0..20_usize, 0..6_u8, 0..3_u8).prop_map(|(nth, who, parent)| Op::Update { nth, who, parent }),
        2 => (0..20_usize).prop_map(|nth| Op::Delete { nth }),
        2 => (0..3_u8).prop_map(|node| Op::Join { node }),
        1 => (0..3_u8).prop_map(|node| Op::Ban { node }),
        1 => (0..3_u8).prop_map(|node| Op::Evict { node }),
        1 => Just(Op::Sweep),
        2 => (0..600_u16).prop_map(|secs| Op::Wait { secs }),
    ]
}

fn entry(who: u8, parent: u8) -> NewEntry {
    NewEntry {
        // Some of them are nodes' identities.
        parent_id: (parent > 0).then(|| id(&format!("/x/{parent}")).to_string()),
        ..draft(&format!("/x/{who}"), "unix:uid:1")
    }
}

async fn run(registry: &Registry, ops: &[Op]) {
    let mut now = START;
    for op in ops {
        let origin = Origin {
            when: now,
            ..origin()
        };
        let nth = |nth: usize| registry.read(|s| s.entries().nth(nth).map(|e| e.id));
        // Refusals are part of the history; what matters is the state that is left.
        match op {
            Op::Create { who, parent, ttl_s } => {
                let expires_at = ttl_s.map(|s| (now + Duration::from_secs(s.into())).to_string());
                let draft = NewEntry {
                    expires_at,
                    ..entry(*who, *parent)
                };
                let _ = registry.create(&[draft], origin).await;
            }
            Op::Update { nth: n, who, parent } => {
                if let Some(id) = nth(*n) {
                    let _ = registry.update(id, &entry(*who, *parent), None, origin).await;
                }
            }
            Op::Delete { nth: n } => {
                if let Some(id) = nth(*n) {
                    registry.delete(id, None, origin).await.unwrap();
                }
            }
            Op::Join { node } => {
                let wish = JoinTokenWish {
                    spiffe_id: Some(id(&format!("/x/{node}")).to_string()),
                    ttl: None,
                };
                if let Ok((secret, _)) = registry.create_join_token(&wish, origin).await {
                    let _ = registry.attest_with_token(&secret.expose(), &key(), now).await;
                }
            }
            Op::Ban { node } => drop(registry.ban_node(&id(&format!("/x/{node}")), "why", origin).await),
            Op::Evict { node } => drop(registry.evict_node(&id(&format!("/x/{node}")), origin).await),
            Op::Sweep => drop(registry.sweep(now).await),
            Op::Wait { secs } => now = now + Duration::from_secs((*secs).into()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_folded_history_is_what_a_restart_loads(ops in proptest::collection::vec(op(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = MemoryLog::new();
            let registry = open(log.clone()).await;
            run(&registry, &ops).await;
            let loaded = open(log).await;
            registry.read(|a| loaded.read(|b| {
                assert_eq!(format!("{:?}", a.entries().collect::<Vec<_>>()), format!("{:?}", b.entries().collect::<Vec<_>>()));
                assert_eq!((a.nodes(), a.join_tokens()), (b.nodes(), b.join_tokens()));
                for node in 0..6_u8 {
                    let node = id(&format!("/x/{node}"));
                    assert_eq!(a.authorized(&node, START), b.authorized(&node, START));
                    // No identity is both an entry's and a node's.
                    assert!(a.node(&node).is_none() || a.entries().all(|e| e.spiffe_id != node));
                    // No token outlives the node that used it, or the node would let itself in again.
                    let used = |t: &JoinToken| t.bound.is_some() && t.node_id(registry.trust_domain()) == node;
                    assert!(a.node(&node).is_some() || !a.join_tokens().iter().any(|t| used(t)));
                }
            }));
        });
    }
}
