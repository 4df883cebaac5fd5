//! SPIFFE IDs, templates of them, trust domains and selectors.
//!
//! Covers SPIFFE-ID §2 (the form of an ID) and the selectors that Signet matches workloads by. What parses here is
//! in canonical form, so that equal means equal byte for byte: upper case in a scheme or trust domain is refused
//! (SPIFFE-ID §2.1 forbids it, §2.4 would compare it away; emitting and accepting one form leaves no room for
//! confusion). No I/O, no certificates, no tokens.
//!
//! ```
//! use signet_id::{SpiffeId, TrustDomain};
//! let id = SpiffeId::parse("spiffe://dev.test/billing/api")?;
//! assert_eq!(id.trust_domain(), &TrustDomain::parse("dev.test")?);
//! assert_eq!(id.path(), "/billing/api");
//! # Ok::<(), signet_id::IdError>(())
//! ```

mod fact;
mod selector;
mod spiffe_id;
mod template;
mod trust_domain;
pub mod unit_name;

pub use fact::{Fact, FactError};
pub use selector::{Selector, SelectorError};
pub use spiffe_id::SpiffeId;
pub use template::{ExpandError, IdPattern, IdTemplate, TemplateError, TemplateFact, Trust};
pub use trust_domain::TrustDomain;

use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;

/// Why an ID or a trust domain was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Does not begin with `spiffe://` in lower case (SPIFFE-ID §2).
    #[error("a SPIFFE ID begins with `spiffe://`")]
    Scheme,
    /// The trust domain is missing or longer than 255 bytes (SPIFFE-ID §2.1, §2.3).
    #[error("trust domain has {bytes} bytes, allowed are 1 to 255")]
    TrustDomainLength {
        /// Its length.
        bytes: usize,
    },
    /// The trust domain holds a byte outside `[a-z0-9._-]` (SPIFFE-ID §2.1).
    #[error("trust domain has `{}` at byte {offset}, allowed are a-z, 0-9, dot, dash and underscore", shown(*byte))]
    TrustDomainByte {
        /// Where, counted from the first byte of the trust domain.
        offset: usize,
        /// What stands there.
        byte: u8,
    },
    /// The path holds a byte outside `[A-Za-z0-9._-]` and `/` (SPIFFE-ID §2.2).
    #[error("path has `{}` at byte {offset}, allowed are letters, digits, dot, dash and underscore", shown(*byte))]
    PathByte {
        /// Where, counted from the path's first slash.
        offset: usize,
        /// What stands there.
        byte: u8,
    },
    /// A segment of the path is empty, `.` or `..`, or the path ends in a slash (SPIFFE-ID §2.2).
    #[error("path segment {index} is empty, `.` or `..`")]
    PathSegment {
        /// Which segment, counted from 0.
        index: usize,
    },
    /// Longer than 2,048 bytes (SPIFFE-ID §2.3).
    #[error("a SPIFFE ID has at most 2048 bytes, this one has {bytes}")]
    Length {
        /// Its length.
        bytes: usize,
    },
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGID001",
        meaning: "not a SPIFFE ID: scheme",
        remedy: "write it as spiffe://TRUST-DOMAIN/PATH",
    },
    Entry {
        code: "SGID002",
        meaning: "trust domain: length",
        remedy: "use a name of 1 to 255 bytes",
    },
    Entry {
        code: "SGID003",
        meaning: "trust domain: character",
        remedy: "use lower-case letters, digits, `.`, `-` and `_`, and no port or user",
    },
    Entry {
        code: "SGID004",
        meaning: "path: character",
        remedy: "use letters, digits, `.`, `-` and `_` in each segment; no %, ? or #",
    },
    Entry {
        code: "SGID005",
        meaning: "path: segment",
        remedy: "remove the double or trailing slash, `.` or `..`",
    },
    Entry {
        code: "SGID006",
        meaning: "SPIFFE ID: length",
        remedy: "shorten it to at most 2048 bytes",
    },
    Entry {
        code: "SGID007",
        meaning: "selector: form",
        remedy: "write it as TYPE:VALUE, such as unix:uid:1000",
    },
    Entry {
        code: "SGID008",
        meaning: "selector: length",
        remedy: "shorten it to at most 1024 bytes",
    },
    Entry {
        code: "SGID009",
        meaning: "template of identities: not valid",
        remedy: "write each fact as one whole segment, such as spiffe://dev.test/host/{node.id}/user/{unix.user}",
    },
    Entry {
        code: "SGID010",
        meaning: "template of identities: not with these facts",
        remedy: "choose a fact that every process of the entry has and whose value is one path segment",
    },
];

impl Coded for IdError {
    fn code(&self) -> &'static str {
        match self {
            Self::Scheme => "SGID001",
            Self::TrustDomainLength { .. } => "SGID002",
            Self::TrustDomainByte { .. } => "SGID003",
            Self::PathByte { .. } => "SGID004",
            Self::PathSegment { .. } => "SGID005",
            Self::Length { .. } => "SGID006",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// A byte as an error message shows it: itself if printable, else in hex.
fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() {
        char::from(byte).to_string()
    } else {
        format!("\\x{byte:02x}")
    }
}
