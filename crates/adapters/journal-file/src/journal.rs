use crate::directory::Directory;
use crate::keeper::{Keeper, Segments, Task, prepare};
use crate::reader::{self, unavailable};
use crate::recover::recover;
use crate::segment::FRAMES_AT;
use crate::writer::{Append, Writer, activate};
use crate::{JournalFileError, segment::Segment};
use bytes::Bytes;
use signet_store::group::{Queue, Refused};
use signet_store::{BoxFuture, Cause, Index, Journal, JournalError, check_record};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a segment, in bytes; rounded down to a multiple of 4,096.
    pub segment_bytes: u64,
    /// The size of the very first segment at most, in bytes: the first start waits for it.
    pub first_segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            first_segment_bytes: 4 * 1024 * 1024,
        }
    }
}

/// The smallest segment: a few of the longest records fit.
pub const SEGMENT_BYTES_MIN: u64 = 128 * 1024;
/// The largest segment.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most records that may wait for the writer.
const QUEUE_RECORDS_MAX: usize = 65_536;
/// Most bytes that may wait for the writer.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most tasks that may wait for the keeper: one to prepare, and pruning.
const QUEUE_TASKS_MAX: usize = 64;

/// A journal in a directory of segment files.
///
/// Dropping it lets the writer finish what was asked for, and waits for that.
#[derive(Debug)]
pub struct FileJournal {
    queue: Arc<Queue<Append>>,
    tasks: Arc<Queue<Task>>,
    segments: Arc<Segments>,
    next: Arc<AtomicU64>,
    broken: Arc<OnceLock<String>>,
    closing: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    // Last: the directory is anyone else's only after both threads have ended.
    _directory: Arc<Directory>,
}

impl FileJournal {
    /// Opens the journal in the directory `path`, which is created if only it is missing.
    ///
    /// # Errors
    /// [`JournalFileError`]: each thing that a person can have got wrong has its variant.
    pub fn open(path: &Path) -> Result<Self, JournalFileError> {
        Self::open_with(path, &Options::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`JournalFileError::SegmentBytes`].
    pub fn open_with(path: &Path, options: &Options) -> Result<Self, JournalFileError> {
        let bytes = options.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            return Err(JournalFileError::SegmentBytes { bytes });
        }
        let whole_pages = |bytes: u64| bytes & !4_095;
        let first_bytes = options.first_segment_bytes.clamp(SEGMENT_BYTES_MIN, bytes);
        let directory = Arc::new(Directory::claim(path)?);
        let closing = Arc::new(AtomicBool::new(false));
        let mut found = recover(&directory)?;
        if found.segments.is_empty() {
            let prepared = match found.prepared.take() {
                Some(prepared) => prepared,
                None => prepare(&directory, 1, whole_pages(first_bytes), &closing)?,
            };
            found.segments.push(activate(prepared, found.next)?);
            found.end = FRAMES_AT;
        }
        let segments: Vec<_> = found.segments.into_iter().map(Arc::new).collect();
        // INVARIANT: not empty, as above.
        let Some(active) = segments.last().map(Arc::clone) else {
            return Err(JournalFileError::Stopped);
        };
        let journal = Self {
            queue: Arc::new(Queue::new(QUEUE_RECORDS_MAX, QUEUE_BYTES_MAX)),
            tasks: Arc::new(Queue::new(QUEUE_TASKS_MAX, usize::MAX)),
            segments: Arc::new(Mutex::new(segments)),
            next: Arc::new(AtomicU64::new(found.next)),
            broken: Arc::new(OnceLock::new()),
            closing,
            writer: None,
            keeper: None,
            _directory: directory,
        };
        let (ready, coming) = mpsc::channel();
        match found.prepared {
            Some(prepared) => {
                let _sent = ready.send(Ok(prepared));
            }
            None => {
                let number = active.header.identity.number.saturating_add(1);
                let _pushed = journal.tasks.push(
                    Task::Prepare {
                        number,
                        answer: ready,
                    },
                    0,
                );
            }
        }
        journal.start(whole_pages(bytes), active, found.end, coming)
    }

