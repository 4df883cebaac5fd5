//! A server's directory made of a backup: whole or not at all.

use crate::backups::PROOF;
use crate::init::{clean, settings_text};
use crate::storage::{self, Hold};
use crate::{InitOptions, ServerError};
use serde::Serialize;
use signet_fault::failpoint;
use signet_id::TrustDomain;
use signet_keys::{JwtAlgorithm, Keys, KeysConfig, Purpose, Seal, X509Algorithm, check_proof};
use signet_record::Recorder;
use signet_registry::Registry;
use signet_store::backup::{Backup, restored_base};
use signet_store::follow::{Followed, Guard};
use signet_store::memory::MemoryJournal;
use signet_store::{ChangeLog, Seq};
use signet_store_sqlite::SqliteLog;
use signet_sys::files::{self, Lock, LockError, Readers};
use signet_time::{SharedClock, UnixTime};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to be restored, and where.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The directory: absent or empty, or with `replace` that of a stopped server of the same trust domain.
    pub dir: PathBuf,
    /// What seals the keys, such as `file=/etc/signet/seal.key`; else what the backup names.
    pub seal: Option<String>,
    /// Whether what is in the directory may be put aside.
    pub replace: bool,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreSummary {
    /// The directory.
    pub dir: PathBuf,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// When the backup was taken.
    pub taken: UnixTime,
    /// The change that the backup was taken at.
    pub backup_seq: u64,
    /// The number that the new log begins after.
    pub seq: u64,
    /// How many rows of state there are.
    pub rows: usize,
    /// Where the state that was there before is kept, if there was one.
    pub kept: Option<PathBuf>,
    /// The file of the seal's key.
    pub seal_key: PathBuf,
    /// A settings file that runs the server.
    pub config: PathBuf,
}

/// The failpoints of [`restore`], in the order in which it passes them when it replaces a server.
pub const RESTORE_FAILPOINTS: &[&str] = &[
    "server.restore.checked",
    "server.restore.begun",
    "server.restore.imported",
    "server.restore.filled",
    "server.restore.kept",
    "server.restore.placed",
];

/// Makes the directory of a server from the bytes of a backup, with a log of a new epoch whose numbers are larger than
/// all that the domain has used.
///
/// Everything is made and checked beside the directory, and takes its place last. Where that fails, what was there is
/// there.
///
/// # Errors
/// [`ServerError`]; what the backup, the seal and the store say keeps its code.
pub async fn restore(
    bytes: Vec<u8>,
    options: RestoreOptions,
    clock: SharedClock,
) -> Result<RestoreSummary, ServerError> {
    let backup = Backup::decode(&bytes).map_err(ServerError::part("read the backup"))?;
    drop(bytes);
    let trust_domain = TrustDomain::parse(&backup.trust_domain)
        .map_err(ServerError::part("read the backup's trust domain"))?;
    let dir = std::path::absolute(&options.dir).map_err(storage::unusable(&options.dir))?;
    let named = options.seal.as_deref().unwrap_or(&backup.seal);
    let seal_key = std::path::absolute(storage::seal_path(named)?).map_err(storage::unusable(&dir))?;
    if storage::is_inside(&seal_key, &dir) {
        return Err(ServerError::SealInside { key: seal_key });
    }
    let seal = Arc::new(storage::open_seal(&seal_key)?);
    let proof = &backup.proof;
    if check_proof(&*seal, PROOF, &proof.of, &proof.sealed).is_err() {
        return Err(ServerError::ForeignBackup { seal_key });
    }
    let now = clock.now();
    if now < backup.taken {
        return Err(ServerError::Clock { taken: backup.taken });
    }
    let base = restored_base(now, &[backup.image.snapshot.cursor.seq])
        .ok_or(ServerError::Clock { taken: backup.taken })?;
    // Held until the new server is in its place.
    let old = Old::take(&dir, &trust_domain, options.replace)?;
    hit(&dir, "server.restore.checked")?;
    let fresh = beside(&dir, &format!("restoring-{}", std::process::id()));
    if !storage::make_dir(&fresh)? {
        return Err(ServerError::NotEmpty { dir: fresh });
    }
    let staged = Staged {
        fresh: &fresh,
        dir: &dir,
        trust_domain: &trust_domain,
        seal_key: &seal_key,
    };
    let placed = async {
        hit(&dir, "server.restore.begun")?;
        let seq = staged.fill(&backup, seal, base, old.settings()?).await?;
        hit(&dir, "server.restore.filled")?;
        let kept = old.replace_by(&fresh, &dir, now)?;
        Ok((seq, kept))
    }
    .await;
    if placed.is_err() {
        // Best effort: the first error is the one to tell.
        clean(&fresh, true);
    }
    let (seq, kept) = placed?;
    Ok(RestoreSummary {
        config: dir.join("server.toml"),
        dir,
        trust_domain,
        taken: backup.taken,
        backup_seq: backup.image.snapshot.cursor.seq.0,
        seq: seq.0,
        rows: backup.image.snapshot.rows.len(),
        kept,
        seal_key,
    })
}

fn hit(dir: &Path, name: &'static str) -> Result<(), ServerError> {
    failpoint::hit(name).map_err(|e| storage::unusable(dir)(e.into()))
}

/// `dir` with `.suffix` after its name.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(dir.file_name().unwrap_or_default());
    name.push(format!(".{suffix}"));
    dir.with_file_name(name)
}

/// What lies where the server is to be.
enum Old {
    Nothing,
    Server { dir: PathBuf, _lock: Lock },
}

