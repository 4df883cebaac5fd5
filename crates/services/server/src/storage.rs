//! The directory of a server, and opening what lies in it.
//!
//! `DIR/signet` says what the directory is and whose; it is written last, so that a directory without it was never
//! finished. `DIR/state.db` is the change log, `DIR/journal` the record.

use crate::health::Probe;
use crate::watched::{WatchedLog, watched_journal};
use crate::{ServerError, Storage};
use signet_id::TrustDomain;
use signet_journal_file::FileJournal;
use signet_keys::{FileSeal, MemorySeal, Seal, SealChoice, parse_seal};
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_store::{ChangeLog, Journal};
use signet_store_sqlite::SqliteLog;
use signet_sys::files::{self, Readers};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What state, keys and the record stand on.
pub(crate) struct Opened {
    pub(crate) log: Arc<dyn ChangeLog>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) seal: Arc<dyn Seal>,
    pub(crate) probes: Vec<Probe>,
}

/// What the directory's own file says.
struct Marker {
    trust_domain: String,
    insecure: bool,
}

const MARKER: &str = "signet";
const MARKER_HEAD: &str = "signet server directory, layout 1";
const MARKER_BYTES_MAX: usize = 1024;

/// The seal's key of a directory that `signet dev --dir` made: beside what it seals.
pub(crate) const INSECURE_KEY: &str = "insecure-seal.key";

/// Opens what `storage` names for `trust_domain`. May block.
pub(crate) fn open(storage: &Storage, trust_domain: &TrustDomain) -> Result<Opened, ServerError> {
    match storage {
        Storage::Memory => Ok(Opened {
            log: Arc::new(MemoryLog::new()),
            journal: Arc::new(MemoryJournal::new()),
            seal: Arc::new(MemorySeal::random().map_err(ServerError::part("make a seal"))?),
            probes: Vec::new(),
        }),
        Storage::Directory { dir, seal } => {
            check_dir(dir)?;
            check_marker(dir, trust_domain, Insecure::Refused)?;
            let key = seal_path(seal)?;
            if is_inside(&key, dir) {
                return Err(ServerError::SealInside { key });
            }
            let seal = open_seal(&key)?;
            open_files(dir, Arc::new(seal))
        }
        Storage::Insecure { dir } => {
            make_dir(dir)?;
            check_dir(dir)?;
            let key = dir.join(INSECURE_KEY);
            if !dir.join(MARKER).exists() {
                let _hold = claim(dir, Hold::Alone).map_err(unusable(dir))?;
                if is_empty(dir)? {
                    FileSeal::create(&key).map_err(ServerError::part("make the seal's key"))?;
                } else if !key.exists() {
                    return Err(ServerError::NotEmpty { dir: dir.clone() });
                }
                // A run that ended before it wrote the marker left nothing that anybody relies on.
                write_marker(dir, trust_domain, true)?;
            }
            check_marker(dir, trust_domain, Insecure::Expected)?;
            open_files(dir, Arc::new(open_seal(&key)?))
        }
    }
}

/// How something is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By nobody else.
    Alone,
    /// Beside others that only use it.
    Shared,
}

/// Holds the file or directory `path` against others that set up a server, until the answer is dropped.
pub(crate) fn claim(path: &Path, hold: Hold) -> io::Result<fs::File> {
    let busy = || {
        let why = "another process is just setting up a server with it";
        io::Error::new(io::ErrorKind::ResourceBusy, why)
    };
    let file = fs::File::open(path)?;
    let locked = match hold {
        Hold::Alone => file.try_lock(),
        Hold::Shared => file.try_lock_shared(),
    };
    locked.map_err(|e| match e {
        fs::TryLockError::WouldBlock => busy(),
        fs::TryLockError::Error(error) => error,
    })?;
    // Whoever held it before may have removed it: then what is locked is not what `path` names.
    let (held, named) = (file.metadata()?, fs::metadata(path)?);
    if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
        return Err(busy());
    }
    Ok(file)
}

/// Whether `file` lies in `dir` or below, by whatever way it is named.
pub(crate) fn is_inside(file: &Path, dir: &Path) -> bool {
    resolved(file.parent().unwrap_or(file)).starts_with(resolved(dir))
}

/// `path` without links and `..`, as far as it exists; what does not exist is taken as it is written.
fn resolved(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            // What was found so far has no links, so that its parent is the one before.
            Component::ParentDir => {
                found.pop();
            }
            part => {
                found.push(part);
                found = found.canonicalize().unwrap_or(found);
            }
        }
    }
    found
}

/// Opens the seal whose key is the file `key`.
pub(crate) fn open_seal(key: &Path) -> Result<FileSeal, ServerError> {
    FileSeal::open(key).map_err(ServerError::part("open the seal"))
}

/// The key file that `text` names.
pub(crate) fn seal_path(text: &str) -> Result<PathBuf, ServerError> {
    match parse_seal(text).map_err(ServerError::part("choose the seal"))? {
        SealChoice::File(path) => Ok(path),
        // The parser names only seals that exist; a new one has to be opened here before it parses.
        other => Err(ServerError::Seal {
            choice: format!("{other:?}"),
        }),
    }
}

