use crate::alarm::Alarm;
use crate::gate::{Gate, ISSUE, RENEW, SYNC};
use crate::metrics::{Kind, Outcome};
use crate::peer::NodePeer;
use crate::shares::Shares;
use crate::sync::desk::Desk;
use crate::turns::Turns;
use crate::{AgentsError, Series, X509Pop, attest, issue, sync};
use core::time::Duration;
use signet_authority::{Authority, Context};
use signet_feed::{Form, MESSAGE_BYTES_MAX, Producer};
use signet_keys::Keys;
use signet_proto::agent::v1;
use signet_proto::agent::v1::agent_server::{Agent, AgentServer};
use signet_registry::Registry;
use signet_telemetry::RequestId;
use signet_time::SharedClock;
use signet_trust::Bundle;
use std::hash::RandomState;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// What the surface works on.
pub struct Parts {
    /// Entries, nodes, join tokens.
    pub registry: Arc<Registry>,
    /// The keys of the trust domain, for its bundle.
    pub keys: Arc<Keys>,
    /// What issues.
    pub authority: Authority,
    /// The time.
    pub clock: SharedClock,
    /// Ends every stream.
    pub shutdown: CancellationToken,
    /// What is counted.
    pub series: Series,
    /// Whose machines may attest by their certificates; nobody's without.
    pub x509pop: Option<X509Pop>,
    /// The software's version, as it is told to agents.
    pub software: String,
    /// How often agents hear of a server where nothing changes.
    pub pace: FeedPace,
    /// Who is told that the state was put back.
    pub alarm: Arc<Alarm>,
}

/// How often agents hear of a server where nothing changes.
#[derive(Clone, Copy, Debug)]
pub struct FeedPace {
    /// The time between two heartbeats. An agent that hears nothing for three times as long connects anew.
    pub heartbeat: Duration,
    /// The least time between two digests of what an agent should hold; they go with heartbeats.
    pub digest: Duration,
}

impl Default for FeedPace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(20),
            digest: Duration::from_secs(60),
        }
    }
}

/// The service behind port 8445. Clones share everything.
#[derive(Clone)]
pub struct Agents {
    pub(crate) registry: Arc<Registry>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) authority: Authority,
    pub(crate) clock: SharedClock,
    pub(crate) shutdown: CancellationToken,
    pub(crate) series: Series,
    pub(crate) x509pop: Option<Arc<X509Pop>>,
    pub(crate) software: Arc<str>,
    pub(crate) producer: Producer,
    /// The tasks behind streams.
    pub(crate) streams: TaskTracker,
    /// Who wakes streams.
    pub(crate) desk: Arc<Desk>,
    /// What each node has under way.
    pub(crate) shares: Arc<Shares>,
    /// Which node's wishes are signed next.
    pub(crate) turns: Arc<Turns>,
    pub(crate) pace: FeedPace,
    pub(crate) alarm: Arc<Alarm>,
    /// The newest bundle, made once for all streams.
    pub(crate) bundle: Arc<Mutex<Option<Arc<Bundle>>>>,
    /// What nodes are counted by at the listener.
    pub(crate) member_keys: RandomState,
}

impl Agents {
    /// The surface over `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let producer = Producer::new(
            parts.registry.trust_domain().clone(),
            &parts.software,
            parts.authority.jwt_issuer(),
        );
        Self {
            registry: parts.registry,
            keys: parts.keys,
            authority: parts.authority,
            clock: parts.clock,
            shutdown: parts.shutdown,
            series: parts.series,
            x509pop: parts.x509pop.map(Arc::new),
            software: parts.software.into(),
            producer,
            streams: TaskTracker::new(),
            desk: Arc::default(),
            shares: Arc::default(),
            turns: Arc::new(Turns::by_processors()),
            pace: parts.pace,
            alarm: parts.alarm,
            bundle: Arc::default(),
            member_keys: RandomState::new(),
        }
    }

    /// Returns once no stream is left. To be called after the listener has drained: a stream's task still holds what
    /// the surface works on for a moment after its connection is gone.
    pub async fn drained(&self) {
        self.streams.close();
        self.streams.wait().await;
    }

    /// Where a request comes from, for the record.
    pub(crate) fn context(&self, entry_id: Option<[u8; 16]>, request_id: &RequestId) -> Context {
        Context {
            entry_id,
            state_seq: self.registry.followed().seq(),
            request_id: request_id.to_string(),
            reason: String::new(),
        }
    }

    pub(crate) fn refuse_if_stopping(&self) -> Result<(), AgentsError> {
        if self.shutdown.is_cancelled() {
            return Err(AgentsError::Stopping);
        }
        Ok(())
    }
}

/// The tonic service with its bounds, behind its gate.
pub fn service(agents: Agents) -> Gate {
    let service = AgentServer::new(agents.clone())
        .max_decoding_message_size(Form::ISSUE.message_bytes_max)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Gate::new(agents, service)
}

/// The request's id: the one that was drawn at the gate, so that what is logged of one call bears one id.
fn request_id<T>(request: &Request<T>) -> RequestId {
    match request.extensions().get::<RequestId>() {
        Some(id) => id.clone(),
        None => RequestId::from_caller(None),
    }
}

pub(crate) fn count(agents: &Agents, kind: Kind, error: Option<&AgentsError>) {
    let outcome = match error {
        None => Outcome::Ok,
        Some(error) if error.is_passing() => Outcome::Error,
        Some(_) => Outcome::Refused,
    };
    agents.series.issued(kind, outcome);
}

#[tonic::async_trait]
impl Agent for Agents {
    async fn attest(
        &self,
        request: Request<v1::AttestRequest>,
    ) -> Result<Response<v1::AttestResponse>, Status> {
        let id = request_id(&request);
        let done = attest::attest(self, &request, &id).await;
        count(self, Kind::Node, done.as_ref().err());
        done.map(Response::new)
            .map_err(|error| error.status(&id, &self.series))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let id = request_id(&request);
        let renewed = async {
            let node = NodePeer::admitted_at_gate(request.extensions(), self, RENEW)?;
            attest::renew(self, &node, request.get_ref(), &id).await
        };
        let done = renewed.await;
        count(self, Kind::Node, done.as_ref().err());
        done.map(Response::new)
            .map_err(|error| error.status(&id, &self.series))
    }

    type SyncStream = sync::Messages;

    async fn sync(
        &self,
        request: Request<Streaming<v1::SyncRequest>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let id = request_id(&request);
        let node = NodePeer::admitted_at_gate(request.extensions(), self, SYNC)
            .and_then(|node| self.shares.stream(&node.id).map(|()| node))
            .map_err(|error| error.status(&id, &self.series))?;
        let hangup = request.extensions().get().cloned();
        Ok(Response::new(sync::start(
            self.clone(),
            node,
            request.into_inner(),
            hangup,
            id,
        )))
    }

    async fn issue(&self, request: Request<v1::IssueRequest>) -> Result<Response<v1::IssueResponse>, Status> {
        let id = request_id(&request);
        let node = NodePeer::admitted_at_gate(request.extensions(), self, ISSUE)
            .map_err(|error| error.status(&id, &self.series))?;
        issue::issue(self, &node, request.into_inner(), &id)
            .await
            .map(Response::new)
            .map_err(|error| error.status(&id, &self.series))
    }
}

impl NodePeer {
    /// Whether the node may still follow.
    pub(crate) fn check_sync(&self, agents: &Agents) -> Result<(), AgentsError> {
        self.check(agents, SYNC)
    }
}
