//! The life of one simulated agent.

use super::Fleet;
use super::node::{Node, SOFTWARE, fraction};
use super::svids::Svids;
use super::tally::Message;
use super::trouble::Trouble;
use core::time::Duration;
use signet_api::JoinString;
use signet_feed::{Event, MESSAGE_BYTES_MAX, NodeState, Replica, hello_holding, resync};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::sync_request::Message as Said;
use signet_proto::agent::v1::sync_response::Message as Told;
use signet_proto::agent::v1::{Applied, SyncRequest};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Joins, and stays connected until it is dropped. Returns where no further attempt is of use.
pub(super) async fn run(join: JoinString, fleet: Arc<Fleet>) {
    let mut way = Way {
        fleet: Arc::clone(&fleet),
        is_over: false,
    };
    if let Some(mut agent) = Agent::join(&join, fleet).await {
        agent.stay(&mut way).await;
    }
    way.fleet.tally.gave_up();
}

/// Until an agent has all that it came for. It is over, too, when the agent gives up.
struct Way {
    fleet: Arc<Fleet>,
    is_over: bool,
}

impl Way {
    fn over(&mut self) {
        if !core::mem::replace(&mut self.is_over, true) {
            self.fleet.tally.settled();
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.over();
    }
}

/// One simulated agent.
struct Agent {
    node: Node,
    server: String,
    /// What a stream before this one brought.
    held: Option<Arc<NodeState>>,
    svids: Svids,
    fleet: Arc<Fleet>,
}

/// Why a session ended.
enum End {
    /// The node has a new SVID, and shows it on a new connection.
    Renewed,
    GoingAway(Duration),
    Broken(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Broken(trouble)
    }
}

/// One connection.
struct Session {
    channel: Channel,
    stream: Streaming<signet_proto::agent::v1::SyncResponse>,
    requests: mpsc::Sender<SyncRequest>,
    replica: Replica,
    /// A server that says nothing until then is gone.
    silent_at: Option<Instant>,
    interval: Duration,
    opened: Instant,
    connected: Option<Connected>,
}

/// Counts an agent as connected until dropped.
struct Connected(Arc<Fleet>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.tally.disconnected();
    }
}

impl Agent {
    /// `None` where the server does not want it, or is not there for long.
    async fn join(join: &JoinString, fleet: Arc<Fleet>) -> Option<Self> {
        let server = fleet.server.as_ref().or(join.servers.first()).cloned()?;
        for failures in 0..FAILURES_MAX {
            // A place among those who join at one time: the server lets only so many strangers in from one address.
            let place = fleet.joining.acquire().await.ok()?;
            let started = Instant::now();
            let joined = Node::join(join, &server, &fleet.clock).await;
            drop(place);
            match joined {
                Ok(node) => {
                    fleet.tally.joined(started.elapsed());
                    return Some(Self {
                        node,
                        server,
                        held: None,
                        svids: Svids::default(),
                        fleet,
                    });
                }
                Err(trouble) => {
                    fleet.tally.failed(&trouble);
                    if trouble.is_final {
                        return None;
                    }
                    tokio::time::sleep(backoff(failures)).await;
                }
            }
        }
        None
    }

    /// Stays connected as long as that is of any use.
    async fn stay(&mut self, way: &mut Way) {
        let mut failures = 0;
        loop {
            match self.session(way, &mut failures).await {
                End::Renewed => {}
                End::GoingAway(pause) => {
                    self.fleet.tally.reconnecting();
                    tokio::time::sleep(pause).await;
                }
                End::Broken(trouble) => {
                    self.fleet.tally.failed(&trouble);
                    if trouble.is_final || failures >= FAILURES_MAX {
                        return;
                    }
                    self.fleet.tally.reconnecting();
                    tokio::time::sleep(backoff(failures)).await;
                    failures += 1;
                }
            }
        }
    }

    /// One connection, until it ends.
    async fn session(&mut self, way: &mut Way, failures: &mut u32) -> End {
        let mut session = match self.open().await {
            Ok(session) => session,
            Err(trouble) => return End::Broken(trouble),
        };
        loop {
            let due = self
                .svids
                .due()
                .filter(|_| session.connected.is_some())
                .map_or(self.node.renew_at, |due| due.min(self.node.renew_at));
            tokio::select! {
                biased;
                message = session.stream.message() => {
                    let end = match message {
                        Ok(Some(message)) => self.heard(&mut session, &message),
                        Ok(None) => Err(Trouble::passing("stream ended").into()),
                        Err(status) => Err(Trouble::from(status).into()),
                    };
                    if let Err(end) = end {
                        return end;
                    }
                    if session.connected.is_some() {
                        *failures = 0;
                        self.complete(way);
                    }
                }
                () = silence(session.silent_at) => return Trouble::passing("silence").into(),
                () = tokio::time::sleep_until(due) => {
                    if let Some(end) = self.renew(&session).await {
                        return end;
                    }
                    self.complete(way);
                }
            }
        }
    }

