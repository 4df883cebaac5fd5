//! Structured logs on standard error.

use crate::TelemetryError;
use tracing_subscriber::EnvFilter;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct LogSettings {
    /// Which events.
    pub filter: EnvFilter,
    /// How they are written.
    pub format: Format,
}

impl LogSettings {
    /// Reads `SIGNET_LOG` and `SIGNET_LOG_FORMAT` through `get`; where unset, `default_filter` and text.
    ///
    /// # Errors
    /// [`TelemetryError::Filter`] and [`TelemetryError::Format`] for values that mean nothing.
    pub fn from_env(
        get: impl Fn(&str) -> Option<String>,
        default_filter: &str,
    ) -> Result<Self, TelemetryError> {
        let text = get("SIGNET_LOG")
            .filter(|t| !t.is_empty())
            .unwrap_or_else(|| default_filter.to_owned());
        let filter = EnvFilter::try_new(&text).map_err(|why| TelemetryError::Filter {
            text: signet_fault::shown(&text, 64),
            why: why.to_string(),
        })?;
        let format = match get("SIGNET_LOG_FORMAT").as_deref() {
            None | Some("" | "text") => Format::Text,
            Some("json") => Format::Json,
            Some(text) => {
                return Err(TelemetryError::Format {
                    text: signet_fault::shown(text, 64),
                });
            }
        };
        Ok(Self { filter, format })
    }
}

/// Sends what the process logs to standard error from now on.
///
/// # Errors
/// [`TelemetryError::Twice`] after the first time.
pub fn init(settings: LogSettings) -> Result<(), TelemetryError> {
    use std::io::IsTerminal as _;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(settings.filter)
        .with_writer(std::io::stderr);
    match settings.format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: Option<&str>, format: Option<&str>) -> Result<LogSettings, TelemetryError> {
        let get = |name: &str| match name {
            "SIGNET_LOG" => log.map(str::to_owned),
            _ => format.map(str::to_owned),
        };
        LogSettings::from_env(get, "info")
    }

    #[test]
    fn the_environment_decides() {
        let unset = read(None, None).unwrap();
        assert_eq!(
            (unset.filter.to_string().as_str(), unset.format),
            ("info", Format::Text)
        );
        let set = read(Some("warn,signet_agent=debug"), Some("json")).unwrap();
        assert!(set.filter.to_string().contains("signet_agent=debug"));
        assert_eq!(set.format, Format::Json);
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        assert!(matches!(
            read(Some("signet=loud"), None),
            Err(TelemetryError::Filter { .. })
        ));
        assert!(matches!(
            read(None, Some("jsno")),
            Err(TelemetryError::Format { .. })
        ));
    }
}
