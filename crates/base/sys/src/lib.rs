//! What Signet asks of the kernel beyond the standard library: who is at the other end of a UNIX socket
//! ([`Peer`]), names of users and groups ([`names`]), and settings of the own process ([`process`]).
//!
//! Linux only. The one crate where `unsafe` may stand; each block says why it is sound.

mod error;
pub mod names;
mod peer;
mod proc;
pub mod process;

pub use error::{PeerChanged, REGISTER, SysError};
pub use peer::{Executable, Peer, PidfdSource};
