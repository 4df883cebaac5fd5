//! The agent protocol, `signet.agent.v1`: attest, renew, stream, issue. A tonic service for port 8445.
//!
//! Who calls is what the TLS handshake proved ([`signet_tls::PeerIdentity`] in the request's extensions). A
//! connection that proved possession of a key and nothing else may call `Attest` and nothing else, and only with a
//! certificate request for that very key. Every other method needs the node's SVID: of a node that is registered, not
//! banned, and that did not prove itself anew since the SVID was issued.
//!
//! `Sync` sends what one node may know, at once and again on each change that concerns it; a banned node's stream
//! ends. `Issue` answers each wish for itself: entitled by the registry, checked by the authority, released by the
//! recorder. What is refused carries a stable code, in `ErrorInfo.reason` or in the item's own refusal.

mod agents;
mod attest;
mod error;
mod issue;
mod metrics;
mod peer;
mod sync;
mod x509pop;

pub use agents::{Agents, Parts, service};
pub use error::{AgentsError, REGISTER};
pub use metrics::Series;
pub use x509pop::{NodeTemplate, TemplateError, X509Pop};

/// The longest message from an agent, in bytes: 256 certificate requests of 16 KiB.
pub const REQUEST_BYTES_MAX: usize = 5 << 20;

/// The most wishes in one `Issue`.
pub const ISSUE_ITEMS_MAX: usize = 256;
