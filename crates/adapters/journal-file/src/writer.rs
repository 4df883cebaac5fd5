//! The one thread that appends.

use crate::JournalFileError;
use crate::error::hit;
use crate::frame::{self, Identity};
use crate::keeper::{Prepared, Segments, Task};
use crate::segment::{FRAMES_AT, Header, Segment};
use bytes::Bytes;
use signet_store::group::{CloseOnDrop, Queue};
use signet_store::{Cause, Index, JournalError};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, mpsc};
use tokio::sync::oneshot;

/// One record on its way.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) record: Bytes,
    pub(crate) answer: oneshot::Sender<Result<Index, JournalError>>,
}

/// Most records in one flush.
const FLUSH_RECORDS_MAX: usize = 8_192;
/// Most bytes of records in one flush.
const FLUSH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The writer's state, owned by its thread.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue<Append>>,
    pub(crate) tasks: Arc<Queue<Task>>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) active: Arc<Segment>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// The index after the last synced record, for everyone.
    pub(crate) next: Arc<AtomicU64>,
    /// The segment that is being prepared.
    pub(crate) coming: Option<mpsc::Receiver<Result<Prepared, JournalFileError>>>,
    /// Why nothing may be written any more.
    pub(crate) broken: Arc<OnceLock<String>>,
    pub(crate) buffer: Vec<u8>,
    /// Who waits for the frames in the buffer.
    pub(crate) waiting: Vec<oneshot::Sender<Result<Index, JournalError>>>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _close = CloseOnDrop(Arc::clone(&self.queue));
        while let Some(appends) = self.queue.take(FLUSH_RECORDS_MAX, FLUSH_BYTES_MAX) {
            self.round(appends);
        }
    }

    fn round(&mut self, appends: Vec<Append>) {
        // Why there is no room for more, once that is known; not tried again within a round.
        let mut no_room: Option<Cause> = None;
        for Append { record, answer } in appends {
            if !self.fits(&record) && no_room.is_none() && self.broken.get().is_none() {
                self.flush();
                if self.broken.get().is_none()
                    && let Err(error) = self.rotate()
                {
                    no_room = Some(Cause::new(error));
                }
            }
            if let Some(why) = self.broken.get() {
                let error = JournalFileError::Broken {
                    path: self.active.path.clone(),
                    why: why.clone(),
                };
                let _gone = answer.send(Err(JournalError::Unavailable(Cause::new(error))));
                continue;
            }
            match &no_room {
                Some(cause) if !self.fits(&record) => {
                    let _gone = answer.send(Err(JournalError::Unavailable(cause.clone())));
                }
                _ => self.frame(&record, answer),
            }
        }
        self.flush();
    }

    fn fits(&self, record: &[u8]) -> bool {
        let used = self.buffer.len().saturating_add(frame::size(record.len()));
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        self.offset.saturating_add(used) <= self.active.header.size
    }

    fn frame(&mut self, record: &[u8], answer: oneshot::Sender<Result<Index, JournalError>>) {
        let back = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let index = self.next.load(Ordering::Relaxed).saturating_add(u64::from(back));
        frame::push(&mut self.buffer, self.active.header.identity, index, back, record);
        self.waiting.push(answer);
    }

    /// Writes the buffer, syncs it, and answers.
    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let first = self.next.load(Ordering::Relaxed);
        let written = self.write();
        match written {
            Ok(()) => {
                self.active.mark(first, self.offset);
                let bytes = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
                self.offset = self.offset.saturating_add(bytes);
                self.active.synced.store(self.offset, Ordering::Release);
                let count = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
                self.next.store(first.saturating_add(count), Ordering::Release);
                // After this nothing can fail: an error here would only be a late answer.
                let _ignored = hit("journal-file.append.published", &self.active.path);
                for (answer, index) in self.waiting.drain(..).zip(first..) {
                    let _gone = answer.send(Ok(Index(index)));
                }
            }
            Err(error) => {
                self.break_off(&error);
                let cause = Cause::new(error);
                for answer in self.waiting.drain(..) {
                    let _gone = answer.send(Err(JournalError::Unknown(cause.clone())));
                }
            }
        }
        self.buffer.clear();
    }

    fn write(&self) -> Result<(), JournalFileError> {
        let path = &self.active.path;
        hit("journal-file.append.framed", path)?;
        self.active.write(&self.buffer, self.offset)?;
        hit("journal-file.append.written", path)?;
        self.active.sync()?;
        hit("journal-file.append.synced", path)
    }

    /// Goes on in the next segment.
    fn rotate(&mut self) -> Result<(), JournalFileError> {
        hit("journal-file.rotate.begun", &self.active.path)?;
        let number = self.active.header.identity.number.saturating_add(1);
        let prepared = self.take_prepared(number)?;
        let base = self.next.load(Ordering::Relaxed);
        let active = match activate(prepared, base) {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                self.break_off(&error);
                return Err(error);
            }
        };
        self.segments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&active));
        self.active = active;
        self.offset = FRAMES_AT;
        self.request(number.saturating_add(1));
        Ok(())
    }

    /// The next segment: the one prepared before, or else one more try.
    fn take_prepared(&mut self, number: u32) -> Result<Prepared, JournalFileError> {
        if let Some(coming) = self.coming.take()
            && let Ok(Ok(prepared)) = coming.recv()
        {
            return Ok(prepared);
        }
        self.request(number);
        match self.coming.take().map(|coming| coming.recv()) {
            Some(Ok(prepared)) => prepared,
            _ => Err(JournalFileError::Stopped),
        }
    }

    fn request(&mut self, number: u32) {
        let (answer, coming) = mpsc::channel();
        // If it is refused, `coming` says so by ending.
        let _refused = self.tasks.push(Task::Prepare { number, answer }, 0);
        self.coming = Some(coming);
    }

    fn break_off(&self, error: &JournalFileError) {
        let why = signet_fault::chain(error);
        tracing::error!(path = %self.active.path.display(), error = %why, "the journal cannot be written; nothing is appended until restart");
        let _first = self.broken.set(why);
    }
}

/// Makes a prepared segment the one that is appended to.
pub(crate) fn activate(prepared: Prepared, base: u64) -> Result<Segment, JournalFileError> {
    let header = Header {
        identity: Identity {
            number: prepared.number,
            // Not a secret of value: it must only be unknown to whoever shapes records.
            seed: RandomState::new().hash_one(base),
        },
        base,
        size: prepared.size,
    };
    let segment = Segment::new(prepared.path, prepared.file, header, FRAMES_AT);
    // Synced with the first frame, which stands in the same sector of the disk: none is ever there without the other.
    segment.write(&header.encode(), 0)?;
    hit("journal-file.rotate.activated", &segment.path)?;
    Ok(segment)
}
