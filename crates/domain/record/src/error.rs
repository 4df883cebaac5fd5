use crate::RecordKind;
use signet_crypto::CryptoError;
use signet_fault::{Coded, Entry, remedy_of};
use signet_store::JournalError;
use std::borrow::Cow;

/// Why a credential was not released, or a record not read.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No random bits for a serial number.
    #[error("reserve a place in the record")]
    Random(#[source] CryptoError),
    /// The record lacks something without which nobody could find the credential. Our own fault.
    #[error("the record of a credential lacks its {field}")]
    Incomplete {
        /// What it lacks.
        field: &'static str,
    },
    /// The journal did not say that the record is durable. The credential is gone.
    #[error("record what was issued")]
    Journal(#[source] JournalError),
    /// A record of a later version, which must not be passed over.
    #[error("a record has kind {} in schema {schema}, which this version does not know", kind.0)]
    NotUnderstood {
        /// What it is.
        kind: RecordKind,
        /// In which form.
        schema: u16,
    },
    /// A record that does not decode.
    #[error("a record is malformed: {why}")]
    Malformed {
        /// What is wrong.
        why: String,
    },
}

impl Coded for RecordError {
    fn code(&self) -> &'static str {
        match self {
            Self::Random(_) => "SGRC001",
            Self::Incomplete { .. } => "SGRC002",
            Self::Journal(_) => "SGRC003",
            Self::NotUnderstood { .. } => "SGRC004",
            Self::Malformed { .. } => "SGRC005",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            // The journal knows better what to do about it.
            Self::Journal(cause) => cause.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGRC001",
        meaning: "the system gave no random bits",
        remedy: "restart the server; if it happens again, look at the kernel's log",
    },
    Entry {
        code: "SGRC002",
        meaning: "a credential's record is incomplete",
        remedy: "report this as a bug, with the text of the error",
    },
    Entry {
        code: "SGRC003",
        meaning: "nothing is issued because the record cannot be written",
        remedy: "free space on the disk that holds the journal, look at the server's log, and restart it",
    },
    Entry {
        code: "SGRC004",
        meaning: "the record holds something that this version does not know",
        remedy: "run the version that wrote it, or a later one",
    },
    Entry {
        code: "SGRC005",
        meaning: "a record does not decode",
        remedy: "stop writing, and keep a copy of the journal's directory",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_sound() {
        assert_eq!(signet_fault::flaws(&[REGISTER]), []);
    }
}
