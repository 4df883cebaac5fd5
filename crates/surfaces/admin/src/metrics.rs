use core::time::Duration;
use http::StatusCode;
use signet_decision::ActionClass;
use signet_telemetry::{Counter, Family, Histogram, Metrics};

signet_telemetry::label! {
    /// What a request does.
    pub(crate) enum Class {
        Read = "read",
        Change = "change",
        Unrouted = "unrouted",
    }
}

signet_telemetry::label! {
    /// How it ended.
    pub(crate) enum Outcome {
        Ok = "ok",
        Denied = "denied",
        Invalid = "invalid",
        Conflict = "conflict",
        Unavailable = "unavailable",
        Unknown = "unknown",
        Error = "error",
    }
}

signet_telemetry::label_set! {
    /// Of requests.
    pub(crate) struct RequestLabels { class: Class, outcome: Outcome }
}

signet_telemetry::label_set! {
    /// Of times.
    pub(crate) struct ClassLabels { class: Class }
}

/// The series of this crate.
pub(crate) struct Series {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<ClassLabels, Histogram, fn() -> Histogram>,
}

impl Series {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters("signet_admin_request_total", "Requests to the administration API"),
            seconds: metrics.seconds_by("signet_admin_request_seconds", "Time to answer them"),
        }
    }

    pub(crate) fn observe(&self, class: Class, status: StatusCode, took: Duration) {
        let outcome = Outcome::of(status);
        self.requests
            .get_or_create(&RequestLabels { class, outcome })
            .inc();
        self.seconds
            .get_or_create(&ClassLabels { class })
            .observe(took.as_secs_f64());
    }
}

impl Class {
    pub(crate) const fn of(class: ActionClass) -> Self {
        match class {
            ActionClass::Read => Self::Read,
            ActionClass::Change | ActionClass::Issue => Self::Change,
        }
    }
}

impl Outcome {
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::FORBIDDEN => Self::Denied,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Self::Conflict,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            StatusCode::GATEWAY_TIMEOUT => Self::Unknown,
            status if status.is_server_error() => Self::Error,
            status if status.is_client_error() => Self::Invalid,
            _ => Self::Ok,
        }
    }
}
