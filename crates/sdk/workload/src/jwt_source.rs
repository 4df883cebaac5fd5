use crate::retry::Pauses;
use crate::{Endpoint, JwtBundleStream, JwtSvid, WorkloadClient, WorkloadError};
use arc_swap::ArcSwap;
use signet_id::SpiffeId;
use signet_trust::Bundle;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Fetches JWT-SVIDs and keeps the JWT bundles up to date. Ends its background task when the last clone goes.
#[derive(Clone)]
pub struct JwtSource(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    client: ArcSwap<WorkloadClient>,
    bundles: ArcSwap<Vec<Bundle>>,
    updates: watch::Sender<u64>,
    task: std::sync::OnceLock<AbortHandle>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl JwtSource {
    /// Connects to `endpoint` and waits for the first bundles; from then on a lost connection is made again, and what
    /// was last received stays.
    ///
    /// # Errors
    /// Whatever keeps the first message from coming.
    pub async fn start(endpoint: Endpoint) -> Result<Self, WorkloadError> {
        let client = WorkloadClient::connect(&endpoint).await?;
        let mut stream = client.watch_jwt_bundles().await?;
        let first = stream.next().await?.ok_or(WorkloadError::Ended)?;
        let shared = Arc::new(Shared {
            endpoint,
            client: ArcSwap::from_pointee(client),
            bundles: ArcSwap::from_pointee(first),
            updates: watch::channel(1).0,
            task: std::sync::OnceLock::new(),
        });
        // The task holds no share between messages, so that dropping the source ends it.
        let task = tokio::spawn(follow(Arc::downgrade(&shared), stream));
        // The lock was made three lines above and nobody else has it.
        let _ = shared.task.set(task.abort_handle());
        Ok(Self(shared))
    }

    /// JWT-SVIDs for `audience`: for every identity, or for `id` alone. The agent answers from its cache where it can.
    ///
    /// # Errors
    /// As [`WorkloadClient::fetch_jwt`].
    pub async fn fetch(
        &self,
        audience: &[String],
        id: Option<&SpiffeId>,
    ) -> Result<Vec<JwtSvid>, WorkloadError> {
        self.0.client.load_full().fetch_jwt(audience, id).await
    }

    /// The bundles that the last message held.
    #[must_use]
    pub fn bundles(&self) -> Arc<Vec<Bundle>> {
        self.0.bundles.load_full()
    }

    /// Changes with every message; its value counts them.
    #[must_use]
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.0.updates.subscribe()
    }
}

async fn follow(shared: std::sync::Weak<Shared>, mut stream: JwtBundleStream) {
    let mut pauses = Pauses::new();
    loop {
        let message = stream.next().await;
        let Some(held) = shared.upgrade() else { return };
        match message {
            Ok(Some(bundles)) => {
                pauses.reset();
                held.bundles.store(Arc::new(bundles));
                held.updates.send_modify(|count| *count += 1);
                continue;
            }
            Ok(None) => tracing::debug!("jwt bundle stream ended"),
            Err(error) => tracing::info!(error = %error, "jwt bundle stream broke"),
        }
        let endpoint = held.endpoint.clone();
        drop(held);
        stream = loop {
            tokio::time::sleep(pauses.next()).await;
            let opened = match WorkloadClient::connect(&endpoint).await {
                Ok(client) => client.watch_jwt_bundles().await.map(|stream| (client, stream)),
                Err(error) => Err(error),
            };
            match opened {
                Ok((client, stream)) => {
                    let Some(held) = shared.upgrade() else { return };
                    held.client.store(Arc::new(client));
                    break stream;
                }
                Err(error) => tracing::info!(error = %error, "jwt bundle stream not opened"),
            }
        };
    }
}
