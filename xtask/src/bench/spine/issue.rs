//! Certificates signed from requests.

use super::super::rig::{Rig, cpu_us, latency, number};
use super::super::table::Row;
use super::{Bench, median, spread};
use crate::Failure;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>, Failure> {
    let rig = Rig::init(bench.binary, &[])?;
    let _server = rig.server()?;
    let (mut cpu, mut rates, mut calls) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..bench.rounds {
        let report = rig.json(&[
            "bench",
            "issue",
            "--yes",
            "--batch",
            "32",
            "--callers",
            "4",
            "--count",
            "32000",
        ])?;
        cpu.push(cpu_us(&report, "server")?);
        rates.push(number(&report, "/per_second")?);
        calls = latency(&report, "/latency")?;
    }
    let detail = format!("{}; {:.0} /s, calls {calls}", spread(&cpu), median(rates.clone()));
    Ok(vec![
        Row::new(
            "X.509 from a CSR, recorded, 32 in a call, 4 calls at once: server CPU",
            median(cpu),
            "µs",
        )
        .below(100.0)
        .peer("OpenBao (stored)", 658.0)
        .detail(detail),
    ])
}
