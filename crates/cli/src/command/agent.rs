use crate::command::config;
use crate::error::CliError;
use crate::failure::Failure;
use crate::{Outcome, clock, file, notify, runtime};
use clap::Subcommand;
use core::time::Duration;
use signet_agent::{Agent, AgentError, AgentSettings, Handle, Launch, Pace};
use signet_settings::{HostPort, SettingsError};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// `signet agent ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Run the agent until SIGTERM or Ctrl-C. A new node needs a join string: from --join-file, the settings or the
    /// variable SIGNET_JOIN.
    Run(Run),
}

/// `signet agent run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Its settings; without, everything has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server, in place of those that the join string names.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<HostPort>,
    /// A file that holds a join string; - reads standard input.
    #[arg(long, value_name = "FILE")]
    join_file: Option<PathBuf>,
    /// The socket of the Workload API.
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Where the node's key and identity are kept.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state_dir: Option<PathBuf>,
    /// Replace the agent that runs on the same state directory, without a break for workloads: it goes on until this one
    /// is ready, hands its sockets over and ends. Where none runs, start as usual.
    #[arg(long)]
    take_over: bool,
}

/// The longest join string that is read, with room for a comment's worth of white space.
const JOIN_BYTES_MAX: u64 = 64 << 10;

impl AgentCommand {
    pub(crate) fn run(self) -> Outcome {
        let Self::Run(run) = self;
        runtime::logs("info")?;
        let settings = run.settings().map_err(config::failure)?;
        // A file named on the command line must be there; that of the settings may be gone once the node has joined.
        let join = match &run.join_file {
            Some(path) => Some(join_string(path)?),
            None => std::env::var("SIGNET_JOIN").ok().filter(|text| !text.is_empty()),
        };
        if let Some(dir) = &settings.state_dir {
            file::make_parents(dir)?;
        }
        runtime::harden();
        runtime::on_one_thread(async {
            let stop = runtime::stop_signal()?;
            tokio::pin!(stop);
            let hangups = runtime::Hangups::listen()?;
            let shutdown = CancellationToken::new();
            let agent = tokio::select! {
                biased;
                started = run.start(settings, join.as_deref(), shutdown.clone()) => started?,
                signal = &mut stop => {
                    info!(signal, "stopping before anything was served");
                    return Ok(());
                }
            };
            notify::tell("READY=1");
            tokio::spawn(let_go_of_start(agent.ready()));
            let reloader = agent.reloader();
            let read = run.config.is_some().then_some(move || run.settings());
            hangups.reload(read, move |new| reloader.take_over(new), shutdown.clone());
            let ended = agent.wait();
            tokio::pin!(ended);
            tokio::select! {
                signal = &mut stop => {
                    info!(signal, "stopping");
                    notify::tell("STOPPING=1");
                    shutdown.cancel();
                }
                ended = &mut ended => return Ok(ended?),
            }
            match tokio::time::timeout(STOP_WITHIN, ended).await {
                Ok(ended) => Ok(ended?),
                // Calls that are still open end with the process.
                Err(_) => Ok(()),
            }
        })
    }
}

impl Run {
    async fn start(
        &self,
        settings: AgentSettings,
        join: Option<&str>,
        shutdown: CancellationToken,
    ) -> Result<Handle, AgentError> {
        let launch = Launch {
            settings,
            join,
            clock: clock::system(),
            pace: Pace::default(),
            shutdown,
        };
        if self.take_over {
            Agent::take_over(launch).await
        } else {
            Agent::start(launch).await
        }
    }

    /// What the file says, and above it what the command line says.
    fn settings(&self) -> Result<AgentSettings, SettingsError> {
        let mut settings = match &self.config {
            Some(path) => signet_settings::load::<AgentSettings>(path)?,
            None => AgentSettings::default(),
        };
        if let Some(server) = &self.server {
            settings.servers = vec![server.clone()];
        }
        if let Some(socket) = &self.socket {
            settings.workload_api.path.clone_from(socket);
        }
        if let Some(dir) = &self.state_dir {
            settings.state_dir = Some(dir.clone());
        }
        Ok(settings)
    }
}

/// Lets go of the code that only a start needs, once `ready` says that there is a state and workloads that waited for it
/// were told of it.
async fn let_go_of_start(ready: impl Future<Output = Result<(), AgentError>>) {
    if ready.await.is_err() {
        return;
    }
    tokio::time::sleep(STARTED_WITHIN).await;
    match tokio::task::spawn_blocking(signet_sys::memory::let_go_of_code).await {
        Ok(Ok(bytes)) => debug!(bytes, "let go of the code in memory"),
        // Nothing depends on it.
        Ok(Err(error)) => debug!(%error, "the code stays in memory"),
        Err(_) => {}
    }
}

/// The join string in the file `path`.
fn join_string(path: &Path) -> Outcome<String> {
    let text = file::read(path, JOIN_BYTES_MAX)?;
    if text.trim().is_empty() {
        // What `join-token create > FILE` leaves when it fails.
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty");
        let refused = Failure::from(CliError::Read {
            path: path.into(),
            source,
        });
        return Err(refused.next("make a join string with `signet node join-token create`"));
    }
    Ok(text)
}

const STARTED_WITHIN: Duration = Duration::from_secs(5);
/// From the signal to the end of the process, whatever callers do.
const STOP_WITHIN: Duration = Duration::from_secs(9);