impl Old {
    /// Looks, and keeps a server from starting there meanwhile.
    fn take(dir: &Path, trust_domain: &TrustDomain, replace: bool) -> Result<Self, ServerError> {
        match fs::symlink_metadata(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(e) => return Err(storage::unusable(dir)(e)),
            // A link would be put aside and what it leads to would stay.
            Ok(found) if !found.is_dir() => {
                return Err(storage::unusable(dir)(io::ErrorKind::NotADirectory.into()));
            }
            Ok(_) => {}
        }
        if storage::is_empty(dir)? {
            return Ok(Self::Nothing);
        }
        if !replace {
            return Err(ServerError::Occupied { dir: dir.to_owned() });
        }
        storage::check_dir(dir)?;
        storage::check_server(dir, trust_domain)?;
        let lock = Lock::take(&dir.join("state.db.lock")).map_err(|error| match error {
            LockError::Held { holder } => ServerError::Running {
                dir: dir.to_owned(),
                holder,
            },
            LockError::Io(error) => storage::unusable(dir)(error),
        })?;
        Ok(Self::Server {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// The settings of the server that was there.
    fn settings(&self) -> Result<Option<Vec<u8>>, ServerError> {
        let Self::Server { dir, .. } = self else {
            return Ok(None);
        };
        match fs::read(dir.join("server.toml")) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(storage::unusable(dir)(e)),
        }
    }

    /// Puts what was there aside and `fresh` in its place. Where it is now, if something was there.
    fn replace_by(&self, fresh: &Path, dir: &Path, now: UnixTime) -> Result<Option<PathBuf>, ServerError> {
        let kept = match self {
            Self::Nothing => None,
            Self::Server { .. } => Some(beside(dir, &format!("before-restore-{}", now.as_millis()))),
        };
        let unusable = storage::unusable(dir);
        if let Some(kept) = &kept {
            fs::rename(dir, kept).map_err(&unusable)?;
        }
        // Without this step there is no server, and both halves lie beside: never one that is half of each.
        let done = hit(dir, "server.restore.kept").and_then(|()| fs::rename(fresh, dir).map_err(&unusable));
        if let (Err(_), Some(kept)) = (&done, &kept) {
            // Best effort: the first error is the one to tell.
            let _ = fs::rename(kept, dir);
        }
        done?;
        files::sync_dir(files::folder(dir)).map_err(&unusable)?;
        hit(dir, "server.restore.placed")?;
        Ok(kept)
    }
}

/// The new server, beside the place where it is to be.
struct Staged<'a> {
    fresh: &'a Path,
    dir: &'a Path,
    trust_domain: &'a TrustDomain,
    seal_key: &'a Path,
}

impl Staged<'_> {
    async fn fill(
        &self,
        backup: &Backup,
        seal: Arc<dyn Seal>,
        base: Seq,
        settings: Option<Vec<u8>>,
    ) -> Result<Seq, ServerError> {
        let _hold = storage::claim(self.fresh, Hold::Alone).map_err(storage::unusable(self.fresh))?;
        let (path, rows) = (self.fresh.join("state.db"), backup.image.renumbered(base));
        let log = tokio::task::spawn_blocking(move || {
            let cursor = signet_store_sqlite::import(&path, &rows, base)?;
            SqliteLog::open(&path).map(|log| (cursor.seq, log))
        })
        .await
        .map_err(|_| ServerError::Task { task: "import" })?;
        let (seq, log) = log.map_err(ServerError::part("write the change log"))?;
        hit(self.dir, "server.restore.imported")?;
        let (x509, jwt) = self.check(Arc::new(log), seal).await?;
        let text = settings.unwrap_or_else(|| {
            let options = InitOptions {
                dir: self.dir.to_owned(),
                trust_domain: self.trust_domain.clone(),
                seal: String::new(),
                x509,
                jwt,
            };
            settings_text(&options, self.dir, self.seal_key).into_bytes()
        });
        files::write_new(&self.fresh.join("server.toml"), &text, Readers::Owner)
            .map_err(storage::unusable(self.fresh))?;
        storage::write_marker(self.fresh, self.trust_domain, false)?;
        Ok(seq)
    }

    /// Opens everything as a server would: the seal fits, each key opens, each entry is understood. What the keys sign
    /// with.
    async fn check(
        &self,
        log: Arc<dyn ChangeLog>,
        seal: Arc<dyn Seal>,
    ) -> Result<(X509Algorithm, JwtAlgorithm), ServerError> {
        let recorder = Recorder::new(Arc::new(MemoryJournal::new()));
        let config = KeysConfig::new(self.trust_domain.clone());
        let keys = Keys::open(Arc::clone(&log), seal, recorder, config)
            .await
            .map_err(ServerError::part("open the backup's keys"))?;
        Registry::open(Arc::clone(&log), self.trust_domain.clone())
            .await
            .map_err(ServerError::part("open the backup's entries"))?;
        Followed::open(log, || Guard::new(&[signet_registry::KINDS, signet_keys::KINDS]))
            .await
            .map_err(ServerError::part("understand the backup"))?;
        let root = keys
            .active(Purpose::X509Root)
            .map_err(ServerError::part("find the backup's root"))?;
        let token = keys
            .active(Purpose::JwtSvid)
            .map_err(ServerError::part("find the backup's key for tokens"))?;
        let x509 = X509Algorithm::parse(root.public_key().kind().as_str()).unwrap_or_default();
        Ok((x509, JwtAlgorithm::of(&token).unwrap_or_default()))
    }
}
