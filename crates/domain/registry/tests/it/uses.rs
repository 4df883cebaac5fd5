//! Which entries are used, and which nobody needs.

use crate::{draft, id, key, open, origin, own};
use core::time::Duration;
use signet_registry::{
    ENTRY_USES, EntryChanges, EntryDeletion, EntryId, JoinTokenWish, NewEntry, OrphanReason, OrphanRule,
    Registry, RegistryError, USE_WATCH,
};
use signet_store::faulty::{Fault, FaultyLog, Op};
use signet_store::memory::MemoryLog;
use signet_store::{ChangeLog as _, Origin, Seq};
use signet_testkit::START;
use signet_time::{Day, UnixTime};
use std::sync::Arc;

const DAY: Duration = Duration::from_secs(86_400);

fn day(number: u32) -> UnixTime {
    START + DAY * number
}

/// A server that watched every day up to `last`.
async fn watched(registry: &Registry, last: u32) {
    for number in 0..=last {
        registry.write_uses(day(number)).await.unwrap();
    }
}

async fn entry(registry: &Registry, new: NewEntry) -> EntryId {
    registry.create(&[new], origin()).await.unwrap()[0].id
}

/// Why which entries are orphaned at `now` after `days` without use.
fn orphans(registry: &Registry, days: u16, now: UnixTime) -> Vec<(EntryId, OrphanReason)> {
    let rule = OrphanRule {
        days,
        owner: None,
        now,
    };
    let all = registry.orphans(None, &rule, usize::MAX, usize::MAX);
    assert_eq!(all.last, None);
    // The same in many small steps.
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let step = registry.orphans(after, &rule, 2, 1);
        found.extend(step.found);
        if step.last.is_none() {
            break;
        }
        after = step.last;
    }
    assert_eq!(found, all.found);
    found.iter().map(|orphan| (orphan.entry.id, orphan.why)).collect()
}

#[tokio::test]
async fn a_use_is_kept_over_restarts_and_costs_a_row_a_day() {
    let log = MemoryLog::new();
    let registry = open(log.clone()).await;
    let one = entry(&registry, draft("/a", "unix:uid:1")).await;
    let other = entry(&registry, draft("/b", "unix:uid:2")).await;
    assert_eq!(registry.last_used(one), None);
    for _ in 0..1_000 {
        registry.note_use(one, START);
    }
    assert_eq!(
        registry.last_used(one),
        Some(Day::of(START)),
        "before it is written"
    );
    let before = registry.followed().seq();
    // The watch and one record.
    assert_eq!(registry.write_uses(START).await.unwrap(), 2);
    assert_eq!(registry.write_uses(START).await.unwrap(), 0);
    registry.note_use(one, START + Duration::from_secs(60));
    assert_eq!(registry.write_uses(START).await.unwrap(), 0, "the same day");
    assert_eq!(registry.followed().seq(), Seq(before.0 + 2));

    let again = open(log.clone()).await;
    assert_eq!(again.last_used(one), Some(Day::of(START)));
    assert_eq!(again.last_used(other), None);
    again.note_use(one, day(1));
    again.note_use(other, day(1));
    again.write_uses(day(1)).await.unwrap();
    // The other server on the same log merges what this one wrote.
    registry.note_use(one, START);
    registry.followed().catch_up().await.unwrap();
    registry.write_uses(day(1)).await.unwrap();
    let third = open(log.clone()).await;
    assert_eq!(third.last_used(one), Some(Day::of(day(1))));
    assert_eq!(third.last_used(other), Some(Day::of(day(1))));
    // Software of before this may pass over the records.
    for row in log.load().await.unwrap().rows {
        let is_ours = [ENTRY_USES, USE_WATCH].contains(&row.kind);
        assert_ne!(row.must_understand, is_ours, "{row:?}");
    }
}

