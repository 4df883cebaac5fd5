//! The Signet server: puts the domain, the adapters and the surfaces together, and has no logic of its own.
//!
//! [`init`] makes a server's directory, [`Server::start`] runs it until its [`Handle`] is told to stop. Time comes
//! from the clock that is handed in.

mod backups;
mod config;
mod error;
mod handle;
mod health;
mod identity;
mod init;
mod machines;
mod reload;
mod restore;
mod start;
mod storage;
mod trust;
mod upkeep;
mod watched;
mod web;

pub use config::{Config, Machines, Storage, Web, WebFiles};
pub use error::{Cause, REGISTER, ServerError};
pub use handle::{Addresses, Handle};
pub use init::{InitOptions, InitSummary, init};
pub use reload::Reloader;
pub use restore::{RESTORE_FAILPOINTS, RestoreOptions, RestoreSummary, restore};
pub use signet_store::backup;
pub use start::Server;