    async fn open(&self) -> Result<Session, Trouble> {
        let opened = Instant::now();
        let channel = self.node.channel(&self.server, &self.fleet.clock)?;
        let (requests, outgoing) = mpsc::channel(REQUESTS_WAITING_MAX);
        let holds = self.held.as_ref().map(|held| held.cursor);
        let first = Said::Hello(hello_holding(SOFTWARE, holds, self.fleet.clock.now()));
        // The channel is new and has room.
        let _ = requests.try_send(SyncRequest { message: Some(first) });
        let mut client = AgentClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let call = client.sync(ReceiverStream::new(outgoing));
        let stream = super::node::in_time(call).await?;
        let own = self.node.trust.load().own().clone();
        let replica = match &self.held {
            Some(held) => Replica::resuming(own, Arc::clone(held)),
            None => Replica::new(own),
        };
        Ok(Session {
            channel,
            stream,
            requests,
            replica,
            silent_at: None,
            interval: Duration::ZERO,
            opened,
            connected: None,
        })
    }

    /// Takes in what the server said.
    fn heard(
        &mut self,
        session: &mut Session,
        message: &signet_proto::agent::v1::SyncResponse,
    ) -> Result<(), End> {
        if !session.interval.is_zero() {
            session.silent_at = Some(Instant::now() + session.interval * HEARTBEATS_MISSED_MAX);
        }
        let tally = &self.fleet.tally;
        let event = session.replica.read(message, self.fleet.clock.now());
        match event.map_err(|e| Trouble::of(&e))? {
            Event::Hello(_) | Event::Piece => {}
            Event::State(state) => {
                let is_delta = matches!(message.message, Some(Told::Delta(_)));
                tally.heard(if is_delta {
                    Message::Delta
                } else {
                    Message::Snapshot
                });
                self.node.trust.store(Arc::new(state.trust.clone()));
                self.svids.follow(&state.entries, &self.fleet);
                self.fleet.sightings.follow(self.held.as_deref(), &state);
                let seq = state.cursor.seq;
                self.held = Some(state);
                if session.connected.is_none() {
                    tally.connected(session.opened.elapsed());
                    session.connected = Some(Connected(Arc::clone(&self.fleet)));
                }
                // A server that does not read has fallen behind; the next number says as much.
                let applied = Said::Applied(Applied { seq });
                let _ = session.requests.try_send(SyncRequest {
                    message: Some(applied),
                });
            }
            Event::Alive { interval, .. } => {
                tally.heard(Message::Heartbeat);
                session.interval = interval;
                session.silent_at = Some(Instant::now() + interval * HEARTBEATS_MISSED_MAX);
                self.held = session.replica.state().cloned();
            }
            Event::Drift { .. } => {
                tally.heard(Message::Drift);
                if let Some(held) = session.replica.state() {
                    let _ = session.requests.try_send(resync(held.cursor));
                }
            }
            Event::GoingAway { retry_after, .. } => {
                return Err(End::GoingAway(retry_after.mul_f64(1.0 + fraction())));
            }
        }
        Ok(())
    }

    /// Renews what is due.
    async fn renew(&mut self, session: &Session) -> Option<End> {
        if self.node.renew_at <= Instant::now() {
            return Some(match self.node.renew(&session.channel, &self.fleet.clock).await {
                Ok(()) => {
                    self.fleet.tally.node_renewed();
                    End::Renewed
                }
                Err(trouble) => {
                    self.node.renew_at = Instant::now() + backoff(1);
                    End::Broken(trouble)
                }
            });
        }
        let renewed = self.svids.renew(&self.node, &session.channel, &self.fleet).await;
        if let Err(trouble) = renewed {
            // The stream may be well; it says so itself.
            self.fleet.tally.failed(&trouble);
        }
        None
    }

    /// Notes, once, that there is a certificate for each workload.
    fn complete(&self, way: &mut Way) {
        if !way.is_over && self.svids.is_complete() {
            self.fleet.tally.complete();
            way.over();
        }
    }
}

async fn silence(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => tokio::time::sleep(FIRST_WITHIN).await,
    }
}

fn backoff(failures: u32) -> Duration {
    let pause = BACKOFF_MIN.saturating_mul(1 << failures.min(16));
    pause.min(BACKOFF_MAX).mul_f64(0.5 + fraction() / 2.0)
}

const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// After so many attempts without a state an agent gives up, so that a run ends.
const FAILURES_MAX: u32 = 8;
/// So many heartbeats may be missing before the server is taken for dead, as agents do.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// Before the first heartbeat has said how often they come.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
const REQUESTS_WAITING_MAX: usize = 8;
