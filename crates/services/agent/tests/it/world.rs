//! A trust domain made up for one test: authorities, entries, a server that signs, an agent on a socket.

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use signet_agent::attest::{Attestor, built_in};
use signet_agent::metrics::Series;
use signet_agent::{
    AgentError, AgentSettings, Engine, EngineParts, IssueError, IssueFuture, Issuer, Link, Live, Pace,
    SdsSettings, SvidKey, SvidSettings,
};
use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
use signet_feed::{FeedCursor, FeedEntry, NodeState};
use signet_id::{Selector, TrustDomain};
use signet_jose::{Confirmation, Jwk, JwkParams, JwsAlgorithm, Unsigned};
use signet_net::{CancellationToken, UnixOptions, UnixServer};
use signet_proto::agent::v1::{
    IssueAnswer, IssueItem, JwtIssued, Refusal, WitIssued, X509Issued, issue_answer::Outcome,
    issue_item::Wish,
};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{WitsvidRequest, WitsvidResponse, X509svidRequest, X509svidResponse};
use signet_sys::Peer;
use signet_telemetry::Metrics;
use signet_testkit::forge::Authority;
use signet_testkit::{ManualClock, START};
use signet_time::{Clock as _, UnixTime};
use signet_trust::{Bundle, JwtAuthority, TrustView, WitAuthority, X509Authority};
use signet_x509::{Csr, Der, IssuerCert, Serial, SvidLeaf};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// The trust domain of the agent.
pub(crate) const DOMAIN: &str = "a.test";

/// Roots and token keys of one trust domain.
pub(crate) struct Domain {
    pub(crate) name: TrustDomain,
    pub(crate) root: Authority,
    /// The last one signs, those before it are tainted.
    intermediates: Mutex<Vec<Arc<Authority>>>,
    pub(crate) jwt: LocalKey,
    pub(crate) kid: String,
    /// For WIT-SVIDs; the last one signs, those before it are tainted.
    wit: Mutex<Vec<Arc<LocalKey>>>,
}

impl Domain {
    pub(crate) fn new(name: &str) -> Self {
        let root = Authority::root(name);
        Self {
            name: name.parse().expect("domain"),
            intermediates: Mutex::new(vec![Arc::new(root.intermediate(name))]),
            root,
            jwt: LocalKey::generate(KeyKind::P256).expect("key"),
            kid: format!("{name}-1"),
            wit: Mutex::new(vec![Arc::new(LocalKey::generate(KeyKind::P256).expect("key"))]),
        }
    }

    pub(crate) fn jwt_authority(&self) -> JwtAuthority {
        let params = JwkParams {
            kid: Some(self.kid.clone()),
            alg: Some(JwsAlgorithm::Es256),
            use_: Some("jwt-svid".to_owned()),
        };
        JwtAuthority {
            kid: self.kid.clone(),
            jwk: Jwk::from_public_key(self.jwt.public_key(), params).expect("jwk"),
            tainted: false,
        }
    }

    pub(crate) fn x509_authority(&self) -> X509Authority {
        X509Authority {
            certificate: self.root.certificate.clone(),
            tainted: false,
        }
    }

    pub(crate) fn bundle(&self) -> Bundle {
        let intermediates = self.intermediates.lock().expect("lock");
        let (_, tainted) = intermediates.split_last().expect("one signs");
        let tainted = tainted.iter().map(|authority| X509Authority {
            certificate: authority.certificate.clone(),
            tainted: true,
        });
        let x509 = std::iter::once(self.x509_authority()).chain(tainted).collect();
        let sequence = intermediates.len() as u64;
        Bundle::new(
            self.name.clone(),
            sequence,
            None,
            x509,
            vec![self.jwt_authority()],
        )
        .and_then(|bundle| bundle.with_wit(self.wit_authorities()))
        .expect("bundle")
    }

