//! Lists compared with what there is, and many changes in one commit.

use crate::{draft, empty, id, open, origin};
use signet_registry::{
    EntryChanges, EntryDeletion, EntryPlan, EntryUpdate, JoinTokenWish, NewEntry, Registry, RegistryError,
};
use signet_store::faulty::{Fault, FaultyLog, Op};
use signet_store::{Seq, memory::MemoryLog};
use signet_testkit::START;
use std::sync::Arc;

/// What an administrator does with a plan: all of it, deletions included.
fn changes(plan: &EntryPlan, drafts: &[NewEntry]) -> EntryChanges {
    let update = plan.update.iter().map(|update| EntryUpdate {
        id: update.old.id,
        seq: update.old.seq,
        draft: drafts[update.index].clone(),
    });
    let delete = plan.unlisted.iter().map(|entry| EntryDeletion {
        id: entry.id,
        seq: entry.seq,
        orphaned_days: None,
    });
    EntryChanges {
        create: plan
            .create
            .iter()
            .map(|(index, _)| drafts[*index].clone())
            .collect(),
        update: update.collect(),
        delete: delete.collect(),
    }
}

fn paths(registry: &Registry) -> Vec<String> {
    registry.read(|s| s.entries().map(|e| e.spiffe_id.path().to_owned()).collect())
}

fn hinted(path: &str, selector: &str, hint: &str) -> NewEntry {
    NewEntry {
        hint: hint.to_owned(),
        ..draft(path, selector)
    }
}

#[tokio::test]
async fn a_plan_tells_what_differs_and_a_second_one_finds_nothing() {
    let (log, registry) = empty().await;
    let old = [
        draft("/same", "unix:uid:1"),
        hinted("/changed", "unix:uid:2", "old"),
        draft("/gone", "unix:uid:3"),
    ];
    registry.create(&old, origin()).await.unwrap();
    let drafts = [
        draft("/new", "unix:uid:4"),
        hinted("/changed", "unix:uid:2", "new"),
        // Defaults written out are the same entry.
        NewEntry {
            x509_ttl: Some("1h".to_owned()),
            jwt_ttl: Some("5m".to_owned()),
            ..draft("/same", "unix:uid:1")
        },
        // The same identity on another node is another entry.
        NewEntry {
            parent_id: Some("spiffe://dev.test/node/1".to_owned()),
            ..draft("/same", "unix:uid:1")
        },
    ];
    let plan = registry.plan(&drafts, START).unwrap();
    let created: Vec<_> = plan.create.iter().map(|(index, _)| *index).collect();
    assert_eq!(created, [0, 3]);
    assert_eq!(plan.update.len(), 1);
    assert_eq!(
        (
            plan.update[0].index,
            plan.update[0].old.hint.as_str(),
            plan.update[0].new.hint.as_str()
        ),
        (1, "old", "new")
    );
    assert_eq!(plan.update[0].new.id, plan.update[0].old.id);
    assert_eq!(plan.unchanged.len(), 1);
    assert_eq!(plan.unchanged[0].0, 2);
    let named = |id| {
        registry
            .read(|s| s.entry(id))
            .unwrap()
            .spiffe_id
            .path()
            .to_owned()
    };
    let gone: Vec<_> = plan.unlisted.iter().map(|gone| named(gone.id)).collect();
    assert_eq!(gone, ["/gone"]);

    let before = registry.followed().seq();
    let applied = registry.apply(&changes(&plan, &drafts), origin()).await.unwrap();
    assert_eq!(
        (
            applied.created.len(),
            applied.updated.len(),
            applied.deleted.len()
        ),
        (2, 1, 1)
    );
    assert_eq!(applied.updated[0].hint, "new");
    assert_eq!(applied.updated[0].created_at, plan.update[0].old.created_at);
    assert_eq!(registry.followed().seq(), Seq(before.0 + 4), "one change each");
    assert_eq!(paths(&registry), ["/same", "/changed", "/new", "/same"]);
    assert_eq!(paths(&open(log).await), paths(&registry));

    let plan = registry.plan(&drafts, START).unwrap();
    assert_eq!(
        (plan.create, plan.update, plan.unlisted),
        (vec![], vec![], vec![])
    );
    assert_eq!(plan.unchanged.len(), 4);
}

