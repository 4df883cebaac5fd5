use crate::backup::Image;
use crate::{
    Batch, BoxFuture, ChangeLog, CommitError, Committed, Cursor, Kind, LogEntry, Past, PastWish, Row, Seq,
    Snapshot, StoreError, TAIL_CHANGES_MAX, Tail, Wanted, chain,
};
use bytes::Bytes;
use core::convert::Infallible;
use core::future::ready;
use signet_time::UnixTime;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A change log in memory.
#[derive(Clone, Debug)]
pub struct MemoryLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Held for one call at a time, never across a wait.
    state: Mutex<State>,
    head: watch::Sender<Seq>,
}

/// What a [`MemoryLog`] held at one time.
#[derive(Clone, Debug)]
pub struct LogCopy(State);

#[derive(Clone, Debug)]
struct State {
    epoch: [u8; 16],
    /// The place before the oldest entry, and its hash.
    floor: (Seq, [u8; 32]),
    entries: VecDeque<LogEntry>,
    current: HashMap<(Kind, Bytes), Row>,
}

impl MemoryLog {
    /// An empty log with an epoch of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_epoch(epoch())
    }

    /// An empty log with this epoch.
    #[must_use]
    pub fn with_epoch(epoch: [u8; 16]) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                epoch,
                floor: (Seq::ZERO, chain::genesis(&epoch)),
                entries: VecDeque::new(),
                current: HashMap::new(),
            }),
            head: watch::Sender::new(Seq::ZERO),
        }))
    }

    /// All that it holds now, as a copy of a database's file would have it.
    #[must_use]
    pub fn copy(&self) -> LogCopy {
        LogCopy(self.state().clone())
    }

    /// Holds what it held when `copy` was made, whatever was committed since: as when somebody puts an older file in the
    /// place of a database that is in use. For tests of those who follow.
    pub fn put_back(&self, copy: &LogCopy) {
        let mut state = self.state();
        state.clone_from(&copy.0);
        self.0.head.send_replace(state.cursor().seq);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An epoch must differ from others, not be secret: two freshly keyed hashes do.
fn epoch() -> [u8; 16] {
    let half = || RandomState::new().hash_one(0_u8).to_be_bytes();
    let mut epoch = [0; 16];
    for (to, from) in epoch.iter_mut().zip(half().into_iter().chain(half())) {
        *to = from;
    }
    epoch
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn cursor(&self) -> Cursor {
        let (seq, chain) = self.entries.back().map_or(self.floor, |e| (e.seq, e.chain));
        Cursor {
            epoch: self.epoch,
            seq,
            chain,
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        for expect in &batch.expect {
            let found = self
                .current
                .get(&(expect.kind, expect.key.clone()))
                .map(|row| row.seq);
            if found != expect.seq {
                return Err(CommitError::Conflict {
                    kind: expect.kind,
                    key: expect.key.clone(),
                    found,
                });
            }
        }
        let Cursor {
            mut seq, mut chain, ..
        } = self.cursor();
        let first = seq.next();
        let count = batch.changes.len();
        for (n, change) in batch.changes.into_iter().enumerate() {
            let rest = u32::try_from(count.saturating_sub(n).saturating_sub(1)).unwrap_or(u32::MAX);
            seq = seq.next();
            chain = chain::link(&chain, seq, &change, rest, &batch.origin);
            let place = (change.kind, change.key.clone());
            match &change.body {
                Some(body) => {
                    let row = Row {
                        kind: change.kind,
                        schema: change.schema,
                        must_understand: change.must_understand,
                        key: change.key.clone(),
                        seq,
                        body: body.clone(),
                    };
                    self.current.insert(place, row);
                }
                None => {
                    self.current.remove(&place);
                }
            }
            self.entries.push_back(LogEntry {
                seq,
                change,
                rest,
                origin: batch.origin.clone(),
                chain,
            });
        }
        Ok(Committed {
            first,
            last: seq,
            cursor: self.cursor(),
        })
    }

    fn tail(&self, after: Cursor, limit: usize) -> Tail {
        let head = self.cursor();
        if after.epoch != self.epoch || after.seq > head.seq {
            return Tail::Diverged;
        }
        if after.seq < self.floor.0 {
            return Tail::Compacted;
        }
        let skip = usize::try_from(after.seq.0.saturating_sub(self.floor.0.0)).unwrap_or(usize::MAX);
        let chain = match skip.checked_sub(1) {
            None => Some(self.floor.1),
            Some(at) => self.entries.get(at).map(|e| e.chain),
        };
        if chain != Some(after.chain) {
            return Tail::Diverged;
        }
        let limit = limit.clamp(1, TAIL_CHANGES_MAX);
        let mut changes = Vec::new();
        let mut whole = 0;
        for entry in self.entries.iter().skip(skip) {
            if changes.len() >= limit && whole > 0 {
                break;
            }
            changes.push(entry.clone());
            if entry.rest == 0 {
                whole = changes.len();
            }
        }
        changes.truncate(whole);
        Tail::Changes(changes)
    }

    fn past(&self, until: Cursor, wish: PastWish) -> Past {
        if !matches!(self.tail(until, 1), Tail::Changes(_)) {
            return Past::none(until);
        }
        let end = usize::try_from(until.seq.0.saturating_sub(self.floor.0.0)).unwrap_or(usize::MAX);
        let begin = end.saturating_sub(wish.changes_max);
        let (seq, chain) = match begin.checked_sub(1) {
            None => self.floor,
            Some(at) => self.entries.get(at).map_or(self.floor, |e| (e.seq, e.chain)),
        };
        let from = Cursor { seq, chain, ..until };
        let entries = self.entries.range(begin..end).cloned().collect();
        let mut past = Past::new(from, entries);
        let before = self.entries.range(..begin).rev().take(wish.back_max);
        let of_kind = before.filter(|entry| entry.change.kind == wish.kind);
        let Ok(()) = past.look_back::<Infallible>(
            wish.kind,
            of_kind.map(|entry| Ok((entry.change.key.clone(), entry.change.body.clone()))),
        );
        past
    }

    fn prune_while(&mut self, old: impl Fn(&LogEntry) -> bool) -> u64 {
        let mut pruned = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| old(entry)) {
            self.floor = (entry.seq, entry.chain);
            pruned += 1;
        }
        pruned
    }
}

impl ChangeLog for MemoryLog {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let mut state = self.state();
        let done = state.commit(batch);
        if let Ok(committed) = &done {
            // Under the lock, so that the head never steps back.
            self.0.head.send_replace(committed.last);
        }
        Box::pin(ready(done))
    }

    fn load_kinds(&self, wanted: Wanted) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        let state = self.state();
        let rows = state.current.values().filter(|row| wanted(row.kind));
        let snapshot = Snapshot {
            cursor: state.cursor(),
            rows: rows.cloned().collect(),
        };
        Box::pin(ready(Ok(snapshot)))
    }

    fn image(&self) -> BoxFuture<'_, Result<Image, StoreError>> {
        let state = self.state();
        let image = Image {
            floor: state.floor,
            changes: state.entries.iter().cloned().collect(),
            snapshot: Snapshot {
                cursor: state.cursor(),
                rows: state.current.values().cloned().collect(),
            },
        };
        Box::pin(ready(Ok(image)))
    }

    fn tail(&self, after: Cursor, limit: usize) -> BoxFuture<'_, Result<Tail, StoreError>> {
        Box::pin(ready(Ok(self.state().tail(after, limit))))
    }

    fn past(&self, until: Cursor, wish: PastWish) -> BoxFuture<'_, Result<Past, StoreError>> {
        Box::pin(ready(Ok(self.state().past(until, wish))))
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.0.head.subscribe()
    }

    fn begin_epoch(&self) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        let mut state = self.state();
        state.epoch = epoch();
        let cursor = state.cursor();
        // The number is the same, and who waits is woken all the same.
        self.0.head.send_replace(cursor.seq);
        Box::pin(ready(Ok(cursor)))
    }

    fn prune(&self, before: Seq) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(ready(Ok(self.state().prune_while(|entry| entry.seq < before))))
    }

    fn prune_older(&self, before: UnixTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(ready(Ok(self
            .state()
            .prune_while(|entry| entry.origin.when < before))))
    }
}