#[tokio::test]
async fn a_use_that_could_not_be_written_is_written_later() {
    for fault in [Fault::Refused, Fault::Lost, Fault::Unanswered] {
        let inner = MemoryLog::new();
        let log = FaultyLog::new(Arc::new(inner.clone()));
        let registry = open(log.clone()).await;
        let one = entry(&registry, draft("/a", "unix:uid:1")).await;
        registry.write_uses(START).await.unwrap();
        registry.note_use(one, START);
        log.plan(Op::Commit, 1, fault);
        let written = registry.write_uses(START).await;
        let refused = matches!(written, Err(RegistryError::Commit(_)));
        assert!(
            if fault == Fault::Refused {
                refused
            } else {
                written.is_ok()
            },
            "{written:?}"
        );
        assert_eq!(registry.last_used(one), Some(Day::of(START)));
        registry.write_uses(START).await.unwrap();
        assert_eq!(open(inner).await.last_used(one), Some(Day::of(START)));
    }
}

#[tokio::test]
async fn entries_are_orphaned_after_whole_days_without_use() {
    let registry = open(MemoryLog::new()).await;
    let never = entry(&registry, draft("/never", "unix:uid:1")).await;
    let once = entry(&registry, draft("/once", "unix:uid:2")).await;
    let busy = entry(&registry, draft("/busy", "unix:uid:3")).await;
    registry.note_use(once, day(3));
    watched(&registry, 40).await;
    registry.note_use(busy, day(40));
    assert_eq!(registry.watched_since(), Some(Day::of(START)));
    assert_eq!(orphans(&registry, 30, day(30)), []);
    assert_eq!(
        orphans(&registry, 30, day(31)),
        [(never, OrphanReason::NeverUsed)]
    );
    assert_eq!(
        orphans(&registry, 30, day(34)),
        [(never, OrphanReason::NeverUsed), (once, OrphanReason::Unused)]
    );
    assert_eq!(orphans(&registry, 36, day(40)).len(), 2);
    // Not written yet, and known all the same.
    assert_eq!(orphans(&registry, 1, day(41)).len(), 2);
    let rule = OrphanRule {
        days: 30,
        owner: Some("somebody".to_owned()),
        now: day(40),
    };
    assert_eq!(registry.orphans(None, &rule, 100, 100).found, []);
}

/// What deletes the orphans `ids` as such.
fn as_orphans(registry: &Registry, ids: &[EntryId], days: u16) -> EntryChanges {
    let delete = ids.iter().map(|id| EntryDeletion {
        id: *id,
        seq: registry.read(|state| state.entry(*id)).unwrap().seq,
        orphaned_days: Some(days),
    });
    EntryChanges {
        delete: delete.collect(),
        ..EntryChanges::default()
    }
}

#[tokio::test]
async fn what_is_used_between_the_list_and_the_deletion_stays() {
    let registry = open(MemoryLog::new()).await;
    let one = entry(&registry, draft("/one", "unix:uid:1")).await;
    let other = entry(&registry, draft("/other", "unix:uid:2")).await;
    watched(&registry, 40).await;
    let (now, late) = (day(40), Origin::new("test", "test", day(40)));
    assert_eq!(orphans(&registry, 30, now).len(), 2);
    let both = as_orphans(&registry, &[one, other], 30);
    let is_needed = |error: RegistryError| {
        assert!(
            matches!(error, RegistryError::EntryNeeded { id } if id == one),
            "{error}"
        )
    };

    // Noted in memory alone.
    registry.note_use(one, now);
    is_needed(registry.apply(&both, late.clone()).await.unwrap_err());
    // And written down.
    registry.write_uses(now).await.unwrap();
    is_needed(registry.apply(&both, late.clone()).await.unwrap_err());
    assert!(
        registry.read(|state| state.has_entry(one) && state.has_entry(other)),
        "all or none"
    );
    // Not by another rule than the one that it was listed by.
    let strict = as_orphans(&registry, &[other], 60);
    assert!(registry.apply(&strict, late.clone()).await.is_err());
    registry
        .apply(&as_orphans(&registry, &[other], 30), late.clone())
        .await
        .unwrap();
    // Who deletes an entry by its name means it.
    let named = EntryChanges {
        delete: vec![EntryDeletion {
            orphaned_days: None,
            ..as_orphans(&registry, &[one], 30).delete[0]
        }],
        ..EntryChanges::default()
    };
    registry.apply(&named, late).await.unwrap();
    assert!(registry.read(|state| state.entry_count()) == 0);
}

