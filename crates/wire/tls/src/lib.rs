//! TLS between processes that have SPIFFE identities.
//!
//! [`ServerTls`] and [`ClientTls`] make rustls configurations: TLS 1.3 only, X25519MLKEM768 first, no resumption and
//! no early data, the provider and the clock handed in and never a process-wide default. Both show a
//! [`LiveIdentity`], which is replaced while they are in use, and verify by the [`TrustView`](signet_trust::TrustView)
//! of the moment. [`peer_identity`] says who is at the other end.
//!
//! Two exceptions, each with its own name: [`ClientPolicy::SpiffeOrProof`] also takes a self-signed certificate, as
//! proof of possession of a key and never as identity; [`ClientTls::pinned_join`] takes a server whose root is known
//! by its hash alone.
//!
//! [`WebTls`] is the public port, for clients that have no identity and may be old: TLS 1.2 beside 1.3, no client
//! certificate. Whom the web trusts is for its clients to say; certificates of the web are never verified here.
//!
//! Covers X509-SVID §5 through `signet-check`, RFC 8446. Sockets and streams are `signet-net`'s.

mod config;
mod error;
mod identity;
mod peer;
mod provider;
mod verify;
mod web;

pub use config::{ClientPolicy, ClientTls, ServerTls};
pub use error::{REGISTER, TlsError, cause};
pub use identity::LiveIdentity;
pub use peer::{PeerIdentity, PeerRule, SERVER_PREFIX, channel_binding, peer_identity};
pub use web::{SpiffeName, WebTls};
