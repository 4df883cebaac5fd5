use crate::Outcome;
use crate::error::CliError;
use core::future::Future;
use core::time::Duration;
use signet_fault::Coded as _;
use signet_settings::{Changes, SettingsError, Taken};
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Runs a client's work on this thread.
pub(crate) fn client<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    on_one_thread(work)
}

/// Runs a long-lived process on this thread, with others for what blocks: one that has so little to do for each call that
/// handing it from thread to thread would cost more than the call.
pub(crate) fn on_one_thread<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let outcome = runtime.block_on(work);
    // A thread that a file system keeps waiting must not keep the process.
    runtime.shutdown_timeout(BLOCKED_WITHIN);
    outcome
}

/// Runs a long-lived process on all processors.
pub(crate) fn service<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?
        .block_on(work)
}

/// Completes with the name of the signal when somebody asks the process to end.
pub(crate) fn stop_signal() -> Outcome<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Completes when the terminal is closed; never where that was to be ignored, as `nohup` asks.
pub(crate) fn terminal_closed() -> Outcome<impl Future<Output = ()>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let hangup = if is_hangup_ignored(&status) {
        None
    } else {
        Some(signal(SignalKind::hangup()).map_err(CliError::Runtime)?)
    };
    Ok(async move {
        match hangup {
            Some(mut hangup) => {
                hangup.recv().await;
            }
            None => std::future::pending().await,
        }
    })
}

/// Whether the first bit, that of SIGHUP, is set in the mask of ignored signals (proc(5)).
fn is_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// The requests to take settings over: from its making on, SIGHUP ends the process no more.
pub(crate) struct Hangups(Signal);

impl Hangups {
    pub(crate) fn listen() -> Outcome<Self> {
        Ok(Self(signal(SignalKind::hangup()).map_err(CliError::Runtime)?))
    }

    /// From now on, gives what `read` reads to `take_over` at each request, and logs what came of it. A request that
    /// came before is answered now. Ends with `shutdown`: what stops needs no other settings.
    ///
    /// Without `read` there is no file. What cannot be read changes nothing. `read` may block.
    pub(crate) fn reload<T: Send + 'static>(
        mut self,
        read: Option<impl Fn() -> Result<T, SettingsError> + Send + Sync + 'static>,
        take_over: impl Fn(T) -> Option<Changes> + Send + 'static,
        shutdown: CancellationToken,
    ) {
        let read = read.map(Arc::new);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    request = self.0.recv() => if request.is_none() {
                        return;
                    },
                }
                let Some(read) = read.clone() else {
                    info!("SIGHUP: there is no settings file to read");
                    continue;
                };
                match tokio::task::spawn_blocking(move || read()).await {
                    Ok(Ok(settings)) => {
                        if let Some(changes) = take_over(settings) {
                            tell(&changes);
                        }
                    }
                    Ok(Err(error)) => {
                        let code = error.code();
                        error!(code, %error, "SIGHUP: the settings cannot be used, nothing changes");
                    }
                    Err(error) => error!(%error, "SIGHUP: the settings were not read, nothing changes"),
                }
            }
        });
    }
}

/// One line for each key.
fn tell(changes: &Changes) {
    if changes.is_empty() {
        info!("SIGHUP: the settings say what runs, nothing changes");
    }
    for Taken { key, old, new } in changes.taken() {
        info!(key, old, new, "SIGHUP: taken over");
    }
    for key in changes.waiting() {
        // Whoever sent the signal may rely on it.
        warn!(key, "SIGHUP: takes effect at the next start: {key}");
    }
}

/// Sends what the process logs to standard error, as `SIGNET_LOG` and `SIGNET_LOG_FORMAT` say.
pub(crate) fn logs(default_filter: &str) -> Outcome {
    use signet_telemetry::logs::{LogSettings, init};
    let settings = LogSettings::from_env(|name| std::env::var(name).ok(), default_filter)?;
    Ok(init(settings)?)
}

/// What every process that holds keys does before it makes or reads one. Each part is worth having alone, so the
/// process goes on without what the system refuses, and says so.
pub(crate) fn harden() {
    if let Err(error) = signet_sys::process::set_non_dumpable() {
        warn!(%error, "other processes of this user may read this one's memory");
    }
    if let Err(error) = signet_sys::process::raise_descriptor_limit() {
        warn!(%error, "the limit on open files stays as it is");
    }
}

/// From the end of a process's work to its own, whatever its threads still wait for.
const BLOCKED_WITHIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_ignored_where_the_mask_says_so() {
        assert!(is_hangup_ignored("Name:\tsignet\nSigIgn:\t0000000000001001\n"));
        assert!(!is_hangup_ignored("SigBlk:\t1\nSigIgn:\t0000000000001000\n"));
        assert!(!is_hangup_ignored(""));
    }
}
