//! What a start makes of the files it finds.

use crate::JournalFileError;
use crate::directory::{self, Directory};
use crate::error::hit;
use crate::frame::{self, Found, HEADER_BYTES as FRAME_HEADER_BYTES, Window};
use crate::keeper::Prepared;
use crate::segment::{FRAMES_AT, HEADER_BYTES, Header, Segment};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// What is there.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Oldest first; empty in a new directory.
    pub(crate) segments: Vec<Segment>,
    /// The segment after them, if it is ready.
    pub(crate) prepared: Option<Prepared>,
    /// The index after the last record.
    pub(crate) next: u64,
    /// The offset after the last record, in the last segment.
    pub(crate) end: u64,
}

/// How much is read at once when scanning.
const SCAN_BYTES: usize = 1024 * 1024;

/// Reads the directory and repairs its newest segment.
pub(crate) fn recover(directory: &Directory) -> Result<Recovered, JournalFileError> {
    let mut recovered = Recovered {
        segments: Vec::new(),
        prepared: None,
        next: 1,
        end: FRAMES_AT,
    };
    let mut unused: Vec<(u32, File, PathBuf)> = Vec::new();
    for number in directory.tidy()? {
        let path = directory.segment(number);
        let file = directory::open(&path, false)?;
        match header(&path, &file)? {
            Some(header) => {
                if let Some((_, _, path)) = unused.first() {
                    return Err(JournalFileError::corrupt(
                        path,
                        "its header is blank, and later segments are in use",
                    ));
                }
                check_order(recovered.segments.last(), number, header, &path)?;
                recovered
                    .segments
                    .push(Segment::new(path, file, header, header.size));
            }
            None => unused.push((number, file, path)),
        }
    }
    let next_number = recovered
        .segments
        .last()
        .map_or(1, |last| last.header.identity.number.saturating_add(1));
    for (number, file, path) in unused {
        let size = file.metadata().map_err(|e| JournalFileError::io(&path, e))?.len();
        let whole = size >= crate::SEGMENT_BYTES_MIN && size.is_multiple_of(8);
        if number == next_number && whole && recovered.prepared.is_none() && is_blank_header(&path, &file)? {
            recovered.prepared = Some(Prepared {
                path,
                file,
                number,
                size,
            });
        } else {
            directory::remove(&path)?;
        }
    }
    if let Some(last) = recovered.segments.last() {
        let scan = scan(last)?;
        hit("journal-file.recover.scanned", &last.path)?;
        repair(last, &scan)?;
        hit("journal-file.recover.synced", &last.path)?;
        last.synced.store(scan.end, Ordering::Release);
        recovered.next = scan.next;
        recovered.end = scan.end;
    }
    directory.sync()?;
    Ok(recovered)
}

/// The header of a segment; `None` if the segment was never used.
fn header(path: &Path, file: &File) -> Result<Option<Header>, JournalFileError> {
    let failed = |e| JournalFileError::io(path, e);
    let size = file.metadata().map_err(failed)?.len();
    let mut window = Window::new(file, HEADER_BYTES + FRAME_HEADER_BYTES);
    let found = window
        .get(0, HEADER_BYTES)
        .map_err(failed)?
        .and_then(|bytes| bytes.first_chunk::<HEADER_BYTES>());
    if let Some(header) = found.and_then(Header::decode) {
        if header.size != size {
            let why = format_args!("it has {size} bytes, and its header says {}", header.size);
            return Err(JournalFileError::corrupt(path, why));
        }
        return Ok(Some(header));
    }
    // No crash leaves a first frame without the header in the same sector: it was damaged.
    let frames = window.get(FRAMES_AT, FRAME_HEADER_BYTES).map_err(failed)?;
    match frames {
        Some(bytes) if bytes.iter().any(|byte| *byte != 0) => {
            Err(JournalFileError::corrupt(path, "its header does not read back"))
        }
        _ => Ok(None),
    }
}

fn is_blank_header(path: &Path, file: &File) -> Result<bool, JournalFileError> {
    let mut window = Window::new(file, HEADER_BYTES);
    let found = window
        .get(0, HEADER_BYTES)
        .map_err(|e| JournalFileError::io(path, e))?;
    Ok(found == Some(&[0; HEADER_BYTES]))
}

/// Checks that a segment follows the one before it.
fn check_order(
    before: Option<&Segment>,
    number: u32,
    header: Header,
    path: &Path,
) -> Result<(), JournalFileError> {
    if header.identity.number != number {
        let why = format_args!("its header says that it is segment {}", header.identity.number);
        return Err(JournalFileError::corrupt(path, why));
    }
    let Some(before) = before else {
        return Ok(());
    };
    let expected = before.header.identity.number.saturating_add(1);
    if number != expected {
        let why = format_args!("segment {expected} before it is missing");
        return Err(JournalFileError::corrupt(path, why));
    }
    if header.base <= before.header.base {
        return Err(JournalFileError::corrupt(
            path,
            "its first index is not after the segment before it",
        ));
    }
    Ok(())
}

