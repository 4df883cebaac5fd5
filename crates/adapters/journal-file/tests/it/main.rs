//! The journal in files: the suite of every backend, and what only files can get wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod conformance;
mod directory;
mod recovery;
mod writer;

use signet_journal_file::{FileJournal, JournalFileError, Options, SEGMENT_BYTES_MIN};
use std::path::Path;

/// Failpoints are the whole process's: who arms one writes, everyone else reads.
static FAILPOINTS: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// Opens a journal with the smallest segments.
fn open(path: &Path) -> Result<FileJournal, JournalFileError> {
    let options = Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        first_segment_bytes: SEGMENT_BYTES_MIN,
    };
    FileJournal::open_with(path, &options)
}

/// The file of a segment.
fn segment(path: &Path, number: u32) -> std::path::PathBuf {
    path.join(format!("{number:010}.segment"))
}
