//! What the loaders have in common: when they end, what is said meanwhile, what is counted.

use crate::error::CliError;
use crate::failure::Failure;
use crate::{Outcome, output, runtime};
use core::time::Duration;
use serde::Serialize;
use signet_workload::WorkloadError;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// Why a measurement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// All was done.
    Done,
    /// Somebody pressed Ctrl-C; what is reported is what was measured until then.
    Interrupted,
}

/// Ctrl-C and SIGTERM, which end a measurement early and the process not at all.
pub(super) struct Interrupt(CancellationToken);

impl Interrupt {
    /// From now on, the signals are heard here.
    pub(super) fn listen() -> Outcome<Self> {
        let signal = runtime::stop_signal()?;
        let token = CancellationToken::new();
        let heard = token.clone();
        tokio::spawn(async move {
            signal.await;
            heard.cancel();
        });
        Ok(Self(token))
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.0
    }

    pub(super) fn end(&self) -> End {
        if self.0.is_cancelled() {
            End::Interrupted
        } else {
            End::Done
        }
    }
}

/// Says once a second how far it is, where a person is watching. Ends when dropped, and takes its line with it.
pub(super) struct Progress(Option<AbortHandle>);

impl Progress {
    pub(super) fn show(line: impl Fn() -> String + Send + 'static) -> Self {
        if !output::is_watched() {
            return Self(None);
        }
        let shown = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                output::progress(&line());
            }
        });
        Self(Some(shown.abort_handle()))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(shown) = self.0.take() {
            shown.abort();
            output::progress("");
        }
    }
}

/// How often each gRPC status, or other reason, came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Errors(BTreeMap<Cow<'static, str>, u64>);

impl Errors {
    /// Counts one of the kind `name`.
    pub(super) fn count(&mut self, name: impl Into<Cow<'static, str>>) {
        *self.0.entry(name.into()).or_default() += 1;
    }

    pub(super) fn add(&mut self, error: &WorkloadError) {
        let name = match error {
            WorkloadError::NoIdentity { .. } => "PermissionDenied",
            WorkloadError::Unavailable { .. } => "Unavailable",
            WorkloadError::Refused { code, .. } => code,
            WorkloadError::Unreachable { .. } => "not connected",
            WorkloadError::Ended => "ended without a message",
            _ => "malformed answer",
        };
        self.count(name);
    }

    pub(super) fn merge(&mut self, others: &Self) {
        for (name, count) in &others.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn shown(&self) -> String {
        if self.0.is_empty() {
            return "none".to_owned();
        }
        let each: Vec<String> = self.0.iter().map(|(name, n)| format!("{n} {name}")).collect();
        each.join(", ")
    }
}

/// The lock. Nothing under those of the loaders panics half way, so what another task left is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Raises the limit on open files as far as it goes, and refuses `connections` that do not fit below it.
pub(super) fn make_room(connections: usize) -> Outcome {
    let max = signet_sys::process::raise_descriptor_limit()?;
    let needed = connections as u64 + OTHER_DESCRIPTORS;
    if needed <= max {
        return Ok(());
    }
    let failure = Failure::from(CliError::Descriptors { needed, max });
    let next = format!(
        "allow more with `ulimit -n {needed}` as root, or open at most {}",
        max.saturating_sub(OTHER_DESCRIPTORS)
    );
    Err(failure.next(next))
}

/// Standard streams, the runtime's own, and room for calls of the administration API.
const OTHER_DESCRIPTORS: u64 = 32;

/// The failure of a measurement in which nothing succeeded; what was counted is printed before.
pub(super) fn unless_none(succeeded: u64, errors: &Errors) -> Outcome {
    if succeeded > 0 || errors.total() == 0 {
        return Ok(());
    }
    let errors = errors.shown();
    Err(CliError::NoneSucceeded { errors }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_status() {
        let refused = |code| WorkloadError::Refused {
            code,
            message: String::new(),
        };
        let message = String::new;
        let mut errors = Errors::default();
        assert_eq!(errors.shown(), "none");
        errors.add(&refused("ResourceExhausted"));
        errors.add(&WorkloadError::NoIdentity { message: message() });
        let mut all = errors.clone();
        errors.add(&WorkloadError::Unavailable { message: message() });
        all.merge(&errors);
        assert_eq!(all.total(), 5);
        assert_eq!(
            all.shown(),
            "2 PermissionDenied, 2 ResourceExhausted, 1 Unavailable"
        );
        assert_eq!(unless_none(0, &all).unwrap_err().code, "SGCL061");
        assert!(unless_none(1, &all).is_ok());
        assert!(unless_none(0, &Errors::default()).is_ok());
    }

    #[test]
    fn more_connections_than_files_may_be_open_are_refused() {
        make_room(1).unwrap();
        let refused = make_room(usize::MAX / 2).unwrap_err();
        assert_eq!(refused.code, "SGCL060");
        assert!(refused.next.contains("ulimit -n"), "{refused:?}");
    }
}
