use crate::{ClaimError, EntryId, Problem};
use signet_crypto::CryptoError;
use signet_fault::{Coded, Entry as Code, remedy_of};
use signet_id::SpiffeId;
use signet_store::{CommitError, follow::FollowError};
use std::borrow::Cow;

/// What is wrong with one draft of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProblems {
    /// Which draft, counted from 0.
    pub index: usize,
    /// All its problems, in the order of the fields.
    pub problems: Vec<Problem>,
}

/// Why the registry did not do what was asked. Nothing was changed, unless the variant says otherwise.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Drafts with problems; every one of them is listed.
    #[error("{}", shown(.0))]
    InvalidEntries(Vec<EntryProblems>),
    /// A join token cannot be made so.
    #[error("join token: {}", list(.0))]
    InvalidJoinToken(Vec<Problem>),
    /// More in one commit than is allowed, or nothing at all.
    #[error("{given} entries in one call, allowed are 1 to {max}")]
    Count {
        /// How many were given.
        given: usize,
        /// How many may be.
        max: usize,
    },
    /// No such entry.
    #[error("no entry `{id}`")]
    EntryUnknown {
        /// Its name.
        id: EntryId,
    },
    /// The same identity for the same selectors on the same node exists.
    #[error("entry {index} says the same as entry `{existing}`: same identity, parent and selectors")]
    EntryExists {
        /// Which draft, counted from 0.
        index: usize,
        /// What exists.
        existing: EntryId,
    },
    /// Two drafts of one call say the same.
    #[error("entry {index} says the same as entry {first} of this call")]
    EntryTwice {
        /// Which draft, counted from 0.
        index: usize,
        /// The earlier one.
        first: usize,
    },
    /// An entry changed, or went, since the change that the caller planned from.
    #[error("entry `{id}` changed since the plan was made, nothing was applied")]
    EntryOutdated {
        /// Its name.
        id: EntryId,
    },
    /// An entry is to go as an orphan, and is none any more.
    #[error("entry `{id}` is not orphaned any more, nothing was applied")]
    EntryNeeded {
        /// Its name.
        id: EntryId,
    },
    /// One call updates or deletes an entry twice.
    #[error("entry `{id}` is named twice in one call")]
    EntryRepeated {
        /// Its name.
        id: EntryId,
    },
    /// The identity belongs to a node, or will once its join token is used.
    #[error("`{id}` is a node's identity")]
    IdentityOfNode {
        /// The identity.
        id: SpiffeId,
    },
    /// The identity belongs to an entry.
    #[error("`{id}` is the identity of an entry")]
    IdentityOfEntry {
        /// The identity.
        id: SpiffeId,
    },
    /// It changed since it was read.
    #[error("it changed meanwhile")]
    Changed,
    /// There are so many templates already.
    #[error("at most {max} entries are templates")]
    Templates {
        /// The bound.
        max: usize,
    },
    /// No such node.
    #[error("no node `{id}`")]
    NodeUnknown {
        /// Its identity.
        id: SpiffeId,
    },
    /// The node is banned.
    #[error("node `{id}` is banned")]
    NodeBanned {
        /// Its identity.
        id: SpiffeId,
    },
    /// No such node, or another key is its newest: which of the two is nobody's business who lacks the key.
    #[error("no node `{id}` with this key")]
    NodeKeyUnknown {
        /// The identity that was claimed.
        id: SpiffeId,
    },
    /// No such join token, or no longer: it expired, or the node that used it was evicted.
    #[error("join token is unknown: mistyped, or removed when it expired or its node was evicted")]
    JoinTokenUnknown,
    /// The join token's time is over.
    #[error("join token expired {late_s} s ago")]
    JoinTokenExpired {
        /// Seconds since then.
        late_s: u64,
    },
    /// The join token was used with another key first.
    #[error("join token is bound to another key")]
    JoinTokenBound,
    /// The reason for a ban is missing or too long.
    #[error("a reason of 1 to {max} bytes is needed")]
    Reason {
        /// The bound.
        max: usize,
    },
    /// Others kept changing the same records.
    #[error("gave up after {attempts} attempts: the same records kept changing")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The change log did not take the commit.
    #[error("commit")]
    Commit(#[source] CommitError),
    /// The commit was not answered, and the log does not show it: it may still land.
    #[error("whether it was done is not known")]
    Unknown(#[source] CommitError),
    /// The log could not be read. Where this answers a change, that change may have been made.
    #[error("read the registry")]
    Follow(#[source] FollowError),
    /// No randomness.
    #[error("make random bits")]
    Crypto(#[source] CryptoError),
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn shown(entries: &[EntryProblems]) -> String {
    match entries {
        [one] => list(&one.problems),
        many => many
            .iter()
            .take(8)
            .map(|e| format!("entry {}: {}", e.index, list(&e.problems)))
            .chain((many.len() > 8).then(|| format!("and {} more", many.len() - 8)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

macro_rules! register {
    ($($code:literal $meaning:literal $remedy:literal)*) => {
        /// The codes of this crate.
        pub const REGISTER: &[Code] = &[$(Code { code: $code, meaning: $meaning, remedy: $remedy }),*];
    };
}

register! {
    "SGRG001" "entry: not valid" "mend the fields named; nothing was applied"
    "SGRG002" "entries: count" "send between 1 and 10000 entries in one call"
    "SGRG003" "entry: unknown" "list the entries with `signet entry list`"
    "SGRG004" "entry: exists already" "update the existing entry instead"
    "SGRG005" "identity: a node's" "choose another SPIFFE ID: a workload may not pass for a node"
    "SGRG006" "identity: an entry's" "choose another SPIFFE ID for the node"
    "SGRG007" "changed meanwhile" "read it again and repeat the change"
    "SGRG008" "node: unknown" "list the nodes with `signet node list`"
    "SGRG009" "node: banned" "the node stays out until an administrator evicts its record"
    "SGRG010" "join token: unknown" "make a new one with `signet node join-token create`"
    "SGRG011" "join token: expired" "make a new one with `signet node join-token create`"
    "SGRG012" "join token: bound to another key" "make a token for each node; if nobody else should have had this one, ban the node that used it"
    "SGRG013" "join token: not valid" "mend the fields named"
    "SGRG014" "ban: reason" "say in --reason why the node is banned"
    "SGRG015" "contended" "repeat the call"
    "SGRG016" "commit not taken" "nothing was changed; see the server's health and repeat the call"
    "SGRG017" "commit: outcome unknown" "look whether the change is there before repeating it"
    "SGRG018" "change log not readable" "see the server's health; look whether the change is there before repeating it"
    "SGRG019" "randomness" "see the server's log"
    "SGRG020" "node: unknown, or by another key" "join the node with a new join string; a node is forgotten when it is evicted, or 30 days after its last svid ended"
    "SGRG021" "entry: changed since the plan" "plan again and look at what differs now"
    "SGRG022" "entry: named twice" "name each entry once among the updates and deletions of one call"
    "SGRG023" "entries: too many templates" "put together templates that differ in their selectors alone, or write the identities out"
    "SGRG024" "agent: facts or identity that the entry does not give" "just after the entry was changed, its node has not heard of it yet: nothing to do; else look at it with `signet entry show`: an agent that asks so by itself is defective or hostile"
    "SGRG025" "entry: not orphaned any more" "list the orphaned entries again: something was signed for this one since, or its node is back"
}

impl Coded for RegistryError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidEntries(_) => "SGRG001",
            Self::Count { .. } => "SGRG002",
            Self::EntryUnknown { .. } => "SGRG003",
            Self::EntryExists { .. } | Self::EntryTwice { .. } => "SGRG004",
            Self::IdentityOfNode { .. } => "SGRG005",
            Self::IdentityOfEntry { .. } => "SGRG006",
            Self::Changed => "SGRG007",
            Self::NodeUnknown { .. } => "SGRG008",
            Self::NodeBanned { .. } => "SGRG009",
            Self::JoinTokenUnknown => "SGRG010",
            Self::JoinTokenExpired { .. } => "SGRG011",
            Self::JoinTokenBound => "SGRG012",
            Self::InvalidJoinToken(_) => "SGRG013",
            Self::Reason { .. } => "SGRG014",
            Self::Contended { .. } => "SGRG015",
            Self::Commit(_) => "SGRG016",
            Self::Unknown(_) => "SGRG017",
            Self::Follow(_) => "SGRG018",
            Self::Crypto(_) => "SGRG019",
            Self::NodeKeyUnknown { .. } => "SGRG020",
            Self::EntryOutdated { .. } => "SGRG021",
            Self::EntryRepeated { .. } => "SGRG022",
            Self::Templates { .. } => "SGRG023",
            Self::EntryNeeded { .. } => "SGRG025",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

impl Coded for ClaimError {
    fn code(&self) -> &'static str {
        "SGRG024"
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}