#[tokio::test]
async fn everything_wrong_with_a_list_is_told_at_once() {
    let (_, registry) = empty().await;
    let wish = JoinTokenWish {
        spiffe_id: Some("spiffe://dev.test/node".to_owned()),
        ttl: None,
    };
    registry.create_join_token(&wish, origin()).await.unwrap();
    let drafts = [
        draft("/a", "unix:uid:1"),
        draft("/signet/a", "unix"),
        draft("/node", "unix:uid:1"),
        hinted("/a", "unix:uid:1", "again"),
        draft("/a", "unix:uid:1"),
    ];
    let RegistryError::InvalidEntries(bad) = registry.plan(&drafts, START).unwrap_err() else {
        panic!("another error");
    };
    let told: Vec<_> = bad
        .iter()
        .flat_map(|entry| {
            entry
                .problems
                .iter()
                .map(|p| (entry.index, p.field.as_str(), p.same_as))
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "spiffe_id", None),
            (1, "selectors[0]", None),
            (2, "spiffe_id", None),
            (3, "spiffe_id", Some(0)),
            (4, "spiffe_id", Some(0)),
        ]
    );
    for count in [0, 10_001] {
        let error = registry
            .plan(&vec![draft("/a", "unix:uid:1"); count], START)
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::Count { given, .. } if given == count),
            "{error}"
        );
    }
}

#[tokio::test]
async fn whatever_somebody_changed_since_the_plan_keeps_all_of_it_from_being_applied() {
    for touched in ["updated", "deleted"] {
        for planned in ["update", "delete"] {
            let (_, registry) = empty().await;
            let made = registry
                .create(
                    &[hinted("/a", "unix:uid:1", "old"), draft("/b", "unix:uid:2")],
                    origin(),
                )
                .await
                .unwrap();
            let drafts = match planned {
                "update" => vec![
                    draft("/new", "unix:uid:3"),
                    hinted("/a", "unix:uid:1", "new"),
                    draft("/b", "unix:uid:2"),
                ],
                _ => vec![draft("/new", "unix:uid:3"), draft("/b", "unix:uid:2")],
            };
            let plan = registry.plan(&drafts, START).unwrap();
            match touched {
                "updated" => {
                    let other = hinted("/a", "unix:uid:1", "theirs");
                    registry
                        .update(made[0].id, &other, None, origin())
                        .await
                        .map(drop)
                }
                _ => registry.delete(made[0].id, None, origin()).await,
            }
            .unwrap();
            let before = registry.followed().seq();
            let error = registry
                .apply(&changes(&plan, &drafts), origin())
                .await
                .unwrap_err();
            assert!(
                matches!(error, RegistryError::EntryOutdated { id } if id == made[0].id),
                "{touched} {planned}: {error}"
            );
            assert_eq!(registry.followed().seq(), before, "{touched} {planned}");
        }
    }
}

#[tokio::test]
async fn a_writer_that_this_server_has_not_seen_yet_is_met_at_the_commit() {
    let log = MemoryLog::new();
    let (one, other) = (open(log.clone()).await, open(log.clone()).await);
    let made = one
        .create(&[hinted("/a", "unix:uid:1", "old")], origin())
        .await
        .unwrap();
    other.followed().catch_up().await.unwrap();
    let drafts = [hinted("/a", "unix:uid:1", "new"), draft("/b", "unix:uid:2")];
    let plan = one.plan(&drafts, START).unwrap();
    let theirs = hinted("/a", "unix:uid:1", "theirs");
    other.update(made[0].id, &theirs, None, origin()).await.unwrap();
    let error = one.apply(&changes(&plan, &drafts), origin()).await.unwrap_err();
    assert!(matches!(error, RegistryError::EntryOutdated { .. }), "{error}");
    assert_eq!(paths(&open(log).await), ["/a"]);
}

#[tokio::test]
async fn an_entry_created_since_the_plan_is_not_created_twice() {
    let (_, registry) = empty().await;
    let drafts = [draft("/a", "unix:uid:1"), draft("/b", "unix:uid:2")];
    let plan = registry.plan(&drafts, START).unwrap();
    registry.create(&drafts[1..], origin()).await.unwrap();
    let error = registry
        .apply(&changes(&plan, &drafts), origin())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::EntryExists { index: 1, .. }),
        "{error}"
    );
    assert_eq!(paths(&registry), ["/b"]);
}

