use signet_fault::failpoint::Injected;
use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// Why the journal could not be opened, read or written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum JournalFileError {
    /// The directory above the journal's does not exist, or one of them is a file.
    #[error("there is no directory `{}`", .path.display())]
    DirectoryMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The directory, or the one above it, belongs to somebody else.
    #[error("`{}` belongs to user {owner}, and this process runs as user {user}", .path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// Our own.
        user: u32,
    },
    /// The system does not let this process read or write there.
    #[error("no permission to write `{}`", .path.display())]
    Denied {
        /// The file or directory.
        path: PathBuf,
    },
    /// The file system cannot be written.
    #[error("`{}` is on a read-only file system", .path.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
    },
    /// No space left for another segment.
    #[error("the disk that holds `{}` is full", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process has the directory open.
    #[error("`{}` is in use by {holder}", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// `process 123`, or that it is not known.
        holder: String,
    },
    /// Something that was synced is missing or altered.
    #[error("`{}` is damaged: {why}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// The system failed to read or write.
    #[error("read or write `{}`", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A write or sync failed before, and what the disk holds is not certain any more.
    #[error("nothing is appended to `{}` since a write failed: {why}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The failure.
        why: String,
    },
    /// More records are waiting than may wait.
    #[error("too many records are waiting to be written")]
    Busy,
    /// The writer has ended.
    #[error("the writer of the journal has stopped")]
    Stopped,
    /// A segment size out of bounds.
    #[error(
        "a segment of {bytes} bytes is not between {} and {}",
        crate::SEGMENT_BYTES_MIN,
        crate::SEGMENT_BYTES_MAX
    )]
    SegmentBytes {
        /// What was asked for.
        bytes: u64,
    },
}

impl JournalFileError {
    /// Tells an error of the system at `path` by its kind.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::DirectoryMissing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }

    /// Something contradicts itself.
    pub(crate) fn corrupt(path: &Path, why: impl core::fmt::Display) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }

    /// A failpoint was armed.
    pub(crate) fn injected(path: &Path, injected: Injected) -> Self {
        Self::Io {
            path: path.to_owned(),
            source: injected.into(),
        }
    }
}

/// Passes the failpoint `name`, or fails as if the file at `path` had.
pub(crate) fn hit(name: &'static str, path: &Path) -> Result<(), JournalFileError> {
    signet_fault::failpoint::hit(name).map_err(|injected| JournalFileError::injected(path, injected))
}

impl Coded for JournalFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::DirectoryMissing { .. } => "SGJF001",
            Self::ForeignOwner { .. } => "SGJF002",
            Self::Denied { .. } => "SGJF003",
            Self::ReadOnly { .. } => "SGJF004",
            Self::Full { .. } => "SGJF005",
            Self::InUse { .. } => "SGJF006",
            Self::Corrupt { .. } => "SGJF007",
            Self::Io { .. } => "SGJF008",
            Self::Broken { .. } => "SGJF009",
            Self::Busy => "SGJF010",
            Self::Stopped => "SGJF011",
            Self::SegmentBytes { .. } => "SGJF012",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGJF001",
        meaning: "the directory above the journal does not exist",
        remedy: "create the directory, or name another one",
    },
    Entry {
        code: "SGJF002",
        meaning: "the journal's directory belongs to another user",
        remedy: "run as that user, or change the owner, or name another directory",
    },
    Entry {
        code: "SGJF003",
        meaning: "no permission to write the journal",
        remedy: "give the user that runs the server read and write permission on the directory and its files",
    },
    Entry {
        code: "SGJF004",
        meaning: "the journal is on a read-only file system",
        remedy: "mount the file system writable, or name a directory on another one",
    },
    Entry {
        code: "SGJF005",
        meaning: "the disk that holds the journal is full",
        remedy: "free space on that disk; a server that runs goes on by itself, one that did not start is started again",
    },
    Entry {
        code: "SGJF006",
        meaning: "another process has the journal open",
        remedy: "stop that process, or name another directory",
    },
    Entry {
        code: "SGJF007",
        meaning: "the journal is damaged",
        remedy: "keep a copy of the directory, look at the disk's health, and restore the last backup",
    },
    Entry {
        code: "SGJF008",
        meaning: "the system failed to read or write the journal",
        remedy: "look at the kernel's log for the disk, then restart the server",
    },
    Entry {
        code: "SGJF009",
        meaning: "nothing is recorded or issued since a write failed",
        remedy: "look at the disk, then restart the server; it then goes on with what is certainly on the disk",
    },
    Entry {
        code: "SGJF010",
        meaning: "too many records are waiting to be written",
        remedy: "repeat the request after a moment",
    },
    Entry {
        code: "SGJF011",
        meaning: "the server is shutting down, or its writer failed",
        remedy: "repeat the request; if it happens again, restart the server",
    },
    Entry {
        code: "SGJF012",
        meaning: "the size of a journal segment is out of bounds",
        remedy: "choose a size within the bounds, or leave the setting out",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_sound() {
        assert_eq!(signet_fault::flaws(&[REGISTER]), []);
    }

    #[test]
    fn causes_are_told_apart() {
        for (kind, code) in [
            (io::ErrorKind::NotFound, "SGJF001"),
            (io::ErrorKind::PermissionDenied, "SGJF003"),
            (io::ErrorKind::ReadOnlyFilesystem, "SGJF004"),
            (io::ErrorKind::StorageFull, "SGJF005"),
            (io::ErrorKind::Other, "SGJF008"),
        ] {
            assert_eq!(JournalFileError::io(Path::new("/d"), kind.into()).code(), code);
        }
    }
}
