//! The agent as a whole against a server over TLS: joining, the stream, signatures, coming back.

use crate::world::{Client, DOMAIN, Domain, Server, channel, client, entry, first, ids, next};
use arc_swap::ArcSwap;
use signet_agent::{Agent, AgentError, AgentSettings, Handle, Issuer as _, Pace};
use signet_api::JoinString;
use signet_crypto::{KeyKind, LocalKey, PublicKey, Secret, digest};
use signet_fault::Coded as _;
use signet_feed::{FeedCursor, FeedEntry, Producer, bundle_to_proto, hello};
use signet_net::{CancellationToken, Limits, TcpServer};
use signet_proto::agent::v1::agent_server::{Agent as Protocol, AgentServer};
use signet_proto::agent::v1::attest_request::Evidence;
use signet_proto::agent::v1::sync_request::Message;
use signet_proto::agent::v1::{
    AttestRequest, AttestResponse, IssueRequest, IssueResponse, NodeSvid, RenewRequest, RenewResponse,
    SyncRequest, SyncResponse,
};
use signet_proto::workload::{JwtsvidRequest, X509svidRequest};
use signet_settings::ListenAddress;
use signet_testkit::ManualClock;
use signet_time::Clock as _;
use signet_tls::{ClientPolicy, LiveIdentity, PeerIdentity, ServerTls, peer_identity};
use signet_trust::TrustView;
use signet_x509::Csr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

const TOKEN: &str = "token-0123456789abcdef";

/// The server's side of the protocol, as small as it can be.
struct Control {
    server: Arc<Server>,
    clock: ManualClock,
    entries: watch::Sender<Vec<FeedEntry>>,
    /// The key that the token is bound to.
    bound: Mutex<Option<PublicKey>>,
    /// The life of node identities.
    node_ttl: Mutex<Duration>,
    attested: AtomicUsize,
    renewed: AtomicUsize,
    applied: watch::Sender<u64>,
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
struct Shown(PeerIdentity);

fn shown<T>(request: &Request<T>) -> PeerIdentity {
    request.extensions().get::<Shown>().expect("handshake").0.clone()
}

struct Service(Arc<Control>);

#[tonic::async_trait]
impl Protocol for Service {
    async fn attest(&self, request: Request<AttestRequest>) -> Result<Response<AttestResponse>, Status> {
        let PeerIdentity::ProofOfPossession(key) = shown(&request) else {
            return Err(Status::unauthenticated("no proof of possession"));
        };
        let request = request.into_inner();
        let Some(Evidence::JoinToken(token)) = request.evidence else {
            return Err(Status::invalid_argument("no evidence"));
        };
        let csr = Csr::parse(&request.csr).map_err(|e| Status::invalid_argument(e.to_string()))?;
        if token != TOKEN || csr.public_key != key {
            return Err(Status::permission_denied("token or key"));
        }
        let mut bound = self.0.bound.lock().expect("lock");
        if *bound.get_or_insert_with(|| key.clone()) != key {
            return Err(Status::permission_denied("the token was used with another key"));
        }
        self.0.attested.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(AttestResponse {
            hello: Some(hello("fake", self.0.clock.now())),
            svid: Some(self.0.node(&request.csr)),
        }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        assert!(shown(&request).spiffe_id().is_some());
        *self.0.node_ttl.lock().expect("lock") = Duration::from_secs(3600);
        let svid = self.0.node(&request.into_inner().csr);
        self.0.renewed.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RenewResponse { svid: Some(svid) }))
    }

    type SyncStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<SyncResponse, Status>> + Send>>;

