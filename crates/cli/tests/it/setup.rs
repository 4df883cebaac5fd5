//! A server and an agent are set up, joined, and say what they need.

use crate::fleet::Fleet;
use crate::program::{Done, run, signet, text};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[test]
fn a_server_and_an_agent_are_set_up_joined_and_survive_restarts() {
    let (fleet, made) = Fleet::init();
    let made = made.json();
    assert_eq!(
        (made["trust_domain"].as_str(), made["seal_key_made"].as_bool()),
        (Some("fleet.test"), Some(true))
    );
    let mut server = fleet.start_server();
    fleet.make_join_file();
    let mut agent = fleet.start_agent();

    // No entry, no identity; with one, an identity, on a process that never showed a credential.
    fleet.svid().refused("SGWL007");
    fleet.entitle("/a");
    let first = fleet.wait_for_svid();
    assert_eq!(first["svids"][0]["spiffe_id"], "spiffe://fleet.test/a");

    // A signal that would end other programs has both read their settings again and go on.
    server.signal(Signal::HUP);
    agent.signal(Signal::HUP);
    fleet.wait(&fleet.server_metrics);
    fleet.wait(&fleet.agent_metrics);

    // The node's key is a file of its own user; the join string is used up and not needed again.
    let key_modes: Vec<u32> = fs::read_dir(fleet.at("agent"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o077)
        .collect();
    assert!(
        !key_modes.is_empty() && key_modes.iter().all(|mode| *mode == 0),
        "{key_modes:?}"
    );
    fs::remove_file(fleet.at("join")).unwrap();
    assert_eq!(agent.end(Signal::TERM).code(), Some(0));
    assert_eq!(server.end(Signal::TERM).code(), Some(0));
    let mut server = fleet.start_server();
    let mut agent = fleet.start_agent();
    let again = fleet.wait_for_svid();
    assert_eq!(again["svids"][0]["spiffe_id"], "spiffe://fleet.test/a");
    assert_eq!(agent.end(Signal::INT).code(), Some(0));
    assert_eq!(server.end(Signal::INT).code(), Some(0));
}

#[test]
fn init_makes_settings_that_check_and_a_recovery_file_for_its_user_alone() {
    let (fleet, made) = Fleet::init();
    let made = made.json();
    let recovery = fleet.at("recovery");
    assert_eq!(made["recovery_file"], text(&recovery));
    assert_eq!(
        fs::metadata(&recovery).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text_of = fs::read_to_string(&recovery).unwrap();
    let hex = text_of
        .lines()
        .find_map(|line| line.strip_prefix("seal-key:"))
        .unwrap();
    let key = fs::read(fleet.at("seal.key")).unwrap();
    let expected: String = key.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, expected, "the recovery file holds the key once more");
    let config = made["config"].as_str().unwrap();
    assert_eq!(
        run(&["config", "check", config, "-o", "json"]).json()["kind"],
        "server"
    );
    assert_eq!(
        run(&["config", "check", &fleet.text("server.toml"), "-o", "json"]).json()["ok"],
        true
    );

    // Without a place for the means of recovery, nothing is made.
    fleet.init_again("unmade", "no/such/recovery").refused("SGCL002");
    assert!(!fleet.at("unmade").exists());
    // Directories above are made.
    let deep = fleet.init_again("var/lib/server", "recovery-3");
    assert_eq!(deep.code, Some(0), "{deep:?}");

    // Nothing that exists is touched.
    fleet.init_again("server", "recovery-2").refused("SGSV001");
    assert!(!fleet.at("recovery-2").exists());
    let kept = fleet.init_again("other", "recovery");
    let line = kept.refused("SGCL002");
    assert!(line.contains("may hold what recovers another server"), "{line}");
    assert!(!Path::new(&fleet.text("other")).exists());
    assert_eq!(fs::read_to_string(&recovery).unwrap(), text_of);
}

#[test]
fn a_server_without_its_seal_key_says_so() {
    let (fleet, _) = Fleet::init();
    fs::rename(fleet.at("seal.key"), fleet.at("elsewhere")).unwrap();
    let done: Done = signet()
        .args(["server", "run", "--config", &fleet.text("server.toml")])
        .env("SIGNET_LOG", "off")
        .output()
        .unwrap()
        .into();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err.starts_with("error[SGKY") && done.err.contains("seal.key"),
        "{done:?}"
    );
}

#[test]
fn an_agent_with_nothing_to_join_with_says_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent.sock");
    let state = dir.path().join("state");
    let args = [
        "agent",
        "run",
        "--socket",
        text(&socket),
        "--state-dir",
        text(&state),
    ];
    let quiet = |args: &[&str], join: Option<&str>| -> Done {
        let mut command = signet();
        command.args(args).env("SIGNET_LOG", "off");
        if let Some(join) = join {
            command.env("SIGNET_JOIN", join);
        }
        command.output().unwrap().into()
    };
    let done = quiet(&args, None);
    let line = done.refused("SGAG020");
    assert!(line.contains("signet node join-token create"), "{line}");
    let done = quiet(&args, Some("sgjoin1.AAAA"));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("join string"), "{done:?}");
    let with_file = [args.as_slice(), &["--join-file", "/no/such/file"]].concat();
    quiet(&with_file, None).refused("SGCL001");
    let empty = dir.path().join("join");
    fs::write(&empty, "\n").unwrap();
    let with_file = [args.as_slice(), &["--join-file", text(&empty)]].concat();
    let done = quiet(&with_file, None);
    let line = done.refused("SGCL001");
    assert!(
        line.contains("it is empty") && line.contains("join-token create"),
        "{line}"
    );
}
