//! The two ports, and what they promise.

use crate::{Batch, CommitError, Committed, Cursor, JournalError, Seq, Snapshot, StoreError, Tail};
use bytes::Bytes;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use signet_time::UnixTime;
use tokio::sync::watch;

/// A future that a port hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The ordered log of every change of state, with the current state beside it.
///
/// `commit` and `prune` take effect when they are called, not when their future is first polled; dropping the future
/// gives up the answer, not the work.
pub trait ChangeLog: Send + Sync {
    /// Commits `batch` whole or not at all, at the next places in the log. It is durable when `Ok` is returned.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// All keys as they are at one place in the log.
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// What follows `after`: up to `limit` changes (at least one batch, if there is one), in order.
    fn tail(&self, after: Cursor, limit: usize) -> BoxFuture<'_, Result<Tail, StoreError>>;

    /// The last durable change, and a wake-up each time it moves. `tail` and `load` called after a wake-up see it.
    fn head(&self) -> watch::Receiver<Seq>;

    /// Forgets changes before `before` (never the state they led to). Returns how many went.
    fn prune(&self, before: Seq) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Forgets changes up to the first that is not older than `before`. Returns how many went.
    fn prune_older(&self, before: UnixTime) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// A record's place in a journal: 1 for the first, then dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

impl Index {
    /// The first record's place.
    pub const FIRST: Self = Self(1);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An append-only journal of opaque records.
///
/// `append` and `prune_before` take effect when they are called, not when their future is first polled: many appends
/// made at once share a flush.
pub trait Journal: Send + Sync {
    /// Appends one record of 1..=[`RECORD_BYTES_MAX`] bytes. It is durable when `Ok` is returned.
    fn append(&self, record: Bytes) -> BoxFuture<'_, Result<Index, JournalError>>;

    /// Up to `limit` durable records from `from` on, in order; none if `from` is past the last.
    fn range(&self, from: Index, limit: usize) -> BoxFuture<'_, Result<Vec<(Index, Bytes)>, JournalError>>;

    /// The place after the last durable record.
    fn next_index(&self) -> Index;

    /// Allows to forget records before `before`. A backend may keep some of them: it forgets in large pieces.
    fn prune_before(&self, before: Index) -> BoxFuture<'_, Result<(), JournalError>>;
}

/// Longest journal record, in bytes.
pub const RECORD_BYTES_MAX: usize = 60 * 1024;
/// Most records that one call of `range` returns.
pub const RANGE_RECORDS_MAX: usize = 10_000;

/// Checks a record's length. Each backend calls it before anything else.
///
/// # Errors
/// [`JournalError::Length`].
pub fn check_record(record: &[u8]) -> Result<(), JournalError> {
    if record.is_empty() || record.len() > RECORD_BYTES_MAX {
        return Err(JournalError::Length { bytes: record.len() });
    }
    Ok(())
}
