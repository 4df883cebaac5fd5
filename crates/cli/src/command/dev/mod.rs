//! `signet dev`: everything in one process.

mod demo;
mod ready;
mod setup;

use crate::args::Global;
use crate::error::CliError;
use crate::failure::Failure;
use crate::file::{self, PrivateDir};
use crate::output::{self, Format};
use crate::{Outcome, clock, runtime};
use ready::Ready;
use signet_id::TrustDomain;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `signet dev`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --dir, everything is in memory and in a private directory that is removed at the end. \
                  Ports for parts that do not exist yet are accepted and not opened; their addresses are null."
)]
pub(crate) struct Dev {
    /// Keep the state here. The key that seals it lies beside it: for a laptop, not for a server.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The trust domain.
    #[arg(long, value_name = "NAME", default_value = "dev.test")]
    trust_domain: TrustDomain,
    /// Public HTTPS; 0 takes any free port.
    #[arg(long, value_name = "N", default_value_t = 8443)]
    http_port: u16,
    /// HTTPS with client certificates; 0 takes any free port.
    #[arg(long, value_name = "N", default_value_t = 8444)]
    mtls_port: u16,
    /// Agents; 0 takes any free port.
    #[arg(long, value_name = "N", default_value_t = 8445)]
    agent_port: u16,
    /// The console; 0 takes any free port.
    #[arg(long, value_name = "N", default_value_t = 8440)]
    console_port: u16,
    /// Metrics and health; 0 takes any free port.
    #[arg(long, value_name = "N", default_value_t = 8442)]
    metrics_port: u16,
    /// Write the JSON object here when the first identity can be fetched. The file appears whole.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Without the two demo services.
    #[arg(long)]
    no_demo: bool,
}

/// The longest name of a socket in the directory: `/agent.sock`.
const SOCKET_NAME_BYTES: usize = "/agent.sock".len();

/// Where `signet dev` keeps its sockets and state.
enum Home {
    /// Removed at the end.
    Private(PrivateDir),
    /// The user's own.
    Named(PathBuf),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Self::Private(dir) => dir.path(),
            Self::Named(path) => path,
        }
    }
}

impl Dev {
    pub(crate) fn run(self, global: &Global, started: Instant) -> Outcome {
        runtime::logs("warn")?;
        let home = match &self.dir {
            Some(dir) => Home::Named(file::own_dir(dir)?),
            None => Home::Private(PrivateDir::make()?),
        };
        let max = signet_net::SOCKET_PATH_BYTES_MAX;
        if home.path().as_os_str().len() + SOCKET_NAME_BYTES > max {
            let path = home.path().to_path_buf();
            return Err(CliError::DirectoryLength { path, max }.into());
        }
        runtime::harden();
        runtime::service(self.serve(global, home.path(), started))
    }

    async fn serve(&self, global: &Global, dir: &Path, started: Instant) -> Outcome {
        let (signal, closed) = (runtime::stop_signal()?, runtime::terminal_closed()?);
        let stop = async {
            tokio::select! {
                _ = signal => {}
                () = closed => {}
            }
        };
        tokio::pin!(stop);
        let clock = clock::system();
        let wish = setup::Wish {
            dir,
            is_kept: self.dir.is_some(),
            trust_domain: &self.trust_domain,
            https: loopback(self.http_port),
            agents: loopback(self.agent_port),
            metrics: loopback(self.metrics_port),
        };
        let running = tokio::select! {
            running = setup::start(&wish, clock.clone()) => running.map_err(about_ports)?,
            _ = &mut stop => return Ok(()),
        };
        let ready = Ready::of(&running, &wish, started);
        if let Some(path) = &self.ready_file {
            let line = serde_json::to_string(&ready).unwrap_or_default() + "\n";
            file::write(path, line.as_bytes(), file::Readers::Owner)?;
        }
        output::result(global.output, &ready, |ready| {
            ready.shown(&running.user_id, !self.no_demo)
        })?;
        let demo = async {
            if self.no_demo {
                return std::future::pending().await;
            }
            // With JSON, standard output holds the one document and nothing else.
            let is_told = global.output == Format::Text;
            demo::run(&running, clock.clone(), is_told).await
        };
        let outcome = tokio::select! {
            _ = &mut stop => Ok(()),
            outcome = demo => outcome,
            () = running.failed() => Ok(()),
        };
        let stopped = running.stop().await;
        if let Some(path) = &self.ready_file {
            // It says where to find what is gone now.
            let _ = std::fs::remove_file(path);
        }
        outcome.and(stopped)
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port that is taken: here the way out is a flag, not a setting.
fn about_ports(failure: Failure) -> Failure {
    if failure.code == "SGNE008" {
        return failure.next(
            "stop its holder, or choose other ports: --http-port 0 --agent-port 0 --metrics-port 0 takes any that are \
             free",
        );
    }
    failure
}
