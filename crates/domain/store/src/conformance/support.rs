use crate::{
    Batch, Change, ChangeLog, Cursor, Index, Journal, Kind, LogEntry, Origin, Seq, Snapshot, Tail, chain,
};
use bytes::Bytes;
use signet_time::UnixTime;
use std::collections::BTreeMap;

/// The kind that the suites use.
pub const KIND: Kind = Kind(65_280);

/// An origin for tests.
#[must_use]
pub fn origin() -> Origin {
    Origin::new("conformance", "test", UnixTime::from_secs(1_000))
}

/// A batch that puts `key` = `body` for each pair.
#[must_use]
pub fn batch(pairs: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::new(origin());
    for (key, body) in pairs {
        let change = Change::put(KIND, 1, (*key).to_owned(), (*body).to_owned());
        batch.changes.push(change);
    }
    batch
}

pub(super) type State = BTreeMap<(Kind, Bytes), (Seq, u16, bool, Bytes)>;

/// A snapshot's rows by key; panics if a key stands twice.
pub(super) fn state(snapshot: &Snapshot) -> State {
    let mut state = State::new();
    for row in &snapshot.rows {
        let value = (row.seq, row.schema, row.must_understand, row.body.clone());
        let twice = state.insert((row.kind, row.key.clone()), value);
        assert_eq!(twice, None, "a key stands twice in the snapshot");
    }
    state
}

/// What `entries` make of `state`.
pub(super) fn fold(mut state: State, entries: &[LogEntry]) -> State {
    for entry in entries {
        let change = &entry.change;
        let place = (change.kind, change.key.clone());
        match &change.body {
            Some(body) => state.insert(
                place,
                (entry.seq, change.schema, change.must_understand, body.clone()),
            ),
            None => state.remove(&place),
        };
    }
    state
}

/// The cursor before the first change of the log that `cursor` is of.
pub(super) fn start(cursor: Cursor) -> Cursor {
    Cursor {
        epoch: cursor.epoch,
        seq: Seq::ZERO,
        chain: chain::genesis(&cursor.epoch),
    }
}

/// Everything after `after`, read in small steps; panics unless it is dense, chained and whole batches.
///
/// # Panics
/// If the log cannot be read from there, or breaks a promise.
pub async fn verified_tail(log: &dyn ChangeLog, mut after: Cursor) -> (Vec<LogEntry>, Cursor) {
    let mut all = Vec::new();
    loop {
        let entries = match log.tail(after, 7).await.expect("tail") {
            Tail::Changes(entries) => entries,
            other => panic!("tail after {after:?}: {other:?}"),
        };
        let Some(last) = entries.last() else {
            return (all, after);
        };
        assert_eq!(last.rest, 0, "a tail ends within a batch");
        for entry in entries {
            assert_eq!(entry.seq, after.seq.next(), "sequence numbers are dense");
            assert!(
                chain::follows(&after.chain, &entry),
                "the chain breaks at {}",
                entry.seq
            );
            after.seq = entry.seq;
            after.chain = entry.chain;
            all.push(entry);
        }
    }
}

/// Every record of `journal` from `from` on; panics unless they are dense.
///
/// # Panics
/// If the journal cannot be read from there, or breaks a promise.
pub async fn read_all(journal: &dyn Journal, mut from: Index) -> Vec<(Index, Bytes)> {
    let mut all = Vec::new();
    loop {
        let records = journal.range(from, 5).await.expect("range");
        assert!(records.len() <= 5, "range returned more than was asked for");
        if records.is_empty() {
            assert_eq!(
                from,
                journal.next_index(),
                "range ended before the last durable record"
            );
            return all;
        }
        for (index, record) in records {
            assert_eq!(index, from, "indexes are dense");
            from = from.next();
            all.push((index, record));
        }
    }
}
