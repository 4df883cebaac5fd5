//! The administration API, `/api/v1`, as a service for HTTP/1.1 on the administrators' socket.
//!
//! One table, [`ROUTES`], names each route, the action it stands for and its handler. What comes before a handler is
//! the same for all: a request id, who calls ([`Identify`]), whether they may ([`signet_decision::Caller`]), a bounded
//! body. Whoever is no operator learns nothing, not even which routes exist. Failures are problem documents
//! (RFC 9457) with a stable code; every answer carries `x-request-id` and `x-signet-seq`.
//!
//! Entries and nodes are the registry's, keys the key ring's: nothing is decided here but who may ask.

mod answer;
mod callers;
mod error;
mod page;
mod pipeline;
mod routes;
mod table;

pub use callers::{Identify, PeerAdministrators};
pub use error::{AdminError, REGISTER};
pub use pipeline::router;
pub use table::{ROUTES, Route};

use signet_api::HealthView;
use signet_keys::Keys;
use signet_registry::Registry;
use signet_time::SharedClock;
use std::sync::Arc;

/// What the administration API works on.
pub struct Admin {
    /// Entries, nodes, join tokens.
    pub registry: Arc<Registry>,
    /// The keys of the trust domain.
    pub keys: Arc<Keys>,
    /// The time.
    pub clock: SharedClock,
    /// Who calls.
    pub identify: Arc<dyn Identify>,
    /// Where join strings send agents, `HOST:PORT`, best first.
    pub servers: Vec<String>,
    /// How the server is.
    pub health: Arc<dyn Fn() -> HealthView + Send + Sync>,
}
