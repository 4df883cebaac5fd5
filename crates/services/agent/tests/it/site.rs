//! A server over TLS that speaks as much of the agent protocol as the tests need.

use crate::world::{DOMAIN, Domain, Server, entry};
use arc_swap::ArcSwap;
use signet_agent::{Agent, AgentError, AgentSettings, Handle, Issuer as _, Launch, Pace};
use signet_api::JoinString;
use signet_check::machine::{Binding, MachineTrust, split};
use signet_crypto::{PublicKey, Secret, SetHash, digest};
use signet_fault::Coded as _;
use signet_feed::{FeedCursor, FeedEntry, PeerHello, Producer, bundle_to_proto, hello};
use signet_net::{CancellationToken, Limits, TcpServer};
use signet_proto::agent::v1::agent_server::{Agent as Protocol, AgentServer};
use signet_proto::agent::v1::attest_request::Evidence;
use signet_proto::agent::v1::sync_request::Message;
use signet_proto::agent::v1::sync_response::Message as Said;
use signet_proto::agent::v1::{
    AttestRequest, AttestResponse, IssueRequest, IssueResponse, KnownNode, NodeSvid, RenewRequest,
    RenewResponse, RenewalStep, SyncRequest, SyncResponse, X509Pop,
};
use signet_settings::ListenAddress;
use signet_testkit::ManualClock;
use signet_time::Clock as _;
use signet_tls::{ClientPolicy, LiveIdentity, PeerIdentity, ServerTls, channel_binding, peer_identity};
use signet_trust::{Bundle, TrustView};
use signet_x509::Csr;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

pub(crate) const TOKEN: &str = "token-0123456789abcdef";

/// The server's side of the protocol, as small as it can be.
pub(crate) struct Control {
    pub(crate) server: Arc<Server>,
    pub(crate) clock: ManualClock,
    pub(crate) entries: watch::Sender<Vec<FeedEntry>>,
    /// Bundles besides the own domain's.
    pub(crate) foreign: Mutex<Vec<Bundle>>,
    /// The key that the token is bound to.
    pub(crate) bound: Mutex<Option<PublicKey>>,
    /// The life of node identities.
    pub(crate) node_ttl: Mutex<Duration>,
    /// The server does not know the node any more, until it joins.
    pub(crate) evicted: AtomicBool,
    /// The join token is gone.
    pub(crate) token_removed: AtomicBool,
    /// The machines that may join by their certificates.
    pub(crate) machines: Mutex<Option<MachineTrust>>,
    /// How many joined.
    pub(crate) attested: AtomicUsize,
    /// How many came back by their key.
    pub(crate) returned: AtomicUsize,
    /// How many wanted to, and were not let.
    pub(crate) turned_away: AtomicUsize,
    pub(crate) renewed: AtomicUsize,
    /// What those who joined, came back and renewed said that they go on from.
    pub(crate) steps: Mutex<Vec<RenewalStep>>,
    pub(crate) applied: watch::Sender<u64>,
    /// The places that the agents of all streams named.
    pub(crate) held: watch::Sender<Vec<Option<u64>>>,
    /// What goes wrong next.
    pub(crate) mishap: Mutex<Option<Mishap>>,
    /// How many mishaps have come about.
    pub(crate) mishaps: watch::Sender<usize>,
    /// How many snapshots were asked for.
    pub(crate) resynced: watch::Sender<usize>,
}

/// What goes wrong with the next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The server sends the first piece of a snapshot, and no more.
    Cut,
    /// After a heartbeat it says nothing more.
    Silence,
    /// Its digest is not that of what it sent.
    Drift,
}

impl Control {
    fn node(&self, csr: &[u8]) -> NodeSvid {
        let mut node = entry(0, "/signet/node/join/1");
        node.x509_ttl = *self.node_ttl.lock().expect("lock");
        let issued = self.server.sign(csr, &node);
        NodeSvid {
            spiffe_id: node.spiffe_id.to_string(),
            chain: issued.chain,
            not_after_s: issued.not_after_s,
            bundle: Some(bundle_to_proto(&self.server.domain.bundle(), true)),
        }
    }
}

/// What the handshake proved, as far as this fake cares.
#[derive(Clone)]
struct Shown(PeerIdentity, Binding);

fn shown<T>(request: &Request<T>) -> PeerIdentity {
    request.extensions().get::<Shown>().expect("handshake").0.clone()
}

fn binding<T>(request: &Request<T>) -> Binding {
    request.extensions().get::<Shown>().expect("handshake").1
}

struct Service(Arc<Control>);

