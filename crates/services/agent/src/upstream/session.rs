//! One connection to one server: the stream of states, and the way to ask for signatures.

use super::line::Line;
use super::node::Node;
use super::{Remote, SOFTWARE, State, denied, told};
use crate::{AgentError, IssueError};
use signet_feed::{Capability, Event, FeedError, MESSAGE_BYTES_MAX, Replica, hello_holding, resync};
use signet_net::client::channel::{self, transport_cause};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::sync_request::Message;
use signet_proto::agent::v1::{Applied, RenewRequest, SyncRequest};
use signet_time::UnixTime;
use signet_tls::{ClientTls, PeerRule};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use tracing::{info, warn};

/// Why a session ended.
pub(super) enum End {
    /// The node has a new SVID: connect anew to show it.
    Renewed,
    /// The server asked for it.
    GoingAway(Duration),
    /// It broke, or never began.
    Broken(String),
    /// It broke before the server had said anything, though there was one. So it is with a server that does not take
    /// the SVID, for in TLS 1.3 the client is done before its certificate is looked at; and with a server whose
    /// certificate does not stand before the kept bundle.
    Unheard(String),
    /// The server does not know this node, or knows it as one that must not be served.
    Refused(AgentError),
}

/// Follows the stream of `server` until it ends. Whether there was any state tells if the server is of use.
pub(super) async fn run(
    node: &Node,
    server: &str,
    remote: &Remote,
    state: &State,
    line: &Line,
    applied: watch::Receiver<Option<u64>>,
) -> (End, bool) {
    let mut served = false;
    let end = follow(node, server, remote, state, line, applied, &mut served).await;
    if !matches!(end, End::Renewed) {
        // Whoever asks from now on is told at once, and not after a timeout.
        remote.close();
        state.series.connected.set(0);
    }
    (end, served)
}

async fn follow(
    node: &Node,
    server: &str,
    remote: &Remote,
    state: &State,
    line: &Line,
    mut applied: watch::Receiver<Option<u64>>,
    served: &mut bool,
) -> End {
    let clock = &state.clock;
    let tls = ClientTls::new(
        Arc::clone(&node.shown),
        Arc::clone(&node.trust),
        Arc::clone(clock),
        PeerRule::server(),
    );
    let channel = match tls {
        Ok(tls) => channel::tls(server.to_owned(), tls.config()),
        Err(error) => return End::Broken(signet_fault::chain(&error)),
    };
    let (requests, outgoing) = mpsc::channel(REQUESTS_WAITING_MAX);
    let held = state.held(&node.id);
    let holds = held.as_ref().map(|held| held.cursor);
    let first = SyncRequest {
        message: Some(Message::Hello(hello_holding(SOFTWARE, holds, clock.now()))),
    };
    // The channel is new and has room.
    let _ = requests.try_send(first);
    let mut client = AgentClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let opened = tokio::time::timeout(super::CALL_TIMEOUT, client.sync(ReceiverStream::new(outgoing))).await;
    let mut stream = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return unopened(&status),
        Err(_) => return End::Broken("no answer in time".to_owned()),
    };
    let own = node.trust.load().own().clone();
    let mut replica = match held {
        Some(held) => Replica::resuming(own, held),
        None => Replica::new(own),
    };
    let mut silence = Silence::new();
    let mut renewal = Renewal::new();
    let mut skew = Skew::default();
    applied.mark_unchanged();
    loop {
        let renew_in = if node.is_awaited() {
            AWAITED_LOOK
        } else {
            renewal.due(node, clock.now())
        };
        if renew_in.is_zero() {
            match renew(node, &channel, state, line).await {
                Ok(()) => return End::Renewed,
                Err(error) => {
                    warn!(%error, not_after = %node.not_after(), "cannot renew the node's identity");
                    renewal.failed(state);
                    continue;
                }
            }
        }
        let message = tokio::select! {
            message = stream.message() => message,
            changed = applied.changed() => {
                let seq = *applied.borrow_and_update();
                if let (Ok(()), Some(seq)) = (changed, seq) {
                    // A server that does not read has fallen behind; the next number says as much.
                    let _ = requests.try_send(SyncRequest { message: Some(Message::Applied(Applied { seq })) });
                }
                continue;
            }
            () = silence.too_long() => return End::Broken("nothing heard from the server for three heartbeats".to_owned()),
            () = tokio::time::sleep(renew_in) => continue,
        };
        silence.broken();
        let event = match message {
            Ok(Some(message)) => replica.read(&message, clock.now()),
            Ok(None) => return End::Broken("the server ended the stream".to_owned()),
            Err(status) => return ended(&status),
        };
        match event {
            Ok(Event::Hello(peer)) => {
                if peer.capabilities.has(Capability::Heartbeat) {
                    silence.expect(state.pace.heartbeat);
                }
                skew.measure(peer.now, state);
                info!(%server, software = peer.software, "connected");
            }
            // What there was before serves on.
            Ok(Event::Piece) => {}
            Ok(Event::State(fresh)) => {
                if let Err(error) = node.trust(&fresh.trust) {
                    warn!(%error, "cannot keep the bundle for the next start");
                }
                // A new connection with what is tainted would be refused: this one stands and is good for asking.
                renewal.void = !node.stands(&fresh.trust, clock.now());
                *served = true;
                remote.open(channel.clone());
                state.series.connected.set(1);
                state.link.up(server, node.id.as_str(), clock.now());
                state.take(&node.id, fresh);
            }
            Ok(Event::Alive { interval, now }) => {
                silence.expect(interval);
                skew.measure(now, state);
                if let Some(held) = replica.state() {
                    state.take(&node.id, Arc::clone(held));
                }
            }
            Ok(Event::Drift { held, told }) => {
                state.drifted(held, told);
                let Some(cursor) = replica.state().map(|held| held.cursor) else {
                    continue;
                };
                // A server that does not read what is asked is one to leave.
                if requests.try_send(resync(cursor)).is_err() {
                    state.forget();
                    return End::Broken("a state that drifted, and a server that does not listen".to_owned());
                }
            }
            Ok(Event::GoingAway { reason, retry_after }) => {
                info!(%server, reason, "the server goes away");
                return End::GoingAway(retry_after);
            }
            Err(error) => {
                if let FeedError::Digest { held, told } = &error {
                    state.drifted(*held, *told);
                }
                // The next stream begins with a snapshot: news that did not fit may never do.
                state.forget();
                return End::Broken(signet_fault::chain(&error));
            }
        }
    }
}

