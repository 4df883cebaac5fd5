use crate::follow::{Followed, Messages};
use crate::{Endpoint, WorkloadClient, WorkloadError, X509Context, X509Stream};
use std::sync::Arc;
use tokio::sync::watch;

/// Keeps this process's X.509 identities up to date. Ends its background task when the last clone goes.
#[derive(Clone)]
pub struct X509Source(Arc<Followed<X509Stream>>);

impl X509Source {
    /// Connects to `endpoint` and waits for the first message; from then on a lost connection is made again, and what
    /// was last received stays.
    ///
    /// # Errors
    /// Whatever keeps the first message from coming.
    pub async fn start(endpoint: Endpoint) -> Result<Self, WorkloadError> {
        Ok(Self(Arc::new(Followed::start(endpoint).await?)))
    }

    /// What the last message said.
    #[must_use]
    pub fn current(&self) -> Arc<X509Context> {
        self.0.current()
    }

    /// Changes with every message; its value counts them.
    #[must_use]
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.0.updates()
    }
}

impl Messages for X509Stream {
    type State = X509Context;
    const NAME: &'static str = "x509";

    async fn open(client: &WorkloadClient) -> Result<Self, WorkloadError> {
        client.watch_x509().await
    }

    async fn next(&mut self) -> Result<Option<X509Context>, WorkloadError> {
        Self::next(self).await
    }
}
