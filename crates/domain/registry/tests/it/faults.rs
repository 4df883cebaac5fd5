//! Every write broken in every way: refused, lost, and landed but unanswered.

use crate::{draft, open, origin};
use signet_registry::{EntryChanges, EntryId, EntryUpdate, Registry, RegistryError};
use signet_store::faulty::{Fault, FaultyLog, Op};
use signet_store::{ChangeLog, memory::MemoryLog};
use signet_testkit::START;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Create,
    Update,
    Delete,
    Token,
    Sweep,
    Apply,
}

async fn write(registry: &Registry, what: Write, id: EntryId) -> Result<(), RegistryError> {
    match what {
        Write::Create => {
            let drafts = [draft("/b", "unix:uid:2"), draft("/c", "unix:uid:3")];
            registry.create(&drafts, origin()).await.map(drop)
        }
        Write::Update => registry
            .update(id, &draft("/z", "unix:uid:9"), None, origin())
            .await
            .map(drop),
        Write::Delete => registry.delete(id, None, origin()).await,
        Write::Token => registry
            .create_join_token(&Default::default(), origin())
            .await
            .map(drop),
        Write::Apply => {
            let seq = registry.read(|s| s.entry(id).map(|e| e.seq)).unwrap();
            let update = EntryUpdate {
                id,
                seq,
                draft: draft("/z", "unix:uid:9"),
            };
            let changes = EntryChanges {
                create: vec![draft("/b", "unix:uid:2"), draft("/c", "unix:uid:3")],
                update: vec![update],
                delete: Vec::new(),
            };
            registry.apply(&changes, origin()).await.map(drop)
        }
        Write::Sweep => {
            let late = START + std::time::Duration::from_secs(3_600);
            registry.sweep(late).await.map(drop)
        }
    }
}

/// What a reader sees who knows nothing of what went wrong.
async fn look(log: impl ChangeLog + 'static) -> (Vec<String>, usize) {
    let registry = open(log).await;
    registry.read(|s| {
        let entries = s.entries().map(|e| e.spiffe_id.path().to_owned()).collect();
        (entries, s.join_tokens().len())
    })
}

#[tokio::test]
async fn each_write_broken_each_way_is_done_once_or_not_at_all() {
    for what in [
        Write::Create,
        Write::Update,
        Write::Delete,
        Write::Token,
        Write::Sweep,
        Write::Apply,
    ] {
        for fault in Fault::ALL {
            let memory = MemoryLog::new();
            let log = FaultyLog::new(Arc::new(memory.clone()));
            let registry = open(log.clone()).await;
            let first = signet_registry::NewEntry {
                expires_at: Some((START + std::time::Duration::from_secs(60)).to_string()),
                ..draft("/a", "unix:uid:1")
            };
            let id = registry.create(&[first], origin()).await.unwrap()[0].id;
            let before = look(memory.clone()).await;
            log.plan(Op::Commit, 1, fault);
            let outcome = write(&registry, what, id).await;
            let (entries, tokens) = look(memory.clone()).await;
            let label = format!("{what:?} {fault:?}: {outcome:?}, {entries:?}, {tokens}");
            if fault == Fault::Refused {
                assert!(matches!(outcome, Err(RegistryError::Commit(_))), "{label}");
                assert_eq!((entries, tokens), before, "{label}");
                // And it can be repeated.
                write(&registry, what, id).await.unwrap();
            } else {
                // A sweep that landed unanswered meets its own work: that is somebody being faster.
                let swept = what == Write::Sweep && matches!(outcome, Err(RegistryError::Changed));
                assert!(outcome.is_ok() || swept, "{label}");
            }
            let expected: (&[&str], usize) = match what {
                Write::Create => (&["/a", "/b", "/c"], 0),
                Write::Update => (&["/z"], 0),
                Write::Delete | Write::Sweep => (&[], 0),
                Write::Token => (&["/a"], 1),
                Write::Apply => (&["/z", "/b", "/c"], 0),
            };
            let (entries, tokens) = look(memory).await;
            assert_eq!(
                (entries.iter().map(String::as_str).collect::<Vec<_>>(), tokens),
                (expected.0.to_vec(), expected.1),
                "{label}"
            );
            assert_eq!(look(log).await.0, entries, "{label}");
        }
    }
}

#[tokio::test]
async fn a_log_that_never_answers_is_given_up_on() {
    let log = FaultyLog::new(Arc::new(MemoryLog::new()));
    let registry = open(log.clone()).await;
    for nth in 1..=64 {
        log.plan(Op::Commit, nth, Fault::Lost);
    }
    let error = registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unknown(_)), "{error}");
    assert_eq!(registry.read(|s| s.entry_count()), 0);
}

#[tokio::test]
async fn a_log_that_holds_what_must_be_understood_and_is_not_does_not_open() {
    use signet_store::{Batch, Change};
    let cases = [
        Change {
            schema: 2,
            ..Change::put(signet_registry::ENTRY, 1, vec![1; 16], vec![])
        },
        Change::put(signet_registry::ENTRY, 1, vec![1; 16], vec![0xff]),
        Change::put(signet_registry::ENTRY, 1, vec![1; 15], vec![]),
        Change::put(signet_registry::NODE, 1, vec![1; 32], vec![]),
        Change::put(signet_registry::JOIN_TOKEN, 1, vec![1; 31], vec![]),
    ];
    for change in cases {
        let log = MemoryLog::new();
        let running = open(log.clone()).await;
        log.commit(Batch::new(origin()).with(change.clone()))
            .await
            .unwrap();
        let opened = Registry::open(Arc::new(log), crate::own()).await;
        assert!(
            matches!(opened.map(drop), Err(RegistryError::Follow(_))),
            "{change:?}"
        );
        // One that runs stands still from then on.
        for _ in 0..2 {
            assert!(running.followed().catch_up().await.is_err(), "{change:?}");
        }
    }
}
