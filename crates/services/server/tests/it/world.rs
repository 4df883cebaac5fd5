//! A server of a test and whoever talks to it.

use bytes::Bytes;
use http::Method;
use signet_api::{EntryDoc, JoinString, JoinTokenReply};
use signet_crypto::{KeyKind, LocalKey};
use signet_feed::hello;
use signet_id::{Selector, SpiffeId, TrustDomain};
use signet_net::client::{Client, Endpoint, Reply, channel};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::{self, attest_request::Evidence};
use signet_server::{Config, Handle, Server};
use signet_time::{Clock, SharedClock, UnixTime};
use signet_tls::{ClientTls, LiveIdentity, PeerRule};
use signet_trust::TrustView;
use signet_x509::{Der, make_csr, self_signed_node};
use std::path::Path;
use std::sync::Arc;
use tonic::transport::Channel;

/// The wall: whole servers are tested as they run.
pub(crate) struct Wall;

impl Clock for Wall {
    #[expect(
        clippy::disallowed_methods,
        reason = "stands for the clock that the binary makes"
    )]
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap())
    }
}

pub(crate) fn clock() -> SharedClock {
    Arc::new(Wall)
}

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse("dev.test").unwrap()
}

pub(crate) fn config(dir: &Path) -> Config {
    Config::dev(domain(), dir)
}

pub(crate) async fn start(config: Config) -> Handle {
    Server::start(config, clock()).await.unwrap()
}

/// Asks the administration API.
pub(crate) async fn ask(server: &Handle, method: Method, path: &str, body: &str) -> Reply {
    let client = Client::new(Endpoint::Unix(server.addresses().api.clone()));
    let headers: &[(&str, &str)] = &[("content-type", "application/json"), ("x-request-id", "test-1")];
    client
        .send(method, path, headers, Bytes::copy_from_slice(body.as_bytes()))
        .await
        .unwrap()
}

/// Asks the metrics port.
pub(crate) async fn health(server: &Handle, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.addresses().metrics.unwrap())
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

pub(crate) async fn create_entry(server: &Handle, path: &str) -> EntryDoc {
    let doc = EntryDoc::new(
        SpiffeId::new(server.trust_domain(), path).unwrap(),
        vec![Selector::parse("unix:uid:1000").unwrap()],
    );
    let body = serde_json::to_string(&doc).unwrap();
    let reply = ask(server, Method::POST, "/api/v1/entries", &body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

pub(crate) async fn join_string(server: &Handle) -> JoinString {
    let reply = ask(server, Method::POST, "/api/v1/join-tokens", "{}").await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let reply: JoinTokenReply = serde_json::from_slice(&reply.body).unwrap();
    JoinString::parse(&reply.join).unwrap()
}

/// A node that joined.
pub(crate) struct Node {
    pub(crate) key: LocalKey,
    pub(crate) svid: v1::NodeSvid,
}

/// How somebody connects who holds `key` and has no identity.
pub(crate) fn stranger(join: &JoinString, key: &LocalKey) -> Arc<rustls::ClientConfig> {
    let shown = self_signed_node(key, Wall.now()).unwrap();
    let identity = Arc::new(LiveIdentity::new(vec![shown], key).unwrap());
    let (roots, domain) = (join.root_hashes.clone(), join.trust_domain.clone());
    ClientTls::pinned_join(identity, roots, domain, clock())
        .unwrap()
        .config()
}

pub(crate) async fn join(join: &JoinString) -> Node {
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let tls = stranger(join, &key);
    let mut client = AgentClient::new(channel::tls(join.servers[0].clone(), tls));
    let token = String::from_utf8(join.token.expose().to_vec()).unwrap();
    let request = v1::AttestRequest {
        hello: Some(hello("agent test", Wall.now())),
        evidence: Some(Evidence::JoinToken(token)),
        csr: make_csr(&key, None, &[]).unwrap().into(),
        step: None,
    };
    let svid = client.attest(request).await.unwrap().into_inner().svid.unwrap();
    Node { key, svid }
}

impl Node {
    pub(crate) fn connect(&self, address: &str) -> AgentClient<Channel> {
        AgentClient::new(channel::tls(address.to_owned(), self.tls()))
    }

    /// How the node connects.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        let chain: Vec<Der> = self
            .svid
            .chain
            .iter()
            .map(|der| Der::from(der.to_vec()))
            .collect();
        let identity = Arc::new(LiveIdentity::new(chain, &self.key).unwrap());
        let bundle = signet_feed::bundle_from_proto(self.svid.bundle.as_ref().unwrap()).unwrap();
        let view = TrustView::new(domain()).with_bundle(bundle);
        let trust = Arc::new(arc_swap::ArcSwap::from_pointee(view));
        ClientTls::new(identity, trust, clock(), PeerRule::server())
            .unwrap()
            .config()
    }
}

/// The chain that a server showed.
#[derive(Debug, Default)]
pub(crate) struct Seen(std::sync::Mutex<Vec<Der>>);

impl Seen {
    pub(crate) fn chain(&self) -> Vec<Der> {
        self.0.lock().unwrap().clone()
    }
}

impl rustls::client::danger::ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &rustls::pki_types::CertificateDer<'_>,
        more: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(leaf).chain(more);
        *self.0.lock().unwrap() = chain.map(|der| der.clone().into_owned()).collect();
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not asked here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not asked here".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A client that only looks at what it is shown.
pub(crate) fn looking(seen: Arc<Seen>) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(seen)
        .with_no_client_auth();
    Arc::new(config)
}
