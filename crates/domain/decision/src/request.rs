use core::fmt;
use signet_id::SpiffeId;
use std::collections::BTreeMap;

/// Who asks.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A user of this machine, as the kernel names the peer of a local socket.
    Local {
        /// The user's number.
        uid: u32,
    },
    /// A peer that proved this identity.
    Spiffe(SpiffeId),
    /// This very process, for work that nobody asked for, such as renewing its own certificate.
    Ourselves,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "local:uid:{uid}"),
            Self::Spiffe(id) => id.fmt(f),
            Self::Ourselves => f.write_str("server"),
        }
    }
}

/// What an action does to the state: the line between an auditor and an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionClass {
    /// Looks and leaves everything as it was.
    Read,
    /// Changes state or yields something secret, such as a join token.
    Change,
    /// Obtains a credential.
    Issue,
}

/// What is asked for: a name from the code, such as `entry.create`, and its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action {
    name: &'static str,
    class: ActionClass,
}

impl Action {
    /// An X.509-SVID for a workload.
    pub const ISSUE_X509_SVID: Self = Self::issue("issue.x509-svid");
    /// A JWT-SVID for a workload.
    pub const ISSUE_JWT_SVID: Self = Self::issue("issue.jwt-svid");
    /// A WIT-SVID for a workload.
    pub const ISSUE_WIT_SVID: Self = Self::issue("issue.wit-svid");
    /// The X.509-SVID of a node.
    pub const ISSUE_NODE_SVID: Self = Self::issue("issue.node-svid");
    /// The X.509-SVID of a server.
    pub const ISSUE_SERVER_SVID: Self = Self::issue("issue.server-svid");
    /// The certificate of a server's public port, without identity.
    pub const ISSUE_TLS_SERVER: Self = Self::issue("issue.tls-server");

    /// An X.509-SVID for an identity that an operator names.
    pub const MINT_X509_SVID: Self = Self::issue("mint.x509");
    /// A JWT-SVID for an identity that an operator names.
    pub const MINT_JWT_SVID: Self = Self::issue("mint.jwt");
    /// A WIT-SVID for an identity that an operator names.
    pub const MINT_WIT_SVID: Self = Self::issue("mint.wit");

    /// An action that only reads.
    #[must_use]
    pub const fn read(name: &'static str) -> Self {
        let class = ActionClass::Read;
        Self { name, class }
    }

    /// An action that changes state.
    #[must_use]
    pub const fn change(name: &'static str) -> Self {
        let class = ActionClass::Change;
        Self { name, class }
    }

    /// An action that obtains a credential.
    #[must_use]
    pub const fn issue(name: &'static str) -> Self {
        let class = ActionClass::Issue;
        Self { name, class }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The class.
    #[must_use]
    pub const fn class(self) -> ActionClass {
        self.class
    }
}

/// The thing it is asked for: a kind from the code and the thing's own name; no name means all of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    kind: &'static str,
    name: Option<String>,
}

impl Resource {
    /// One thing.
    #[must_use]
    pub fn one(kind: &'static str, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Self { kind, name }
    }

    /// The whole collection.
    #[must_use]
    pub const fn all(kind: &'static str) -> Self {
        Self { kind, name: None }
    }

    /// The identity `id`, as something that a credential is issued for.
    #[must_use]
    pub fn identity(id: &SpiffeId) -> Self {
        Self::one("identity", id.as_str())
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The thing's name, unless all are meant.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name.as_deref().unwrap_or("*"))
    }
}

/// One question to a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub action: Action,
    /// On what.
    pub resource: Resource,
    /// Further facts, by name. Whoever builds the request bounds them.
    pub context: BTreeMap<String, String>,
}

impl Request {
    /// A question without further facts.
    #[must_use]
    pub fn new(principal: Principal, action: Action, resource: Resource) -> Self {
        Self {
            principal,
            action,
            resource,
            context: BTreeMap::new(),
        }
    }
}
