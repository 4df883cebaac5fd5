use crate::metrics::{Holder, Reason};
use crate::{AgentError, IssueError};
use signet_fault::Coded as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a caller on the agent's socket is told of `error`: the one place that decides it.
///
/// The code of the error goes into `ErrorInfo.reason`. Details about the node stay in the agent's log.
pub(crate) fn status(error: &AgentError) -> Status {
    let (code, _) = judge(error);
    let message = public_message(error);
    let details = ErrorDetails::with_error_info(error.code(), ERROR_DOMAIN, []);
    Status::with_error_details(code, message, details)
}

/// `error` without details about the node.
pub(crate) fn public_message(error: &AgentError) -> String {
    match error {
        AgentError::Issue(IssueError::Away(_) | IssueError::Protocol(_)) => {
            "the server cannot be reached".to_owned()
        }
        AgentError::Issued(_) | AgentError::Key(_) | AgentError::Certificate(_) => {
            "internal error".to_owned()
        }
        error => error.to_string(),
    }
}

/// The gRPC code (SPIFFE Workload Endpoint §6, Workload API §4 to §6) and the reason to count.
pub(crate) fn judge(error: &AgentError) -> (Code, Reason) {
    match error {
        AgentError::Metadata => (Code::InvalidArgument, Reason::Metadata),
        AgentError::Request(_)
        | AgentError::SpiffeId(_)
        | AgentError::Audience(_)
        | AgentError::TokenMissing
        | AgentError::SecretRequest(_)
        | AgentError::SecretAll(_) => (Code::InvalidArgument, Reason::Request),
        AgentError::SecretUnknown(_) => (Code::NotFound, Reason::NotEntitled),
        AgentError::SecretPace => (Code::ResourceExhausted, Reason::Request),
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
        // All together too much is load that is shed; too much of one is for that one to mend.
        AgentError::Limited {
            holder: Holder::Node, ..
        } => (Code::Unavailable, Reason::Limited),
        AgentError::Limited { .. } => (Code::ResourceExhausted, Reason::Limited),
        AgentError::Initialising | AgentError::Draining | AgentError::Issue(_) => {
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
    fn spiffe_11_a_node_that_sheds_load_says_unavailable_and_a_process_at_its_limit_hears_which() {
        let limited = |holder| {
            let limit = crate::metrics::Limit::Streams;
            status(&AgentError::Limited {
                limit,
                holder,
                max: 9,
            })
        };
        let reason = |status: &Status| status.get_details_error_info().expect("details").reason;
        let node = limited(Holder::Node);
        assert_eq!(
            (node.code(), reason(&node).as_str()),
            (Code::Unavailable, "SGAG003")
        );
        for holder in [Holder::Process, Holder::User] {
            let own = limited(holder);
            assert_eq!(
                (own.code(), reason(&own).as_str()),
                (Code::ResourceExhausted, "SGAG027")
            );
            assert!(
                own.message()
                    .contains("9 open streams: `limits.process_streams_max`"),
                "{own}"
            );
        }
    }

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
