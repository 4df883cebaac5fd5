use super::{AT_LAST, AT_ONCE, peers, wait_until_gone};
use crate::fleet::Fleet;
use crate::ports::HeldPort;
use crate::program::{Running, run};
use rustix::process::Signal;
use signet_workload::{Endpoint, JwtSvid, WorkloadClient, WorkloadError};
use std::fs;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A server, and an agent that serves this user.
fn start() -> (Fleet, Running, Running) {
    let (fleet, made) = Fleet::init();
    assert_eq!(made.code, Some(0), "{made:?}");
    let server = fleet.start_server();
    fleet.make_join_file();
    let agent = fleet.start_agent();
    fleet.entitle("/a");
    fleet.wait_for_svid();
    (fleet, server, agent)
}

fn nodes(fleet: &Fleet) -> Vec<(String, String)> {
    let listed = run(&["node", "list", "--api", &fleet.api(), "-o", "json"]).json();
    let text = |node: &serde_json::Value, name: &str| node[name].as_str().unwrap().to_owned();
    let all = listed.as_array().unwrap().iter();
    all.map(|node| (text(node, "id"), text(node, "key_sha256")))
        .collect()
}

/// Starts the agent again, on what it kept.
fn restart(fleet: &Fleet) -> Running {
    fs::remove_file(fleet.at("join")).unwrap();
    let before = nodes(fleet);
    let agent = fleet.start_agent();
    assert_eq!(
        fleet.wait_for_svid()["svids"][0]["spiffe_id"],
        "spiffe://fleet.test/a"
    );
    assert_eq!(nodes(fleet), before, "it is the same node");
    agent
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn connect(fleet: &Fleet) -> WorkloadClient {
    WorkloadClient::connect(&Endpoint::Unix(fleet.at("agent.sock")))
        .await
        .unwrap()
}

#[test]
fn sigterm_ends_an_agent_that_nobody_lets_go_of() {
    let (fleet, mut server, mut agent) = start();
    let socket = fleet.at("agent.sock");
    let hanging = [
        peers::silent(&socket),
        peers::saying(&socket, b"PRI * HTTP/2.0\r\n\r\n"),
        peers::saying(&socket, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ];
    let hanging_metrics = peers::silent_tcp(fleet.agent_metrics.address());
    let mut idle_metrics = peers::silent_tcp(fleet.agent_metrics.address());
    peers::ask(&mut idle_metrics, "GET /health/ready HTTP/1.1\r\nhost: a\r\n\r\n");
    let runtime = runtime();
    let client = runtime.block_on(connect(&fleet));
    let mut stream = runtime.block_on(client.watch_x509()).unwrap();
    runtime.block_on(stream.next()).unwrap().unwrap();
    let following = runtime.spawn(async move { stream.next().await.map(|_| ()) });

    let took = agent.stop_within(AT_ONCE);
    println!("the agent ended in {took:?}");
    assert!(!socket.exists(), "the socket is gone");
    let told = runtime.block_on(following).unwrap().unwrap_err();
    assert!(matches!(told, WorkloadError::Unavailable { .. }), "{told:?}");
    drop((client, hanging, hanging_metrics, idle_metrics));

    restart(&fleet).stop_within(AT_ONCE);
    server.stop_within(AT_ONCE);
}

/// Bytes that connections to `port` have brought and that nobody has read.
fn unread(port: &HeldPort) -> u64 {
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    fs::read_to_string("/proc/net/tcp")
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| {
            let (_, local) = fields[1].split_once(':').unwrap();
            // Established ones: what waits at a listener is counted in connections.
            hex(local) == u64::from(port.number()) && fields[3] == "01"
        })
        .map(|fields| hex(fields[4].split_once(':').unwrap().1))
        .sum()
}

/// A wish for a token takes more than this on its way to the server, and nothing else that an agent says does.
const WISH_BYTES_MIN: u64 = 100;

/// Has the server pause, and a workload ask for a token: returns when the agent has asked the server for it.
fn ask_for_a_token(
    fleet: &Fleet,
    server: &Running,
    runtime: &Runtime,
) -> JoinHandle<Result<Vec<JwtSvid>, WorkloadError>> {
    server.signal(Signal::STOP);
    let before = unread(&fleet.agents);
    let client = runtime.block_on(connect(fleet));
    let asking = runtime.spawn(async move { client.fetch_jwt(&["begun".to_owned()], None).await });
    let since = Instant::now();
    while unread(&fleet.agents) < before + WISH_BYTES_MIN {
        assert!(!asking.is_finished(), "nobody can have answered");
        assert!(since.elapsed() < Duration::from_secs(8), "the agent does not ask");
        std::thread::yield_now();
    }
    asking
}

#[test]
fn sigterm_lets_an_agent_finish_what_was_begun() {
    let (fleet, mut server, mut agent) = start();
    let runtime = runtime();
    let asking = ask_for_a_token(&fleet, &server, &runtime);
    agent.signal(Signal::TERM);
    wait_until_gone(&fleet.at("agent.sock"));
    assert!(agent.is_alive(), "it waits for the workload's token");
    server.signal(Signal::CONT);
    let svids = runtime.block_on(asking).unwrap().unwrap();
    assert_eq!(svids[0].id.to_string(), "spiffe://fleet.test/a");
    agent.stop_within(AT_ONCE);
    restart(&fleet).stop_within(AT_ONCE);
    server.stop_within(AT_ONCE);
}

#[test]
fn sigterm_ends_an_agent_whose_server_never_answers() {
    let (fleet, mut server, mut agent) = start();
    let runtime = runtime();
    let deaf = peers::deaf_workload(&fleet.at("agent.sock"));
    let asking = ask_for_a_token(&fleet, &server, &runtime);
    let took = agent.stop_within(AT_LAST);
    println!("the agent ended in {took:?}");
    assert!(!fleet.at("agent.sock").exists(), "the socket is gone");
    let told = runtime.block_on(asking).unwrap();
    assert!(told.is_err());
    drop(deaf);
    server.signal(Signal::CONT);
    fleet.wait(&fleet.server_metrics);
    restart(&fleet).stop_within(AT_ONCE);
    server.stop_within(AT_ONCE);
}
