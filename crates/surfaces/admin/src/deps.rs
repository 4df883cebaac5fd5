use crate::Roles;
use crate::metrics::Series;
use signet_authority::Authority;
use signet_keys::Keys;
use signet_registry::Registry;
use signet_telemetry::Metrics;
use signet_time::SharedClock;
use std::sync::Arc;
use tokio::sync::Semaphore;

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
    /// Where the series of this API are registered, once.
    pub metrics: Arc<Metrics>,
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
    pub(crate) bulk: Semaphore,
}

/// How many large bodies are held in memory at once; further ones wait for their turn.
const BULK_AT_ONCE: usize = 4;

impl Shared {
    pub(crate) fn new(deps: Deps) -> Self {
        let series = Series::new(&deps.metrics);
        Self {
            deps,
            series,
            bulk: Semaphore::new(BULK_AT_ONCE),
        }
    }
}