impl Service {
    fn machine(
        &self,
        machine: &X509Pop,
        binding: &Binding,
        key: &PublicKey,
        csr: &[u8],
    ) -> Result<Response<AttestResponse>, Status> {
        let machines = self.0.machines.lock().expect("lock");
        let trust = machines.as_ref().expect("machines");
        let chain = split(&machine.chain).expect("a chain");
        let verified = trust.verify(&chain, &machine.signature, binding, key, self.0.clock.now());
        if let Err(error) = verified {
            let details = ErrorDetails::with_error_info(error.code(), "signet", HashMap::new());
            let (code, message) = (Code::PermissionDenied, error.to_string());
            return Err(Status::with_error_details(code, message, details));
        }
        *self.0.bound.lock().expect("lock") = Some(key.clone());
        self.0.attested.fetch_add(1, Ordering::SeqCst);
        self.0.evicted.store(false, Ordering::SeqCst);
        Ok(Response::new(AttestResponse {
            hello: Some(hello("fake", self.0.clock.now())),
            svid: Some(self.0.node(csr)),
        }))
    }

    fn come_back(
        &self,
        known: &KnownNode,
        key: &PublicKey,
        csr: &[u8],
    ) -> Result<Response<AttestResponse>, Status> {
        let svid = self.0.node(csr);
        let is_known = self.0.bound.lock().expect("lock").as_ref() == Some(key);
        if !is_known || known.spiffe_id != svid.spiffe_id || self.0.evicted.load(Ordering::SeqCst) {
            self.0.turned_away.fetch_add(1, Ordering::SeqCst);
            let details = ErrorDetails::with_error_info("SGRG020", "signet", HashMap::new());
            let message = "no node with this key";
            return Err(Status::with_error_details(
                Code::PermissionDenied,
                message,
                details,
            ));
        }
        self.0.returned.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(AttestResponse {
            hello: Some(hello("fake", self.0.clock.now())),
            svid: Some(svid),
        }))
    }
}

