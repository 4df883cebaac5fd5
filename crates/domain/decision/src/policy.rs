use crate::{Decision, Reason, Request, Verdict};

/// Answers requests. What asks it never learns how.
pub trait Decide: Send + Sync {
    /// Decides. Always an answer: what cannot be decided is denied.
    fn decide(&self, request: Request) -> Decision;
}

/// What one policy says to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does not concern this request. `would_permit` says what would have made it permit, if that is known.
    Silent {
        /// For the operator.
        would_permit: Option<String>,
    },
    /// It permits.
    Permit {
        /// For the operator.
        because: String,
    },
    /// It forbids, whatever others permit.
    Forbid {
        /// For the operator.
        because: String,
    },
}

/// A policy applied and could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy `{policy}`: {detail}")]
pub struct PolicyError {
    /// Its name.
    pub policy: String,
    /// What went wrong.
    pub detail: String,
}

/// One rule among many.
pub trait Policy: Send + Sync {
    /// Its name, for reasons and records.
    fn name(&self) -> &str;

    /// Evaluates it.
    ///
    /// # Errors
    /// What kept it from being evaluated, in words. That denies the request.
    fn evaluate(&self, request: &Request) -> Result<Effect, String>;
}

/// Policies side by side: default deny, forbid before permit, an error denies.
#[derive(Default)]
pub struct PolicySet {
    policies: Vec<Box<dyn Policy>>,
}

impl PolicySet {
    /// A set of `policies`. Their order does not matter to the verdict.
    #[must_use]
    pub fn new(policies: Vec<Box<dyn Policy>>) -> Self {
        Self { policies }
    }
}

impl Decide for PolicySet {
    fn decide(&self, request: Request) -> Decision {
        let (mut permits, mut forbids, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        let (mut errors, mut would_allow) = (Vec::new(), Vec::new());
        for policy in &self.policies {
            let name = policy.name().to_owned();
            match policy.evaluate(&request) {
                Ok(Effect::Silent { would_permit }) => would_allow.extend(would_permit),
                Ok(Effect::Permit { because }) => permits.push(Reason::Permitted {
                    policy: name,
                    because,
                }),
                Ok(Effect::Forbid { because }) => forbids.push(Reason::Forbidden {
                    policy: name,
                    because,
                }),
                Err(detail) => {
                    failures.push(Reason::Failed { policy: name.clone() });
                    errors.push(PolicyError { policy: name, detail });
                }
            }
        }
        let denials = [forbids, failures].concat();
        if !denials.is_empty() {
            // What would have allowed it is no help where something forbids it.
            return Decision::combined(request, Verdict::Deny, denials, errors, Vec::new());
        }
        if permits.is_empty() {
            return Decision::deny(request, would_allow);
        }
        Decision::combined(request, Verdict::Allow, permits, errors, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Denied, Principal, Resource};
    use signet_fault::Coded;

    struct Fixed(&'static str, Result<Effect, String>);

    impl Policy for Fixed {
        fn name(&self) -> &str {
            self.0
        }

        fn evaluate(&self, _: &Request) -> Result<Effect, String> {
            self.1.clone()
        }
    }

    fn request() -> Request {
        Request::new(
            Principal::Ourselves,
            Action::change("entry.create"),
            Resource::all("entry"),
        )
    }

    fn permits() -> Result<Effect, String> {
        Ok(Effect::Permit {
            because: "so".to_owned(),
        })
    }

    fn forbids() -> Result<Effect, String> {
        Ok(Effect::Forbid {
            because: "no".to_owned(),
        })
    }

    fn silent() -> Result<Effect, String> {
        Ok(Effect::Silent {
            would_permit: Some("the role".to_owned()),
        })
    }

    fn decide(effects: &[&Result<Effect, String>]) -> Decision {
        let boxed =
            |effect: &&Result<Effect, String>| -> Box<dyn Policy> { Box::new(Fixed("p", (*effect).clone())) };
        PolicySet::new(effects.iter().map(boxed).collect()).decide(request())
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        for effects in [&[][..], &[&silent()][..], &[&silent(), &silent()][..]] {
            let decision = decide(effects);
            assert_eq!(decision.verdict(), Verdict::Deny);
            assert_eq!(decision.reasons(), [Reason::NothingAllows]);
            assert_eq!(decision.would_allow().len(), effects.len());
            assert_eq!(decision.permit().unwrap_err().code(), "SGDE001");
        }
    }

    #[test]
    fn the_combination_matrix() {
        let (permit, forbid, quiet) = (permits(), forbids(), silent());
        let error: Result<Effect, String> = Err("broken".to_owned());
        let all = [&permit, &forbid, &quiet, &error];
        for (a, first) in all.iter().enumerate() {
            for (b, second) in all.iter().enumerate() {
                let decision = decide(&[first, second]);
                let denied = [a, b].iter().any(|n| matches!(n, 1 | 3));
                let permitted = [a, b].contains(&0);
                let expected = if permitted && !denied {
                    Verdict::Allow
                } else {
                    Verdict::Deny
                };
                assert_eq!(decision.verdict(), expected, "{first:?} {second:?}");
                assert_eq!(decision.errors().is_empty(), ![a, b].contains(&3));
                assert!(!decision.reasons().is_empty());
            }
        }
    }

    #[test]
    fn an_error_in_a_policy_denies_even_where_another_permits() {
        let decision = decide(&[&permits(), &Err("division by zero".to_owned())]);
        assert_eq!(
            decision.permit().unwrap_err(),
            Denied::PolicyFailed {
                action: "entry.create"
            }
        );
        assert_eq!(decision.errors()[0].detail, "division by zero");
        // The peer does not learn which policy failed, nor how.
        assert!(!decision.permit().unwrap_err().to_string().contains("zero"));
    }

    #[test]
    fn a_decision_serves_only_what_it_was_about() {
        let decision = decide(&[&permits()]);
        let entry = Resource::all("entry");
        assert!(
            decision
                .permit_for(Action::change("entry.create"), &entry)
                .is_ok()
        );
        for (action, resource) in [
            (Action::change("entry.delete"), entry.clone()),
            (Action::read("entry.create"), entry),
            (Action::change("entry.create"), Resource::one("entry", "7")),
            (Action::change("entry.create"), Resource::all("node")),
        ] {
            assert_eq!(
                decision.permit_for(action, &resource).unwrap_err(),
                Denied::OtherRequest
            );
        }
    }
}