/// What stands in the newest segment.
#[derive(Debug)]
struct Scan {
    /// The index and the offset after the last good frame.
    next: u64,
    end: u64,
    /// Where the last flush begins.
    flush: u64,
    /// The offset after the last byte that is not zero.
    dirty: u64,
}

fn scan(segment: &Segment) -> Result<Scan, JournalFileError> {
    let failed = |e| JournalFileError::io(&segment.path, e);
    let Header { identity, base, size } = segment.header;
    let mut window = Window::new(&segment.file, SCAN_BYTES);
    let mut scan = Scan {
        next: base,
        end: FRAMES_AT,
        flush: FRAMES_AT,
        dirty: FRAMES_AT,
    };
    while let Found::Frame { index, back, record } = window.frame(identity, scan.end, size).map_err(failed)? {
        if index != scan.next {
            break;
        }
        segment.mark(index, scan.end);
        if back == 0 {
            scan.flush = scan.end;
        }
        let bytes = u64::try_from(frame::size(record.len())).unwrap_or(u64::MAX);
        scan.end = scan.end.saturating_add(bytes);
        scan.next = scan.next.saturating_add(1);
    }
    scan.dirty = scan.end;
    look_beyond(segment, &mut scan)?;
    Ok(scan)
}

/// Looks at everything after the last good frame: finds where it ends, and refuses what proves that a synced frame is
/// damaged.
fn look_beyond(segment: &Segment, scan: &mut Scan) -> Result<(), JournalFileError> {
    let failed = |e| JournalFileError::io(&segment.path, e);
    let Header { identity, size, .. } = segment.header;
    let zeros = vec![0; SCAN_BYTES];
    let mut window = Window::new(&segment.file, SCAN_BYTES);
    let mut candidate = Window::new(&segment.file, signet_store::RECORD_BYTES_MAX + FRAME_HEADER_BYTES);
    let mut offset = scan.end;
    while offset < size {
        let length = usize::try_from(size.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(SCAN_BYTES);
        let Some(bytes) = window.get(offset, length).map_err(failed)? else {
            return Err(JournalFileError::corrupt(
                &segment.path,
                "it became shorter while it was read",
            ));
        };
        if zeros.get(..length) != Some(bytes) {
            for (n, word) in bytes.chunks(8).enumerate() {
                if word.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let at = offset.saturating_add(u64::try_from(n).unwrap_or(u64::MAX).saturating_mul(8));
                scan.dirty = at.saturating_add(8).min(size);
                let found = candidate.frame(identity, at, size).map_err(failed)?;
                if let Found::Frame { index, back, .. } = found {
                    // Everything before this frame's flush was synced when it was written; so was the one missing.
                    if index.saturating_sub(u64::from(back)) > scan.next {
                        let why = format_args!(
                            "record {} at byte {} does not read back, and record {index} after it does",
                            scan.next, scan.end
                        );
                        return Err(JournalFileError::corrupt(&segment.path, why));
                    }
                }
            }
        }
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// Writes zeros over what was torn, and writes the header and the last flush again before syncing: a killed process may
/// have left them unsynced, and after a failed sync the kernel may think that they are on the disk when they are not.
fn repair(segment: &Segment, scan: &Scan) -> Result<(), JournalFileError> {
    let failed = |e| JournalFileError::io(&segment.path, e);
    segment.write(&segment.header.encode(), 0)?;
    let length = usize::try_from(scan.end.saturating_sub(scan.flush)).unwrap_or(usize::MAX);
    let mut last_flush = vec![0; length];
    segment
        .file
        .read_exact_at(&mut last_flush, scan.flush)
        .map_err(failed)?;
    segment.write(&last_flush, scan.flush)?;
    if scan.dirty > scan.end {
        tracing::warn!(path = %segment.path.display(), from = scan.end, to = scan.dirty, next = scan.next, "cut off what a crash left unfinished");
    }
    let zeros = vec![0; SCAN_BYTES];
    let mut offset = scan.end;
    while offset < scan.dirty {
        let left = usize::try_from(scan.dirty.saturating_sub(offset)).unwrap_or(usize::MAX);
        let piece = zeros.get(..left).unwrap_or(&zeros);
        segment.write(piece, offset)?;
        offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
    hit("journal-file.recover.rewritten", &segment.path)?;
    segment.sync()
}
