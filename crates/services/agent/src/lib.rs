//! The Signet agent: one per node, attests callers and serves the SPIFFE Workload API.
//!
//! * [`attest`]: who calls, found by looking at the process.
//! * [`Issuer`] and [`signet_feed::NodeState`]: what the agent works from. [`Engine`] takes any; [`Agent`] brings the
//!   ones that speak to a server.
//! * `signet.local.v1` on a UNIX socket beside it: why a process has an identity, or none.
//! * The Workload API on a UNIX socket: all seven methods, for X.509-SVIDs, JWT-SVIDs and WIT-SVIDs (SPIFFE
//!   Workload API §5 to §7, the last incubating), Envoy's secret discovery service, and server reflection.
//!
//! Keys of workloads are made here and stay in memory. The node's own key is the only one that is written, to a
//! file that nobody else may read, if a state directory is given.

mod agent;
pub mod attest;
mod engine;
mod error;
mod handover;
mod health;
mod identity;
mod issuer;
mod link;
mod local;
pub mod metrics;
mod reload;
mod sds;
mod settings;
mod sockets;
mod upstream;
mod workload;

pub use agent::{Agent, Handle, Launch};
pub use engine::{Engine, EngineParts, SOCKET_MODE};
pub use error::{AgentError, REGISTER};
pub use health::Health;
pub use issuer::{IssueError, IssueFuture, Issuer};
pub use link::{Link, LinkState};
pub use reload::{Live, Reloader};
pub use sds::{Rehearsal, Scene, SdsSettings};
pub use settings::{
    AgentSettings, AttestorSettings, LimitSettings, LocalApiSettings, METRICS_PORT, Pace, SocketSettings,
    SvidKey, SvidSettings, UnixSettings, X509PopSettings, local_socket_beside,
};
