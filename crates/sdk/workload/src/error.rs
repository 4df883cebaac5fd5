use crate::EndpointError;
use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;

/// Why a call of the Workload API gave nothing.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The address is not one of an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nobody answers there.
    #[error("no Workload API answers at {endpoint}: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The endpoint knows the caller and has no identity for it.
    #[error("no identity for this process: {message}")]
    NoIdentity {
        /// What the endpoint said.
        message: String,
    },
    /// The endpoint is not ready, or has too much to do; the same call may succeed soon.
    #[error("the Workload API is not ready: {message}")]
    Unavailable {
        /// What the endpoint said.
        message: String,
    },
    /// The endpoint refused what was asked.
    #[error("refused ({code}): {message}")]
    Refused {
        /// The gRPC status.
        code: &'static str,
        /// What the endpoint said.
        message: String,
    },
    /// The endpoint answered something that the standard does not allow.
    #[error("malformed answer: {field} {reason}")]
    Malformed {
        /// Which part of the answer.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A proof of possession could not be made.
    #[error("make proof of possession: {reason}")]
    Proof {
        /// Why.
        reason: String,
    },
    /// The stream ended without a message.
    #[error("the stream ended before its first message")]
    Ended,
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGWL001",
        meaning: "the endpoint is not known",
        remedy: "set SPIFFE_ENDPOINT_SOCKET, such as unix:///run/signet/agent.sock",
    },
    Entry {
        code: "SGWL002",
        meaning: "endpoint address: scheme",
        remedy: "write unix:///ABSOLUTE/PATH or tcp://IP:PORT",
    },
    Entry {
        code: "SGWL003",
        meaning: "endpoint address: a part too much",
        remedy: "write unix:///ABSOLUTE/PATH (three slashes) or tcp://IP:PORT and nothing more",
    },
    Entry {
        code: "SGWL004",
        meaning: "endpoint address: path",
        remedy: "name the socket by its absolute path: unix:///run/signet/agent.sock",
    },
    Entry {
        code: "SGWL005",
        meaning: "endpoint address: IP and port",
        remedy: "write an IP address and a port from 1 to 65535; names are not resolved",
    },
    Entry {
        code: "SGWL006",
        meaning: "the Workload API does not answer",
        remedy: "check that an agent runs and that SPIFFE_ENDPOINT_SOCKET names its socket",
    },
    Entry {
        code: "SGWL007",
        meaning: "no identity for this process",
        remedy: "create an entry whose selectors match this process: signet entry create",
    },
    Entry {
        code: "SGWL008",
        meaning: "the Workload API is not ready",
        remedy: "try again; see the agent's log if it stays so",
    },
    Entry {
        code: "SGWL009",
        meaning: "the Workload API refused the call",
        remedy: "change what is asked for as the message says",
    },
    Entry {
        code: "SGWL010",
        meaning: "the Workload API answered what the standard does not allow",
        remedy: "check that the socket belongs to a SPIFFE Workload API",
    },
    Entry {
        code: "SGWL011",
        meaning: "the stream ended without a message",
        remedy: "try again; see the agent's log if it stays so",
    },
    Entry {
        code: "SGWL012",
        meaning: "a proof of possession for a wit-svid could not be made",
        remedy: "fetch the wit-svid and its key anew",
    },
];

impl Coded for WorkloadError {
    fn code(&self) -> &'static str {
        match self {
            Self::Endpoint(error) => error.code(),
            Self::Unreachable { .. } => "SGWL006",
            Self::NoIdentity { .. } => "SGWL007",
            Self::Unavailable { .. } => "SGWL008",
            Self::Refused { .. } => "SGWL009",
            Self::Malformed { .. } => "SGWL010",
            Self::Ended => "SGWL011",
            Self::Proof { .. } => "SGWL012",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

impl WorkloadError {
    pub(crate) fn malformed(field: &'static str, reason: impl ToString) -> Self {
        Self::Malformed {
            field,
            reason: reason.to_string(),
        }
    }

    /// Whether the endpoint does not offer the call at all, so that trying again is useless (rule 25).
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Endpoint(_) => true,
            Self::Refused { code, .. } => matches!(*code, "Unimplemented" | "InvalidArgument"),
            _ => false,
        }
    }
}

impl From<tonic::Status> for WorkloadError {
    fn from(status: tonic::Status) -> Self {
        let message = status.message().to_owned();
        // A status with a cause did not come from the endpoint: the connection broke, as when an agent ends.
        let is_broken = std::error::Error::source(&status).is_some();
        match status.code() {
            tonic::Code::PermissionDenied => Self::NoIdentity { message },
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => Self::Unavailable { message },
            tonic::Code::Unknown | tonic::Code::Cancelled if is_broken => Self::Unavailable { message },
            code => Self::Refused {
                code: code_name(code),
                message,
            },
        }
    }
}

fn code_name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "Cancelled",
        tonic::Code::InvalidArgument => "InvalidArgument",
        tonic::Code::NotFound => "NotFound",
        tonic::Code::AlreadyExists => "AlreadyExists",
        tonic::Code::ResourceExhausted => "ResourceExhausted",
        tonic::Code::FailedPrecondition => "FailedPrecondition",
        tonic::Code::Aborted => "Aborted",
        tonic::Code::OutOfRange => "OutOfRange",
        tonic::Code::Unimplemented => "Unimplemented",
        tonic::Code::Internal => "Internal",
        tonic::Code::DataLoss => "DataLoss",
        tonic::Code::Unauthenticated => "Unauthenticated",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    #[test]
    fn a_connection_that_breaks_is_one_to_make_again() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = WorkloadError::from(Status::from_error(Box::new(cause)));
        assert!(matches!(broken, WorkloadError::Unavailable { .. }), "{broken:?}");
        // A call that was never sent, because the connection was gone by then.
        let mut unsent = Status::cancelled("operation was canceled");
        unsent.set_source(std::sync::Arc::new(std::io::Error::other("closed")));
        let unsent = WorkloadError::from(unsent);
        assert!(matches!(unsent, WorkloadError::Unavailable { .. }), "{unsent:?}");
        // What the endpoint itself says has no cause here.
        let said = WorkloadError::from(Status::unknown("?"));
        assert!(
            matches!(said, WorkloadError::Refused { code: "Unknown", .. }),
            "{said:?}"
        );
    }
}
