use crate::Series;
use crate::metrics::Reason;
use signet_authority::IssueError;
use signet_check::machine::MachineError;
use signet_fault::{Coded, Entry, chain, remedy_of};
use signet_feed::{Excess, FeedError, ITEMS};
use signet_id::{IdError, SpiffeId};
use signet_keys::KeysError;
use signet_record::RecordError;
use signet_registry::{ClaimError, RegistryError};
use signet_store::follow::FollowError;
use signet_telemetry::RequestId;
use signet_x509::{CsrError, X509Error};
use std::borrow::Cow;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Why an agent was refused.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    /// An agent knows a change of this very log that is not in it.
    #[error(
        "`{node}` was told of change {held}, and the change log, which is at {here}, does not know it: an older state was put in its place, or that node lies"
    )]
    PutBack {
        /// Whose agent.
        node: SpiffeId,
        /// The change that it knows.
        held: u64,
        /// Where the log is.
        here: u64,
    },
    /// The connection proved nothing.
    #[error("the connection shows no identity")]
    NoIdentity,
    /// The connection proved possession of a key, which is good for `Attest` alone.
    #[error("this connection proves a key and no identity: it may only attest")]
    OnlyAttest,
    /// An identity where a proof of possession is wanted.
    #[error("attest over a connection with a self-signed certificate of the node's new key")]
    NotAProof,
    /// The SVID that the connection was opened with is over.
    #[error("the svid of this connection expired {late_s} s ago")]
    SvidExpired {
        /// Seconds since then.
        late_s: u64,
    },
    /// The node proved itself anew since the SVID was issued.
    #[error("the svid of this connection is older than the node's last attestation")]
    SvidSuperseded,
    /// The node is not registered, or banned.
    #[error("the node is not admitted: it needs that {needs}")]
    NotAdmitted {
        /// What would have to be so.
        needs: String,
    },
    /// The certificate request is for another key than the connection's.
    #[error("the certificate request is for another key than the connection's certificate")]
    OtherKey,
    /// Nothing proves the node.
    #[error("attest with a join token, with a machine certificate, or as a node that is known by its key")]
    NoEvidence,
    /// What a renewal follows on is not said in marks.
    #[error("`step`: a mark is 16 bytes, and that of a renewal another than the one before")]
    Step,
    /// The node claims an identity that is none.
    #[error("`known_node.spiffe_id`")]
    NodeId(#[source] IdError),
    /// The server takes no machine certificates.
    #[error("this server takes no machine certificates: `attest.x509pop` is not set")]
    NoMachines,
    /// Too many attempts with machine certificates.
    #[error("too many attempts with machine certificates: again in {retry_s} s")]
    ManyAttempts {
        /// Seconds until there is room.
        retry_s: u64,
    },
    /// Too many calls of one node at once.
    #[error("the node has {max} calls under way, which is all that one may have")]
    ManyCalls {
        /// How many may be.
        max: usize,
    },
    /// Too many streams of one node after one another.
    #[error("the node opens streams too fast: again in {retry_s} s")]
    ManyStreams {
        /// Seconds until there is room.
        retry_s: u64,
    },
    /// Too many wishes to begin anew on one stream.
    #[error("the agent asked for everything anew twice within a heartbeat")]
    ManyResyncs,
    /// Newer streams of the same node took the place.
    #[error("newer streams of the same node took this one's place, {max} may be open")]
    StreamReplaced {
        /// How many may be.
        max: usize,
    },
    /// The connection has nothing that a proof could be bound to.
    #[error("the connection has no channel binding")]
    Unbound,
    /// A machine did not prove itself.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The first message is missing.
    #[error("the first message is not a hello")]
    NoHello,
    /// Too many wishes at once, or none.
    #[error("a call takes 1 to {max} items")]
    ItemCount {
        /// How many may be.
        max: usize,
    },
    /// A wish for nothing, or with an id that is none.
    #[error("an item is malformed: {what}")]
    Item {
        /// What is wrong.
        what: &'static str,
    },
    /// A message is longer than its method takes.
    #[error("a message of {given} bytes, at most {max} are taken")]
    MessageLength {
        /// As it announced itself.
        given: usize,
        /// How long it may be.
        max: usize,
    },
    /// A message is none.
    #[error("the message is not in the protocol's form")]
    MessageForm,
    /// The server stops.
    #[error("the server is stopping")]
    Stopping,
    /// A first message or snapshot cannot stand.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The certificate request is refused.
    #[error("certificate request: {0}")]
    Csr(#[from] CsrError),
    /// A certificate of the connection cannot be read.
    #[error("read the connection's certificate")]
    Certificate(#[source] X509Error),
    /// An agent said of a process what is not so, or asked for what does not come of it.
    #[error(transparent)]
    Claim(ClaimError),
    /// What the registry says.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What the authority says.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// What the record says.
    #[error("record")]
    Record(#[from] RecordError),
    /// What the keys say.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// State does not follow its log.
    #[error(transparent)]
    Follow(#[from] FollowError),
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
        "SGAS001",
        "agent: no identity",
        "connect with the node's svid, or with a self-signed certificate to attest",
    ),
    entry(
        "SGAS002",
        "agent: proof of possession only attests",
        "attest first, then connect with the node's svid",
    ),
    entry(
        "SGAS003",
        "agent: attest with an identity",
        "renew instead, or connect with a self-signed certificate of a new key",
    ),
    entry(
        "SGAS004",
        "agent: svid expired",
        "connect again with the newest svid; if there is none, attest by the node's key",
    ),
    entry(
        "SGAS005",
        "agent: svid superseded",
        "the node joined again elsewhere: stop one of the two agents",
    ),
    entry(
        "SGAS006",
        "agent: node not admitted",
        "ask an administrator: `signet node show ID`; an evicted node joins anew",
    ),
    entry(
        "SGAS007",
        "agent: request for another key",
        "send the certificate request of the key that the connection shows",
    ),
    entry(
        "SGAS008",
        "agent: no evidence",
        "pass a join string with --join-file or SIGNET_JOIN",
    ),
    entry("SGAS009", "agent: no hello", "update the agent"),
    entry(
        "SGAS010",
        "issue: item count",
        "send at most 256 items in one call",
    ),
    entry("SGAS011", "issue: item malformed", "update the agent"),
    entry("SGAS012", "server stopping", "connect again, to any server"),
    entry(
        "SGAS013",
        "agent: certificate unreadable",
        "connect with the node's svid",
    ),
    entry(
        "SGAS014",
        "agent: not a spiffe id",
        "send the identity that the node was given when it joined",
    ),
    entry(
        "SGAS020",
        "agent: no machine certificates here",
        "set `attest.x509pop.ca` on the server, or join with a join string",
    ),
    entry(
        "SGAS021",
        "agent: too many attempts with machine certificates",
        "wait; the agent comes again by itself",
    ),
    entry(
        "SGAS022",
        "agent: connection without channel binding",
        "report it with the server's log",
    ),
    entry(
        "SGAS023",
        "agent: message too long",
        "send certificate requests of at most 16 KiB, and fewer items in one call",
    ),
    entry("SGAS024", "agent: message malformed", "update the agent"),
    entry("SGAS025", "agent: renewal step malformed", "update the agent"),
    entry(
        "SGAS026",
        "agent: node key copied",
        "find the second machine with this node's state directory and stop it; if there may be a thief, ban the node",
    ),
    entry(
        "SGAS027",
        "state put back",
        "find out who put an older state in place: bans, entries and keys may be lost; put a newer backup in place with `signet server restore --replace`, or look at what is missing and start the server again",
    ),
    entry(
        "SGAS028",
        "agent: too many calls of one node",
        "wait; if the node runs one agent of ours, look who else uses its key",
    ),
    entry(
        "SGAS029",
        "agent: too many streams of one node",
        "wait; the agent comes again by itself. If it goes on, look in the agent's log why its streams end",
    ),
    entry(
        "SGAS030",
        "agent: too many snapshots asked for",
        "the agent connects anew by itself; if it goes on, update the agent",
    ),
    entry(
        "SGAS031",
        "agent: stream replaced",
        "the agent connects anew by itself; if it goes on, more than four agents use this node's key",
    ),
];

impl Coded for AgentsError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity => "SGAS001",
            Self::OnlyAttest => "SGAS002",
            Self::NotAProof => "SGAS003",
            Self::SvidExpired { .. } => "SGAS004",
            Self::SvidSuperseded => "SGAS005",
            Self::NotAdmitted { .. } => "SGAS006",
            Self::OtherKey => "SGAS007",
            Self::NoEvidence => "SGAS008",
            Self::NoHello => "SGAS009",
            Self::ItemCount { .. } => "SGAS010",
            Self::Item { .. } => "SGAS011",
            Self::Stopping => "SGAS012",
            Self::Certificate(_) => "SGAS013",
            Self::NodeId(_) => "SGAS014",
            Self::NoMachines => "SGAS020",
            Self::ManyAttempts { .. } => "SGAS021",
            Self::Unbound => "SGAS022",
            Self::MessageLength { .. } => "SGAS023",
            Self::MessageForm => "SGAS024",
            Self::Step => "SGAS025",
            Self::PutBack { .. } => "SGAS027",
            Self::ManyCalls { .. } => "SGAS028",
            Self::ManyStreams { .. } => "SGAS029",
            Self::ManyResyncs => "SGAS030",
            Self::StreamReplaced { .. } => "SGAS031",
            Self::Machine(e) => e.code(),
            Self::Feed(e) => e.code(),
            Self::Csr(e) => e.code(),
            Self::Registry(e) => e.code(),
            Self::Claim(e) => e.code(),
            Self::Issue(e) => e.code(),
            Self::Record(e) => e.code(),
            Self::Keys(e) => e.code(),
            Self::Follow(e) => e.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Machine(e) => e.remedy(),
            Self::Feed(e) => e.remedy(),
            Self::Csr(e) => e.remedy(),
            Self::Registry(e) => e.remedy(),
            Self::Claim(e) => e.remedy(),
            Self::Issue(e) => e.remedy(),
            Self::Record(e) => e.remedy(),
            Self::Keys(e) => e.remedy(),
            Self::Follow(e) => e.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

impl From<Excess> for AgentsError {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Length { given, max } => Self::MessageLength { given, max },
            Excess::Count { what: ITEMS, max } => Self::ItemCount { max },
            // Counting ended at the first that was too many.
            Excess::Count { what, max } => Self::Feed(FeedError::Bound {
                what,
                count: max + 1,
                max,
            }),
            Excess::Malformed => Self::MessageForm,
        }
    }
}

impl AgentsError {
    /// What kind of refusal it is, for gRPC.
    pub(crate) fn grpc_code(&self) -> Code {
        match self {
            Self::NoIdentity | Self::SvidExpired { .. } | Self::SvidSuperseded => Code::Unauthenticated,
            Self::OnlyAttest
            | Self::NotAProof
            | Self::NotAdmitted { .. }
            | Self::OtherKey
            | Self::NoMachines
            | Self::Claim(_)
            | Self::Machine(_) => Code::PermissionDenied,
            Self::ManyAttempts { .. }
            | Self::ManyCalls { .. }
            | Self::ManyStreams { .. }
            | Self::ManyResyncs => Code::ResourceExhausted,
            Self::MessageLength { .. } => Code::OutOfRange,
            Self::Unbound | Self::PutBack { .. } => Code::Internal,
            Self::NoEvidence
            | Self::NodeId(_)
            | Self::NoHello
            | Self::Step
            | Self::MessageForm
            | Self::ItemCount { .. }
            | Self::Item { .. }
            | Self::Csr(_)
            | Self::Certificate(_) => Code::InvalidArgument,
            Self::Feed(FeedError::Protocol { .. }) => Code::FailedPrecondition,
            Self::Feed(_) => Code::InvalidArgument,
            Self::Stopping
            | Self::StreamReplaced { .. }
            | Self::Record(_)
            | Self::Keys(_)
            | Self::Follow(_) => Code::Unavailable,
            Self::Registry(e) => registry_code(e),
            Self::Issue(e) => issue_code(e),
        }
    }

    /// Whether the same wish may succeed later without anybody's doing.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.grpc_code(), Code::Unavailable | Code::Aborted)
    }

    /// What the peer is told. What failed inside stays inside: the code and the request's id lead to the log.
    pub(crate) fn message(&self) -> String {
        match self.grpc_code() {
            Code::Unavailable | Code::Internal
                if !matches!(self, Self::Stopping | Self::StreamReplaced { .. }) =>
            {
                "the server cannot do this now".to_owned()
            }
            _ => self.to_string(),
        }
    }

    /// Why the peer may not, if that is it.
    fn reason(&self) -> Option<Reason> {
        match self.grpc_code() {
            Code::PermissionDenied | Code::Unauthenticated => {}
            Code::ResourceExhausted => return Some(Reason::Limited),
            _ => return None,
        }
        Some(match self {
            Self::NoIdentity => Reason::NoIdentity,
            Self::OnlyAttest | Self::NotAProof => Reason::ProofOnly,
            Self::SvidExpired { .. } | Self::SvidSuperseded => Reason::Svid,
            Self::NotAdmitted { .. } => Reason::Node,
            Self::OtherKey => Reason::Key,
            Self::NoMachines | Self::Machine(_) => Reason::Machine,
            Self::Registry(
                RegistryError::NodeBanned { .. }
                | RegistryError::NodeUnknown { .. }
                | RegistryError::NodeKeyUnknown { .. },
            ) => Reason::Node,
            Self::Registry(_) => Reason::Token,
            _ => Reason::Other,
        })
    }

    /// The answer to a whole call.
    pub(crate) fn status(&self, request_id: &RequestId, series: &Series) -> Status {
        if let Some(reason) = self.reason() {
            series.refused(reason);
        }
        let mut facts = HashMap::new();
        facts.insert("request_id".to_owned(), request_id.to_string());
        facts.insert("remedy".to_owned(), self.remedy().into_owned());
        let details = ErrorDetails::with_error_info(self.code(), "signet", facts);
        let code = self.grpc_code();
        let error = chain(self);
        if self.is_passing() && !matches!(self, Self::Stopping) {
            tracing::warn!(%request_id, code = self.code(), error, "agent not served");
        } else {
            tracing::info!(%request_id, code = self.code(), error, "agent refused");
        }
        Status::with_error_details(code, self.message(), details)
    }
}

