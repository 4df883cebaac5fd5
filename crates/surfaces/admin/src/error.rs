use http::StatusCode;
use signet_api::{ApiError, EntryFault, Problem, ProblemItem};
use signet_fault::{Coded, Entry, chain, remedy_of};
use signet_keys::KeysError;
use signet_registry::RegistryError;
use signet_trust::TrustError;
use std::borrow::Cow;

/// Why a request was not done.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The kernel would not say who calls.
    #[error("the caller is not known")]
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
    #[error("nothing at `{path}`")]
    NoRoute {
        /// The path, cut to a readable length.
        path: String,
    },
    /// The route exists, for other methods.
    #[error("`{method}` is not a method of `{path}`")]
    Method {
        /// The method.
        method: String,
        /// The path, cut to a readable length.
        path: String,
    },
    /// The body is longer than the route takes.
    #[error("the body is longer than {max} bytes")]
    BodyLength {
        /// The bound.
        max: usize,
    },
    /// The body did not arrive.
    #[error("the body did not arrive whole")]
    BodyBroken,
    /// The body took too long.
    #[error("the body did not arrive within {seconds} s")]
    BodySlow {
        /// How long was waited.
        seconds: u64,
    },
    /// A body of a kind that the route does not take.
    #[error("the body is `{found}`, this route takes {takes}")]
    MediaType {
        /// What it is.
        found: String,
        /// What it may be.
        takes: &'static str,
    },
    /// The body is not JSON of the right form.
    #[error("the body is not what this route takes: {what}")]
    Body {
        /// What is wrong.
        what: String,
    },
    /// Entries with faults, each of them.
    #[error("{} of the entries cannot be read; nothing was applied", count(.0))]
    Entries(Vec<EntryFault>),
    /// A parameter of the path or the query is not what it should be.
    #[error("parameter `{name}`: {what}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// What the registry says.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What the registry says of entries that came with places of their own.
    #[error("{source}")]
    Placed {
        /// What it says.
        source: RegistryError,
        /// Where each draft stood, from 1.
        lines: Vec<usize>,
    },
    /// What the keys say.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The bundle cannot be written.
    #[error("write the bundle")]
    Trust(#[source] TrustError),
    /// The join string cannot be written.
    #[error("write the join string")]
    Join(#[source] ApiError),
    /// An answer cannot be written.
    #[error("write the answer")]
    Answer,
}

fn count(faults: &[EntryFault]) -> usize {
    let mut lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    lines.dedup();
    lines.len()
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGAD001",
        "caller unknown",
        "connect from a process of this machine and of this PID namespace",
    ),
    entry(
        "SGAD002",
        "not an administrator",
        "run it as root, as the server's user, or as a member of the administrators' group",
    ),
    entry(
        "SGAD003",
        "role does not allow it",
        "ask an administrator for the role that allows it",
    ),
    entry(
        "SGAD004",
        "no such route",
        "see the routes at /api/v1; the server may be older than the client",
    ),
    entry("SGAD005", "no such method", "see which methods the route has"),
    entry("SGAD006", "body: length", "send less at once"),
    entry("SGAD007", "body: broken off", "send it again"),
    entry("SGAD008", "body: too slow", "send it again"),
    entry(
        "SGAD009",
        "body: media type",
        "send the media type that the message names",
    ),
    entry("SGAD010", "body: form", "mend the body as the message says"),
    entry(
        "SGAD011",
        "entries: form",
        "mend the lines listed and send all of them again",
    ),
    entry("SGAD012", "parameter: form", "mend the parameter named"),
    entry(
        "SGAD013",
        "bundle cannot be written",
        "this is a defect in the server: report it",
    ),
    entry(
        "SGAD014",
        "answer cannot be written",
        "this is a defect in the server: report it",
    ),
];

impl Coded for AdminError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCaller => "SGAD001",
            Self::NotAdministrator { .. } => "SGAD002",
            Self::NotAllowed { .. } => "SGAD003",
            Self::NoRoute { .. } => "SGAD004",
            Self::Method { .. } => "SGAD005",
            Self::BodyLength { .. } => "SGAD006",
            Self::BodyBroken => "SGAD007",
            Self::BodySlow { .. } => "SGAD008",
            Self::MediaType { .. } => "SGAD009",
            Self::Body { .. } => "SGAD010",
            Self::Entries(_) => "SGAD011",
            Self::Parameter { .. } => "SGAD012",
            Self::Trust(_) => "SGAD013",
            Self::Answer => "SGAD014",
            Self::Registry(e) | Self::Placed { source: e, .. } => e.code(),
            Self::Keys(e) => e.code(),
            Self::Join(e) => e.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::NotAllowed { needs, .. } => format!("it needs {needs}").into(),
            Self::Registry(e) | Self::Placed { source: e, .. } => e.remedy(),
            Self::Keys(e) => e.remedy(),
            Self::Join(e) => e.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

