use crate::{Action, ActionClass, Decide, Decision, Effect, Policy, PolicySet, Principal, Request, Resource};
use core::fmt;
use std::collections::BTreeSet;

/// What an operator was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May read and change everything.
    Administrator,
    /// May read everything and change nothing.
    Auditor,
    /// May obtain credentials for any workload, and neither reads nor changes anything.
    Minter,
}

impl Role {
    /// The name that users see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Auditor => "auditor",
            Self::Minter => "minter",
        }
    }

    /// Whether the role covers actions of `class`. Written out, so that a new class is decided on here.
    const fn covers(self, class: ActionClass) -> bool {
        match (self, class) {
            (Self::Administrator, ActionClass::Read | ActionClass::Change | ActionClass::Issue) => true,
            (Self::Auditor, ActionClass::Read) => true,
            (Self::Auditor, ActionClass::Change | ActionClass::Issue) => false,
            (Self::Minter, ActionClass::Issue) => true,
            (Self::Minter, ActionClass::Read | ActionClass::Change) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who calls the admin surface, and what they were made. Every handler takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    identity: Principal,
    roles: BTreeSet<Role>,
}

impl Caller {
    /// The caller `identity` with `roles`; without any, nothing is allowed.
    #[must_use]
    pub fn new(identity: Principal, roles: impl IntoIterator<Item = Role>) -> Self {
        let roles = roles.into_iter().collect();
        Self { identity, roles }
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Principal {
        &self.identity
    }

    /// What they were made.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// Decides whether the caller may do `action` to `resource`, by the caller's roles alone.
    pub fn may(&self, action: Action, resource: Resource) -> Decision {
        let policy = RolePolicy {
            roles: self.roles.clone(),
        };
        PolicySet::new(vec![Box::new(policy)]).decide(Request::new(self.identity.clone(), action, resource))
    }
}

/// Permits what one of the given roles covers.
#[derive(Clone, Debug)]
struct RolePolicy {
    roles: BTreeSet<Role>,
}

impl Policy for RolePolicy {
    fn name(&self) -> &str {
        "roles"
    }

    fn evaluate(&self, request: &Request) -> Result<Effect, String> {
        let class = request.action.class();
        let Some(role) = self.roles.iter().find(|role| role.covers(class)) else {
            let needed = match class {
                ActionClass::Read => "the role auditor or administrator",
                ActionClass::Change => "the role administrator",
                ActionClass::Issue => "the role minter or administrator",
            };
            let would_permit = Some(needed.to_owned());
            return Ok(Effect::Silent { would_permit });
        };
        Ok(Effect::Permit {
            because: format!("the caller is {role}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    #[test]
    fn who_may_do_what() {
        use Verdict::{Allow, Deny};
        let actions = [
            Action::read("entry.list"),
            Action::change("entry.create"),
            Action::issue("mint.x509"),
        ];
        for (roles, expected) in [
            (vec![], [Deny, Deny, Deny]),
            (vec![Role::Auditor], [Allow, Deny, Deny]),
            (vec![Role::Minter], [Deny, Deny, Allow]),
            (vec![Role::Auditor, Role::Minter], [Allow, Deny, Allow]),
            (vec![Role::Administrator], [Allow, Allow, Allow]),
            (vec![Role::Auditor, Role::Administrator], [Allow, Allow, Allow]),
        ] {
            let caller = Caller::new(Principal::Local { uid: 7 }, roles.clone());
            let verdicts = actions.map(|action| caller.may(action, Resource::all("entry")).verdict());
            assert_eq!(verdicts, expected, "{roles:?}");
        }
    }

    #[test]
    fn a_denial_says_what_would_have_allowed_it() {
        let auditor = Caller::new(Principal::Local { uid: 7 }, [Role::Auditor]);
        let decision = auditor.may(Action::change("entry.create"), Resource::all("entry"));
        assert_eq!(decision.would_allow(), ["the role administrator"]);
        let minting = auditor.may(Action::MINT_JWT_SVID, Resource::all("identity"));
        assert_eq!(minting.would_allow(), ["the role minter or administrator"]);
        assert_eq!(decision.request().principal.to_string(), "local:uid:7");
    }
}