    fn wit_authorities(&self) -> Vec<WitAuthority> {
        let keys = self.wit.lock().expect("lock");
        let signs = keys.len() - 1;
        let authority = |(n, key): (usize, &Arc<LocalKey>)| {
            let kid = format!("{}-wit-{n}", self.name);
            let params = JwkParams {
                kid: Some(kid.clone()),
                alg: Some(JwsAlgorithm::Es256),
                use_: Some("wit-svid".to_owned()),
            };
            WitAuthority {
                kid,
                jwk: Jwk::from_public_key(key.public_key(), params).expect("jwk"),
                tainted: n < signs,
            }
        };
        keys.iter().enumerate().map(authority).collect()
    }

    /// Taints the key that signs WIT-SVIDs and has another one sign from now on.
    pub(crate) fn taint_wit(&self) {
        let next = Arc::new(LocalKey::generate(KeyKind::P256).expect("key"));
        self.wit.lock().expect("lock").push(next);
    }

    /// A WIT-SVID for the key of a request, signed by this domain's key.
    pub(crate) fn wit(&self, id: &str, csr: &[u8], now: UnixTime, ttl: Duration, number: u64) -> WitIssued {
        let key = Csr::parse(csr).expect("csr").public_key;
        let confirmation = Confirmation::new(&key, JwsAlgorithm::Es256).expect("a key of the nine");
        let expires_at_s = (now + ttl).as_secs();
        let claims = serde_json::json!({
            "sub": id, "exp": expires_at_s, "iat": now.as_secs(), "jti": number.to_string(),
            "cnf": confirmation.to_value(),
        });
        let keys = self.wit.lock().expect("lock");
        let kid = format!("{}-wit-{}", self.name, keys.len() - 1);
        let token = Unsigned::new(JwsAlgorithm::Es256, &kid, Some("wit+jwt"), &claims)
            .expect("claims")
            .sign_with(keys.last().expect("one signs"))
            .expect("sign");
        WitIssued {
            token,
            issued_at_s: now.as_secs(),
            expires_at_s,
        }
    }

    fn intermediate(&self) -> Arc<Authority> {
        Arc::clone(
            self.intermediates
                .lock()
                .expect("lock")
                .last()
                .expect("one signs"),
        )
    }

    /// Taints the intermediate that signs and has another one sign from now on.
    pub(crate) fn taint(&self) {
        let next = Arc::new(self.root.intermediate(self.name.as_str()));
        self.intermediates.lock().expect("lock").push(next);
    }

    pub(crate) fn bundle_of(&self, x509: Vec<X509Authority>, jwt: Vec<JwtAuthority>) -> Bundle {
        Bundle::new(self.name.clone(), 1, None, x509, jwt).expect("bundle")
    }

    /// A token with these claims, signed by this domain's key.
    pub(crate) fn token(&self, claims: &serde_json::Value) -> String {
        Unsigned::new(JwsAlgorithm::Es256, &self.kid, Some("JWT"), claims)
            .expect("claims")
            .sign_with(&self.jwt)
            .expect("sign")
    }

    /// The chain, root included, and the key of a server of this domain.
    pub(crate) fn server_identity(&self) -> (Vec<Der>, LocalKey) {
        let intermediate = self.intermediate();
        let leaf = intermediate.leaf(&format!("spiffe://{}/signet/server/one", self.name));
        let above = [&*intermediate, &self.root].map(|a| a.certificate.clone());
        (std::iter::once(leaf.certificate).chain(above).collect(), leaf.key)
    }

    fn x509(&self, csr: &[u8], entry: &FeedEntry, now: UnixTime, serial: u64) -> X509Issued {
        let csr = Csr::parse(csr).expect("csr");
        let mut bytes = [1; 16];
        bytes[8..].copy_from_slice(&serial.to_be_bytes());
        let not_after = now + entry.x509_ttl;
        let leaf = SvidLeaf {
            id: entry.spiffe_id.one().expect("one identity").clone(),
            dns_names: entry.dns_names.clone(),
            public_key: csr.public_key.clone(),
            serial: Serial::new(bytes).expect("serial"),
            not_before: now - Duration::from_secs(30),
            not_after,
        };
        let intermediate = self.intermediate();
        let issuer = IssuerCert::parse(&intermediate.certificate).expect("issuer");
        let key = intermediate.local_key();
        let algorithm = key.public_key().kind().default_algorithm();
        let tbs = leaf.tbs(&issuer, algorithm).expect("tbs");
        let signature = key
            .sign(algorithm, SignatureEncoding::Asn1, tbs.bytes())
            .expect("sign");
        let leaf = tbs.assemble(&signature).expect("assemble");
        X509Issued {
            chain: [leaf, intermediate.certificate.clone()]
                .map(|c| c.to_vec().into())
                .to_vec(),
            not_after_s: not_after.as_secs(),
        }
    }
}

