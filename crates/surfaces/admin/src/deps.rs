use crate::Roles;
use crate::metrics::Series;
use bytes::Bytes;
use signet_authority::Authority;
use signet_keys::Keys;
use signet_registry::Registry;
use signet_store::{BoxFuture, Seq, StoreError};
use signet_telemetry::Metrics;
use signet_time::SharedClock;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// What the administration API works on.
#[derive(Clone)]
pub struct Deps {
    /// Entries, nodes and join tokens.
    pub registry: Arc<Registry>,
    /// The keys of the trust domain.
    pub keys: Arc<Keys>,
    /// What issues.
    pub authority: Authority,
    /// Who may do what.
    pub roles: Arc<dyn Roles>,
    /// What time it is.
    pub clock: SharedClock,
    /// Where join strings send agents, `HOST:PORT`, best first; 1 to 16. Asked each time: it may change.
    pub advertised: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The issuer that JWT-SVIDs name.
    pub jwt_issuer: String,
    /// Whether the server serves.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Takes a backup.
    pub backup: Arc<dyn Fn() -> BoxFuture<'static, Result<BackupStream, StoreError>> + Send + Sync>,
    /// Where the series of this API are registered, once.
    pub metrics: Arc<Metrics>,
}

/// A backup that is being taken.
#[derive(Debug)]
pub struct BackupStream {
    /// The change that it is taken at.
    pub seq: Seq,
    /// Its bytes, one piece after the other. It is whole when they end without an error.
    pub chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
}

/// Whether the server serves, as it stands in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `ready`, or in one word why not: `starting`, `draining`, `failing`.
    pub status: &'static str,
    /// What is wrong, if anything is.
    pub reasons: Vec<String>,
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) deps: Deps,
    pub(crate) series: Series,
    /// Who may hold a large body in memory.
    pub(crate) bulk: Arc<Semaphore>,
}

/// How many large bodies are held in memory at once; further ones wait for their turn.
const BULK_AT_ONCE: usize = 4;

impl Shared {
    pub(crate) fn new(deps: Deps) -> Self {
        let series = Series::new(&deps.metrics);
        Self {
            deps,
            series,
            bulk: Arc::new(Semaphore::new(BULK_AT_ONCE)),
        }
    }
}
