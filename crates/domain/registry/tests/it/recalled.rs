//! What a server knows of the changes before its start.

use crate::{draft, id, open, origin};
use proptest::prelude::*;
use signet_registry::{EntryId, NewEntry, PAST_MAX, Registry};
use signet_store::memory::MemoryLog;
use signet_store::{ChangeLog as _, Cursor, Origin, Seq};
use signet_testkit::START;
use std::collections::BTreeMap;
use std::time::Duration;

const NODES: [&str; 3] = ["/node/0", "/node/1", "/node/2"];

#[derive(Clone, Debug)]
enum Step {
    Create(Option<usize>),
    Move(usize, Option<usize>),
    Delete(usize),
    /// Not about entries.
    Other,
}

fn step() -> impl Strategy<Value = Step> {
    let node = || prop::option::of(0..NODES.len());
    prop_oneof![
        3 => node().prop_map(Step::Create),
        3 => (any::<usize>(), node()).prop_map(|(nth, node)| Step::Move(nth, node)),
        2 => any::<usize>().prop_map(Step::Delete),
        1 => Just(Step::Other),
    ]
}

/// What is told of the changes after `place`, node by node.
fn told(registry: &Registry, place: &Cursor) -> Vec<Option<BTreeMap<EntryId, bool>>> {
    let of = |node: &&str| registry.read(|state| state.recent().entries_since(place, &id(node)));
    NODES.iter().map(of).collect()
}

fn parent(node: Option<usize>) -> Option<String> {
    node.map(|node| id(NODES[node]).to_string())
}

async fn take(registry: &Registry, number: usize, step: &Step) {
    let made = Origin {
        when: START + Duration::from_secs(u64::try_from(number).unwrap()),
        ..origin()
    };
    let nth = |nth: usize| {
        registry.read(|state| {
            let all: Vec<_> = state.entries().collect();
            all.get(nth % all.len().max(1)).cloned()
        })
    };
    match step {
        Step::Create(node) => {
            let new = NewEntry {
                parent_id: parent(*node),
                ..draft(&format!("/w/{number}"), "unix:uid:1")
            };
            registry.create(&[new], made).await.unwrap();
        }
        Step::Move(which, node) => {
            if let Some(entry) = nth(*which) {
                let new = NewEntry {
                    parent_id: parent(*node),
                    ..NewEntry::from(&*entry)
                };
                registry.update(entry.id, &new, None, made).await.unwrap();
            }
        }
        Step::Delete(which) => {
            if let Some(entry) = nth(*which) {
                registry.delete(entry.id, None, made).await.unwrap();
            }
        }
        Step::Other => {
            registry
                .create_join_token(&signet_registry::JoinTokenWish::default(), made)
                .await
                .unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened, and whatever of it the log has forgotten: what a server tells that starts now is what the one
    /// tells that was there, or nothing.
    #[test]
    fn a_server_that_starts_tells_what_one_that_was_there_tells(
        steps in prop::collection::vec(step(), 1..60),
        pruned in 0..30_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let log = MemoryLog::new();
            let before = open(log.clone()).await;
            let mut places = vec![before.followed().cursor().await.unwrap()];
            for (number, step) in steps.iter().enumerate() {
                take(&before, number, step).await;
                places.push(before.followed().cursor().await.unwrap());
            }
            let whole = open(log.clone()).await;
            for place in &places {
                assert_eq!(told(&whole, place), told(&before, place), "nothing is forgotten");
            }
            log.prune(Seq(pruned)).await.unwrap();
            let late = open(log).await;
            for place in &places {
                let (said, truth) = (told(&late, place), told(&before, place));
                assert!(said == truth || said.iter().all(Option::is_none), "{said:?} is not {truth:?}");
            }
            assert_eq!(told(&late, places.last().unwrap()), vec![Some(BTreeMap::new()); NODES.len()]);
        });
    }
}

#[tokio::test]
async fn so_many_changes_are_recalled_and_no_more() {
    let log = MemoryLog::new();
    let registry = open(log.clone()).await;
    let old = registry
        .create(&[draft("/old", "unix:uid:1")], origin())
        .await
        .unwrap();
    let drafts: Vec<_> = (0..PAST_MAX)
        .map(|n| draft(&format!("/w/{n}"), "unix:uid:1"))
        .collect();
    let too_old = registry.followed().cursor().await.unwrap();
    registry.create(&drafts[..1], origin()).await.unwrap();
    let first = registry.followed().cursor().await.unwrap();
    registry.create(&drafts[1..], origin()).await.unwrap();
    // What this entry was before lies further back than what is recalled.
    let later = Origin {
        when: START + Duration::from_secs(9),
        ..origin()
    };
    registry.delete(old[0].id, None, later).await.unwrap();
    let started = open(log).await;
    assert_eq!(told(&started, &too_old), [None, None, None]);
    assert_eq!(told(&started, &first), told(&registry, &first));
    let node = &told(&started, &first)[0];
    assert_eq!(node.as_ref().and_then(|told| told.get(&old[0].id)), Some(&true));
}