#[tokio::test]
async fn what_nobody_watched_counts_for_nothing() {
    let registry = open(MemoryLog::new()).await;
    let one = entry(&registry, draft("/a", "unix:uid:1")).await;
    assert_eq!(registry.watched_since(), None);
    assert_eq!(
        orphans(&registry, 1, day(400)),
        [],
        "a server that has just learnt to watch"
    );
    watched(&registry, 10).await;
    // It was away for a month; nobody could have used anything.
    registry.write_uses(day(40)).await.unwrap();
    assert_eq!(registry.watched_since(), Some(Day::of(day(40))));
    assert_eq!(orphans(&registry, 5, day(45)), []);
    assert_eq!(orphans(&registry, 5, day(46)), [(one, OrphanReason::NeverUsed)]);
}

#[tokio::test]
async fn an_entry_says_that_it_is_over_or_its_node_is_gone_or_banned() {
    let registry = open(MemoryLog::new()).await;
    let node = |path: &str| JoinTokenWish {
        ttl: None,
        spiffe_id: Some(format!("spiffe://{}{path}", own())),
    };
    for path in ["/rack/1", "/rack/2", "/rack/3"] {
        let (secret, _) = registry.create_join_token(&node(path), origin()).await.unwrap();
        registry
            .attest_with_token(&secret.expose(), &key(), START)
            .await
            .unwrap();
    }
    let on = |parent: &str| NewEntry {
        parent_id: Some(id(parent).to_string()),
        ..draft("/w", "unix:uid:1")
    };
    let over = NewEntry {
        expires_at: Some((START + DAY).to_string()),
        ..draft("/over", "unix:uid:1")
    };
    let over = entry(&registry, over).await;
    let banned = entry(&registry, on("/rack/1")).await;
    let evicted = entry(&registry, on("/rack/2")).await;
    let there = entry(&registry, on("/rack/3")).await;
    let nowhere = entry(&registry, on("/rack/9")).await;
    watched(&registry, 9).await;
    registry
        .ban_node(&id("/rack/1"), "stolen", origin())
        .await
        .unwrap();
    registry.evict_node(&id("/rack/2"), origin()).await.unwrap();
    // A node that is only away, or not yet there, is no reason to take its entries for orphans.
    assert_eq!(orphans(&registry, 7, day(7)), [(over, OrphanReason::Expired)]);
    assert_eq!(
        orphans(&registry, 7, day(8)),
        [
            (over, OrphanReason::Expired),
            (banned, OrphanReason::NodeBanned),
            (evicted, OrphanReason::NodeUnknown),
            (there, OrphanReason::NeverUsed),
            (nowhere, OrphanReason::NodeUnknown),
        ]
    );
}

#[tokio::test]
async fn uses_of_entries_that_are_gone_are_not_kept() {
    let log = MemoryLog::new();
    let registry = open(log.clone()).await;
    let body_bytes = async || {
        let rows = log.load().await.unwrap().rows;
        let uses = rows.iter().filter(|row| row.kind == ENTRY_USES);
        uses.map(|row| row.body.len()).sum::<usize>()
    };
    let mut total = 0;
    // So many that some share a record.
    for round in 0..3 {
        let drafts: Vec<_> = (0..3_000)
            .map(|n| draft(&format!("/{n}"), "unix:uid:1"))
            .collect();
        let made = registry.create(&drafts, origin()).await.unwrap();
        for entry in &made {
            registry.note_use(entry.id, day(round));
        }
        registry.write_uses(day(round)).await.unwrap();
        assert!(
            made.iter()
                .all(|entry| registry.last_used(entry.id) == Some(Day::of(day(round))))
        );
        let delete = made.iter().map(|entry| EntryDeletion {
            id: entry.id,
            seq: entry.seq,
            orphaned_days: None,
        });
        let gone = EntryChanges {
            delete: delete.collect(),
            ..EntryChanges::default()
        };
        registry
            .apply(&gone, Origin::new("test", "test", day(round)))
            .await
            .unwrap();
        total = body_bytes().await;
    }
    // At most what the drawers hold that were not written again: far less than all that ever was.
    assert!(total < 2 * 3_000 * 20, "{total}");
}
