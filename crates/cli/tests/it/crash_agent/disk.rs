//! What the agent leaves on a disk.

use super::workloads::PrivateKey;
use signet_crypto::{KeyKind, LocalKey};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What a node keeps, as it was when it had joined.
pub(super) struct Kept {
    key: Vec<u8>,
}

impl Kept {
    pub(super) fn read(state: &Path) -> Self {
        let kept = Self {
            key: fs::read(state.join("node.key")).unwrap(),
        };
        kept.assert_whole(state);
        kept
    }

    /// The key is what it was, the rest can be read whole, and there is nothing beside but what a kill cut off.
    pub(super) fn assert_whole(&self, state: &Path) {
        assert!(
            fs::read(state.join("node.key")).unwrap() == self.key,
            "the node has another key"
        );
        LocalKey::from_pkcs8(&self.key).unwrap();
        let node: serde_json::Value =
            serde_json::from_slice(&fs::read(state.join("node.json")).unwrap()).unwrap();
        let chain = node["chain"].as_str().unwrap();
        assert!(
            !signet_x509::pem::parse_certs(chain.as_bytes())
                .unwrap()
                .is_empty()
        );
        let mut names = BTreeSet::new();
        for file in fs::read_dir(state).unwrap().map(Result::unwrap) {
            assert_eq!(
                file.metadata().unwrap().permissions().mode() & 0o077,
                0,
                "{:?}",
                file.path()
            );
            names.insert(file.file_name().into_string().unwrap());
        }
        for known in [
            "node.key",
            "node.json",
            "node.key.new",
            "node.json.new",
            "renewal.json",
            "renewal.json.new",
            // Of the process that runs, or that was killed.
            "lock",
            "handover.sock",
        ] {
            names.remove(known);
        }
        assert!(names.is_empty(), "{names:?} in the state directory");
    }
}

/// None of `keys` is in any file below `dir`, neither as it is nor as text. The journal, which is large and the
/// server's, is left out: no key ever comes to the server.
pub(super) fn assert_without(dir: &Path, keys: &[PrivateKey]) {
    let files = files(dir);
    assert!(
        files.len() > 4,
        "the agent's log and what it kept are among them: {files:?}"
    );
    let traces = Traces::of(keys);
    for path in files {
        let found = traces.are_in(&fs::read(&path).unwrap());
        assert!(!found, "{} holds the key of a workload", path.display());
    }
}

/// What is looked for, by its first bytes.
struct Traces<'k>(HashMap<[u8; 8], &'k [u8]>);

impl<'k> Traces<'k> {
    fn of(keys: &'k [PrivateKey]) -> Self {
        let traces = keys.iter().flat_map(PrivateKey::traces);
        Self(
            traces
                .map(|trace| (*trace.first_chunk().unwrap(), trace))
                .collect(),
        )
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        let lines: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\n').collect();
        let found = |bytes: &[u8]| {
            (0..bytes.len()).any(|at| {
                let rest = &bytes[at..];
                let trace = rest.first_chunk().and_then(|first| self.0.get(first));
                trace.is_some_and(|trace| rest.starts_with(trace))
            })
        };
        found(bytes) || found(&lines)
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && entry.file_name() != "journal" {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_key_on_the_disk_is_found() {
    let generate = || LocalKey::generate(KeyKind::P256).unwrap().to_pkcs8().unwrap();
    let [first, second, other] = [generate(), generate(), generate()];
    let keys = [PrivateKey::of(&first), PrivateKey::of(&second)];
    let traces = Traces::of(&keys);
    let pem = signet_x509::pem::encode_key(&second);
    for holding in [first.expose(), second.expose(), pem.expose()] {
        assert!(traces.are_in(&[b"before", holding, b"after"].concat()));
    }
    assert!(!traces.are_in(other.expose()));
}