/// Opens or makes the change log and the record in `dir`. May block.
pub(crate) fn open_files(dir: &Path, seal: Arc<dyn Seal>) -> Result<Opened, ServerError> {
    let log = SqliteLog::open(&dir.join("state.db")).map_err(ServerError::part("open the change log"))?;
    let journal = FileJournal::open(&dir.join("journal")).map_err(ServerError::part("open the record"))?;
    let (log, journal) = (Arc::new(log), Arc::new(journal));
    // Weak, so that no probe keeps the files open.
    let (weak_log, weak_journal) = (Arc::downgrade(&log), Arc::downgrade(&journal));
    let log = WatchedLog::new(log);
    let log_refusal = log.probe();
    let (journal, journal_refusal) = watched_journal(journal);
    // What is broken until restart says so better than the last refusal does.
    let log_probe: Probe = Box::new(move || {
        let broken = weak_log.upgrade().and_then(|log| log.broken().map(str::to_owned));
        broken.map_or_else(&log_refusal, |why| Some(format!("change log: {why}")))
    });
    let journal_probe: Probe = Box::new(move || {
        let broken = weak_journal.upgrade().and_then(|j| j.broken().map(str::to_owned));
        broken.map_or_else(&journal_refusal, |why| Some(format!("record: {why}")))
    });
    Ok(Opened {
        log: Arc::new(log),
        journal: Arc::new(journal),
        seal,
        probes: vec![log_probe, journal_probe],
    })
}

/// Makes `dir` for this user alone, unless it is there. Returns whether it was made.
pub(crate) fn make_dir(dir: &Path) -> Result<bool, ServerError> {
    files::make_private_dir(dir).map_err(unusable(dir))
}

/// Refuses a directory that another user owns or can look into.
pub(crate) fn check_dir(dir: &Path) -> Result<(), ServerError> {
    let found = match fs::metadata(dir) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(ServerError::Absent { dir: dir.into() });
        }
        Err(source) => return Err(unusable(dir)(source)),
    };
    if !found.is_dir() {
        return Err(unusable(dir)(io::ErrorKind::NotADirectory.into()));
    }
    if found.uid() != signet_sys::process::uid() || found.mode() & 0o077 != 0 {
        return Err(ServerError::DirectoryOwner {
            dir: dir.into(),
            owner: found.uid(),
            mode: found.mode() & 0o7777,
        });
    }
    Ok(())
}

pub(crate) fn is_empty(dir: &Path) -> Result<bool, ServerError> {
    let mut entries = fs::read_dir(dir).map_err(unusable(dir))?;
    Ok(entries.next().is_none())
}

/// Says in `dir` what it is. Synced: what follows relies on it.
pub(crate) fn write_marker(
    dir: &Path,
    trust_domain: &TrustDomain,
    insecure: bool,
) -> Result<(), ServerError> {
    let seal = if insecure { "insecure" } else { "elsewhere" };
    let text = format!("{MARKER_HEAD}\ntrust_domain {trust_domain}\nseal {seal}\n");
    files::write_new(&dir.join(MARKER), text.as_bytes(), Readers::Owner)
        .and_then(|()| files::sync_dir(dir))
        .map_err(unusable(dir))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Insecure {
    Refused,
    Expected,
}

fn check_marker(dir: &Path, trust_domain: &TrustDomain, insecure: Insecure) -> Result<(), ServerError> {
    let marker = match fs::read_to_string(dir.join(MARKER)) {
        Ok(text) => parse_marker(&text).ok_or_else(|| {
            unusable(dir)(io::Error::new(
                io::ErrorKind::InvalidData,
                "its file `signet` is of another layout",
            ))
        })?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(ServerError::Absent { dir: dir.into() }),
        Err(source) => return Err(unusable(dir)(source)),
    };
    if marker.trust_domain != trust_domain.as_str() {
        return Err(ServerError::TrustDomain {
            found: marker.trust_domain,
            configured: trust_domain.to_string(),
        });
    }
    if marker.insecure && insecure == Insecure::Refused {
        return Err(ServerError::Insecure { dir: dir.into() });
    }
    if !marker.insecure && insecure == Insecure::Expected {
        return Err(ServerError::NotForDev { dir: dir.into() });
    }
    Ok(())
}

/// Refuses a directory that is not that of a server of `trust_domain`.
pub(crate) fn check_server(dir: &Path, trust_domain: &TrustDomain) -> Result<(), ServerError> {
    check_marker(dir, trust_domain, Insecure::Refused)
}

fn parse_marker(text: &str) -> Option<Marker> {
    let mut lines = text.get(..text.len().min(MARKER_BYTES_MAX))?.lines();
    if lines.next() != Some(MARKER_HEAD) {
        return None;
    }
    let trust_domain = lines.next()?.strip_prefix("trust_domain ")?.to_owned();
    let insecure = match lines.next()? {
        "seal insecure" => true,
        "seal elsewhere" => false,
        _ => return None,
    };
    Some(Marker {
        trust_domain,
        insecure,
    })
}

pub(crate) fn unusable(dir: &Path) -> impl Fn(io::Error) -> ServerError {
    move |source| ServerError::Directory {
        dir: dir.into(),
        source,
    }
}
