use core::fmt::Debug;
use core::hash::Hash;
use core::sync::atomic::AtomicU64;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};
use std::sync::{Mutex, PoisonError};

/// A number that only rises.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// A whole number that rises and falls.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;
/// A number that rises and falls.
pub type GaugeF64 = prometheus_client::metrics::gauge::Gauge<f64, AtomicU64>;
/// How often values fell into which range.
pub type Histogram = prometheus_client::metrics::histogram::Histogram;

/// The type of what [`Metrics::text`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds for what takes from 50 microseconds to 10 seconds.
pub const SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// What kind of series a name stands for, as in the published table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesInfo {
    /// The whole name, `_total` included.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// One line for people.
    pub help: &'static str,
}

/// The metrics of one process. Handles that it gives out are cheap to clone and need it no more.
#[derive(Debug)]
pub struct Metrics(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    table: Vec<SeriesInfo>,
}

impl Metrics {
    /// An empty set. With `site`, every series carries it as a constant label.
    #[must_use]
    pub fn new(site: Option<&str>) -> Self {
        let labels = site.map(|site| ("site".into(), site.to_owned().into()));
        Self(Mutex::new(Inner {
            registry: Registry::with_labels(labels.into_iter()),
            table: Vec::new(),
        }))
    }

    /// A counter without labels. `name` is the whole one and ends `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.register(name, "counter", help, Counter::default())
    }

    /// Counters told apart by labels. `name` is the whole one and ends `_total`.
    pub fn counters<L: LabelSet>(&self, name: &'static str, help: &'static str) -> Family<L, Counter> {
        self.register(name, "counter", help, Family::default())
    }

    /// A gauge without labels.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.register(name, "gauge", help, Gauge::default())
    }

    /// Gauges told apart by labels.
    pub fn gauges<L: LabelSet>(&self, name: &'static str, help: &'static str) -> Family<L, Gauge> {
        self.register(name, "gauge", help, Family::default())
    }

    /// A gauge with decimals and without labels.
    pub fn gauge_f64(&self, name: &'static str, help: &'static str) -> GaugeF64 {
        self.register(name, "gauge", help, GaugeF64::default())
    }

    /// Gauges with decimals, told apart by labels.
    pub fn gauges_f64<L: LabelSet>(&self, name: &'static str, help: &'static str) -> Family<L, GaugeF64> {
        self.register(name, "gauge", help, Family::default())
    }

    /// A histogram of seconds without labels.
    pub fn seconds(&self, name: &'static str, help: &'static str) -> Histogram {
        self.register(name, "histogram", help, Histogram::new(SECONDS))
    }

    /// Histograms of seconds, told apart by labels.
    pub fn seconds_by<L: LabelSet>(
        &self,
        name: &'static str,
        help: &'static str,
    ) -> Family<L, Histogram, fn() -> Histogram> {
        let family = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        self.register(name, "histogram", help, family)
    }

    /// Everything, in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &inner.registry);
        text
    }

    /// The series that exist, sorted by name: what the documentation lists.
    #[must_use]
    pub fn table(&self) -> Vec<SeriesInfo> {
        let mut table = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .table
            .clone();
        table.sort();
        table
    }

    /// # Panics
    /// In debug builds where the name breaks a rule of the contract: a mistake in a constant, found by the first test.
    fn register<M: Metric + Clone>(
        &self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        metric: M,
    ) -> M {
        debug_assert_eq!(flaw(name, kind), None, "`{name}`");
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(
            inner.table.iter().all(|s| s.name != name),
            "`{name}` stands twice"
        );
        inner.table.push(SeriesInfo { name, kind, help });
        // The encoder adds the ending of counters itself.
        let stem = name.strip_suffix("_total").unwrap_or(name);
        inner.registry.register(stem, help, metric.clone());
        metric
    }
}

/// What [`label_set!`](crate::label_set) makes.
pub trait LabelSet: EncodeLabelSet + Clone + Debug + Hash + Eq + Send + Sync + 'static {}

impl<T: EncodeLabelSet + Clone + Debug + Hash + Eq + Send + Sync + 'static> LabelSet for T {}

/// Which rule of the contract a name breaks.
fn flaw(name: &str, kind: &str) -> Option<&'static str> {
    let is_legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !name.starts_with("signet_") || !name.bytes().all(is_legal) {
        Some("begins with signet_, lower case")
    } else if (kind == "counter") != name.ends_with("_total") {
        Some("counters and only they end in _total")
    } else if kind == "histogram" && !(name.ends_with("_seconds") || name.ends_with("_bytes")) {
        Some("histograms name their base unit")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::label! {
        /// How it ended.
        enum Outcome { Ok = "ok", Error = "error" }
    }
    crate::label_set! {
        /// Of a thing.
        struct Labels { outcome: Outcome }
    }

    #[test]
    fn the_text_has_names_labels_and_values() {
        let metrics = Metrics::new(Some("a\"b"));
        let issued = metrics.counters::<Labels>("signet_issue_total", "Credentials issued");
        let took = metrics.seconds("signet_issue_seconds", "Time taken");
        let streams = metrics.gauge("signet_streams", "Open streams");
        for outcome in Outcome::ALL {
            issued.get_or_create(&Labels { outcome: *outcome }).inc();
        }
        took.observe(0.003);
        streams.set(7);
        let text = metrics.text();
        for line in [
            "# TYPE signet_issue counter",
            "signet_issue_total{site=\"a\\\"b\",outcome=\"ok\"} 1",
            "signet_issue_total{site=\"a\\\"b\",outcome=\"error\"} 1",
            "signet_issue_seconds_bucket{site=\"a\\\"b\",le=\"0.005\"} 1",
            "signet_streams{site=\"a\\\"b\"} 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let names: Vec<_> = metrics.table().iter().map(|s| (s.name, s.kind)).collect();
        assert_eq!(
            names,
            [
                ("signet_issue_seconds", "histogram"),
                ("signet_issue_total", "counter"),
                ("signet_streams", "gauge")
            ]
        );
    }

    #[test]
    fn names_that_break_the_contract_are_found() {
        for (name, kind) in [
            ("issue_total", "counter"),
            ("signet_Issue_total", "counter"),
            ("signet_issue", "counter"),
            ("signet_issue_total", "gauge"),
            ("signet_issue_ms", "histogram"),
        ] {
            assert!(flaw(name, kind).is_some(), "{name}");
        }
        assert_eq!(flaw("signet_issue_seconds", "histogram"), None);
    }

    #[test]
    #[should_panic(expected = "stands twice")]
    fn a_name_is_registered_once() {
        let metrics = Metrics::new(None);
        let _ = metrics.gauge("signet_streams", "a");
        let _ = metrics.gauge("signet_streams", "b");
    }
}
