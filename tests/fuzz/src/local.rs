//! What the kernel says of a process, where others chose the names in it.

use crate::laws::{comes_back, text};
use signet_agent::attest::Systemd;
use signet_id::Selector;
use signet_id::unit_name::{is_slice, is_unit};

const STATUS: &[u8] = b"Name:\tx\nNSpid:\t7\n";
const UID: u32 = 1000;

/// The managers of version 2, of version 1, and of both at once.
const MANAGERS: [&[u8]; 3] = [
    b"0::/init.scope\n",
    b"1:name=systemd:/init.scope\n",
    b"1:name=systemd:/init.scope\n0::/init.scope\n",
];

/// The control groups of a process, as `/proc/PID/cgroup` has them. With zero bytes in between, those of PID 1 and the
/// status of the process stand before them.
pub(crate) fn cgroups(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    if let (Some(manager), Some(status), Some(cgroup)) = (parts.next(), parts.next(), parts.next()) {
        hold(manager, status, cgroup);
    }
    for manager in MANAGERS {
        hold(manager, STATUS, bytes);
        let nested = Systemd::read_files(manager, b"NSpid:\t7\t1\n", bytes, UID);
        assert_eq!(nested, Some(Vec::new()), "a process in a container has no unit");
    }
    let other = Systemd::read_files(b"0::/\n", STATUS, bytes, UID);
    assert_eq!(other, Some(Vec::new()), "without systemd nothing is stated");
}

fn hold(manager: &[u8], status: &[u8], cgroup: &[u8]) {
    let Some(stated) = Systemd::read_files(manager, status, cgroup, UID) else {
        return;
    };
    let values = |fact: &str| -> Vec<String> {
        let prefix = format!("{fact}:");
        let all = stated.iter().map(Selector::to_string);
        all.filter_map(|selector| selector.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    };
    let (slices, units, user_units) = (
        values("systemd:slice"),
        values("systemd:unit"),
        values("systemd:user-unit"),
    );
    assert_eq!(
        slices.len() + units.len() + user_units.len(),
        stated.len(),
        "{stated:?}"
    );
    assert!(units.len() <= 1 && user_units.len() <= 1, "{stated:?}");
    assert!(slices.iter().all(|name| is_slice(name)), "{stated:?}");
    assert!(
        units.iter().chain(&user_units).all(|name| is_unit(name)),
        "{stated:?}"
    );
    for selector in &stated {
        comes_back(&selector.to_string(), Selector::parse);
    }
    // Another user's manager says nothing of this process.
    if !user_units.is_empty() {
        assert_eq!(units, [format!("user@{UID}.service")], "{stated:?}");
        let of_another = Systemd::read_files(manager, status, cgroup, UID + 1);
        assert_eq!(of_another, Some(Vec::new()), "{stated:?}");
    }
    let Some(unit) = user_units.first().or(units.first()) else {
        assert!(stated.is_empty(), "slices without a unit: {stated:?}");
        return;
    };
    // The process is in the group of that very unit: some line ends with its name.
    let is_last = |line: &str| {
        let last = line.rsplit('/').next().unwrap_or_default();
        last.strip_prefix('_').unwrap_or(last) == unit
    };
    let lines = cgroup.split(|byte| *byte == b'\n').filter_map(text);
    assert!(
        lines.into_iter().any(is_last),
        "{unit} is not where the process is"
    );
    // A hierarchy that is not systemd's changes nothing, whatever is in it; one that is there twice is refused.
    let with_other = [b"7:cpu:/a.service\n", cgroup].concat();
    assert_eq!(
        Systemd::read_files(manager, status, &with_other, UID).as_ref(),
        Some(&stated)
    );
    let twice = [cgroup, cgroup].concat();
    assert_eq!(Systemd::read_files(manager, status, &twice, UID), None);
}
