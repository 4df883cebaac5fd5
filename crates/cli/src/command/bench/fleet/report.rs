//! What a simulated fleet has shown.

use super::super::facts;
use super::super::latency::{Summary, millis, tenth};
use super::super::made::Things;
use super::super::run::{End, Errors};
use super::super::watched::{ServerMemory, Used};
use super::changes::{Changes, Pushes};
use super::tally::{Now, Part};
use core::time::Duration;
use serde::Serialize;
use signet_id::SpiffeId;
use signet_time::format_duration;

/// What was measured.
#[derive(Serialize)]
pub(super) struct Report {
    /// Where entries and nodes were.
    pub(super) below: SpiffeId,
    pub(super) agents: u32,
    pub(super) workloads: u32,
    #[serde(serialize_with = "span")]
    pub(super) svid_ttl: Duration,
    pub(super) ended: End,
    pub(super) joining: Joining,
    /// Nothing where it did not come to that.
    pub(super) holding: Option<Holding>,
    pub(super) server_memory: Option<Memory>,
    /// What was taken away at the end.
    pub(super) cleaned: Things,
}

/// Until each agent had a certificate for each of its workloads.
#[derive(Serialize)]
pub(super) struct Joining {
    seconds: f64,
    pub(super) joined: u32,
    gave_up: u32,
    per_second: f64,
    #[serde(flatten)]
    part: Part,
    /// For each agent that joined.
    cpu: Vec<Used>,
}

/// While all of them were there.
#[derive(Serialize)]
pub(super) struct Holding {
    seconds: f64,
    /// Agents with a stream, at the end.
    connected: u32,
    /// Agents that gave up, of all.
    gave_up: u32,
    #[serde(flatten)]
    part: Part,
    changes: Changes,
    cpu: Vec<Used>,
    pushes: Option<Pushes>,
    /// For each agent that was told of one; not in `cpu`.
    cpu_of_pushes: Vec<Used>,
}

/// The server's memory, in bytes.
#[derive(Serialize)]
pub(super) struct Memory {
    pid: u32,
    /// With entries and join tokens, before the first agent came.
    before: ServerMemory,
    held: ServerMemory,
    /// Of its own memory, for each agent with all that belongs to it.
    anonymous_per_agent: f64,
}

impl Joining {
    pub(super) fn new(now: Now, took: Duration, part: Part, cpu: Vec<Used>) -> Self {
        Self {
            seconds: millis(took) / 1000.0,
            joined: now.joined,
            gave_up: now.gave_up,
            per_second: tenth(f64::from(now.joined) / took.as_secs_f64().max(1e-9)),
            part,
            cpu,
        }
    }
}

impl Holding {
    pub(super) fn new(took: Duration, now: Now, part: Part, changes: Changes, cpu: Vec<Used>) -> Self {
        Self {
            seconds: millis(took) / 1000.0,
            connected: now.connected,
            gave_up: now.gave_up,
            part,
            changes,
            cpu,
            pushes: None,
            cpu_of_pushes: Vec::new(),
        }
    }

    /// With what was pushed to all of them afterwards.
    pub(super) fn with_pushes(self, pushes: Pushes, cpu: Vec<Used>) -> Self {
        if pushes.made() == 0 {
            return self;
        }
        Self {
            pushes: Some(pushes),
            cpu_of_pushes: cpu,
            ..self
        }
    }
}

impl Memory {
    pub(super) fn new(pid: u32, before: ServerMemory, held: ServerMemory, agents: u32) -> Self {
        let grown = held.anonymous as f64 - before.anonymous as f64;
        Self {
            pid,
            before,
            held,
            anonymous_per_agent: tenth(grown / f64::from(agents.max(1))),
        }
    }
}

/// One line for whoever waits.
pub(super) fn progress(now: Now, all: u32) -> String {
    format!(
        "{} of {all} agents joined, {} with all certificates, {} connected, {} gave up",
        now.joined, now.complete, now.connected, now.gave_up
    )
}

