//! Files and directories that are ours: made so that nobody else reads them, replaced so that no reader sees a half,
//! locked so that no second process writes them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The user alone: mode 0600.
    Owner,
    /// Everybody: mode 0644.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }
}

/// Why there is no [`Lock`].
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held {
        /// Who, for people: `process 17`.
        holder: String,
    },
    /// The file could not be opened or locked.
    Io(io::Error),
}

/// A lock file that is held while this lives, by this process alone. It says which process that is.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock file `path`, and makes it if it is not there.
    ///
    /// # Errors
    /// [`LockError`]; never waits.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(Readers::Owner.mode())
            .open(path)
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut file);
                return Err(LockError::Held { holder });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        let lock = Self { file };
        lock.name_holder();
        Ok(lock)
    }

    /// Holds the lock file `path` from now on by `descriptor`, which its holder handed on ([`crate::fds`]): it is held by
    /// both, and never free in between. Whom it names is left for [`Lock::name_holder`].
    ///
    /// # Errors
    /// [`LockError`]: it is not that file, or was held by somebody else.
    pub fn adopt(path: &Path, descriptor: OwnedFd) -> Result<Self, LockError> {
        let file = File::from(descriptor);
        let (theirs, ours) = (
            file.metadata().map_err(LockError::Io)?,
            fs::symlink_metadata(path).map_err(LockError::Io)?,
        );
        if (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()) {
            let why = "what was handed on is another file";
            return Err(LockError::Io(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        // Succeeds at once where the lock came with the descriptor.
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held {
                holder: File::open(path).map_or_else(|_| ANOTHER.to_owned(), |mut file| holder(&mut file)),
            }),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    /// Says in the file that this process holds it.
    pub fn name_holder(&self) {
        // For a person to read. A disk that is full must not keep what is locked from being read, and an empty name is
        // said as `another process`. At a place, because whoever handed it on has moved the common one.
        let name = format!("{}\n", std::process::id());
        let _ = self
            .file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(name.as_bytes(), 0));
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => ANOTHER.to_owned(),
    }
}

const ANOTHER: &str = "another process";

/// Makes the directory `path` for this user alone. Whether it was made: false where it was there.
///
/// # Errors
/// What the kernel said.
pub fn make_private_dir(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directory that `path` names a file of.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Makes names that were given or taken in the directory `path` durable.
///
/// # Errors
/// What the kernel said.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The owner, where that is neither this user nor the system. What another person owns is not for us, and not even for
/// root, who would leave files there that their owner cannot read.
#[must_use]
pub fn foreign_owner(found: &Metadata) -> Option<u32> {
    let owner = found.uid();
    (owner != crate::process::uid() && owner != 0).then_some(owner)
}

/// Creates the file `path`, which must not be there, to be read by `readers` whatever the process's mask is.
///
/// # Errors
/// What the kernel said; a link in the way is not followed.
pub fn create_new(path: &Path, readers: Readers) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(path)?;
    if readers != Readers::Owner {
        file.set_permissions(fs::Permissions::from_mode(readers.mode()))?;
    }
    Ok(file)
}

/// As [`create_new`], with `bytes` in it, which are durable when this returns; the name is once its directory is
/// synced ([`sync_dir`]).
///
/// # Errors
/// What the kernel said. A file that was begun is taken away again.
pub fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut file = create_new(path, readers)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes `bytes` to `path`, so that a reader and a crash find the old file or the new one and nothing between.
/// Durable when this returns. It is written as `fresh` first, a name in the same directory that is nobody else's: what
/// lies there is taken for what a crash left behind.
///
/// # Errors
/// What the kernel said; then the old file stands.
pub fn replace(path: &Path, fresh: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    match fs::remove_file(fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(fresh, bytes, readers)?;
    fs::rename(fresh, path).inspect_err(|_| {
        let _ = fs::remove_file(fresh);
    })?;
    sync_dir(folder(path))
}

/// Opens a file for reading; never through a link at its end, by which whoever may place one would choose the file,
/// and without waiting for the other end of a pipe.
///
/// # Errors
/// What the kernel said.
pub fn open_itself(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
}

/// The rest of `file`, at most `bytes_max` bytes, in a buffer that never grew: no copy of a secret is left behind.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`]; what the kernel said.
pub fn read_to_end(file: File, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(bytes_max + 1);
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let why = format!("longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_lock_is_for_one_and_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let LockError::Held { holder } = Lock::take(&path).unwrap_err() else {
            panic!("not held");
        };
        assert_eq!(holder, format!("process {}", std::process::id()));
        drop(held);
        drop(Lock::take(&path).unwrap());
        let absent = Lock::take(&dir.path().join("no/lock")).unwrap_err();
        assert!(matches!(absent, LockError::Io(e) if e.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, fresh) = (dir.path().join("a"), dir.path().join("a.new"));
        replace(&path, &fresh, b"one", Readers::All).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o644));
        replace(&path, &fresh, b"two", Readers::Owner).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_lies_in_the_way_is_not_followed_and_what_failed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (path, fresh, other) = (
            dir.path().join("a"),
            dir.path().join("a.new"),
            dir.path().join("other"),
        );
        fs::write(&other, "precious").unwrap();
        symlink(&other, &fresh).unwrap();
        replace(&path, &fresh, b"one", Readers::Owner).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        symlink(&other, &fresh).unwrap();
        assert!(write_new(&fresh, b"x", Readers::Owner).is_err());
        assert!(open_itself(&fresh).is_err());
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        // A directory cannot be replaced by a file.
        fs::remove_file(&fresh).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        assert!(replace(&dir.path().join("folder"), &fresh, b"x", Readers::Owner).is_err());
        assert!(!fresh.exists());
    }

    #[test]
    fn too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "abc").unwrap();
        let read = |max| read_to_end(open_itself(&path).unwrap(), max);
        assert_eq!(read(3).unwrap(), b"abc");
        assert_eq!(read(2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_directory_is_made_once_for_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(make_private_dir(&path).unwrap());
        assert_eq!(mode(&path), 0o700);
        assert!(!make_private_dir(&path).unwrap());
        assert!(make_private_dir(&dir.path().join("b/c")).is_err());
        assert_eq!(foreign_owner(&fs::metadata(&path).unwrap()), None);
        assert_eq!(folder(Path::new("a")), Path::new("."));
        assert_eq!(folder(Path::new("/x/a")), Path::new("/x"));
    }
}
