use super::Attestor;
use super::hashes::Hashes;
use crate::{AgentError, Live};
use signet_id::{Fact, Selector};
use signet_sys::{Peer, Readings, names};
use signet_time::SharedClock;
use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use tracing::{debug, info};

/// What the kernel and the file system say of a local process.
///
/// | selector | from |
/// |---|---|
/// | `unix:uid`, `unix:gid` | the socket's credentials |
/// | `unix:user`, `unix:group` | their names |
/// | `unix:supplementary_gid`, `unix:supplementary_group` | `/proc/PID/status`, and names |
/// | `unix:path` | the executable, if its name leads to the same file as seen from here |
/// | `unix:sha256` | the executable's contents, up to a size |
///
/// The last two only of processes in our own user namespace: in one of its own, which any user can make, a process
/// may name any file that it may execute as its executable. They never hold against a user who may run or trace the
/// program in question, and belong beside a `unix:uid`.
pub struct Unix {
    live: Live,
    hashes: Hashes,
    clock: SharedClock,
}

impl Unix {
    /// With the limits of `live`.
    #[must_use]
    pub fn new(live: Live, clock: SharedClock) -> Self {
        Self {
            live,
            hashes: Hashes::new(),
            clock,
        }
    }

    /// All that is found, given whether the process runs in our own user namespace.
    fn look(
        &self,
        peer: &Peer,
        readings: &Readings<'_>,
        in_our_namespace: bool,
    ) -> Result<Vec<Selector>, AgentError> {
        let mut found = Found(Vec::new());
        found.add(Fact::UNIX_UID, peer.uid());
        found.add(Fact::UNIX_GID, peer.gid());
        found.add_name(Fact::UNIX_USER, names::user(peer.uid()));
        found.add_name(Fact::UNIX_GROUP, names::group(peer.gid()));
        let groups = readings.groups().map_err(AgentError::Peer)?;
        if groups.len() > GROUPS_MAX {
            info!(
                pid = peer.pid(),
                groups = groups.len(),
                max = GROUPS_MAX,
                "caller is in too many groups: the rest is left out"
            );
        }
        for gid in groups.into_iter().take(GROUPS_MAX) {
            found.add(Fact::UNIX_SUPPLEMENTARY_GID, gid);
            found.add_name(Fact::UNIX_SUPPLEMENTARY_GROUP, names::group(gid));
        }
        if in_our_namespace {
            if let Some(path) = visible_path(peer) {
                found.add(Fact::UNIX_PATH, path);
            }
            if let Some(hash) = self.hash(peer, readings)? {
                found.add(Fact::UNIX_SHA256, signet_crypto::digest::hex(&hash));
            }
        } else {
            debug!(
                pid = peer.pid(),
                "caller is in another user namespace, where it may claim any executable: left out path and sha256"
            );
        }
        Ok(found.0)
    }

    fn hash(&self, peer: &Peer, readings: &Readings<'_>) -> Result<Option<[u8; 32]>, AgentError> {
        let bytes_max = self.live.sha256_bytes_max();
        if bytes_max == 0 {
            return Ok(None);
        }
        let file = readings.open_exe().map_err(AgentError::Peer)?;
        match self.hashes.of(file, bytes_max, self.clock.now()) {
            Ok(Some(hash)) => Ok(Some(hash)),
            Ok(None) => {
                info!(
                    pid = peer.pid(),
                    bytes_max, "executable too large to hash, or changing"
                );
                Ok(None)
            }
            Err(error) => {
                info!(pid = peer.pid(), %error, "cannot read an executable");
                Ok(None)
            }
        }
    }
}

impl Attestor for Unix {
    fn name(&self) -> &'static str {
        "unix"
    }

    fn attest(&self, peer: &Peer) -> Result<Vec<Selector>, AgentError> {
        peer.read(|readings| {
            let in_our_namespace = readings.in_our_user_namespace().map_err(AgentError::Peer)?;
            self.look(peer, readings, in_our_namespace)
        })
    }
}

/// The executable's path, if it names the same file for us. In a mount namespace of its own, which any user can
/// make, a process may give any file any name; and a file that was removed has none.
fn visible_path(peer: &Peer) -> Option<&str> {
    let exe = peer.exe();
    let seen = std::fs::metadata(&exe.path).ok()?;
    if (seen.dev(), seen.ino()) == (exe.dev, exe.ino) {
        exe.path.to_str()
    } else {
        None
    }
}

struct Found(Vec<Selector>);

impl Found {
    fn add(&mut self, fact: Fact, value: impl Display) {
        match fact.stated(value) {
            Some(selector) => self.0.push(selector),
            // No entry can ask for it either.
            None => debug!(fact = fact.key(), "left out what does not make a selector"),
        }
    }

    fn add_name(&mut self, fact: Fact, name: Result<Option<String>, signet_sys::SysError>) {
        match name {
            Ok(Some(name)) => self.add(fact, name),
            Ok(None) => {}
            Err(error) => info!(fact = fact.key(), %error, "cannot look up a name"),
        }
    }
}

/// Each costs a look into the name service. The kernel's own bound is 65,536.
const GROUPS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use signet_testkit::ManualClock;
    use std::sync::Arc;

    #[test]
    fn a_process_in_another_user_namespace_has_neither_path_nor_sha256() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
        let peer = Peer::of(&ours).expect("peer");
        let unix = Unix::new(Live::default(), Arc::new(ManualClock::default()));
        let keys = |in_our_namespace| -> Vec<String> {
            let look = |readings: &Readings<'_>| unix.look(&peer, readings, in_our_namespace);
            let found = peer.read(look).expect("look");
            let key = |selector: &Selector| selector.to_string().split(':').nth(1).map(str::to_owned);
            found.iter().filter_map(key).collect()
        };
        let (near, far) = (keys(true), keys(false));
        for key in ["path", "sha256"] {
            assert!(near.iter().any(|k| k == key), "{near:?}");
            assert!(far.iter().all(|k| k != key), "{far:?}");
        }
        assert!(far.iter().any(|k| k == "uid"), "{far:?}");
        assert_eq!(near.len(), far.len() + 2);
    }
}
