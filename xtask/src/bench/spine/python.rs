//! The PyPI client `spiffe` against our agent, as it may be run against any other.

use super::super::rig::{Rig, number};
use super::super::table::Row;
use super::{Bench, median, spread};
use crate::{Failure, run, setup};
use std::process::Command;

/// Calls of each round.
const CALLS: &str = "2000";

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let python = setup::python(bench.root)?;
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    rig.entitle("here")?;
    let _agent = rig.agent("one")?;
    let mut rows = Vec::new();
    for callers in ["1", "16"] {
        let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            let text = run::captured(
                Command::new(&python)
                    .arg(bench.root.join("tests/bench/python/fetch_x509.py"))
                    .args([&rig.socket(), callers, CALLS]),
            )?;
            let report = serde_json::from_str(&text)?;
            rates.push(number(&report, "/per_second")?);
            p50.push(number(&report, "/p50_ms")?);
            p99.push(number(&report, "/p99_ms")?);
        }
        let detail = format!(
            "{}; p50 {:.2} ms, p99 {:.2} ms; mostly the client's own time",
            spread(&rates),
            median(p50),
            median(p99)
        );
        rows.push(
            Row::new(
                format!("X.509 by the PyPI client `spiffe`, threads: {callers}"),
                median(rates),
                "/s",
            )
            .detail(detail),
        );
    }
    Ok(rows)
}
