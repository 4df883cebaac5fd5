//! `signet bench fleet`: many agents and their workloads, simulated in this process, against a server that is real.
//!
//! A simulated agent does to its server what an agent does: it joins with a token and a key of its own, holds the stream
//! of what its node may know, checks and keeps what comes, has certificates signed for keys that it makes, checks
//! them, and renews them and its own identity. It has no Workload API: nobody asks for what it gets.

mod agent;
mod changes;
mod node;
mod report;
mod setup;
mod sightings;
mod svids;
mod tally;
mod trouble;

use super::made::{Made, Things};
use super::run::{self, Interrupt, Progress};
use super::watched::ServerPid;
use crate::api::Api;
use crate::args::Global;
use crate::{Outcome, clock, output, runtime};
use core::time::Duration;
use node::fraction;
pub(super) use node::{Node, in_time};
use report::{Holding, Joining, Memory, Report};
use setup::Plan;
use sightings::Sightings;
use signet_api::JoinString;
use signet_time::{SharedClock, parse_duration};
use std::sync::Arc;
use std::time::Instant;
use tally::Tally;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
pub(super) use trouble::Trouble;

/// `signet bench fleet`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Simulates agents as far as their server sees them: each has its own key, joins by a token, holds its \
                  stream, and has certificates signed and renewed. Entries and nodes lie below \
                  spiffe://TRUST-DOMAIN/bench/ and are taken away at the end, also after Ctrl-C."
)]
pub(crate) struct Simulate {
    /// Simulate so many agents.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    agents: u32,
    /// So many workloads in all, dealt out evenly. Without, two for each agent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    workloads: Option<u32>,
    /// How long the certificates of workloads live.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    svid_ttl: Duration,
    /// Let the agents come over so long a time; 0s: as fast as they can.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    ramp: Duration,
    /// Then hold the fleet for so long.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    duration: Duration,
    /// Meanwhile create and delete an entry so many times.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    changes: u32,
    /// After that, create and delete an entry for every node so many times: how soon all agents know of it.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pushes: u32,
    /// Where the server listens for agents. Without, where its join strings lead.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    #[command(flatten)]
    pid: ServerPid,
    /// Do this to a server that is not `signet dev`.
    #[arg(long)]
    yes: bool,
}

/// What all simulated agents share.
struct Fleet {
    /// The beginning of all IDs of this run.
    folder: String,
    server: Option<String>,
    clock: SharedClock,
    tally: Tally,
    sightings: Sightings,
    /// Places for those who join.
    joining: Semaphore,
}

impl Fleet {
    /// Whether the entry for `id` is one of those that were made for workloads.
    fn is_for_a_workload(&self, id: &str) -> bool {
        id.strip_prefix(&self.folder)
            .is_some_and(|path| !path.starts_with(changes::EVERYWHERE))
    }
}