fn span<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*time))
}

impl Report {
    /// All that failed.
    pub(super) fn errors(&self) -> Errors {
        let mut errors = self.joining.part.errors.clone();
        if let Some(holding) = &self.holding {
            errors.merge(&holding.part.errors);
        }
        errors
    }

    pub(super) fn shown(&self) -> String {
        let mut lines = vec![line(
            "fleet",
            format!(
                "{} agents, {} workloads with certificates for {}, below {}",
                self.agents,
                self.workloads,
                format_duration(self.svid_ttl),
                self.below
            ),
        )];
        self.joining.lines(&mut lines);
        if let Some(holding) = &self.holding {
            holding.lines(&mut lines);
        }
        if let Some(memory) = &self.server_memory {
            memory.lines(&mut lines);
        }
        lines.push(line("cleaned", format!("{} taken away", self.cleaned)));
        facts(self.ended, &lines)
    }
}

type Lines = Vec<(String, String)>;

fn line(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

impl Joining {
    fn lines(&self, lines: &mut Lines) {
        lines.extend([
            line(
                "joined",
                format!(
                    "{} agents in {:.3} s, {:.1} a second, {} gave up",
                    self.joined, self.seconds, self.per_second, self.gave_up
                ),
            ),
            line("  join", Summary::shown(self.part.join)),
            line("  first state", Summary::shown(self.part.first_state)),
            line("  svids", format!("{} issued", self.part.svids_issued)),
            line("  issue call", Summary::shown(self.part.issue)),
            line("  errors", self.part.errors.shown()),
        ]);
        used(&self.cpu, lines);
    }
}

impl Holding {
    fn lines(&self, lines: &mut Lines) {
        let part = &self.part;
        lines.extend([
            line(
                "held",
                format!(
                    "{:.3} s, {} connected at the end, {} gave up, {} reconnected",
                    self.seconds, self.connected, self.gave_up, part.reconnected
                ),
            ),
            line(
                "  svids",
                format!(
                    "{} issued, {} renewed, {} expired; {} nodes renewed",
                    part.svids_issued, part.svids_renewed, part.svids_expired, part.nodes_renewed
                ),
            ),
            line("  issue call", Summary::shown(part.issue)),
            line(
                "  messages",
                format!(
                    "{} heartbeats, {} deltas, {} snapshots, {} digests differed",
                    part.heartbeats, part.deltas, part.snapshots, part.drifts
                ),
            ),
            line("  created to svid", Summary::shown(self.changes.created_to_svid)),
            line(
                "  deleted to agent",
                Summary::shown(self.changes.deleted_to_agent),
            ),
            line("  errors", part.errors.shown()),
        ]);
        used(&self.cpu, lines);
        let Some(pushes) = &self.pushes else { return };
        lines.extend([
            line(
                "pushed to all",
                format!("{} entries, {} agents not told", pushes.made(), pushes.lost()),
            ),
            line("  created to agents", Summary::shown(pushes.created_to_agents)),
            line("  deleted to agents", Summary::shown(pushes.deleted_to_agents)),
            line("  to the last agent", Summary::shown(pushes.to_the_last)),
        ]);
        used(&self.cpu_of_pushes, lines);
    }
}

impl Memory {
    fn lines(&self, lines: &mut Lines) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        lines.push(line(
            "memory of server",
            format!(
                "{:.1} MiB its own ({:.1} before, {:.1} KiB an agent), {:.1} MiB resident (pid {})",
                mib(self.held.anonymous),
                mib(self.before.anonymous),
                self.anonymous_per_agent / 1024.0,
                mib(self.held.resident),
                self.pid
            ),
        ));
    }
}

fn used(used: &[Used], lines: &mut Lines) {
    let facts = Used::facts(used).into_iter();
    lines.extend(facts.map(|(name, value)| (format!("  {name}"), value)));
}
