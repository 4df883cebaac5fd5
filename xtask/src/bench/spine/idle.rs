//! What a server uses that has much to hold and nothing to do.

use super::super::process::{Cpu, Running, ticks};
use super::super::rig::Rig;
use super::super::table::Row;
use super::Bench;
use crate::Failure;
use serde_json::json;
use std::time::{Duration, Instant};

/// Entries of 100 nodes, of which one is there.
const ENTRIES: u32 = 32_000;

/// A server that is left alone.
pub(super) struct Idle {
    server: Running,
    _agent: Running,
    _rig: Rig,
    since: Instant,
    used: Cpu,
    ticks: u64,
}

impl Idle {
    pub(super) fn start(bench: &Bench<'_>) -> Result<Self, Failure> {
        let rig = Rig::init(bench.binary, &[])?;
        let server = rig.server()?;
        let entries: Vec<_> = (0..ENTRIES)
            .map(|n| {
                json!({
                    "spiffe_id": format!("spiffe://bench.test/ns/team-{:04}/sa/service-{n:08}", n % 1_000),
                    "parent_id": format!("spiffe://bench.test/node/{}", n % 100),
                    "selectors": ["unix:uid:4294967294", format!("unix:path:/nowhere/service-{n:08}")],
                })
            })
            .collect();
        rig.create_all(&entries)?;
        let agent = rig.agent("7")?;
        // What the entries and the agent's coming set in motion is over, and the threads that were started for it end
        // when they had nothing to do for ten seconds.
        pause(Duration::from_secs(15));
        Ok(Self {
            used: Cpu::of(server.pid())?,
            ticks: ticks(server.pid())?,
            server,
            _agent: agent,
            _rig: rig,
            since: Instant::now(),
        })
    }

    /// Waits until it was left alone for `seconds`, and says what it used.
    pub(super) fn row(self, seconds: u64) -> Result<Row, Failure> {
        let left = Duration::from_secs(seconds).saturating_sub(self.since.elapsed());
        if !left.is_zero() {
            eprintln!("measuring: the idle server, {} s more", left.as_secs());
            pause(left);
        }
        let took = self.since.elapsed();
        let used = Cpu::of(self.server.pid())?.since(&self.used);
        let ticks = ticks(self.server.pid())? - self.ticks;
        Ok(Row::new(
            format!("idle server, {ENTRIES} entries, 1 agent: CPU by schedstat"),
            used.as_secs_f64() * 100.0 / took.as_secs_f64(),
            "% of a core",
        )
        .below(0.2)
        .spire(10.0)
        .detail(format!(
            "{:.0} ms in {:.0} s, during the other measurements; {ticks} clock ticks",
            used.as_secs_f64() * 1e3,
            took.as_secs_f64()
        )))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "to be left alone for a while is what is measured"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
