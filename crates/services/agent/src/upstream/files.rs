//! The state directory: the node's key and what it was given for it.

use crate::AgentError;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use signet_crypto::{LocalKey, Secret};
use signet_feed::{bundle_from_proto, bundle_to_proto};
use signet_id::TrustDomain;
use signet_jose::base64url;
use signet_proto::agent::v1;
use signet_sys::files::{self, Lock, LockError};
use signet_trust::Bundle;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory that belongs to us, that nobody else can write to, and that one process writes at a time.
#[derive(Clone)]
pub(crate) struct StateDir {
    path: PathBuf,
    pen: Pen,
}

/// What is kept beside the key: nothing in it is secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFile {
    /// Of what this file is.
    version: u32,
    pub(super) trust_domain: TrustDomain,
    /// Where the servers are, `HOST:PORT`.
    pub(super) servers: Vec<String>,
    /// The node's SVID, leaf first, as PEM.
    pub(super) chain: String,
    /// The own domain's bundle as the feed brings it, in base64url: the SPIFFE format knows no taint, and a start
    /// must not make a tainted authority a good one.
    bundle: String,
    /// SHA-256 of the roots that were ever tainted, in base64url, the newest last: a bundle forgets them when they leave it.
    /// Files from before have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tainted: Vec<String>,
}

/// The marks of the node's last renewal, and whether it was answered. Whoever knows them can hide that the key was
/// copied, so they are kept as the key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarksFile {
    pub(super) from: Option<[u8; 16]>,
    pub(super) to: [u8; 16],
    pub(super) answered: bool,
}

/// [`MarksFile`] as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarksForm {
    version: u32,
    /// In base64url; empty if there was none.
    from: String,
    to: String,
    answered: bool,
}

impl MarksFile {
    /// As it is said to a server.
    pub(super) fn step(&self) -> v1::RenewalStep {
        v1::RenewalStep {
            from: self.from.map_or_else(Vec::new, Vec::from).into(),
            to: Vec::from(self.to).into(),
        }
    }

    fn from_form(form: &MarksForm) -> Option<Self> {
        let mark = |text: &str| <[u8; 16]>::try_from(base64url::decode(text)?.as_slice()).ok();
        Some(Self {
            from: match form.from.as_str() {
                "" => None,
                text => Some(mark(text)?),
            },
            to: mark(&form.to)?,
            answered: form.answered,
        })
    }
}

impl NodeFile {
    pub(super) fn new(
        trust_domain: TrustDomain,
        servers: Vec<String>,
        chain: String,
        bundle: &Bundle,
        tainted: &[[u8; 32]],
    ) -> Self {
        Self {
            version: VERSION,
            trust_domain,
            servers,
            chain,
            bundle: base64url::encode(&bundle_to_proto(bundle, true).encode_to_vec()),
            tainted: tainted.iter().map(|root| base64url::encode(root)).collect(),
        }
    }

    /// The roots that were ever tainted; `None` where that cannot be read.
    pub(super) fn tainted(&self) -> Option<Vec<[u8; 32]>> {
        let root = |text: &String| base64url::decode(text)?.as_slice().try_into().ok();
        self.tainted.iter().map(root).collect()
    }

    pub(super) fn bundle(&self) -> Option<Bundle> {
        let bytes = base64url::decode(&self.bundle)?;
        bundle_from_proto(&v1::Bundle::decode(bytes.as_slice()).ok()?).ok()
    }
}

impl StateDir {
    /// Opens `path` to write it, and makes it if it does not exist.
    ///
    /// # Errors
    /// [`AgentError::StateHeld`] if another process does; [`AgentError::FileUnsafe`] if it belongs to somebody else or
    /// others may write to it; [`AgentError::File`].
    pub(crate) fn open(path: &Path) -> Result<Self, AgentError> {
        check(path)?;
        let lock = Lock::take(&path.join(LOCK_FILE)).map_err(|error| unlocked(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            pen: Pen::new(Grip::Held(lock)),
        })
    }

