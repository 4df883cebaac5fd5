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
    /// Why an agent got nothing.
    pub enum Reason {
        NoIdentity = "no_identity", ProofOnly = "proof_only", Svid = "svid", Node = "node", Token = "token", Key = "key",
        Machine = "machine",
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

/// Handles of the series. Cheap to clone.
#[derive(Clone)]
pub struct Series {
    issue: Family<IssueLabels, Counter>,
    issue_seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
    streams: Family<StreamLabels, Gauge>,
    unauthorized: Family<UnauthorizedLabels, Counter>,
    skew: signet_telemetry::GaugeF64,
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
