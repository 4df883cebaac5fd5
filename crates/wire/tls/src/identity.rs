use crate::TlsError;
use arc_swap::ArcSwapOption;
use rustls::SignatureScheme;
use rustls::client::{ResolvesClientCert, verify_server_name};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use signet_check::x509::match_private_key;
use signet_crypto::LocalKey;
use signet_x509::{Certificate, Der, pem as x509_pem};
use std::sync::Arc;

/// What a process shows of itself: a certificate chain and its key, replaced while connections come and go.
///
/// Each handshake takes what is there at its moment; connections that stand keep what they showed.
#[derive(Debug, Default)]
pub struct LiveIdentity(ArcSwapOption<CertifiedKey>);

impl LiveIdentity {
    /// Shows `chain`, leaf first, with the leaf's private key.
    ///
    /// # Errors
    /// As [`LiveIdentity::set`].
    pub fn new(chain: Vec<Der>, key: &LocalKey) -> Result<Self, TlsError> {
        let identity = Self::none();
        identity.set(chain, key)?;
        Ok(identity)
    }

    /// Shows nothing yet. A server that shows nothing fails every handshake; a client has no identity.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// From now on shows `chain`, leaf first, with the leaf's private key.
    ///
    /// # Errors
    /// [`TlsError::OwnCertificate`] where the key is not the leaf's or there is no leaf, [`TlsError::OwnKey`] where
    /// it is of no use for TLS. What was shown before is shown on then.
    pub fn set(&self, chain: Vec<Der>, key: &LocalKey) -> Result<(), TlsError> {
        let leaf = chain.first().ok_or(TlsError::OwnCertificate(
            signet_check::x509::X509SvidError::NoCertificates,
        ))?;
        match_private_key(leaf, key).map_err(TlsError::OwnCertificate)?;
        let unusable = |why: String| TlsError::OwnKey { why };
        let pkcs8 = key.to_pkcs8().map_err(|error| unusable(error.to_string()))?;
        // Borrowed: the only copy is the one that zeroes itself.
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.expose()));
        let key = any_supported_type(&pkcs8).map_err(|error| unusable(error.to_string()))?;
        self.0.store(Some(Arc::new(CertifiedKey::new(chain, key))));
        Ok(())
    }

    /// From now on shows the certificate chain in `certificates`, leaf first, with the private key in `key`; both PEM,
    /// the key in PKCS #8, SEC 1 or PKCS #1.
    ///
    /// # Errors
    /// [`TlsError::Pem`], [`TlsError::OwnKey`], and [`TlsError::KeyOfAnother`] where the key is not the leaf's. What was
    /// shown before is shown on then.
    pub fn set_pem(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let malformed = |why: String| {
            let what = "certificate file";
            TlsError::Pem { what, why }
        };
        let chain = x509_pem::parse_certs(certificates).map_err(|error| malformed(error.to_string()))?;
        if let Some(leaf) = chain.first() {
            Certificate::parse(leaf).map_err(|error| malformed(error.to_string()))?;
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem {
            what: "key file",
            why: error.to_string(),
        })?;
        let key = any_supported_type(&key).map_err(|error| TlsError::OwnKey {
            why: error.to_string(),
        })?;
        let shown = CertifiedKey::new(chain, key);
        shown.keys_match().map_err(|_| TlsError::KeyOfAnother)?;
        self.0.store(Some(Arc::new(shown)));
        Ok(())
    }

    /// Whether a client that knows `host`, a DNS name or an address, would find it in the certificate that is shown now.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let shown = self.0.load();
        let Some(leaf) = shown.as_ref().and_then(|shown| shown.cert.first()) else {
            return false;
        };
        match (ParsedCertificate::try_from(leaf), ServerName::try_from(host)) {
            (Ok(leaf), Ok(host)) => verify_server_name(&leaf, &host).is_ok(),
            _ => false,
        }
    }

    /// The chain that is shown now; empty where nothing is.
    #[must_use]
    pub fn chain(&self) -> Vec<Der> {
        self.0
            .load()
            .as_ref()
            .map(|shown| shown.cert.clone())
            .unwrap_or_default()
    }
}

/// The view of a [`LiveIdentity`] that rustls asks, at either end.
#[derive(Debug)]
pub(crate) struct Resolver(pub(crate) Arc<LiveIdentity>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.0.load_full()
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.0.load_full()
    }

    fn has_certs(&self) -> bool {
        self.0.0.load().is_some()
    }
}
