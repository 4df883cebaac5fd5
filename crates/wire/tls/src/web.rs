use crate::identity::Resolver;
use crate::provider::{TlsTime, web_provider};
use crate::{LiveIdentity, TlsError};
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use signet_time::SharedClock;
use std::sync::Arc;

/// The public port's side of TLS: TLS 1.3 and 1.2, HTTP/1.1, and no client is ever asked for a certificate. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct WebTls(Arc<ServerConfig>);

/// A host name whose clients are shown an X.509-SVID instead of the web certificate: the profile `https_spiffe` of the
/// bundle endpoint (SPIFFE Federation §5.2.2) beside `https_web`, on one port.
#[derive(Clone, Debug)]
pub struct SpiffeName {
    /// The host name, as clients send it in SNI; compared without regard to case.
    pub name: String,
    /// The SVID.
    pub identity: Arc<LiveIdentity>,
}

impl WebTls {
    /// Shows `web`, and to clients that name `spiffe` that identity.
    ///
    /// # Errors
    /// [`TlsError::Configuration`].
    pub fn new(
        web: Arc<LiveIdentity>,
        spiffe: Option<SpiffeName>,
        clock: SharedClock,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_details(web_provider(), Arc::new(TlsTime(clock)))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Configuration)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName { web, spiffe }));
        // Connections are few and short: nothing is kept of one for the next.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// For an acceptor.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// Which of the two is shown.
#[derive(Debug)]
struct ByName {
    web: Arc<LiveIdentity>,
    spiffe: Option<SpiffeName>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = |spiffe: &&SpiffeName| {
            hello
                .server_name()
                .is_some_and(|name| name.eq_ignore_ascii_case(&spiffe.name))
        };
        let shown = match self.spiffe.as_ref().filter(named) {
            Some(spiffe) => &spiffe.identity,
            None => &self.web,
        };
        Resolver(Arc::clone(shown)).resolve(hello)
    }
}
