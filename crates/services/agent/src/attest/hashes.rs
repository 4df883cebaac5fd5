use core::time::Duration;
use signet_crypto::digest::Sha256;
use signet_time::UnixTime;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// SHA-256 of executables, each read once while it does not change.
pub(super) struct Hashes {
    known: Mutex<HashMap<Key, [u8; 32]>>,
    /// The files that are being read, each with what its reader holds: a thousand processes of one program cost one reading,
    /// and a file that is slow to read holds up its own alone.
    reading: Mutex<HashMap<Key, Arc<Mutex<()>>>>,
}

/// A file as it was when it was read. Nobody can set the time of last change (`ctime`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Hashes {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    /// The hash of `file`; `None` if it has more than `bytes_max` bytes or changed while it was read.
    pub(super) fn of(&self, mut file: File, bytes_max: u64, now: UnixTime) -> io::Result<Option<[u8; 32]>> {
        let key = Key::of(&file.metadata()?);
        if key.size > bytes_max {
            return Ok(None);
        }
        if let Some(hash) = self.find(&key) {
            return Ok(Some(hash));
        }
        let turn = Arc::clone(lock(&self.reading).entry(key).or_default());
        let hash = {
            let _reading = lock(&turn);
            // Somebody else may have read it meanwhile.
            self.find(&key)
                .map_or_else(|| self.read(&mut file, key, now), |hash| Ok(Some(hash)))
        };
        self.leave(&key, turn);
        hash
    }

    fn read(&self, file: &mut File, key: Key, now: UnixTime) -> io::Result<Option<[u8; 32]>> {
        let hash = hash(file, key.size)?;
        if Key::of(&file.metadata()?) != key {
            return Ok(None);
        }
        // A file that changed just now may change again within the same tick of the file system's clock.
        let changed = UnixTime::from_secs(u64::try_from(key.changed.0).unwrap_or(u64::MAX));
        if now.since(changed) > SETTLED_AFTER {
            let mut known = lock(&self.known);
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(key, hash);
        }
        Ok(Some(hash))
    }

    /// Whoever comes last forgets that the file was read.
    fn leave(&self, key: &Key, turn: Arc<Mutex<()>>) {
        let mut reading = lock(&self.reading);
        drop(turn);
        if reading.get(key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            reading.remove(key);
        }
    }

    fn find(&self, key: &Key) -> Option<[u8; 32]> {
        lock(&self.known).get(key).copied()
    }
}

impl Key {
    fn of(file: &Metadata) -> Self {
        Self {
            dev: file.dev(),
            ino: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: nothing panics half way through a change of what these hold.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(file: &mut File, size: u64) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    // Not one byte more than was announced: a file that grows is found out by its times.
    let mut rest = file.take(size);
    loop {
        let count = rest.read(&mut chunk)?;
        match chunk.get(..count) {
            None | Some([]) => return Ok(hash.finish()),
            Some(bytes) => hash.update(bytes),
        }
    }
}

/// Programs that run on one node; beyond that the list starts anew.
const KNOWN_MAX: usize = 4096;
const CHUNK_BYTES: usize = 256 << 10;
const SETTLED_AFTER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use signet_crypto::digest::{hex, sha256};
    use std::io::Write as _;

    fn far_ahead() -> UnixTime {
        UnixTime::from_secs(1 << 40)
    }

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(b"one").expect("write");
        let hashes = Hashes::new();
        let of = || {
            hashes
                .of(file.reopen().expect("open"), 10, far_ahead())
                .expect("hash")
        };
        assert_eq!(of().map(|h| hex(&h)), Some(hex(&sha256(b"one"))));
        assert_eq!(hashes.known.lock().expect("lock").len(), 1);
        assert_eq!(of(), Some(sha256(b"one")));
        std::fs::write(file.path(), b"three").expect("write");
        assert_eq!(of(), Some(sha256(b"three")));
        std::fs::write(file.path(), b"more than ten").expect("write");
        assert_eq!(of(), None, "over the cap");
    }

    #[test]
    fn a_file_that_is_slow_to_read_holds_up_no_other() {
        let (slow, other) = (
            tempfile::NamedTempFile::new().expect("file"),
            tempfile::NamedTempFile::new().expect("file"),
        );
        std::fs::write(other.path(), b"other").expect("write");
        let hashes = Hashes::new();
        let key = Key::of(&slow.as_file().metadata().expect("stat"));
        // Somebody is in the middle of reading the slow one.
        let turn = Arc::clone(lock(&hashes.reading).entry(key).or_default());
        let reading = lock(&turn);
        let hash = hashes.of(other.reopen().expect("open"), 10, far_ahead());
        assert_eq!(hash.expect("hash"), Some(sha256(b"other")));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| hashes.of(slow.reopen().expect("open"), 10, far_ahead()));
            // It has come, and waits for that reading.
            while Arc::strong_count(&turn) < 3 {
                std::thread::yield_now();
            }
            lock(&hashes.known).insert(key, [7; 32]);
            drop(reading);
            assert_eq!(waiting.join().expect("join").expect("hash"), Some([7; 32]));
        });
        hashes.leave(&key, turn);
        assert!(lock(&hashes.reading).is_empty(), "nothing stays of what was read");
    }

    #[test]
    fn a_file_that_changed_just_now_is_not_remembered() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let hashes = Hashes::new();
        let at = UnixTime::from_secs(
            u64::try_from(file.as_file().metadata().expect("stat").ctime()).expect("time"),
        );
        assert_eq!(
            hashes.of(file.reopen().expect("open"), 10, at).expect("hash"),
            Some(sha256(b""))
        );
        assert!(hashes.known.lock().expect("lock").is_empty());
    }
}
