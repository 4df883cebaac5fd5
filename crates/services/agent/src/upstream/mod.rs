//! The way to the servers: joining, the stream of states, signatures, renewal, and coming back after a break.

mod contact;
mod files;
mod machine;
mod node;
mod session;

use crate::identity::scatter;
use crate::metrics::Series;
use crate::settings::Pace;
use crate::{AgentError, IssueError, IssueFuture, Issuer, Live};
use arc_swap::ArcSwapOption;
use contact::Visit;
use files::StateDir;
pub(crate) use machine::Machine;
use node::{Kept, Known, Node};
use session::End;
use signet_api::JoinString;
use signet_fault::Coded as _;
use signet_feed::NodeState;
use signet_id::{SpiffeId, TrustDomain};
use signet_net::client::channel::transport_cause;
use signet_net::{CancellationToken, NetError};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::{IssueItem, IssueRequest};
use signet_time::SharedClock;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::{error, info, warn};

/// Asks the server that the node is connected to.
#[derive(Default)]
pub(crate) struct Remote(ArcSwapOption<Channel>);

impl Remote {
    fn open(&self, channel: Channel) {
        self.0.store(Some(Arc::new(channel)));
    }

    fn close(&self) {
        self.0.store(None);
    }
}

impl Issuer for Remote {
    fn issue(&self, items: Vec<IssueItem>) -> IssueFuture<'_> {
        Box::pin(async move {
            let Some(channel) = self.0.load_full() else {
                return Err(IssueError::Away("not connected".to_owned()));
            };
            let mut client = AgentClient::new((*channel).clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
            match client.issue(IssueRequest { items }).await {
                Ok(response) => Ok(response.into_inner().answers),
                Err(status) => Err(IssueError::Away(told(&status))),
            }
        })
    }
}

/// What the upstream needs of the rest.
pub(crate) struct State {
    pub(crate) sender: watch::Sender<Option<Arc<NodeState>>>,
    pub(crate) clock: SharedClock,
    pub(crate) pace: Pace,
    pub(crate) series: Series,
}

impl State {
    fn backoff(&self, failures: u32) -> Duration {
        let pause = self
            .pace
            .retry_min
            .saturating_mul(2_u32.saturating_pow(failures.min(16)));
        scatter(pause.min(self.pace.retry_max))
    }
}

/// A node that has, or will have, an identity.
pub(crate) struct Upstream {
    state: State,
    remote: Arc<Remote>,
    files: Option<StateDir>,
    means: Option<Means>,
    /// Names the servers of the settings; none: those that came with the identity.
    live: Live,
    node: Standing,
}

impl Upstream {
    /// Reads what was kept in `state_dir`.
    ///
    /// # Errors
    /// [`AgentError::NothingToJoinWith`]; what keeps the state directory from being used.
    pub(crate) fn new(
        state: State,
        remote: Arc<Remote>,
        state_dir: Option<&Path>,
        means: Option<Means>,
        live: Live,
    ) -> Result<Self, AgentError> {
        let files = state_dir.map(StateDir::open).transpose()?;
        let kept = match &files {
            Some(files) => Node::kept(files, state.clock.now())?,
            None => None,
        };
        // What is to be joined in another domain means another domain.
        let ours = |id: &SpiffeId| {
            means
                .as_ref()
                .is_none_or(|means| id.trust_domain() == means.trust_domain())
        };
        let node = match kept {
            Some(Kept::Good(node)) if ours(&node.id) => Standing::Good(node),
            Some(Kept::Stale(known)) if ours(&known.id) => Standing::Known(known),
            _ if means.is_none() => return Err(AgentError::NothingToJoinWith),
            _ => Standing::Stranger,
        };
        Ok(Self {
            state,
            remote,
            files,
            means,
            live,
            node,
        })
    }

