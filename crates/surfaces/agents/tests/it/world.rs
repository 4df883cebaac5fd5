//! A trust domain with one server, and agents that connect to it.

use arc_swap::ArcSwap;
use signet_authority::{Authority, Context, NoneReserved, Profile, X509Request};
use signet_check::machine::Binding;
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_feed::{bundle_from_proto, hello};
use signet_id::{SpiffeId, TrustDomain};
use signet_keys::{Keys, KeysConfig, MemorySeal, Purpose};
use signet_net::client::channel;
use signet_net::{CancellationToken, Limits, TcpServer, serve_tls};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::{self, attest_request::Evidence};
use signet_record::Recorder;
use signet_registry::{Entry, JoinTokenWish, NewEntry, Registry};
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_store::{ChangeLog, Journal, Origin};
use signet_surface_agents::{Agents, Alarm, FeedPace, Parts, Series, X509Pop, service};
use signet_telemetry::Metrics;
use signet_testkit::ManualClock;
use signet_time::{Clock as _, SharedClock};
use signet_tls::{ClientPolicy, ClientTls, LiveIdentity, PeerRule, ServerTls, channel_binding};
use signet_trust::TrustView;
use signet_x509::{Csr, Der, make_csr, self_signed_node};
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

pub(crate) struct World {
    pub(crate) log: MemoryLog,
    pub(crate) domain: TrustDomain,
    pub(crate) clock: ManualClock,
    pub(crate) registry: Arc<Registry>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) agents: Agents,
    pub(crate) address: SocketAddr,
    /// The chain that the server shows, its root last.
    pub(crate) shown: Vec<Der>,
}

/// A node that attested, with a connection that shows its SVID.
pub(crate) struct Node {
    pub(crate) id: SpiffeId,
    pub(crate) key: LocalKey,
    pub(crate) chain: Vec<Der>,
    pub(crate) client: AgentClient<Channel>,
}

impl World {
    pub(crate) async fn new(domain: &str) -> Self {
        Self::with_pace(domain, FeedPace::default()).await
    }

    /// A world whose server speaks up at another pace.
    pub(crate) async fn with_pace(domain: &str, pace: FeedPace) -> Self {
        Self::make(domain, true, None, pace).await
    }

    /// A world that takes the machines of `x509pop`.
    pub(crate) async fn with_machines(domain: &str, x509pop: X509Pop) -> Self {
        Self::make(domain, true, Some(x509pop), FeedPace::default()).await
    }

    /// A world whose keys follow the log only when they must: they lag behind the registry.
    pub(crate) async fn with_lagging_keys(domain: &str) -> Self {
        Self::make(domain, false, None, FeedPace::default()).await
    }

