//! What the simulated agents count.

use super::super::latency::{Latencies, Summary};
use super::super::run::{Errors, lock};
use super::trouble::Trouble;
use core::time::Duration;
use serde::Serialize;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Counts of one part of a run, and how many agents there are at this moment. All agents share it.
pub(super) struct Tally {
    counts: Mutex<Counts>,
    now: Mutex<Now>,
    moved: Notify,
}

/// How many agents are where.
#[derive(Clone, Copy, Default)]
pub(super) struct Now {
    /// Nodes that the server took.
    pub(super) joined: u32,
    /// Streams that have brought a state.
    pub(super) connected: u32,
    /// Agents that had all their first certificates.
    pub(super) complete: u32,
    /// Agents that gave up.
    pub(super) gave_up: u32,
    /// Agents that are not on their way any more.
    settled: u32,
}

struct Counts {
    join: Latencies,
    first_state: Latencies,
    issue: Latencies,
    issued: u64,
    renewed: u64,
    expired: u64,
    nodes_renewed: u64,
    reconnected: u64,
    snapshots: u64,
    deltas: u64,
    heartbeats: u64,
    drifts: u64,
    errors: Errors,
}

/// What agents did in one part of a run.
#[derive(Serialize)]
pub(super) struct Part {
    /// From the first packet to the node's SVID: TLS handshake, join token, signature, record.
    pub(super) join: Option<Summary>,
    /// From the first packet of the second connection to a whole state: TLS handshake with that SVID, stream, snapshot.
    pub(super) first_state: Option<Summary>,
    /// Of calls that ask for SVIDs, up to 64 in one.
    pub(super) issue: Option<Summary>,
    /// First SVIDs of workloads.
    pub(super) svids_issued: u64,
    pub(super) svids_renewed: u64,
    /// SVIDs that ended before they were renewed.
    pub(super) svids_expired: u64,
    /// Identities of nodes that were renewed, each followed by a new connection.
    pub(super) nodes_renewed: u64,
    /// Streams that broke and were opened again.
    pub(super) reconnected: u64,
    pub(super) snapshots: u64,
    pub(super) deltas: u64,
    pub(super) heartbeats: u64,
    /// Digests that were not those of what the agent held.
    pub(super) drifts: u64,
    /// What failed, by the server's code or the reason.
    pub(super) errors: Errors,
}

/// What a server sent on a stream.
#[derive(Clone, Copy)]
pub(super) enum Message {
    Snapshot,
    Delta,
    Heartbeat,
    Drift,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            counts: Mutex::new(Counts::new()),
            now: Mutex::default(),
            moved: Notify::new(),
        }
    }

    /// Returns once an agent had all that it came for, or gave up, since it was asked last.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Whether of `all` agents none is still on its way.
    pub(super) fn is_settled(&self, all: usize) -> bool {
        self.now().settled as usize >= all
    }

    /// Ends a part of the run; what is counted from now on belongs to the next.
    pub(super) fn part(&self) -> Part {
        core::mem::replace(&mut *lock(&self.counts), Counts::new()).part()
    }

    pub(super) fn now(&self) -> Now {
        *lock(&self.now)
    }

    pub(super) fn joined(&self, took: Duration) {
        lock(&self.now).joined += 1;
        lock(&self.counts).join.add(took);
    }

    pub(super) fn connected(&self, took: Duration) {
        lock(&self.now).connected += 1;
        lock(&self.counts).first_state.add(took);
    }

    pub(super) fn disconnected(&self) {
        lock(&self.now).connected -= 1;
    }

    pub(super) fn complete(&self) {
        lock(&self.now).complete += 1;
    }

    pub(super) fn gave_up(&self) {
        lock(&self.now).gave_up += 1;
    }

    /// An agent has all that it came for, or gave up before it had.
    pub(super) fn settled(&self) {
        lock(&self.now).settled += 1;
        self.moved.notify_one();
    }

    pub(super) fn called(&self, took: Duration) {
        lock(&self.counts).issue.add(took);
    }

    pub(super) fn issued(&self, is_first: bool) {
        let mut counts = lock(&self.counts);
        *(if is_first {
            &mut counts.issued
        } else {
            &mut counts.renewed
        }) += 1;
    }

    pub(super) fn expired(&self) {
        lock(&self.counts).expired += 1;
    }

    pub(super) fn node_renewed(&self) {
        lock(&self.counts).nodes_renewed += 1;
    }

    pub(super) fn reconnecting(&self) {
        lock(&self.counts).reconnected += 1;
    }

    pub(super) fn heard(&self, message: Message) {
        let mut counts = lock(&self.counts);
        *(match message {
            Message::Snapshot => &mut counts.snapshots,
            Message::Delta => &mut counts.deltas,
            Message::Heartbeat => &mut counts.heartbeats,
            Message::Drift => &mut counts.drifts,
        }) += 1;
    }

    pub(super) fn failed(&self, trouble: &Trouble) {
        lock(&self.counts).errors.count(trouble.name.clone());
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            join: Latencies::new(),
            first_state: Latencies::new(),
            issue: Latencies::new(),
            issued: 0,
            renewed: 0,
            expired: 0,
            nodes_renewed: 0,
            reconnected: 0,
            snapshots: 0,
            deltas: 0,
            heartbeats: 0,
            drifts: 0,
            errors: Errors::default(),
        }
    }

    fn part(self) -> Part {
        Part {
            join: self.join.summary(),
            first_state: self.first_state.summary(),
            issue: self.issue.summary(),
            svids_issued: self.issued,
            svids_renewed: self.renewed,
            svids_expired: self.expired,
            nodes_renewed: self.nodes_renewed,
            reconnected: self.reconnected,
            snapshots: self.snapshots,
            deltas: self.deltas,
            heartbeats: self.heartbeats,
            drifts: self.drifts,
            errors: self.errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_for_itself_and_agents_stay() {
        let tally = Tally::new();
        tally.joined(Duration::from_millis(2));
        tally.connected(Duration::from_millis(3));
        tally.issued(true);
        tally.heard(Message::Snapshot);
        let first = tally.part();
        assert_eq!((first.svids_issued, first.snapshots, first.heartbeats), (1, 1, 0));
        assert!(first.join.is_some() && first.first_state.is_some() && first.issue.is_none());
        tally.issued(false);
        tally.heard(Message::Heartbeat);
        let second = tally.part();
        assert_eq!((second.svids_issued, second.svids_renewed), (0, 1));
        assert_eq!((second.snapshots, second.heartbeats), (0, 1));
        assert_eq!((tally.now().joined, tally.now().connected), (1, 1));
        tally.disconnected();
        assert_eq!(tally.now().connected, 0);
    }
}
