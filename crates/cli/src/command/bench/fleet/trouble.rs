//! What goes wrong for a simulated agent.

use signet_fault::Coded;
use signet_net::client::channel::transport_cause;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why something failed.
pub(crate) struct Trouble {
    /// The code that the server gave, that of what failed here, or the gRPC status; counted by it.
    pub(crate) name: String,
    /// Whether no later attempt can mend it.
    pub(super) is_final: bool,
}

impl Trouble {
    pub(super) fn of(error: &impl Coded) -> Self {
        Self::passing(error.code())
    }

    /// What may not happen again.
    pub(super) fn passing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_final: false,
        }
    }

    /// What a server refused for one item of a call.
    pub(crate) fn refusal(code: &str, is_final: bool) -> Self {
        Self {
            name: bounded(code),
            is_final,
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        if let Some(cause) = transport_cause(&status) {
            return Self::of(cause);
        }
        let said = status.get_details_error_info();
        Self {
            name: said.map_or_else(|| format!("{:?}", status.code()), |info| bounded(&info.reason)),
            is_final: matches!(
                status.code(),
                Code::PermissionDenied
                    | Code::Unauthenticated
                    | Code::InvalidArgument
                    | Code::FailedPrecondition
                    | Code::AlreadyExists
                    | Code::NotFound
                    | Code::Unimplemented
            ),
        }
    }
}

/// No answer came in time.
pub(super) const NO_ANSWER: &str = "no answer";

/// A server's word, as far as it can be a code.
fn bounded(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_and_an_outage_is_not() {
        let trouble = Trouble::from(Status::permission_denied("no"));
        assert!(trouble.is_final && trouble.name == "PermissionDenied");
        let trouble = Trouble::from(Status::unavailable("later"));
        assert!(!trouble.is_final && trouble.name == "Unavailable");
        let trouble = Trouble::from(Status::resource_exhausted("slower"));
        assert!(!trouble.is_final);
    }

    #[test]
    fn a_name_from_a_server_is_short_and_printable() {
        assert_eq!(bounded("SGRG010"), "SGRG010");
        assert_eq!(bounded(&"x\n\u{1b}".repeat(100)).len(), 32);
    }
}
