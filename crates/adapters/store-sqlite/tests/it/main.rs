//! The SQLite backend: the suites of every backend, and what only a file can get wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod altered;
mod conformance;
mod files;
mod import;
mod writer;

/// Failpoints are the whole process's: who arms one writes, everyone else reads.
static FAILPOINTS: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
