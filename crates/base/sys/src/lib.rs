//! What Signet asks of the kernel beyond the standard library: who is at the other end of a UNIX socket
//! ([`Peer`]), descriptors that go to another process ([`fds`]), names of users and groups ([`names`]), files that are
//! ours alone ([`files`]), settings of the own process ([`process`]), memory that it need not have ([`memory`]), and what a
//! process uses ([`usage`]).
//!
//! Linux only. The one crate where `unsafe` may stand; each block says why it is sound.

mod error;
pub mod fds;
pub mod files;
pub mod memory;
pub mod names;
mod peer;
mod proc;
pub mod process;
pub mod usage;

pub use error::{PeerChanged, REGISTER, SysError};
pub use peer::{Executable, Peer, PidfdSource, Readings};
