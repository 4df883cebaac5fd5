//! The thread in the background: it prepares the next segment and prunes old ones.

use crate::JournalFileError;
use crate::directory::{self, Directory};
use crate::error::hit;
use crate::segment::Segment;
use signet_store::group::{CloseOnDrop, Queue};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::oneshot;

/// The segments that hold records, oldest first; the last is the one that is appended to. Never empty.
pub(crate) type Segments = Mutex<Vec<Arc<Segment>>>;

/// A file of zeros, synced, under its final name.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) number: u32,
    pub(crate) size: u64,
}

/// What the keeper is asked to do.
#[derive(Debug)]
pub(crate) enum Task {
    Prepare {
        number: u32,
        answer: mpsc::Sender<Result<Prepared, JournalFileError>>,
    },
    Prune {
        before: u64,
        answer: oneshot::Sender<Result<(), JournalFileError>>,
    },
}

/// The keeper's state, owned by its thread.
pub(crate) struct Keeper {
    pub(crate) directory: Arc<Directory>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) tasks: Arc<Queue<Task>>,
    pub(crate) segment_bytes: u64,
    /// Set when the journal is dropped: what is being prepared is given up.
    pub(crate) closing: Arc<AtomicBool>,
}

/// How much is written at once while filling.
const FILL_BYTES: u64 = 1024 * 1024;
/// How much is filled between syncs, so that appends never wait for a whole segment.
const FILL_SYNC_BYTES: u64 = 8 * FILL_BYTES;

impl Keeper {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(self) {
        let _close = CloseOnDrop(Arc::clone(&self.tasks));
        while let Some(tasks) = self.tasks.take(1, usize::MAX) {
            for task in tasks {
                match task {
                    Task::Prepare { number, answer } => {
                        let prepared = prepare(&self.directory, number, self.segment_bytes, &self.closing);
                        // That it was left off because the journal is being closed is no reason to look.
                        if let Err(error) = &prepared
                            && !matches!(error, JournalFileError::Stopped)
                        {
                            tracing::warn!(number, error = %signet_fault::chain(error), "the next journal segment could not be prepared");
                        }
                        let _gone = answer.send(prepared);
                    }
                    Task::Prune { before, answer } => {
                        let _gone = answer.send(self.prune(before));
                    }
                }
            }
        }
    }

    /// Removes segments all of whose records are before `before`, oldest first.
    fn prune(&self, before: u64) -> Result<(), JournalFileError> {
        loop {
            let oldest = {
                let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
                match segments.as_slice() {
                    // INVARIANT: the last segment stays, so that the next index is never lost.
                    [oldest, next, ..] if next.header.base <= before => Arc::clone(oldest),
                    _ => return Ok(()),
                }
            };
            hit("journal-file.prune.begun", &oldest.path)?;
            directory::remove(&oldest.path)?;
            self.segments
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|segment| !Arc::ptr_eq(segment, &oldest));
            hit("journal-file.prune.unlinked", &oldest.path)?;
            // One at a time, so that no crash can leave a gap.
            self.directory.sync()?;
            hit("journal-file.prune.dir_synced", &oldest.path)?;
        }
    }
}

/// Makes a file of zeros for the segment `number`.
pub(crate) fn prepare(
    directory: &Directory,
    number: u32,
    size: u64,
    closing: &AtomicBool,
) -> Result<Prepared, JournalFileError> {
    let path = directory.preparing(number);
    let done = fill(directory, number, size, closing);
    if done.is_err() {
        // Best effort: gives the space back. A start removes what is left.
        let _kept = fs::remove_file(&path);
    }
    done
}

fn fill(
    directory: &Directory,
    number: u32,
    size: u64,
    closing: &AtomicBool,
) -> Result<Prepared, JournalFileError> {
    let unfinished = directory.preparing(number);
    let failed = |e| JournalFileError::io(&unfinished, e);
    if unfinished.exists() {
        directory::remove(&unfinished)?;
    }
    let file = directory::open(&unfinished, true)?;
    hit("journal-file.prepare.created", &unfinished)?;
    let zeros = vec![0; usize::try_from(FILL_BYTES.min(size)).unwrap_or(usize::MAX)];
    let mut offset = 0;
    while offset < size {
        if closing.load(Ordering::Relaxed) {
            return Err(JournalFileError::Stopped);
        }
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let piece = zeros.get(..left).unwrap_or(&zeros);
        file.write_all_at(piece, offset).map_err(failed)?;
        offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if offset.is_multiple_of(FILL_SYNC_BYTES) {
            file.sync_data().map_err(failed)?;
        }
    }
    hit("journal-file.prepare.filled", &unfinished)?;
    file.sync_all().map_err(failed)?;
    hit("journal-file.prepare.synced", &unfinished)?;
    let path = directory.segment(number);
    fs::rename(&unfinished, &path).map_err(failed)?;
    hit("journal-file.prepare.renamed", &path)?;
    directory.sync()?;
    hit("journal-file.prepare.dir_synced", &path)?;
    Ok(Prepared {
        path,
        file,
        number,
        size,
    })
}
