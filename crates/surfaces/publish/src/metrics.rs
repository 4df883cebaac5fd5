use crate::documents::Kind;
use signet_telemetry::{Counter, Family, Metrics};

signet_telemetry::label! {
    /// How a request ended.
    pub(crate) enum Outcome {
        Ok = "ok",
        NotModified = "not_modified",
        Invalid = "invalid",
    }
}

signet_telemetry::label_set! {
    /// Of requests.
    pub(crate) struct RequestLabels { document: Kind, outcome: Outcome }
}

/// The series of this crate.
pub(crate) struct Series {
    requests: Family<RequestLabels, Counter>,
}

impl Series {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters(
                "signet_publish_request_total",
                "Requests for public documents, by document",
            ),
        }
    }

    pub(crate) fn count(&self, document: Kind, outcome: Outcome) {
        self.requests
            .get_or_create(&RequestLabels { document, outcome })
            .inc();
    }
}
