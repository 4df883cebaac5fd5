//! The one place where causes become HTTP answers.

use crate::AdminError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use signet_api::{EntryFault, Problem, ProblemItem};
use signet_authority::IssueError;
use signet_fault::{Coded, chain};
use signet_keys::KeysError;
use signet_net::NetError;
use signet_registry::{EntryProblems, RegistryError};
use signet_store::{Cause, CommitError, Invalid};

/// Why a request is not done: the problem document, as far as it is known before the reply is finished.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) problem: Box<Problem>,
    retry: bool,
    /// For the operator, where it is more than the caller reads.
    pub(crate) cause: Option<String>,
}

impl Refusal {
    fn of(status: StatusCode, title: &str, error: &dyn Coded) -> Self {
        Self {
            problem: Box::new(Problem::of(status.as_u16(), title, error)),
            retry: false,
            cause: None,
        }
    }

    /// With these faults, at most [`FAULTS_MAX`] of them.
    pub(crate) fn with_faults(mut self, faults: impl IntoIterator<Item = EntryFault>) -> Self {
        let items = faults.into_iter().map(|fault| ProblemItem { code: None, fault });
        self.problem.errors.extend(items);
        self.problem.errors.truncate(FAULTS_MAX);
        self
    }

    fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = detail.into();
        self
    }

    fn with_cause(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(chain(error));
        self
    }

    fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Our own failure, which the caller learns nothing about.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        Self::from(AdminError::Internal).with_cause(error)
    }

    /// Entries with `faults`: JSON that is none is 400, an entry that says what it may not is 422.
    pub(crate) fn faulty(what: &'static str, mut faults: Vec<EntryFault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        let status = if faults.iter().any(|fault| fault.field.is_none()) {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        let count = faults.len();
        let error = match faults.as_slice() {
            [only] if only.field.is_none() => AdminError::Malformed {
                line: only.line.max(1),
                column: only.column.unwrap_or(1),
                why: only.message.clone(),
            },
            _ => AdminError::Faulty { faults: count, what },
        };
        let refusal = Self::of(status, "not valid", &error).with_faults(faults);
        match refusal.problem.errors.as_slice() {
            [only] if only.fault.field.is_some() => {
                let detail = only.fault.to_string();
                refusal.with_detail(detail)
            }
            _ => refusal,
        }
    }

    /// A part of a wish for a credential that cannot be read.
    pub(crate) fn of_mint(field: &str, error: &dyn Coded) -> Self {
        let fault = EntryFault {
            line: 0,
            column: None,
            field: Some(field.to_owned()),
            same_as: None,
            message: chain(error),
        };
        Self::of(StatusCode::UNPROCESSABLE_ENTITY, "not valid", error).with_faults([fault])
    }

    /// What the registry said of a list whose entries stood at `lines`.
    pub(crate) fn of_list(error: RegistryError, lines: &[usize]) -> Self {
        let line = |index: usize| lines.get(index).copied().unwrap_or(0);
        match error {
            RegistryError::InvalidEntries(bad) => {
                let faults = bad.iter().flat_map(|entry| faults_of(entry, lines));
                Self::faulty("the entries", faults.collect())
            }
            RegistryError::EntryExists { index, existing } => {
                let message =
                    format!("says the same as entry `{existing}`: same identity, parent and selectors");
                Self::exists(&error, line(index), None, message)
            }
            RegistryError::EntryTwice { index, first } => {
                let (first, message) = same_as(line(first));
                Self::exists(&error, line(index), first, message)
            }
            error => error.into(),
        }
    }

    fn exists(error: &RegistryError, line: usize, same_as: Option<usize>, message: String) -> Self {
        let fault = EntryFault {
            line,
            column: None,
            field: None,
            same_as,
            message,
        };
        let detail = fault.to_string();
        Self::of(StatusCode::CONFLICT, "exists already", error)
            .with_detail(detail)
            .with_faults([fault])
    }
}

/// The most faults that one answer lists.
pub(crate) const FAULTS_MAX: usize = 1_000;

/// The faults of one draft of a list whose entries stood at `lines`; without lines, a fault has no place.
pub(crate) fn faults_of(entry: &EntryProblems, lines: &[usize]) -> impl Iterator<Item = EntryFault> {
    let line = |index: usize| lines.get(index).copied().unwrap_or(0);
    entry.problems.iter().map(move |problem| {
        let (same_as, message) = match problem.same_as {
            Some(first) => same_as(line(first)),
            None => (None, problem.message.clone()),
        };
        EntryFault {
            line: line(entry.index),
            column: None,
            field: Some(problem.field.clone()),
            same_as,
            message,
        }
    })
}

/// What is said of an entry that says the same as the one at line `first`; 0 where there are no lines.
fn same_as(first: usize) -> (Option<usize>, String) {
    match first {
        0 => (None, "stands twice".to_owned()),
        first => (Some(first), format!("says the same as line {first}")),
    }
}

