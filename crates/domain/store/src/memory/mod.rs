//! Both ports in memory: for tests, and for servers whose state may end with the process.
//!
//! A clone is another handle on the same store, which is how a test restarts a server and keeps its store.

mod journal;
mod log;

pub use journal::MemoryJournal;
pub use log::{LogCopy, MemoryLog};
