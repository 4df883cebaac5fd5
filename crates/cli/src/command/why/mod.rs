//! `signet why`: why a process has an identity, or none.

mod report;
mod shown;

use crate::args::Global;
use crate::error::CliError;
use crate::failure::Failure;
use crate::local::LocalApi;
use crate::{Outcome, output, runtime};
use report::Report;

/// `signet why`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 0: the process has an identity. 1: it has none, and the line on standard error says what to \
                  do. Root, the agent's user and the owner of the process are answered; the owner is shown those \
                  entries alone that have a selector in common with the process. Nothing is issued or changed.",
    group = clap::ArgGroup::new("asked").required(true)
)]
pub(crate) struct Why {
    /// The process, by its number on the node that the agent runs on.
    #[arg(long, value_name = "N", group = "asked", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// A decision or trace, by its id (not in this version).
    #[arg(value_name = "DECISION-ID|TRACE-ID", group = "asked")]
    id: Option<String>,
    /// The agent's local API. Without, it is looked for beside the Workload API that SPIFFE_ENDPOINT_SOCKET names, else
    /// at unix:///run/signet/local.sock.
    #[arg(long, value_name = "URL")]
    socket: Option<String>,
    /// Show at most so many entries: those that match, then the nearest.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    entries: u32,
}

impl Why {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let Some(pid) = self.pid else {
            let what = format!(
                "`signet why {}`: an explanation of decisions and traces",
                signet_fault::shown(self.id.as_deref().unwrap_or_default(), ID_CHARS_MAX)
            );
            return Err(Failure::from(CliError::Absent { what }).next("ask about a process with --pid N"));
        };
        let workload_api = std::env::var("SPIFFE_ENDPOINT_SOCKET")
            .ok()
            .filter(|url| !url.is_empty());
        let api = LocalApi::find(self.socket.as_deref(), workload_api.as_deref())?;
        let answer = runtime::client(async move { api.process(pid, self.entries).await })?;
        let report = Report::of(answer)?;
        output::result(global.output, &report, shown::text)?;
        match report.failure() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

/// As much of an id as is shown.
const ID_CHARS_MAX: usize = 64;
