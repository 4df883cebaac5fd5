use super::Attestor;
use crate::AgentError;
use signet_id::unit_name::{is_slice, is_unit, parent_of_slice};
use signet_id::{Fact, Selector};
use signet_sys::{Peer, SysError};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use tracing::debug;

/// Which unit of systemd a local process runs in, by its control group.
///
/// | selector | from |
/// |---|---|
/// | `systemd:unit` | the unit of the system: a service, a scope, a socket, a mount, a swap |
/// | `systemd:slice` | each slice that this unit lies in |
/// | `systemd:user-unit` | the unit of the user's own manager, inside `user@UID.service` |
///
/// **Which part of the path counts.** systemd alone makes the groups from the root down to a unit: slices, each below
/// the one that its name says, and the unit. What lies below a unit is made by whoever the unit delegated to, and may
/// bear any name; what lies in no unit is made by somebody else, such as a container manager. So slices are followed
/// from the root, the first part that is none must be a unit, and the process must be in the group of that very unit.
/// Below it nothing is stated, not even the unit: a container that runs below `docker.service` is not Docker.
/// The one exception is `user@UID.service`, where the same is read once more of the user's own manager, and only of
/// processes that run as this user: for all others, what the user's groups are called is somebody else's word.
///
/// **Whose root.** Paths are told as seen from our own control group namespace, and mean something only if its root is
/// also systemd's. It is if PID 1 is found in `/init.scope`, be it in version 1 or 2 of control groups, which is then the
/// one that counts; elsewhere, in a container of its own for example, nothing is stated. A process in a PID namespace
/// below ours lives in a container even where its manager left it in its own group, and has no unit.
///
/// Root can move any process anywhere. A service that runs what others give it (`cron`, a container manager, a CI
/// runner) lends them its unit; there, a `unix:uid` belongs beside it.
pub struct Systemd {
    proc: PathBuf,
}

impl Systemd {
    /// On this system.
    #[must_use]
    pub fn new() -> Self {
        Self::over("/proc".into())
    }

    /// On the system that `proc` is the `/proc` of, or was when it was recorded.
    #[must_use]
    pub fn over(proc: PathBuf) -> Self {
        Self { proc }
    }

