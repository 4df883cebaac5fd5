use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{IdError, SelectorError, TemplateError, TrustDomain};
use signet_jose::JoseError;
use signet_trust::TrustError;
use signet_x509::X509Error;
use std::borrow::Cow;

/// Why a message of the other side was refused.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The other side speaks a protocol that this software does not.
    #[error(
        "the other side speaks protocol {theirs} (software `{software}`), this side speaks {}",
        window(*oldest, *newest)
    )]
    Protocol {
        /// Theirs.
        theirs: u32,
        /// Our oldest.
        oldest: u32,
        /// Our newest.
        newest: u32,
        /// What they call their software.
        software: String,
    },
    /// Something came before the first message, or the first message came twice.
    #[error("message out of order: {what}")]
    Order {
        /// What came when it should not.
        what: &'static str,
    },
    /// More or longer than is taken.
    #[error("{what}: {count}, at most {max} are taken")]
    Bound {
        /// Of what.
        what: &'static str,
        /// How many or how long.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A member is missing or has the wrong form.
    #[error("{what} is missing or malformed")]
    Malformed {
        /// Which.
        what: &'static str,
    },
    /// A SPIFFE ID or trust domain is not one.
    #[error("read {what}")]
    Id {
        /// Which.
        what: &'static str,
        /// Why not.
        #[source]
        source: IdError,
    },
    /// A template of identities is not one.
    #[error("read an entry's template")]
    Template(#[source] TemplateError),
    /// A selector is not one.
    #[error("read a selector")]
    Selector(#[source] SelectorError),
    /// A certificate of an authority is not one.
    #[error("read an authority's certificate of `{trust_domain}`")]
    Certificate {
        /// Whose.
        trust_domain: TrustDomain,
        /// Why not.
        #[source]
        source: X509Error,
    },
    /// A certificate that is no authority's.
    #[error("a certificate in the bundle of `{trust_domain}` is not an authority's")]
    NotAnAuthority {
        /// Whose.
        trust_domain: TrustDomain,
    },
    /// A key for tokens is not one.
    #[error("read a key of `{trust_domain}`")]
    Key {
        /// Whose.
        trust_domain: TrustDomain,
        /// Why not.
        #[source]
        source: JoseError,
    },
    /// The bundle as a whole cannot stand.
    #[error("put the bundle together")]
    Bundle(#[source] TrustError),
    /// The bundle of the own domain is missing, or another one claims its place.
    #[error("the snapshot has no single bundle of `{own}`")]
    OwnBundle {
        /// The own domain.
        own: TrustDomain,
    },
    /// An entry for an identity that no workload may have.
    #[error("the snapshot has an entry for `{id}`, which no workload of `{own}` may have")]
    EntryIdentity {
        /// The identity.
        id: String,
        /// The own domain.
        own: TrustDomain,
    },
    /// What changed since another place than the one that is held.
    #[error("news from place {from} on of the change log, {}", holding(*held))]
    Place {
        /// From where on.
        from: u64,
        /// What is held; `None` for nothing.
        held: Option<u64>,
    },
    /// Something goes that is not there.
    #[error("{what} is to go that is not there")]
    Unknown {
        /// What.
        what: &'static str,
    },
    /// A snapshot is not what the other side says that it is.
    #[error("the snapshot has {held} entries and another digest than the server's, which has {told}")]
    Digest {
        /// How many came.
        held: u64,
        /// How many were sent.
        told: u64,
    },
    /// Two of something that there may be one of.
    #[error("{what} stands twice")]
    Twice {
        /// What.
        what: &'static str,
    },
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

const REPORT: &str =
    "this is a defect of the other side's software: update it, or report it with both versions";

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGFE001",
        "feed: other protocol",
        "update the older side; servers first, then agents",
    ),
    entry("SGFE002", "feed: message out of order", REPORT),
    entry(
        "SGFE003",
        "feed: too much",
        "spread the entries over more nodes, or use fewer and larger ones",
    ),
    entry("SGFE004", "feed: malformed member", REPORT),
    entry("SGFE005", "feed: malformed identity", REPORT),
    entry("SGFE006", "feed: malformed selector", REPORT),
    entry("SGFE007", "feed: malformed certificate", REPORT),
    entry("SGFE008", "feed: not an authority's certificate", REPORT),
    entry("SGFE009", "feed: malformed key", REPORT),
    entry("SGFE010", "feed: bundle cannot stand", REPORT),
    entry("SGFE011", "feed: own bundle missing", REPORT),
    entry("SGFE012", "feed: forbidden identity", REPORT),
    entry("SGFE013", "feed: duplicate", REPORT),
    entry("SGFE014", "feed: news from another place", REPORT),
    entry("SGFE015", "feed: unknown thing removed", REPORT),
    entry("SGFE016", "feed: digest differs", REPORT),
    entry("SGFE017", "feed: malformed template", REPORT),
];

impl Coded for FeedError {
    fn code(&self) -> &'static str {
        match self {
            Self::Protocol { .. } => "SGFE001",
            Self::Order { .. } => "SGFE002",
            Self::Bound { .. } => "SGFE003",
            Self::Malformed { .. } => "SGFE004",
            Self::Id { .. } => "SGFE005",
            Self::Selector(_) => "SGFE006",
            Self::Template(_) => "SGFE017",
            Self::Certificate { .. } => "SGFE007",
            Self::NotAnAuthority { .. } => "SGFE008",
            Self::Key { .. } => "SGFE009",
            Self::Bundle(_) => "SGFE010",
            Self::OwnBundle { .. } => "SGFE011",
            Self::EntryIdentity { .. } => "SGFE012",
            Self::Twice { .. } => "SGFE013",
            Self::Place { .. } => "SGFE014",
            Self::Unknown { .. } => "SGFE015",
            Self::Digest { .. } => "SGFE016",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

fn window(oldest: u32, newest: u32) -> String {
    if oldest == newest {
        newest.to_string()
    } else {
        format!("{oldest} to {newest}")
    }
}

fn holding(held: Option<u64>) -> String {
    held.map_or_else(
        || "while nothing is held".to_owned(),
        |seq| format!("while the state of place {seq} is held"),
    )
}

/// Checks a count against its bound.
pub(crate) fn bounded(what: &'static str, count: usize, max: usize) -> Result<(), FeedError> {
    if count > max {
        return Err(FeedError::Bound { what, count, max });
    }
    Ok(())
}