impl From<AdminError> for Refusal {
    fn from(error: AdminError) -> Self {
        let (status, title) = match &error {
            AdminError::NoCaller | AdminError::NotAdministrator { .. } | AdminError::NotAllowed { .. } => {
                (StatusCode::FORBIDDEN, "not allowed")
            }
            AdminError::NoRoute => (StatusCode::NOT_FOUND, "no such route"),
            AdminError::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "no such method"),
            AdminError::BodyLength { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body too long"),
            AdminError::MediaType { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "body of another type"),
            AdminError::Malformed { .. } => (StatusCode::BAD_REQUEST, "not valid"),
            AdminError::Faulty { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "not valid"),
            AdminError::Parameter { .. } => (StatusCode::BAD_REQUEST, "parameter not understood"),
            AdminError::Precondition => (StatusCode::PRECONDITION_FAILED, "changed meanwhile"),
            AdminError::BodyBroken => (StatusCode::BAD_REQUEST, "body broken off"),
            AdminError::BodySlow { .. } => (StatusCode::REQUEST_TIMEOUT, "body too slow"),
            AdminError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal failure"),
        };
        Self::of(status, title, &error)
    }
}

impl From<NetError> for Refusal {
    /// Of a request whose head is too long; a listener says nothing else of requests.
    fn from(error: NetError) -> Self {
        Self::of(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "path and headers too long",
            &error,
        )
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        if matches!(error, E::EntryExists { .. } | E::EntryTwice { .. }) {
            return Self::of_list(error, &[]);
        }
        let of = |status, title| Self::of(status, title, &error);
        match &error {
            E::InvalidEntries(bad) => Self::faulty(
                "the entry",
                bad.iter().flat_map(|entry| faults_of(entry, &[])).collect(),
            ),
            E::InvalidJoinToken(problems) => {
                let faults = problems.iter().map(|problem| EntryFault {
                    line: 0,
                    column: None,
                    field: Some(problem.field.clone()),
                    same_as: None,
                    message: problem.message.clone(),
                });
                of(StatusCode::UNPROCESSABLE_ENTITY, "not valid").with_faults(faults)
            }
            E::Count { .. } | E::Reason { .. } | E::EntryRepeated { .. } | E::Templates { .. } => {
                of(StatusCode::UNPROCESSABLE_ENTITY, "not valid")
            }
            E::EntryUnknown { .. } | E::NodeUnknown { .. } | E::JoinTokenUnknown => {
                of(StatusCode::NOT_FOUND, "not found")
            }
            E::IdentityOfNode { .. } | E::IdentityOfEntry { .. } => {
                of(StatusCode::CONFLICT, "identity taken")
            }
            E::Changed | E::EntryOutdated { .. } | E::EntryNeeded { .. } | E::Contended { .. } => {
                of(StatusCode::CONFLICT, "changed meanwhile")
            }
            E::NodeBanned { .. } | E::JoinTokenExpired { .. } | E::JoinTokenBound => {
                of(StatusCode::CONFLICT, "not possible")
            }
            E::Commit(CommitError::Invalid(Invalid::Bytes { .. })) => {
                of(StatusCode::PAYLOAD_TOO_LARGE, "too much at once").with_detail(chain(&error))
            }
            E::Commit(CommitError::Unavailable(cause)) => {
                of(StatusCode::SERVICE_UNAVAILABLE, "cannot write now")
                    .with_detail(format!("the change was not made: {}", told(cause)))
                    .with_cause(&error)
                    .retryable()
            }
            // The state in memory answers reads, so only a change can meet these two.
            E::Commit(CommitError::Unknown(_)) | E::Unknown(_) | E::Follow(_) => {
                of(StatusCode::GATEWAY_TIMEOUT, "outcome unknown")
                    .with_detail("the store did not answer: the change may have been made, or may not")
                    .with_cause(&error)
            }
            _ => Self::internal(&error),
        }
    }
}

/// What failed below, for an administrator who has to mend it: the words, the code and the next step.
fn told(cause: &Cause) -> String {
    let (code, remedy) = (cause.code(), cause.remedy());
    format!("{cause} [{code}: {remedy}]")
}

impl From<IssueError> for Refusal {
    fn from(error: IssueError) -> Self {
        use IssueError as E;
        let of = |status, title| Self::of(status, title, &error);
        match &error {
            E::Denied(_) | E::NotOurselves => of(StatusCode::FORBIDDEN, "not allowed"),
            // Nothing was handed out: what was signed and not recorded is thrown away.
            E::Record(_) => of(StatusCode::SERVICE_UNAVAILABLE, "cannot issue now")
                .with_detail("nothing was issued: it could not be recorded")
                .with_cause(&error)
                .retryable(),
            error if error.is_transient() => of(StatusCode::SERVICE_UNAVAILABLE, "cannot issue now")
                .with_detail(format!("nothing was issued: {}", chain(error)))
                .with_cause(error)
                .retryable(),
            E::X509(_) | E::Jose(_) => Self::internal(&error),
            _ => of(StatusCode::UNPROCESSABLE_ENTITY, "not valid"),
        }
    }
}

impl From<KeysError> for Refusal {
    fn from(error: KeysError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Refusal {
    /// The reply without its body: that names the request and is written last.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if self.retry {
            let seconds = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(self);
        response
    }
}
