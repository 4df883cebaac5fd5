//! Files that commands read and write.

use crate::Outcome;
use crate::error::CliError;
use signet_sys::files;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

pub(crate) use signet_sys::files::Readers;

/// Reads the file at `path`, or standard input for `-`; at most `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Outcome<String> {
    String::from_utf8(read_bytes(path, bytes_max)?).map_err(|_| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text in UTF-8");
        let path = path.into();
        CliError::Read { path, source }.into()
    })
}

/// As [`read`], whatever the bytes are.
pub(crate) fn read_bytes(path: &Path, bytes_max: u64) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let outcome = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(bytes_max + 1)
            .read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
    };
    let refused = |source| CliError::Read {
        path: path.into(),
        source,
    };
    outcome.map_err(refused)?;
    if bytes.len() as u64 > bytes_max {
        let why = format!("longer than {bytes_max} bytes");
        return Err(refused(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why)).into());
    }
    Ok(bytes)
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one and nothing between.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Outcome {
    // Whoever else writes the same file does so under another number.
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    files::replace(path, &fresh, bytes, readers).map_err(|source| {
        CliError::Write {
            path: path.into(),
            source,
        }
        .into()
    })
}

/// Takes `path`, which must not exist, for a file to be written later; so that what cannot be written is known
/// before anything depends on it.
pub(crate) fn reserve(path: &Path) -> Outcome {
    let made = files::create_new(path, Readers::Owner);
    made.map(drop).map_err(|source| {
        let path = path.into();
        CliError::Write { path, source }.into()
    })
}

/// Makes the directories above `path` that do not exist.
pub(crate) fn make_parents(path: &Path) -> Outcome {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|source| {
        let path = parent.into();
        CliError::Write { path, source }.into()
    })
}

/// A directory of this process alone, removed with all that is in it when the value goes.
pub(crate) struct PrivateDir(PathBuf);

impl PrivateDir {
    /// Makes one below the system's directory for temporary files.
    pub(crate) fn make() -> Outcome<Self> {
        let name = format!(
            "signet-dev-{}",
            signet_crypto::digest::hex(&signet_crypto::random::<6>()?)
        );
        let path = std::env::temp_dir().join(name);
        make_private(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "temporary directory not removed");
        }
    }
}

/// Makes the directory `path`, which must not exist, for this user alone.
fn make_private(path: &Path) -> Outcome {
    let refused = |source| CliError::Write {
        path: path.into(),
        source,
    };
    match files::make_private_dir(path).map_err(refused)? {
        true => Ok(()),
        false => Err(refused(std::io::ErrorKind::AlreadyExists.into()).into()),
    }
}

/// Makes sure that `path` is a directory of this user that nobody else can write to, and returns its full path.
pub(crate) fn own_dir(path: &Path) -> Outcome<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let refused = |why: String| CliError::Directory {
        path: path.into(),
        why,
    };
    fs::create_dir_all(path.parent().unwrap_or(Path::new("")))
        .and_then(|()| files::make_private_dir(path))
        .map_err(|e| refused(e.to_string()))?;
    let meta = fs::metadata(path).map_err(|e| refused(e.to_string()))?;
    if !meta.is_dir() {
        return Err(refused("it is not a directory".into()).into());
    }
    if meta.uid() != signet_sys::process::uid() {
        return Err(refused(format!("it belongs to user {}", meta.uid())).into());
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refused(format!("others may write to it (mode {:o})", meta.mode() & 0o777)).into());
    }
    if path.join("server.toml").exists() || path.join("state.db").exists() {
        return Err(refused("it holds a server made by `signet server init`".into()).into());
    }
    Ok(fs::canonicalize(path).map_err(|e| refused(e.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_replaced_whole_and_with_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one", Readers::All).unwrap();
        write(&path, b"two", Readers::Owner).unwrap();
        assert_eq!(read(&path, 3).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(read(&path, 2).unwrap_err().code, "SGCL001");
        write(&path, &[0xff], Readers::Owner).unwrap();
        assert!(read(&path, 3).unwrap_err().what.contains("UTF-8"));
        assert_eq!(read_bytes(&path, 1).unwrap(), [0xff]);
        let absent = write(&dir.path().join("no/a"), b"", Readers::All).unwrap_err();
        assert_eq!(absent.code, "SGCL002");
    }

    #[test]
    fn a_private_directory_goes_with_its_value() {
        let dir = PrivateDir::make().unwrap();
        let path = dir.path().to_path_buf();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        write(&path.join("a"), b"x", Readers::Owner).unwrap();
        drop(dir);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = own_dir(&dir.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&made, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(own_dir(&made).unwrap_err().code, "SGCL008");
        let server = own_dir(&dir.path().join("server")).unwrap();
        fs::write(server.join("server.toml"), "").unwrap();
        let refused = own_dir(&server).unwrap_err();
        assert!(refused.what.contains("signet server init"), "{}", refused.what);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(own_dir(&dir.path().join("file")).unwrap_err().code, "SGCL008");
    }
}
