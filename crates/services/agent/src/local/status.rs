use crate::AgentError;
use crate::metrics::Reason;
use signet_fault::Coded as _;
use signet_sys::SysError;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a caller of the local API is told of `error`. Its code goes into `ErrorInfo.reason`, what to do beside it.
pub(super) fn status(error: &AgentError) -> Status {
    let (code, _) = judge(error);
    let remedy = HashMap::from([("remedy".to_owned(), error.remedy().into_owned())]);
    let details = ErrorDetails::with_error_info(error.code(), ERROR_DOMAIN, remedy);
    Status::with_error_details(code, signet_fault::chain(error), details)
}

/// The gRPC code and the reason to count.
pub(super) fn judge(error: &AgentError) -> (Code, Reason) {
    match error {
        AgentError::NotYours => (Code::PermissionDenied, Reason::NotOwner),
        AgentError::NoProcess(_) => (Code::NotFound, Reason::Request),
        // Of the caller itself.
        AgentError::Peer(SysError::Changed(_) | SysError::PeerGone { .. }) => {
            (Code::PermissionDenied, Reason::Peer)
        }
        AgentError::Peer(_) | AgentError::PeerUnknown | AgentError::AttestorFailed => {
            (Code::Unavailable, Reason::Peer)
        }
        AgentError::ProcessChanged(_) => (Code::Unavailable, Reason::Request),
        AgentError::Draining => (Code::Unavailable, Reason::Unavailable),
        _ => (Code::Internal, Reason::Unavailable),
    }
}

const ERROR_DOMAIN: &str = "signet";
