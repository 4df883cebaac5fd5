//! In which unit of systemd the agent takes a caller to be, over `/proc` trees in the form of the systems that they
//! are named after (`proc/`), and on this system where systemd runs it.

use crate::helper::Giver;
use signet_agent::AgentError;
use signet_agent::attest::{Attestor as _, Systemd};
use signet_sys::{Peer, SysError};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The trees' container.
const ID: &str = "4f1a0c3b9d5e7726a8b0c1d2e3f4051627384950a1b2c3d4e5f60718293a4b5c";
const POD: &str = "7d2c0f5e_3f7b_4a0e_9c53_8f1e6a2b4c6d";

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/proc")
        .join(name)
}

/// The user in the recorded status.
fn uid(tree: &Path, pid: u32) -> u32 {
    let status = std::fs::read_to_string(tree.join(format!("{pid}/status"))).expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .expect("Uid");
    line.split_whitespace()
        .next()
        .expect("real")
        .parse()
        .expect("number")
}

/// What is stated of a recorded process, without the kind.
fn look(name: &str, pid: u32) -> Vec<String> {
    let tree = tree(name);
    let uid = uid(&tree, pid);
    let found = Systemd::over(tree).look(pid, uid).expect("look");
    found.iter().map(|selector| selector.value().to_owned()).collect()
}

fn states(name: &str, expected: &[(u32, &[&str])]) {
    for (pid, values) in expected {
        assert_eq!(look(name, *pid), *values, "{name}/{pid}");
    }
}

#[test]
fn a_service_is_in_its_unit_and_in_each_slice_above() {
    states(
        "debian-12",
        &[
            (1, &["unit:init.scope"]),
            (743, &["slice:system.slice", "unit:nginx.service"]),
            (
                801,
                &[
                    "slice:system.slice",
                    "slice:system-getty.slice",
                    "unit:getty@tty1.service",
                ],
            ),
        ],
    );
}

#[test]
fn names_stay_as_systemd_writes_them() {
    states(
        "debian-12",
        &[
            (
                815,
                &[
                    "slice:system.slice",
                    r"slice:system-openvpn\x2dclient.slice",
                    r"unit:openvpn-client@home\x2doffice.service",
                ],
            ),
            // The group is called `_cpu.service`, as the kernel has files that begin with `cpu.`.
            (820, &["slice:system.slice", "unit:cpu.service"]),
        ],
    );
}

#[test]
fn a_session_is_a_unit_of_the_system_and_a_users_service_one_of_both_managers() {
    let manager = [
        "slice:user.slice",
        "slice:user-1000.slice",
        "unit:user@1000.service",
    ];
    let with = |unit| [manager.as_slice(), &[unit]].concat();
    states(
        "debian-12",
        &[
            (
                1204,
                &[
                    "slice:user.slice",
                    "slice:user-1000.slice",
                    "unit:session-3.scope",
                ],
            ),
            (1187, &with("user-unit:init.scope")),
            (1310, &with("user-unit:syncthing.service")),
            (1311, &with("user-unit:vte-spawn-8e9f.scope")),
        ],
    );
}

#[test]
fn only_the_users_own_processes_have_a_unit_below_the_users_manager() {
    // Another user's, one in a container without root, and groups that look like those of root's manager.
    states("debian-12", &[(1320, &[]), (1330, &[]), (1340, &[])]);
}

#[test]
fn below_a_unit_and_outside_of_all_nothing_is_stated() {
    // The root, a group that the unit made for itself, one that it gave another unit's name, a unit that is gone, a
    // slice without unit.
    states(
        "debian-12",
        &[(2, &[]), (905, &[]), (911, &[]), (930, &[]), (940, &[])],
    );
}

#[test]
fn a_container_is_never_the_service_that_started_it() {
    let scope = format!("unit:docker-{ID}.scope");
    states(
        "docker-host",
        &[
            (890, &["slice:system.slice", "unit:docker.service"]),
            // With a PID namespace of its own, whichever namespace its control groups are in.
            (2101, &[]),
            // In the host's, it is in the unit that Docker had made for it.
            (2102, &["slice:system.slice", &scope]),
            // Where Docker keeps groups itself: beside systemd's, below its own unit, or not at all.
            (2103, &[]),
            (2104, &[]),
            (2105, &[]),
            // A systemd inside.
            (2106, &[]),
        ],
    );
}

