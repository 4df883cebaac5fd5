use crate::Outcome;
use crate::error::CliError;
use core::future::Future;
use signet_fault::Coded;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Runs a client's work on this thread.
pub(crate) fn client<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?
        .block_on(work)
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

/// Reads the settings again at each SIGHUP and says what came of it. For ever.
///
/// What runs keeps what it started with: ports, sockets and seals cannot change under it. The signal is answered all
/// the same, because unanswered it would end the process.
pub(crate) fn on_hangup<T, E: Coded>(
    path: Option<PathBuf>,
    read: impl Fn(&Path) -> Result<T, E> + Send + 'static,
) -> Outcome {
    let mut hangup = signal(SignalKind::hangup()).map_err(CliError::Runtime)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match path.as_deref().map(&read) {
                None => info!("SIGHUP: there is no settings file to read"),
                Some(Ok(_)) => info!("SIGHUP: the settings are good; they take effect at the next start"),
                Some(Err(error)) => warn!(code = error.code(), %error, "SIGHUP: the settings have mistakes"),
            }
        }
    });
    Ok(())
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