    /// The selectors of the process `pid`, which runs as the user `uid`. That `pid` still is who it was is for the
    /// caller to check.
    ///
    /// # Errors
    /// [`AgentError::Peer`] if a file of the process or of PID 1 cannot be read or has an unknown form.
    pub fn look(&self, pid: u32, uid: u32) -> Result<Vec<Selector>, AgentError> {
        let kept = match self.read(MANAGER, "cgroup", CGROUP_BYTES_MAX) {
            Ok(manager) => kept_by(&manager),
            // Not to be seen at all.
            Err(SysError::PeerGone { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(kept) = kept else {
            debug!(
                pid,
                "PID 1 is not systemd, or control groups are seen from below it"
            );
            return Ok(Vec::new());
        };
        let form = |file| AgentError::Peer(SysError::ProcForm { pid, file });
        let status = self.read(pid, "status", STATUS_BYTES_MAX)?;
        if is_in_nested_pid_namespace(&status).ok_or_else(|| form("status"))? {
            debug!(pid, "caller is in a PID namespace of its own: a container");
            return Ok(Vec::new());
        }
        let cgroup = self.read(pid, "cgroup", CGROUP_BYTES_MAX)?;
        let stated = stated(&cgroup, kept, uid).map_err(|OtherForm| form("cgroup"))?;
        if stated.is_empty() {
            debug!(pid, "caller is not in the group of a unit");
        }
        Ok(stated)
    }

    /// The selectors of a process that runs as the user `uid`, from the three files that say them: the control groups
    /// of PID 1, and the status and the control groups of the process. `None` if a file of the process has an unknown
    /// form.
    #[must_use]
    pub fn read_files(manager: &[u8], status: &[u8], cgroup: &[u8], uid: u32) -> Option<Vec<Selector>> {
        let Some(kept) = kept_by(manager) else {
            return Some(Vec::new());
        };
        if is_in_nested_pid_namespace(status)? {
            return Some(Vec::new());
        }
        stated(cgroup, kept, uid).ok()
    }

    /// The file, whole or not at all.
    fn read(&self, pid: u32, file: &'static str, bytes_max: u64) -> Result<Vec<u8>, SysError> {
        let mut bytes = Vec::with_capacity(2048);
        let path = self.proc.join(pid.to_string()).join(file);
        let read = File::open(path).and_then(|opened| opened.take(bytes_max + 1).read_to_end(&mut bytes));
        match read {
            Ok(count) if count as u64 > bytes_max => Err(SysError::ProcForm { pid, file }),
            Ok(_) => Ok(bytes),
            // ESRCH: the process ended between open and read.
            Err(e)
                if e.kind() == io::ErrorKind::NotFound
                    || e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
            {
                Err(SysError::PeerGone { pid })
            }
            Err(source) => Err(SysError::Proc { pid, file, source }),
        }
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

impl Attestor for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn attest(&self, peer: &Peer) -> Result<Vec<Selector>, AgentError> {
        peer.read(|_| self.look(peer.pid(), peer.uid()))
    }
}

/// Where a process was put.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    slices: Vec<&'a str>,
    unit: &'a str,
    user_unit: Option<&'a str>,
}

/// A file has not the form that the kernel documents.
#[derive(Debug, PartialEq, Eq)]
struct OtherForm;

/// Where a process is in the hierarchies that may be systemd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Groups<'a> {
    /// In `name=systemd`, of version 1.
    named: Option<&'a str>,
    /// In version 2.
    unified: Option<&'a str>,
}

/// Which of them systemd keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hierarchy {
    Named,
    Unified,
}

impl<'a> Groups<'a> {
    /// Reads `/proc/PID/cgroup` (cgroups(7)): a line for each hierarchy, `NUMBER:CONTROLLERS:PATH`. Of version 2 there is
    /// one, `0::PATH`.
    fn read(cgroup: &'a [u8]) -> Result<Self, OtherForm> {
        let (mut named, mut unified) = (None, None);
        for line in cgroup
            .strip_suffix(b"\n")
            .ok_or(OtherForm)?
            .split(|b| *b == b'\n')
        {
            let mut parts = line.splitn(3, |b| *b == b':');
            let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(OtherForm);
            };
            if number.is_empty() || !number.iter().all(u8::is_ascii_digit) || !path.starts_with(b"/") {
                return Err(OtherForm);
            }
            // Paths of other hierarchies may hold anything.
            let place = match (number, controllers) {
                (b"0", b"") => &mut unified,
                (_, b"name=systemd") => &mut named,
                _ => continue,
            };
            let path = core::str::from_utf8(path).map_err(|_| OtherForm)?;
            if place.replace(path).is_some() {
                return Err(OtherForm);
            }
        }
        Ok(Self { named, unified })
    }

    /// The hierarchy that PID 1, whose groups these are, keeps as systemd; `None` if it is not systemd, or its root is
    /// not ours.
    fn kept(self) -> Option<Hierarchy> {
        match self {
            Self {
                named: Some(MANAGER_PATH),
                ..
            } => Some(Hierarchy::Named),
            Self {
                unified: Some(MANAGER_PATH),
                ..
            } => Some(Hierarchy::Unified),
            _ => None,
        }
    }

    /// The path in systemd's hierarchy. The other one has the same, where systemd keeps both alike, or has the process
    /// in its root; if it has another, somebody else moved the process in one of them, and there is none.
    fn path(self, kept: Hierarchy) -> Option<&'a str> {
        let (path, other) = match kept {
            Hierarchy::Named => (self.named?, self.unified),
            Hierarchy::Unified => (self.unified?, self.named),
        };
        let agrees = other.is_none_or(|other| other == "/" || other == path);
        agrees.then_some(path)
    }
}

/// Which hierarchy PID 1 keeps as systemd, by its control groups.
fn kept_by(manager: &[u8]) -> Option<Hierarchy> {
    Groups::read(manager).ok().and_then(Groups::kept)
}

