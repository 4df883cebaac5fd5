//! Every write broken in every way, at every position: a writer that follows the rules makes progress, what was
//! acknowledged is there, and nothing happens twice.

use super::support::{KIND, batch, read_all, start, verified_tail};
use crate::faulty::{Fault, FaultyJournal, FaultyLog, Op};
use crate::{ChangeLog, CommitError, Expect, Index, Journal, JournalError, Seq};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

const STEPS: u64 = 5;

/// Breaks each commit of a run of five in each way.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn change_log_faults(open: &dyn Fn(&str) -> Arc<dyn ChangeLog>) {
    for fault in Fault::ALL {
        for nth in 1..=STEPS {
            let inner = open(&format!("fault-{fault:?}-{nth}"));
            let log = FaultyLog::new(Arc::clone(&inner));
            log.plan(Op::Commit, nth, fault);
            log.plan(Op::Load, 1, Fault::Lost);
            let mut acknowledged = Vec::new();
            for step in 1..=STEPS {
                acknowledged.push(create(&log, &format!("step-{step}")).await);
            }
            let genesis = start(inner.load().await.expect("load").cursor);
            let (entries, _) = verified_tail(&*inner, genesis).await;
            let found: Vec<_> = entries.iter().map(|e| e.seq).collect();
            assert_eq!(
                found, acknowledged,
                "{fault:?} at {nth}: each step landed exactly once"
            );
        }
    }
}

/// Creates `key` as a careful writer does: after an unknown outcome it looks before it tries again.
async fn create(log: &FaultyLog, key: &str) -> Seq {
    loop {
        let wish = batch(&[(key, "x")]).expecting(Expect::absent(KIND, key.to_owned()));
        match log.commit(wish).await {
            Ok(done) => return done.last,
            Err(CommitError::Unavailable(_)) => {}
            Err(CommitError::Unknown(_)) => {
                let snapshot = loop {
                    if let Ok(snapshot) = log.load().await {
                        break snapshot;
                    }
                };
                if let Some(row) = snapshot.rows.iter().find(|row| *row.key == *key.as_bytes()) {
                    return row.seq;
                }
            }
            Err(other) => panic!("create {key}: {other}"),
        }
    }
}

/// Breaks each append of a run of five in each way.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn journal_faults(open: &dyn Fn(&str) -> Arc<dyn Journal>) {
    for fault in Fault::ALL {
        for nth in 1..=STEPS {
            let inner = open(&format!("fault-{fault:?}-{nth}"));
            let journal = FaultyJournal::new(Arc::clone(&inner));
            journal.plan(Op::Append, nth, fault);
            let mut acknowledged = BTreeSet::new();
            let mut failed = 0;
            for step in 1..=STEPS {
                match journal.append(Bytes::from(format!("step {step}"))).await {
                    Ok(index) => assert!(acknowledged.insert((index, format!("step {step}")))),
                    Err(JournalError::Unavailable(_) | JournalError::Unknown(_)) => failed += 1,
                    Err(other) => panic!("append: {other}"),
                }
            }
            assert_eq!(failed, 1, "{fault:?} at {nth}: the others make progress");
            let all: BTreeSet<_> = read_all(&*inner, Index::FIRST)
                .await
                .into_iter()
                .map(|(index, record)| (index, String::from_utf8(record.to_vec()).unwrap()))
                .collect();
            assert!(
                acknowledged.is_subset(&all),
                "{fault:?} at {nth}: what was acknowledged is there"
            );
            let landed = usize::from(fault == Fault::Unanswered);
            assert_eq!(all.len() - acknowledged.len(), landed, "{fault:?} at {nth}");
        }
    }
}
