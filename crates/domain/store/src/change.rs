//! What is written to the log and what is read from it.

use crate::{CommitError, Invalid};
use bytes::Bytes;
use core::fmt;
use signet_time::UnixTime;
use std::collections::HashSet;

/// A change's place in the log: 1 for the first, then dense. 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The place after this one. Saturates; a log ends long before.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key and its body are. The constants live in the crate that owns the kind:
///
/// | kind | what | owner |
/// |---|---|---|
/// | 1 | registration entry | registry |
/// | 2 | node | registry |
/// | 3 | join token | registry |
/// | 4 | when entries were used last | registry |
/// | 5 | since when uses are watched | registry |
/// | 16 | sealed key | keys |
/// | 17 | key state | keys |
/// | 18 | trust bundle meta | keys |
/// | 32 | seal check | keys |
/// | 65,280 and up | conformance suites and tests | store |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One key gets a body, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What `key` and `body` are.
    pub kind: Kind,
    /// The version of the body's form.
    pub schema: u16,
    /// Whether a reader that does not know the kind or the schema must stop instead of passing over it.
    pub must_understand: bool,
    /// 1..=[`KEY_BYTES_MAX`] bytes, unique within the kind.
    pub key: Bytes,
    /// The new body, at most [`BODY_BYTES_MAX`] bytes; `None` deletes the key.
    pub body: Option<Bytes>,
}

impl Change {
    /// A change that must be understood and gives `key` a body.
    pub fn put(kind: Kind, schema: u16, key: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self {
            kind,
            schema,
            must_understand: true,
            key: key.into(),
            body: Some(body.into()),
        }
    }

    /// A change that must be understood and deletes `key`.
    pub fn delete(kind: Kind, schema: u16, key: impl Into<Bytes>) -> Self {
        Self {
            kind,
            schema,
            must_understand: true,
            key: key.into(),
            body: None,
        }
    }
}

/// What a key must be for a batch to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The key's kind.
    pub kind: Kind,
    /// The key; it need not be among the batch's changes.
    pub key: Bytes,
    /// The change that wrote it last; `None`: the key must be absent.
    pub seq: Option<Seq>,
}

impl Expect {
    /// The key must be absent.
    pub fn absent(kind: Kind, key: impl Into<Bytes>) -> Self {
        Self {
            kind,
            key: key.into(),
            seq: None,
        }
    }

    /// The key must have been written last by the change at `seq`.
    pub fn at(kind: Kind, key: impl Into<Bytes>, seq: Seq) -> Self {
        Self {
            kind,
            key: key.into(),
            seq: Some(seq),
        }
    }
}

/// Who changed something, why and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who asked: an identity or `system`. At most [`WHO_BYTES_MAX`] bytes.
    pub who: String,
    /// What for. At most [`WHY_BYTES_MAX`] bytes.
    pub why: String,
    /// When the writer took it up.
    pub when: UnixTime,
}

impl Origin {
    /// Puts the three together.
    pub fn new(who: impl Into<String>, why: impl Into<String>, when: UnixTime) -> Self {
        Self {
            who: who.into(),
            why: why.into(),
            when,
        }
    }
}

/// Changes that are committed together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// 1..=[`BATCH_CHANGES_MAX`] changes; no key twice.
    pub changes: Vec<Change>,
    /// What must hold before; at most [`BATCH_EXPECTS_MAX`]. Keys not named here are written whatever they are.
    pub expect: Vec<Expect>,
    /// Who, why and when.
    pub origin: Origin,
}

