use arc_swap::ArcSwap;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use signet_check::x509::X509SvidError;
use signet_crypto::LocalKey;
use signet_testkit::ManualClock;
use signet_testkit::forge::{Authority, Der, Leaf};
use signet_tls::{ClientPolicy, ClientTls, LiveIdentity, PeerRule, ServerTls, TlsError, cause};
use signet_trust::{Bundle, TrustView, X509Authority};
use std::sync::Arc;

pub(crate) const SERVER: &str = "spiffe://example.org/signet/server/one";
pub(crate) const CLIENT: &str = "spiffe://example.org/web";

/// A trust domain with a clock, and the trust that its processes go by.
pub(crate) struct Rig {
    pub(crate) root: Authority,
    pub(crate) clock: ManualClock,
    pub(crate) trust: Arc<ArcSwap<TrustView>>,
}

pub(crate) fn bundle(domain: &str, root: &Authority) -> Bundle {
    let authority = X509Authority {
        certificate: root.certificate.clone(),
        tainted: false,
    };
    Bundle::new(domain.parse().unwrap(), 1, None, vec![authority], Vec::new()).unwrap()
}

pub(crate) fn view(root: &Authority) -> TrustView {
    TrustView::new("example.org".parse().unwrap()).with_bundle(bundle("example.org", root))
}

pub(crate) fn shows(leaf: &Leaf) -> Arc<LiveIdentity> {
    Arc::new(LiveIdentity::new(vec![leaf.certificate.clone()], &leaf.key).unwrap())
}

pub(crate) fn shows_chain(chain: &[&Der], key: &LocalKey) -> Arc<LiveIdentity> {
    Arc::new(LiveIdentity::new(chain.iter().map(|der| (*der).clone()).collect(), key).unwrap())
}

impl Rig {
    pub(crate) fn new() -> Self {
        let root = Authority::root("example.org");
        let trust = Arc::new(ArcSwap::from_pointee(view(&root)));
        Self {
            root,
            clock: ManualClock::default(),
            trust,
        }
    }

    pub(crate) fn server_as(&self, identity: Arc<LiveIdentity>, accept: ClientPolicy) -> Arc<ServerConfig> {
        ServerTls::new(
            identity,
            Arc::clone(&self.trust),
            Arc::new(self.clock.clone()),
            accept,
        )
        .unwrap()
        .config()
    }

    pub(crate) fn server(&self, accept: ClientPolicy) -> Arc<ServerConfig> {
        self.server_as(shows(&self.root.leaf(SERVER)), accept)
    }

    pub(crate) fn client_as(&self, identity: Arc<LiveIdentity>, expect: PeerRule) -> Arc<ClientConfig> {
        ClientTls::new(
            identity,
            Arc::clone(&self.trust),
            Arc::new(self.clock.clone()),
            expect,
        )
        .unwrap()
        .config()
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_as(shows(&self.root.leaf(CLIENT)), PeerRule::server())
    }
}

/// Both ends after a handshake, or what each of them said.
pub(crate) struct Failed {
    pub(crate) client: Option<rustls::Error>,
    pub(crate) server: Option<rustls::Error>,
}

impl Failed {
    pub(crate) fn servers(&self) -> &TlsError {
        cause(self.server.as_ref().expect("the server refuses")).expect("for a reason of ours")
    }

    pub(crate) fn clients(&self) -> &TlsError {
        cause(self.client.as_ref().expect("the client refuses")).expect("for a reason of ours")
    }

    pub(crate) fn servers_svid(&self) -> &X509SvidError {
        match self.servers() {
            TlsError::Svid(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn clients_svid(&self) -> &X509SvidError {
        match self.clients() {
            TlsError::Svid(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

/// A whole handshake between the two configurations.
pub(crate) fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Box<Failed>> {
    shake_counted(client, server).map(|(client, server, _)| (client, server))
}

/// As [`shake`], with the bytes that went over the wire, both ways together.
pub(crate) fn shake_counted(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection, usize), Box<Failed>> {
    let mut bytes = 0;
    let mut client = ClientConnection::new(Arc::clone(client), ClientTls::server_name()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut failed = Failed {
        client: None,
        server: None,
    };
    // Each round carries one flight in each direction; a handshake has three, tickets would be a fourth.
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        bytes += wire.len();
        feed(&wire, |bytes| {
            server.read_tls(bytes).unwrap();
            server.process_new_packets().map(drop)
        })
        .unwrap_or_else(|error| _ = failed.server.get_or_insert(error));
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        bytes += wire.len();
        feed(&wire, |bytes| {
            client.read_tls(bytes).unwrap();
            client.process_new_packets().map(drop)
        })
        .unwrap_or_else(|error| _ = failed.client.get_or_insert(error));
    }
    if failed.client.is_some() || failed.server.is_some() {
        return Err(Box::new(failed));
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server, bytes))
}

/// Hands `wire` over piece by piece, as much as the receiving buffer takes each time.
fn feed(
    mut wire: &[u8],
    mut end: impl FnMut(&mut &[u8]) -> Result<(), rustls::Error>,
) -> Result<(), rustls::Error> {
    while !wire.is_empty() {
        end(&mut wire)?;
    }
    Ok(())
}
