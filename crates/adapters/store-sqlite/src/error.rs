use rusqlite::ErrorCode;
use signet_fault::failpoint::Injected;
use signet_fault::{Coded, Entry, remedy_of};
use signet_store::Cause;
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// Why the database could not be opened, read or written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// The directory of the file does not exist, or is not one.
    #[error("there is no directory `{}`", .path.display())]
    DirectoryMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The file or its directory belongs to somebody else.
    #[error("`{}` belongs to user {owner}, and this process runs as user {user}", .path.display())]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// Our own.
        user: u32,
    },
    /// The system does not let this process read or write the file.
    #[error("no permission to write `{}`", .path.display())]
    Denied {
        /// The file or directory.
        path: PathBuf,
    },
    /// The file system, or the file, cannot be written.
    #[error("`{}` is on a read-only file system, or is itself read-only", .path.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
    },
    /// No space left.
    #[error("the disk that holds `{}` is full", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Something else than a Signet database.
    #[error("`{}` is not a database of Signet", .path.display())]
    NotDatabase {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("`{}` is in use by {holder}", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// `process 123`, or that it is not known.
        holder: String,
    },
    /// A later version has changed the schema.
    #[error("`{}` has schema {found}, and this version knows up to {known}", .path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema's number.
        found: i64,
        /// The latest that we know.
        known: i64,
    },
    /// A migration that was applied is not the one that this version has.
    #[error("`{}` was made by another migration {number} than this version's", .path.display())]
    AlteredMigration {
        /// The file.
        path: PathBuf,
        /// The migration's number.
        number: i64,
    },
    /// What is in the file contradicts itself.
    #[error("`{}` is damaged: {why}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
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
    /// SQLite failed in another way.
    #[error("read or write `{}`", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A sync failed before, and what the disk holds is not certain any more.
    #[error("no change is written to `{}` since a write failed: {why}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The failure.
        why: String,
    },
    /// More changes are waiting than may wait.
    #[error("too many changes are waiting to be written")]
    Busy,
    /// The writer has ended.
    #[error("the writer of the change log has stopped")]
    Stopped,
}

impl SqliteError {
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

    /// Tells an error of SQLite on `path` by its code.
    pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let owned = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path: owned },
            Some(ErrorCode::NotADatabase) => Self::NotDatabase { path: owned },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path: owned },
            Some(ErrorCode::PermissionDenied) => Self::Denied { path: owned },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse {
                path: owned,
                holder: "a program that does not honour Signet's lock".to_owned(),
            },
            Some(ErrorCode::DatabaseCorrupt) => Self::corrupt(path, source),
            _ => Self::Sqlite { path: owned, source },
        }
    }

    /// The file contradicts itself.
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

impl From<SqliteError> for Cause {
    fn from(error: SqliteError) -> Self {
        Self::new(error)
    }
}

impl Coded for SqliteError {
    fn code(&self) -> &'static str {
        match self {
            Self::DirectoryMissing { .. } => "SGSQ001",
            Self::ForeignOwner { .. } => "SGSQ002",
            Self::Denied { .. } => "SGSQ003",
            Self::ReadOnly { .. } => "SGSQ004",
            Self::Full { .. } => "SGSQ005",
            Self::NotDatabase { .. } => "SGSQ006",
            Self::InUse { .. } => "SGSQ007",
            Self::NewerSchema { .. } => "SGSQ008",
            Self::AlteredMigration { .. } => "SGSQ009",
            Self::Corrupt { .. } => "SGSQ010",
            Self::Io { .. } => "SGSQ011",
            Self::Sqlite { .. } => "SGSQ012",
            Self::Broken { .. } => "SGSQ013",
            Self::Busy => "SGSQ014",
            Self::Stopped => "SGSQ015",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGSQ001",
        meaning: "the directory of the database does not exist",
        remedy: "create the directory, or name another one in `data_dir`",
    },
    Entry {
        code: "SGSQ002",
        meaning: "the database or its directory belongs to another user",
        remedy: "run as that user, or change the owner, or name another directory",
    },
    Entry {
        code: "SGSQ003",
        meaning: "no permission to write the database",
        remedy: "give the user that runs the server read and write permission on the directory and the file",
    },
    Entry {
        code: "SGSQ004",
        meaning: "the database is on a read-only file system",
        remedy: "mount the file system writable, or name a directory on another one in `data_dir`",
    },
    Entry {
        code: "SGSQ005",
        meaning: "the disk that holds the database is full",
        remedy: "free space on that disk; a server that runs goes on by itself, one that did not start is started again",
    },
    Entry {
        code: "SGSQ006",
        meaning: "the file is not a database of Signet",
        remedy: "name another directory in `data_dir`; this file was not touched",
    },
    Entry {
        code: "SGSQ007",
        meaning: "another process has the database open",
        remedy: "stop that process, or name another directory in `data_dir`",
    },
    Entry {
        code: "SGSQ008",
        meaning: "the database was written by a later version",
        remedy: "run that version or a later one, or restore a backup made by this one",
    },
    Entry {
        code: "SGSQ009",
        meaning: "the database was made by an altered program",
        remedy: "run the program that made it, or restore a backup made by a released version",
    },
    Entry {
        code: "SGSQ010",
        meaning: "the database is damaged",
        remedy: "keep a copy of the file, look at the disk's health, and restore the last backup",
    },
    Entry {
        code: "SGSQ011",
        meaning: "the system failed to read or write the database",
        remedy: "look at the kernel's log for the disk, then restart the server",
    },
    Entry {
        code: "SGSQ012",
        meaning: "SQLite failed to read or write the database",
        remedy: "look at the cause in the server's log, then restart the server",
    },
    Entry {
        code: "SGSQ013",
        meaning: "changes are refused since a write failed",
        remedy: "look at the disk, then restart the server; it then goes on with what is certainly on the disk",
    },
    Entry {
        code: "SGSQ014",
        meaning: "too many changes are waiting to be written",
        remedy: "repeat the request after a moment",
    },
    Entry {
        code: "SGSQ015",
        meaning: "the server is shutting down, or its writer failed",
        remedy: "repeat the request; if it happens again, restart the server",
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
        let path = Path::new("/d/signet.db");
        for (kind, code) in [
            (io::ErrorKind::NotFound, "SGSQ001"),
            (io::ErrorKind::PermissionDenied, "SGSQ003"),
            (io::ErrorKind::ReadOnlyFilesystem, "SGSQ004"),
            (io::ErrorKind::StorageFull, "SGSQ005"),
            (io::ErrorKind::Other, "SGSQ011"),
        ] {
            assert_eq!(SqliteError::io(path, kind.into()).code(), code);
        }
        for (raw, code) in [
            (rusqlite::ffi::SQLITE_FULL, "SGSQ005"),
            (rusqlite::ffi::SQLITE_NOTADB, "SGSQ006"),
            (rusqlite::ffi::SQLITE_READONLY, "SGSQ004"),
            (rusqlite::ffi::SQLITE_BUSY, "SGSQ007"),
            (rusqlite::ffi::SQLITE_CORRUPT, "SGSQ010"),
            (rusqlite::ffi::SQLITE_IOERR, "SGSQ012"),
        ] {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(raw), None);
            assert_eq!(SqliteError::sqlite(path, error).code(), code);
        }
    }
}
