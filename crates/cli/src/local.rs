//! A client of an agent's local API.

use crate::Outcome;
use crate::error::CliError;
use crate::failure::Failure;
use core::time::Duration;
use signet_net::client::channel::{self, transport_cause};
use signet_proto::local::v1::why_client::WhyClient;
use signet_proto::local::v1::{ProcessRequest, ProcessResponse};
use signet_workload::{Endpoint, WorkloadError};
use std::path::{Path, PathBuf};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Where an agent's local API is.
#[derive(Clone, Debug)]
pub(crate) struct LocalApi(PathBuf);

impl LocalApi {
    /// At `socket`; without it beside the Workload API at `workload_api`, else at the usual place.
    pub(crate) fn find(socket: Option<&str>, workload_api: Option<&str>) -> Outcome<Self> {
        let address = |url: &str| match Endpoint::parse(url) {
            Ok(Endpoint::Unix(path)) => Ok(path),
            Ok(endpoint) => Err(Failure::from(CliError::NotUnix {
                endpoint: endpoint.to_string(),
            })
            .usage()),
            Err(error) => Err(Failure::from(WorkloadError::from(error)).usage()),
        };
        match (socket, workload_api) {
            (Some(socket), _) => address(socket).map(Self),
            (None, Some(workload_api)) => {
                Ok(Self(signet_agent::local_socket_beside(&address(workload_api)?)))
            }
            (None, None) => Ok(Self(signet_agent::local_socket_beside(Path::new(WORKLOAD_API)))),
        }
    }

    /// Why the process `pid` has an identity, or none.
    pub(crate) async fn process(&self, pid: u32, entries_max: u32) -> Outcome<ProcessResponse> {
        let mut client =
            WhyClient::new(channel::unix(self.0.clone())).max_decoding_message_size(ANSWER_BYTES_MAX);
        let asked = client.process(ProcessRequest { pid, entries_max });
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => Err(CliError::Slow {
                what: format!("the agent at `{}` did not answer", self.0.display()),
                seconds: ANSWER_WITHIN.as_secs(),
            }
            .into()),
        }
    }

    fn failure(&self, status: &Status) -> Failure {
        if let Some(cause) = transport_cause(status) {
            return CliError::NoAgent {
                path: self.0.clone(),
                why: signet_fault::chain(cause),
            }
            .into();
        }
        match status.get_details_error_info() {
            Some(mut info) if status.code() != Code::Unimplemented => Failure {
                next: info.metadata.remove("remedy").unwrap_or_default(),
                code: info.reason,
                what: status.message().to_owned(),
                items: Vec::new(),
                is_usage: false,
            },
            // It is no agent's local socket, or one that does not know the question.
            _ => {
                let server = self.0.display().to_string();
                let why = format!("{}: {}", status.code(), status.message());
                Failure::from(CliError::Answer { server, why })
                    .next("name the agent's local.sock with --socket, and check that agent and command have the same version")
            }
        }
    }
}

/// Where the Workload API is unless somebody says otherwise.
const WORKLOAD_API: &str = "/run/signet/agent.sock";
/// 64 entries with all their selectors are below 4 MiB, and the process's own come on top.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// A large executable takes seconds to hash the first time.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_beside_the_workload_api() {
        let found = |socket, workload_api| {
            LocalApi::find(socket, workload_api).map(|api| api.0.display().to_string())
        };
        assert_eq!(found(None, None).unwrap(), "/run/signet/local.sock");
        assert_eq!(
            found(None, Some("unix:///a/agent.sock")).unwrap(),
            "/a/local.sock"
        );
        assert_eq!(
            found(Some("unix:///b/x.sock"), Some("tcp://127.0.0.1:1")).unwrap(),
            "/b/x.sock"
        );
        for (socket, workload_api) in [
            (Some("/b/x.sock"), None),
            (Some("tcp://127.0.0.1:1"), None),
            (None, Some("tcp://127.0.0.1:1")),
        ] {
            assert!(
                found(socket, workload_api).unwrap_err().is_usage,
                "{socket:?} {workload_api:?}"
            );
        }
    }
}