impl Batch {
    /// An empty batch, to be filled.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self {
            changes: Vec::new(),
            expect: Vec::new(),
            origin,
        }
    }

    /// Adds a change.
    #[must_use]
    pub fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds a condition.
    #[must_use]
    pub fn expecting(mut self, expect: Expect) -> Self {
        self.expect.push(expect);
        self
    }

    /// The bytes that this batch adds to a log, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let one = |c: &Change| c.key.len().saturating_add(c.body.as_ref().map_or(0, Bytes::len));
        self.changes
            .iter()
            .fold(0_usize, |sum, change| sum.saturating_add(one(change)))
    }

    /// Checks every bound. Each backend calls it before anything else.
    ///
    /// # Errors
    /// [`CommitError::Invalid`] with the first bound that does not hold.
    pub fn check(&self) -> Result<(), CommitError> {
        self.check_bounds().map_err(CommitError::Invalid)
    }

    fn check_bounds(&self) -> Result<(), Invalid> {
        if self.changes.is_empty() {
            return Err(Invalid::Empty);
        }
        if self.changes.len() > BATCH_CHANGES_MAX {
            return Err(Invalid::Changes {
                count: self.changes.len(),
            });
        }
        if self.expect.len() > BATCH_EXPECTS_MAX {
            return Err(Invalid::Expects {
                count: self.expect.len(),
            });
        }
        if self.origin.who.len() > WHO_BYTES_MAX || self.origin.why.len() > WHY_BYTES_MAX {
            return Err(Invalid::Origin);
        }
        let keys = self.changes.iter().map(|c| &c.key);
        for key in keys.chain(self.expect.iter().map(|e| &e.key)) {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(Invalid::Key { bytes: key.len() });
            }
        }
        let mut seen = HashSet::with_capacity(self.changes.len());
        for change in &self.changes {
            let bytes = change.body.as_ref().map_or(0, Bytes::len);
            if bytes > BODY_BYTES_MAX {
                return Err(Invalid::Body { bytes });
            }
            if !seen.insert((change.kind, &change.key)) {
                return Err(Invalid::Twice { kind: change.kind });
            }
        }
        let bytes = self.bytes();
        if bytes > BATCH_BYTES_MAX {
            return Err(Invalid::Bytes { bytes });
        }
        Ok(())
    }
}

/// A reader's place in one log: it fits only the log that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The log's life; a restored or a new log has another.
    pub epoch: [u8; 16],
    /// The last change seen.
    pub seq: Seq,
    /// The chain hash after that change.
    pub chain: [u8; 32],
}

/// A batch that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The first change's place.
    pub first: Seq,
    /// The last change's place.
    pub last: Seq,
    /// The reader's place after it.
    pub cursor: Cursor,
}

/// A key with a body, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What `key` and `body` are.
    pub kind: Kind,
    /// The version of the body's form.
    pub schema: u16,
    /// As in [`Change::must_understand`].
    pub must_understand: bool,
    /// The key.
    pub key: Bytes,
    /// The change that wrote it.
    pub seq: Seq,
    /// The body.
    pub body: Bytes,
}

impl Row {
    /// The change that would write this row.
    #[must_use]
    pub fn to_change(&self) -> Change {
        self.clone().into_change()
    }

    /// The change that would write this row.
    #[must_use]
    pub fn into_change(self) -> Change {
        Change {
            kind: self.kind,
            schema: self.schema,
            must_understand: self.must_understand,
            key: self.key,
            body: Some(self.body),
        }
    }
}

/// All keys at one place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where to go on reading.
    pub cursor: Cursor,
    /// Every key that has a body, in no order.
    pub rows: Vec<Row>,
}

/// One change in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place.
    pub seq: Seq,
    /// The change.
    pub change: Change,
    /// How many changes of the same batch follow; 0 for the last.
    pub rest: u32,
    /// Who, why and when.
    pub origin: Origin,
    /// The chain hash after it; see [`crate::chain`].
    pub chain: [u8; 32],
}

/// What stands in the log after a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The changes that follow, dense and in order; none if the cursor is at the head. Never ends within a batch.
    Changes(Vec<LogEntry>),
    /// Some that follow are pruned: take a snapshot.
    Compacted,
    /// The cursor is of another log, or ahead of this one: drop all state and take a snapshot.
    Diverged,
}

/// Longest key, in bytes. Keys are ids and hashes.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most changes in a batch: the largest bulk load that is one transaction.
pub const BATCH_CHANGES_MAX: usize = 10_000;
/// Most conditions on a batch: one per change, and as many on other keys.
pub const BATCH_EXPECTS_MAX: usize = 2 * BATCH_CHANGES_MAX;
/// Most bytes of keys and bodies in a batch: what a reader must take at once.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest [`Origin::who`], in bytes: a SPIFFE ID fits.
pub const WHO_BYTES_MAX: usize = 2_048;
/// Longest [`Origin::why`], in bytes.
pub const WHY_BYTES_MAX: usize = 1_024;
/// Most changes that one call of `tail` returns, beyond the one batch that it always returns whole.
pub const TAIL_CHANGES_MAX: usize = 10_000;