    fn start(
        mut self,
        segment_bytes: u64,
        active: Arc<Segment>,
        offset: u64,
        coming: mpsc::Receiver<Result<crate::keeper::Prepared, JournalFileError>>,
    ) -> Result<Self, JournalFileError> {
        let keeper = Keeper {
            directory: Arc::clone(&self._directory),
            segments: Arc::clone(&self.segments),
            tasks: Arc::clone(&self.tasks),
            segment_bytes,
            closing: Arc::clone(&self.closing),
        };
        let writer = Writer {
            queue: Arc::clone(&self.queue),
            tasks: Arc::clone(&self.tasks),
            segments: Arc::clone(&self.segments),
            active,
            offset,
            next: Arc::clone(&self.next),
            coming: Some(coming),
            broken: Arc::clone(&self.broken),
            buffer: Vec::new(),
            waiting: Vec::new(),
        };
        let path = &self._directory.path;
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failed = |e| JournalFileError::io(path, e);
        let keeper = thread("journal-keeper")
            .spawn(move || keeper.run())
            .map_err(failed)?;
        self.keeper = Some(keeper);
        let path = &self._directory.path;
        let writer = thread("journal-writer")
            .spawn(move || writer.run())
            .map_err(|e| JournalFileError::io(path, e))?;
        self.writer = Some(writer);
        Ok(self)
    }

    /// Why nothing can be appended until restart, if so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }
}

impl Journal for FileJournal {
    fn append(&self, record: Bytes) -> BoxFuture<'_, Result<Index, JournalError>> {
        let (answer, answered) = oneshot::channel();
        let pushed = check_record(&record).and_then(|()| {
            let bytes = record.len();
            self.queue.push(Append { record, answer }, bytes).map_err(refused)
        });
        Box::pin(appended(pushed, answered))
    }

    /// The writer sees all of them at once. Pushed one by one, the first would wake it and be flushed alone.
    fn append_all(&self, records: Vec<Bytes>) -> Vec<BoxFuture<'_, Result<Index, JournalError>>> {
        let (mut appends, mut waiting) = (
            Vec::with_capacity(records.len()),
            Vec::with_capacity(records.len()),
        );
        for record in records {
            let (answer, answered) = oneshot::channel();
            let checked = check_record(&record);
            if checked.is_ok() {
                let bytes = record.len();
                appends.push((Append { record, answer }, bytes));
            }
            waiting.push((checked, answered));
        }
        let mut pushed = self.queue.push_all(appends).into_iter();
        let wait = |(checked, answered): (Result<(), JournalError>, _)| {
            // Those that are too long or empty never came to the queue.
            let outcome = checked.and_then(|()| match pushed.next() {
                Some(pushed) => pushed.map_err(refused),
                None => Ok(()),
            });
            Box::pin(appended(outcome, answered)) as BoxFuture<'_, _>
        };
        waiting.into_iter().map(wait).collect()
    }

    fn range(&self, from: Index, limit: usize) -> BoxFuture<'_, Result<Vec<(Index, Bytes)>, JournalError>> {
        let segments = Arc::clone(&self.segments);
        let next = self.next_index();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || reader::range(&segments, from.0, next.0, limit))
                .await
                .unwrap_or_else(|_| Err(unavailable(JournalFileError::Stopped)))
        })
    }

    fn next_index(&self) -> Index {
        Index(self.next.load(Ordering::Acquire))
    }

    fn prune_before(&self, before: Index) -> BoxFuture<'_, Result<(), JournalError>> {
        let (answer, answered) = oneshot::channel();
        let task = Task::Prune {
            before: before.0,
            answer,
        };
        let pushed = self.tasks.push(task, 0).map_err(refused);
        Box::pin(async move {
            pushed?;
            match answered.await {
                Ok(done) => done.map_err(unavailable),
                Err(_) => Err(unavailable(JournalFileError::Stopped)),
            }
        })
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        // The writer first: it may still need a segment from the keeper.
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // A thread that panicked has said so.
            let _panicked = writer.join();
        }
        self.closing.store(true, Ordering::Relaxed);
        self.tasks.close();
        if let Some(keeper) = self.keeper.take() {
            let _panicked = keeper.join();
        }
    }
}

/// What became of a record, given whether it came into the queue.
async fn appended(
    pushed: Result<(), JournalError>,
    answered: oneshot::Receiver<Result<Index, JournalError>>,
) -> Result<Index, JournalError> {
    pushed?;
    answered
        .await
        .unwrap_or_else(|_| Err(JournalError::Unknown(Cause::new(JournalFileError::Stopped))))
}

fn refused(refused: Refused) -> JournalError {
    unavailable(match refused {
        Refused::Full => JournalFileError::Busy,
        Refused::Closed => JournalFileError::Stopped,
    })
}
