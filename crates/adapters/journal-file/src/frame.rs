//! How a record stands in a segment.
//!
//! ```text
//! length u32 | crc u32 | segment u32 | back u32 | index u64 | record | zeros up to a multiple of 8
//! ```
//! All little-endian. `crc` is CRC-32 over the segment's seed and everything but itself and the padding. `back` is how many
//! frames of the same flush stand before this one: when a flush is written, everything before its first frame is synced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes before the record.
pub(crate) const HEADER_BYTES: usize = 24;

/// What makes a frame one of its segment and of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) number: u32,
    /// Drawn for each segment, so that nobody can write a record that looks like frames.
    pub(crate) seed: u64,
}

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Nothing was ever written here.
    Blank,
    /// A frame.
    Frame { index: u64, back: u32, record: &'a [u8] },
    /// Neither.
    Damaged,
}

/// The bytes that a record of this length takes.
pub(crate) fn size(record: usize) -> usize {
    HEADER_BYTES.saturating_add(record).next_multiple_of(8)
}

/// Adds a frame to `buffer`.
pub(crate) fn push(buffer: &mut Vec<u8>, identity: Identity, index: u64, back: u32, record: &[u8]) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut rest = [0; HEADER_BYTES - 8];
    let fields = identity
        .number
        .to_le_bytes()
        .into_iter()
        .chain(back.to_le_bytes())
        .chain(index.to_le_bytes());
    for (to, from) in rest.iter_mut().zip(fields) {
        *to = from;
    }
    let end = buffer.len().saturating_add(size(record.len()));
    buffer.extend_from_slice(&length);
    buffer.extend_from_slice(&crc(identity, &length, &rest, record).to_le_bytes());
    buffer.extend_from_slice(&rest);
    buffer.extend_from_slice(record);
    buffer.resize(end, 0);
}

fn crc(identity: Identity, length: &[u8], rest: &[u8], record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&identity.seed.to_le_bytes());
    crc.update(length);
    crc.update(rest);
    crc.update(record);
    crc.finalize()
}

/// A view of a file through which one reads forward.
pub(crate) struct Window<'a> {
    file: &'a File,
    at: u64,
    bytes: Vec<u8>,
    chunk: usize,
}

impl<'a> Window<'a> {
    /// A view that reads at least `chunk` bytes at once.
    pub(crate) fn new(file: &'a File, chunk: usize) -> Self {
        Self {
            file,
            at: 0,
            bytes: Vec::new(),
            chunk,
        }
    }

    /// `length` bytes at `offset`; `None` if the file ends before.
    pub(crate) fn get(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let covered = |from: u64, bytes: &Vec<u8>| {
            let start = usize::try_from(offset.checked_sub(from)?).ok()?;
            let end = start.checked_add(length)?;
            (end <= bytes.len()).then_some(start..end)
        };
        if covered(self.at, &self.bytes).is_none() {
            self.bytes.resize(self.chunk.max(length), 0);
            self.at = offset;
            let read = read_up_to(self.file, &mut self.bytes, offset)?;
            self.bytes.truncate(read);
        }
        Ok(covered(self.at, &self.bytes).and_then(|range| self.bytes.get(range)))
    }

    /// What stands at `offset` of the segment `identity` that ends at `end`.
    pub(crate) fn frame(&mut self, identity: Identity, offset: u64, end: u64) -> io::Result<Found<'_>> {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        if left < HEADER_BYTES {
            return Ok(Found::Blank);
        }
        let Some(&header) = self
            .get(offset, HEADER_BYTES)?
            .and_then(|bytes| bytes.first_chunk::<HEADER_BYTES>())
        else {
            return Ok(Found::Damaged);
        };
        if header == [0; HEADER_BYTES] {
            return Ok(Found::Blank);
        }
        let [
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
            n0,
            n1,
            n2,
            n3,
            b0,
            b1,
            b2,
            b3,
            index @ ..,
        ] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let record_length = usize::try_from(length).unwrap_or(usize::MAX);
        if u32::from_le_bytes([n0, n1, n2, n3]) != identity.number
            || length == 0
            || record_length > signet_store::RECORD_BYTES_MAX
            || size(record_length) > left
        {
            return Ok(Found::Damaged);
        }
        let Some((head, record)) = self
            .get(offset, HEADER_BYTES.saturating_add(record_length))?
            .and_then(|bytes| bytes.split_at_checked(HEADER_BYTES))
        else {
            return Ok(Found::Damaged);
        };
        let rest = head.get(8..).unwrap_or_default();
        if crc(identity, &length.to_le_bytes(), rest, record) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Ok(Found::Damaged);
        }
        Ok(Found::Frame {
            index: u64::from_le_bytes(index),
            back: u32::from_le_bytes([b0, b1, b2, b3]),
            record,
        })
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0_usize;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => done = done.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    const ID: Identity = Identity { number: 7, seed: 99 };

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    proptest! {
        #[test]
        fn frames_read_back_and_no_altered_one_does(
            record in prop::collection::vec(any::<u8>(), 1..200),
            index: u64,
            back: u32,
            byte: prop::sample::Index,
            bit in 0..8_u32,
        ) {
            let mut bytes = Vec::new();
            push(&mut bytes, ID, index, back, &record);
            prop_assert_eq!(bytes.len(), size(record.len()));
            let end = u64::try_from(bytes.len()).unwrap();
            let whole = file(&bytes);
            let found = Found::Frame { index, back, record: &record };
            prop_assert!(Window::new(&whole, 64).frame(ID, 0, end).unwrap() == found);
            for other in [Identity { number: 8, ..ID }, Identity { seed: 98, ..ID }] {
                prop_assert!(Window::new(&whole, 64).frame(other, 0, end).unwrap() == Found::Damaged);
            }
            let byte = byte.index(HEADER_BYTES + record.len());
            bytes[byte] ^= 1 << bit;
            let altered = file(&bytes);
            prop_assert!(Window::new(&altered, 64).frame(ID, 0, end).unwrap() == Found::Damaged);
        }
    }
}
