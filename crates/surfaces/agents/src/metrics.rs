//! The series of this surface. Names and labels are public: dashboards are built on them.

use signet_telemetry::{Counter, Family, Gauge, Histogram, Metrics, label, label_set};

label! {
    /// What is issued.
    pub enum Kind { X509 = "x509", Jwt = "jwt", Wit = "wit", Node = "node" }
}
label! {
    /// How it ended.
    pub enum Outcome { Ok = "ok", Refused = "refused", Error = "error" }
}
label! {
    /// What a stream carries.
    pub enum StreamKind { Agent = "agent" }
}
label! {
    /// Which door.
    pub enum Surface { Agents = "agents" }
}
label! {
    /// What an agent is sent on its stream.
    pub enum MessageKind { Snapshot = "snapshot", Delta = "delta", Heartbeat = "heartbeat" }
}
label! {
    /// Why an agent got nothing.
    pub enum Reason {
        NoIdentity = "no_identity", ProofOnly = "proof_only", Svid = "svid", Node = "node", Token = "token", Key = "key",
        Machine = "machine", Limited = "limited",
        Other = "other",
    }
}
label_set! {
    /// Of agents that got nothing.
    pub struct UnauthorizedLabels { surface: Surface, reason: Reason }
}
label_set! {
    /// Of what is issued.
    pub struct IssueLabels { kind: Kind, outcome: Outcome }
}
label_set! {
    /// Of the time that issuing takes.
    pub struct KindLabels { kind: Kind }
}
label_set! {
    /// Of streams.
    pub struct StreamLabels { kind: StreamKind }
}

label_set! {
    /// Of what agents are sent.
    pub struct MessageLabels { kind: MessageKind }
}

/// Handles of the series. Cheap to clone.
#[derive(Clone)]
pub struct Series {
    issue: Family<IssueLabels, Counter>,
    issue_seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
    streams: Family<StreamLabels, Gauge>,
    unauthorized: Family<UnauthorizedLabels, Counter>,
    skew: signet_telemetry::GaugeF64,
    messages: Family<MessageLabels, Counter>,
    wakes: Counter,
    resyncs: Counter,
    copies: Counter,
    put_back: Counter,
}

impl Series {
    /// Registers them in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            issue: metrics.counters(
                "signet_issue_total",
                "Credentials that agents asked for, by outcome",
            ),
            issue_seconds: metrics.seconds_by(
                "signet_issue_seconds",
                "From a call that asks for credentials to its answer",
            ),
            streams: metrics.gauges("signet_streams", "Open streams"),
            unauthorized: metrics.counters("signet_unauthorized_total", "Agents that got nothing, by reason"),
            skew: metrics.gauge_f64(
                "signet_clock_skew_seconds",
                "How far the clock of the agent that connected last is ahead of ours",
            ),
            messages: metrics.counters(
                "signet_feed_messages_total",
                "Snapshots, deltas and heartbeats that agents were sent",
            ),
            wakes: metrics.counter(
                "signet_feed_wakes_total",
                "Streams that were woken because something changed for them",
            ),
            resyncs: metrics.counter(
                "signet_feed_resyncs_total",
                "Snapshots that agents asked for because they held something else than they were sent",
            ),
            put_back: metrics.counter(
                "signet_state_put_back_total",
                "Agents that knew changes of this log that are not in it: an older state was put in its place",
            ),
            copies: metrics.counter(
                "signet_node_key_copies_total",
                "Renewals of a node's identity that did not go on from the one before: its key was copied",
            ),
        }
    }

    pub(crate) fn issued(&self, kind: Kind, outcome: Outcome) {
        self.issue.get_or_create(&IssueLabels { kind, outcome }).inc();
    }

    pub(crate) fn refused(&self, reason: Reason) {
        let labels = UnauthorizedLabels {
            surface: Surface::Agents,
            reason,
        };
        self.unauthorized.get_or_create(&labels).inc();
    }

    pub(crate) fn took(&self, kind: Kind, seconds: f64) {
        self.issue_seconds
            .get_or_create(&KindLabels { kind })
            .observe(seconds);
    }

    pub(crate) fn sent(&self, kind: MessageKind) {
        self.messages.get_or_create(&MessageLabels { kind }).inc();
    }

    pub(crate) fn woke(&self, streams: usize) {
        self.wakes.inc_by(u64::try_from(streams).unwrap_or(u64::MAX));
    }

    pub(crate) fn resynced(&self) {
        self.resyncs.inc();
    }

    pub(crate) fn put_back(&self) {
        self.put_back.inc();
    }

    pub(crate) fn copied(&self) {
        self.copies.inc();
    }

    pub(crate) fn skewed(&self, theirs: signet_time::UnixTime, ours: signet_time::UnixTime) {
        let ahead = theirs.since(ours).as_secs_f64() - ours.since(theirs).as_secs_f64();
        self.skew.set(ahead);
    }

    /// Counts a stream until the guard goes.
    pub(crate) fn stream(&self) -> StreamGuard {
        let gauge = self
            .streams
            .get_or_create(&StreamLabels {
                kind: StreamKind::Agent,
            })
            .clone();
        gauge.inc();
        StreamGuard(gauge)
    }
}

/// One open stream.
pub(crate) struct StreamGuard(Gauge);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