    /// Opens `path`, which another process writes until [`Pen::take_up`]. It has handed on its lock as `lock`.
    ///
    /// # Errors
    /// As [`StateDir::open`].
    pub(crate) fn adopt(path: &Path, lock: OwnedFd) -> Result<Self, AgentError> {
        check(path)?;
        let lock = Lock::adopt(&path.join(LOCK_FILE), lock).map_err(|error| unlocked(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            pen: Pen::new(Grip::Awaited(lock, BTreeMap::new())),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn pen(&self) -> &Pen {
        &self.pen
    }

    /// The node's key, if there is one.
    pub(super) fn key(&self) -> Result<Option<LocalKey>, AgentError> {
        let path = self.path.join(KEY_FILE);
        let Some(bytes) = read(&path, Readers::Owner)? else {
            return Ok(None);
        };
        let key = LocalKey::from_pkcs8(bytes.expose());
        key.map(Some).map_err(|_| AgentError::FileForm {
            path,
            what: "a private key in PKCS#8",
        })
    }

    /// Keeps `key`: durable and readable for us alone when this returns.
    pub(super) fn keep_key(&self, key: &LocalKey) -> Result<(), AgentError> {
        let pkcs8 = key.to_pkcs8().map_err(AgentError::Key)?;
        self.write(KEY_FILE, pkcs8.expose())
    }

    /// What was kept beside the key, if anything.
    pub(super) fn node(&self) -> Result<Option<NodeFile>, AgentError> {
        let path = self.path.join(NODE_FILE);
        let Some(bytes) = read(&path, Readers::Anybody)? else {
            return Ok(None);
        };
        match serde_json::from_slice::<NodeFile>(bytes.expose()) {
            Ok(node) if node.version == VERSION => Ok(Some(node)),
            _ => Err(AgentError::FileForm {
                path,
                what: "the identity of a node",
            }),
        }
    }

    pub(super) fn keep_node(&self, node: &NodeFile) -> Result<(), AgentError> {
        let path = self.path.join(NODE_FILE);
        let json = serde_json::to_vec_pretty(node).map_err(|e| file("write", &path, e.into()))?;
        self.write(NODE_FILE, &json)
    }

    /// The marks of the last renewal, if any were kept.
    pub(super) fn marks(&self) -> Result<Option<MarksFile>, AgentError> {
        let path = self.path.join(MARKS_FILE);
        let Some(bytes) = read(&path, Readers::Owner)? else {
            return Ok(None);
        };
        let form = serde_json::from_slice::<MarksForm>(bytes.expose()).ok();
        let marks = form
            .filter(|form| form.version == MARKS_VERSION)
            .and_then(|form| MarksFile::from_form(&form));
        marks.map(Some).ok_or(AgentError::FileForm {
            path,
            what: "the marks of a node's renewals",
        })
    }

    pub(super) fn keep_marks(&self, marks: &MarksFile) -> Result<(), AgentError> {
        let path = self.path.join(MARKS_FILE);
        let form = MarksForm {
            version: MARKS_VERSION,
            from: marks
                .from
                .map(|mark| base64url::encode(&mark))
                .unwrap_or_default(),
            to: base64url::encode(&marks.to),
            answered: marks.answered,
        };
        let json = serde_json::to_vec_pretty(&form).map_err(|e| file("write", &path, e.into()))?;
        self.write(MARKS_FILE, &json)
    }

    /// Puts a file in place whole or not at all, once it is this process that writes.
    fn write(&self, name: &'static str, bytes: &[u8]) -> Result<(), AgentError> {
        // Held while it is written, so that nothing is under way once the pen is laid down.
        let mut grip = self.pen.lock();
        match &mut *grip {
            Grip::Held(_) => put(&self.path, name, bytes),
            Grip::Awaited(_, waiting) => {
                waiting.insert(name, Secret::new(bytes.to_vec()));
                Ok(())
            }
            // Another process knows better by now.
            Grip::Gone => Ok(()),
        }
    }
}

/// The right to write a state directory, of which one process has it at a time. Clones share it.
#[derive(Clone)]
pub(crate) struct Pen(Arc<Mutex<Grip>>);

enum Grip {
    Held(Lock),
    /// The lock is here, and whoever had it before has not laid down the pen. What is to be written waits.
    Awaited(Lock, BTreeMap<&'static str, Secret>),
    Gone,
}

impl Pen {
    fn new(grip: Grip) -> Self {
        Self(Arc::new(Mutex::new(grip)))
    }

    /// The lock for another process.
    ///
    /// # Errors
    /// What the kernel said; [`io::ErrorKind::NotFound`] once the pen is laid down.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        match &*self.lock() {
            Grip::Held(lock) | Grip::Awaited(lock, _) => lock.as_fd().try_clone_to_owned(),
            Grip::Gone => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Nothing is written by this process any more; nothing is under way when this returns.
    pub(crate) fn lay_down(&self) {
        *self.lock() = Grip::Gone;
    }

    /// It is this process that writes the state directory `path` from now on.
    ///
    /// # Errors
    /// [`AgentError::File`] if something that waited cannot be written. The rest is; the next change writes it again.
    pub(crate) fn take_up(&self, path: &Path) -> Result<(), AgentError> {
        let mut grip = self.lock();
        match core::mem::replace(&mut *grip, Grip::Gone) {
            Grip::Awaited(lock, waiting) => {
                lock.name_holder();
                *grip = Grip::Held(lock);
                let written = waiting
                    .into_iter()
                    .map(|(name, bytes)| put(path, name, bytes.expose()));
                // All are tried.
                written.fold(Ok(()), Result::and)
            }
            other => {
                *grip = other;
                Ok(())
            }
        }
    }

    /// Whether another process still writes. Whoever does not write leaves the node's identity as it is: each renewal
    /// goes on from the one before, and that one would not know of it.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(*self.lock(), Grip::Awaited(..))
    }

    fn lock(&self) -> MutexGuard<'_, Grip> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(path: &Path) -> Result<(), AgentError> {
    files::make_private_dir(path).map_err(|source| file("create the directory", path, source))?;
    let found = fs::metadata(path).map_err(|source| file("open the directory", path, source))?;
    let wrong = |what| AgentError::FileUnsafe {
        path: path.to_owned(),
        what,
    };
    if !found.is_dir() {
        return Err(wrong("is not a directory"));
    }
    if found.uid() != signet_sys::process::uid() {
        return Err(wrong("belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(wrong("can be written to by others"));
    }
    Ok(())
}

fn unlocked(path: &Path, error: LockError) -> AgentError {
    match error {
        LockError::Held { holder } => AgentError::StateHeld {
            path: path.to_owned(),
            holder,
        },
        LockError::Io(source) => file("lock", &path.join(LOCK_FILE), source),
    }
}

fn put(path: &Path, name: &str, bytes: &[u8]) -> Result<(), AgentError> {
    let temporary = path.join(format!("{name}.new"));
    let path = path.join(name);
    files::replace(&path, &temporary, bytes, files::Readers::Owner).map_err(|e| file("write", &path, e))
}

enum Readers {
    Owner,
    Anybody,
}

/// The file's contents, wiped after use; `None` if there is none.
fn read(path: &Path, readers: Readers) -> Result<Option<Secret>, AgentError> {
    let failed = |source: io::Error| file("read", path, source);
    let opened = match files::open_itself(path) {
        Ok(opened) => opened,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let found = opened.metadata().map_err(failed)?;
    let wrong = |what| AgentError::FileUnsafe {
        path: path.to_owned(),
        what,
    };
    if found.uid() != signet_sys::process::uid() {
        return Err(wrong("belongs to another user"));
    }
    if matches!(readers, Readers::Owner) && found.mode() & 0o077 != 0 {
        return Err(wrong("can be read by others"));
    }
    match files::read_to_end(opened, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(Secret::new(bytes))),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Err(AgentError::FileForm {
            path: path.to_owned(),
            what: "what belongs there: it is too long",
        }),
        Err(e) => Err(failed(e)),
    }
}

fn file(action: &'static str, path: &Path, source: io::Error) -> AgentError {
    AgentError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

const KEY_FILE: &str = "node.key";
const NODE_FILE: &str = "node.json";
const LOCK_FILE: &str = "lock";
const MARKS_FILE: &str = "renewal.json";
const VERSION: u32 = 2;
const MARKS_VERSION: u32 = 1;
const FILE_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use signet_crypto::KeyKind;
    use signet_jose::{Jwk, JwkParams, JwsAlgorithm};
    use signet_testkit::forge::Authority;
    use signet_trust::{JwtAuthority, X509Authority};
    use std::os::unix::fs::PermissionsExt as _;

    fn folder() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().expect("folder");
        let state = StateDir::open(&folder.path().join("state")).expect("open");
        (folder, state)
    }

    #[test]
    fn the_key_comes_back_and_only_we_can_read_it() {
        let (_folder, state) = folder();
        assert!(state.key().expect("none yet").is_none());
        let key = LocalKey::generate(KeyKind::P256).expect("key");
        state.keep_key(&key).expect("keep");
        let path = state.path.join(KEY_FILE);
        assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state.path).expect("stat").mode() & 0o777, 0o700);
        let back = state.key().expect("read").expect("there");
        assert_eq!(back.public_key(), key.public_key());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(state.key(), Err(AgentError::FileUnsafe { .. })));
    }

    #[test]
    fn what_is_tainted_comes_back_tainted() {
        let (_folder, state) = folder();
        let trust_domain: TrustDomain = "a.test".parse().expect("domain");
        let authority = |tainted| X509Authority {
            certificate: Authority::root("a.test").certificate,
            tainted,
        };
        let key = |kid: &str, tainted| {
            let key = LocalKey::generate(KeyKind::P256).expect("key");
            let params = JwkParams {
                kid: Some(kid.to_owned()),
                alg: Some(JwsAlgorithm::Es256),
                use_: Some("jwt-svid".to_owned()),
            };
            JwtAuthority {
                kid: kid.to_owned(),
                jwk: Jwk::from_public_key(key.public_key(), params).expect("jwk"),
                tainted,
            }
        };
        let bundle = Bundle::new(
            trust_domain.clone(),
            7,
            Some(std::time::Duration::from_secs(300)),
            vec![authority(true), authority(false)],
            vec![key("old", true), key("new", false)],
        )
        .expect("bundle");
        let file = NodeFile::new(
            trust_domain,
            Vec::new(),
            String::new(),
            &bundle,
            &[[1; 32], [2; 32]],
        );
        state.keep_node(&file).expect("keep");
        let back = state.node().expect("read").expect("there");
        assert_eq!(back.bundle(), Some(bundle.clone()));
        assert_eq!(back.tainted(), Some(vec![[1; 32], [2; 32]]));
        // As it was before the roots were kept.
        let path = state.path.join(NODE_FILE);
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("read")).expect("json");
        json.as_object_mut()
            .expect("object")
            .remove("tainted")
            .expect("there");
        fs::write(&path, json.to_string()).expect("write");
        let back = state.node().expect("read").expect("there");
        assert_eq!((back.bundle(), back.tainted()), (Some(bundle), Some(Vec::new())));
        for broken in ["not base64url!", "AAAA"] {
            let tainted = vec![broken.to_owned()];
            assert_eq!(
                NodeFile {
                    tainted,
                    ..state.node().expect("read").expect("there")
                }
                .tainted(),
                None
            );
        }
        let spoiled = |bundle: String| NodeFile { bundle, ..file };
        assert_eq!(spoiled("not base64url!".to_owned()).bundle(), None);
    }

