use crate::{
    BATCH_BYTES_MAX, BATCH_CHANGES_MAX, BATCH_EXPECTS_MAX, BODY_BYTES_MAX, Index, KEY_BYTES_MAX, Kind,
    RECORD_BYTES_MAX, Seq, WHO_BYTES_MAX, WHY_BYTES_MAX,
};
use bytes::Bytes;
use core::fmt;
use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::sync::Arc;

/// A backend's own error. Many callers of one group commit share it.
#[derive(Clone)]
pub struct Cause(Arc<dyn Coded + Send + Sync>);

impl Cause {
    /// Keeps `error` with its code.
    pub fn new(error: impl Coded + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The error's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code()
    }

    /// The next step that the part which failed gives.
    #[must_use]
    pub fn remedy(&self) -> Cow<'static, str> {
        self.0.remedy()
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Which bound a batch does not meet. The caller's fault; nothing was written.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is nothing to commit.
    #[error("the batch has no changes")]
    Empty,
    /// More changes than [`BATCH_CHANGES_MAX`].
    #[error("the batch has {count} changes, more than {BATCH_CHANGES_MAX}")]
    Changes {
        /// How many it has.
        count: usize,
    },
    /// More conditions than [`BATCH_EXPECTS_MAX`].
    #[error("the batch has {count} conditions, more than {BATCH_EXPECTS_MAX}")]
    Expects {
        /// How many it has.
        count: usize,
    },
    /// More bytes than [`BATCH_BYTES_MAX`].
    #[error("the batch has {bytes} bytes, more than {BATCH_BYTES_MAX}")]
    Bytes {
        /// How many it has.
        bytes: usize,
    },
    /// A key of no or too many bytes.
    #[error("a key has {bytes} bytes, not 1 to {KEY_BYTES_MAX}")]
    Key {
        /// How many it has.
        bytes: usize,
    },
    /// A body of too many bytes.
    #[error("a body has {bytes} bytes, more than {BODY_BYTES_MAX}")]
    Body {
        /// How many it has.
        bytes: usize,
    },
    /// The same key is changed twice.
    #[error("the batch changes one key of kind {kind} twice")]
    Twice {
        /// The key's kind.
        kind: Kind,
    },
    /// Who or why is too long.
    #[error("the origin is longer than {WHO_BYTES_MAX} bytes of who or {WHY_BYTES_MAX} bytes of why")]
    Origin,
}

/// Why a batch was not acknowledged.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A key is not as expected. Read again and decide anew.
    #[error("a key of kind {kind} was changed by another writer")]
    Conflict {
        /// The key's kind.
        kind: Kind,
        /// The key.
        key: Bytes,
        /// The change that wrote it last; `None` if it is absent.
        found: Option<Seq>,
    },
    /// A bound does not hold.
    #[error("refuse batch")]
    Invalid(#[source] Invalid),
    /// Certainly not applied; the caller may try again.
    #[error("the change was not written")]
    Unavailable(#[source] Cause),
    /// It may have landed, or may yet: read before trying again.
    #[error("whether the change was written is not known")]
    Unknown(#[source] Cause),
}

impl Coded for CommitError {
    fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "SGST001",
            Self::Invalid(_) => "SGST002",
            Self::Unavailable(cause) | Self::Unknown(cause) => cause.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable(cause) | Self::Unknown(cause) => cause.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

/// Why state could not be read or pruned.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend failed.
    #[error("read or prune the change log")]
    Unavailable(#[source] Cause),
}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(cause) => cause.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable(cause) => cause.remedy(),
        }
    }
}

