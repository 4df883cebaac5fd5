//! Metrics registry, structured logs, request ids.
//!
//! * [`Metrics`] holds the series of one process. Names begin `signet_` and are constants in one module per crate;
//!   label values come from closed enums made by [`label!`], so an identity, a key or a token cannot become one.
//! * [`logs`] sets up `tracing` from `SIGNET_LOG` and `SIGNET_LOG_FORMAT`.
//! * [`RequestId`] is what ties a request's log lines, answer and record together.
//!
//! Opens no port: whoever serves `/metrics` sends [`Metrics::text`] with [`CONTENT_TYPE`].
//!
//! ```
//! signet_telemetry::label! {
//!     /// How it ended.
//!     pub enum Outcome { Ok = "ok", Error = "error" }
//! }
//! signet_telemetry::label_set! {
//!     /// Of what is issued.
//!     pub struct IssueLabels { outcome: Outcome }
//! }
//! let metrics = signet_telemetry::Metrics::new(None);
//! let issued = metrics.counters::<IssueLabels>("signet_issue_total", "Credentials issued");
//! issued.get_or_create(&IssueLabels { outcome: Outcome::Ok }).inc();
//! assert!(metrics.text().contains("signet_issue_total{outcome=\"ok\"} 1"));
//! ```

mod labels;
pub mod logs;
mod metrics;
mod request_id;

pub use metrics::{CONTENT_TYPE, Counter, Gauge, GaugeF64, Histogram, Metrics, SECONDS, SeriesInfo};
pub use prometheus_client::metrics::family::Family;
pub use request_id::{RequestId, RequestIdError};

/// What the macros of this crate need at the place where they are used.
#[doc(hidden)]
pub mod private {
    pub use prometheus_client::encoding::{
        EncodeLabel, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder,
    };
}

use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;

/// Why logs could not be set up.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `SIGNET_LOG` is not a filter.
    #[error("`SIGNET_LOG` is `{text}`, which is not a log filter: {why}")]
    Filter {
        /// What was set.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// `SIGNET_LOG_FORMAT` is not one of the known formats.
    #[error("`SIGNET_LOG_FORMAT` is `{text}`, allowed are text and json")]
    Format {
        /// What was set.
        text: String,
    },
    /// Logs are set up once per process, and this was not the first time.
    #[error("logs are set up already")]
    Twice,
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGTE001",
        meaning: "logs: filter",
        remedy: "set SIGNET_LOG to a level such as info, or to targets such as info,signet_agent=debug",
    },
    Entry {
        code: "SGTE002",
        meaning: "logs: format",
        remedy: "set SIGNET_LOG_FORMAT to text or json, or unset it",
    },
    Entry {
        code: "SGTE003",
        meaning: "logs: set up twice",
        remedy: "report this with the command that was run",
    },
];

impl Coded for TelemetryError {
    fn code(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "SGTE001",
            Self::Format { .. } => "SGTE002",
            Self::Twice => "SGTE003",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_register_stands() {
        assert_eq!(signet_fault::flaws(&[super::REGISTER]), []);
    }
}
