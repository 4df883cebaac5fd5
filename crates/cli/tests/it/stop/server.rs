use super::{AT_LAST, AT_ONCE, peers, wait_until_gone};
use crate::fleet::Fleet;
use crate::program::{Running, run};
use std::io::{Read as _, Write as _};

/// A server that was started, and its roots.
fn start() -> (Fleet, Running, String) {
    let (fleet, made) = Fleet::init();
    assert_eq!(made.code, Some(0), "{made:?}");
    let server = fleet.start_server();
    let mut stream = peers::silent(&fleet.at("api.sock"));
    let (_, roots) = peers::ask(
        &mut stream,
        "GET /api/v1/bundle?format=pem HTTP/1.1\r\nhost: localhost\r\n\r\n",
    );
    (fleet, server, String::from_utf8(roots).unwrap())
}

fn entries(fleet: &Fleet) -> Vec<String> {
    let listed = run(&["entry", "list", "--api", &fleet.api(), "-o", "json"]).json();
    let all = listed.as_array().unwrap().iter();
    all.map(|entry| entry["spiffe_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn sigterm_ends_a_server_that_nobody_lets_go_of() {
    let (fleet, mut server, roots) = start();
    let (api, https) = (fleet.at("api.sock"), fleet.https.address());
    let (agents, metrics) = (fleet.agents.address(), fleet.server_metrics.address());
    let hanging_unix = [peers::silent(&api), peers::saying(&api, b"POST /api/v1/entr")];
    let hanging_tcp = [
        peers::silent_tcp(https),
        peers::half_a_hello(https, &roots),
        peers::no_finished(https, &roots),
        peers::silent_tcp(agents),
        peers::half_a_hello(agents, &roots),
        peers::no_finished(agents, &roots),
        peers::silent_tcp(metrics),
    ];
    // These have been served once, later than all others came to the same port, and could ask again.
    let mut idle_api = peers::silent(&api);
    let mut idle_metrics = peers::silent_tcp(metrics);
    let mut idle_https = peers::tls(https, &roots);
    let mut fresh_https = peers::tls(https, &roots);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    peers::ask(&mut idle_api, &get("/api/v1/health"));
    peers::ask(&mut idle_metrics, &get("/health/ready"));
    peers::ask(&mut idle_https, &get("/bundle"));
    // An agent with its stream is there as well, and a workload behind it.
    fleet.make_join_file();
    let mut agent = fleet.start_agent();
    fleet.entitle("/kept");
    fleet.wait_for_svid();

    let took = server.stop_within(AT_ONCE);
    println!("the server ended in {took:?}");
    assert!(!api.exists(), "the socket is gone");
    // They were let go, and told nothing.
    for mut stream in hanging_unix {
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    for mut stream in hanging_tcp.into_iter().chain([idle_metrics]) {
        let mut rest = Vec::new();
        let _reset_or_closed = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    assert_eq!(idle_https.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(fresh_https.read(&mut [0]).unwrap_or(0), 0);

    let mut server = fleet.start_server();
    assert_eq!(entries(&fleet), ["spiffe://fleet.test/kept"]);
    assert!(agent.is_alive());
    assert_eq!(fleet.svid().code, Some(0));
    agent.stop_within(AT_ONCE);
    server.stop_within(AT_ONCE);
}

#[test]
fn sigterm_lets_a_server_finish_what_was_begun() {
    let (fleet, mut server, roots) = start();
    let api = fleet.at("api.sock");
    let body = br#"{"spiffe_id": "spiffe://fleet.test/begun", "selectors": ["unix:uid:4000000123"]}"#;
    let (first, second) = body.split_at(body.len() / 2);
    let mut creating = peers::begin_create(&api, body.len());
    creating.write_all(first).unwrap();
    // More is asked for at once than fits on the way back, so that the server is answering when the signal comes.
    let mut reading = peers::tls(fleet.https.address(), &roots);
    let many = "GET /bundle HTTP/1.1\r\nhost: a\r\n\r\n".repeat(ASKED_AT_ONCE);
    let (head, _) = peers::ask(&mut reading, &many);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");

    server.signal(rustix::process::Signal::TERM);
    let mut answers = Vec::new();
    let _end = reading.read_to_end(&mut answers);
    let (mut rest, mut whole) = (answers.as_slice(), 0);
    while !rest.is_empty() {
        let head = peers::head(&mut rest);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let body = rest.split_off(..peers::content_length(&head));
        let body: Result<serde_json::Value, _> = serde_json::from_slice(body.expect("the whole answer"));
        assert!(body.unwrap()["keys"].is_array());
        whole += 1;
    }
    println!("{whole} of {ASKED_AT_ONCE} answers, each of them whole");
    assert!((1..=ASKED_AT_ONCE).contains(&whole), "{whole} answers");

    wait_until_gone(&api);
    assert!(server.is_alive(), "it waits for the administrator");
    peers::assert_draining(fleet.server_metrics.address());
    creating.write_all(second).unwrap();
    let answer = peers::head(&mut creating);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    server.stop_within(AT_ONCE);

    let mut server = fleet.start_server();
    assert_eq!(entries(&fleet), ["spiffe://fleet.test/begun"]);
    server.stop_within(AT_ONCE);
}

#[test]
fn sigterm_right_after_the_start_is_nothing_to_warn_of() {
    let (fleet, made) = Fleet::init();
    assert_eq!(made.code, Some(0), "{made:?}");
    let log = fleet.at("server.log");
    let mut server = Running::logging(fleet.server(), &log);
    fleet.wait(&fleet.server_metrics);
    server.stop_within(AT_ONCE);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("server stopped"), "{log}");
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
}

/// Their heads fit into one TLS record, their answers into no buffer of a connection that nobody reads from.
const ASKED_AT_ONCE: usize = 400;

#[test]
fn sigterm_cuts_a_request_to_a_server_that_never_ends() {
    let (fleet, mut server, _) = start();
    let api = fleet.at("api.sock");
    let mut creating = peers::begin_create(&api, 100);
    creating.write_all(br#"{"spiffe_id": "#).unwrap();
    let took = server.stop_within(AT_LAST);
    println!("the server ended in {took:?}");
    assert!(!api.exists(), "the socket is gone");
    assert_eq!(creating.read(&mut [0]).unwrap_or(0), 0, "it got no answer");
    let mut server = fleet.start_server();
    assert!(entries(&fleet).is_empty());
    server.stop_within(AT_ONCE);
}
