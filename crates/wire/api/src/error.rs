use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;

/// Why something written for the administration API was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Does not begin as a join string does.
    #[error("a join string begins with `sgjoin1.`, this begins with `{start}`")]
    JoinPrefix {
        /// The first bytes, at most eight.
        start: String,
    },
    /// Of a form that a later version made.
    #[error("join string of version `{version}`, this software reads version 1")]
    JoinVersion {
        /// What stands between `sgjoin` and the dot.
        version: String,
    },
    /// Cut off: what is there is right so far.
    #[error("join string is cut off after {bytes} bytes")]
    JoinTruncated {
        /// How many bytes there are.
        bytes: usize,
    },
    /// Holds a byte that base64url does not.
    #[error("join string has `{shown}` at byte {offset}, which base64url does not use")]
    JoinByte {
        /// Where, from the first byte of the join string.
        offset: usize,
        /// What stands there, made printable.
        shown: String,
    },
    /// Decodes to something else than a join document.
    #[error("join string does not hold what it should: {what}")]
    JoinContent {
        /// What is wrong with it.
        what: String,
    },
    /// Longer than any join string.
    #[error("join string has {bytes} bytes, at most {max} are read")]
    JoinLength {
        /// How many bytes there are.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGAP001",
        meaning: "join string: prefix",
        remedy: "pass the whole line that `signet node join-token create` printed",
    },
    Entry {
        code: "SGAP002",
        meaning: "join string: newer version",
        remedy: "update this software to at least the server's version",
    },
    Entry {
        code: "SGAP003",
        meaning: "join string: cut off",
        remedy: "copy it again, whole and on one line",
    },
    Entry {
        code: "SGAP004",
        meaning: "join string: foreign character",
        remedy: "copy it again, on one line and without quotes or spaces",
    },
    Entry {
        code: "SGAP005",
        meaning: "join string: content",
        remedy: "make a new one with `signet node join-token create`",
    },
    Entry {
        code: "SGAP006",
        meaning: "join string: length",
        remedy: "pass only the join string",
    },
];

impl Coded for ApiError {
    fn code(&self) -> &'static str {
        match self {
            Self::JoinPrefix { .. } => "SGAP001",
            Self::JoinVersion { .. } => "SGAP002",
            Self::JoinTruncated { .. } => "SGAP003",
            Self::JoinByte { .. } => "SGAP004",
            Self::JoinContent { .. } => "SGAP005",
            Self::JoinLength { .. } => "SGAP006",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}
