use crate::health::{self, Health, Source};
use crate::metrics::Series;
use crate::upstream::{Machine, Means, Remote, State, Upstream};
use crate::{AgentError, AgentSettings, Engine, EngineParts, Live, Pace, Reloader, SOCKET_MODE, attest};
use signet_api::JoinString;
use signet_net::{CancellationToken, Limits, TcpServer, UnixOptions, UnixServer};
use signet_telemetry::Metrics;
use signet_time::SharedClock;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

/// The agent as a whole.
pub struct Agent;

/// A running agent.
pub struct Handle {
    engine: Engine,
    reloader: Reloader,
    metrics: Arc<Metrics>,
    metrics_address: Option<SocketAddr>,
    socket: PathBuf,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<(), AgentError>>,
}

impl Agent {
    /// Opens the sockets and begins to join and to serve. Until there is a state, callers get Unavailable.
    ///
    /// `join` is a join string, if there is one besides `settings.join_file`. The agent ends when `shutdown` is
    /// cancelled. Whoever runs it for a whole process should also call
    /// [`signet_sys::process::set_non_dumpable`] and [`signet_sys::process::raise_descriptor_limit`].
    ///
    /// # Errors
    /// What keeps it from starting: a socket or port, the state directory, the join string, the roots of `x509pop`.
    pub async fn start(
        settings: AgentSettings,
        join: Option<&str>,
        clock: SharedClock,
        pace: Pace,
        shutdown: CancellationToken,
    ) -> Result<Handle, AgentError> {
        // Our own end must not be taken for that of whoever started us.
        let shutdown = shutdown.child_token();
        let join = match (join, &settings.join_file) {
            (Some(text), _) => Some(JoinString::parse(text).map_err(AgentError::Join)?),
            (None, Some(path)) => read_join(path)?,
            (None, None) => None,
        };
        let means = match (join, &settings.x509pop) {
            (Some(join), _) => Some(Means::Join(join)),
            (None, Some(_)) if settings.servers.is_empty() => return Err(AgentError::NoServers),
            (None, Some(x509pop)) => Some(Means::Machine(Machine::new(x509pop)?)),
            (None, None) => None,
        };
        let live = Live::new(&settings);
        let metrics = Arc::new(Metrics::new(settings.site.as_deref()));
        let series = Series::new(&metrics);
        let (sender, state) = watch::channel(None);
        let remote = Arc::new(Remote::default());
        let upstream = Upstream::new(
            State {
                sender,
                clock: Arc::clone(&clock),
                pace,
                series: series.clone(),
            },
            Arc::clone(&remote),
            settings.state_dir.as_deref(),
            means,
            live.clone(),
        )?;
        let options = UnixOptions {
            mode: SOCKET_MODE,
            ..UnixOptions::default()
        };
        let socket = UnixServer::bind(&settings.workload_api.path, options)?;
        let watched = match settings.metrics {
            Some(address) => Some(TcpServer::bind(address.0, "metrics").await?),
            None => None,
        };
        let engine = Engine::start(EngineParts {
            state,
            issuer: remote,
            attestors: attest::built_in(&live, Arc::clone(&clock)),
            clock,
            pace,
            live: live.clone(),
            series: series.clone(),
            shutdown: shutdown.clone(),
        })?;
        let mut tasks = JoinSet::new();
        let metrics_address = watched.as_ref().map(TcpServer::address);
        if let Some(server) = watched {
            let router = health::router(Arc::new(source(&metrics, &engine, &series, &shutdown)));
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                signet_net::serve_tcp(server, router, Limits::metrics(), shutdown).await;
                Ok(())
            });
        }
        let serving = engine.clone();
        tasks.spawn(async move {
            serving.serve(socket).await;
            Ok(())
        });
        tasks.spawn(upstream.run(engine.applied(), shutdown.clone()));
        let socket = settings.workload_api.path.clone();
        Ok(Handle {
            reloader: Reloader::new(settings, live, shutdown.clone()),
            engine,
            metrics,
            metrics_address,
            socket,
            shutdown,
            tasks,
        })
    }
}

impl Handle {
    /// Waits until there is a state to serve from.
    ///
    /// # Errors
    /// [`AgentError::Draining`] if it ends before.
    pub async fn ready(&self) -> Result<(), AgentError> {
        let mut applied = self.engine.applied();
        tokio::select! {
            ready = applied.wait_for(Option::is_some) => ready.map(|_| ()).map_err(|_| AgentError::Draining),
            () = self.shutdown.cancelled() => Err(AgentError::Draining),
        }
    }

    /// The socket of the Workload API.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
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

    /// The agent without its upstream.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
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
