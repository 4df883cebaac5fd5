//! Streams that lose their agent to a newer one.

use super::super::rig::{Rig, number};
use super::super::table::Row;
use super::{Bench, median, spread};
use crate::Failure;
use serde_json::Value;

/// Streams, each on a connection of its own.
const STREAMS: &str = "1000";

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    rig.entitle("here")?;
    let mut agent = rig.agent("one")?;
    let (mut all, mut longest) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let load = rig.begin(&[
            "bench",
            "stream",
            "--reopen",
            "--seconds",
            "5",
            "--streams",
            STREAMS,
        ])?;
        rig.await_streams(STREAMS)?;
        let newer = rig.successor("one")?;
        agent.ended()?;
        agent = newer;
        let report: Value = serde_json::from_str(&load.ended()?)?;
        let back = number(&report, "/reopened/back")?;
        if back < STREAMS.parse()? {
            return Err(format!("{back} of {STREAMS} streams came back: {report}").into());
        }
        all.push(number(&report, "/reopened/all_back_ms")?);
        longest.push(number(&report, "/reopened/without/max_ms")?);
    }
    let (all_spread, longest_spread) = (spread(&all), spread(&longest));
    Ok(vec![
        Row::new(
            format!("upgrade of an agent under {STREAMS} streams: from the first that ends to the last that is back"),
            median(all),
            "ms",
        )
        .below(1_000.0)
        .detail(format!("{all_spread}, {} upgrades", bench.rounds)),
        Row::new("the longest that one of them was without", median(longest), "ms")
            .below(1_000.0)
            .detail(longest_spread),
    ])
}
