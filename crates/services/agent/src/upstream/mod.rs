//! The way to the servers: joining, the stream of states, signatures, renewal, and coming back after a break.

mod anchor;
mod contact;
mod files;
mod line;
mod machine;
mod node;
mod session;

use crate::metrics::Series;
use crate::settings::Pace;
use crate::{AgentError, IssueError, IssueFuture, Issuer, Link, Live};
use arc_swap::ArcSwapOption;
use contact::Visit;
pub(crate) use files::{Pen, StateDir};
use line::Line;
pub(crate) use machine::Machine;
use node::{Kept, Known, Node};
use session::End;
use signet_api::JoinString;
use signet_check::x509::X509SvidError;
use signet_fault::Coded as _;
use signet_feed::{FeedCursor, NodeState};
use signet_id::{SpiffeId, TrustDomain};
use signet_net::client::channel::transport_cause;
use signet_net::{CancellationToken, NetError};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::{IssueItem, IssueRequest};
use signet_time::SharedClock;
use signet_tls::TlsError;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    pub(crate) link: Link,
    /// The node that the state in `sender` is of, if a stream may go on from there.
    pub(crate) held_as: Mutex<Option<SpiffeId>>,
}

impl State {
    /// Notes why there is no connection, for those who ask.
    fn down(&self, why: String) {
        self.link.down(why, self.clock.now());
    }

    /// What a stream of `node` can go on from. Not what was sent to another node that this one was before it joined anew:
    /// the server would not take back what only that one may have.
    fn held(&self, node: &SpiffeId) -> Option<Arc<NodeState>> {
        if self.held_as().as_ref() != Some(node) {
            return None;
        }
        self.sender.borrow().clone()
    }

    /// Begins the next stream with a snapshot.
    fn forget(&self) {
        *self.held_as() = None;
    }

    fn held_as(&self) -> MutexGuard<'_, Option<SpiffeId>> {
        self.held_as.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves workloads of `node` from `state` from now on.
    fn take(&self, node: &SpiffeId, state: Arc<NodeState>) {
        self.held_as()
            .get_or_insert_with(|| node.clone())
            .clone_from(node);
        self.heard(state.cursor);
        self.sender.send_replace(Some(state));
    }

    /// Takes note of the place that this node was told of.
    fn heard(&self, cursor: FeedCursor) {
        self.link.heard(cursor, self.clock.now());
    }

    /// Says aloud that what is held is not what was sent.
    fn drifted(&self, held: u64, told: u64) {
        self.series.drifts.inc();
        error!(
            held,
            told,
            "the entries that this node holds are not those that its server sent: asking for all of them anew; \
             report this, with the versions of agent and server"
        );
    }

    fn backoff(&self, failures: u32) -> Duration {
        let pause = self
            .pace
            .retry_min
            .saturating_mul(2_u32.saturating_pow(failures.min(16)));
        spread(pause.min(self.pace.retry_max) / 2)
    }
}

/// A node that has, or will have, an identity.
pub(crate) struct Upstream {
    state: State,
    remote: Arc<Remote>,
    files: Option<StateDir>,
    means: Option<Means>,
    /// A file with roots that its operator vouches for.
    anchor: Option<PathBuf>,
    line: Line,
    /// Names the servers of the settings; none: those that came with the identity.
    live: Live,
    node: Standing,
}