/// What the control groups of a process of the user `uid` say of it; nothing if it is in the group of no unit.
fn stated(cgroup: &[u8], kept: Hierarchy, uid: u32) -> Result<Vec<Selector>, OtherForm> {
    let groups = Groups::read(cgroup)?;
    let Some(place) = groups.path(kept).and_then(|path| place(path, uid)) else {
        return Ok(Vec::new());
    };
    let slices = place.slices.into_iter().map(|slice| (Fact::SYSTEMD_SLICE, slice));
    let user_unit = place.user_unit.map(|unit| (Fact::SYSTEMD_USER_UNIT, unit));
    let stated = slices.chain([(Fact::SYSTEMD_UNIT, place.unit)]).chain(user_unit);
    Ok(stated.filter_map(|(fact, value)| fact.stated(value)).collect())
}

/// Where the process of the user `uid` in the group `path` is; `None` if that is in no unit or below one.
fn place(path: &str, uid: u32) -> Option<Place<'_>> {
    let (slices, unit, below) = descend(path.strip_prefix('/')?)?;
    let Some(below) = below else {
        let user_unit = None;
        return Some(Place {
            slices,
            unit,
            user_unit,
        });
    };
    let users_own =
        slices == ["user.slice", &format!("user-{uid}.slice")] && unit == format!("user@{uid}.service");
    match users_own.then(|| descend(below))?? {
        (_, user_unit, None) => Some(Place {
            slices,
            unit,
            user_unit: Some(user_unit),
        }),
        _ => None,
    }
}

/// From the root of a manager's groups down to a unit: the slices, the unit, and what lies below it.
fn descend(path: &str) -> Option<(Vec<&str>, &str, Option<&str>)> {
    let (mut slices, mut parent, mut rest) = (Vec::new(), None, path);
    loop {
        let (group, below) = match rest.split_once('/') {
            Some((group, below)) => (group, Some(below)),
            None => (rest, None),
        };
        // systemd puts `_` before a name that the kernel might take for one of its own files.
        let name = group.strip_prefix('_').unwrap_or(group);
        if is_unit(name) {
            return Some((slices, name, below));
        }
        if !is_slice(name) || parent_of_slice(name) != parent {
            return None;
        }
        slices.push(name);
        parent = name.strip_suffix(".slice");
        rest = below?;
    }
}

/// Whether the process of which this is the status has a number in a PID namespace below the one that it is seen
/// from. `None` if it is not said (before Linux 4.1).
fn is_in_nested_pid_namespace(status: &[u8]) -> Option<bool> {
    // The program's name stands before it, with line feeds escaped.
    let mut lines = status.split(|b| *b == b'\n');
    let numbers = lines.find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let numbers = core::str::from_utf8(numbers).ok()?.split_ascii_whitespace();
    match numbers.count() {
        0 => None,
        count => Some(count > 1),
    }
}

