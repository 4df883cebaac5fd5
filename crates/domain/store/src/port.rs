//! The two ports, and what they promise.

use crate::backup::{Image, ImageHead, ImagePart};
use crate::{
    Batch, CommitError, Committed, Cursor, JournalError, Kind, Past, PastWish, Row, Seq, Snapshot,
    StoreError, Tail,
};
use bytes::Bytes;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use signet_time::UnixTime;
use tokio::sync::{mpsc, watch};

/// A future that a port hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Says which kinds are wanted.
pub type Wanted = Box<dyn Fn(Kind) -> bool + Send>;

/// Some rows of a snapshot, while others are still being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// In no order.
    pub rows: Vec<Row>,
    /// About how many rows there are in all, of whatever kind.
    pub of: usize,
}

/// The ordered log of every change of state, with the current state beside it.
///
/// `commit` and `prune` take effect when they are called, not when their future is first polled; dropping the future
/// gives up the answer, not the work.
pub trait ChangeLog: Send + Sync {
    /// Commits `batch` whole or not at all, at the next places in the log. It is durable when `Ok` is returned.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// All keys as they are at one place in the log.
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.load_kinds(Box::new(|_| true))
    }

    /// The keys of the kinds that `wanted` names, as they are at one place in the log.
    fn load_kinds(&self, wanted: Wanted) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// As [`load_kinds`](Self::load_kinds), but hands over the rows as they are read, so that what is made of them is made
    /// meanwhile. It ends early where nobody takes them any more. Where it fails, what was handed over is worth nothing.
    fn load_pieces(
        &self,
        wanted: Wanted,
        pieces: mpsc::Sender<Piece>,
    ) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        let whole = self.load_kinds(wanted);
        Box::pin(async move {
            let Snapshot { cursor, rows } = whole.await?;
            let of = rows.len();
            let _taken = pieces.send(Piece { rows, of }).await;
            Ok(cursor)
        })
    }

    /// The log as far as it is kept, and all keys, at one place in the log. Writers do not wait for it.
    fn image(&self) -> BoxFuture<'_, Result<Image, StoreError>>;

    /// The same in parts, which are handed over as they are read: nobody holds all of it at once. It ends early where
    /// nobody takes them any more. Where it fails, what was handed over is worth nothing.
    fn image_parts(&self, parts: mpsc::Sender<ImagePart>) -> BoxFuture<'_, Result<(), StoreError>> {
        let whole = self.image();
        Box::pin(async move {
            let Image {
                floor,
                changes,
                snapshot,
            } = whole.await?;
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let head = ImageHead {
                cursor: snapshot.cursor,
                floor,
                changes: count(changes.len()),
                rows: count(snapshot.rows.len()),
            };
            for part in [
                ImagePart::Head(head),
                ImagePart::Changes(changes),
                ImagePart::Rows(snapshot.rows),
            ] {
                if parts.send(part).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// What follows `after`: up to `limit` changes (at least one batch, if there is one), in order.
    fn tail(&self, after: Cursor, limit: usize) -> BoxFuture<'_, Result<Tail, StoreError>>;

    /// What led to `until`: the last changes up to there, as far as the log has them. Of a place that is not in the log
    /// nothing is known.
    fn past(&self, until: Cursor, wish: PastWish) -> BoxFuture<'_, Result<Past, StoreError>>;

    /// The last durable change, and a wake-up each time it moves. `tail` and `load` called after a wake-up see it.
    fn head(&self) -> watch::Receiver<Seq>;

    /// Goes on under another epoch: state, changes and numbers stay, and whoever knows a place of the log as it was takes
    /// what comes for another log. For when places are known out there that this log does not have: an older copy of it
    /// was put in its place. The cursor from then on.
    fn begin_epoch(&self) -> BoxFuture<'_, Result<Cursor, StoreError>>;

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
/// `append`, `append_all` and `prune_before` take effect when they are called, not when their future is first polled: many
/// appends made at once share a flush.
pub trait Journal: Send + Sync {
    /// Appends one record of 1..=[`RECORD_BYTES_MAX`] bytes. It is durable when `Ok` is returned.
    fn append(&self, record: Bytes) -> BoxFuture<'_, Result<Index, JournalError>>;

    /// Appends each of `records`, in their order, and answers for each. One that is refused keeps none of the others back.
    /// Not made of `append` here: whoever stands before a journal would undo what that journal saves.
    fn append_all(&self, records: Vec<Bytes>) -> Vec<BoxFuture<'_, Result<Index, JournalError>>>;

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
