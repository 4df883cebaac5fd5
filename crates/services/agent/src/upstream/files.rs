//! The state directory: the node's key and what it was given for it.

use crate::AgentError;
use prost::Message as _;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use signet_crypto::{LocalKey, Secret};
use signet_feed::{bundle_from_proto, bundle_to_proto};
use signet_id::TrustDomain;
use signet_jose::base64url;
use signet_proto::agent::v1;
use signet_trust::Bundle;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A directory that belongs to us and that nobody else can write to.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

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
}

impl NodeFile {
    pub(super) fn new(
        trust_domain: TrustDomain,
        servers: Vec<String>,
        chain: String,
        bundle: &Bundle,
    ) -> Self {
        Self {
            version: VERSION,
            trust_domain,
            servers,
            chain,
            bundle: base64url::encode(&bundle_to_proto(bundle, true).encode_to_vec()),
        }
    }

    pub(super) fn bundle(&self) -> Option<Bundle> {
        let bytes = base64url::decode(&self.bundle)?;
        bundle_from_proto(&v1::Bundle::decode(bytes.as_slice()).ok()?).ok()
    }
}

impl StateDir {
    /// Opens `path`, and makes it if it does not exist.
    ///
    /// # Errors
    /// [`AgentError::FileUnsafe`] if it belongs to somebody else or others may write to it; [`AgentError::File`].
    pub(super) fn open(path: &Path) -> Result<Self, AgentError> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(file("create the directory", path, source)),
        }
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
        Ok(Self(path.to_owned()))
    }

    /// The node's key, if there is one.
    pub(super) fn key(&self) -> Result<Option<LocalKey>, AgentError> {
        let path = self.0.join(KEY_FILE);
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
        let path = self.0.join(NODE_FILE);
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
        let path = self.0.join(NODE_FILE);
        let json = serde_json::to_vec_pretty(node).map_err(|e| file("write", &path, e.into()))?;
        self.write(NODE_FILE, &json)
    }

    /// Puts a file in place whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let path = self.0.join(name);
        let temporary = self.0.join(format!("{name}.new"));
        let failed = |source: io::Error| file("write", &path, source);
        // What a crash left behind; never followed if it is a link.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened =
            rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR).map_err(|e| failed(e.into()))?;
        let mut opened = File::from(opened);
        opened
            .write_all(bytes)
            .and_then(|()| opened.sync_all())
            .map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)?;
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}

enum Readers {
    Owner,
    Anybody,
}

/// The file's contents, wiped after use; `None` if there is none.
fn read(path: &Path, readers: Readers) -> Result<Option<Secret>, AgentError> {
    let failed = |source: io::Error| file("read", path, source);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(e) => return Err(failed(e.into())),
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
    // With room for one byte too many, so that nothing grows and leaves a copy behind.
    let mut bytes = Vec::with_capacity(FILE_BYTES_MAX + 1);
    opened
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let bytes = Secret::new(bytes);
    if bytes.expose().len() > FILE_BYTES_MAX {
        return Err(AgentError::FileForm {
            path: path.to_owned(),
            what: "what belongs there: it is too long",
        });
    }
    Ok(Some(bytes))
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
const VERSION: u32 = 2;
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
        let path = state.0.join(KEY_FILE);
        assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state.0).expect("stat").mode() & 0o777, 0o700);
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
        let file = NodeFile::new(trust_domain, Vec::new(), String::new(), &bundle);
        state.keep_node(&file).expect("keep");
        let back = state.node().expect("read").expect("there");
        assert_eq!(back.bundle(), Some(bundle));
        let spoiled = |bundle: String| NodeFile { bundle, ..file };
        assert_eq!(spoiled("not base64url!".to_owned()).bundle(), None);
    }

    #[test]
    fn a_leftover_or_a_link_in_the_way_is_not_followed() {
        let (folder, state) = folder();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "precious").expect("write");
        std::os::unix::fs::symlink(&elsewhere, state.0.join("node.key.new")).expect("link");
        let key = LocalKey::generate(KeyKind::P256).expect("key");
        state.keep_key(&key).expect("keep");
        assert_eq!(fs::read_to_string(&elsewhere).expect("read"), "precious");
        fs::remove_file(state.0.join(KEY_FILE)).expect("remove");
        std::os::unix::fs::symlink(&elsewhere, state.0.join(KEY_FILE)).expect("link");
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
            fs::write(state.0.join(NODE_FILE), contents).expect("write");
            assert!(
                matches!(state.node(), Err(AgentError::FileForm { .. })),
                "{contents}"
            );
        }
        state.write(KEY_FILE, b"not a key").expect("write");
        assert!(matches!(state.key(), Err(AgentError::FileForm { .. })));
    }
}
