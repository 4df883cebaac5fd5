use super::{AT_LAST, AT_ONCE, peers, wait_until_gone};
use crate::program::{Running, run, text};
use rustix::process::Signal;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A `signet dev` and what it said.
fn start(args: &[&str]) -> (Running, Value) {
    let ports = ["--http-port", "0", "--agent-port", "0", "--metrics-port", "0"];
    let mut dev = Running::start(&[["dev", "-o", "json", "--no-demo"].as_slice(), &ports, args].concat());
    let ready = serde_json::from_str(&dev.line()).unwrap();
    (dev, ready)
}

fn socket(ready: &Value, name: &str) -> PathBuf {
    ready[name]
        .as_str()
        .unwrap()
        .strip_prefix("unix://")
        .unwrap()
        .into()
}

fn address(url: &Value) -> std::net::SocketAddr {
    let (_, port) = url.as_str().unwrap().rsplit_once(':').unwrap();
    format!("127.0.0.1:{port}").parse().unwrap()
}

#[test]
fn sigterm_ends_signet_dev_that_nobody_lets_go_of() {
    let (mut dev, ready) = start(&[]);
    let (api, workload_api) = (socket(&ready, "api"), socket(&ready, "workload_api"));
    let roots = std::fs::read_to_string(ready["root_ca"].as_str().unwrap()).unwrap();
    let hanging = (
        peers::silent(&api),
        peers::saying(&api, b"GET /api/v1/health HTTP/1.1\r\n"),
        peers::silent(&workload_api),
        peers::saying(&workload_api, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        peers::half_a_hello(address(&ready["https"]), &roots),
        peers::tls(address(&ready["https"]), &roots),
        peers::silent_tcp(address(&ready["metrics"])),
    );
    let took = dev.stop_within(AT_ONCE);
    println!("signet dev ended in {took:?}");
    assert!(!Path::new(ready["dir"].as_str().unwrap()).exists());
    drop(hanging);
}

#[test]
fn sigterm_cuts_requests_to_signet_dev_that_never_end() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let (mut dev, ready) = start(&["--dir", text(&home)]);
    let (api, workload_api) = (socket(&ready, "api"), socket(&ready, "workload_api"));
    let mut creating = peers::begin_create(&api, 100);
    creating.write_all(b"{").unwrap();
    let deaf = peers::deaf_workload(&workload_api);
    dev.signal(Signal::TERM);
    wait_until_gone(&workload_api);
    peers::assert_draining(address(&ready["metrics"]));
    // Counted from a second signal, which changes nothing.
    let took = dev.stop_within(AT_LAST);
    println!("signet dev ended in {took:?}");
    assert!(!api.exists() && !workload_api.exists(), "the sockets are gone");
    drop((creating, deaf));

    let (mut dev, ready) = start(&["--dir", text(&home)]);
    let listed = run(&[
        "entry",
        "list",
        "--api",
        ready["api"].as_str().unwrap(),
        "-o",
        "json",
    ])
    .json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "the user's own");
    dev.stop_within(AT_ONCE);
}
