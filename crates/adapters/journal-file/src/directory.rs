//! The journal's directory: owner, lock and file names.

use crate::JournalFileError;
use crate::error::hit;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory that is ours while this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    handle: File,
    _lock: File,
}

impl Directory {
    /// Finds or creates the directory, and locks it.
    pub(crate) fn claim(path: &Path) -> Result<Self, JournalFileError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        check_owner(parent)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => hit("journal-file.open.directory_created", path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(JournalFileError::io(path, error)),
        }
        // Also when it was there: whoever created it may have crashed before this.
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|e| JournalFileError::io(parent, e))?;
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
    let user = rustix::process::geteuid().as_raw();
    // The system's own directories are fine; another person's are not, not even for root, who would leave files there
    // that their owner cannot read.
    if found.uid() != user && found.uid() != 0 {
        return Err(JournalFileError::ForeignOwner {
            path: path.to_owned(),
            owner: found.uid(),
            user,
        });
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, JournalFileError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| JournalFileError::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(JournalFileError::InUse {
                path: directory.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(error)) => return Err(JournalFileError::io(&path, error)),
    }
    // Who holds it is for a person to read; a full disk must not keep the journal from being read.
    let named = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = named {
        tracing::warn!(path = %path.display(), %error, "the lock file does not name this process");
    }
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}
