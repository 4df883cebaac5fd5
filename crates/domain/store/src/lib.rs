//! Storage ports: [`ChangeLog`] for state, [`Journal`] for what was issued and decided; the memory backend and the
//! conformance suites that every backend runs.
//!
//! Every change of state is a commit to one ordered log, with a dense sequence number given inside the commit. State in
//! memory is the [`fold`] of that log. A [`Cursor`] names a place in one log by epoch, sequence and chain hash; where it
//! does not match, the reader takes a fresh snapshot.
//!
//! Bodies are opaque here. What a reader needs before it can decode one (kind, schema, whether it must be understood)
//! stands outside the body. This crate does no I/O and starts no task.
//!
//! ```
//! use signet_store::{Batch, Change, ChangeLog, CommitError, Expect, Kind, Origin, memory::MemoryLog};
//! # use signet_time::UnixTime;
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let log = MemoryLog::new();
//! let create = || {
//!     Batch::new(Origin::new("system", "example", UnixTime::EPOCH))
//!         .with(Change::put(Kind(65_280), 1, "key", "body"))
//!         .expecting(Expect::absent(Kind(65_280), "key"))
//! };
//! let committed = log.commit(create()).await.unwrap();
//! assert_eq!(committed.last.0, 1);
//! assert!(matches!(log.commit(create()).await, Err(CommitError::Conflict { found: Some(_), .. })));
//! # });
//! ```

pub mod backup;
pub mod chain;
mod change;
pub mod conformance;
mod error;
pub mod faulty;
pub mod fold;
pub mod follow;
pub mod group;
pub mod memory;
mod past;
mod port;

pub use change::{
    BATCH_BYTES_MAX, BATCH_CHANGES_MAX, BATCH_EXPECTS_MAX, BODY_BYTES_MAX, Batch, Change, Committed, Cursor,
    Expect, KEY_BYTES_MAX, Kind, LogEntry, Origin, Row, Seq, Snapshot, TAIL_CHANGES_MAX, Tail, WHO_BYTES_MAX,
    WHY_BYTES_MAX,
};
pub use error::{Cause, CommitError, FoldError, Injected, Invalid, JournalError, REGISTER, StoreError};
pub use fold::Fold;
pub use past::{Earlier, Past, PastWish};
pub use port::{
    BoxFuture, ChangeLog, Index, Journal, Piece, RANGE_RECORDS_MAX, RECORD_BYTES_MAX, Wanted, check_record,
};
