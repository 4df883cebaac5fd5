use crate::metrics::Reason;
use crate::{AgentError, IssueError};
use signet_fault::Coded as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a caller of the Workload API is told of `error`: the one place that decides it.
///
/// The code of the error goes into `ErrorInfo.reason`. Details about the node stay in the agent's log.
pub(super) fn status(error: &AgentError) -> Status {
    let (code, _) = judge(error);
    let message = match error {
        AgentError::Issue(IssueError::Away(_) | IssueError::Protocol(_)) => {
            "the server cannot be reached".to_owned()
        }
        AgentError::Issued(_) | AgentError::Key(_) | AgentError::Certificate(_) => {
            "internal error".to_owned()
        }
        error => error.to_string(),
    };
    let details = ErrorDetails::with_error_info(error.code(), ERROR_DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// The gRPC code (SPIFFE Workload Endpoint §6, Workload API §4 to §6) and the reason to count.
pub(super) fn judge(error: &AgentError) -> (Code, Reason) {
    match error {
        AgentError::Metadata => (Code::InvalidArgument, Reason::Metadata),
        AgentError::Request(_)
        | AgentError::SpiffeId(_)
        | AgentError::Audience(_)
        | AgentError::TokenMissing => (Code::InvalidArgument, Reason::Request),
        AgentError::Token(_) => (Code::InvalidArgument, Reason::Token),
        AgentError::Unimplemented => (Code::Unimplemented, Reason::Unsupported),
        AgentError::NoIdentity => (Code::PermissionDenied, Reason::NoIdentity),
        AgentError::NotEntitled(_) => (Code::PermissionDenied, Reason::NotEntitled),
        // A process that is not the one that connected has no identity here; one that cannot be looked at may have.
        AgentError::Peer(signet_sys::SysError::Changed(_) | signet_sys::SysError::PeerGone { .. }) => {
            (Code::PermissionDenied, Reason::Peer)
        }
        AgentError::Peer(_) | AgentError::PeerUnknown | AgentError::AttestorFailed => {
            (Code::Unavailable, Reason::Peer)
        }
        AgentError::Issue(IssueError::Refused { retry: false, .. }) => {
            (Code::PermissionDenied, Reason::NotEntitled)
        }
        AgentError::Initialising | AgentError::Draining | AgentError::Busy | AgentError::Issue(_) => {
            (Code::Unavailable, Reason::Unavailable)
        }
        _ => (Code::Internal, Reason::Unavailable),
    }
}

const ERROR_DOMAIN: &str = "signet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_code_is_in_the_details_and_the_servers_words_are_not() {
        let away = AgentError::Issue(IssueError::Away("connect 10.0.0.7:8445: refused".to_owned()));
        let status = status(&away);
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("10.0.0.7"));
        let info = status.get_details_error_info().expect("details");
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("SGAG024", "signet")
        );
    }
}
