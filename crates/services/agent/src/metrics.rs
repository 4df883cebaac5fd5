//! The agent's series. Names and labels are public: dashboards are built on them.

use signet_telemetry::{Counter, Family, Gauge, GaugeF64, Histogram, Metrics, label, label_set};
use std::time::Duration;

label! {
    /// What a stream shows.
    pub enum StreamKind {
        X509Svid = "x509_svid", X509Bundles = "x509_bundles", JwtBundles = "jwt_bundles", WitSvid = "wit_svid",
        WitBundles = "wit_bundles", Secrets = "sds",
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
    pub enum Surface { Workload = "workload_api", Local = "local_api", Sds = "sds" }
}
label! {
    /// Why a caller got nothing.
    pub enum Reason {
        Metadata = "metadata", Request = "request", Peer = "peer", NoIdentity = "no_identity", NotEntitled = "not_entitled",
        Token = "token", Unavailable = "unavailable", Unsupported = "unsupported", NotOwner = "not_owner",
        Limited = "limited",
    }
}
label! {
    /// What a request on a stream of secrets was.
    pub enum SecretRequest { Subscription = "subscription", Ack = "ack", Nack = "nack", Stale = "stale" }
}
label_set! {
    /// Of requests for secrets.
    pub struct SecretLabels { kind: SecretRequest }
}
label! {
    /// What there was too much of.
    pub enum Limit { Streams = "streams", Calls = "calls", Requests = "requests", Signing = "signing" }
}
label! {
    /// Who had too much.
    pub enum Holder { Process = "process", User = "user", Node = "node" }
}
label_set! {
    /// Of calls beyond a limit.
    pub struct LimitLabels { limit: Limit, holder: Holder }
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
    limited: Family<LimitLabels, Counter>,
    /// JWT-SVIDs in memory.
    pub(crate) jwt_cache: JwtCacheSeries,
    /// Entries that hold on this node.
    pub(crate) entries: Gauge,
    /// 1 while the server's stream is open.
    pub(crate) connected: Gauge,
    /// States that were not what the server had sent.
    pub(crate) drifts: Counter,
    /// How far the server's clock and ours were apart when we last met.
    pub(crate) skew: GaugeF64,
    secret_requests: Family<SecretLabels, Counter>,
    issue: Family<IssueLabels, Counter>,
    issue_seconds: Family<IssueKindLabels, Histogram, fn() -> Histogram>,
    attest_seconds: Histogram,
}

/// Handles of the series about JWT-SVIDs in memory. By default they are in no table.
#[derive(Clone, Default)]
pub(crate) struct JwtCacheSeries {
    pub(crate) bytes: Gauge,
    bytes_max: Gauge,
    pub(crate) tokens: Gauge,
    /// Tokens that made room before they ended.
    pub(crate) evictions: Counter,
}

impl JwtCacheSeries {
    fn new(metrics: &Metrics) -> Self {
        Self {
            bytes: metrics.gauge(
                "signet_agent_jwt_cache_bytes",
                "What the JWT-SVIDs in memory take",
            ),
            bytes_max: metrics.gauge(
                "signet_agent_jwt_cache_bytes_max",
                "What they may take: limits.jwt_cache_bytes_max",
            ),
            tokens: metrics.gauge("signet_agent_jwt_cache_tokens", "JWT-SVIDs in memory"),
            evictions: metrics.counter(
                "signet_agent_jwt_cache_evictions_total",
                "JWT-SVIDs that made room for others before they ended",
            ),
        }
    }

    pub(crate) fn bounded(&self, bytes_max: u64) {
        self.bytes_max.set(i64::try_from(bytes_max).unwrap_or(i64::MAX));
    }
}

impl Series {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            streams: metrics.gauges(
                "signet_streams",
                "Open streams of the Workload API and of secrets",
            ),
            unauthorized: metrics.counters("signet_unauthorized_total", "Calls that were refused"),
            limited: metrics.counters("signet_agent_limited_total", "Calls beyond a limit of [limits]"),
            jwt_cache: JwtCacheSeries::new(metrics),
            entries: metrics.gauge("signet_agent_entries", "Entries that hold on this node"),
            connected: metrics.gauge("signet_agent_connected", "Whether the server's stream is open"),
            drifts: metrics.counter(
                "signet_agent_feed_drifts_total",
                "Digests of the server's that were not those of the entries that hold on this node",
            ),
            skew: metrics.gauge_f64(
                "signet_clock_skew_seconds",
                "Distance to the server's clock when it was last heard",
            ),
            secret_requests: metrics.counters(
                "signet_sds_requests_total",
                "Requests for secrets, by what they were",
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

    pub(crate) fn limited(&self, limit: Limit, holder: Holder) {
        self.limited.get_or_create(&LimitLabels { limit, holder }).inc();
    }

    pub(crate) fn refused(&self, surface: Surface, reason: Reason) {
        let labels = UnauthorizedLabels { surface, reason };
        self.unauthorized.get_or_create(&labels).inc();
    }

    pub(crate) fn secrets_asked(&self, kind: SecretRequest) {
        self.secret_requests.get_or_create(&SecretLabels { kind }).inc();
    }
}

impl StreamKind {
    pub(crate) const fn surface(self) -> Surface {
        match self {
            Self::Secrets => Surface::Sds,
            Self::X509Svid | Self::X509Bundles | Self::JwtBundles | Self::WitSvid | Self::WitBundles => {
                Surface::Workload
            }
        }
    }
}

impl Outcome {
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Error }
    }
}