impl Simulate {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let plan = self.plan();
        runtime::client(async move {
            run::make_room(self.agents as usize + JOINING_MAX)?;
            let mut made = Made::new(Arc::new(Api::new(global)?)).await?;
            let most = Things {
                entries: u64::from(plan.workloads)
                    + u64::from(self.changes.min(1))
                    + u64::from(self.pushes.min(1)),
                nodes: self.agents.into(),
            };
            made.may_begin(self.yes, &global.api, most).await?;
            // Until now, Ctrl-C simply ends the process.
            let interrupt = Interrupt::listen()?;
            let measured = self.measure(global, &plan, &mut made, interrupt.token()).await;
            let ended = interrupt.end();
            if measured.is_err() {
                made.find().await?;
            }
            let below = made.below().clone();
            let cleaned = made.clean().await;
            let (joining, holding, server_memory) = measured?;
            let report = Report {
                below,
                agents: self.agents,
                workloads: plan.workloads,
                svid_ttl: plan.svid_ttl,
                ended,
                joining,
                holding,
                server_memory,
                cleaned: cleaned?,
            };
            output::result(global.output, &report, Report::shown)?;
            run::unless_none(report.joining.joined.into(), &report.errors())
        })
    }

    fn plan(&self) -> Plan {
        let life = self.ramp + self.duration + GRACE;
        Plan {
            agents: self.agents,
            workloads: self.workloads.unwrap_or(self.agents.saturating_mul(2)),
            svid_ttl: self.svid_ttl,
            tokens_for: self.ramp + GRACE,
            ends_at: clock::system().now() + life,
        }
    }

    async fn measure(
        &self,
        global: &Global,
        plan: &Plan,
        made: &mut Made,
        stop: &CancellationToken,
    ) -> Outcome<(Joining, Option<Holding>, Option<Memory>)> {
        let watched = self.pid.watch(&global.api).await?;
        plan.entitle(made, stop).await?;
        let invited = plan.invite(made, stop).await?;
        let before = watched.server_memory();
        let fleet = Arc::new(Fleet {
            folder: format!("{}/", made.below()),
            server: self.server.clone(),
            clock: clock::system(),
            tally: Tally::new(),
            sightings: Sightings::default(),
            joining: Semaphore::new(JOINING_MAX),
        });
        let _progress = {
            let (fleet, all) = (Arc::clone(&fleet), self.agents);
            Progress::show(move || report::progress(fleet.tally.now(), all))
        };
        let mut agents = JoinSet::new();
        let joining = self.join(global, invited, &fleet, &mut agents, stop).await?;
        if stop.is_cancelled() {
            return Ok((joining, None, None));
        }
        let holding = self.hold(global, plan, made, &fleet, stop).await?;
        let memory = before.zip(watched.server_memory());
        let memory = memory.map(|((pid, before), (_, held))| Memory::new(pid, before, held, self.agents));
        // What follows is no part of what was measured: no stream is there when its node goes.
        agents.shutdown().await;
        Ok((joining, Some(holding), memory))
    }

    /// Lets all agents come, and waits until they have what they came for.
    async fn join(
        &self,
        global: &Global,
        invited: Vec<JoinString>,
        fleet: &Arc<Fleet>,
        agents: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Outcome<Joining> {
        let (watched, started) = (self.pid.watch(&global.api).await?, Instant::now());
        let all = invited.len();
        for (number, join) in invited.into_iter().enumerate() {
            let at = self.ramp.mul_f64((number as f64 + fraction()) / all as f64);
            let fleet = Arc::clone(fleet);
            agents.spawn(async move {
                tokio::time::sleep(at).await;
                agent::run(join, fleet).await;
            });
        }
        while !fleet.tally.is_settled(all) && !stop.is_cancelled() {
            tokio::select! {
                () = fleet.tally.moved() => {}
                () = stop.cancelled() => {}
            }
        }
        let now = fleet.tally.now();
        Ok(Joining::new(
            now,
            started.elapsed(),
            fleet.tally.part(),
            watched.used(now.joined.into()),
        ))
    }

    /// Holds the fleet.
    async fn hold(
        &self,
        global: &Global,
        plan: &Plan,
        made: &mut Made,
        fleet: &Arc<Fleet>,
        stop: &CancellationToken,
    ) -> Outcome<Holding> {
        let (watched, started) = (self.pid.watch(&global.api).await?, Instant::now());
        let end = tokio::time::Instant::now() + self.duration;
        let changes = changes::make(self.changes, self.duration, plan, made, fleet, stop).await?;
        stop.run_until_cancelled(tokio::time::sleep_until(end)).await;
        let (took, now, part, cpu) = (
            started.elapsed(),
            fleet.tally.now(),
            fleet.tally.part(),
            watched.used(0),
        );
        // What it costs to tell everybody is counted by itself.
        let watched = self.pid.watch(&global.api).await?;
        let pushes = changes::push(self.pushes, plan, made, fleet, stop).await?;
        let cpu_of_pushes = watched.used(pushes.told());
        Ok(Holding::new(took, now, part, changes, cpu).with_pushes(pushes, cpu_of_pushes))
    }
}

/// Agents that join at one time. A server takes 256 that have no SVID yet from one address.
const JOINING_MAX: usize = 64;
/// For what comes before and after.
const GRACE: Duration = Duration::from_secs(3600);
