//! SIGHUP: a server and an agent that run are given other settings.

use crate::fleet::Fleet;
use crate::program::{Log, Running, run};
use rustix::process::Signal;
use signet_api::JoinString;
use signet_crypto::KeyKind;
use signet_x509::{Certificate, pem};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Puts `text` in place of the file in one step, as editors do.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

impl Fleet {
    fn start_server_logged(&self) -> (Running, Log) {
        let started = Running::start_logged(&["server", "run", "--config", &self.text("server.toml")]);
        self.wait(&self.server_metrics);
        started
    }

    /// Where the next join string sends a node.
    fn advertised(&self) -> Vec<String> {
        JoinString::parse(&self.join_string()).unwrap().servers
    }
}

#[test]
fn a_server_takes_over_what_it_can_says_what_waits_and_keeps_running_on_a_bad_file() {
    let (fleet, _) = Fleet::init();
    let (mut server, mut log) = fleet.start_server_logged();
    let file = fleet.at("server.toml");
    let first = fs::read_to_string(&file).unwrap();
    let old = fleet.agents.address().to_string();
    assert_eq!(fleet.advertised(), [old.as_str()]);

    // Two keys that are told apart: one is taken over, one waits.
    let advertise = format!("advertise = [\"{old}\"]");
    assert!(first.contains(&advertise));
    let second =
        first.replace(&advertise, "advertise = [\"id.fleet.test:8445\"]") + "[metrics]\nsite = \"lab\"\n";
    replace(&file, &second);
    server.signal(Signal::HUP);
    let line = log.wait("SIGHUP: taken over");
    for part in ["key=\"advertise\"", &old, "id.fleet.test:8445"] {
        assert!(line.contains(part), "{line}");
    }
    log.wait("SIGHUP: takes effect at the next start: metrics.site");
    assert_eq!(fleet.advertised(), ["id.fleet.test:8445"]);

    // Every mistake is told, with the code, and nothing changes, not even what is right in the file.
    let third = second.replace("id.fleet.test", "other.fleet.test")
        + "stie = \"x\"\n[svid]\nx509_alg = \"rsa2048\"\n";
    replace(&file, &third);
    server.signal(Signal::HUP);
    let line = log.wait("SIGHUP: the settings cannot be used, nothing changes");
    for part in [
        "ERROR",
        "SGSE001",
        "unknown key `metrics.stie`",
        "`rsa2048` is not p256",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(fleet.advertised(), ["id.fleet.test:8445"]);
    fs::remove_file(&file).unwrap();
    server.signal(Signal::HUP);
    assert!(log.wait("the settings cannot be used").contains("SGSE002"));
    assert_eq!(fleet.advertised(), ["id.fleet.test:8445"]);

    // Back to what it started with: what waited needs no start any more.
    replace(&file, &first);
    server.signal(Signal::HUP);
    log.wait("SIGHUP: taken over");
    assert_eq!(fleet.advertised(), [old.as_str()]);
    server.signal(Signal::HUP);
    log.wait("SIGHUP: the settings say what runs, nothing changes");
    fleet.wait(&fleet.server_metrics);
    assert_eq!(server.end(Signal::TERM).code(), Some(0));
}

#[test]
fn an_agent_makes_its_next_key_of_the_kind_that_it_took_over() {
    let (fleet, _) = Fleet::init();
    let server = fleet.start_server();
    fs::write(fleet.at("join"), fleet.join_string()).unwrap();
    let file = fleet.at("agent.toml");
    let first = fleet.agent_settings();
    fs::write(&file, &first).unwrap();
    let own = fleet.agents.address().to_string();
    // What the command line says stands above the file, then as at the start.
    let args = [
        "agent",
        "run",
        "--config",
        &fleet.text("agent.toml"),
        "--server",
        &own,
    ];
    let (mut agent, mut log) = Running::start_logged(&args);
    fleet.wait(&fleet.agent_metrics);

    let second = format!("servers = [\"no.fleet.test:1\"]\nsite = \"lab\"\n{first}[svid]\nkey = \"p384\"\n");
    replace(&file, &second);
    agent.signal(Signal::HUP);
    let line = log.wait("SIGHUP: taken over");
    assert!(
        line.contains("key=\"svid.key\"") && line.contains("p256") && line.contains("p384"),
        "{line}"
    );
    log.wait("SIGHUP: takes effect at the next start: site");
    replace(&file, &second.replace("p384", "p348"));
    agent.signal(Signal::HUP);
    assert!(log.wait("the settings cannot be used").contains("SGSE001"));

    // Nothing was entitled before, so this is the first key.
    fleet.entitle("/a");
    let svid = fleet.wait_for_svid();
    let chain = pem::parse_certs(svid["svids"][0]["x509_svid"].as_str().unwrap().as_bytes()).unwrap();
    let leaf = Certificate::parse(&chain[0]).unwrap();
    assert_eq!(leaf.public_key().unwrap().kind(), KeyKind::P384);
    assert_eq!(agent.end(Signal::TERM).code(), Some(0));
    let log = log.whole();
    assert!(log.iter().all(|line| !line.contains("no.fleet.test")), "{log:#?}");
    drop(server);
}

#[test]
fn a_server_that_stops_does_not_answer_a_hangup() {
    let (fleet, _) = Fleet::init();
    let (mut server, mut log) = fleet.start_server_logged();
    // A request whose body does not come yet holds the stop up. It is asked for its body, so it is there.
    let mut slow = UnixStream::connect(fleet.at("api.sock")).unwrap();
    let head = "POST /api/v1/entries HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 2\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    slow.read_exact(&mut go_on).unwrap();
    server.signal(Signal::TERM);
    log.wait("stopping");
    let url = format!("http://{}", fleet.server_metrics.address());
    let drains = || {
        run(&["health", "--url", &url, "-o", "json"])
            .err
            .contains("draining")
    };
    assert!((0..1_000).any(|_| drains()));
    replace(&fleet.at("server.toml"), "no settings");
    server.signal(Signal::HUP);
    assert!(drains());
    // It is still there: the request is answered.
    slow.write_all(b"{}").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(server.ended().code(), Some(0));
    let log = log.whole();
    assert!(log.iter().all(|line| !line.contains("SIGHUP")), "{log:#?}");
}