    #[test]
    fn one_writes_at_a_time_and_what_waited_is_written_then() {
        let (_folder, first) = folder();
        first.write(NODE_FILE, b"first").expect("write");
        let read = || fs::read(first.path.join(NODE_FILE)).expect("read");
        assert!(matches!(
            StateDir::open(first.path()),
            Err(AgentError::StateHeld { .. })
        ));
        let lock = first.pen().share().expect("share");
        let second = StateDir::adopt(first.path(), lock).expect("adopt");
        assert!(second.pen().is_awaited() && !first.pen().is_awaited());
        second.write(NODE_FILE, b"older").expect("waits");
        second.write(NODE_FILE, b"second").expect("waits");
        assert_eq!(read(), b"first");
        first.write(NODE_FILE, b"still").expect("write");
        assert_eq!(read(), b"still");
        first.pen().lay_down();
        first.write(NODE_FILE, b"late").expect("nothing");
        assert_eq!(read(), b"still");
        assert!(first.pen().share().is_err());
        second.pen().take_up(second.path()).expect("write");
        assert!(!second.pen().is_awaited());
        assert_eq!(read(), b"second");
        second.write(NODE_FILE, b"third").expect("write");
        assert_eq!(read(), b"third");
        // Once more changes nothing.
        second.pen().take_up(second.path()).expect("nothing");
        assert!(matches!(
            StateDir::open(first.path()),
            Err(AgentError::StateHeld { .. })
        ));
        second.pen().lay_down();
        StateDir::open(first.path()).expect("free again");
    }