/// What becomes of a WIT-SVID that was issued for a request.
pub(crate) type SpoilWit = fn(&Domain, &[u8], &mut WitIssued);

/// A server that signs whatever its entries allow, and can be told to misbehave.
pub(crate) struct Server {
    pub(crate) domain: Domain,
    clock: ManualClock,
    entries: Mutex<Vec<Arc<FeedEntry>>>,
    /// Nobody answers.
    pub(crate) away: watch::Sender<bool>,
    /// How often it was asked, answered or not.
    pub(crate) asked: AtomicUsize,
    /// Whoever holds it for writing keeps all from being answered.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// What is answered instead.
    pub(crate) refusal: Mutex<Option<Refusal>>,
    /// Spoils what is issued.
    pub(crate) spoil: Mutex<Option<fn(&mut X509Issued)>>,
    /// Spoils the WIT-SVIDs that are issued.
    pub(crate) spoil_wit: Mutex<Option<SpoilWit>>,
    pub(crate) x509_issued: AtomicU64,
    pub(crate) wit_issued: AtomicU64,
    pub(crate) jwt_issued: AtomicU64,
}

impl Issuer for Server {
    fn issue(&self, items: Vec<IssueItem>) -> IssueFuture<'_> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _open = self.gate.read().await;
            if *self.away.borrow() {
                return Err(IssueError::Away("unplugged".to_owned()));
            }
            Ok(items
                .iter()
                .map(|item| IssueAnswer {
                    outcome: Some(self.answer(item)),
                })
                .collect())
        })
    }
}

impl Server {
    pub(crate) fn new(domain: Domain, clock: ManualClock) -> Self {
        Self {
            domain,
            clock,
            entries: Mutex::default(),
            away: watch::channel(false).0,
            asked: AtomicUsize::new(0),
            gate: tokio::sync::RwLock::default(),
            refusal: Mutex::default(),
            spoil: Mutex::default(),
            spoil_wit: Mutex::default(),
            x509_issued: AtomicU64::new(0),
            wit_issued: AtomicU64::new(0),
            jwt_issued: AtomicU64::new(0),
        }
    }

    /// Signs for these from now on.
    pub(crate) fn set_entries(&self, entries: &[Arc<FeedEntry>]) {
        *self.entries.lock().expect("lock") = entries.to_vec();
    }

    /// Signs for anybody.
    pub(crate) fn sign(&self, csr: &[u8], entry: &FeedEntry) -> X509Issued {
        let serial = 1_000_000 + self.x509_issued.fetch_add(1, Ordering::SeqCst);
        self.domain.x509(csr, entry, self.clock.now(), serial)
    }