    async fn sync(
        &self,
        request: Request<Streaming<SyncRequest>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        assert!(shown(&request).spiffe_id().is_some());
        let mut incoming = request.into_inner();
        let control = Arc::clone(&self.0);
        let (sender, outgoing) = tokio::sync::mpsc::channel(4);
        let mut entries = control.entries.subscribe();
        tokio::spawn(async move {
            let first = incoming.message().await.expect("stream").expect("hello");
            assert!(matches!(first.message, Some(Message::Hello(_))));
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
                let bundles = [Arc::new(control.server.domain.bundle())];
                let snapshot = producer.snapshot(cursor, &bundles, list.iter().map(|e| FeedEntry::clone(e)));
                if sender.send(Ok(snapshot)).await.is_err() {
                    return;
                }
                loop {
                    tokio::select! {
                        message = incoming.message() => match message {
                            Ok(Some(SyncRequest { message: Some(Message::Applied(applied)) })) => {
                                control.applied.send_replace(applied.seq);
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

/// A server that can be started and stopped at one address.
struct Site {
    control: Arc<Control>,
    address: SocketAddr,
    running: Option<(CancellationToken, tokio::task::JoinHandle<()>)>,
    folder: tempfile::TempDir,
}

impl Site {
    async fn new(entries: Vec<FeedEntry>) -> Self {
        let clock = ManualClock::default();
        let control = Arc::new(Control {
            server: Arc::new(Server::new(Domain::new(DOMAIN), clock.clone())),
            clock,
            entries: watch::channel(entries).0,
            bound: Mutex::default(),
            node_ttl: Mutex::new(Duration::from_secs(3600)),
            attested: AtomicUsize::new(0),
            renewed: AtomicUsize::new(0),
            applied: watch::channel(0).0,
        });
        let mut site = Self {
            control,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            running: None,
            folder: tempfile::tempdir().expect("folder"),
        };
        site.start().await;
        site
    }

    async fn start(&mut self) {
        let listener = TcpServer::bind(self.address, "test").await.expect("bind");
        self.address = listener.address();
        let domain = &self.control.server.domain;
        let (chain, key) = domain.server_identity();
        let identity = Arc::new(LiveIdentity::new(chain, &key).expect("identity"));
        let trust = TrustView::new(domain.name.clone()).with_bundle(domain.bundle());
        let clock = Arc::new(self.control.clock.clone());
        let trust = Arc::new(ArcSwap::from_pointee(trust));
        let tls = ServerTls::new(identity, trust, clock, ClientPolicy::SpiffeOrProof).expect("tls");
        let identify = |connection: &rustls::ServerConnection| {
            let mut extensions = http::Extensions::new();
            extensions.insert(Shown(peer_identity(connection)));
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

    async fn stop(&mut self) {
        let (shutdown, task) = self.running.take().expect("running");
        shutdown.cancel();
        task.await.expect("stopped");
    }

    fn join(&self) -> String {
        self.join_with(
            digest::sha256(&self.control.server.domain.root.certificate),
            TOKEN,
        )
    }

    fn join_with(&self, root: [u8; 32], token: &str) -> String {
        JoinString {
            trust_domain: DOMAIN.parse().expect("domain"),
            servers: vec![self.address.to_string()],
            root_hashes: vec![root],
            token: Secret::new(token.as_bytes().to_vec()),
        }
        .encode()
        .expect("join string")
    }

    fn settings(&self) -> AgentSettings {
        let mut settings = AgentSettings::default();
        settings.workload_api.path = self.folder.path().join("agent.sock");
        settings.metrics = Some(ListenAddress(SocketAddr::from(([127, 0, 0, 1], 0))));
        settings
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    async fn agent(&self, settings: AgentSettings, join: Option<&str>) -> Result<Handle, AgentError> {
        let pace = Pace {
            retry_min: Duration::from_millis(5),
            retry_max: Duration::from_millis(20),
            ..Pace::default()
        };
        let clock = Arc::new(self.control.clock.clone());
        Agent::start(settings, join, clock, pace, CancellationToken::new()).await
    }
}

async fn workload(handle: &Handle) -> Client {
    client(channel(handle.socket()).await)
}

async fn fetched(handle: &Handle) -> Result<Vec<String>, Status> {
    let stream = workload(handle).await.fetch_x509svid(X509svidRequest {}).await?;
    Ok(ids(&first(stream).await?)
        .into_iter()
        .map(str::to_owned)
        .collect())
}

/// `GET path` from the metrics port.
async fn get(handle: &Handle, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = handle.metrics_address().expect("served");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("send");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    let (head, body) = text.split_once("\r\n\r\n").expect("head");
    (head[9..12].parse().expect("code"), body.to_owned())
}

#[tokio::test]
async fn a_node_joins_and_serves_and_says_what_it_serves() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site
        .agent(site.settings(), Some(&site.join()))
        .await
        .expect("start");
    handle.ready().await.expect("ready");
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    let mut applied = site.control.applied.subscribe();
    applied.wait_for(|seq| *seq == 1).await.expect("told");
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    applied.wait_for(|seq| *seq == 2).await.expect("told");
    assert_eq!(fetched(&handle).await.expect("fetch").len(), 2);
    let request = JwtsvidRequest {
        audience: vec!["b".to_owned()],
        spiffe_id: String::new(),
    };
    assert_eq!(
        workload(&handle)
            .await
            .fetch_jwtsvid(request)
            .await
            .expect("jwt")
            .into_inner()
            .svids
            .len(),
        2
    );
}

#[tokio::test]
async fn health_and_metrics_are_shown() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    site.stop().await;
    let handle = site
        .agent(site.settings(), Some(&site.join()))
        .await
        .expect("start");
    assert_eq!(get(&handle, "/health/live").await.0, 200);
    let (code, body) = get(&handle, "/health/ready").await;
    assert_eq!(code, 503);
    assert!(
        body.contains("\"starting\"") && body.contains("cannot be reached"),
        "{body}"
    );
    assert_eq!(
        fetched(&handle).await.expect_err("no state yet").code(),
        Code::Unavailable
    );
    site.start().await;
    handle.ready().await.expect("ready");
    let (code, body) = get(&handle, "/health/ready").await;
    assert_eq!(code, 200, "{body}");
    let (_, text) = get(&handle, "/metrics").await;
    assert!(
        text.contains("signet_agent_entries 1") && text.ends_with("# EOF\n"),
        "{text}"
    );
    assert_eq!(get(&handle, "/other").await.0, 404);
}

#[tokio::test]
async fn a_join_string_of_another_root_ends_the_agent_with_a_reason() {
    let site = Site::new(Vec::new()).await;
    let handle = site
        .agent(site.settings(), Some(&site.join_with([7; 32], TOKEN)))
        .await
        .expect("start");
    let error = handle.wait().await.expect_err("another root");
    assert_eq!(error.code(), "SGAG023", "{error}");
    assert!(error.to_string().contains("join string"), "{error}");
    assert_eq!(
        site.control.attested.load(Ordering::SeqCst),
        0,
        "the token was not shown to it"
    );
    assert!(site.control.bound.lock().expect("lock").is_none());
}

#[tokio::test]
async fn a_token_that_another_key_used_ends_the_agent_with_a_reason() {
    let site = Site::new(Vec::new()).await;
    let other = LocalKey::generate(KeyKind::P256).expect("key");
    *site.control.bound.lock().expect("lock") = Some(other.public_key().clone());
    let handle = site
        .agent(site.settings(), Some(&site.join()))
        .await
        .expect("start");
    let error = handle.wait().await.expect_err("refused");
    assert_eq!(error.code(), "SGAG022");
    assert!(error.to_string().contains("used with another key"), "{error}");
    assert!(error.remedy().contains("new join string"));
}

#[tokio::test]
async fn a_node_with_a_state_directory_comes_back_without_joining() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let settings = AgentSettings {
        state_dir: Some(site.state_dir()),
        ..site.settings()
    };
    let handle = site
        .agent(settings.clone(), Some(&site.join()))
        .await
        .expect("start");
    handle.ready().await.expect("ready");
    drop(handle);
    // The first one ends in the background; its socket is not in the second one's way.
    let mut settings = AgentSettings {
        state_dir: Some(site.state_dir()),
        ..site.settings()
    };
    settings.workload_api.path = site.folder.path().join("again.sock");
    let handle = site.agent(settings, None).await.expect("start");
    handle.ready().await.expect("ready");
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    site.stop().await;
}

#[tokio::test]
async fn without_a_join_string_and_a_kept_identity_the_agent_does_not_start() {
    let site = Site::new(Vec::new()).await;
    let settings = AgentSettings {
        state_dir: Some(site.state_dir()),
        ..site.settings()
    };
    let refused = site.agent(settings, None).await;
    assert!(matches!(refused.map(|_| ()), Err(AgentError::NothingToJoinWith)));
    let refused = site.agent(site.settings(), Some("sgjoin1.nonsense")).await;
    assert!(matches!(refused.map(|_| ()), Err(AgentError::Join(_))));
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_found_again() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let handle = site
        .agent(site.settings(), Some(&site.join()))
        .await
        .expect("start");
    handle.ready().await.expect("ready");
    let mut stream = workload(&handle)
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let message = next(&mut stream).await.expect("first");
    let jwt = |audience: &str| JwtsvidRequest {
        audience: vec![audience.to_owned()],
        spiffe_id: String::new(),
    };
    let token = workload(&handle)
        .await
        .fetch_jwtsvid(jwt("b"))
        .await
        .expect("jwt")
        .into_inner();
    site.stop().await;
    while handle.metrics().text().contains("signet_agent_connected 1") {
        tokio::task::yield_now().await;
    }
    // Everything that was issued is still served, and what was not is refused at once.
    assert_eq!(
        first(
            workload(&handle)
                .await
                .fetch_x509svid(X509svidRequest {})
                .await
                .expect("open")
        )
        .await
        .expect("fetch"),
        message
    );
    assert_eq!(
        workload(&handle)
            .await
            .fetch_jwtsvid(jwt("b"))
            .await
            .expect("cached")
            .into_inner(),
        token
    );
    assert_eq!(
        workload(&handle)
            .await
            .fetch_jwtsvid(jwt("c"))
            .await
            .expect_err("away")
            .code(),
        Code::Unavailable
    );
    let (code, body) = get(&handle, "/health/ready").await;
    assert!(code == 200 && body.contains("cannot be reached"), "{body}");
    site.control
        .entries
        .send_replace(vec![entry(1, "/a"), entry(2, "/b")]);
    site.start().await;
    assert_eq!(
        next(&mut stream).await.expect("news after the break").svids.len(),
        2
    );
    assert_eq!(
        site.control.attested.load(Ordering::SeqCst),
        1,
        "it did not join again"
    );
}

#[tokio::test]
async fn the_nodes_identity_is_renewed_at_half_its_life() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    // The clock stands, so nothing ever expires; half of two seconds is what is really waited for.
    *site.control.node_ttl.lock().expect("lock") = Duration::from_secs(2);
    let settings = AgentSettings {
        state_dir: Some(site.state_dir()),
        ..site.settings()
    };
    let handle = site.agent(settings, Some(&site.join())).await.expect("start");
    handle.ready().await.expect("ready");
    let kept = || std::fs::read_to_string(site.state_dir().join("node.json")).expect("kept");
    let before = kept();
    let mut applied = site.control.applied.subscribe();
    applied.wait_for(|seq| *seq == 1).await.expect("told");
    while site.control.renewed.load(Ordering::SeqCst) == 0 || kept() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_agent_ends_when_it_is_told_to() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let shutdown = CancellationToken::new();
    let clock = Arc::new(site.control.clock.clone());
    let handle = Agent::start(
        site.settings(),
        Some(&site.join()),
        clock,
        Pace::default(),
        shutdown.clone(),
    )
    .await
    .expect("start");
    handle.ready().await.expect("ready");
    let mut stream = workload(&handle)
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    shutdown.cancel();
    assert_eq!(
        next(&mut stream).await.expect_err("end").code(),
        Code::Unavailable
    );
    let socket = handle.socket().to_owned();
    handle.wait().await.expect("a clean end");
    assert!(!socket.exists());
}

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let site = Site::new(Vec::new()).await;
    let mut long = site.settings();
    long.workload_api.path = site.folder.path().join("x".repeat(120));
    let refused = site.agent(long, Some(&site.join())).await;
    assert!(matches!(
        refused.map(|_| ()),
        Err(AgentError::Listen(signet_net::NetError::PathLength { .. }))
    ));
    let mut taken = site.settings();
    taken.metrics = Some(ListenAddress(site.address));
    let refused = site.agent(taken, Some(&site.join())).await;
    assert!(matches!(
        refused.map(|_| ()),
        Err(AgentError::Listen(signet_net::NetError::PortTaken { .. }))
    ));
    let file = site.folder.path().join("file");
    std::fs::write(&file, "").expect("write");
    let occupied = AgentSettings {
        state_dir: Some(file),
        ..site.settings()
    };
    let refused = site.agent(occupied, Some(&site.join())).await;
    assert!(matches!(refused.map(|_| ()), Err(AgentError::FileUnsafe { .. })));
}