#[tokio::test]
async fn what_one_entry_gives_up_another_may_say_in_the_same_commit() {
    let (log, registry) = empty().await;
    let made = registry
        .create(
            &[
                draft("/a", "unix:uid:1"),
                draft("/b", "unix:uid:2"),
                draft("/c", "unix:uid:3"),
            ],
            origin(),
        )
        .await
        .unwrap();
    let update = |n: usize, path: &str, selector: &str| EntryUpdate {
        id: made[n].id,
        seq: made[n].seq,
        draft: draft(path, selector),
    };
    // Two change places, and the third makes room for a new one.
    let swap = EntryChanges {
        create: vec![draft("/c", "unix:uid:3")],
        update: vec![update(0, "/b", "unix:uid:2"), update(1, "/a", "unix:uid:1")],
        delete: vec![EntryDeletion {
            id: made[2].id,
            seq: made[2].seq,
            orphaned_days: None,
        }],
    };
    registry.apply(&swap, origin()).await.unwrap();
    assert_eq!(paths(&registry), ["/b", "/a", "/c"]);
    let drafts = [
        draft("/a", "unix:uid:1"),
        draft("/b", "unix:uid:2"),
        draft("/c", "unix:uid:3"),
    ];
    for registry in [registry, open(log).await] {
        assert_eq!(registry.plan(&drafts, START).unwrap().unchanged.len(), 3);
        let error = registry.create(&drafts[..1], origin()).await.unwrap_err();
        assert!(matches!(error, RegistryError::EntryExists { .. }), "{error}");
    }
}

#[tokio::test]
async fn changes_that_contradict_one_another_are_refused() {
    let (_, registry) = empty().await;
    let made = registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap();
    let (entry, seq) = (made[0].id, made[0].seq);
    let update = EntryUpdate {
        id: entry,
        seq,
        draft: draft("/b", "unix:uid:1"),
    };
    let delete = EntryDeletion {
        id: entry,
        seq,
        orphaned_days: None,
    };
    let both = EntryChanges {
        update: vec![update.clone()],
        delete: vec![delete],
        ..EntryChanges::default()
    };
    let error = registry.apply(&both, origin()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::EntryRepeated { id } if id == entry),
        "{error}"
    );
    let twice = EntryChanges {
        create: vec![draft("/b", "unix:uid:1")],
        update: vec![update],
        ..EntryChanges::default()
    };
    let error = registry.apply(&twice, origin()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::EntryTwice { index: 1, first: 0 }),
        "{error}"
    );
    // Problems of updates are counted on from those of new entries.
    let bad = EntryChanges {
        create: vec![draft("/c", "unix:uid:1"), draft("/d", "unix")],
        update: vec![EntryUpdate {
            id: entry,
            seq,
            draft: draft("/signet/x", "unix:uid:1"),
        }],
        ..EntryChanges::default()
    };
    let RegistryError::InvalidEntries(bad) = registry.apply(&bad, origin()).await.unwrap_err() else {
        panic!("another error");
    };
    assert_eq!(bad.iter().map(|b| b.index).collect::<Vec<_>>(), [1, 2]);
    let error = registry
        .apply(&EntryChanges::default(), origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Count { given: 0, .. }), "{error}");
    assert_eq!(paths(&registry), ["/a"]);
    assert!(registry.read(|s| s.entries().all(|e| e.spiffe_id == id("/a"))));
}

#[tokio::test]
async fn a_commit_that_breaks_leaves_all_or_nothing() {
    for fault in Fault::ALL {
        let memory = MemoryLog::new();
        let log = FaultyLog::new(Arc::new(memory.clone()));
        let registry = open(log.clone()).await;
        let old = [hinted("/a", "unix:uid:1", "old"), draft("/gone", "unix:uid:2")];
        registry.create(&old, origin()).await.unwrap();
        let drafts = [hinted("/a", "unix:uid:1", "new"), draft("/b", "unix:uid:3")];
        let plan = registry.plan(&drafts, START).unwrap();
        log.plan(Op::Commit, 1, fault);
        let outcome = registry.apply(&changes(&plan, &drafts), origin()).await;
        let found = open(memory).await;
        if fault == Fault::Refused {
            assert!(matches!(outcome, Err(RegistryError::Commit(_))), "{outcome:?}");
            assert_eq!(paths(&found), ["/a", "/gone"]);
            assert!(found.read(|s| s.entries().any(|e| e.hint == "old")));
        } else {
            outcome.unwrap();
            assert_eq!(paths(&found), ["/a", "/b"], "{fault:?}");
            assert!(found.read(|s| s.entries().any(|e| e.hint == "new")));
        }
    }
}