const MANAGER: u32 = 1;
/// Where systemd puts itself.
const MANAGER_PATH: &str = "/init.scope";
/// 32 hierarchies, more than there are, with paths as long as a path can be.
const CGROUP_BYTES_MAX: u64 = 32 * (4096 + 128);
/// The supplementary groups of a process with the kernel's 65,536 are below 800 KiB.
const STATUS_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The parts that a path is put together from, many of them nearly right.
    const PARTS: &[&str] = &[
        "system.slice",
        "user.slice",
        "user-1000.slice",
        "user@1000.service",
        "app.slice",
        "nginx.service",
        "a.scope",
        "..",
        ".",
        "",
        "nginx.service (deleted)",
        "docker",
        r"a\x2db.service",
        "_cpu.service",
        "a b.service",
        "\u{7f}",
        "-.slice",
        "kubepods:cri:1",
    ];

    fn values(place: &Place<'_>) -> Vec<String> {
        let units = [Some(place.unit), place.user_unit].into_iter().flatten();
        place
            .slices
            .iter()
            .copied()
            .chain(units)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_file_of_another_form_is_refused() {
        for text in [
            "",
            "\n",
            "0::/a",
            "0::\n",
            "0:/a\n",
            "0::a\n",
            "::/a\n",
            "x::/a\n",
            "-1::/a\n",
            "0::/a\n\n",
            "\n0::/a\n",
            "0::/a\n0::/a\n",
            "1:name=systemd:/a\n2:name=systemd:/a\n",
            "1:cpu:a\n0::/a\n",
            "0:: /a\n",
        ] {
            assert_eq!(Groups::read(text.as_bytes()), Err(OtherForm), "{text:?}");
        }
        assert_eq!(Groups::read(b"0::/\xff\n"), Err(OtherForm));
        let groups = |named, unified| Ok(Groups { named, unified });
        assert_eq!(
            Groups::read(b"2:cpu:/\xff\n0::/a:b\n"),
            groups(None, Some("/a:b")),
            "not a hierarchy of systemd"
        );
        assert_eq!(Groups::read(b"1:cpu:/a\n3:name=openrc:/a\n"), groups(None, None));
        assert_eq!(
            Groups::read(b"1:name=systemd:/a\n0::/b\n"),
            groups(Some("/a"), Some("/b"))
        );
    }

    #[test]
    fn the_hierarchy_that_systemd_keeps_counts_unless_the_other_contradicts_it() {
        let groups = |named, unified| Groups { named, unified };
        let init = Some("/init.scope");
        for (manager, kept) in [
            (groups(None, init), Some(Hierarchy::Unified)),
            (groups(Some("/"), init), Some(Hierarchy::Unified)),
            (groups(init, None), Some(Hierarchy::Named)),
            (groups(init, Some("/")), Some(Hierarchy::Named)),
            (groups(init, init), Some(Hierarchy::Named)),
            (groups(None, None), None),
            (groups(Some("/"), Some("/")), None),
            (groups(None, Some("/../../init.scope")), None),
            (groups(None, Some("/system.slice/init.scope")), None),
        ] {
            assert_eq!(manager.kept(), kept, "{manager:?}");
        }
        for (other, path) in [
            (None, Some("/a")),
            (Some("/"), Some("/a")),
            (Some("/a"), Some("/a")),
            (Some("/b"), None),
        ] {
            assert_eq!(groups(Some("/a"), other).path(Hierarchy::Named), path);
            assert_eq!(groups(other, Some("/a")).path(Hierarchy::Unified), path);
        }
        // In a hierarchy that systemd does not keep, anything may be called anything.
        assert_eq!(groups(None, Some("/a")).path(Hierarchy::Named), None);
        assert_eq!(groups(Some("/"), Some("/a")).path(Hierarchy::Named), None);
    }

    #[test]
    fn numbers_in_pid_namespaces_are_counted() {
        assert_eq!(is_in_nested_pid_namespace(b"Name:\tx\nNSpid:\t7\n"), Some(false));
        assert_eq!(
            is_in_nested_pid_namespace(b"Name:\tNSpid: 1\nNSpid:\t7\t1\n"),
            Some(true)
        );
        for silent in ["", "Name:\tx\n", "NSpid:\n", "Name:\tNSpid:\t7\n"] {
            assert_eq!(is_in_nested_pid_namespace(silent.as_bytes()), None, "{silent:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(cgroup: Vec<u8>, status: Vec<u8>, lines in "([0-9]{0,2}:[a-z=]{0,4}:/?[ -~]{0,20}\n){0,4}") {
            let _ = is_in_nested_pid_namespace(&status);
            for cgroup in [cgroup.as_slice(), lines.as_bytes()] {
                let Ok(groups) = Groups::read(cgroup) else { continue };
                for path in [Hierarchy::Named, Hierarchy::Unified].into_iter().filter_map(|kept| groups.path(kept)) {
                    prop_assert!(path.starts_with('/'));
                    let _ = place(path, 1000);
                }
            }
        }

        #[test]
        fn what_is_found_is_a_name_and_the_whole_path(
            parts in prop::collection::vec(prop_oneof![prop::sample::select(PARTS), Just("x.service")], 0..6),
            spoiled in "\\PC{0,6}",
        ) {
            for path in [format!("/{}", parts.join("/")), format!("/{}/{spoiled}", parts.join("/")), spoiled] {
                let Some(place) = place(&path, 1000) else { continue };
                for value in values(&place) {
                    prop_assert!(is_unit(&value) || is_slice(&value), "{}", value);
                    prop_assert!(!value.contains(['/', ' ', '\n']) && !value.chars().any(char::is_control));
                }
                let last = path.rsplit('/').next().unwrap_or_default();
                let unit = place.user_unit.unwrap_or(place.unit);
                prop_assert_eq!(last.strip_prefix('_').unwrap_or(last), unit, "nothing lies below it");
            }
        }
    }
}