    fn answer(&self, item: &IssueItem) -> Outcome {
        if let Some(refusal) = self.refusal.lock().expect("lock").clone() {
            return Outcome::Refusal(refusal);
        }
        let entries = self.entries.lock().expect("lock");
        let entry = entries.iter().find(|e| e.id[..] == item.entry_id[..]);
        let Some(entry) = entry.and_then(|entry| given(entry, item)) else {
            return Outcome::Refusal(Refusal {
                message: "no such entry".to_owned(),
                ..Refusal::default()
            });
        };
        let entry = &entry;
        let now = self.clock.now();
        match item.wish.as_ref().expect("wish") {
            Wish::X509(wish) => {
                let serial = self.x509_issued.fetch_add(1, Ordering::SeqCst);
                let mut issued = self.domain.x509(&wish.csr, entry, now, serial);
                if let Some(spoil) = *self.spoil.lock().expect("lock") {
                    spoil(&mut issued);
                }
                Outcome::X509(issued)
            }
            Wish::Wit(wish) => {
                let number = self.wit_issued.fetch_add(1, Ordering::SeqCst);
                let id = entry.spiffe_id.as_str();
                let mut issued = self.domain.wit(id, &wish.csr, now, entry.x509_ttl, number);
                if let Some(spoil) = *self.spoil_wit.lock().expect("lock") {
                    spoil(&self.domain, &wish.csr, &mut issued);
                }
                Outcome::Wit(issued)
            }
            Wish::Jwt(wish) => {
                let number = self.jwt_issued.fetch_add(1, Ordering::SeqCst);
                let expires_at = now + entry.jwt_ttl;
                let claims = serde_json::json!({
                    "sub": entry.spiffe_id.as_str(), "aud": wish.audience, "iat": now.as_secs(),
                    "exp": expires_at.as_secs(), "iss": "https://a.test", "jti": number.to_string(),
                });
                Outcome::Jwt(JwtIssued {
                    token: self.domain.token(&claims),
                    issued_at_s: now.as_secs(),
                    expires_at_s: expires_at.as_secs(),
                })
            }
        }
    }
}

/// What `entry` gives with the facts of `item`, if that is what `item` asks for.
fn given(entry: &Arc<FeedEntry>, item: &IssueItem) -> Option<Arc<FeedEntry>> {
    let said = item
        .facts
        .iter()
        .map(|fact| fact.name.replacen('.', ":", 1) + ":" + &fact.value);
    let said: Vec<_> = said.map(|text| text.parse().expect("selector")).collect();
    let given = entry.for_process(&said).expect("facts of the template");
    (item.spiffe_id == given.spiffe_id.as_str()).then_some(given)
}