/// How far the two clocks are apart: told when they part, and when they are together again.
#[derive(Default)]
struct Skew {
    is_told: bool,
}

impl Skew {
    /// The server's clock shows `theirs`.
    fn measure(&mut self, theirs: UnixTime, state: &State) {
        let ours = state.clock.now();
        let skew = theirs.since(ours).max(ours.since(theirs));
        state.series.skew.set(skew.as_secs_f64());
        let is_wide = skew > SKEW_MAX;
        if is_wide && !self.is_told {
            warn!(
                skew_ms = skew.as_millis(),
                %ours,
                %theirs,
                "this node's clock and the server's differ: what is issued may have expired here, or not yet begun; set \
                 the one that is wrong"
            );
        } else if self.is_told && !is_wide {
            info!(
                skew_ms = skew.as_millis(),
                "this node's clock and the server's are together again"
            );
        }
        self.is_told = is_wide;
    }
}

/// How long nothing was heard. Without heartbeats that says nothing.
struct Silence {
    interval: Option<Duration>,
    since: tokio::time::Instant,
}

impl Silence {
    fn new() -> Self {
        Self {
            interval: None,
            since: tokio::time::Instant::now(),
        }
    }

    /// Something was heard.
    fn broken(&mut self) {
        self.since = tokio::time::Instant::now();
    }

    /// Heartbeats come at least so often from now on.
    fn expect(&mut self, interval: Duration) {
        self.interval = Some(interval);
    }

    /// Returns once a server that is there would have said something.
    async fn too_long(&self) {
        match self.interval {
            Some(interval) => tokio::time::sleep_until(self.since + interval * MISSED_MAX).await,
            None => core::future::pending().await,
        }
    }
}

fn ended(status: &tonic::Status) -> End {
    match denied(status) {
        Some(error) => End::Refused(error),
        None => End::Broken(told(status)),
    }
}

fn unopened(status: &tonic::Status) -> End {
    // A server that speaks says so with a code of its own; where none was reached, there is a cause, which is ours
    // if it was reached and not believed.
    let is_said = status.get_details_error_info().is_some();
    let is_reached = transport_cause(status).is_none_or(|cause| signet_tls::cause(cause).is_some());
    match ended(status) {
        End::Broken(why) if is_reached && !is_said => End::Unheard(why),
        end => end,
    }
}

async fn renew(node: &Node, channel: &Channel, state: &State, line: &Line) -> Result<(), AgentError> {
    let csr = signet_x509::make_csr(&node.key, Some(&node.id), &[]).map_err(AgentError::Certificate)?;
    let mut client = AgentClient::new(channel.clone());
    let step = line.step()?;
    let call = client.renew(RenewRequest {
        csr: csr.into(),
        step: Some(step.clone()),
    });
    let response = tokio::time::timeout(super::CALL_TIMEOUT, call)
        .await
        .map_err(|_| IssueError::Away("no answer in time".to_owned()))?
        .map_err(|status| denied(&status).unwrap_or_else(|| IssueError::Away(told(&status)).into()))?;
    let svid = response
        .into_inner()
        .svid
        .ok_or_else(|| AgentError::Server("it sent no identity".to_owned()))?;
    node.renew(svid, state.clock.now())?;
    line.answered(&step);
    info!(node = %node.id, not_after = %node.not_after(), "node identity renewed");
    Ok(())
}

/// When to try to renew next.
struct Renewal {
    failures: u32,
    not_before: Option<tokio::time::Instant>,
    /// What the node shows stands no more, however much of its life is left.
    void: bool,
}

impl Renewal {
    fn new() -> Self {
        Self {
            failures: 0,
            not_before: None,
            void: false,
        }
    }

    /// How long until then; zero if it is time. Looks at the clock again now and then, because it may be set.
    fn due(&self, node: &Node, now: UnixTime) -> Duration {
        let wait = self
            .not_before
            .map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        let left = if self.void {
            Duration::ZERO
        } else {
            node.renew_at().since(now)
        };
        left.max(wait.unwrap_or_default()).min(LOOK_MAX)
    }

    fn failed(&mut self, state: &State) {
        self.not_before = Some(tokio::time::Instant::now() + state.backoff(self.failures).max(PAUSE_MIN));
        self.failures = self.failures.saturating_add(1);
    }
}

/// So many heartbeats may be missing before the server is taken for dead.
const MISSED_MAX: u32 = 3;
/// Numbers of applied states that wait to be sent.
const REQUESTS_WAITING_MAX: usize = 8;
/// Beyond this, tokens and certificates that are fresh here are not yet valid there.
const SKEW_MAX: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// How soon an agent that takes over looks whether it has.
const AWAITED_LOOK: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(3600);
