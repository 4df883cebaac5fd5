use crate::retry::Pauses;
use crate::{Endpoint, WorkloadClient, WorkloadError};
use arc_swap::ArcSwap;
use core::future::Future;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A stream of the Workload API whose messages each replace the one before.
pub(crate) trait Messages: Sized + Send + 'static {
    /// What a message says.
    type State: Send + Sync + 'static;
    /// Its name in the log.
    const NAME: &'static str;

    fn open(client: &WorkloadClient) -> impl Future<Output = Result<Self, WorkloadError>> + Send;

    fn next(&mut self) -> impl Future<Output = Result<Option<Self::State>, WorkloadError>> + Send;
}

/// Follows a stream in the background: a lost connection is made again, and what was last received stays.
pub(crate) struct Followed<M: Messages> {
    current: Arc<ArcSwap<M::State>>,
    updates: watch::Receiver<u64>,
    task: AbortHandle,
}

impl<M: Messages> Drop for Followed<M> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<M: Messages> Followed<M> {
    /// Connects to `endpoint` and waits for the first message.
    ///
    /// # Errors
    /// Whatever keeps the first message from coming.
    pub(crate) async fn start(endpoint: Endpoint) -> Result<Self, WorkloadError> {
        let mut stream = M::open(&WorkloadClient::connect(&endpoint).await?).await?;
        let first = stream.next().await?.ok_or(WorkloadError::Ended)?;
        let current = Arc::new(ArcSwap::from_pointee(first));
        let (sender, updates) = watch::channel(1);
        let target = Arc::clone(&current);
        let task = tokio::spawn(async move {
            let mut pauses = Pauses::new();
            loop {
                match stream.next().await {
                    Ok(Some(state)) => {
                        pauses.reset();
                        target.store(Arc::new(state));
                        sender.send_modify(|count| *count += 1);
                        continue;
                    }
                    Ok(None) => tracing::debug!(stream = M::NAME, "stream ended"),
                    Err(error) => tracing::info!(stream = M::NAME, error = %error, "stream broke"),
                }
                stream = match reopen(&endpoint, &mut pauses).await {
                    Ok(stream) => stream,
                    // What the endpoint does not offer is not asked for again (rule 25).
                    Err(error) => {
                        tracing::warn!(stream = M::NAME, error = %error, "stream not offered any more");
                        return;
                    }
                };
            }
        });
        Ok(Self {
            current,
            updates,
            task: task.abort_handle(),
        })
    }

    /// What the last message said.
    pub(crate) fn current(&self) -> Arc<M::State> {
        self.current.load_full()
    }

    /// Changes with every message; its value counts them. Ends where the endpoint does not offer the stream any more.
    pub(crate) fn updates(&self) -> watch::Receiver<u64> {
        self.updates.clone()
    }
}

/// Tries until the stream is open, or refused for good.
async fn reopen<M: Messages>(endpoint: &Endpoint, pauses: &mut Pauses) -> Result<M, WorkloadError> {
    loop {
        tokio::time::sleep(pauses.next()).await;
        let opened = match WorkloadClient::connect(endpoint).await {
            Ok(client) => M::open(&client).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => tracing::info!(stream = M::NAME, error = %error, "stream not opened"),
        }
    }
}
