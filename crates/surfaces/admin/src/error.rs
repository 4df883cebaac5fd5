use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;

/// Why a request was refused at this edge. What the registry or the key ring refuses keeps their codes.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The kernel would not say who calls.
    #[error("who calls is not known")]
    NoCaller,
    /// Not an administrator.
    #[error("user {uid} is not an administrator of this server")]
    NotAdministrator {
        /// The caller's user id.
        uid: u32,
    },
    /// An operator whose roles do not cover it.
    #[error("`{action}` is not allowed to {who}")]
    NotAllowed {
        /// The action's name.
        action: &'static str,
        /// Who asked.
        who: String,
        /// What would have allowed it.
        needs: String,
    },
    /// No such route.
    #[error("there is nothing at this path")]
    NoRoute,
    /// The route exists, for other methods.
    #[error("`{method}` is not a method of this path")]
    Method {
        /// The method.
        method: String,
    },
    /// Longer than is read.
    #[error("{}", too_long(*.max))]
    BodyLength {
        /// The bound.
        max: usize,
    },
    /// Not a type of body that the route takes.
    #[error("a body of type `{given}` is not read here, but {wanted}")]
    MediaType {
        /// What was said, cut to a readable length.
        given: String,
        /// What is read.
        wanted: &'static str,
    },
    /// Not JSON, or not the JSON that is wanted.
    #[error("the body cannot be read at line {line}, column {column}: {why}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// Entries with faults.
    #[error("{faults} faults in {what}, nothing was applied")]
    Faulty {
        /// How many are listed.
        faults: usize,
        /// In what.
        what: &'static str,
    },
    /// A parameter of the path, the query or the header is not what it should be.
    #[error("parameter `{name}` {what}")]
    Parameter {
        /// Its name, cut to a readable length.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// It is not as the caller last saw it.
    #[error("it changed since the version that `if-match` names")]
    Precondition,
    /// The body broke off.
    #[error("the body did not arrive whole")]
    BodyBroken,
    /// The body took too long.
    #[error("the body did not arrive within {seconds} s")]
    BodySlow {
        /// How long was waited.
        seconds: u64,
    },
    /// A defect or a failure that the caller can do nothing about.
    #[error("the server failed to answer")]
    Internal,
}

fn too_long(max: usize) -> String {
    match max {
        0 => "this route takes no body".to_owned(),
        max => format!("the body has more than {max} bytes"),
    }
}

macro_rules! register {
    ($($code:literal $meaning:literal $remedy:literal)*) => {
        /// The codes of this crate.
        pub const REGISTER: &[Entry] = &[$(Entry { code: $code, meaning: $meaning, remedy: $remedy }),*];
    };
}

register! {
    "SGAD001" "caller unknown" "connect from a process of this machine and of this PID namespace"
    "SGAD002" "not an administrator" "run it as root, as the server's user, or as a member of the administrators' group"
    "SGAD003" "role does not allow it" "ask an administrator for the role that allows it"
    "SGAD004" "no such route" "see the routes below /api/v1; the server may be older than the client"
    "SGAD005" "no such method" "use one of the methods that the `allow` header names"
    "SGAD006" "body: length" "send less at once: split the list of entries"
    "SGAD007" "body: broken off" "send it again"
    "SGAD008" "body: too slow" "send it again"
    "SGAD009" "body: media type" "send one of the media types that the message names"
    "SGAD010" "body: form" "mend the body at the place named"
    "SGAD011" "entries: form" "mend all that is listed and send the whole again"
    "SGAD012" "parameter: form" "mend the parameter named"
    "SGAD013" "internal failure" "look for the request id in the server's log"
    "SGAD014" "if-match: changed since" "read it again and repeat the change"
}

impl Coded for AdminError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCaller => "SGAD001",
            Self::NotAdministrator { .. } => "SGAD002",
            Self::NotAllowed { .. } => "SGAD003",
            Self::NoRoute => "SGAD004",
            Self::Method { .. } => "SGAD005",
            Self::BodyLength { .. } => "SGAD006",
            Self::BodyBroken => "SGAD007",
            Self::BodySlow { .. } => "SGAD008",
            Self::MediaType { .. } => "SGAD009",
            Self::Malformed { .. } => "SGAD010",
            Self::Faulty { .. } => "SGAD011",
            Self::Parameter { .. } => "SGAD012",
            Self::Internal => "SGAD013",
            Self::Precondition => "SGAD014",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::NotAllowed { needs, .. } if !needs.is_empty() => format!("it needs {needs}").into(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_register_stands() {
        assert_eq!(signet_fault::flaws(&[super::REGISTER]), []);
    }
}
