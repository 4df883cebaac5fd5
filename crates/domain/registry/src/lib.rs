//! Entries, nodes and join tokens: who may have which identity, and where.
//!
//! [`RegistryState`] is the fold of the change log over this crate's kinds of record. [`Registry`] holds the
//! log and the state that follows it: writes are commits, reads never touch the database, and a write returns once
//! the state shows it. What is written is checked first, and every problem of a draft is reported at once
//! ([`Problem`], with the field's name).
//!
//! * An entry says: a workload on this node (or any) that has these selectors may have this identity.
//! * A node proved itself and got an identity of its own, `spiffe://TD/signet/node/join/ID` unless its join token
//!   names another.
//! * A join token binds to the first public key that uses it, in one commit that two keys cannot both win. The same
//!   key may use it again until it expires, so an answer that got lost does no harm.
//!
//! * An entry's identity may be a template over facts. What facts of the node and of its processes give is decided here,
//!   when something is to be signed; the agent is not believed ([`Claims`]).
//!
//! No entry can hold an identity below `/signet/` or that of a registered node: a workload that got one could pass
//! for our own processes. Selectors are matched by the agent; the registry only says which entries a node may serve.

mod apply;
mod entry;
mod entry_id;
mod error;
mod expansion;
mod join_token;
mod joining;
mod ledger;
mod node;
mod orphans;
mod packed;
mod plan;
mod problem;
mod recent;
mod registry;
mod renewals;
mod state;
mod uses;
mod validate;

/// The records as they lie in the change log.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    clippy::allow_attributes,
    reason = "generated"
)]
mod records {
    include!("generated/signet.registry.v1.rs");
}

pub use apply::{Applied, EntryChanges, EntryDeletion, EntryUpdate};
pub use entry::{Entry, NewEntry};
pub use entry_id::EntryId;
pub use error::{EntryProblems, REGISTER, RegistryError};
pub use expansion::{ClaimError, Claims};
pub use join_token::{JoinToken, JoinTokenSecret, TokenId};
pub use joining::{JoinTokenWish, NODE_KEPT, NodeIssue};
pub use node::{Node, NodeSvid};
pub use orphans::{Orphan, OrphanReason, OrphanRule, OrphansFound};
pub use packed::{EntryFilter, Scanned};
pub use plan::{EntryPlan, PlannedUpdate};
pub use problem::Problem;
pub use recent::{PAST_MAX, PLACES_MAX, Recent, Touch};
pub use registry::Registry;
pub use renewals::{Mark, Renewals, Step};
pub use state::{ENTRY, ENTRY_USES, Entitlement, JOIN_TOKEN, KINDS, NODE, RegistryState, USE_WATCH};
pub use validate::limits;
