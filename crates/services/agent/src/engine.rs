use crate::AgentError;
use crate::attest::Attestor;
use crate::identity::Identities;
use crate::issuer::{Coalescer, Issuer};
use crate::metrics::Series;
use crate::reload::Live;
use crate::settings::Pace;
use crate::workload::{Shared, WorkloadApi};
use signet_feed::NodeState;
use signet_net::{CancellationToken, Limits, UnixServer};
use signet_time::SharedClock;
use std::sync::Arc;
use tokio::sync::watch;

/// An agent without its upstream: serves the Workload API from a state that somebody provides, with SVIDs that
/// somebody signs.
#[derive(Clone)]
pub struct Engine {
    identities: Arc<Identities>,
    service: WorkloadApi,
    shutdown: CancellationToken,
}

/// What an [`Engine`] is made of.
pub struct EngineParts {
    /// The state to serve from. None until there is one; each value replaces the one before.
    pub state: watch::Receiver<Option<Arc<NodeState>>>,
    /// Who signs.
    pub issuer: Arc<dyn Issuer>,
    /// Who looks at callers: [`crate::attest::built_in`].
    pub attestors: Vec<Arc<dyn Attestor>>,
    /// What time it is.
    pub clock: SharedClock,
    /// How fast.
    pub pace: Pace,
    /// What may change while it runs.
    pub live: Live,
    /// What is counted.
    pub series: Series,
    /// Ends all streams, and lets nobody in any more.
    pub shutdown: CancellationToken,
}

impl Engine {
    /// Starts the task that keeps identities up to date. It ends with the sender of `state`.
    ///
    /// # Errors
    /// [`AgentError::Server`] if the description of the API, which is built in, cannot be read.
    pub fn start(parts: EngineParts) -> Result<Self, AgentError> {
        let EngineParts {
            state,
            issuer,
            attestors,
            clock,
            pace,
            live,
            series,
            shutdown,
        } = parts;
        let coalescer = Coalescer::start(issuer);
        let identities = Identities::new(Arc::clone(&clock), coalescer, pace, live.clone(), series.clone());
        let shared = Shared::new(
            Arc::clone(&identities),
            attestors,
            clock,
            pace,
            series,
            live,
            shutdown.clone(),
        );
        let service = WorkloadApi::new(Arc::new(shared))?;
        tokio::spawn(Arc::clone(&identities).run(state));
        Ok(Self {
            identities,
            service,
            shutdown,
        })
    }

    /// Serves the Workload API on `socket` until the shutdown begins, and returns when the last stream has ended.
    pub async fn serve(&self, socket: UnixServer) {
        signet_net::serve_unix(
            socket,
            self.service.clone(),
            Limits::workload(),
            self.shutdown.clone(),
        )
        .await;
    }

    /// Looks at the clock again. A clock that runs is followed anyway; call this after one was set.
    pub fn wake(&self) {
        self.identities.wake();
    }

    /// Follows which change's state is served; none before the first.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Option<u64>> {
        self.identities.applied()
    }

    /// Whether there is a state to serve from.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.identities.is_ready()
    }
}

/// The mode of the Workload API's socket: everybody may connect, and is told apart by the kernel.
pub const SOCKET_MODE: u32 = 0o666;
