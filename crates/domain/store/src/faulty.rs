//! Wrappers that break the calls they are told to break, each in every way a neighbour can break.
//!
//! For tests. A fault is planned for the nth call of one operation; every other call works.

use crate::backup::{Image, ImagePart};
use crate::{
    Batch, BoxFuture, Cause, ChangeLog, CommitError, Committed, Cursor, Index, Injected, Journal,
    JournalError, Past, PastWish, Piece, Seq, Snapshot, StoreError, Tail, Wanted,
};
use bytes::Bytes;
use signet_time::UnixTime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// How a call breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It does nothing, and says so.
    Refused,
    /// It does nothing, and the caller cannot know.
    Lost,
    /// It does its work, and the caller cannot know.
    Unanswered,
}

impl Fault {
    /// Every way to break.
    pub const ALL: [Self; 3] = [Self::Refused, Self::Lost, Self::Unanswered];
}

/// An operation of either port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// [`ChangeLog::commit`].
    Commit,
    /// [`ChangeLog::load`], [`ChangeLog::load_kinds`] and [`ChangeLog::image`].
    Load,
    /// [`ChangeLog::tail`] and [`ChangeLog::past`].
    Tail,
    /// [`ChangeLog::prune`], [`ChangeLog::prune_older`] and [`ChangeLog::begin_epoch`].
    Prune,
    /// [`Journal::append`].
    Append,
    /// [`Journal::range`].
    Range,
}

#[derive(Debug, Default)]
struct Plan {
    calls: BTreeMap<Op, u64>,
    faults: BTreeMap<(Op, u64), Fault>,
}

/// The plan of one wrapper.
#[derive(Debug, Default)]
struct Plans(Mutex<Plan>);

impl Plans {
    fn add(&self, op: Op, nth: u64, fault: Fault) {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = plan.calls.get(&op).copied().unwrap_or(0);
        plan.faults.insert((op, from.saturating_add(nth)), fault);
    }

    fn next(&self, op: Op) -> Option<Fault> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = plan.calls.entry(op).or_insert(0);
        *calls = calls.saturating_add(1);
        let call = *calls;
        plan.faults.remove(&(op, call))
    }
}

fn cause() -> Cause {
    Cause::new(Injected)
}

/// A change log with planned faults.
#[derive(Clone)]
pub struct FaultyLog {
    inner: Arc<dyn ChangeLog>,
    plans: Arc<Plans>,
}

impl FaultyLog {
    /// Wraps `inner`; nothing fails yet.
    #[must_use]
    pub fn new(inner: Arc<dyn ChangeLog>) -> Self {
        Self {
            inner,
            plans: Arc::default(),
        }
    }

    /// Breaks the `nth` call of `op` from now on (1 = the next).
    pub fn plan(&self, op: Op, nth: u64, fault: Fault) {
        self.plans.add(op, nth, fault);
    }

    fn read<'a, T: Send + 'a>(
        &'a self,
        op: Op,
        call: impl FnOnce() -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let failed = || Err(StoreError::Unavailable(cause()));
        match self.plans.next(op) {
            None => call(),
            Some(Fault::Refused | Fault::Lost) => Box::pin(async move { failed() }),
            Some(Fault::Unanswered) => {
                let work = call();
                Box::pin(async move {
                    let _landed = work.await;
                    failed()
                })
            }
        }
    }
}

impl ChangeLog for FaultyLog {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        match self.plans.next(Op::Commit) {
            None => self.inner.commit(batch),
            Some(Fault::Refused) => Box::pin(async { Err(CommitError::Unavailable(cause())) }),
            Some(Fault::Lost) => Box::pin(async { Err(CommitError::Unknown(cause())) }),
            Some(Fault::Unanswered) => {
                let work = self.inner.commit(batch);
                Box::pin(async move {
                    let _landed = work.await;
                    Err(CommitError::Unknown(cause()))
                })
            }
        }
    }

    fn load_kinds(&self, wanted: Wanted) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.read(Op::Load, || self.inner.load_kinds(wanted))
    }

    fn load_pieces(
        &self,
        wanted: Wanted,
        pieces: mpsc::Sender<Piece>,
    ) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.read(Op::Load, || self.inner.load_pieces(wanted, pieces))
    }

    fn image(&self) -> BoxFuture<'_, Result<Image, StoreError>> {
        self.read(Op::Load, || self.inner.image())
    }

    fn image_parts(&self, parts: mpsc::Sender<ImagePart>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.read(Op::Load, || self.inner.image_parts(parts))
    }

    fn tail(&self, after: Cursor, limit: usize) -> BoxFuture<'_, Result<Tail, StoreError>> {
        self.read(Op::Tail, || self.inner.tail(after, limit))
    }

    fn past(&self, until: Cursor, wish: PastWish) -> BoxFuture<'_, Result<Past, StoreError>> {
        self.read(Op::Tail, || self.inner.past(until, wish))
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.inner.head()
    }

    fn begin_epoch(&self) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.read(Op::Prune, || self.inner.begin_epoch())
    }

    fn prune(&self, before: Seq) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.read(Op::Prune, || self.inner.prune(before))
    }

    fn prune_older(&self, before: UnixTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.read(Op::Prune, || self.inner.prune_older(before))
    }
}

/// A journal with planned faults.
#[derive(Clone)]
pub struct FaultyJournal {
    inner: Arc<dyn Journal>,
    plans: Arc<Plans>,
}

impl FaultyJournal {
    /// Wraps `inner`; nothing fails yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self {
            inner,
            plans: Arc::default(),
        }
    }

    /// Breaks the `nth` call of `op` from now on (1 = the next).
    pub fn plan(&self, op: Op, nth: u64, fault: Fault) {
        self.plans.add(op, nth, fault);
    }
}

impl Journal for FaultyJournal {
    fn append(&self, record: Bytes) -> BoxFuture<'_, Result<Index, JournalError>> {
        match self.plans.next(Op::Append) {
            None => self.inner.append(record),
            Some(Fault::Refused) => Box::pin(async { Err(JournalError::Unavailable(cause())) }),
            Some(Fault::Lost) => Box::pin(async { Err(JournalError::Unknown(cause())) }),
            Some(Fault::Unanswered) => {
                let work = self.inner.append(record);
                Box::pin(async move {
                    let _landed = work.await;
                    Err(JournalError::Unknown(cause()))
                })
            }
        }
    }

    fn append_all(&self, records: Vec<Bytes>) -> Vec<BoxFuture<'_, Result<Index, JournalError>>> {
        records.into_iter().map(|record| self.append(record)).collect()
    }

    fn range(&self, from: Index, limit: usize) -> BoxFuture<'_, Result<Vec<(Index, Bytes)>, JournalError>> {
        match self.plans.next(Op::Range) {
            None => self.inner.range(from, limit),
            Some(_) => Box::pin(async { Err(JournalError::Unavailable(cause())) }),
        }
    }

    fn next_index(&self) -> Index {
        self.inner.next_index()
    }

    fn prune_before(&self, before: Index) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.prune_before(before)
    }
}
