use crate::config::STOP_MAX;
use crate::{Reloader, ServerError};
use signet_api::JoinString;
use signet_id::TrustDomain;
use signet_keys::Keys;
use signet_net::CancellationToken;
use signet_registry::{JoinTokenWish, Registry};
use signet_store::Origin;
use signet_surface_publish::PublicUrl;
use signet_telemetry::Metrics;
use signet_time::SharedClock;
use signet_x509::{Der, pem};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Where a running server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The public port.
    pub https: SocketAddr,
    /// Agents.
    pub agents: SocketAddr,
    /// Metrics and health, if they are served.
    pub metrics: Option<SocketAddr>,
    /// The socket of the administration API.
    pub api: PathBuf,
}

/// A running server. Dropping the handle does not stop it.
pub struct Handle {
    pub(crate) addresses: Addresses,
    pub(crate) reloader: Reloader,
    pub(crate) public_url: PublicUrl,
    pub(crate) jwt_issuer: String,
    pub(crate) registry: Arc<Registry>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled before or with `shutdown`: the server is not to be relied on any more.
    pub(crate) leaving: CancellationToken,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), ServerError>>,
}

impl Handle {
    /// Where it listens, with the real ports.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        self.registry.trust_domain()
    }

    /// Where relying parties reach the public port.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.public_url.as_str()
    }

    /// The issuer that JWT-SVIDs name.
    #[must_use]
    pub fn jwt_issuer(&self) -> &str {
        &self.jwt_issuer
    }

    /// What gives it new settings while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Its entries and nodes, for `signet dev` and tests; everybody else goes through the administration API.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The root certificates that are accepted, without those that were called off, as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        let roots = crate::trust::roots(&self.keys);
        pem::encode_certs::<Der>(&roots)
    }

    /// Makes a join string, as `signet node join-token create` does.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn join_string(&self, wish: &JoinTokenWish) -> Result<String, ServerError> {
        let origin = Origin::new("system", "join string", self.clock.now());
        let (secret, _) = self
            .registry
            .create_join_token(wish, origin)
            .await
            .map_err(ServerError::part("make a join token"))?;
        JoinString {
            trust_domain: self.trust_domain().clone(),
            servers: self.reloader.advertised(),
            root_hashes: self.keys.root_hashes(),
            token: signet_crypto::Secret::new(secret.expose().into_bytes()),
        }
        .encode()
        .map_err(ServerError::part("write the join string"))
    }

    /// What stops the server when it is cancelled; also cancelled when a part of the server fails.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Says at its health that the server is about to stop; it serves on until [`Handle::shutdown`]. For a process that
    /// has something else to end first.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Asks the server to stop: not ready at once, streams end, work in flight finishes.
    pub fn shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the end: after [`Handle::shutdown`] at most ten seconds, else as long as the server runs.
    ///
    /// # Errors
    /// What ended it, if that was not [`Handle::shutdown`].
    pub async fn finished(mut self) -> Result<(), ServerError> {
        let ended = tokio::select! {
            ended = &mut self.running => ended,
            () = async {
                self.shutdown.cancelled().await;
                tokio::time::sleep(STOP_MAX).await;
            } => {
                self.running.abort();
                return Err(ServerError::Task { task: "shutdown" });
            }
        };
        ended.unwrap_or(Err(ServerError::Task { task: "server" }))
    }
}
