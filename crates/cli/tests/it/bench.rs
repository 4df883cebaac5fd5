//! `signet bench`, with counts so small that it measures nothing: what is tested is that it counts right. How fast the
//! machine was is never asked.

use crate::dev::Dev;
use crate::fleet::Fleet;
use crate::program::{Done, Running, free_port, run, signet};
use rustix::process::Signal;
use serde_json::Value;

fn is_latency(summary: &Value) -> bool {
    let [p50, p99, max] = ["p50_ms", "p99_ms", "max_ms"].map(|name| summary[name].as_f64().unwrap());
    0.0 < p50 && p50 <= p99 && p99 <= max
}

/// The processes that were measured, by name.
fn processes(report: &Value) -> Vec<&str> {
    let used = report["cpu"].as_array().unwrap();
    used.iter()
        .map(|used| used["process"].as_str().unwrap())
        .collect()
}

#[test]
fn fetches_are_counted_to_the_last() {
    let dev = Dev::start(&["--no-demo"]);
    for (kind, args) in [
        ("x509", ["--callers", "3", "--connections", "2"].as_slice()),
        ("jwt", &["--callers", "3", "--kind", "jwt"]),
    ] {
        let report = dev.json(&[&["bench", "svid", "--count", "20"], args].concat());
        assert_eq!(report["kind"], kind);
        assert_eq!((&report["succeeded"], &report["failed"]), (&20.into(), &0.into()));
        assert_eq!(report["ended"], "done");
        assert!(is_latency(&report["latency"]), "{report}");
        assert!(report["per_second"].as_f64().unwrap() > 0.0);
        // `signet dev` is both.
        assert_eq!(processes(&report), ["client", "agent and server"]);
        assert_eq!(report["cpu"][1]["pid"], dev.ready["pid"]);
    }
    let told = dev.run(&["bench", "svid", "--count", "5", "--callers", "1"]);
    assert_eq!(
        (told.code, told.err.as_str()),
        (Some(0), ""),
        "no progress in a pipe"
    );
    assert!(told.out.contains("5 X.509-SVIDs"), "{}", told.out);
    // More callers than calls: none is made too often.
    let report = dev.json(&[
        "bench",
        "svid",
        "--count",
        "2",
        "--callers",
        "8",
        "--connections",
        "1",
    ]);
    assert_eq!(
        (&report["succeeded"], &report["connections"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn streams_are_held_and_their_memory_is_the_agents() {
    let dev = Dev::start(&["--no-demo"]);
    let report = dev.json(&["bench", "stream", "--streams", "5", "--seconds", "0"]);
    assert_eq!(
        (&report["opened"], &report["failed"]),
        (&5.into(), &0.into()),
        "{report}"
    );
    assert!(is_latency(&report["first_message"]), "{report}");
    assert_eq!((&report["pushes"], &report["closed"]), (&0.into(), &0.into()));
    let memory = &report["agent_memory"];
    assert_eq!(memory["pid"], dev.ready["pid"]);
    assert!(memory["bytes_before"].as_u64().unwrap() > 0, "{report}");
    let told = dev.run(&["bench", "stream", "--streams", "2", "--seconds", "0"]);
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    assert!(told.out.contains("2 of 2 streams"), "{}", told.out);
}

#[test]
fn what_was_measured_until_ctrl_c_is_told() {
    let dev = Dev::start(&["--no-demo"]);
    for args in [
        ["bench", "svid", "--seconds", "86400"].as_slice(),
        &["bench", "stream", "--streams", "3", "--seconds", "86400"],
        &["bench", "entry-churn", "--entries", "1000000", "--batch", "10"],
        &[
            "bench",
            "fleet",
            "--agents",
            "3",
            "--ramp",
            "0s",
            "--duration",
            "1h",
        ],
        &["bench", "fleet", "--agents", "3", "--ramp", "1h"],
        &["bench", "fleet", "--agents", "500", "--workloads", "0"],
    ] {
        let mut command = signet();
        command
            .args(args)
            .args(["-o", "json"])
            .env("SIGNET_API", dev.text("api"))
            .env("SPIFFE_ENDPOINT_SOCKET", dev.text("workload_api"));
        let mut bench = Running::of(command);
        // The signal is for one that hears it by now; one that does not would die of it and tell nothing.
        bench.await_caught(Signal::INT);
        bench.signal(Signal::INT);
        let report: Value = serde_json::from_str(&bench.line()).unwrap();
        assert_eq!(report["ended"], "interrupted");
        assert_eq!(bench.ended().code(), Some(0), "{report}");
    }
    assert_eq!(bench_entries(&dev), 0, "nothing is left behind");
    assert_eq!(
        dev.json(&["node", "list"]).as_array().unwrap().len(),
        1,
        "the agent of signet dev"
    );
}

#[test]
fn a_fleet_joins_holds_its_streams_renews_and_goes() {
    let dev = Dev::start(&["--no-demo"]);
    let report = dev.json(&[
        "bench",
        "fleet",
        "--agents",
        "5",
        "--workloads",
        "12",
        "--svid-ttl",
        "5s",
        "--ramp",
        "1s",
        "--duration",
        "6s",
        "--changes",
        "3",
        "--pushes",
        "2",
    ]);
    assert_eq!(report["ended"], "done", "{report}");
    let joining = &report["joining"];
    assert_eq!((&joining["joined"], &joining["gave_up"]), (&5.into(), &0.into()));
    assert_eq!(
        joining["svids_issued"], 12,
        "those of the user's entry are nobody's here: {report}"
    );
    assert_eq!(joining["errors"], serde_json::json!({}), "{report}");
    for latency in ["join", "first_state", "issue"] {
        assert!(is_latency(&joining[latency]), "{latency}: {report}");
    }
    // `signet dev` is agent and server; no agent of its own is loaded.
    assert_eq!(processes(joining), ["client", "server"]);
    assert_eq!(joining["cpu"][1]["pid"], dev.ready["pid"]);
    let holding = &report["holding"];
    assert_eq!(
        (&holding["connected"], &holding["gave_up"]),
        (&5.into(), &0.into())
    );
    assert_eq!(holding["errors"], serde_json::json!({}), "{report}");
    // Certificates that live for 5 s are renewed at half of that, and the fleet is held for 6 s.
    assert!(holding["svids_renewed"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(holding["drifts"], 0, "{report}");
    // Three that came and went, each to one agent.
    let changes = &holding["changes"];
    assert_eq!(
        (&changes["made"], &changes["lost"]),
        (&3.into(), &0.into()),
        "{report}"
    );
    assert!(is_latency(&changes["created_to_svid"]) && is_latency(&changes["deleted_to_agent"]));
    // Two more that came and went, each to all.
    let pushes = &holding["pushes"];
    assert_eq!(
        (&pushes["made"], &pushes["lost"]),
        (&2.into(), &0.into()),
        "{report}"
    );
    for latency in ["created_to_agents", "deleted_to_agents", "to_the_last"] {
        assert!(is_latency(&pushes[latency]), "{latency}: {report}");
    }
    assert_eq!(holding["cpu_of_pushes"][1]["pid"], dev.ready["pid"]);
    assert!(holding["deltas"].as_u64().unwrap() >= 6, "{report}");
    assert!(report["server_memory"]["held"]["anonymous"].as_u64().unwrap() > 0);
    assert_eq!(report["cleaned"], serde_json::json!({"entries": 12, "nodes": 5}));
    assert_eq!(bench_entries(&dev), 0);
    assert_eq!(dev.json(&["node", "list"]).as_array().unwrap().len(), 1);
    let told = dev.run(&[
        "bench",
        "fleet",
        "--agents",
        "1",
        "--ramp",
        "0s",
        "--duration",
        "0s",
        "--changes",
        "0",
    ]);
    assert_eq!(
        (told.code, told.err.as_str()),
        (Some(0), ""),
        "no progress in a pipe"
    );
    assert!(
        told.out.contains("1 agents") && told.out.contains("2 issued"),
        "{}",
        told.out
    );
}

#[test]
fn certificates_are_signed_in_batches_to_the_last() {
    let dev = Dev::start(&["--no-demo"]);
    let issue = [
        "bench",
        "issue",
        "--batch",
        "8",
        "--callers",
        "2",
        "--count",
        "30",
    ];
    let report = dev.json(&issue);
    assert_eq!(
        (&report["issued"], &report["failed"]),
        (&32.into(), &0.into()),
        "four whole batches: {report}"
    );
    assert!(is_latency(&report["latency"]), "{report}");
    assert_eq!(processes(&report), ["client", "server"]);
    let told = dev.run(&issue);
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    assert!(told.out.contains("32 X.509-SVIDs, 8 in a call"), "{}", told.out);
    assert_eq!(bench_entries(&dev), 0);
    assert_eq!(dev.json(&["node", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_fleet_whose_server_is_away_can_be_ended() {
    let dev = Dev::start(&["--no-demo"]);
    // Nobody listens there; no attempt succeeds.
    let port = free_port();
    let server = format!("127.0.0.1:{port}");
    let mut command = signet();
    command
        .args([
            "bench", "fleet", "--agents", "1", "--ramp", "0s", "--server", &server, "-o", "json",
        ])
        .env("SIGNET_API", dev.text("api"));
    let mut bench = Running::of(command);
    bench.await_caught(Signal::INT);
    // Seven attempts take a minute; nobody has to wait for them.
    bench.signal(Signal::INT);
    let report: Value = serde_json::from_str(&bench.line()).unwrap();
    assert_eq!(report["joining"]["joined"], 0, "{report}");
    assert_eq!(report["ended"], "interrupted");
    bench.ended();
    assert_eq!(dev.json(&["node", "list"]).as_array().unwrap().len(), 1);
}

/// How many entries there are that a loader made.
fn bench_entries(dev: &Dev) -> usize {
    let all = dev.json(&["entry", "list"]);
    let is_ours = |entry: &&Value| entry["spiffe_id"].as_str().unwrap().contains("/bench/");
    all.as_array().unwrap().iter().filter(is_ours).count()
}

#[test]
fn changes_are_seen_on_the_stream_and_nothing_is_left_of_them() {
    let dev = Dev::start(&["--no-demo"]);
    let report = dev.json(&["bench", "entry-churn", "--entries", "25", "--changes", "3"]);
    assert!(
        report["below"]
            .as_str()
            .unwrap()
            .starts_with("spiffe://dev.test/bench/"),
        "{report}"
    );
    let bulk = &report["bulk"];
    assert_eq!((&bulk["created"], &bulk["per_request"]), (&25.into(), &3.into()));
    assert!(
        !bulk["per_second_by_tenth"].as_array().unwrap().is_empty(),
        "{report}"
    );
    let changes = &report["changes"];
    assert_eq!(changes["made"], 3, "{report}");
    assert!(
        is_latency(&changes["created_to_stream"]) && is_latency(&changes["deleted_to_stream"]),
        "{report}"
    );
    assert_eq!(
        report["cleaned"], 26,
        "those in bulk and the one that held the stream"
    );
    assert_eq!(bench_entries(&dev), 0);
    // Also for a process that has no identity but this one.
    for entry in dev.json(&["entry", "list"]).as_array().unwrap() {
        dev.json(&["entry", "delete", entry["id"].as_str().unwrap()]);
    }
    let report = dev.json(&["bench", "entry-churn", "--entries", "0", "--changes", "2"]);
    assert_eq!(
        (&report["changes"]["made"], &report["cleaned"]),
        (&2.into(), &1.into())
    );
    assert_eq!(dev.json(&["entry", "list"]), Value::Array(Vec::new()));
}

#[test]
fn the_stream_of_a_process_ends_that_loses_its_last_identity() {
    let dev = Dev::start(&["--no-demo"]);
    let churn = [
        "bench",
        "entry-churn",
        "--entries",
        "0",
        "--changes",
        "2",
        "--alone",
    ];
    let refused = dev.run(&churn);
    let line = refused.refused("SGCL064");
    assert!(
        line.contains(&dev.user_id()) && line.contains("--alone"),
        "{line}"
    );
    assert_eq!(bench_entries(&dev), 0);
    for entry in dev.json(&["entry", "list"]).as_array().unwrap() {
        dev.json(&["entry", "delete", entry["id"].as_str().unwrap()]);
    }
    // The deletions may be on their way still.
    let report = loop {
        let done = dev.run(&[churn.as_slice(), &["-o", "json"]].concat());
        if done.code == Some(0) {
            break done.json();
        }
        done.refused("SGCL064");
    };
    let changes = &report["changes"];
    assert_eq!(changes["made"], 2, "{report}");
    assert!(changes["created_to_stream"].is_null(), "{report}");
    assert!(is_latency(&changes["deleted_to_stream"]), "{report}");
    assert_eq!(report["cleaned"], 0);
}

#[test]
fn a_server_that_is_not_signet_dev_is_changed_with_yes_alone() {
    let (fleet, _) = Fleet::init();
    let mut server = fleet.start_server();
    fleet.make_join_file();
    let mut agent = fleet.start_agent();
    let churn = |args: &[&str]| -> Done {
        let mut command = signet();
        command
            .args([
                "bench",
                "entry-churn",
                "--entries",
                "5",
                "--changes",
                "1",
                "-o",
                "json",
            ])
            .args(args)
            .env("SIGNET_API", fleet.api())
            .env(
                "SPIFFE_ENDPOINT_SOCKET",
                format!("unix://{}", fleet.text("agent.sock")),
            );
        command.output().unwrap().into()
    };
    let refused = churn(&[]);
    let line = refused.refused("SGCL062");
    assert!(
        line.contains("7 entries below spiffe://fleet.test/bench/") && line.contains("--yes"),
        "{line}"
    );
    let report = churn(&["--yes"]).json();
    assert_eq!(
        (&report["changes"]["made"], &report["cleaned"]),
        (&1.into(), &6.into())
    );
    assert_eq!(processes(&report["bulk"]), ["client", "agent", "server"]);
    assert!(agent.end(Signal::TERM).success());
    assert!(server.end(Signal::TERM).success());
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let nowhere = "unix:///nowhere/agent.sock";
    run(&["bench", "svid", "--socket", nowhere]).refused("SGWL006");
    run(&["bench", "stream", "--streams", "1", "--socket", nowhere]).refused("SGWL006");
    for wrong in [
        ["bench", "svid", "--callers", "0"].as_slice(),
        &["bench", "svid", "--count", "1", "--seconds", "1"],
        &["bench", "svid", "--kind", "ssh"],
        &["bench", "svid", "--socket", "/run/agent.sock"],
        &["bench", "stream"],
        &["bench", "stream", "--streams", "0"],
        &["bench", "fleet", "--agents", "0"],
        &["bench", "fleet", "--svid-ttl", "soon"],
    ] {
        let done = run(wrong);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(2), ""),
            "{wrong:?}: {done:?}"
        );
    }
    // More streams than files may be open, whatever else is wrong.
    let mut few = std::process::Command::new("sh");
    few.args([
        "-c",
        "ulimit -n 64; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_signet"),
    ])
    .args(["bench", "stream", "--streams", "100", "--socket", nowhere]);
    let done: Done = few.output().unwrap().into();
    let line = done.refused("SGCL060");
    assert!(line.contains("132") && line.contains("at most 32"), "{line}");
    few = std::process::Command::new("sh");
    few.args([
        "-c",
        "ulimit -n 200; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_signet"),
    ])
    .args([
        "bench",
        "fleet",
        "--agents",
        "5000",
        "--api",
        "unix:///nowhere/api.sock",
    ]);
    let done: Done = few.output().unwrap().into();
    let line = done.refused("SGCL060");
    assert!(line.contains("5096") && line.contains("at most 168"), "{line}");
}

#[test]
fn a_process_without_identity_is_told_before_anything_is_measured() {
    let dev = Dev::start(&["--no-demo"]);
    for entry in dev.json(&["entry", "list"]).as_array().unwrap() {
        dev.json(&["entry", "delete", entry["id"].as_str().unwrap()]);
    }
    loop {
        let done = dev.run(&["bench", "svid", "--count", "1"]);
        // The change is on its way until then.
        if done.code != Some(0) {
            done.refused("SGWL007");
            break;
        }
    }
}
