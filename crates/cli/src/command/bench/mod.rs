//! `signet bench`: loads a deployment, to find out what one of its size needs.

mod entry_churn;
mod fleet;
mod issue;
mod latency;
mod made;
mod run;
mod stream;
mod svid;
mod watched;

use crate::args::Global;
use crate::failure::Failure;
use crate::{Outcome, style};
use clap::Subcommand;
use run::End;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError};
use std::path::Path;
use watched::{Pids, Watched};

/// `signet bench ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Fetch SVIDs as fast as the agent hands them out.
    Svid(svid::Svid),
    /// Hold many idle streams, each on a connection of its own.
    Stream(stream::Stream),
    /// Create entries in bulk, then see how soon single changes reach a process.
    EntryChurn(entry_churn::EntryChurn),
    /// Simulate agents and their workloads, in this one process.
    Fleet(fleet::Simulate),
    /// Have certificates signed in batches, as fast as the server signs them.
    Issue(issue::Issue),
}

impl Bench {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Svid(svid) => svid.run(global),
            Self::Stream(stream) => stream.run(global),
            Self::EntryChurn(churn) => churn.run(global),
            Self::Fleet(fleet) => fleet.run(global),
            Self::Issue(issue) => issue.run(global),
        }
    }
}

/// What is loaded.
#[derive(Debug, clap::Args)]
struct Target {
    /// The agent's Workload API.
    #[arg(
        long,
        env = "SPIFFE_ENDPOINT_SOCKET",
        hide_env_values = true,
        value_name = "URL",
        default_value = "unix:///run/signet/agent.sock"
    )]
    socket: String,
    #[command(flatten)]
    pids: Pids,
}

impl Target {
    fn endpoint(&self) -> Outcome<Endpoint> {
        Endpoint::parse(&self.socket).map_err(|e| Failure::from(WorkloadError::from(e)).usage())
    }

    /// A connection of its own.
    async fn connect(&self) -> Outcome<WorkloadClient> {
        WorkloadClient::connect(&self.endpoint()?).await.map_err(|error| {
            Failure::from(error).next(
                "start `signet dev` or `signet agent run`, and name its socket with --socket or \
                 SPIFFE_ENDPOINT_SOCKET",
            )
        })
    }

    /// The processes to measure, as they are now.
    async fn watch(&self, api: &str) -> Outcome<Watched> {
        let endpoint = self.endpoint()?;
        let path: Option<&Path> = match &endpoint {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Tcp(_) => None,
        };
        self.pids.watch(path, api).await
    }
}

/// Facts for people, with a word before them where the measurement was cut short.
fn facts(end: End, lines: &[(String, String)]) -> String {
    let lines: Vec<(&str, String)> = lines
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let shown = style::facts(&lines);
    match end {
        End::Done => shown,
        End::Interrupted => format!("ended early; until then:\n{shown}"),
    }
}
