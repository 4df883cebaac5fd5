use crate::AgentError;
use crate::attest::{Attestation, Attestor};
use crate::identity::Identities;
use crate::issuer::{Coalescer, Issuer};
use crate::link::Link;
use crate::local::{LocalApi, Sources};
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
    sources: Arc<Sources>,
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
    /// How the agent stands with its server, kept up to date by whoever speaks to it.
    pub link: Link,
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
            link,
            shutdown,
        } = parts;
        let attestation = Arc::new(Attestation::new(attestors));
        let coalescer = Coalescer::start(issuer);
        let identities = Identities::new(Arc::clone(&clock), coalescer, pace, live.clone(), series.clone());
        let sources = Arc::new(Sources {
            identities: Arc::clone(&identities),
            attestation: Arc::clone(&attestation),
            state: state.clone(),
            link,
            clock: Arc::clone(&clock),
            series: series.clone(),
            shutdown: shutdown.clone(),
        });
        let shared = Shared::new(
            Arc::clone(&identities),
            attestation,
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
            sources,
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

    /// Serves the local API on `socket`, as [`Engine::serve`]. Root, the user `operator` and the owner of a process are
    /// answered.
    pub async fn serve_local(&self, socket: UnixServer, operator: u32) {
        let api = LocalApi::new(Arc::clone(&self.sources), operator);
        signet_net::serve_unix(socket, api.service(), Limits::local(), self.shutdown.clone()).await;
    }

    /// Looks at the clock again. A clock that runs is followed anyway; call this after one was set.
    pub fn wake(&self) {
        self.identities.wake();
    }

    pub(crate) fn identities(&self) -> &Arc<Identities> {
        &self.identities
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

/// The mode of the agent's sockets: everybody may connect, and is told apart by the kernel.
pub const SOCKET_MODE: u32 = 0o666;
