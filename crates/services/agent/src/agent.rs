use crate::handover::{Given, Giver, Takeover};
use crate::health::{self, Health, Source};
use crate::identity::{InUse, Warm};
use crate::metrics::Series;
use crate::sockets::Sockets;
use crate::upstream::{Machine, Means, Remote, State, StateDir, Upstream};
use crate::{AgentError, AgentSettings, Engine, EngineParts, Link, LinkState, Live, Pace, Reloader, attest};
use signet_api::JoinString;
use signet_fault::Coded as _;
use signet_net::{CancellationToken, Limits, TcpServer, UnixServer};
use signet_telemetry::Metrics;
use signet_time::SharedClock;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info};

/// The agent as a whole.
pub struct Agent;

/// A running agent.
pub struct Handle {
    engine: Engine,
    link: Link,
    reloader: Reloader,
    metrics: Arc<Metrics>,
    series: Series,
    metrics_address: Option<SocketAddr>,
    socket: PathBuf,
    local_socket: PathBuf,
    files: Option<StateDir>,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<(), AgentError>>,
}

/// What an agent is started with.
pub struct Launch<'a> {
    /// What its file says, and the command line above it.
    pub settings: AgentSettings,
    /// A join string, if there is one besides `settings.join_file`.
    pub join: Option<&'a str>,
    /// Where it takes the time from.
    pub clock: SharedClock,
    /// How long it waits.
    pub pace: Pace,
    /// Ends it.
    pub shutdown: CancellationToken,
}

impl Agent {
    /// Opens the sockets and begins to join and to serve. Until there is a state, callers get Unavailable.
    ///
    /// The agent ends when `launch.shutdown` is cancelled, or when another one takes over from it. Whoever runs it for a whole process should also call
    /// [`signet_sys::process::set_non_dumpable`] and [`signet_sys::process::raise_descriptor_limit`].
    ///
    /// # Errors
    /// What keeps it from starting: a socket or port, the state directory, the join string, the roots of `x509pop`.
    pub async fn start(launch: Launch<'_>) -> Result<Handle, AgentError> {
        let dir = launch.settings.state_dir.as_deref();
        let files = dir.map(StateDir::open).transpose()?;
        let (mut handle, sockets) = Self::prepare(launch, files, None).await?;
        let serving = handle.serve(sockets)?;
        handle.hand_over_to_who_asks(serving);
        Ok(handle)
    }

    /// Takes over from the agent that runs on the state directory of `launch.settings`: makes itself ready, goes on with the
    /// sockets of that one, and returns once that one serves nobody new. It drains and ends then. Where no agent runs,
    /// this is [`Agent::start`].
    ///
    /// # Errors
    /// As [`Agent::start`], and what keeps it from taking over. The other agent goes on then, as if it had not been
    /// asked.
    pub async fn take_over(launch: Launch<'_>) -> Result<Handle, AgentError> {
        let dir = launch.settings.state_dir.clone();
        let dir = dir.ok_or(AgentError::TakeOverNowhere)?;
        let Some((takeover, holder)) = Takeover::ask(&dir, signet_sys::process::uid()).await? else {
            info!("no agent runs on the state directory: starting as usual");
            return Self::start(launch).await.map_err(|error| match error {
                AgentError::StateHeld { path, holder } => AgentError::NoHandover { path, holder },
                error => error,
            });
        };
        let (lock, process) = holder.split();
        let files = StateDir::adopt(&dir, lock)?;
        let done = takeover.done(process);
        Self::succeed(launch, files, takeover, done).await
    }

    /// Goes on with what `takeover` has; `done` tells when it is this agent's alone.
    async fn succeed(
        launch: Launch<'_>,
        files: StateDir,
        mut takeover: Takeover,
        done: impl Future<Output = Result<(), AgentError>>,
    ) -> Result<Handle, AgentError> {
        let within = launch.pace.take_over;
        let in_use = takeover.in_use();
        let (mut handle, sockets) =
            Box::pin(Self::prepare(launch, Some(files.clone()), Some(&mut takeover))).await?;
        let mut done = core::pin::pin!(done);
        let warm = tokio::select! {
            biased;
            // The other one has ended, or is about to.
            said = &mut done => {
                said?;
                None
            }
            warm = handle.warm(in_use, within) => Some(warm?),
        };
        let serving = handle.serve(sockets)?;
        if let Some(warm) = warm {
            takeover.ready().await;
            if let Err(error) = done.await {
                // Whoever came here goes back to the other one, which has the sockets still.
                handle.shutdown.cancel();
                let _ = timeout(GIVE_UP_WITHIN, handle.wait()).await;
                return Err(error);
            }
            handle.keep(warm);
        }
        if let Err(error) = files.pen().take_up(files.path()) {
            error!(%error, code = error.code(), "what came meanwhile is not kept for the next start");
        }
        if let Some(given) = &serving.given {
            given.leave(|_| false);
        }
        handle.hand_over_to_who_asks(serving);
        info!("taken over");
        Ok(handle)
    }

