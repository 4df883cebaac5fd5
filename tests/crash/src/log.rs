//! The record that `interpose.c` writes.

use std::path::Path;

/// One operation, in the order in which they happened. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A process began.
    Start,
    /// A file was opened.
    Open {
        /// The file.
        path: String,
        /// Whether it was created if it was missing.
        creates: bool,
        /// Whether it was emptied.
        truncates: bool,
    },
    /// A descriptor was closed.
    Close,
    /// Bytes were written.
    Write {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A file got another length.
    Truncate {
        /// The file.
        path: String,
        /// The new length.
        length: u64,
    },
    /// A file or directory was synced.
    Sync {
        /// Which.
        path: String,
    },
    /// A file got another name.
    Rename {
        /// The old one.
        from: String,
        /// The new one.
        to: String,
    },
    /// A name was removed.
    Unlink {
        /// Which.
        path: String,
    },
    /// A directory was made.
    Mkdir {
        /// Which.
        path: String,
    },
    /// The child said something.
    Ack {
        /// The bytes.
        data: Vec<u8>,
    },
}

/// An operation and the thread that did it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub op: Op,
    /// The thread's name.
    pub thread: String,
}

const MAGIC: u32 = 0x5347_4352;

/// Reads the whole record. Each process that ended had written its last entry to the end: the interposer sees to it.
#[must_use]
pub fn read(path: &Path) -> Vec<Entry> {
    let bytes = std::fs::read(path).expect("the interposer's log");
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        entries.push(entry(&mut rest).expect("the log ends with a whole entry"));
    }
    entries
}

fn entry(rest: &mut &[u8]) -> Option<Entry> {
    let magic = u32::from_le_bytes(take(rest)?);
    assert_eq!(magic, MAGIC, "the log is out of step");
    let op = u32::from_le_bytes(take(rest)?);
    let offset = u64::from_le_bytes(take(rest)?);
    let path_bytes = u32::from_le_bytes(take(rest)?) as usize;
    let path2_bytes = u32::from_le_bytes(take(rest)?) as usize;
    let data_bytes = usize::try_from(u64::from_le_bytes(take(rest)?)).ok()?;
    let thread: [u8; 16] = take(rest)?;
    let mut text = |length| Some(String::from_utf8(rest.split_off(..length)?.to_vec()).expect("a path"));
    let path = text(path_bytes)?;
    let to = text(path2_bytes)?;
    let data = rest.split_off(..data_bytes)?.to_vec();
    let op = match op {
        1 => Op::Start,
        2 => Op::Open {
            path,
            creates: offset & 1 != 0,
            truncates: offset & 2 != 0,
        },
        3 => Op::Close,
        4 => Op::Write { path, offset, data },
        5 => Op::Truncate { path, length: offset },
        6 => Op::Sync { path },
        7 => Op::Rename { from: path, to },
        8 => Op::Unlink { path },
        9 => Op::Mkdir { path },
        10 => Op::Ack { data },
        other => panic!("operation {other} in the log"),
    };
    let thread = thread.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Entry {
        op,
        thread: String::from_utf8_lossy(thread).into_owned(),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
