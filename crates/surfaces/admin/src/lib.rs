//! The administration API over HTTP: `/api/v1`, served on `api.sock`.
//!
//! [`router`] is built from one table, [`routes`], that states for each route its method, path and
//! [`Action`](signet_decision::Action). Every request takes the same way: who calls is found from what the kernel
//! says of the peer ([`Roles`]), the decision about exactly this action on exactly this thing is made, and only then
//! is a body read and the handler called, with the [`Caller`](signet_decision::Caller).
//!
//! * Every refusal is a problem document (RFC 9457) with a stable code; all faults of a request are reported at once,
//!   and a list with one bad line applies nothing.
//! * Every reply carries `x-request-id` (the caller's, if well-formed) and `x-signet-seq`, the change that the answer
//!   reflects. Entries carry an `ETag`; with `If-Match` a change is made only to what the caller has seen.
//! * What changes state is logged with who, what and the request's id, and is finished even if the caller goes away.
//!   A join token is in the one answer that carries it and nowhere else.
//!
//! Whoever is no operator learns nothing, not even which routes exist.
//!
//! No state and no rule about entries, nodes or keys lives here: those are the registry's and the key ring's.

mod around;
mod deps;
mod dispatch;
mod error;
mod handlers;
mod input;
mod metrics;
mod openapi;
mod operation;
mod operations;
mod page;
mod patterns;
mod refusal;
mod roles;
mod routes;
mod samples;
mod schemas;

pub use deps::{BackupStream, Deps, Health};
pub use error::{AdminError, REGISTER};
pub use input::{BODY_BYTES_MAX, BULK_BYTES_MAX};
pub use openapi::document;
pub use operation::{Answer, Body, Length, Media, Need, Operation, Parameter};
pub use roles::{LocalAdministrators, Roles};
pub use routes::{Route, router, routes};