fn registry_code(error: &RegistryError) -> Code {
    use RegistryError as E;
    match error {
        E::JoinTokenUnknown | E::JoinTokenExpired { .. } | E::JoinTokenBound | E::NodeBanned { .. } => {
            Code::PermissionDenied
        }
        E::NodeUnknown { .. }
        | E::NodeKeyUnknown { .. }
        | E::IdentityOfEntry { .. }
        | E::IdentityOfNode { .. } => Code::PermissionDenied,
        E::Changed | E::Contended { .. } => Code::Aborted,
        E::Commit(_) | E::Unknown(_) | E::Follow(_) => Code::Unavailable,
        _ => Code::Internal,
    }
}

fn issue_code(error: &IssueError) -> Code {
    use IssueError as E;
    match error {
        E::Denied(_)
        | E::NotOurselves
        | E::OtherTrustDomain { .. }
        | E::NoPath { .. }
        | E::Reserved { .. }
        | E::AudienceReserved { .. }
        | E::AudienceNotAllowed { .. } => Code::PermissionDenied,
        E::CsrIdentity { .. }
        | E::CsrDnsNames
        | E::CsrIssuerKey
        | E::Lifetime { .. }
        | E::AudienceCount { .. }
        | E::AudienceForm { .. } => Code::InvalidArgument,
        E::IssuerEnds { .. } | E::Tainted { .. } | E::Keys(_) | E::Sign(_) | E::Record(_) => {
            Code::Unavailable
        }
        _ => Code::Internal,
    }
}
