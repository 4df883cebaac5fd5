//! The agent's series. Names and labels are public: dashboards are built on them.

use signet_telemetry::{Counter, Family, Gauge, GaugeF64, Histogram, Metrics, label, label_set};
use std::time::Duration;

label! {
    /// What a stream shows.
    pub enum StreamKind {
        X509Svid = "x509_svid", X509Bundles = "x509_bundles", JwtBundles = "jwt_bundles", WitSvid = "wit_svid",
        WitBundles = "wit_bundles",
    }
}
label! {
    /// What was asked of the server.
    pub enum IssueKind { X509 = "x509", Jwt = "jwt", Wit = "wit" }
}
label! {
    /// How it ended.
    pub enum Outcome { Ok = "ok", Error = "error" }
}
label! {
    /// Which door.
    pub enum Surface { Workload = "workload_api" }
}
label! {
    /// Why a caller got nothing.
    pub enum Reason {
        Metadata = "metadata", Request = "request", Peer = "peer", NoIdentity = "no_identity", NotEntitled = "not_entitled",
        Token = "token", Unavailable = "unavailable", Unsupported = "unsupported",
    }
}
label_set! {
    /// Of streams.
    pub struct StreamLabels { kind: StreamKind }
}
label_set! {
    /// Of what is issued.
    pub struct IssueLabels { kind: IssueKind, outcome: Outcome }
}
label_set! {
    /// Of the time that issuing takes.
    pub struct IssueKindLabels { kind: IssueKind }
}
label_set! {
    /// Of callers that got nothing.
    pub struct UnauthorizedLabels { surface: Surface, reason: Reason }
}

/// Handles of all series of the agent. Cheap to clone.
#[derive(Clone)]
pub struct Series {
    /// Open streams.
    pub(crate) streams: Family<StreamLabels, Gauge>,
    /// Calls answered with a refusal.
    pub(crate) unauthorized: Family<UnauthorizedLabels, Counter>,
    /// Entries that hold on this node.
    pub(crate) entries: Gauge,
    /// 1 while the server's stream is open.
    pub(crate) connected: Gauge,
    /// How far the server's clock and ours were apart when we last met.
    pub(crate) skew: GaugeF64,
    issue: Family<IssueLabels, Counter>,
    issue_seconds: Family<IssueKindLabels, Histogram, fn() -> Histogram>,
    attest_seconds: Histogram,
}

impl Series {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            streams: metrics.gauges("signet_streams", "Open streams of the Workload API"),
            unauthorized: metrics.counters("signet_unauthorized_total", "Calls that were refused"),
            entries: metrics.gauge("signet_agent_entries", "Entries that hold on this node"),
            connected: metrics.gauge("signet_agent_connected", "Whether the server's stream is open"),
            skew: metrics.gauge_f64(
                "signet_clock_skew_seconds",
                "Distance to the server's clock at the last greeting",
            ),
            issue: metrics.counters("signet_issue_total", "Credentials asked of the server"),
            issue_seconds: metrics.seconds_by("signet_issue_seconds", "Time from a wish to its answer"),
            attest_seconds: metrics.seconds("signet_attest_seconds", "Time to find out who a caller is"),
        }
    }

    pub(crate) fn issued(&self, kind: IssueKind, outcome: Outcome, took: Duration) {
        self.issue.get_or_create(&IssueLabels { kind, outcome }).inc();
        self.issue_seconds
            .get_or_create(&IssueKindLabels { kind })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn attested(&self, took: Duration) {
        self.attest_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn refused(&self, reason: Reason) {
        let labels = UnauthorizedLabels {
            surface: Surface::Workload,
            reason,
        };
        self.unauthorized.get_or_create(&labels).inc();
    }
}

impl Outcome {
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Error }
    }
}