    async fn make(domain: &str, keys_follow: bool, x509pop: Option<X509Pop>, pace: FeedPace) -> Self {
        let domain = TrustDomain::parse(domain).unwrap();
        let clock = ManualClock::default();
        let shared: SharedClock = Arc::new(clock.clone());
        let memory = MemoryLog::new();
        let log: Arc<dyn ChangeLog> = Arc::new(memory.clone());
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let recorder = Recorder::new(Arc::clone(&journal));
        let seal = Arc::new(MemorySeal::random().unwrap());
        let config = KeysConfig::new(domain.clone());
        let keys = Keys::open(Arc::clone(&log), seal, recorder.clone(), config)
            .await
            .unwrap();
        keys.ensure(clock.now()).await.unwrap();
        let keys = Arc::new(keys);
        let registry = Arc::new(Registry::open(log, domain.clone()).await.unwrap());
        let followed = Arc::clone(&registry);
        tokio::spawn(async move { followed.followed().follow().await });
        if keys_follow {
            let followed = Arc::clone(&keys);
            tokio::spawn(async move { followed.followed().follow().await });
        }
        let authority = Authority::new(
            Arc::clone(&keys),
            recorder,
            "https://localhost/workload",
            Arc::new(NoneReserved),
        );
        let (identity, shown) = server_identity(&domain, &authority, &keys, &clock).await;
        let view = TrustView::new(domain.clone()).with_bundle(keys.bundle().unwrap());
        let trust = Arc::new(ArcSwap::from_pointee(view));
        let tls = ServerTls::new(identity, trust, Arc::clone(&shared), ClientPolicy::SpiffeOrProof).unwrap();
        let metrics = Metrics::new(None);
        let (shutdown, alarm) = (CancellationToken::new(), Arc::new(Alarm::default()));
        let agents = Agents::new(Parts {
            registry: Arc::clone(&registry),
            keys: Arc::clone(&keys),
            authority,
            clock: shared,
            shutdown: shutdown.clone(),
            series: Series::new(&metrics),
            x509pop,
            software: "signet test".into(),
            pace,
            alarm: Arc::clone(&alarm),
        });
        let server = TcpServer::bind("127.0.0.1:0".parse().unwrap(), "test")
            .await
            .unwrap();
        let address = server.address();
        let doors = agents.clone();
        let identify = move |connection: &rustls::ServerConnection| doors.identify(connection);
        let serving = serve_tls(
            server,
            tls.config(),
            identify,
            service(agents.clone()),
            Limits::agents(),
            shutdown.clone(),
        );
        tokio::spawn(serving);
        Self {
            log: memory,
            domain,
            clock,
            registry,
            keys,
            journal,
            metrics,
            shutdown,
            alarm,
            agents,
            address,
            shown,
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::new("test", "test", self.clock.now())
    }

    pub(crate) async fn token(&self) -> String {
        self.token_for(None).await
    }

    pub(crate) async fn token_for(&self, spiffe_id: Option<&str>) -> String {
        let wish = JoinTokenWish {
            ttl: None,
            spiffe_id: spiffe_id.map(str::to_owned),
        };
        let made = self
            .registry
            .create_join_token(&wish, self.origin())
            .await
            .unwrap();
        made.0.expose()
    }

    pub(crate) fn root_hashes(&self) -> Vec<[u8; 32]> {
        let roots = self.keys.published(Purpose::X509Root);
        roots
            .iter()
            .map(|key| digest::sha256(key.certificate().unwrap()))
            .collect()
    }

    /// A connection that proves `key` and nothing more, to a server whose root has one of `hashes`.
    pub(crate) fn prover(&self, key: &LocalKey, hashes: Vec<[u8; 32]>) -> AgentClient<Channel> {
        let shown = self_signed_node(key, self.clock.now()).unwrap();
        let identity = Arc::new(LiveIdentity::new(vec![shown], key).unwrap());
        let clock = Arc::new(self.clock.clone());
        let tls = ClientTls::pinned_join(identity, hashes, self.domain.clone(), clock).unwrap();
        AgentClient::new(channel::tls(self.address.to_string(), tls.config()))
    }

    /// As [`World::prover`], over one connection that is open, and what stands for it.
    pub(crate) async fn bound_prover(&self, key: &LocalKey) -> (AgentClient<Channel>, Binding) {
        let shown = self_signed_node(key, self.clock.now()).unwrap();
        let identity = Arc::new(LiveIdentity::new(vec![shown], key).unwrap());
        let clock = Arc::new(self.clock.clone());
        let tls = ClientTls::pinned_join(identity, self.root_hashes(), self.domain.clone(), clock).unwrap();
        let address = self.address.to_string();
        let (channel, binding) = channel::tls_once(&address, tls.config(), |c| channel_binding(c).unwrap())
            .await
            .unwrap();
        (AgentClient::new(channel), binding)
    }

    /// A connection that shows `chain`.
    pub(crate) fn connect(&self, chain: Vec<Der>, key: &LocalKey) -> AgentClient<Channel> {
        AgentClient::new(channel::tls(self.address.to_string(), self.tls(chain, key)))
    }

    /// How whoever has `chain` connects.
    pub(crate) fn tls(&self, chain: Vec<Der>, key: &LocalKey) -> Arc<rustls::ClientConfig> {
        let identity = Arc::new(LiveIdentity::new(chain, key).unwrap());
        let view = TrustView::new(self.domain.clone()).with_bundle(self.keys.bundle().unwrap());
        let trust = Arc::new(ArcSwap::from_pointee(view));
        let clock = Arc::new(self.clock.clone());
        ClientTls::new(identity, trust, clock, PeerRule::server())
            .unwrap()
            .config()
    }

    pub(crate) async fn join(&self) -> Node {
        let token = self.token().await;
        self.join_with(&token).await
    }

    pub(crate) async fn join_with(&self, token: &str) -> Node {
        let key = LocalKey::generate(KeyKind::P256).unwrap();
        let request = self.attest_request(&key, token);
        let answer = self
            .prover(&key, self.root_hashes())
            .attest(request)
            .await
            .unwrap();
        let svid = answer.into_inner().svid.unwrap();
        let chain = chain(&svid.chain);
        Node {
            id: SpiffeId::parse(&svid.spiffe_id).unwrap(),
            client: self.connect(chain.clone(), &key),
            key,
            chain,
        }
    }

    pub(crate) fn attest_request(&self, key: &LocalKey, token: &str) -> v1::AttestRequest {
        v1::AttestRequest {
            hello: Some(hello("agent test", self.clock.now())),
            evidence: Some(Evidence::JoinToken(token.to_owned())),
            csr: make_csr(key, None, &[]).unwrap().into(),
            step: None,
        }
    }

    /// The request of a node that the server knows by `key`.
    pub(crate) fn return_request(&self, key: &LocalKey, id: &str) -> v1::AttestRequest {
        let known = v1::KnownNode {
            spiffe_id: id.to_owned(),
        };
        v1::AttestRequest {
            evidence: Some(Evidence::KnownNode(known)),
            ..self.attest_request(key, "")
        }
    }

    pub(crate) async fn entry(&self, path: &str, parent: Option<&SpiffeId>) -> Arc<Entry> {
        let draft = NewEntry {
            spiffe_id: format!("spiffe://{}{path}", self.domain),
            parent_id: parent.map(SpiffeId::to_string),
            selectors: vec![format!("unix:path:{path}")],
            ..NewEntry::default()
        };
        self.registry
            .create(&[draft], self.origin())
            .await
            .unwrap()
            .remove(0)
    }

    /// A view of the bundle that the server gave with an SVID.
    pub(crate) fn view_of(&self, bundle: &v1::Bundle) -> TrustView {
        TrustView::new(self.domain.clone()).with_bundle(bundle_from_proto(bundle).unwrap())
    }

    /// How many records there are.
    pub(crate) fn recorded(&self) -> u64 {
        self.journal.next_index().0
    }
}

async fn server_identity(
    domain: &TrustDomain,
    authority: &Authority,
    keys: &Keys,
    clock: &ManualClock,
) -> (Arc<LiveIdentity>, Vec<Der>) {
    let id = SpiffeId::new(domain, "/signet/server/test").unwrap();
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let request = X509Request {
        id: id.clone(),
        dns_names: Vec::new(),
        ttl: core::time::Duration::from_secs(6 * 3_600),
        csr: Csr::parse(&make_csr(&key, Some(&id), &[]).unwrap()).unwrap(),
        context: Context::default(),
    };
    let decision = Authority::own_decision(&id);
    let svid = authority
        .issue_x509(request, Profile::Server, &decision, clock.now())
        .await
        .unwrap();
    let mut shown = svid.chain;
    shown.push(
        keys.active(Purpose::X509Root)
            .unwrap()
            .certificate()
            .unwrap()
            .clone(),
    );
    (Arc::new(LiveIdentity::new(shown.clone(), &key).unwrap()), shown)
}

pub(crate) fn chain(ders: &[bytes::Bytes]) -> Vec<Der> {
    ders.iter().map(|der| Der::from(der.to_vec())).collect()
}

/// The stable code in a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_else(|| format!("none: {status:?}"))
}