    /// Everything but to serve: opens the sockets, and begins to join or come back.
    async fn prepare(
        launch: Launch<'_>,
        files: Option<StateDir>,
        takeover: Option<&mut Takeover>,
    ) -> Result<(Handle, Sockets), AgentError> {
        let Launch {
            settings,
            join,
            clock,
            pace,
            shutdown,
        } = launch;
        // Our own end must not be taken for that of whoever started us.
        let shutdown = shutdown.child_token();
        let means = means(&settings, join)?;
        let live = Live::new(&settings);
        let metrics = Arc::new(Metrics::new(settings.site.as_deref()));
        let series = Series::new(&metrics);
        let (sender, state) = watch::channel(None);
        let link = Link::default();
        let remote = Arc::new(Remote::default());
        let upstream = Upstream::new(
            State {
                sender,
                clock: Arc::clone(&clock),
                pace,
                series: series.clone(),
                link: link.clone(),
                held_as: Mutex::default(),
            },
            Arc::clone(&remote),
            files.clone(),
            means,
            settings.bootstrap_anchor.clone(),
            live.clone(),
        )?;
        // To join anew is to become another node, while there still is the one.
        if let (Some(_), Some(files), false) = (&takeover, &files, upstream.has_identity()) {
            return Err(AgentError::TakeOverStranger(files.path().to_owned()));
        }
        let sockets = Sockets::open(&settings, files.as_ref(), takeover).await?;
        let engine = Engine::start(EngineParts {
            state,
            issuer: remote,
            attestors: attest::built_in(&live, Arc::clone(&clock)),
            clock,
            pace,
            live: live.clone(),
            series: series.clone(),
            link: link.clone(),
            shutdown: shutdown.clone(),
        })?;
        let mut tasks = JoinSet::new();
        tasks.spawn(upstream.run(engine.applied(), shutdown.clone()));
        let handle = Handle {
            link,
            socket: sockets.workload.path().to_owned(),
            local_socket: sockets.local.path().to_owned(),
            metrics_address: sockets.metrics.as_ref().map(TcpServer::address),
            reloader: Reloader::new(settings, live, shutdown.clone()),
            engine,
            metrics,
            series,
            files,
            shutdown,
            tasks,
        };
        Ok((handle, sockets))
    }
}

/// What to join with, if it must.
fn means(settings: &AgentSettings, join: Option<&str>) -> Result<Option<Means>, AgentError> {
    let join = match (join, &settings.join_file) {
        (Some(text), _) => Some(JoinString::parse(text).map_err(AgentError::Join)?),
        (None, Some(path)) => read_join(path)?,
        (None, None) => None,
    };
    match (join, &settings.x509pop) {
        (Some(join), _) => Ok(Some(Means::Join(join))),
        (None, Some(_)) if settings.servers.is_empty() => Err(AgentError::NoServers),
        (None, Some(x509pop)) => Ok(Some(Means::Machine(Machine::new(x509pop)?))),
        (None, None) => Ok(None),
    }
}

/// What another agent can take over from one that serves.
struct Serving {
    given: Option<Arc<Given>>,
    handover: Option<UnixServer>,
}

impl Handle {
    /// Waits until there is a state to serve from.
    ///
    /// # Errors
    /// [`AgentError::Draining`] if it ends before.
    pub fn ready(&self) -> impl Future<Output = Result<(), AgentError>> + Send + use<> {
        let (mut applied, shutdown) = (self.engine.applied(), self.shutdown.clone());
        async move {
            tokio::select! {
                ready = applied.wait_for(Option::is_some) => ready.map(|_| ()).map_err(|_| AgentError::Draining),
                () = shutdown.cancelled() => Err(AgentError::Draining),
            }
        }
    }

    /// The socket of the Workload API.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The socket of the local API.
    #[must_use]
    pub fn local_socket(&self) -> &Path {
        &self.local_socket
    }