/// Counts its calls, and fails if told to.
pub(crate) struct Counting {
    pub(crate) calls: AtomicUsize,
    inner: Arc<dyn Attestor>,
    pub(crate) fails: std::sync::atomic::AtomicBool,
    /// Done once, after the next look.
    pub(crate) afterwards: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Attestor for Counting {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn attest(&self, peer: &Peer) -> Result<Vec<Selector>, AgentError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(AgentError::AttestorFailed);
        }
        let found = self.inner.attest(peer);
        if let Some(afterwards) = self.afterwards.lock().expect("lock").take() {
            afterwards();
        }
        found
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) clock: ManualClock,
    pub(crate) engine: Engine,
    pub(crate) attestor: Arc<Counting>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
    pub(crate) link: Link,
    pub(crate) served: tokio::task::JoinHandle<()>,
    state: watch::Sender<Option<Arc<NodeState>>>,
    /// Bundles besides the own domain's.
    foreign: Vec<Bundle>,
    own: Option<Bundle>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    /// With a state that has no entries.
    pub(crate) async fn new() -> Self {
        Self::with(Vec::new()).await
    }

    /// With a state that has these entries.
    pub(crate) async fn with(entries: Vec<FeedEntry>) -> Self {
        let mut world = Self::initialising();
        world.publish(entries).await;
        world
    }

    /// Before the first state.
    pub(crate) fn initialising() -> Self {
        Self::with_pace(Pace::default())
    }

    /// Before the first state, at another pace.
    pub(crate) fn with_pace(pace: Pace) -> Self {
        Self::start(pace, AgentSettings::default())
    }

    /// Before the first state, with another kind of keys.
    pub(crate) fn with_key(svid_key: SvidKey) -> Self {
        let svid = SvidSettings { key: svid_key };
        Self::start(
            Pace::default(),
            AgentSettings {
                svid,
                ..AgentSettings::default()
            },
        )
    }

    /// Before the first state, with other settings of secrets.
    pub(crate) fn with_sds(sds: SdsSettings) -> Self {
        Self::start(
            Pace::default(),
            AgentSettings {
                sds,
                ..AgentSettings::default()
            },
        )
    }

    /// Before the first state, with other settings.
    pub(crate) fn with_settings(settings: AgentSettings) -> Self {
        Self::start(Pace::default(), settings)
    }

    fn start(pace: Pace, settings: AgentSettings) -> Self {
        let live = Live::new(&AgentSettings {
            allowed_foreign_jwt_claims: vec!["allowed".to_owned()],
            ..settings
        });
        let clock = ManualClock::default();
        let server = Arc::new(Server::new(Domain::new(DOMAIN), clock.clone()));
        let attestor = Arc::new(Counting {
            calls: AtomicUsize::new(0),
            inner: Arc::clone(&built_in(&live, Arc::new(clock.clone()))[0]),
            fails: false.into(),
            afterwards: Mutex::default(),
        });
        let metrics = Metrics::new(None);
        let (state, receiver) = watch::channel(None);
        let link = Link::default();
        link.up("server.test:8445", "spiffe://a.test/node", clock.now());
        let shutdown = CancellationToken::new();
        let engine = Engine::start(EngineParts {
            state: receiver,
            issuer: Arc::<Server>::clone(&server),
            attestors: vec![Arc::<Counting>::clone(&attestor)],
            clock: Arc::new(clock.clone()),
            pace,
            live,
            series: Series::new(&metrics),
            link: link.clone(),
            shutdown: shutdown.clone(),
        })
        .expect("engine");
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("agent.sock");
        let options = UnixOptions {
            mode: signet_agent::SOCKET_MODE,
            ..UnixOptions::default()
        };
        let listener = UnixServer::bind(&socket, options).expect("bind");
        let serving = engine.clone();
        let served = tokio::spawn(async move { serving.serve(listener).await });
        Self {
            server,
            clock,
            engine,
            attestor,
            metrics,
            shutdown,
            link,
            served,
            state,
            foreign: Vec::new(),
            own: None,
            socket,
            _folder: folder,
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Gives the agent a new state with these entries, and waits until it serves from it.
    pub(crate) async fn publish(&mut self, entries: Vec<FeedEntry>) {
        let entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
        self.server.set_entries(&entries);
        let own = self.own.clone().unwrap_or_else(|| self.server.domain.bundle());
        let mut trust = TrustView::new(self.server.domain.name.clone()).with_bundle(own);
        for bundle in &self.foreign {
            trust = trust.with_bundle(bundle.clone());
        }
        let seq = self.state.borrow().as_ref().map_or(0, |s| s.cursor.seq) + 1;
        self.state.send_replace(Some(Arc::new(NodeState {
            cursor: FeedCursor {
                epoch: [1; 16],
                seq,
                chain: [0; 32],
            },
            trust,
            entries: entries.into_iter().collect(),
            jwt_issuer: "https://a.test".to_owned(),
        })));
        let mut applied = self.engine.applied();
        applied
            .wait_for(|applied| *applied == Some(seq))
            .await
            .expect("the engine runs");
    }

    /// Serves the local API as the agent of the user `operator`, and says where.
    pub(crate) fn serve_local(&self, operator: u32) -> PathBuf {
        let path = self.socket.with_file_name("local.sock");
        let options = UnixOptions {
            mode: signet_agent::SOCKET_MODE,
            ..UnixOptions::default()
        };
        let listener = UnixServer::bind(&path, options).expect("bind");
        let serving = self.engine.clone();
        tokio::spawn(async move { serving.serve_local(listener, operator).await });
        path
    }

    /// Publishes the same entries with these foreign bundles from now on.
    pub(crate) async fn federate(&mut self, foreign: Vec<Bundle>) {
        self.foreign = foreign;
        self.publish_again().await;
    }

    /// Publishes the same entries with this bundle of the own domain from now on.
    pub(crate) async fn set_own_bundle(&mut self, own: Bundle) {
        self.own = Some(own);
        self.publish_again().await;
    }

    async fn publish_again(&mut self) {
        let entries = self.server.entries.lock().expect("lock").clone();
        self.publish(entries.iter().map(|e| FeedEntry::clone(e)).collect())
            .await;
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.engine.wake();
    }

    pub(crate) async fn client(&self) -> Client {
        client(channel(&self.socket).await)
    }

    /// The identities of this process, from a connection of its own.
    pub(crate) async fn fetch_x509(&self) -> Result<X509svidResponse, Status> {
        first(self.client().await.fetch_x509svid(X509svidRequest {}).await?).await
    }
}

pub(crate) type Intercept = fn(Request<()>) -> Result<Request<()>, Status>;
pub(crate) type Client = SpiffeWorkloadApiClient<InterceptedService<Channel, Intercept>>;

/// A channel to the socket, with the setting that a client needs which drops streams (finding 9 of the design).
pub(crate) async fn channel(socket: &Path) -> Channel {
    channel_with(socket, |endpoint| endpoint).await
}

pub(crate) async fn channel_with(
    socket: &Path,
    settle: impl FnOnce(tonic::transport::Endpoint) -> tonic::transport::Endpoint,
) -> Channel {
    let socket = socket.to_owned();
    let endpoint = Channel::from_static("http://localhost").http2_max_local_error_reset_streams(None);
    settle(endpoint)
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
        .expect("connect")
}

/// A client that sends the metadata.
pub(crate) fn client(channel: Channel) -> Client {
    SpiffeWorkloadApiClient::with_interceptor(channel, |mut request: Request<()>| {
        request
            .metadata_mut()
            .insert("workload.spiffe.io", MetadataValue::from_static("true"));
        Ok(request)
    })
}

/// The first message of a stream.
pub(crate) async fn first<T>(response: tonic::Response<Streaming<T>>) -> Result<T, Status> {
    next(&mut response.into_inner()).await
}

/// The next message of a stream that is expected to go on, or the status it ends with.
pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    match stream.message().await? {
        Some(message) => Ok(message),
        None => panic!("the stream ended without a status"),
    }
}