#[tonic::async_trait]
impl Protocol for Service {
    async fn attest(&self, request: Request<AttestRequest>) -> Result<Response<AttestResponse>, Status> {
        let PeerIdentity::ProofOfPossession(key) = shown(&request) else {
            return Err(Status::unauthenticated("no proof of possession"));
        };
        let binding = binding(&request);
        let request = request.into_inner();
        let step = request.step.clone().expect("an agent of today says it");
        self.0.steps.lock().expect("lock").push(step);
        let csr = Csr::parse(&request.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let token = match request.evidence {
            Some(Evidence::JoinToken(token)) => token,
            Some(Evidence::KnownNode(known)) => return self.come_back(&known, &key, &request.csr),
            Some(Evidence::X509pop(machine)) => return self.machine(&machine, &binding, &key, &request.csr),
            None => return Err(Status::invalid_argument("no evidence")),
        };
        if token != TOKEN || csr.public_key != key {
            return Err(Status::permission_denied("token or key"));
        }
        let mut bound = self.0.bound.lock().expect("lock");
        if *bound.get_or_insert_with(|| key.clone()) != key {
            return Err(Status::permission_denied("the token was used with another key"));
        }
        if self.0.token_removed.load(Ordering::SeqCst) {
            let details = ErrorDetails::with_error_info("SGRG010", "signet", HashMap::new());
            let message = "join token is unknown: removed when its node was evicted";
            return Err(Status::with_error_details(
                Code::PermissionDenied,
                message,
                details,
            ));
        }
        self.0.attested.fetch_add(1, Ordering::SeqCst);
        self.0.evicted.store(false, Ordering::SeqCst);
        Ok(Response::new(AttestResponse {
            hello: Some(hello("fake", self.0.clock.now())),
            svid: Some(self.0.node(&request.csr)),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        assert!(shown(&request).spiffe_id().is_some());
        *self.0.node_ttl.lock().expect("lock") = Duration::from_secs(3600);
        let request = request.into_inner();
        let svid = self.0.node(&request.csr);
        let step = request.step.expect("an agent of today says it");
        self.0.steps.lock().expect("lock").push(step);
        self.0.renewed.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RenewResponse { svid: Some(svid) }))
    }

    type SyncStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<SyncResponse, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<SyncRequest>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        assert!(shown(&request).spiffe_id().is_some());
        if self.0.evicted.load(Ordering::SeqCst) {
            return Err(Status::unauthenticated("evicted"));
        }
        let mut incoming = request.into_inner();
        let control = Arc::clone(&self.0);
        let (sender, outgoing) = tokio::sync::mpsc::channel(4);
        let mut entries = control.entries.subscribe();
        tokio::spawn(async move {
            let first = incoming.message().await.expect("stream").expect("hello");
            let Some(Message::Hello(hello)) = first.message else {
                panic!("{first:?}");
            };
            let peer = PeerHello::read(&hello).expect("hello");
            control
                .held
                .send_modify(|held| held.push(peer.holds.map(|cursor| cursor.seq)));
            let theirs = peer.capabilities;
            let producer = Producer::new(DOMAIN.parse().expect("domain"), "fake", "https://a.test");
            let now = control.clock.now();
            let _ = sender.send(Ok(producer.hello(now))).await;
            let mut seq = 0;
            loop {
                seq += 1;
                let list: Vec<_> = entries
                    .borrow_and_update()
                    .iter()
                    .cloned()
                    .map(Arc::new)
                    .collect();
                control.server.set_entries(&list);
                let cursor = FeedCursor {
                    epoch: [1; 16],
                    seq,
                    chain: [0; 32],
                };
                let mut bundles = vec![Arc::new(control.server.domain.bundle())];
                let foreign = control.foreign.lock().expect("lock").clone();
                bundles.extend(foreign.into_iter().map(Arc::new));
                let mishap = control.mishap.lock().expect("lock").take();
                let list: Vec<_> = list.iter().map(|e| FeedEntry::clone(e)).collect();
                let beat = |digest| producer.heartbeat(cursor, digest, SILENCE, now);
                let messages = match mishap {
                    Some(Mishap::Cut) => {
                        let pieces = producer.chunks(cursor, &bundles, list, theirs);
                        pieces.map(without_end).take(1).collect()
                    }
                    Some(Mishap::Silence) => {
                        vec![producer.snapshot(cursor, &bundles, list, theirs), beat(None)]
                    }
                    Some(Mishap::Drift) => {
                        let other = SetHash::told(&[7; 32], 77);
                        let beat = producer.heartbeat(cursor, Some(&other), Duration::from_secs(20), now);
                        vec![producer.snapshot(cursor, &bundles, list, theirs), beat]
                    }
                    None => vec![producer.snapshot(cursor, &bundles, list, theirs)],
                };
                for message in messages {
                    if sender.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                if mishap.is_some() {
                    control.mishaps.send_modify(|count| *count += 1);
                }
                if matches!(mishap, Some(Mishap::Cut | Mishap::Silence)) {
                    return sender.closed().await;
                }
                loop {
                    tokio::select! {
                        message = incoming.message() => match message {
                            Ok(Some(SyncRequest { message: Some(Message::Applied(applied)) })) => {
                                control.applied.send_replace(applied.seq);
                            }
                            Ok(Some(SyncRequest { message: Some(Message::Resync(_)) })) => {
                                control.resynced.send_modify(|count| *count += 1);
                                break;
                            }
                            Ok(Some(_)) => {}
                            Ok(None) | Err(_) => return,
                        },
                        changed = entries.changed() => match changed {
                            Ok(()) => break,
                            Err(_) => return,
                        },
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueResponse>, Status> {
        assert!(shown(&request).spiffe_id().is_some());
        let answers = self.0.server.issue(request.into_inner().items).await;
        let answers = answers.map_err(|e| Status::unavailable(e.to_string()))?;
        Ok(Response::new(IssueResponse { answers }))
    }
}

/// How often a server that falls silent said that it would speak.
const SILENCE: Duration = Duration::from_millis(20);

/// The piece as if others followed it.
fn without_end(mut piece: SyncResponse) -> SyncResponse {
    if let Some(Said::Chunk(chunk)) = &mut piece.message {
        chunk.end = None;
    }
    piece
}

/// A server that can be started and stopped at one address.
pub(crate) struct Site {
    pub(crate) control: Arc<Control>,
    pub(crate) address: SocketAddr,
    /// What the server shows.
    identity: Arc<LiveIdentity>,
    running: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new(entries: Vec<FeedEntry>) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), entries).await
    }

    /// Another server of the same trust domain, with a root of its own.
    pub(crate) async fn at(address: SocketAddr, entries: Vec<FeedEntry>) -> Self {
        let clock = ManualClock::default();
        let control = Arc::new(Control {
            server: Arc::new(Server::new(Domain::new(DOMAIN), clock.clone())),
            clock,
            entries: watch::channel(entries).0,
            foreign: Mutex::default(),
            bound: Mutex::default(),
            node_ttl: Mutex::new(Duration::from_secs(3600)),
            evicted: false.into(),
            token_removed: false.into(),
            machines: Mutex::default(),
            attested: AtomicUsize::new(0),
            returned: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
            renewed: AtomicUsize::new(0),
            steps: Mutex::default(),
            applied: watch::channel(0).0,
            held: watch::Sender::default(),
            mishap: Mutex::default(),
            mishaps: watch::Sender::default(),
            resynced: watch::Sender::default(),
        });
        let mut site = Self {
            control,
            address,
            identity: Arc::new(LiveIdentity::none()),
            running: None,
            folder: tempfile::tempdir().expect("folder"),
        };
        site.start().await;
        site
    }

    pub(crate) async fn start(&mut self) {
        let listener = TcpServer::bind(self.address, "test").await.expect("bind");
        self.address = listener.address();
        let domain = &self.control.server.domain;
        let (chain, key) = domain.server_identity();
        self.identity.set(chain, &key).expect("identity");
        let identity = Arc::clone(&self.identity);
        let trust = TrustView::new(domain.name.clone()).with_bundle(domain.bundle());
        let clock = Arc::new(self.control.clock.clone());
        let trust = Arc::new(ArcSwap::from_pointee(trust));
        let tls = ServerTls::new(identity, trust, clock, ClientPolicy::SpiffeOrProof).expect("tls");
        let identify = |connection: &rustls::ServerConnection| {
            let mut extensions = http::Extensions::new();
            let binding = channel_binding(connection).expect("handshake");
            extensions.insert(Shown(peer_identity(connection), binding));
            Ok::<_, std::convert::Infallible>(extensions)
        };
        let service = AgentServer::new(Service(Arc::clone(&self.control)));
        let shutdown = CancellationToken::new();
        let limits = Limits {
            drain_timeout: Duration::ZERO,
            ..Limits::agents()
        };
        let serving = signet_net::serve_tls(
            listener,
            tls.config(),
            identify,
            service,
            limits,
            shutdown.clone(),
        );
        self.running = Some((shutdown, tokio::spawn(serving)));
    }

    /// Serves at another port; the one before answers no more.
    pub(crate) async fn move_away(&mut self) {
        let before = self.running.take();
        // Opened while the other one is still held, so that it is not the same.
        self.address.set_port(0);
        self.start().await;
        let (shutdown, task) = before.expect("running");
        shutdown.cancel();
        task.await.expect("stopped");
    }

    pub(crate) async fn stop(&mut self) {
        let (shutdown, task) = self.running.take().expect("running");
        shutdown.cancel();
        task.await.expect("stopped");
    }

    /// Taints what the server signs with; from now on it signs with another intermediate.
    pub(crate) fn taint(&self) {
        let domain = &self.control.server.domain;
        domain.taint();
        let (chain, key) = domain.server_identity();
        self.identity.set(chain, &key).expect("identity");
        self.control.entries.send_modify(|_| {});
    }

    pub(crate) fn join(&self) -> String {
        self.join_with(
            digest::sha256(&self.control.server.domain.root.certificate),
            TOKEN,
        )
    }

    pub(crate) fn join_with(&self, root: [u8; 32], token: &str) -> String {
        JoinString {
            trust_domain: DOMAIN.parse().expect("domain"),
            servers: vec![self.address.to_string()],
            root_hashes: vec![root],
            token: Secret::new(token.as_bytes().to_vec()),
        }
        .encode()
        .expect("join string")
    }

    pub(crate) fn settings(&self) -> AgentSettings {
        let mut settings = AgentSettings::default();
        settings.workload_api.path = self.folder.path().join("agent.sock");
        settings.metrics = Some(ListenAddress(SocketAddr::from(([127, 0, 0, 1], 0))));
        settings
    }

    /// The same for an agent that keeps its key and identity.
    pub(crate) fn kept_settings(&self) -> AgentSettings {
        AgentSettings {
            state_dir: Some(self.state_dir()),
            ..self.settings()
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) async fn agent(
        &self,
        settings: AgentSettings,
        join: Option<&str>,
    ) -> Result<Handle, AgentError> {
        let pace = Pace {
            retry_min: Duration::from_millis(5),
            retry_max: Duration::from_millis(20),
            ..Pace::default()
        };
        let clock = Arc::new(self.control.clock.clone());
        Agent::start(Launch {
            settings,
            join,
            clock,
            pace,
            shutdown: CancellationToken::new(),
        })
        .await
    }

    /// An agent that joined by a join string and is ready.
    pub(crate) async fn joined(&self, settings: AgentSettings) -> Handle {
        self.ready(settings, Some(&self.join())).await
    }

    /// An agent that is ready, however it came to its identity.
    pub(crate) async fn ready(&self, settings: AgentSettings, join: Option<&str>) -> Handle {
        let handle = self.agent(settings, join).await.expect("start");
        handle.ready().await.expect("ready");
        handle
    }
}
