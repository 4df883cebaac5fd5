//! The seal: what keeps private keys from being read where they are stored.

use crate::KeysError;
use signet_crypto::{CryptoError, SealingKey, Secret};
use signet_sys::files::{self, Readers};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Seals private keys for the change log, and opens them again.
pub trait Seal: Send + Sync {
    /// Its kind, as users write it: `file`.
    fn name(&self) -> &'static str;

    /// Seals `plain`, so that it opens only with the same `aad`.
    ///
    /// # Errors
    /// [`CryptoError`].
    fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Opens what [`Seal::seal`] made.
    ///
    /// # Errors
    /// [`CryptoError::Open`] for another seal, another `aad` or changed bytes.
    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError>;
}

/// The seal that somebody chose, not yet opened.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealChoice {
    /// A key in a file.
    File(PathBuf),
}

/// Reads `file=PATH`.
///
/// # Errors
/// [`KeysError::SealAbsent`] for the kinds that do not exist yet; [`KeysError::SealName`] for everything else.
pub fn parse_seal(text: &str) -> Result<SealChoice, KeysError> {
    match text.split_once('=').unwrap_or((text, "")) {
        ("file", path) if !path.is_empty() => Ok(SealChoice::File(path.into())),
        ("systemd", _) => Err(KeysError::SealAbsent { name: "systemd" }),
        ("tpm", _) => Err(KeysError::SealAbsent { name: "tpm" }),
        ("passphrase", _) => Err(KeysError::SealAbsent { name: "passphrase" }),
        _ => Err(KeysError::SealName {
            text: signet_fault::shown(text, 64),
        }),
    }
}

/// Seals with AES-256-GCM under a key of 32 bytes in a file that only its owner can read.
pub struct FileSeal {
    key: SealingKey,
    path: PathBuf,
}

impl FileSeal {
    /// Bytes in the file, no more and no less.
    pub const KEY_BYTES: usize = 32;

    /// Makes a new key file. An existing one is never touched: what was sealed under it would be lost.
    ///
    /// # Errors
    /// [`KeysError::SealFile`], among others where the file exists; [`KeysError::Crypto`].
    pub fn create(path: &Path) -> Result<Self, KeysError> {
        let refuse = |what| sealed_file(path, what);
        let key: Zeroizing<[u8; Self::KEY_BYTES]> =
            Zeroizing::new(signet_crypto::random().map_err(KeysError::Crypto)?);
        files::write_new(path, &*key, Readers::Owner).map_err(|e| refuse(SealFileFault::Io(e)))?;
        // The name must survive a crash as well as the bytes: keys sealed under a lost key are lost.
        if let Err(error) = files::sync_dir(files::folder(path)) {
            // It would be in the way of the next attempt. Best effort: the first error is the one to tell.
            let _ = std::fs::remove_file(path);
            return Err(refuse(SealFileFault::Io(error)));
        }
        Self::with_key(path, &key)
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// [`KeysError::SealFile`] where it is missing, no plain file, of another length, of another user, or open to
    /// others.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let refuse = |what| sealed_file(path, what);
        let mut file = files::open_itself(path).map_err(|e| refuse(SealFileFault::Io(e)))?;
        // Of the open file, so that nobody can change it between the look and the use.
        let meta = file.metadata().map_err(|e| refuse(SealFileFault::Io(e)))?;
        if !meta.is_file() {
            return Err(refuse(SealFileFault::NotFile));
        }
        let uid = signet_sys::process::uid();
        if meta.uid() != uid {
            let owner = meta.uid();
            return Err(refuse(SealFileFault::Owner { owner, uid }));
        }
        if meta.mode() & 0o077 != 0 {
            let mode = meta.mode() & 0o7777;
            return Err(refuse(SealFileFault::Mode { mode }));
        }
        let mut key = Zeroizing::new([0; Self::KEY_BYTES]);
        let bytes = meta.len();
        if bytes != Self::KEY_BYTES as u64 || file.read_exact(&mut *key).is_err() {
            return Err(refuse(SealFileFault::Length { bytes }));
        }
        Self::with_key(path, &key)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn with_key(path: &Path, key: &[u8; Self::KEY_BYTES]) -> Result<Self, KeysError> {
        Ok(Self {
            key: SealingKey::new(key).map_err(KeysError::Crypto)?,
            path: path.to_owned(),
        })
    }
}

fn sealed_file(path: &Path, what: SealFileFault) -> KeysError {
    KeysError::SealFile {
        path: path.to_owned(),
        what,
    }
}

/// What is wrong with a key file.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SealFileFault {
    /// It cannot be opened, made, read or written.
    #[error("{0}")]
    Io(std::io::Error),
    /// It is a directory, a pipe or a device.
    #[error("it is no plain file")]
    NotFile,
    /// It belongs to somebody else.
    #[error("it belongs to uid {owner}, we are uid {uid}")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Who we are.
        uid: u32,
    },
    /// Others can read or write it.
    #[error("its mode is {mode:04o}, so others can get at it: it must be 0600 or stricter")]
    Mode {
        /// The mode.
        mode: u32,
    },
    /// It holds no key.
    #[error("it has {bytes} bytes, a seal key has 32")]
    Length {
        /// How many bytes it has.
        bytes: u64,
    },
}

impl Seal for FileSeal {
    fn name(&self) -> &'static str {
        "file"
    }

    fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.key.seal(aad, plain)
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError> {
        self.key.open(aad, sealed)
    }
}

/// A seal whose key lies nowhere but in this process: for a store that ends with the process, too.
pub struct MemorySeal(SealingKey);

impl MemorySeal {
    /// A seal under a random key.
    ///
    /// # Errors
    /// [`KeysError::Crypto`].
    pub fn random() -> Result<Self, KeysError> {
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(signet_crypto::random().map_err(KeysError::Crypto)?);
        SealingKey::new(&key).map(Self).map_err(KeysError::Crypto)
    }
}

impl Seal for MemorySeal {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.0.seal(aad, plain)
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError> {
        self.0.open(aad, sealed)
    }
}
