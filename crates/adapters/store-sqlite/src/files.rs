//! The file before SQLite sees it: its directory, owner and mode, and the lock that makes it ours.

use crate::SqliteError;
use signet_fault::failpoint;
use signet_sys::files::{self, LockError, Readers};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The lock on a database; it is free again once this is dropped.
pub(crate) use signet_sys::files::Lock;

/// Finds or creates the database file, private to this user and locked by this process. Returns its absolute path.
pub(crate) fn claim(path: &Path) -> Result<(PathBuf, Lock), SqliteError> {
    let path = absolute(path)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let user = signet_sys::process::uid();
    if let Some(owner) = files::foreign_owner(&metadata(directory)?) {
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
    let directory = files::folder(path);
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
    Lock::take(&beside).map_err(|error| match error {
        LockError::Held { holder } => SqliteError::InUse {
            path: path.to_owned(),
            holder,
        },
        LockError::Io(error) => SqliteError::io(&beside, error),
    })
}

/// Creates the file with mode 0600 if it is not there, so that SQLite never creates it with another. Its name is made
/// durable by SQLite, which syncs the directory when it first syncs a write-ahead log.
fn create(path: &Path) -> Result<(), SqliteError> {
    match files::create_new(path, Readers::Owner) {
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