/// Why a record was not written or not read.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// A record of no or too many bytes. Nothing was written.
    #[error("a journal record has {bytes} bytes, not 1 to {RECORD_BYTES_MAX}")]
    Length {
        /// How many it has.
        bytes: usize,
    },
    /// The records asked for are pruned.
    #[error("journal records before {oldest} are pruned")]
    Pruned {
        /// The oldest that is left.
        oldest: Index,
    },
    /// Certainly not written, or not readable.
    #[error("the journal is not available")]
    Unavailable(#[source] Cause),
    /// It may have been written: whatever depends on the record must not be released.
    #[error("whether the record was written is not known")]
    Unknown(#[source] Cause),
}

impl Coded for JournalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "SGST003",
            Self::Pruned { .. } => "SGST004",
            Self::Unavailable(cause) | Self::Unknown(cause) => cause.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Unavailable(cause) | Self::Unknown(cause) => cause.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

/// Why a change could not be folded into state. The reader is not ready until it can.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The kind or its schema is newer than this program, and must be understood.
    #[error("change {seq} has kind {kind} in schema {schema}, which this version does not know")]
    NotUnderstood {
        /// The change's place.
        seq: Seq,
        /// Its kind.
        kind: Kind,
        /// Its schema.
        schema: u16,
    },
    /// The chain hash of the change is not that of the log so far: the log was altered where it is kept.
    #[error("change {seq} does not follow from what was read before it: the log was altered")]
    Altered {
        /// The change's place.
        seq: Seq,
    },
    /// The body does not decode, or breaks a rule of its kind.
    #[error("change {seq} of kind {kind} is malformed: {why}")]
    Malformed {
        /// The change's place.
        seq: Seq,
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        why: String,
    },
}

impl Coded for FoldError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotUnderstood { .. } => "SGST005",
            Self::Malformed { .. } => "SGST006",
            Self::Altered { .. } => "SGST008",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// What a fake does instead of working; see [`crate::faulty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fault that was asked for")]
pub struct Injected;

impl Coded for Injected {
    fn code(&self) -> &'static str {
        "SGST007"
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGST001",
        meaning: "a change lost against another writer",
        remedy: "read the object again and repeat the change",
    },
    Entry {
        code: "SGST002",
        meaning: "a batch of changes is outside a bound",
        remedy: "split the request into smaller ones",
    },
    Entry {
        code: "SGST003",
        meaning: "a journal record is empty or too long",
        remedy: "shorten what the request carries, such as its names or audiences",
    },
    Entry {
        code: "SGST004",
        meaning: "the journal records asked for are pruned",
        remedy: "start from the oldest record that is left",
    },
    Entry {
        code: "SGST005",
        meaning: "the log holds a change that this version does not know",
        remedy: "run the version that wrote it, or a later one",
    },
    Entry {
        code: "SGST006",
        meaning: "a change in the log does not decode",
        remedy: "stop writing, keep a copy of the data directory and restore the last backup",
    },
    Entry {
        code: "SGST007",
        meaning: "a test asked for this fault",
        remedy: "none outside tests",
    },
    Entry {
        code: "SGST008",
        meaning: "the change log was altered where it is kept",
        remedy: "stop writing, keep a copy of the data directory, find out who wrote to it, and restore the last backup",
    },
    Entry {
        code: "SGST009",
        meaning: "backup: another file",
        remedy: "name a file that `signet server backup` wrote",
    },
    Entry {
        code: "SGST010",
        meaning: "backup: of a later version",
        remedy: "restore it with the version that wrote it, or a later one",
    },
    Entry {
        code: "SGST011",
        meaning: "backup: cut off or changed",
        remedy: "copy it again from where it is kept, or use another backup",
    },
    Entry {
        code: "SGST012",
        meaning: "backup: does not fit together",
        remedy: "use another backup, and find out who wrote this one",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_sound_and_every_code_is_in_it() {
        assert_eq!(signet_fault::flaws(&[REGISTER]), []);
        let cause = Cause::new(Injected);
        let codes = [
            CommitError::Conflict {
                kind: Kind(1),
                key: Bytes::new(),
                found: None,
            }
            .code(),
            CommitError::Invalid(Invalid::Empty).code(),
            CommitError::Unknown(cause.clone()).code(),
            JournalError::Length { bytes: 0 }.code(),
            JournalError::Pruned { oldest: Index(1) }.code(),
            StoreError::Unavailable(cause).code(),
            FoldError::NotUnderstood {
                seq: Seq(1),
                kind: Kind(1),
                schema: 1,
            }
            .code(),
            FoldError::Malformed {
                seq: Seq(1),
                kind: Kind(1),
                why: String::new(),
            }
            .code(),
            FoldError::Altered { seq: Seq(1) }.code(),
        ];
        for code in codes {
            assert_ne!(remedy_of(REGISTER, code), "", "{code}");
        }
    }
}