#[test]
fn an_agent_inside_a_container_without_systemd_states_nothing() {
    states("docker-inside-cgroupns-private", &[(1, &[]), (7, &[])]);
    states("docker-inside-cgroupns-host", &[(1, &[]), (7, &[])]);
    states("docker-inside-pid-host", &[(1, &[]), (743, &[]), (2102, &[])]);
}

#[test]
fn a_pod_is_at_most_the_scope_that_was_made_for_it() {
    let (pod, scope) = (
        format!("slice:kubepods-burstable-pod{POD}.slice"),
        format!("unit:cri-containerd-{ID}.scope"),
    );
    states(
        "kubernetes-containerd",
        &[
            (1022, &["slice:system.slice", "unit:kubelet.service"]),
            (3001, &[]),
            (
                3002,
                &[
                    "slice:kubepods.slice",
                    "slice:kubepods-burstable.slice",
                    &pod,
                    &scope,
                ],
            ),
            (3003, &[]),
            (3004, &[]),
        ],
    );
}

#[test]
fn a_system_container_has_units_for_the_agent_inside_and_none_for_the_one_outside() {
    states("lxc-host", &[(1500, &[]), (1601, &[])]);
    states(
        "lxc-guest",
        &[(120, &["slice:system.slice", "unit:nginx.service"]), (300, &[])],
    );
}

#[test]
fn beside_control_groups_of_version_1_systemds_own_hierarchy_counts() {
    states(
        "ubuntu-18.04-hybrid",
        &[
            (950, &["slice:system.slice", "unit:ssh.service"]),
            (
                1210,
                &[
                    "slice:user.slice",
                    "slice:user-1000.slice",
                    "unit:session-1.scope",
                ],
            ),
            (
                1220,
                &[
                    "slice:user.slice",
                    "slice:user-1000.slice",
                    "unit:user@1000.service",
                    "user-unit:gpg-agent.service",
                ],
            ),
            // Containers, of which version 2 says that they are in containerd.service.
            (2200, &[]),
        ],
    );
    states(
        "centos-7-legacy",
        &[
            (880, &["slice:system.slice", "unit:chronyd.service"]),
            (881, &["slice:system.slice", "unit:dnsmasq.service"]),
        ],
    );
}

#[test]
fn where_systemd_keeps_version_2_the_hierarchies_beside_it_state_nothing() {
    // The hierarchy of version 1 that old containers need is there, and systemd does not keep it.
    states(
        "debian-12-beside-v1",
        &[
            (1, &["unit:init.scope"]),
            (38, &["slice:system.slice", "unit:live.service"]),
            (44, &[]),
        ],
    );
}

#[test]
fn where_hierarchies_contradict_each_other_nothing_is_stated() {
    // A container in the host's PID namespace, and a process that somebody moved in one hierarchy.
    states("ubuntu-18.04-hybrid", &[(2201, &[]), (2202, &[])]);
}

#[test]
fn where_systemd_does_not_run_nothing_is_stated() {
    states("wsl", &[(1, &[]), (412, &[])]);
    states("openrc", &[(602, &[])]);
    let empty = tempfile::tempdir().expect("folder");
    assert_eq!(Systemd::over(empty.path().into()).look(7, 0).expect("look"), []);
}

/// A tree with systemd and one process, which has these files.
fn made(cgroup: &[u8], status: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (pid, cgroup, status) in [
        (1, b"0::/init.scope\n".as_slice(), b"".as_slice()),
        (7, cgroup, status),
    ] {
        let process = folder.path().join(pid.to_string());
        std::fs::create_dir(&process).expect("folder");
        std::fs::write(process.join("cgroup"), cgroup).expect("write");
        std::fs::write(process.join("status"), status).expect("write");
    }
    folder
}

