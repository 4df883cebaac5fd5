//! `signet agent run --take-over`: a new agent goes on where an old one listens, whatever happens to either.

mod crowd;

use crate::fleet::Fleet;
use crate::program::{Done, Log, Running, signet, text};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

/// A server, and an agent that serves this user.
fn start() -> (Fleet, Running, Running) {
    let (fleet, made) = Fleet::init();
    assert_eq!(made.code, Some(0), "{made:?}");
    let server = fleet.start_server();
    fleet.make_join_file();
    let agent = Running::of(agent(&fleet));
    fleet.wait(&fleet.agent_metrics);
    fleet.entitle("/a");
    fleet.wait_for_svid();
    fs::remove_file(fleet.at("join")).unwrap();
    (fleet, server, agent)
}

/// The command that starts an agent, which lets one process have all the streams that the crowd needs.
fn agent(fleet: &Fleet) -> Command {
    let settings = fleet.agent_settings() + "[limits]\nprocess_streams_max = 2000\n";
    fs::write(fleet.at("agent.toml"), settings).unwrap();
    let mut command = signet();
    command.args(["agent", "run", "--config", &fleet.text("agent.toml")]);
    command
}

/// The command that starts the agent that takes over.
fn successor(fleet: &Fleet) -> Command {
    let mut command = agent(fleet);
    command.arg("--take-over");
    command
}

fn start_logged(fleet: &Fleet) -> (Running, Log) {
    Running::start_logged(&[
        "agent",
        "run",
        "--take-over",
        "--config",
        &fleet.text("agent.toml"),
    ])
}

fn assert_serves(fleet: &Fleet) {
    let svid = fleet.svid().json();
    assert_eq!(svid["svids"][0]["spiffe_id"], "spiffe://fleet.test/a");
}

/// Far above what it takes, on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn an_agent_that_dies_before_it_is_ready_leaves_the_running_one_as_it_was() {
    let (fleet, server, mut old) = start();
    // A server that says nothing keeps the new agent from being ready.
    server.signal(Signal::STOP);
    let (mut new, mut log) = start_logged(&fleet);
    log.wait("preparing to take over");
    assert_serves(&fleet);
    new.kill();
    assert_serves(&fleet);
    let beside: Done = agent(&fleet).output().unwrap().into();
    assert_eq!(beside.code, Some(1), "{beside:?}");
    let last = beside
        .err
        .lines()
        .find(|line| line.starts_with("error[SGAG070]: "));
    let last = last.unwrap_or_else(|| panic!("{beside:?}"));
    assert!(last.contains(&format!("process {}", old.pid())), "{last}");
    assert!(last.contains("--take-over"), "{last}");
    server.signal(Signal::CONT);

    // The next one takes over, and says so to its service manager.
    let manager = UnixDatagram::bind(fleet.at("notify")).unwrap();
    manager.set_read_timeout(Some(LONG)).unwrap();
    let mut command = successor(&fleet);
    command.env("NOTIFY_SOCKET", fleet.at("notify"));
    let mut new = Running::of(command);
    let mut said = [0; 32];
    let length = manager.recv(&mut said).unwrap();
    assert_eq!(&said[..length], b"READY=1");
    assert_eq!(old.ended().code(), Some(0));
    assert_serves(&fleet);
    let holder = fs::read_to_string(fleet.at("agent/lock")).unwrap();
    assert_eq!(holder.trim(), new.pid().to_string());
    new.stop_within(LONG);
    assert!(!fleet.at("agent.sock").exists(), "the socket is gone");
    assert!(!fleet.at("agent/handover.sock").exists(), "this one as well");
}

#[test]
fn an_agent_that_dies_in_the_middle_is_succeeded_all_the_same() {
    let (fleet, server, mut old) = start();
    server.signal(Signal::STOP);
    let (mut new, mut log) = start_logged(&fleet);
    log.wait("preparing to take over");
    // Whoever connects now waits at a socket that is in two hands.
    old.kill();
    log.wait("has ended before the handover was done");
    log.wait("taken over");
    server.signal(Signal::CONT);
    fleet.wait(&fleet.agent_metrics);
    assert_eq!(
        fleet.wait_for_svid()["svids"][0]["spiffe_id"],
        "spiffe://fleet.test/a"
    );
    let holder = fs::read_to_string(fleet.at("agent/lock")).unwrap();
    assert_eq!(holder.trim(), new.pid().to_string());
    // It is an agent like any other, also for the one after it.
    let mut third = Running::of(successor(&fleet));
    assert_eq!(new.ended().code(), Some(0));
    assert_serves(&fleet);
    third.stop_within(LONG);
    assert!(!fleet.at("agent.sock").exists(), "the socket is gone");
}

#[test]
fn taking_over_needs_a_state_directory_and_a_way_to_join_where_nobody_runs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| -> Done {
        let mut command = signet();
        command.args(["agent", "run", "--take-over"]).args(args);
        command.env("SIGNET_LOG", "off").output().unwrap().into()
    };
    let socket = dir.path().join("agent.sock");
    let nowhere = run(&["--socket", text(&socket)]);
    assert!(nowhere.refused("SGAG072").contains("state_dir"), "{nowhere:?}");
    let state = dir.path().join("state");
    run(&["--socket", text(&socket), "--state-dir", text(&state)]).refused("SGAG020");
}

#[test]
fn a_loader_that_opens_its_streams_again_tells_how_long_an_upgrade_took() {
    let (fleet, mut server, mut old) = start();
    let socket = format!("unix://{}", fleet.text("agent.sock"));
    let mut command = signet();
    command
        .args([
            "bench",
            "stream",
            "--reopen",
            "--streams",
            "5",
            "--seconds",
            "86400",
        ])
        .args(["-o", "json", "--socket", &socket]);
    let mut bench = Running::of(command);
    fleet.wait_for_streams(5);
    for _ in 0..2 {
        let new = Running::of(successor(&fleet));
        assert_eq!(old.ended().code(), Some(0));
        old = new;
        fleet.wait_for_streams(5);
    }
    bench.signal(Signal::INT);
    let report: Value = serde_json::from_str(&bench.line()).unwrap();
    let reopened = &report["reopened"];
    let (lost, back) = (
        reopened["lost"].as_u64().unwrap(),
        reopened["back"].as_u64().unwrap(),
    );
    // One that was ended while it was opened is lost as well. Each was back before it was lost again; after the last
    // time, its message may still be on its way.
    assert!(lost >= 10 && back <= lost && back >= lost - 5, "{report}");
    let told = reopened["told"].as_object().unwrap();
    assert!(told.contains_key("Unavailable"), "{report}");
    // No client is away for less than the shortest pause.
    assert!(
        reopened["without"]["p50_ms"].as_f64().unwrap() >= 50.0,
        "{report}"
    );
    assert!(reopened["all_back_ms"].as_f64().unwrap() >= 50.0, "{report}");
    old.stop_within(LONG);
    server.stop_within(LONG);
}
