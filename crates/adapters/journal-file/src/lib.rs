//! The journal in preallocated segment files with group commit.
//!
//! [`FileJournal`] implements [`signet_store::Journal`] in a directory of its own. One writer thread frames whatever has
//! gathered, writes it with one call and answers once that is synced; a second thread prepares the next segment and
//! prunes. Segments are filled with zeros and synced before use, so that a full disk is met while preparing and not while
//! appending, and so that an append's sync writes no metadata.
//!
//! Each frame carries its length, a CRC-32 keyed by its segment, the segment's number, its own index and how many
//! frames of the same flush stand before it. A start reads the newest segment: what a crash tore is cut off, while a
//! frame that was synced and is damaged is found by the flushes after it, and refused. Older segments are checked where
//! they are read. What a start finds is synced again before anyone sees it, because a killed process may have left it
//! only in the kernel's memory.
//!
//! After a failed write or sync nothing more is appended until the process has restarted. A directory belongs to one
//! process at a time.

mod directory;
mod error;
mod frame;
mod journal;
mod keeper;
mod reader;
mod recover;
mod segment;
mod writer;

pub use error::{JournalFileError, REGISTER};
pub use journal::{FileJournal, Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// The failpoints of this crate, in the order in which a first start, appends, rotation and pruning pass them.
pub const FAILPOINTS: &[&str] = &[
    "journal-file.open.directory_created",
    "journal-file.open.locked",
    "journal-file.prepare.created",
    "journal-file.prepare.filled",
    "journal-file.prepare.synced",
    "journal-file.prepare.renamed",
    "journal-file.prepare.dir_synced",
    "journal-file.rotate.begun",
    "journal-file.rotate.activated",
    "journal-file.recover.scanned",
    "journal-file.recover.rewritten",
    "journal-file.recover.synced",
    "journal-file.append.framed",
    "journal-file.append.written",
    "journal-file.append.synced",
    "journal-file.append.published",
    "journal-file.prune.begun",
    "journal-file.prune.unlinked",
    "journal-file.prune.dir_synced",
];