#[test]
fn files_that_are_too_long_or_of_another_form_are_an_error() {
    let (cgroup, status) = (
        b"0::/system.slice/a.service\n".as_slice(),
        b"NSpid:\t7\n".as_slice(),
    );
    let look = |cgroup: &[u8], status: &[u8]| {
        let tree = made(cgroup, status);
        Systemd::over(tree.path().into()).look(7, 0)
    };
    assert_eq!(look(cgroup, status).expect("sound").len(), 2);
    // Each line is good; beyond the bound the file is refused, and never read in part.
    let long = [cgroup, "9:cpu:/\n".repeat(20_000).as_bytes()].concat();
    let fitting = [cgroup, "9:cpu:/\n".repeat(1_000).as_bytes()].concat();
    assert_eq!(look(&fitting, status).expect("sound").len(), 2);
    let vast = [status, "x\n".repeat(1 << 20).as_bytes()].concat();
    for (cgroup, status) in [
        (b"".as_slice(), status),
        (b"nonsense\n".as_slice(), status),
        (&long, status),
        (cgroup, b"Name:\tx\n".as_slice()),
        (cgroup, &vast),
    ] {
        let error = look(cgroup, status).expect_err("refused");
        assert!(
            matches!(error, AgentError::Peer(SysError::ProcForm { pid: 7, .. })),
            "{error}"
        );
    }
    let tree = made(cgroup, status);
    let gone = Systemd::over(tree.path().into()).look(8, 0).expect_err("gone");
    assert!(
        matches!(gone, AgentError::Peer(SysError::PeerGone { pid: 8 })),
        "{gone}"
    );
}

#[test]
fn what_was_read_is_stated_only_of_the_process_that_connected() {
    for task in ["end", "exec"] {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("bind");
        let mut giver = Giver::start(task, &socket);
        let (stream, _) = listener.accept().expect("accept");
        let peer = Peer::of(&stream).expect("peer");
        let tree = made(b"0::/system.slice/a.service\n", b"NSpid:\t7\n");
        let pid = peer.pid().to_string();
        std::fs::rename(tree.path().join("7"), tree.path().join(pid)).expect("rename");
        let systemd = Systemd::over(tree.path().into());
        assert_eq!(systemd.attest(&peer).expect("it lives").len(), 2);
        giver.go_on();
        match task {
            "end" => drop(giver.child.wait().expect("wait")),
            _ => giver.await_exec(),
        }
        // The files say what they said; they are no longer of the program that connected.
        let error = systemd.attest(&peer).expect_err("another one");
        assert!(matches!(error, AgentError::Peer(SysError::Changed(_))), "{error}");
    }
}

/// Set by `cargo xtask test systemd`: systemd must be there.
const LIVE: &str = "SIGNET_TEST_SYSTEMD";
/// Set in a unit that [`live_the_unit_that_systemd_started_is_found`] started.
const INSIDE: &str = "SIGNET_TEST_SYSTEMD_INSIDE";

#[test]
fn live_the_unit_that_systemd_started_is_found() {
    let uid = signet_sys::process::uid();
    let is_root = uid == 0;
    let missing = if !Path::new("/run/systemd/system").exists() {
        Some("PID 1 is not systemd")
    } else if !is_root && !Path::new(&format!("/run/user/{uid}/bus")).exists() {
        Some("this user has no manager of its own")
    } else {
        None
    };
    if let Some(missing) = missing {
        assert!(std::env::var_os(LIVE).is_none(), "{missing}");
        eprintln!("not run: {missing}");
        return;
    }
    let unit = format!("signet-test-{}", std::process::id());
    let run = std::process::Command::new("systemd-run")
        .args(["--quiet", "--wait", "--pipe", "--collect", "--unit", &unit])
        .env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"))
        .arg(if is_root { "--system" } else { "--user" })
        .arg(format!("--setenv={INSIDE}=1"))
        .arg(std::env::current_exe().expect("own path"))
        .args(["--exact", "systemd::inside", "--nocapture"])
        .output()
        .expect("systemd-run");
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let wanted = if is_root {
        vec![
            format!("systemd:unit:{unit}.service"),
            "systemd:slice:system.slice".to_owned(),
        ]
    } else {
        vec![
            format!("systemd:user-unit:{unit}.service"),
            format!("systemd:unit:user@{uid}.service"),
        ]
    };
    for selector in wanted {
        assert!(
            told.lines().any(|line| line == selector),
            "{selector} is not in:\n{told}"
        );
    }
}

/// What the attestor finds of the process that it runs in; nothing outside of such a unit.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_some() {
        let (ours, _theirs) = UnixStream::pair().expect("pair");
        let peer = Peer::of(&ours).expect("peer");
        println!();
        for selector in Systemd::new().attest(&peer).expect("attest") {
            println!("{selector}");
        }
    }
}
