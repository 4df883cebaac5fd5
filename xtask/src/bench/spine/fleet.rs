//! Five thousand simulated agents.

use super::super::rig::{Rig, latency, number, of_process, part};
use super::super::table::Row;
use super::Bench;
use crate::Failure;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    let report = rig.json(&[
        "bench",
        "fleet",
        "--yes",
        "--agents",
        "5000",
        "--workloads",
        "10000",
        "--svid-ttl",
        "1h",
        "--ramp",
        "30s",
        "--duration",
        "1m",
        "--changes",
        "500",
        "--pushes",
        "10",
    ])?;
    let at = |pointer: &str| number(&report, pointer);
    let (joining, holding) = (part(&report, "joining")?, part(&report, "holding")?);
    let mib = |pointer: &str| Ok::<_, Failure>(at(pointer)? / f64::from(1 << 20));
    let fleet = "fleet of 5,000 agents and 10,000 workloads, SVIDs of 1 h";
    let held = format!(
        "{} renewed, {} heartbeats, {} expired, {} drifted, errors {}; simulator {:.1} %",
        at("/holding/svids_renewed")?,
        at("/holding/heartbeats")?,
        at("/holding/svids_expired")?,
        at("/holding/drifts")?,
        part(holding, "errors")?,
        of_process(holding, "client", "percent_of_core")?,
    );
    let joined = format!(
        "{} joined in {:.1} s, {} gave up, errors {}; {}; {} SVIDs",
        at("/joining/joined")?,
        at("/joining/seconds")?,
        at("/joining/gave_up")?,
        part(joining, "errors")?,
        latency(&report, "/joining/join")?,
        at("/joining/svids_issued")?,
    );
    let memory = format!(
        "{:.0} MiB its own, {:.1} KiB an agent",
        mib("/server_memory/held/anonymous")?,
        at("/server_memory/anonymous_per_agent")? / 1024.0
    );
    let pushed = format!(
        "{}; deleted {}; to the last {}; {} agents not told; server CPU {:.0} µs for each agent told",
        latency(&report, "/holding/pushes/created_to_agents")?,
        latency(&report, "/holding/pushes/deleted_to_agents")?,
        latency(&report, "/holding/pushes/to_the_last")?,
        at("/holding/pushes/lost")?,
        of_process(
            &serde_json::json!({"cpu": part(holding, "cpu_of_pushes")?}),
            "server",
            "cpu_us_per_operation",
        )?,
    );
    Ok(vec![
        Row::new(
            format!("{fleet}: server CPU while held"),
            of_process(holding, "server", "percent_of_core")?,
            "% of a core",
        )
        .below(50.0)
        .detail(held),
        Row::new(
            format!("{fleet}: server memory, resident"),
            mib("/server_memory/held/resident")?,
            "MiB",
        )
        .below(1_024.0)
        .detail(memory),
        Row::new(
            "the same, joining over 30 s: server CPU for each agent with its stream and 2 SVIDs",
            of_process(joining, "server", "cpu_us_per_operation")? / 1e3,
            "ms",
        )
        .detail(joined),
        Row::new(
            "the same, entry created to its certificate at the agent, p99 of 500",
            at("/holding/changes/created_to_svid/p99_ms")?,
            "ms",
        )
        .below(100.0)
        .detail(latency(&report, "/holding/changes/created_to_svid")?),
        Row::new(
            "the same, an entry of every node created to each of the 5,000 agents, p99 of 10 times all",
            at("/holding/pushes/created_to_agents/p99_ms")?,
            "ms",
        )
        .detail(pushed),
    ])
}