    /// Where metrics and health are shown.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What gives it new settings while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Follows how the agent stands with its server.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.link.follow()
    }

    /// The agent without its upstream.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Begins to accept.
    fn serve(&mut self, sockets: Sockets) -> Result<Serving, AgentError> {
        let given = match &self.files {
            None => None,
            Some(files) => Some(Arc::new(Given::new(
                sockets.shares()?,
                files.pen().clone(),
                Arc::clone(self.engine.identities()),
                self.shutdown.clone(),
                signet_sys::process::uid(),
            ))),
        };
        let Sockets {
            workload,
            local,
            metrics,
            handover,
        } = sockets;
        if let Some(server) = metrics {
            let source = source(&self.metrics, &self.engine, &self.series, &self.shutdown);
            let router = health::router(Arc::new(source));
            let shutdown = self.shutdown.clone();
            self.tasks.spawn(async move {
                signet_net::serve_tcp(server, router, Limits::metrics(), shutdown).await;
                Ok(())
            });
        }
        let serving = self.engine.clone();
        self.tasks.spawn(async move {
            serving.serve(workload).await;
            Ok(())
        });
        let serving = self.engine.clone();
        self.tasks.spawn(async move {
            serving.serve_local(local, signet_sys::process::uid()).await;
            Ok(())
        });
        Ok(Serving { given, handover })
    }

    fn hand_over_to_who_asks(&mut self, serving: Serving) {
        let Serving { given, handover } = serving;
        if let Some((given, listener)) = given.zip(handover) {
            let giver = Giver { listener, given };
            self.tasks.spawn(async move {
                giver.run().await;
                Ok(())
            });
        }
    }

    /// Waits until there is a state, and from it what was in use elsewhere.
    async fn warm(&mut self, in_use: Vec<InUse>, within: Duration) -> Result<Warm, AgentError> {
        let until = Instant::now() + within;
        let seconds = within.as_secs();
        let mut applied = self.engine.applied();
        tokio::select! {
            biased;
            ended = self.tasks.join_next() => return Err(unready(ended)),
            _ = async { applied.wait_for(Option::is_some).await.is_ok() } => {}
            () = sleep_until(until) => {
                let why = format!("no state from the server: {}", self.link.now().reason);
                return Err(AgentError::TakeOverLate { seconds, why });
            }
        }
        let mut warm = self.engine.identities().warm(in_use)?;
        tokio::select! {
            biased;
            ended = self.tasks.join_next() => return Err(unready(ended)),
            () = warm.ready() => return Ok(warm),
            () = sleep_until(until) => {}
        }
        let missing = warm.missing();
        let named: Vec<_> = missing.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        let why = format!(
            "{} of the identities in use cannot be had: {}{}",
            missing.len(),
            named.join(", "),
            if missing.len() > NAMED_MAX { ", ..." } else { "" }
        );
        Err(AgentError::TakeOverLate { seconds, why })
    }

    /// Keeps up to date what was in use elsewhere, until its users must have come.
    fn keep(&mut self, warm: Warm) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(WARM_FOR) => {}
            }
            drop(warm);
            Ok(())
        });
    }

    /// Waits until the agent has ended: after the shutdown when the last call has, or when it cannot go on, in which
    /// case it begins the shutdown itself.
    ///
    /// # Errors
    /// Why it could not go on.
    pub async fn wait(mut self) -> Result<(), AgentError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended.unwrap_or_else(|error| Err(broken(&error))) {
                outcome = outcome.and(Err(error));
                self.shutdown.cancel();
            }
        }
        outcome
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Connections have tasks of their own, which end by this.
        self.shutdown.cancel();
        // The next one may begin.
        if let Some(files) = &self.files {
            files.pen().lay_down();
        }
    }
}

/// Why an agent that was to take over has ended.
fn unready(ended: Option<Result<Result<(), AgentError>, JoinError>>) -> AgentError {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => broken(&error),
        Some(Ok(Ok(()))) | None => AgentError::Draining,
    }
}

fn broken(error: &JoinError) -> AgentError {
    AgentError::Server(format!("a part of the agent ended by accident: {error}"))
}

fn source(metrics: &Arc<Metrics>, engine: &Engine, series: &Series, shutdown: &CancellationToken) -> Source {
    let (engine, connected, shutdown) = (engine.clone(), series.connected.clone(), shutdown.clone());
    Source {
        metrics: Arc::clone(metrics),
        health: Box::new(move || {
            let seq = *engine.applied().borrow();
            let away = connected.get() == 0;
            Health {
                status: match seq {
                    _ if shutdown.is_cancelled() => "draining",
                    Some(_) => "ready",
                    None => "starting",
                },
                reasons: if away {
                    vec!["the server cannot be reached"]
                } else {
                    Vec::new()
                },
                version: env!("CARGO_PKG_VERSION"),
                seq,
            }
        }),
    }
}

/// The join string in the file; none if the file is gone, which it may be once the node has joined.
fn read_join(path: &Path) -> Result<Option<JoinString>, AgentError> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(JOIN_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => JoinString::parse(&text).map(Some).map_err(AgentError::Join),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AgentError::File {
            action: "read the join file",
            path: path.to_owned(),
            source,
        }),
    }
}

/// A join string is much shorter; one that is cut off here is refused as such.
const JOIN_BYTES_MAX: u64 = 64 << 10;
/// Of identities that are missing.
const NAMED_MAX: usize = 3;
/// Clients that lost their stream are back long before.
const WARM_FOR: Duration = Duration::from_secs(60);
/// For those who have come meanwhile; they are told at once.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(5);