impl Upstream {
    /// Reads what was kept in the state directory `files`.
    ///
    /// # Errors
    /// [`AgentError::NothingToJoinWith`]; what keeps the state directory from being used.
    pub(crate) fn new(
        state: State,
        remote: Arc<Remote>,
        files: Option<StateDir>,
        means: Option<Means>,
        anchor: Option<PathBuf>,
        live: Live,
    ) -> Result<Self, AgentError> {
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
            line: Line::new(files.clone()),
            files,
            means,
            anchor,
            live,
            node,
        })
    }

    /// Whether what was kept is an identity that servers take.
    pub(crate) fn has_identity(&self) -> bool {
        matches!(self.node, Standing::Good(_))
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
            let (end, served) = session::run(
                &node,
                &server,
                &self.remote,
                &self.state,
                &self.line,
                applied.clone(),
            )
            .await;
            if served {
                failures = 0;
            }
            if !matches!(end, End::Renewed) {
                turn += 1;
            }
            let (standing, pause) = match end {
                End::Renewed => (Standing::Good(node), Duration::ZERO),
                End::GoingAway(pause) => {
                    self.state
                        .down("the server went away, as it said it would".to_owned());
                    (Standing::Good(node), spread(pause))
                }
                End::Broken(why) => {
                    let pause = self.state.backoff(failures);
                    warn!(%server, why, retry_ms = pause.as_millis(), "not connected");
                    self.state.down(why);
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
                    self.state.down(why);
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
                    self.state.down(why.to_string());
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
    ///
    /// Of a node that was `known`, workloads may have identities that are served from memory. Only a server that proved
    /// itself ends that, by refusing the node and whatever it has to join with; one that did not may be anybody.
    async fn enter(&self, known: Option<Known>) -> Result<Node, AgentError> {
        if let Some(files) = self.files.as_ref().filter(|files| files.pen().is_awaited()) {
            return Err(AgentError::TakeOverStranger(files.path().to_owned()));
        }
        let Some(known) = known else {
            return self.join().await;
        };
        loop {
            let mut entered = self.come_back(&known).await;
            if let (Err(AgentError::NodeRefused { .. }), Some(_)) = (&entered, &self.means) {
                let refused = entered.err().map(|error| error.to_string());
                warn!(node = %known.id, error = refused, "cannot come back as the node that this was, joining anew");
                entered = self.join().await;
                if let Err(AgentError::NodeRefused { .. }) = entered {
                    return entered;
                }
            }
            let error = match entered {
                Err(error @ (AgentError::NodeRefused { .. } | AgentError::Server(_))) => error,
                entered => return entered,
            };
            self.state.down(error.to_string());
            // What it has is served on from memory, and somebody may yet mend it at the server.
            error!(
                node = %known.id,
                error = %error,
                code = error.code(),
                "cannot come back as the node that this was: trying again, serving what there is"
            );
            tokio::time::sleep(self.state.pace.retry_max).await;
        }
    }

    async fn come_back(&self, known: &Known) -> Result<Node, AgentError> {
        let anchor = anchor::roots(self.anchor.as_deref(), self.means.as_ref());
        self.attest(&Visit::comeback(known, anchor), &known.servers).await
    }

    async fn join(&self) -> Result<Node, AgentError> {
        let means = self.means.as_ref().ok_or(AgentError::NothingToJoinWith)?;
        let visit = match means {
            Means::Join(join) => Visit::join(join, self.files.as_ref())?,
            Means::Machine(machine) => Visit::machine(machine, self.files.as_ref())?,
        };
        self.attest(&visit, means.servers()).await
    }

    /// Attests at one of the servers, `own` if no others are set, until one answers.
    async fn attest(&self, visit: &Visit<'_>, own: &[String]) -> Result<Node, AgentError> {
        let mut failures = 0;
        loop {
            let servers = self.servers(own);
            match contact::attest(
                visit,
                &servers,
                self.files.as_ref(),
                &self.line,
                &self.state.clock,
            )
            .await
            {
                Err(AgentError::Issue(IssueError::Away(why))) => {
                    let pause = self.state.backoff(failures);
                    warn!(why, retry_ms = pause.as_millis(), "no server to attest at yet");
                    self.state.down(why);
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
    let other = signet_tls::cause(cause).filter(|e| matches!(e, TlsError::OtherRoot { .. }));
    other.map(|error| AgentError::Server(error.to_string()))
}

/// `status` in the words of its cause, for the log.
fn told(status: &Status) -> String {
    match transport_cause(status) {
        Some(cause) => told_net(cause),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

/// The same of a connection that failed. A server whose certificate is not valid now is most often a clock that is wrong.
fn told_net(cause: &NetError) -> String {
    let words = signet_fault::chain(cause);
    let is_of_time = matches!(
        signet_tls::cause(cause),
        Some(TlsError::Svid(
            X509SvidError::Expired { .. } | X509SvidError::NotYetValid { .. }
        ))
    );
    if is_of_time {
        format!("{words}; compare this node's clock with the server's")
    } else {
        words
    }
}

/// `least`, or up to twice as long: of all that lose one server at once, few come back at the same moment.
fn spread(least: Duration) -> Duration {
    // Without randomness all come back at once, which is a pity and no more.
    let random = signet_crypto::random::<4>().map_or(u32::MAX / 2, u32::from_le_bytes);
    least.mul_f64(1.0 + f64::from(random) / f64::from(u32::MAX))
}

/// What this software calls itself in a `Hello`.
const SOFTWARE: &str = concat!("signet-agent/", env!("CARGO_PKG_VERSION"));
/// What servers say of a join token that is unknown, as it is after an eviction, or expired, or another key's.
const JOIN_CODES: [&str; 3] = ["SGRG010", "SGRG011", "SGRG012"];
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// 64 answers, each a chain of a few kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_gone_on_from_by_the_node_that_it_was_sent_to() {
        let node =
            |name: &str| SpiffeId::parse(&format!("spiffe://a.test/signet/node/join/{name}")).expect("id");
        let state = State {
            sender: watch::Sender::new(None),
            clock: Arc::new(signet_testkit::ManualClock::default()),
            pace: Pace::default(),
            series: Series::new(&signet_telemetry::Metrics::new(None)),
            link: Link::default(),
            held_as: Mutex::default(),
        };
        let sent = Arc::new(NodeState {
            cursor: FeedCursor {
                epoch: [1; 16],
                seq: 7,
                chain: [0; 32],
            },
            trust: signet_trust::TrustView::new("a.test".parse().expect("domain")),
            entries: signet_feed::EntrySet::default(),
            jwt_issuer: String::new(),
        });
        assert!(state.held(&node("1")).is_none());
        state.take(&node("1"), Arc::clone(&sent));
        assert_eq!(state.held(&node("1")).map(|held| held.cursor.seq), Some(7));
        assert!(state.held(&node("2")).is_none(), "it joined anew as another");
        state.take(&node("2"), sent);
        assert!(state.held(&node("1")).is_none() && state.held(&node("2")).is_some());
        state.forget();
        assert!(state.held(&node("2")).is_none());
        assert!(state.sender.borrow().is_some(), "which serves on");
    }

    #[test]
    fn pauses_are_spread_and_bounded() {
        let least = Duration::from_secs(15);
        let pauses: Vec<_> = (0..200).map(|_| spread(least)).collect();
        assert!(pauses.iter().all(|pause| (least..=2 * least).contains(pause)));
        let (first, last) = (
            pauses.iter().min().expect("some"),
            pauses.iter().max().expect("some"),
        );
        assert!(*last - *first > least / 2, "{first:?} to {last:?}");
    }
}
