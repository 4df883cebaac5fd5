//! How many SVIDs a second an agent and its server give.

use super::super::rig::{Rig, cpu_us, latency, number};
use super::super::table::Row;
use super::{Bench, median, spread};
use crate::Failure;
use serde_json::Value;

/// One load.
struct Load {
    what: &'static str,
    args: &'static [&'static str],
    least: f64,
    spire: f64,
}

const LOADS: &[Load] = &[
    Load {
        what: "X.509: a new stream each, warm, 1 caller",
        args: &["--count", "20000", "--callers", "1"],
        least: 5_000.0,
        spire: 1_436.0,
    },
    Load {
        what: "X.509: a new stream each, warm, 16 callers",
        args: &["--count", "60000", "--callers", "16"],
        least: 8_000.0,
        spire: 2_640.0,
    },
    Load {
        what: "JWT: minted for a new audience each, recorded, 64 callers (SPIRE: 16, no record)",
        args: &["--kind", "jwt", "--count", "60000", "--callers", "64"],
        least: 12_000.0,
        spire: 1_567.0,
    },
];

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    rig.entitle("here")?;
    let _agent = rig.agent("one")?;
    let mut reports: Vec<Vec<Value>> = LOADS.iter().map(|_| Vec::new()).collect();
    // Interleaved, so that a busy moment of the machine does not hit one of them alone.
    for _ in 0..bench.rounds {
        for (load, reports) in LOADS.iter().zip(&mut reports) {
            reports.push(rig.json(&[&["bench", "svid"], load.args].concat())?);
        }
    }
    let rows = LOADS
        .iter()
        .zip(reports)
        .map(|(load, reports)| row(load, &reports));
    rows.collect()
}

fn row(load: &Load, reports: &[Value]) -> Result<Row, Failure> {
    let all = |figure: &dyn Fn(&Value) -> Result<f64, Failure>| {
        reports.iter().map(figure).collect::<Result<Vec<f64>, Failure>>()
    };
    let rates = all(&|report| number(report, "/per_second"))?;
    let cpu = |process: &'static str| {
        let used = all(&|report| cpu_us(report, process))?;
        Ok::<_, Failure>(format!("{process} {:.0}", median(used)))
    };
    let failed: f64 = all(&|report| number(report, "/failed"))?.iter().sum();
    let last = reports.last().ok_or("no round")?;
    let detail = format!(
        "{}; {}; CPU µs each: {}, {}, {}; {failed} failed",
        spread(&rates),
        latency(last, "/latency")?,
        cpu("agent")?,
        cpu("server")?,
        cpu("client")?,
    );
    Ok(Row::new(load.what, median(rates), "/s")
        .above(load.least)
        .spire(load.spire)
        .detail(detail))
}
