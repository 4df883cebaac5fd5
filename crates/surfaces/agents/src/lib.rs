//! The agent protocol, `signet.agent.v1`: attest, renew, stream, issue. A tonic service for port 8445.
//!
//! Who calls is what the TLS handshake proved ([`signet_tls::PeerIdentity`] in the request's extensions). A
//! connection that proved possession of a key and nothing else may call `Attest` and nothing else, and only with a
//! certificate request for that very key. Every other method needs the node's SVID: of a node that is registered, not
//! banned, and that did not prove itself anew since the SVID was issued.
//!
//! All that is decided in the [`Gate`], before a byte of a request is read, and what is let through is counted before
//! it is decoded ([`signet_feed::Screen`]).
//!
//! `Sync` sends what one node may know, at once, and then what changes for it; a banned node's stream ends. A change
//! wakes the streams of the nodes that it concerns and no others, and costs as much as the change is large. `Issue`
//! answers each wish for itself: entitled by the registry, checked by the authority, released by the
//! recorder; the nodes take turns, so that none of them keeps the others waiting. What is refused carries a stable code, in `ErrorInfo.reason` or in the item's own refusal.

mod agents;
mod alarm;
mod attest;
mod error;
mod gate;
mod issue;
mod metrics;
mod peer;
mod shares;
mod sync;
mod turns;
mod welcome;
mod x509pop;

pub use agents::{Agents, FeedPace, Parts, service};
pub use alarm::Alarm;
pub use error::{AgentsError, REGISTER};
pub use gate::Gate;
pub use metrics::Series;
pub use x509pop::{NodeTemplate, TemplateError, X509Pop};
