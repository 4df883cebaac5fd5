//! The built server and agent under a thousand streams, for a long time.
//!
//! Processes with executables of their own hold a thousand Workload API streams, each on a connection of its own. Ten
//! thousand entries are changed all the time, and the server is stopped and started every 20 seconds, killed every
//! second time. Whatever the processes see is kept: messages with the identities of that process and no other, and
//! statuses that the Workload API has for what goes on. At the end all of them are in step again, and neither process
//! has grown since the first quarter of the run.
//!
//! A test binary of its own, so that nothing runs beside it under `cargo test`. `cargo xtask soak` runs it at length.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assumption is a failed test"
)]

mod admin;
mod churn;
mod clients;
#[path = "../it/dice.rs"]
#[expect(dead_code, reason = "shared with the other binary, which uses all of it")]
mod dice;
#[path = "../it/fleet.rs"]
#[expect(dead_code, reason = "shared with the other binary, which uses all of it")]
mod fleet;
mod group;
mod memory;
#[path = "../it/ports.rs"]
mod ports;
#[path = "../it/program.rs"]
#[expect(dead_code, reason = "shared with the other binary, which uses all of it")]
mod program;

use admin::Admin;
use churn::Churn;
use clients::Report;
use core::time::Duration;
use dice::Dice;
use fleet::Fleet;
use group::Group;
use memory::{Gauge, Peak};
use program::Running;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long it runs where `SIGNET_SOAK_SECONDS` does not say.
const SECONDS: u64 = 60;

/// The server runs this long between two stops, and longer where it has not yet made all changes of a round.
const ROUND: Duration = Duration::from_secs(20);

/// Three rounds are the least that has a first quarter and an end.
const ROUNDS_MIN: usize = 3;

/// Processes that hold streams.
const GROUPS: usize = 10;

/// Streams of each of them.
const STREAMS: usize = 100;

/// Entries that are for nobody here, and are changed.
const ENTRIES: usize = 10_000;

/// At least so many changes of them in a round, and not many more ([`churn`] has its pace), so that rounds compare.
const CHANGES_MIN: usize = 600;

/// Starts of the server before the first round, each as long as every process needs to be given something.
const WARM_UP: usize = 4;

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// How long anything may take that must happen, before something must be wrong.
const WITHIN: Duration = Duration::from_secs(120);

/// What stops in order has to have ended by then.
const STOP_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn soak_of_a_thousand_streams_shows_only_what_the_workload_api_allows_and_grows_nothing() {
    let seconds = std::env::var("SIGNET_SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let rounds = usize::try_from(seconds / ROUND.as_secs())
        .unwrap()
        .max(ROUNDS_MIN);
    let files = signet_sys::process::raise_descriptor_limit().unwrap();
    let needed = (GROUPS * STREAMS + 200) as u64;
    assert!(
        files >= needed,
        "the agent needs {needed} open files, {files} are allowed: see ulimit -Hn"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut soak = Soak::start().await;
        for round in 0..rounds {
            soak.round(round, rounds).await;
        }
        soak.finish().await;
    });
}

struct Soak {
    // Before the directory that they run in.
    server: Running,
    agent: Running,
    /// Another node's agent, which comes anew in each round: each server has a whole snapshot to send.
    other: PathBuf,
    admin: Admin,
    counts: Arc<Counts>,
    stop: CancellationToken,
    churning: JoinHandle<()>,
    /// Ends with the groups, when it is told to stop.
    toggling: JoinHandle<Vec<Group>>,
    gauge: Gauge,
    peaks: Vec<Peak>,
    begun: Instant,
    fleet: Fleet,
}

/// How far it is.
#[derive(Default)]
struct Counts {
    changes: AtomicUsize,
    toggles: AtomicUsize,
}

impl Soak {
    async fn start() -> Self {
        let dice = Dice::seeded("soak");
        let (fleet, made) = Fleet::init();
        assert_eq!(made.code, Some(0), "{made:?}");
        let (server, agent) = fleet.launch_both(measurable);
        let admin = Admin::new(fleet.at("api.sock"));
        let churn = Churn::fill(admin.clone(), ENTRIES, dice).await;
        let mut groups = Vec::new();
        for number in 0..GROUPS {
            groups.push(Group::start(number, STREAMS, fleet.at("agent.sock"), &admin).await);
        }
        let other = other_agent(&fleet);
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let gauge = Gauge::start(agent.pid(), server.pid());
        let churning = tokio::spawn(churn.work(Arc::clone(&counts), stop.clone()));
        let toggling = tokio::spawn(group::toggle(groups, Arc::clone(&counts), stop.clone()));
        let mut soak = Self {
            server,
            agent,
            other,
            admin,
            counts,
            stop,
            churning,
            toggling,
            gauge,
            peaks: Vec::new(),
            begun: Instant::now(),
            fleet,
        };
        println!(
            "soak: {ENTRIES} entries, {} streams of {GROUPS} processes: {}",
            GROUPS * STREAMS,
            soak.gauge.take()
        );
        // Memory is a matter of what went before, too: the first round begins as all others do.
        for number in 0..WARM_UP {
            soak.restart(number % 2 == 1).await;
            soak.await_toggles(GROUPS).await;
        }
        soak.begun = Instant::now();
        soak
    }

