use crate::follow::{Followed, Messages};
use crate::{Endpoint, WitBundleStream, WitStream, WitSvid, WorkloadClient, WorkloadError};
use signet_trust::Bundle;
use std::sync::Arc;
use tokio::sync::watch;

/// Keeps this process's WIT-SVIDs and the WIT bundles up to date (incubating). Ends its background tasks when the last
/// clone goes.
#[derive(Clone)]
pub struct WitSource(Arc<Shared>);

struct Shared {
    svids: Followed<WitStream>,
    bundles: Followed<WitBundleStream>,
}

impl WitSource {
    /// Connects to `endpoint` and waits for the first messages; from then on a lost connection is made again, and what
    /// was last received stays.
    ///
    /// # Errors
    /// Whatever keeps the first messages from coming. Where the endpoint has no WIT-SVIDs the error
    /// [is final](WorkloadError::is_final), and trying again is of no use (rule 25).
    pub async fn start(endpoint: Endpoint) -> Result<Self, WorkloadError> {
        let svids = Followed::start(endpoint.clone()).await?;
        let bundles = Followed::start(endpoint).await?;
        Ok(Self(Arc::new(Shared { svids, bundles })))
    }

    /// All identities; at least one. The first is the default.
    #[must_use]
    pub fn current(&self) -> Arc<Vec<WitSvid>> {
        self.0.svids.current()
    }

    /// The bundles that the last message held; they hold WIT authorities only.
    #[must_use]
    pub fn bundles(&self) -> Arc<Vec<Bundle>> {
        self.0.bundles.current()
    }

    /// Changes with every message about identities; its value counts them.
    #[must_use]
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.0.svids.updates()
    }

    /// Changes with every message about bundles; its value counts them.
    #[must_use]
    pub fn bundle_updates(&self) -> watch::Receiver<u64> {
        self.0.bundles.updates()
    }
}

impl Messages for WitStream {
    type State = Vec<WitSvid>;
    const NAME: &'static str = "wit";

    async fn open(client: &WorkloadClient) -> Result<Self, WorkloadError> {
        client.watch_wit(None).await
    }

    async fn next(&mut self) -> Result<Option<Vec<WitSvid>>, WorkloadError> {
        Self::next(self).await
    }
}

impl Messages for WitBundleStream {
    type State = Vec<Bundle>;
    const NAME: &'static str = "wit bundles";

    async fn open(client: &WorkloadClient) -> Result<Self, WorkloadError> {
        client.watch_wit_bundles().await
    }

    async fn next(&mut self) -> Result<Option<Vec<Bundle>>, WorkloadError> {
        Self::next(self).await
    }
}