/// An entry for this process's user, with the number's age.
pub(crate) fn entry(number: u8, path: &str) -> FeedEntry {
    let uid = format!("unix:uid:{}", signet_sys::process::uid());
    FeedEntry {
        id: [number; 16],
        spiffe_id: format!("spiffe://{DOMAIN}{path}").parse().expect("id"),
        selectors: vec![uid.parse().expect("selector")],
        x509_ttl: Duration::from_secs(3600),
        jwt_ttl: Duration::from_secs(300),
        dns_names: Vec::new(),
        hint: String::new(),
        federates_with: Vec::new(),
        jwt_audiences: Vec::new(),
        expires_at: None,
        created_at: START - Duration::from_secs(1000) + Duration::from_secs(number.into()),
        seq: 1,
        expansion: None,
    }
}

/// What a stream of WIT-SVIDs shows first, from a connection of its own.
pub(crate) async fn fetch_wit(world: &World, spiffe_id: &str) -> Result<WitsvidResponse, Status> {
    let request = WitsvidRequest {
        spiffe_id: spiffe_id.to_owned(),
    };
    first(world.client().await.fetch_witsvid(request).await?).await
}

/// The IDs of a message, in its order.
pub(crate) fn ids(message: &X509svidResponse) -> Vec<&str> {
    message.svids.iter().map(|s| s.spiffe_id.as_str()).collect()
}

/// Calls any method with any metadata and an empty message, the way no library would.
pub(crate) async fn raw_call(
    channel: Channel,
    method: &str,
    metadata: &[(&str, &str)],
) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("ready");
    let mut request = Request::new(X509svidRequest {});
    for (name, value) in metadata {
        let name: tonic::metadata::AsciiMetadataKey = name.parse().expect("name");
        request.metadata_mut().append(name, value.parse().expect("value"));
    }
    let path = PathAndQuery::try_from(method).expect("path");
    let codec = signet_proto::codec::Small::<X509svidRequest, X509svidResponse>::default();
    let stream = grpc.server_streaming(request, path, codec).await?;
    stream.into_inner().message().await.map(|_| ())
}
