use crate::metrics::{Holder, Limit};
use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// What can go wrong in an agent: while it starts, while it talks to its server, while it answers a caller.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent has no state from its server yet.
    #[error("the agent is still waiting for its first state from the server")]
    Initialising,
    /// The agent is being shut down.
    #[error("the agent is shutting down")]
    Draining,
    /// One process, the processes of one user or all of them have or ask too much at once.
    #[error("{} {max} {}: `limits.{}`", holder.has_all(), limit.noun(), limit.setting())]
    Limited {
        /// Of what.
        limit: Limit,
        /// Who.
        holder: Holder,
        /// How many it may have.
        max: u64,
    },
    /// The call lacks the metadata that the Workload API demands, has it twice, or with another value.
    #[error("the call must carry the metadata `workload.spiffe.io: true`, exactly once")]
    Metadata,
    /// The request is not one gRPC message of the right kind.
    #[error("malformed request: {0}")]
    Request(&'static str),
    /// The method is not served.
    #[error("this method is not supported")]
    Unimplemented,
    /// The kernel would not say who the caller is.
    #[error("the caller cannot be told")]
    PeerUnknown,
    /// The caller could not be looked at, or is not who connected any more.
    #[error(transparent)]
    Peer(#[from] signet_sys::SysError),
    /// An attestor ended by accident.
    #[error("an attestor failed")]
    AttestorFailed,
    /// No entry matches the caller.
    #[error("no identity is registered for this process")]
    NoIdentity,
    /// The caller has identities, but not the one it asked for.
    #[error("this process is not entitled to `{0}`")]
    NotEntitled(String),
    /// What was given as SPIFFE ID is none.
    #[error("`spiffe_id`: {0}")]
    SpiffeId(#[source] signet_id::IdError),
    /// The audience is missing, empty or beyond the bounds.
    #[error("`audience`: {0}")]
    Audience(&'static str),
    /// No token to validate was given.
    #[error("`svid` is missing")]
    TokenMissing,
    /// The token does not stand.
    #[error(transparent)]
    Token(#[from] signet_check::jwt::JwtSvidError),
    /// A request for secrets that is not one of Envoy's, or beyond the bounds.
    #[error("malformed request for secrets: {0}")]
    SecretRequest(&'static str),
    /// A resource name that stands for nothing that this caller may have.
    #[error(
        "no secret `{0}` for this process: it is none of its SPIFFE IDs, no trust domain that it may verify, and no name of the settings"
    )]
    SecretUnknown(String),
    /// All bundles were asked for where one validation context cannot keep them apart.
    #[error("`{0}` needs Envoy's SPIFFE certificate validator, which is switched off")]
    SecretAll(String),
    /// Requests for secrets come too fast on one stream.
    #[error("too many requests on one stream of secrets")]
    SecretPace,
    /// What was issued does not fit what was asked for.
    #[error("the server issued something else than was asked for: {0}")]
    Issued(String),
    /// The server could not be asked or said no.
    #[error(transparent)]
    Issue(#[from] crate::IssueError),
    /// A key could not be made, read or used.
    #[error("node or workload key: {0}")]
    Key(#[source] signet_crypto::CryptoError),
    /// A certificate or a request for one could not be made or read.
    #[error("certificate: {0}")]
    Certificate(#[source] signet_x509::X509Error),
    /// The local API was asked about a process of somebody else, or of nobody: which of both is not said.
    #[error("this process is not yours, or there is none that the agent can look at")]
    NotYours,
    /// The local API was asked about a process that does not exist.
    #[error("there is no process {0} on this node")]
    NoProcess(u32),
    /// The process became another one while it was looked at.
    #[error("process {0} ended, or became another program or user, while the agent looked at it")]
    ProcessChanged(u32),
    /// A file of the state directory could not be read or written.
    #[error("{action} `{path}`")]
    File {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The state directory or a file in it belongs to somebody else, or others may read it.
    #[error("`{path}` {what}")]
    FileUnsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file of the state directory does not hold what it should.
    #[error("`{path}` does not hold {what}")]
    FileForm {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// Another agent runs on the state directory.
    #[error("`{path}` is in use by another agent ({holder})")]
    StateHeld {
        /// The directory.
        path: PathBuf,
        /// Who, for people: `process 17`.
        holder: String,
    },
    /// The agent that runs on the state directory does not hand over.
    #[error(
        "the agent that runs on `{path}` ({holder}) cannot hand over: it is stopping, or another version"
    )]
    NoHandover {
        /// The directory.
        path: PathBuf,
        /// Who, for people: `process 17`.
        holder: String,
    },
    /// To take over without a state directory.
    #[error("only an agent with a state directory can take over from another one")]
    TakeOverNowhere,
    /// To take over with an identity that opens no door.
    #[error(
        "the node's identity in `{0}` is of no use without joining anew, which an agent that takes over does not do"
    )]
    TakeOverStranger(PathBuf),
    /// A handover to somebody else.
    #[error("only user {owner}, whose agent this is, may take over from it")]
    HandoverForeign {
        /// The user that it runs as.
        owner: u32,
    },
    /// A handover while there is another.
    #[error("another agent is taking over already")]
    HandoverBusy,
    /// The two agents have no version of the handover in common.
    #[error("`{software}` does not speak a version of the handover that this agent speaks: {ours:?}")]
    HandoverVersion {
        /// What the other one calls itself.
        software: String,
        /// What is spoken here.
        ours: &'static [u32],
    },
    /// The running agent does not hand over.
    #[error("the running agent does not hand over: {message} [{code}]")]
    HandoverRefused {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
    /// A handover broke off.
    #[error("the handover broke off: {0}")]
    Handover(String),
    /// The agent that takes over was not ready in time.
    #[error("not ready to take over within {seconds} s: {why}; the running agent goes on")]
    TakeOverLate {
        /// How long it had.
        seconds: u64,
        /// What was missing.
        why: String,
    },
    /// A file that a machine proves itself with could not be read, or is open to everybody.
    #[error("read `{path}` of `x509pop`")]
    MachineFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that a machine proves itself with does not hold what it should.
    #[error("`{path}` of `x509pop` does not hold {what}")]
    MachineForm {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// A machine certificate to join with, and nowhere to.
    #[error("`x509pop` is set and `servers` is not: there is no server to join")]
    NoServers,
    /// Neither a join string nor a node identity that could be used.
    #[error(
        "there is neither a join string, nor a machine certificate, nor a usable node identity in the state directory"
    )]
    NothingToJoinWith,
    /// The join string could not be read.
    #[error("read the join string")]
    Join(#[source] signet_api::ApiError),
    /// The server refused this node.
    #[error("the server refused this node: {message} [{code}]")]
    NodeRefused {
        /// The server's code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server does not accept the join string, or not any more: an eviction takes it as well.
    #[error("the server refused this node: {message} [{code}]; the node needs a new join string")]
    JoinRefused {
        /// The server's code.
        code: String,
        /// The server's words.
        message: String,
    },
    /// The server's trust or identity does not fit the join string or the configuration.
    #[error("the server's answer does not fit: {0}")]
    Server(String),
    /// A socket or port could not be opened.
    #[error(transparent)]
    Listen(#[from] signet_net::NetError),
}

impl Holder {
    const fn has_all(self) -> &'static str {
        match self {
            Self::Process => "this process has all of its",
            Self::User => "the processes of this user together have all of their",
            Self::Node => "the processes of this node together have all of their",
        }
    }
}

impl Limit {
    const fn noun(self) -> &'static str {
        match self {
            Self::Streams => "open streams",
            Self::Calls => "calls in a second",
            Self::Requests => "requests that have not arrived whole",
            Self::Signing => "identities that are being signed",
        }
    }

    /// The key in `[limits]`.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Streams => "process_streams_max",
            Self::Calls => "process_calls_per_s_max",
            Self::Requests => "process_requests_max",
            Self::Signing => "process_signing_max",
        }
    }
}

impl Coded for AgentError {
    fn code(&self) -> &'static str {
        match self {
            Self::Initialising => "SGAG001",
            Self::Draining => "SGAG002",
            Self::Limited {
                holder: Holder::Node, ..
            } => "SGAG003",
            Self::Limited { .. } => "SGAG027",
            Self::Metadata => "SGAG004",
            Self::Request(_) => "SGAG005",
            Self::Unimplemented => "SGAG006",
            Self::PeerUnknown => "SGAG007",
            Self::Peer(error) => error.code(),
            Self::AttestorFailed => "SGAG008",
            Self::NoIdentity => "SGAG009",
            Self::NotEntitled(_) => "SGAG010",
            Self::SpiffeId(_) => "SGAG011",
            Self::Audience(_) => "SGAG012",
            Self::TokenMissing => "SGAG013",
            Self::Token(error) => error.code(),
            Self::SecretRequest(_) => "SGAG060",
            Self::SecretUnknown(_) => "SGAG061",
            Self::SecretAll(_) => "SGAG062",
            Self::SecretPace => "SGAG063",
            Self::Issued(_) => "SGAG014",
            Self::Issue(error) => error.code(),
            Self::Key(_) => "SGAG015",
            Self::Certificate(_) => "SGAG016",
            Self::File { .. } => "SGAG017",
            Self::FileUnsafe { .. } => "SGAG018",
            Self::FileForm { .. } => "SGAG019",
            Self::MachineFile { .. } => "SGAG040",
            Self::MachineForm { .. } => "SGAG041",
            Self::NoServers => "SGAG042",
            Self::NotYours => "SGAG050",
            Self::NoProcess(_) => "SGAG051",
            Self::ProcessChanged(_) => "SGAG052",
            Self::StateHeld { .. } => "SGAG070",
            Self::NoHandover { .. } => "SGAG071",
            Self::TakeOverNowhere => "SGAG072",
            Self::TakeOverStranger(_) => "SGAG073",
            Self::HandoverForeign { .. } => "SGAG074",
            Self::HandoverBusy => "SGAG075",
            Self::HandoverVersion { .. } => "SGAG076",
            Self::HandoverRefused { .. } => "SGAG077",
            Self::Handover(_) => "SGAG078",
            Self::TakeOverLate { .. } => "SGAG079",
            Self::NothingToJoinWith => "SGAG020",
            Self::Join(_) => "SGAG021",
            Self::NodeRefused { .. } | Self::JoinRefused { .. } => "SGAG022",
            Self::Server(_) => "SGAG023",
            Self::Listen(error) => error.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Peer(error) => error.remedy(),
            Self::Token(error) => error.remedy(),
            Self::Issue(error) => error.remedy(),
            Self::Listen(error) => error.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

/// The error codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGAG001",
        meaning: "the agent has no state from its server yet",
        remedy: "wait and call again; if it stays so, ask `signet health` why the agent cannot reach its server",
    },
    Entry {
        code: "SGAG002",
        meaning: "the agent is shutting down",
        remedy: "connect again when the agent is back",
    },
    Entry {
        code: "SGAG003",
        meaning: "all processes of the node together are at a limit of the Workload API",
        remedy: "wait and call again; `signet_agent_limited_total` says what there is too much of, and agent.toml how much there may be: the node has 64 times limits.process_streams_max, limits.process_calls_per_s_max, limits.process_requests_max and limits.process_signing_max",
    },
    Entry {
        code: "SGAG004",
        meaning: "a call without the Workload API's metadata",
        remedy: "use a SPIFFE client library, or send `workload.spiffe.io: true` with each call",
    },
    Entry {
        code: "SGAG005",
        meaning: "a malformed request",
        remedy: "send one message of the method's request type in gRPC framing",
    },
    Entry {
        code: "SGAG006",
        meaning: "a method that is not served",
        remedy: "do not call it again; ask server reflection for what is served",
    },
    Entry {
        code: "SGAG007",
        meaning: "the kernel did not say who the caller is",
        remedy: "connect again from a process in a PID namespace that the agent can see",
    },
    Entry {
        code: "SGAG008",
        meaning: "an attestor ended by accident",
        remedy: "call again, and report it with the agent's log",
    },
    Entry {
        code: "SGAG009",
        meaning: "no entry matches the caller",
        remedy: "create an entry whose selectors the process has: `signet entry create`",
    },
    Entry {
        code: "SGAG010",
        meaning: "the caller is not entitled to the SPIFFE ID it asked for",
        remedy: "ask for one of the process's own identities, or create an entry for it",
    },
    Entry {
        code: "SGAG011",
        meaning: "not a SPIFFE ID",
        remedy: "write it as spiffe://TRUST-DOMAIN/PATH",
    },
    Entry {
        code: "SGAG012",
        meaning: "a missing, empty or oversized audience",
        remedy: "name 1 to 16 audiences of 1 to 512 bytes",
    },
    Entry {
        code: "SGAG013",
        meaning: "no token to validate",
        remedy: "send the token in `svid`",
    },
    Entry {
        code: "SGAG014",
        meaning: "the server issued something else than was asked for",
        remedy: "check that agent and server versions fit; the agent's log names the entry",
    },
    Entry {
        code: "SGAG015",
        meaning: "a key could not be made, read or used",
        remedy: "check the key file in the state directory; without it the node must join anew",
    },
    Entry {
        code: "SGAG016",
        meaning: "a certificate could not be made or read",
        remedy: "report it with the agent's log",
    },
    Entry {
        code: "SGAG017",
        meaning: "a file of the state directory could not be read or written",
        remedy: "check that the directory exists, is writable for the agent's user, and that the disk is not full",
    },
    Entry {
        code: "SGAG018",
        meaning: "a file of the state directory is not safe",
        remedy: "give it to the agent's user and take every right from others (chmod go= PATH)",
    },
    Entry {
        code: "SGAG019",
        meaning: "a file of the state directory has the wrong contents",
        remedy: "move the state directory away and join anew with a fresh join string",
    },
    Entry {
        code: "SGAG020",
        meaning: "nothing to join with",
        remedy: "make a join string with `signet node join-token create` and pass it with --join-file or SIGNET_JOIN, or set [x509pop]",
    },
    Entry {
        code: "SGAG021",
        meaning: "a join string that cannot be read",
        remedy: "copy it whole, as `signet node join-token create` printed it",
    },
    Entry {
        code: "SGAG022",
        meaning: "the server refused the node",
        remedy: "make a new join string; one that was used by another key, or is old, is refused, and so is a node that was evicted, or away for more than 30 days; a code that begins with SGCK3 says what to mend of a machine certificate",
    },
    Entry {
        code: "SGAG023",
        meaning: "the server is not the one that was expected",
        remedy: "check the server's address, and make a new join string if the server was set up anew",
    },
    Entry {
        code: "SGAG024",
        meaning: "the server cannot be reached",
        remedy: "check address, network and the server's health; identities already issued are served meanwhile",
    },
    Entry {
        code: "SGAG025",
        meaning: "the server answered in an unexpected way",
        remedy: "check that agent and server versions fit",
    },
    Entry {
        code: "SGAG026",
        meaning: "the server refused to issue",
        remedy: "the server's code and message say why; the entry may have been deleted or changed",
    },
    Entry {
        code: "SGAG027",
        meaning: "a process, or all of its user together, are at a limit of the Workload API",
        remedy: "use one long-lived stream per process and keep tokens until half of their life; if that is done, raise the setting of agent.toml that the message names: limits.process_streams_max, limits.process_calls_per_s_max, limits.process_requests_max or limits.process_signing_max (a user has 4 times as much)",
    },
    Entry {
        code: "SGAG040",
        meaning: "a file that the machine proves itself with could not be read",
        remedy: "check the paths in [x509pop], and that the agent's user may read the files and not everybody the key",
    },
    Entry {
        code: "SGAG041",
        meaning: "a file that the machine proves itself with has the wrong contents",
        remedy: "use PEM; `openssl pkcs8 -topk8 -nocrypt` makes PKCS #8 of other keys; certificate and key must belong together",
    },
    Entry {
        code: "SGAG042",
        meaning: "a machine certificate and no server",
        remedy: "name the servers in `servers`, as HOST:PORT",
    },
    Entry {
        code: "SGAG050",
        meaning: "a question about a process of somebody else",
        remedy: "ask as root, as the agent's user, or as the user that the process runs as; `ps -o pid,user,args` lists who runs what",
    },
    Entry {
        code: "SGAG051",
        meaning: "a question about a process that does not exist",
        remedy: "look for the process with `ps`; inside a container it has another number than on the node",
    },
    Entry {
        code: "SGAG052",
        meaning: "a process became another one while it was looked at",
        remedy: "ask again",
    },
    Entry {
        code: "SGAG060",
        meaning: "a request for secrets that is malformed or beyond the bounds",
        remedy: "ask for resources of the type envoy.extensions.transport_sockets.tls.v3.Secret, for at most 128 names of 1 to 2048 bytes; docs/envoy.md has a configuration that works",
    },
    Entry {
        code: "SGAG061",
        meaning: "no secret of that name for the caller",
        remedy: "name one of the process's SPIFFE IDs, `default`, `ROOTCA`, `ALL`, or `spiffe://DOMAIN` of the own trust domain or of one that its entry federates with; [sds] in agent.toml may have other names",
    },
    Entry {
        code: "SGAG062",
        meaning: "all bundles in one validation context without the SPIFFE certificate validator",
        remedy: "ask for `spiffe://DOMAIN` of one trust domain, or leave disable_spiffe_cert_validation off: without the validator any of the domains could vouch for the others",
    },
    Entry {
        code: "SGAG063",
        meaning: "too many requests on one stream of secrets",
        remedy: "let the client answer each response once; one that sends without end is broken",
    },
    Entry {
        code: "SGAG070",
        meaning: "another agent runs on the state directory",
        remedy: "stop it first, or replace it while it runs: signet agent run --take-over",
    },
    Entry {
        code: "SGAG071",
        meaning: "the running agent cannot hand over",
        remedy: "stop it, and start this one; workloads keep what they have and come back by themselves",
    },
    Entry {
        code: "SGAG072",
        meaning: "taking over without a state directory",
        remedy: "set state_dir, or stop the running agent and start this one",
    },
    Entry {
        code: "SGAG073",
        meaning: "taking over with a node identity that is of no use",
        remedy: "stop the running agent, and start this one with a new join string",
    },
    Entry {
        code: "SGAG074",
        meaning: "a handover asked for by another user",
        remedy: "run both agents as the same user",
    },
    Entry {
        code: "SGAG075",
        meaning: "a handover while another one is under way",
        remedy: "wait until the other agent has taken over or given up; `pgrep -a signet` shows it",
    },
    Entry {
        code: "SGAG076",
        meaning: "two agents that have no version of the handover in common",
        remedy: "stop the running agent and start this one, or go by way of a version between the two",
    },
    Entry {
        code: "SGAG077",
        meaning: "the running agent does not hand over",
        remedy: "the code and message say why; the running agent goes on",
    },
    Entry {
        code: "SGAG078",
        meaning: "a handover that broke off",
        remedy: "look whether an agent runs (`signet health`) and at the log of both; taking over can be tried again",
    },
    Entry {
        code: "SGAG079",
        meaning: "an agent that was not ready to take over in time",
        remedy: "mend what the message names (`signet why` says more of an identity) and try again; workloads are served by the running agent meanwhile",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_sound() {
        assert_eq!(signet_fault::flaws(&[REGISTER]), []);
    }

    #[test]
    fn every_error_has_a_remedy() {
        for error in [
            AgentError::Initialising,
            AgentError::NoIdentity,
            AgentError::Issue(crate::IssueError::Away(String::new())),
            AgentError::Peer(signet_sys::SysError::PeerInvisible),
        ] {
            assert!(!error.remedy().is_empty(), "{error}");
        }
    }
}
