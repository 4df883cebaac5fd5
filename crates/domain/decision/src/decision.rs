use crate::{Action, PolicyError, REGISTER, Request, Resource};
use core::fmt;
use signet_fault::{Coded, remedy_of};
use std::borrow::Cow;

/// The answer's gist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

/// One reason for a verdict, for the operator.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing allows it. The default.
    NothingAllows,
    /// A policy permits it, and says why.
    Permitted {
        /// The policy.
        policy: String,
        /// In its own words.
        because: String,
    },
    /// A policy forbids it, and says why.
    Forbidden {
        /// The policy.
        policy: String,
        /// In its own words.
        because: String,
    },
    /// A policy applies and failed.
    Failed {
        /// The policy.
        policy: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingAllows => f.write_str("nothing allows it"),
            Self::Permitted { policy, because } => write!(f, "`{policy}` permits it: {because}"),
            Self::Forbidden { policy, because } => write!(f, "`{policy}` forbids it: {because}"),
            Self::Failed { policy } => write!(f, "`{policy}` applies and failed"),
        }
    }
}

/// What was decided, about what, and why.
///
/// Made by [`crate::PolicySet`] and by the two constructors below, always from a request.
#[must_use = "a decision that nobody looks at protects nothing"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    request: Request,
    verdict: Verdict,
    determining: Vec<String>,
    reasons: Vec<Reason>,
    errors: Vec<PolicyError>,
    would_allow: Vec<String>,
}

impl Decision {
    /// Allowed by the policy `policy`.
    pub fn allow(request: Request, policy: &str, because: impl Into<String>) -> Self {
        let reason = Reason::Permitted {
            policy: policy.to_owned(),
            because: because.into(),
        };
        Self {
            determining: vec![policy.to_owned()],
            reasons: vec![reason],
            ..Self::bare(request, Verdict::Allow)
        }
    }

    /// Denied because nothing allows it; `would_allow` says what would.
    pub fn deny(request: Request, would_allow: Vec<String>) -> Self {
        Self {
            reasons: vec![Reason::NothingAllows],
            would_allow,
            ..Self::bare(request, Verdict::Deny)
        }
    }

    /// Denied by the policy `policy`.
    pub fn forbid(request: Request, policy: &str, because: impl Into<String>) -> Self {
        let reason = Reason::Forbidden {
            policy: policy.to_owned(),
            because: because.into(),
        };
        Self {
            determining: vec![policy.to_owned()],
            reasons: vec![reason],
            ..Self::bare(request, Verdict::Deny)
        }
    }

    pub(crate) fn combined(
        request: Request,
        verdict: Verdict,
        reasons: Vec<Reason>,
        errors: Vec<PolicyError>,
        would_allow: Vec<String>,
    ) -> Self {
        let determining = reasons
            .iter()
            .filter_map(Reason::policy)
            .map(str::to_owned)
            .collect();
        Self {
            determining,
            reasons,
            errors,
            would_allow,
            ..Self::bare(request, verdict)
        }
    }

    fn bare(request: Request, verdict: Verdict) -> Self {
        Self {
            request,
            verdict,
            determining: Vec::new(),
            reasons: Vec::new(),
            errors: Vec::new(),
            would_allow: Vec::new(),
        }
    }

    /// The question.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The answer.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The policies that the verdict rests on.
    #[must_use]
    pub fn determining(&self) -> &[String] {
        &self.determining
    }

    /// Why. At least one.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// What went wrong while deciding.
    #[must_use]
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }

    /// What would have allowed it, as far as that is known.
    #[must_use]
    pub fn would_allow(&self) -> &[String] {
        &self.would_allow
    }

    /// The proof that it was allowed.
    ///
    /// # Errors
    /// [`Denied`], with a code for the peer; the decision itself is what the operator reads.
    pub fn permit(&self) -> Result<Permit<'_>, Denied> {
        match self.verdict {
            Verdict::Allow => Ok(Permit { decision: self }),
            Verdict::Deny => Err(self.denied()),
        }
    }

    /// The proof that exactly `action` on exactly `resource` was allowed.
    ///
    /// # Errors
    /// As [`Decision::permit`], and [`Denied::OtherRequest`] where the decision was about something else.
    pub fn permit_for(&self, action: Action, resource: &Resource) -> Result<Permit<'_>, Denied> {
        if self.request.action != action || self.request.resource != *resource {
            return Err(Denied::OtherRequest);
        }
        self.permit()
    }

    fn denied(&self) -> Denied {
        let action = self.request.action.name();
        if !self.errors.is_empty() {
            return Denied::PolicyFailed { action };
        }
        if self.reasons.iter().any(|r| matches!(r, Reason::Forbidden { .. })) {
            return Denied::Forbidden { action };
        }
        Denied::NothingAllows { action }
    }
}

impl Reason {
    fn policy(&self) -> Option<&str> {
        match self {
            Self::NothingAllows => None,
            Self::Permitted { policy, .. } | Self::Forbidden { policy, .. } | Self::Failed { policy } => {
                Some(policy)
            }
        }
    }
}

/// Proof that a decision allowed something. Made only by [`Decision::permit`].
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    decision: &'a Decision,
}

impl<'a> Permit<'a> {
    /// The decision behind it.
    pub fn decision(self) -> &'a Decision {
        self.decision
    }
}

/// What a peer may learn about a refusal: that, and roughly why. No policy, no name, no reason.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing allows it.
    #[error("`{action}` is not allowed")]
    NothingAllows {
        /// The action's name.
        action: &'static str,
    },
    /// A policy forbids it.
    #[error("`{action}` is forbidden")]
    Forbidden {
        /// The action's name.
        action: &'static str,
    },
    /// A policy that applies failed.
    #[error("`{action}` could not be decided and is refused")]
    PolicyFailed {
        /// The action's name.
        action: &'static str,
    },
    /// The decision was about another action or thing.
    #[error("the decision is about something else")]
    OtherRequest,
}

impl Coded for Denied {
    fn code(&self) -> &'static str {
        match self {
            Self::NothingAllows { .. } => "SGDE001",
            Self::Forbidden { .. } => "SGDE002",
            Self::PolicyFailed { .. } => "SGDE003",
            Self::OtherRequest => "SGDE004",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}