    /// Waits until so many more identities have come and gone.
    async fn await_toggles(&mut self, more: usize) {
        let toggles = |soak: &Self| soak.counts.toggles.load(Ordering::Relaxed);
        let (wanted, since) = (toggles(self) + more, Instant::now());
        while toggles(self) < wanted {
            assert!(since.elapsed() < WITHIN, "identities do not come and go any more");
            self.assert_all_work();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets everybody work until the round is over, and stops and starts the server in the midst of it.
    async fn round(&mut self, number: usize, of: usize) {
        self.gauge.take();
        let before = self.changes();
        let end = tokio::time::Instant::now() + ROUND;
        // Once all streams follow this server, too.
        self.await_toggles(1).await;
        self.come_and_go().await;
        tokio::time::sleep_until(end).await;
        let since = Instant::now();
        while self.changes() - before < CHANGES_MIN {
            assert!(since.elapsed() < WITHIN, "entries are not changed any more");
            self.assert_all_work();
            tokio::time::sleep(PAUSE).await;
        }
        self.assert_all_work();
        let peak = self.gauge.take();
        self.peaks.push(peak);
        println!(
            "soak: round {} of {of} after {:.0} s: {peak}; {} changes of entries, {} identities came and went",
            number + 1,
            self.begun.elapsed().as_secs_f32(),
            self.changes(),
            self.counts.toggles.load(Ordering::Relaxed),
        );
        self.restart(number % 2 == 1).await;
    }

    /// Has the agent of another node start, serve and stop.
    async fn come_and_go(&self) {
        let mut command = program::signet();
        command.args(["agent", "run", "--config", program::text(&self.other)]);
        let mut agent = Running::logging(command, &self.fleet.at("other.log"));
        let socket = Endpoint::Unix(self.fleet.at("other.sock"));
        let since = Instant::now();
        // This process has no identity there, which only an agent says that knows all entries.
        loop {
            let asked = match WorkloadClient::connect(&socket).await {
                Ok(client) => client.fetch_x509().await.map(drop),
                Err(error) => Err(error),
            };
            match asked {
                Err(WorkloadError::NoIdentity { .. }) => break,
                Err(WorkloadError::Unreachable { .. } | WorkloadError::Unavailable { .. }) => {}
                other => panic!("{other:?}"),
            }
            assert!(agent.is_alive(), "the other agent has ended");
            assert!(since.elapsed() < WITHIN, "the other agent has no entries");
            tokio::time::sleep(PAUSE).await;
        }
        agent.stop_within(STOP_WITHIN);
    }

    fn changes(&self) -> usize {
        self.counts.changes.load(Ordering::Relaxed)
    }

    fn assert_all_work(&mut self) {
        assert!(self.agent.is_alive(), "the agent has ended");
        assert!(self.server.is_alive(), "the server has ended");
        assert!(!self.churning.is_finished(), "nobody changes entries any more");
        assert!(
            !self.toggling.is_finished(),
            "nobody gives and takes identities any more"
        );
    }

    /// Stops the server and starts it again, while everybody works.
    async fn restart(&mut self, kill: bool) {
        if kill {
            self.server.kill();
        } else {
            self.server.stop_within(STOP_WITHIN);
        }
        self.server = self.fleet.launch_server(measurable(self.fleet.server()));
        self.gauge.server(self.server.pid());
        let since = Instant::now();
        while !self.admin.is_ready().await {
            assert!(self.server.is_alive(), "the server did not start again");
            assert!(since.elapsed() < WITHIN, "the server is not ready again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn finish(mut self) {
        self.stop.cancel();
        tokio::time::timeout(WITHIN, &mut self.churning)
            .await
            .expect("the changes end")
            .unwrap();
        let groups = tokio::time::timeout(WITHIN, &mut self.toggling).await;
        let mut groups = groups.expect("the toggling ends").unwrap();
        // All of them follow what happens now, and nothing of what was.
        for group in &mut groups {
            group.give_and_take().await;
        }
        let mut all = Report::default();
        for group in groups {
            let allowed = group.allowed();
            let report = group.end().await;
            let mut seen = report.statuses.keys();
            assert!(
                seen.all(|status| allowed.contains(&status.as_str())),
                "{report:?}"
            );
            all.add(report);
        }
        let entries = self.admin.count().await;
        assert_eq!(
            entries,
            ENTRIES + GROUPS,
            "as many entries as there were, and one for each process"
        );
        self.agent.stop_within(STOP_WITHIN);
        self.server.stop_within(STOP_WITHIN);
        for log in [fleet::AGENT_LOG, fleet::SERVER_LOG] {
            let log = fs::read_to_string(self.fleet.at(log)).unwrap();
            let loud: Vec<_> = log
                .lines()
                .filter(|l| l.contains(" ERROR ") || l.contains("panicked"))
                .collect();
            assert!(loud.is_empty(), "{loud:#?}");
        }
        println!("soak: {all}");
        // Each of those streams was told so each time.
        assert!(all.statuses[group::DENIED] >= STREAMS as u64);
        memory::judge(&self.peaks).unwrap();
    }
}

/// What a process of this command holds is what it uses. Left alone, the system's allocator has places of its own for
/// several threads, and what one of them frees is of no use to the others: which of them grows is chance.
fn measurable(mut command: Command) -> Command {
    command.env("MALLOC_ARENA_MAX", "1");
    command
}

/// Writes the settings of another node's agent, which can join once.
fn other_agent(fleet: &Fleet) -> PathBuf {
    let (join, settings) = (fleet.at("other.join"), fleet.at("other.toml"));
    fs::write(join, fleet.join_string()).unwrap();
    let text = format!(
        "metrics = \"127.0.0.1:0\"\nstate_dir = \"{}\"\njoin_file = \"{}\"\n[workload_api]\npath = \"{}\"\n",
        fleet.text("other"),
        fleet.text("other.join"),
        fleet.text("other.sock"),
    );
    fs::write(&settings, text).unwrap();
    settings
}