    #[test]
    fn a_leftover_or_a_link_in_the_way_is_not_followed() {
        let (folder, state) = folder();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "precious").expect("write");
        std::os::unix::fs::symlink(&elsewhere, state.path.join("node.key.new")).expect("link");
        let key = LocalKey::generate(KeyKind::P256).expect("key");
        state.keep_key(&key).expect("keep");
        assert_eq!(fs::read_to_string(&elsewhere).expect("read"), "precious");
        fs::remove_file(state.path.join(KEY_FILE)).expect("remove");
        std::os::unix::fs::symlink(&elsewhere, state.path.join(KEY_FILE)).expect("link");
        assert!(matches!(state.key(), Err(AgentError::File { .. })));
    }

    #[test]
    fn a_directory_that_others_write_to_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(matches!(
            StateDir::open(folder.path()),
            Err(AgentError::FileUnsafe { .. })
        ));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("write");
        assert!(matches!(
            StateDir::open(&file),
            Err(AgentError::FileUnsafe { .. })
        ));
        assert!(matches!(
            StateDir::open(&folder.path().join("no/such")),
            Err(AgentError::File { .. })
        ));
    }

    #[test]
    fn broken_contents_are_told_with_their_path() {
        let (_folder, state) = folder();
        for contents in ["", "{}", "{\"version\": 1}", "{\"version\": 2}", "not json"] {
            fs::write(state.path.join(NODE_FILE), contents).expect("write");
            assert!(
                matches!(state.node(), Err(AgentError::FileForm { .. })),
                "{contents}"
            );
        }
        state.write(KEY_FILE, b"not a key").expect("write");
        assert!(matches!(state.key(), Err(AgentError::FileForm { .. })));
    }
}
