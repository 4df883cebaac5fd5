//! From starting an agent to the first SVID in a workload's hands.

use super::super::process::{LIMIT, Running};
use super::super::rig::Rig;
use super::super::table::Row;
use super::{Bench, median, spread};
use crate::Failure;
use std::time::Instant;

/// How often an agent is started.
const STARTS: usize = 11;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    rig.entitle("here")?;
    let mut seconds = Vec::new();
    for round in 0..STARTS {
        let mut command = rig.new_agent(&round.to_string())?;
        let begin = Instant::now();
        let agent = Running::start(&mut command)?;
        // Each attempt is a process of its own, which is part of the time.
        while !rig.succeeds(&["svid", "x509"]) {
            if begin.elapsed() > LIMIT {
                return Err("no SVID within 30 s of the agent's start".into());
            }
        }
        seconds.push(begin.elapsed().as_secs_f64());
        agent.stop()?;
    }
    let spread = spread(&seconds);
    let row = Row::new(
        "agent start to first SVID: exec of a new agent, with its entry present, to `signet svid x509` done",
        median(seconds),
        "s",
    );
    Ok(vec![
        row.below(0.3)
            .spire(5.14)
            .detail(format!("{spread}, {STARTS} starts")),
    ])
}
