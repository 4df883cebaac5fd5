use crate::identity::Resolver;
use crate::provider::{TlsTime, provider};
use crate::verify::{ClientVerifier, JoinVerifier, ServerVerifier, Trust};
use crate::{LiveIdentity, PeerRule, TlsError};
use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use signet_id::TrustDomain;
use signet_time::SharedClock;
use signet_trust::TrustView;
use std::sync::Arc;

/// Which clients a server takes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPolicy {
    /// An X.509-SVID is demanded.
    Spiffe,
    /// An X.509-SVID, or a self-signed certificate as proof of possession of its key and nothing else.
    SpiffeOrProof,
    /// Clients are not asked who they are.
    None,
}

/// The server's side of TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ServerConfig>);

/// The client's side of TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

/// HTTP/2 and nothing else: what gRPC needs. The default.
const ALPN: &[&[u8]] = &[b"h2"];

impl ServerTls {
    /// Shows `identity`, and takes clients as `accept` says, by the trust in `trust` at the time of `clock`.
    ///
    /// # Errors
    /// [`TlsError::Configuration`].
    pub fn new(
        identity: Arc<LiveIdentity>,
        trust: Arc<ArcSwap<TrustView>>,
        clock: SharedClock,
        accept: ClientPolicy,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_details(provider(), Arc::new(TlsTime(Arc::clone(&clock))))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Configuration)?;
        let builder = match accept {
            ClientPolicy::None => builder.with_no_client_auth(),
            accept => {
                let verifier = ClientVerifier::new(Trust { view: trust, clock }, accept);
                builder.with_client_cert_verifier(Arc::new(verifier))
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver(identity)));
        // A resumed session would skip the verifier, and with it every change of trust since (spiffe-52).
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = owned(ALPN);
        Ok(Self(Arc::new(config)))
    }

    /// The same, speaking `protocols`, preferred ones first, instead of HTTP/2.
    #[must_use]
    pub fn with_alpn(mut self, protocols: &[&[u8]]) -> Self {
        Arc::make_mut(&mut self.0).alpn_protocols = owned(protocols);
        self
    }

    /// For an acceptor.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

impl ClientTls {
    /// Shows `identity`, and takes a server that `expect` admits, by the trust in `trust` at the time of `clock`.
    ///
    /// # Errors
    /// [`TlsError::Configuration`].
    pub fn new(
        identity: Arc<LiveIdentity>,
        trust: Arc<ArcSwap<TrustView>>,
        clock: SharedClock,
        expect: PeerRule,
    ) -> Result<Self, TlsError> {
        let verifier = ServerVerifier::new(
            Trust {
                view: trust,
                clock: Arc::clone(&clock),
            },
            expect,
        );
        Self::with_verifier(identity, clock, Arc::new(verifier))
    }

    /// For a contact without an SVID, the first one with a server of `trust_domain` or that of a node which comes
    /// back: the roots are known by their hashes, from a join string or a kept bundle.
    ///
    /// The server's chain must contain a root with one of `root_hashes` (SHA-256 of its DER), lead to it, and begin
    /// with an identity below `/signet/server/`.
    ///
    /// # Errors
    /// [`TlsError::Configuration`].
    pub fn pinned_join(
        identity: Arc<LiveIdentity>,
        root_hashes: Vec<[u8; 32]>,
        trust_domain: TrustDomain,
        clock: SharedClock,
    ) -> Result<Self, TlsError> {
        let verifier = JoinVerifier::new(trust_domain, root_hashes, Arc::clone(&clock));
        Self::with_verifier(identity, clock, Arc::new(verifier))
    }

    fn with_verifier(
        identity: Arc<LiveIdentity>,
        clock: SharedClock,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, TlsError> {
        let mut config = ClientConfig::builder_with_details(provider(), Arc::new(TlsTime(clock)))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Configuration)?
            // `dangerous` is rustls's word for any verifier but its own; ours is the stricter.
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(Resolver(identity)));
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        // Servers are told apart by SPIFFE ID; the dialled name is nobody's business on the wire.
        config.enable_sni = false;
        config.alpn_protocols = owned(ALPN);
        Ok(Self(Arc::new(config)))
    }

    /// The same, speaking `protocols`, preferred ones first, instead of HTTP/2.
    #[must_use]
    pub fn with_alpn(mut self, protocols: &[&[u8]]) -> Self {
        Arc::make_mut(&mut self.0).alpn_protocols = owned(protocols);
        self
    }

    /// For a connector.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// The server name to give to a connector: it wants one, and nothing here looks at it.
    #[must_use]
    pub fn server_name() -> ServerName<'static> {
        ServerName::IpAddress(rustls_pki_types::IpAddr::from(core::net::IpAddr::from([
            0, 0, 0, 0,
        ])))
    }
}

fn owned(protocols: &[&[u8]]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.to_vec()).collect()
}
