//! The journal's directory: owner, lock and file names.

use crate::JournalFileError;
use crate::error::hit;
use signet_sys::files::{self, Lock, LockError};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A directory that is ours while this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    handle: File,
    _lock: Lock,
}

impl Directory {
    /// Finds or creates the directory, and locks it.
    pub(crate) fn claim(path: &Path) -> Result<Self, JournalFileError> {
        let parent = files::folder(path);
        check_owner(parent)?;
        if files::make_private_dir(path).map_err(|e| JournalFileError::io(path, e))? {
            hit("journal-file.open.directory_created", path)?;
        }
        // Also when it was there: whoever created it may have crashed before this.
        files::sync_dir(parent).map_err(|e| JournalFileError::io(parent, e))?;
        let path = path.canonicalize().map_err(|e| JournalFileError::io(path, e))?;
        check_owner(&path)?;
        let lock = lock(&path)?;
        let handle = File::open(&path).map_err(|e| JournalFileError::io(&path, e))?;
        hit("journal-file.open.locked", &path)?;
        Ok(Self {
            path,
            handle,
            _lock: lock,
        })
    }

    /// Makes names that were given or taken durable.
    pub(crate) fn sync(&self) -> Result<(), JournalFileError> {
        self.handle
            .sync_all()
            .map_err(|e| JournalFileError::io(&self.path, e))
    }

    /// The file of a segment.
    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.path.join(format!("{number:010}.segment"))
    }

    /// The file of a segment that is being prepared.
    pub(crate) fn preparing(&self, number: u32) -> PathBuf {
        self.path.join(format!("{number:010}.preparing"))
    }

    /// The numbers of all segments, in order. Files that were being prepared are removed; others are left alone.
    pub(crate) fn tidy(&self) -> Result<Vec<u32>, JournalFileError> {
        let failed = |e| JournalFileError::io(&self.path, e);
        let mut numbers = Vec::new();
        for file in fs::read_dir(&self.path).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let Some((stem, kind)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Some(number) = stem.parse().ok().filter(|_| stem.len() == 10) else {
                continue;
            };
            match kind {
                "segment" => numbers.push(number),
                "preparing" => remove(&self.preparing(number))?,
                _ => {}
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> Result<(), JournalFileError> {
    fs::remove_file(path).map_err(|e| JournalFileError::io(path, e))
}

/// Creates or opens a file of ours, mode 0600.
pub(crate) fn open(path: &Path, create_new: bool) -> Result<File, JournalFileError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(create_new)
        .mode(0o600)
        .open(path)
        .map_err(|e| JournalFileError::io(path, e))
}

fn check_owner(path: &Path) -> Result<(), JournalFileError> {
    let found = fs::metadata(path).map_err(|e| JournalFileError::io(path, e))?;
    if !found.is_dir() {
        return Err(JournalFileError::DirectoryMissing {
            path: path.to_owned(),
        });
    }
    match files::foreign_owner(&found) {
        None => Ok(()),
        Some(owner) => Err(JournalFileError::ForeignOwner {
            path: path.to_owned(),
            owner,
            user: signet_sys::process::uid(),
        }),
    }
}

fn lock(directory: &Path) -> Result<Lock, JournalFileError> {
    let path = directory.join("lock");
    Lock::take(&path).map_err(|error| match error {
        LockError::Held { holder } => JournalFileError::InUse {
            path: directory.to_owned(),
            holder,
        },
        LockError::Io(error) => JournalFileError::io(&path, error),
    })
}
