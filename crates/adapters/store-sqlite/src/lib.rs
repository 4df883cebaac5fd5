//! The change log on SQLite: one writer thread, group commit, full sync.
//!
//! [`SqliteLog`] implements [`signet_store::ChangeLog`] on one database file in WAL mode with `synchronous=FULL`. All
//! writes go through one thread that takes whatever has gathered, commits it in one transaction, and answers once that
//! is synced; reads use connections of their own and see only what is synced. A file belongs to one process at a time.
//!
//! After a failed sync nothing more is written until the process has restarted, because the kernel may have dropped what
//! it could not write; reads go on. A full disk refuses writes only while it is full.
//!
//! Each number in `migrations/` is applied once, in order, in one transaction; its checksum is kept, and a database
//! that was made by another text or by a later version is refused.

mod error;
mod files;
mod import;
mod log;
mod migrate;
mod reader;
mod slots;
mod sql;
mod sums;
mod writer;

pub use error::{REGISTER, SqliteError};
pub use import::{IMPORT_FAILPOINTS, import};
pub use log::{Options, SqliteLog};

/// The failpoints of this crate, in the order in which a first start, commits and pruning pass them.
pub const FAILPOINTS: &[&str] = &[
    "store-sqlite.open.locked",
    "store-sqlite.open.created",
    "store-sqlite.open.connected",
    "store-sqlite.migrate.begun",
    "store-sqlite.migrate.applied",
    "store-sqlite.migrate.committed",
    "store-sqlite.open.checkpointed",
    "store-sqlite.commit.begun",
    "store-sqlite.commit.change_written",
    "store-sqlite.commit.before_sync",
    "store-sqlite.commit.synced",
    "store-sqlite.commit.published",
    "store-sqlite.prune.begun",
    "store-sqlite.prune.before_sync",
    "store-sqlite.prune.synced",
];
