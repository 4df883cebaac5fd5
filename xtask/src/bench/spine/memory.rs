//! What an agent has in memory.

use super::super::process::{Memory, memory};
use super::super::rig::{Rig, number, uid};
use super::super::table::Row;
use super::Bench;
use crate::Failure;
use core::time::Duration;
use serde_json::json;

/// Streams, each on a connection of its own.
const STREAMS: &str = "1000";
/// SVIDs of one process.
const SVIDS: u32 = 500;
/// An agent has let go by then of what it needs at its start only.
const IDLE: Duration = Duration::from_secs(10);

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let (idle, each) = svids(bench)?;
    let classic = streams(bench, &[], "its own connection")?;
    let large = streams(
        bench,
        &["--x509-alg", "ml-dsa-65"],
        "its own connection, ML-DSA-65: two roots, a message of some 20 KB",
    )?;
    Ok(vec![
        Row::new(
            "agent, one SVID, nothing to do for ten seconds: resident",
            idle.resident_kib * 1.024e-3,
            "MB",
        )
        .below(15.0)
        .spire(32.0)
        .detail(format!("{:.1} MB its own", idle.own_kib * 1.024e-3)),
        Row::new("agent, for each live SVID", each, "B")
            .below(3_000.0)
            .spire(15_000.0)
            .detail(format!(
                "{SVIDS} of one process, with the message that its stream holds"
            )),
        classic,
        large,
    ])
}

/// An agent that does nothing, and what it grows by for each SVID, in bytes.
fn svids(bench: &Bench<'_>) -> Result<(Memory, f64), Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    rig.entitle("first")?;
    let agent = rig.agent("one")?;
    let stream = ["bench", "stream", "--streams", "1", "--seconds", "2"];
    rig.json(&stream)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured is what is left after a while"
    )]
    std::thread::sleep(IDLE);
    let idle = memory(agent.pid())?;
    let selector = format!("unix:uid:{}", uid()?);
    let more: Vec<_> = (1..SVIDS)
        .map(|n| {
            json!({
                "spiffe_id": format!("spiffe://bench.test/w/service-{n:04}"),
                "selectors": [selector],
            })
        })
        .collect();
    rig.create_all(&more)?;
    let report = rig.json(&stream)?;
    let held = number(&report, "/agent_memory/bytes_held")?;
    Ok((idle, (held - idle.own_kib * 1024.0) / f64::from(SVIDS - 1)))
}

/// What an agent grows by for each stream.
fn streams(bench: &Bench<'_>, init: &[&str], what: &str) -> Result<Row, Failure> {
    let rig = Rig::init(bench.binary, init)?;
    let _server = rig.server()?;
    rig.entitle("here")?;
    let _agent = rig.agent("one")?;
    let report = rig.json(&["bench", "stream", "--streams", STREAMS, "--seconds", "1"])?;
    let each = number(&report, "/agent_memory/bytes_per_stream")?;
    Ok(Row::new(
        format!("agent, for each of {STREAMS} open streams, {what}"),
        each,
        "B",
    )
    .below(22_000.0)
    .spire(48_000.0)
    .detail(format!("{} opened", number(&report, "/opened")?)))
}
