//! Listeners with guards and the outbound client.
//!
//! [`UnixServer`] and [`TcpServer`] open listeners and say clearly why one cannot be opened, and go on in
//! another process ([`UnixShare`], [`TcpShare`]). [`serve_unix`],
//! [`serve_tcp`] and [`serve_tls`] run hyper on them with bounds on everything a peer controls, put what is known
//! about the peer into each request's extensions, and drain: GOAWAY at once, work in flight finishes, the rest is
//! cut at a deadline. [`client`] is the other side: HTTP/1.1 for the command line, gRPC channels for agents.
//! No route, no message type and no decision lives here.

mod authority;
pub mod client;
mod error;
mod hand;
mod head;
mod limits;
mod places;
mod serve;
mod tcp;
mod unix;
mod wire;
mod work;

pub use error::{NetError, REGISTER};
pub use hand::{TcpShare, UnixShare};
pub use head::check_head;
pub use limits::{Limits, Protocol};
pub use serve::{ConnectionAge, Guest, Hangup, Member, RemoteAddr, serve_tcp, serve_tls, serve_unix};
pub use tcp::TcpServer;
pub use tokio_util::sync::CancellationToken;
pub use unix::{SOCKET_PATH_BYTES_MAX, UnixOptions, UnixServer};
