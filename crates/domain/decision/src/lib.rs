//! Requests, decisions and their reasons.
//!
//! A [`Request`] says who wants to do what to which thing; something that can [`Decide`] answers with a
//! [`Decision`]: a value with a verdict, the policies that determined it, the reasons, the errors met on the way and
//! what would have allowed it. It is never a `bool` and cannot be made without a request, so a decision about one
//! thing does not serve for another: whoever acts on it asks [`Decision::permit`] and compares what was decided.
//!
//! The rules of combination are fixed (`design.md` §6): nothing is allowed by default, one policy that forbids
//! outweighs any number that permit, and an error in a policy that applies denies. The peer learns a code; the
//! operator reads everything.
//!
//! No I/O, no clock, no policy language: those engines implement [`Policy`] elsewhere.
//!
//! ```
//! use signet_decision::{Action, Caller, Principal, Resource, Role, Verdict};
//! let auditor = Caller::new(Principal::Local { uid: 1000 }, [Role::Auditor]);
//! let reads = auditor.may(Action::read("entry.list"), Resource::all("entry"));
//! let changes = auditor.may(Action::change("entry.create"), Resource::all("entry"));
//! assert_eq!((reads.verdict(), changes.verdict()), (Verdict::Allow, Verdict::Deny));
//! ```

mod caller;
mod decision;
mod policy;
mod request;

pub use caller::{Caller, Role};
pub use decision::{Decision, Denied, Permit, Reason, Verdict};
pub use policy::{Decide, Effect, Policy, PolicyError, PolicySet};
pub use request::{Action, ActionClass, Principal, Request, Resource};

use signet_fault::Entry;

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGDE001",
        meaning: "denied: no policy allows it",
        remedy: "ask an administrator for the role or entry that allows it",
    },
    Entry {
        code: "SGDE002",
        meaning: "denied: a policy forbids it",
        remedy: "see the decision's reasons in the server's log",
    },
    Entry {
        code: "SGDE003",
        meaning: "denied: a policy that applies failed",
        remedy: "have the operator mend the policy named in the server's log",
    },
    Entry {
        code: "SGDE004",
        meaning: "a decision about something else was offered",
        remedy: "this is a defect in the server: report it",
    },
];
