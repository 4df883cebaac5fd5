//! The file before SQLite sees it: its directory, owner and mode, and the lock that makes it ours.

use crate::SqliteError;
use signet_fault::failpoint;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The lock on a database; it is free again once this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Finds or creates the database file, private to this user and locked by this process. Returns its absolute path.
pub(crate) fn claim(path: &Path) -> Result<(PathBuf, Lock), SqliteError> {
    let path = absolute(path)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let user = rustix::process::geteuid().as_raw();
    let owner = metadata(directory)?.uid();
    // The system's own directories are fine; another person's are not, not even for root, who would leave files there
    // that their owner cannot read.
    if owner != user && owner != 0 {
        return Err(foreign(directory, owner, user));
    }
    let lock = lock(&path)?;
    failpoint::hit("store-sqlite.open.locked").map_err(|e| SqliteError::injected(&path, e))?;
    create(&path)?;
    let found = metadata(&path)?;
    if !found.is_file() {
        return Err(SqliteError::NotDatabase { path });
    }
    if found.uid() != user {
        return Err(foreign(&path, found.uid(), user));
    }
    if found.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = %format!("{:o}", found.mode() & 0o777), "others could read the database; its mode is now 0600");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|e| SqliteError::io(&path, e))?;
    }
    Ok((path, lock))
}

/// The path with its directory resolved, so that nothing in it can look like an option to SQLite.
fn absolute(path: &Path) -> Result<PathBuf, SqliteError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(SqliteError::NotDatabase {
            path: path.to_owned(),
        });
    };
    let resolved = directory
        .canonicalize()
        .map_err(|e| SqliteError::io(directory, e))?;
    if !metadata(&resolved)?.is_dir() {
        return Err(SqliteError::DirectoryMissing { path: resolved });
    }
    Ok(resolved.join(name))
}

/// Takes the lock file beside the database. It is a file of its own because SQLite's locks on the database itself
/// vanish when any descriptor of it is closed.
fn lock(path: &Path) -> Result<Lock, SqliteError> {
    let beside = {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        PathBuf::from(name)
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&beside)
        .map_err(|e| SqliteError::io(&beside, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(SqliteError::InUse {
                path: path.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(SqliteError::io(&beside, error)),
    }
    // Who holds it is for a person to read; a disk that is full must not keep the server from reading.
    let named = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = named {
        tracing::warn!(path = %beside.display(), %error, "the lock file does not name this process");
    }
    Ok(Lock { _file: file })
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

/// Creates the file with mode 0600 if it is not there, so that SQLite never creates it with another. Its name is made
/// durable by SQLite, which syncs the directory when it first syncs a write-ahead log.
fn create(path: &Path) -> Result<(), SqliteError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match created {
        Ok(_) => failpoint::hit("store-sqlite.open.created").map_err(|e| SqliteError::injected(path, e)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(SqliteError::io(path, error)),
    }
}

fn metadata(path: &Path) -> Result<fs::Metadata, SqliteError> {
    fs::metadata(path).map_err(|e| SqliteError::io(path, e))
}

fn foreign(path: &Path, owner: u32, user: u32) -> SqliteError {
    SqliteError::ForeignOwner {
        path: path.to_owned(),
        owner,
        user,
    }
}