impl AdminError {
    /// The HTTP status and the kind of problem in a few words.
    pub(crate) fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoCaller | Self::NotAdministrator { .. } | Self::NotAllowed { .. } => {
                (StatusCode::FORBIDDEN, "not allowed")
            }
            Self::NoRoute { .. } => (StatusCode::NOT_FOUND, "no such route"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "no such method"),
            Self::BodyLength { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body too long"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "body broken off"),
            Self::BodySlow { .. } => (StatusCode::REQUEST_TIMEOUT, "body too slow"),
            Self::MediaType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "other media type"),
            Self::Body { .. } | Self::Entries(_) | Self::Parameter { .. } => {
                (StatusCode::BAD_REQUEST, "malformed request")
            }
            Self::Registry(e) | Self::Placed { source: e, .. } => registry_status(e),
            Self::Keys(_) | Self::Trust(_) | Self::Join(_) | Self::Answer => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal failure")
            }
        }
    }

    /// The problem document, `instance` and request id still to be filled in.
    ///
    /// An operator is told what failed inside: whoever gets this far may read everything anyway.
    pub(crate) fn problem(&self) -> Problem {
        let (status, title) = self.status();
        let mut problem = Problem::of(status.as_u16(), title, self);
        if status.is_server_error() {
            problem.detail = chain(self);
        }
        problem.errors = match self {
            Self::Entries(faults) => faults.iter().cloned().map(item(None)).collect(),
            Self::Registry(e) => registry_faults(e, &[]),
            Self::Placed { source, lines } => registry_faults(source, lines),
            _ => Vec::new(),
        };
        problem
    }
}

fn registry_status(error: &RegistryError) -> (StatusCode, &'static str) {
    use RegistryError as E;
    match error {
        E::InvalidEntries(_) | E::InvalidJoinToken(_) | E::Count { .. } | E::Reason { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "not valid")
        }
        E::EntryUnknown { .. } | E::NodeUnknown { .. } => (StatusCode::NOT_FOUND, "no such thing"),
        E::EntryExists { .. }
        | E::EntryTwice { .. }
        | E::IdentityOfNode { .. }
        | E::IdentityOfEntry { .. }
        | E::Contended { .. } => (StatusCode::CONFLICT, "conflict"),
        E::Changed => (StatusCode::PRECONDITION_FAILED, "changed meanwhile"),
        E::NodeBanned { .. } => (StatusCode::CONFLICT, "banned"),
        E::Commit(_) | E::Follow(_) => (StatusCode::SERVICE_UNAVAILABLE, "not now"),
        // 500 and not 503: whether it was done is open, so it must not simply be sent again.
        E::Unknown(_) => (StatusCode::INTERNAL_SERVER_ERROR, "outcome unknown"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal failure"),
    }
}

/// The registry's problems, placed where each draft stood: `lines`, or its position.
fn registry_faults(error: &RegistryError, lines: &[usize]) -> Vec<ProblemItem> {
    let line_of = |index: usize| lines.get(index).copied().unwrap_or(index + 1);
    let fault = |line, field: Option<String>, message| EntryFault {
        line,
        column: None,
        field,
        message,
    };
    match error {
        RegistryError::InvalidEntries(all) => all
            .iter()
            .flat_map(|of| of.problems.iter().map(move |problem| (of.index, problem)))
            .map(|(index, problem)| {
                fault(
                    line_of(index),
                    Some(problem.field.clone()),
                    problem.message.clone(),
                )
            })
            .map(item(None))
            .collect(),
        RegistryError::InvalidJoinToken(problems) => problems
            .iter()
            .map(|problem| fault(1, Some(problem.field.clone()), problem.message.clone()))
            .map(item(None))
            .collect(),
        RegistryError::EntryExists { index, .. } | RegistryError::EntryTwice { index, .. } => {
            let said = fault(line_of(*index), None, error.to_string());
            vec![item(Some(error.code()))(said)]
        }
        _ => Vec::new(),
    }
}

fn item(code: Option<&'static str>) -> impl Fn(EntryFault) -> ProblemItem {
    move |fault| ProblemItem {
        code: code.map(str::to_owned),
        fault,
    }
}