    /// Joins if need be, stays connected, until `shutdown`.
    ///
    /// # Errors
    /// What no later attempt can mend: [`AgentError::JoinRefused`], [`AgentError::NodeRefused`],
    /// [`AgentError::Server`], trouble with files.
    pub(crate) async fn run(
        self,
        applied: watch::Receiver<Option<u64>>,
        shutdown: CancellationToken,
    ) -> Result<(), AgentError> {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = self.stay(applied) => ended,
        }
    }

    async fn stay(mut self, applied: watch::Receiver<Option<u64>>) -> Result<(), AgentError> {
        let mut failures = 0;
        let mut turn = 0;
        let mut configured = self.live.servers();
        loop {
            let node = match core::mem::replace(&mut self.node, Standing::Stranger) {
                // An SVID that has expired opens no door.
                Standing::Good(node) if node.not_after() <= self.state.clock.now() => {
                    info!("the node's identity has expired");
                    self.enter(Some(node.known())).await?
                }
                Standing::Good(node) => node,
                Standing::Known(known) => self.enter(Some(known)).await?,
                Standing::Stranger => self.enter(None).await?,
            };
            // Other servers have an order of preference of their own.
            let before = core::mem::replace(&mut configured, self.live.servers());
            if before != configured {
                turn = 0;
            }
            let servers = self.servers(&node.servers);
            let Some(server) = servers.get(turn % servers.len().max(1)).cloned() else {
                return Err(AgentError::Server("there is no server to call".to_owned()));
            };
            let (end, served) =
                session::run(&node, &server, &self.remote, &self.state, applied.clone()).await;
            if served {
                failures = 0;
            }
            if !matches!(end, End::Renewed) {
                turn += 1;
            }
            let (standing, pause) = match end {
                End::Renewed => (Standing::Good(node), Duration::ZERO),
                End::GoingAway(pause) => (Standing::Good(node), scatter(pause)),
                End::Broken(why) => {
                    let pause = self.state.backoff(failures);
                    warn!(%server, why, retry_ms = pause.as_millis(), "not connected");
                    (Standing::Good(node), pause)
                }
                End::Unheard(why) => {
                    let pause = self.state.backoff(failures);
                    warn!(
                        %server,
                        why,
                        retry_ms = pause.as_millis(),
                        "no connection by the node's svid, trying the node's key"
                    );
                    (Standing::Known(node.known()), pause)
                }
                End::Refused(why) => {
                    let pause = self.state.backoff(failures);
                    warn!(
                        %server,
                        error = %why,
                        code = why.code(),
                        retry_ms = pause.as_millis(),
                        "the server does not serve this node"
                    );
                    (Standing::Known(node.known()), pause)
                }
            };
            self.node = standing;
            failures = failures.saturating_add(1);
            tokio::time::sleep(pause).await;
        }
    }

    /// Those of the settings; else `own`, and after them what a join string names: it may be the newer of the two.
    fn servers(&self, own: &[String]) -> Vec<String> {
        let configured = self.live.servers();
        if !configured.is_empty() {
            return Vec::clone(&configured);
        }
        let joined = self.means.iter().flat_map(Means::servers);
        let others = joined.filter(|server| !own.contains(server));
        own.iter().chain(others).cloned().collect()
    }

    /// Comes back as the node that the server knows, else joins, however long it takes for a server to answer.
    async fn enter(&self, known: Option<Known>) -> Result<Node, AgentError> {
        if let Some(known) = known
            && let Some(node) = self.come_back(&known).await?
        {
            return Ok(node);
        }
        let means = self.means.as_ref().ok_or(AgentError::NothingToJoinWith)?;
        let visit = match means {
            Means::Join(join) => Visit::join(join, self.files.as_ref())?,
            Means::Machine(machine) => Visit::machine(machine, self.files.as_ref())?,
        };
        self.attest(&visit, means.servers()).await
    }

    /// `None` if the server does not know the node any more, and there is something to join with.
    async fn come_back(&self, known: &Known) -> Result<Option<Node>, AgentError> {
        let visit = Visit::comeback(known);
        loop {
            let refused = match self.attest(&visit, &known.servers).await {
                Err(e @ (AgentError::NodeRefused { .. } | AgentError::Server(_))) => e,
                outcome => return outcome.map(Some),
            };
            if self.means.is_some() {
                warn!(node = %known.id, error = %refused, "cannot come back as the node that this was, joining anew");
                return Ok(None);
            }
            // What it has is served on from memory, and somebody may yet mend it at the server.
            error!(
                node = %known.id,
                error = %refused,
                code = refused.code(),
                "cannot come back as the node that this was, and there is no join string: start it with a new one"
            );
            tokio::time::sleep(self.state.pace.retry_max).await;
        }
    }

    /// Attests at one of the servers, `own` if no others are set, until one answers.
    async fn attest(&self, visit: &Visit<'_>, own: &[String]) -> Result<Node, AgentError> {
        let mut failures = 0;
        loop {
            let servers = self.servers(own);
            match contact::attest(visit, &servers, self.files.as_ref(), &self.state.clock).await {
                Err(AgentError::Issue(IssueError::Away(why))) => {
                    let pause = self.state.backoff(failures);
                    warn!(why, retry_ms = pause.as_millis(), "no server to attest at yet");
                    failures = failures.saturating_add(1);
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// What a node joins with that has no identity.
pub(crate) enum Means {
    Join(JoinString),
    Machine(Machine),
}

impl Means {
    fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::Join(join) => &join.trust_domain,
            Self::Machine(machine) => &machine.trust_domain,
        }
    }

    /// Where a join string leads; a machine certificate leads nowhere.
    fn servers(&self) -> &[String] {
        match self {
            Self::Join(join) => &join.servers,
            Self::Machine(_) => &[],
        }
    }
}

/// What the node is, seen from here.
enum Standing {
    /// It has an SVID.
    Good(Node),
    /// The server may know it by its key.
    Known(Known),
    /// It has to join.
    Stranger,
}

/// The refusal that `status` is; `None` where trying again may help.
fn denied(status: &Status) -> Option<AgentError> {
    if let Some(cause) = transport_cause(status) {
        return stranger(cause);
    }
    let definite = matches!(
        status.code(),
        Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::NotFound
            | Code::Unimplemented
    );
    if !definite {
        return None;
    }
    let message = status.message().to_owned();
    let code = status
        .get_details_error_info()
        .map_or_else(|| status.code().to_string(), |info| info.reason);
    Some(if JOIN_CODES.contains(&code.as_str()) {
        AgentError::JoinRefused { code, message }
    } else {
        AgentError::NodeRefused { code, message }
    })
}

/// The refusal that a connection's failure is; `None` where trying again may help.
fn stranger(cause: &NetError) -> Option<AgentError> {
    // Another root is another server: neither time nor another attempt changes that.
    let other = signet_tls::cause(cause).filter(|e| matches!(e, signet_tls::TlsError::OtherRoot { .. }));
    other.map(|error| AgentError::Server(error.to_string()))
}

/// `status` in the words of its cause, for the log.
fn told(status: &Status) -> String {
    match transport_cause(status) {
        Some(cause) => signet_fault::chain(cause),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

/// What this software calls itself in a `Hello`.
const SOFTWARE: &str = concat!("signet-agent/", env!("CARGO_PKG_VERSION"));
/// What servers say of a join token that is unknown, as it is after an eviction, or expired, or another key's.
const JOIN_CODES: [&str; 3] = ["SGRG010", "SGRG011", "SGRG012"];
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// 64 answers, each a chain of a few kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
