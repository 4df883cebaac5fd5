//! Administration request and reply types, shared by server and command line.
//!
//! The JSON of `/api/v1`: [`EntryDoc`] and its strict reader, nodes, join tokens, the authorities, health, lists,
//! and [`Problem`] (RFC 9457). [`JoinString`] is what a person carries from the server to a new node. Nothing here
//! decides or does I/O; what an entry may say beyond its form is the registry's to check.
//!
//! ```
//! let lines = "{\"spiffe_id\":\"spiffe://dev.test/a\",\"selectors\":[\"unix:uid:1000\"]}\n";
//! let entries = signet_api::read_entry_lines(lines).all_or_faults().expect("one good line");
//! assert_eq!(entries[0].line, 1);
//! ```

mod entry;
mod entry_text;
mod error;
mod join;
mod mint;
mod plan;
mod problem;
mod span;
mod views;

pub use entry::EntryDoc;
pub use entry_text::{
    ENTRIES_MAX, ENTRY_BYTES_MAX, EntryFault, PlacedEntry, ReadEntries, parse_entry, read_entry_array,
    read_entry_lines,
};
pub use error::{ApiError, REGISTER};
pub use join::JoinString;
pub use mint::{MintJwtReply, MintJwtRequest, MintWitReply, MintWitRequest, MintX509Reply, MintX509Request};
pub use plan::{
    ApplyDelete, ApplyRequest, ApplyUpdate, EntriesApplied, EntryPlanView, MemberChange, PlannedCreate,
    PlannedDelete, PlannedNothing, PlannedUpdate,
};
pub use problem::{PROBLEM_JSON, Problem, ProblemItem};
pub use views::{
    AuthorityView, BanRequest, BundleView, CaView, EntriesCreated, HealthView, JoinTokenReply,
    JoinTokenRequest, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, NodeView, ORPHAN_DAYS_DEFAULT, ORPHAN_DAYS_MAX,
    OrphanView, OrphansView, Page, ServerView,
};
