//! From a change of an entry to a stream that is open.

use super::super::rig::{Rig, latency, number};
use super::super::table::Row;
use super::Bench;
use crate::Failure;

const CHANGES: &str = "1000";

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    let _agent = rig.agent("one")?;
    let churn = [
        "bench",
        "entry-churn",
        "--yes",
        "--entries",
        "0",
        "--changes",
        CHANGES,
    ];
    let beside = rig.json(&churn)?;
    let alone = rig.json(&[churn.as_slice(), &["--alone"]].concat())?;
    let row = |what: &str, report, pointer: &str, spire: f64| -> Result<Row, Failure> {
        let p99 = number(report, &format!("{pointer}/p99_ms"))?;
        let max = number(report, &format!("{pointer}/max_ms"))?;
        let detail = format!("{}, max {max:.2} ms", latency(report, pointer)?);
        Ok(Row::new(format!("{what}, p99 of {CHANGES}"), p99, "ms")
            .below(100.0)
            .spire(spire)
            .detail(detail))
    };
    Ok(vec![
        row(
            "entry created to the SVID on an open stream",
            &beside,
            "/changes/created_to_stream",
            5_050.0,
        )?,
        row(
            "entry deleted to the message without it",
            &beside,
            "/changes/deleted_to_stream",
            4_900.0,
        )?,
        row(
            "the only entry deleted to `PermissionDenied` on the open stream",
            &alone,
            "/changes/deleted_to_stream",
            4_900.0,
        )?,
    ])
}
