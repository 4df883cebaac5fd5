//! One file of the journal.
//!
//! It begins with a header, written when the segment becomes the one that is appended to, and synced with its first frame:
//! ```text
//! "SGNJRNL1" | number u32 | 0 u32 | base u64 | size u64 | seed u64 | zeros | crc u32     (64 bytes)
//! ```
//! `base` is the index of its first frame. A segment whose header is blank is prepared and unused.

use crate::JournalFileError;
use crate::frame::{Found, Identity, Window};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub(crate) const HEADER_BYTES: usize = 64;
/// Where the first frame stands.
pub(crate) const FRAMES_AT: u64 = 64;
const MAGIC: &[u8; 8] = b"SGNJRNL1";
/// How far apart the remembered places in a segment are.
const MARK_BYTES: u64 = 64 * 1024;
/// How much is read at once when looking for a place.
pub(crate) const READ_BYTES: usize = 128 * 1024;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    pub(crate) base: u64,
    pub(crate) size: u64,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields = MAGIC
            .iter()
            .copied()
            .chain(u64::from(self.identity.number).to_le_bytes())
            .chain(self.base.to_le_bytes())
            .chain(self.size.to_le_bytes())
            .chain(self.identity.seed.to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        if let Some((covered, crc)) = bytes.split_last_chunk_mut::<4>() {
            *crc = crc32fast::hash(covered).to_le_bytes();
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let field = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let header = Self {
            identity: Identity {
                number: u32::try_from(field(8)?).ok()?,
                seed: field(32)?,
            },
            base: field(16)?,
            size: field(24)?,
        };
        // Everything that this version would not have written is refused, padding included.
        (header.encode() == *bytes).then_some(header)
    }
}

/// A segment that is or was appended to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) header: Header,
    /// Up to where it is synced. The writer moves it; readers stay before it.
    pub(crate) synced: AtomicU64,
    /// Some frames' places, by index, in order. Grown by whoever passes.
    marks: Mutex<Vec<(u64, u64)>>,
}

impl Segment {
    pub(crate) fn new(path: PathBuf, file: File, header: Header, synced: u64) -> Self {
        Self {
            path,
            file,
            header,
            synced: AtomicU64::new(synced),
            marks: Mutex::new(vec![(header.base, FRAMES_AT)]),
        }
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), JournalFileError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| JournalFileError::io(&self.path, e))
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), JournalFileError> {
        self.file
            .sync_data()
            .map_err(|e| JournalFileError::io(&self.path, e))
    }

    /// Remembers that the frame `index` stands at `offset`, if that is far enough from what is known.
    pub(crate) fn mark(&self, index: u64, offset: u64) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let last = marks.last().map_or(0, |(_, offset)| *offset);
        if offset >= last.saturating_add(MARK_BYTES) {
            marks.push((index, offset));
        }
    }

    /// The nearest known place at or before `index`.
    fn near(&self, index: u64) -> (u64, u64) {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let after = marks.partition_point(|(known, _)| *known <= index);
        let at = after.checked_sub(1).and_then(|n| marks.get(n)).copied();
        at.unwrap_or((self.header.base, FRAMES_AT))
    }

    /// Gives every synced frame from `from` on to `take`, until it says no or there are no more.
    pub(crate) fn walk(
        &self,
        from: u64,
        end: u64,
        mut take: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), JournalFileError> {
        let synced = self.synced.load(Ordering::Acquire);
        let mut window = Window::new(&self.file, READ_BYTES);
        let (mut expected, mut offset) = self.near(from);
        while expected < end {
            let found = window
                .frame(self.header.identity, offset, synced)
                .map_err(|e| JournalFileError::io(&self.path, e))?;
            let size = match found {
                Found::Frame { index, record, .. } if index == expected => {
                    if index >= from && !take(index, record) {
                        return Ok(());
                    }
                    crate::frame::size(record.len())
                }
                _ => {
                    let why = format_args!("record {expected} at byte {offset} does not read back");
                    return Err(JournalFileError::corrupt(&self.path, why));
                }
            };
            self.mark(expected, offset);
            offset = offset.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            expected = expected.saturating_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_no_altered_one_does() {
        let header = Header {
            identity: Identity {
                number: 3,
                seed: u64::MAX,
            },
            base: 17,
            size: 1 << 20,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
        for byte in 0..HEADER_BYTES {
            let mut altered = bytes;
            altered[byte] ^= 1;
            assert_eq!(Header::decode(&altered), None, "byte {byte}");
        }
    }
}
