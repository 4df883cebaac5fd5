use crate::retry::Pauses;
use crate::{Endpoint, WorkloadClient, WorkloadError, X509Context};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Keeps this process's X.509 identities up to date. Ends its background task when the last clone goes.
#[derive(Clone)]
pub struct X509Source(Arc<Shared>);

struct Shared {
    current: Arc<ArcSwap<X509Context>>,
    updates: watch::Receiver<u64>,
    task: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl X509Source {
    /// Connects to `endpoint` and waits for the first message; from then on a lost connection is made again, and what
    /// was last received stays.
    ///
    /// # Errors
    /// Whatever keeps the first message from coming.
    pub async fn start(endpoint: Endpoint) -> Result<Self, WorkloadError> {
        let mut stream = WorkloadClient::connect(&endpoint).await?.watch_x509().await?;
        let first = stream.next().await?.ok_or(WorkloadError::Ended)?;
        let current = Arc::new(ArcSwap::from_pointee(first));
        let (sender, updates) = watch::channel(1);
        let target = Arc::clone(&current);
        let task = tokio::spawn(async move {
            let mut pauses = Pauses::new();
            loop {
                match stream.next().await {
                    Ok(Some(context)) => {
                        pauses.reset();
                        target.store(Arc::new(context));
                        sender.send_modify(|count| *count += 1);
                        continue;
                    }
                    Ok(None) => tracing::debug!("x509 stream ended"),
                    Err(error) => tracing::info!(error = %error, "x509 stream broke"),
                }
                stream = reopen(&endpoint, &mut pauses).await;
            }
        });
        Ok(Self(Arc::new(Shared {
            current,
            updates,
            task: task.abort_handle(),
        })))
    }

    /// What the last message said.
    #[must_use]
    pub fn current(&self) -> Arc<X509Context> {
        self.0.current.load_full()
    }

    /// Changes with every message; its value counts them.
    #[must_use]
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.0.updates.clone()
    }
}

async fn reopen(endpoint: &Endpoint, pauses: &mut Pauses) -> crate::X509Stream {
    loop {
        tokio::time::sleep(pauses.next()).await;
        let opened = match WorkloadClient::connect(endpoint).await {
            Ok(client) => client.watch_x509().await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(stream) => return stream,
            Err(error) => tracing::info!(error = %error, "x509 stream not opened"),
        }
    }
}
