use crate::handle::{Addresses, Handle};
use crate::health::{self, Health, VERSION};
use crate::identity::OwnIdentity;
use crate::storage::{self, Opened};
use crate::upkeep::{self, Upkeep};
use crate::watched::counted_journal;
use crate::web::{self, WebIdentity};
use crate::{Config, Reloader, ServerError, Storage, backups, machines, trust};
use arc_swap::ArcSwap;
use core::time::Duration;
use http::Extensions;
use signet_authority::{Authority, NoneReserved};
use signet_fault::chain;
use signet_id::SpiffeId;
use signet_keys::{Keys, KeysConfig};
use signet_net::{
    CancellationToken, ConnectionAge, Limits, TcpServer, UnixOptions, UnixServer, serve_tcp, serve_tls,
    serve_unix,
};
use signet_record::Recorder;
use signet_registry::Registry;
use signet_store::follow::{Followed, Guard};
use signet_surface_admin::{Deps, LocalAdministrators};
use signet_surface_agents::{Agents, Alarm, FeedPace, Parts, Series};
use signet_surface_publish::Publisher;
use signet_telemetry::Metrics;
use signet_time::SharedClock;
use signet_tls::{ClientPolicy, LiveIdentity, ServerTls, SpiffeName, WebTls};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

/// Starts servers.
#[derive(Clone, Copy, Debug)]
pub struct Server;

/// How long anybody may stay connected to the public port: it is for fetching, and places are few.
const PUBLIC_AGE: ConnectionAge = ConnectionAge(Duration::from_secs(60));

/// What was opened before anything was served.
struct Listeners {
    https: TcpServer,
    agents: TcpServer,
    metrics: Option<TcpServer>,
    api: UnixServer,
}

/// Everything that runs until the server stops.
struct Running {
    listeners: Listeners,
    agents: Agents,
    /// Ends the agents' side alone, where the state cannot be followed any more.
    agents_stop: CancellationToken,
    tls: ServerTls,
    web_tls: WebTls,
    public: axum::Router,
    admin: Deps,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    tasks: JoinSet<&'static str>,
    shutdown: CancellationToken,
}

impl Server {
    /// Starts a server by `config`. It serves when this returns.
    ///
    /// Ports and sockets are opened first, so that nothing is made for a server that cannot listen.
    ///
    /// # Errors
    /// [`ServerError`], with the code of the part that failed.
    pub async fn start(config: Config, clock: SharedClock) -> Result<Handle, ServerError> {
        let group = group_id("listen.api_group", config.api_group.clone()).await?;
        let minters = group_id("listen.api_minters_group", config.api_minters_group.clone()).await?;
        let listeners = listen(&config, group, minters).await?;
        let url = web::public_url(&config.web, listeners.https.address());
        let issuer = web::jwt_issuer(&config, &url)?;
        let x509pop = machines::x509pop(config.x509pop.clone()).await?;
        let opened = open(&config).await?;
        backups::check_age(&*opened.log, &*opened.journal).await?;
        let domain = config.trust_domain.clone();
        let seal_name = match &config.storage {
            Storage::Directory { seal, .. } => seal.clone(),
            Storage::Memory => "memory".to_owned(),
            Storage::Insecure { dir } => format!("file={}", dir.join(storage::INSECURE_KEY).display()),
        };
        let backup = backups::taker(
            &domain,
            seal_name,
            Arc::clone(&opened.seal),
            Arc::clone(&opened.log),
            Arc::clone(&opened.journal),
            Arc::clone(&clock),
        );
        let metrics = Arc::new(Metrics::new(config.site.as_deref()));
        let counted = counted_journal(Arc::clone(&opened.journal), &metrics);
        let recorder = Recorder::new(Arc::new(counted));
        let keys_config = KeysConfig {
            x509: config.x509,
            jwt: config.jwt,
            ..KeysConfig::new(domain.clone())
        };
        let keys = Keys::open(
            Arc::clone(&opened.log),
            opened.seal,
            recorder.clone(),
            keys_config,
        )
        .await
        .map_err(ServerError::part("open the keys"))?;
        keys.ensure(clock.now())
            .await
            .map_err(ServerError::part("make the keys"))?;
        let keys = Arc::new(keys);
        let registry = Registry::open(Arc::clone(&opened.log), domain.clone())
            .await
            .map_err(ServerError::part("open the registry"))?;
        let registry = Arc::new(registry);
        // Last of the three, so that it has seen all that the others have.
        let guard = Followed::open(Arc::clone(&opened.log), || {
            Guard::new(&[signet_registry::KINDS, signet_keys::KINDS])
        })
        .await
        .map_err(ServerError::part("open the change log"))?;
        let authority = Authority::new(
            Arc::clone(&keys),
            recorder,
            issuer.as_str(),
            Arc::new(NoneReserved),
        );

        let shutdown = CancellationToken::new();
        let agents_stop = shutdown.child_token();
        let leaving = shutdown.child_token();
        let (alarm, mut probes) = (Arc::new(Alarm::default()), opened.probes);
        let heard = Arc::clone(&alarm);
        probes.push(Box::new(move || heard.told().map(|why| format!("state: {why}"))));
        let health = Arc::new(Health::new(Arc::clone(&registry), leaving.clone(), probes));
        let view = trust::view(&keys, clock.now())?;
        let view = Arc::new(ArcSwap::from_pointee(view));
        let identity = own_identity(&config, &authority, &keys, &clock)?;
        identity.begin().await?;
        let tls = ServerTls::new(
            Arc::clone(&identity.live),
            Arc::clone(&view),
            Arc::clone(&clock),
            ClientPolicy::SpiffeOrProof,
        )
        .map_err(ServerError::part("set up tls"))?;
        let web = WebIdentity::new(&config, &url, &authority, &keys, &clock);
        web.begin().await?;
        let spiffe = config.web.spiffe_name.clone().map(|name| SpiffeName {
            name,
            identity: Arc::clone(&identity.live),
        });
        let web_tls = WebTls::new(Arc::clone(&web.live), spiffe, Arc::clone(&clock))
            .map_err(ServerError::part("set up tls of the public port"))?;
        let publisher = Publisher::new(Arc::clone(&keys), url.clone())
            .map_err(ServerError::part("make the public documents"))?;

        let upkeep = Upkeep::new(
            Arc::clone(&keys),
            Arc::clone(&registry),
            opened.log,
            Arc::clone(&clock),
            Arc::clone(&health),
            &metrics,
        );
        let mut tasks = JoinSet::new();
        let follow = upkeep::follow(
            Arc::clone(&registry),
            Arc::clone(&keys),
            guard,
            Arc::clone(&health),
            agents_stop.clone(),
        );
        tasks.spawn(named("follow", follow));
        tasks.spawn(named("upkeep", upkeep.run()));
        tasks.spawn(named("identity", identity.keep()));
        tasks.spawn(named("web", web.keep()));
        tasks.spawn(named("publish", publisher.clone().keep()));
        tasks.spawn(named(
            "trust",
            trust::keep(Arc::clone(&keys), view, Arc::clone(&clock)),
        ));

        let addresses = addresses(&listeners);
        let reloader = Reloader::new(config, addresses.agents, shutdown.clone());
        let advertised = reloader.clone();
        let agents = Agents::new(Parts {
            registry: Arc::clone(&registry),
            keys: Arc::clone(&keys),
            authority: authority.clone(),
            clock: Arc::clone(&clock),
            shutdown: agents_stop.clone(),
            series: Series::new(&metrics),
            x509pop,
            software: format!("signet {VERSION}"),
            pace: FeedPace::default(),
            alarm,
        });
        let seen = Arc::clone(&health);
        let admin = Deps {
            registry: Arc::clone(&registry),
            keys: Arc::clone(&keys),
            authority,
            roles: Arc::new(
                LocalAdministrators::new(signet_sys::process::uid(), group).with_minters(minters),
            ),
            clock: Arc::clone(&clock),
            advertised: Arc::new(move || advertised.advertised()),
            jwt_issuer: issuer.clone(),
            health: Arc::new(move || seen.now()),
            backup,
            metrics: Arc::clone(&metrics),
        };
        info!(
            trust_domain = %domain,
            agents = %addresses.agents,
            https = %url,
            api = %addresses.api.display(),
            "server started"
        );
        let running = Running {
            listeners,
            agents,
            agents_stop,
            tls,
            web_tls,
            public: signet_surface_publish::router(publisher, &metrics),
            admin,
            health,
            metrics: Arc::clone(&metrics),
            tasks,
            shutdown: shutdown.clone(),
        };
        Ok(Handle {
            addresses,
            reloader,
            public_url: url,
            jwt_issuer: issuer,
            registry,
            keys,
            clock,
            metrics,
            leaving,
            shutdown,
            running: tokio::spawn(running.run()),
        })
    }
}

impl Running {
    async fn run(mut self) -> Result<(), ServerError> {
        let metrics_stop = CancellationToken::new();
        let (registry, clock) = (Arc::clone(&self.admin.registry), Arc::clone(&self.admin.clock));
        let metrics = self.listeners.metrics.take().map(|listener| {
            let router = health::router(Arc::clone(&self.health), Arc::clone(&self.metrics));
            tokio::spawn(serve_tcp(
                listener,
                router,
                Limits::metrics(),
                metrics_stop.clone(),
            ))
        });
        let agents = self.agents.clone();
        let identify = move |connection: &rustls::ServerConnection| agents.identify(connection);
        let anybody = |_: &rustls::ServerConnection| {
            let mut extensions = Extensions::new();
            extensions.insert(PUBLIC_AGE);
            Ok::<_, Infallible>(extensions)
        };
        // Where trust cannot be followed any more, nothing is told about it either.
        let https = tokio::spawn(serve_tls(
            self.listeners.https,
            self.web_tls.config(),
            anybody,
            self.public,
            Limits::public(),
            self.agents_stop.clone(),
        ));
        let agents = tokio::spawn(serve_tls(
            self.listeners.agents,
            self.tls.config(),
            identify,
            signet_surface_agents::service(self.agents.clone()),
            Limits::agents(),
            self.agents_stop,
        ));
        let api = tokio::spawn(serve_unix(
            self.listeners.api,
            signet_surface_admin::router(self.admin),
            Limits::admin(),
            self.shutdown.clone(),
        ));
        let ended = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            ended = self.tasks.join_next() => Some(ended),
        };
        self.shutdown.cancel();
        let served = [
            finish("agents", agents).await,
            finish("api", api).await,
            finish("https", https).await,
        ];
        self.agents.drained().await;
        self.tasks.shutdown().await;
        // Nothing is signed any more; a stop forgets no use.
        if let Err(error) = registry.write_uses(clock.now()).await {
            warn!(
                error = chain(&error),
                "which entries were used lately is not written down"
            );
        }
        drop(registry);
        // Health says that we drain until there is nothing left to drain.
        metrics_stop.cancel();
        if let Some(metrics) = metrics {
            finish("metrics", metrics).await?;
        }
        info!("server stopped");
        served.into_iter().collect::<Result<(), _>>()?;
        match ended {
            None => Ok(()),
            Some(ended) => Err(ServerError::Task {
                task: ended.and_then(Result::ok).unwrap_or("background"),
            }),
        }
    }
}

async fn finish(task: &'static str, handle: JoinHandle<()>) -> Result<(), ServerError> {
    handle.await.map_err(|_| ServerError::Task { task })
}

/// A task that says its name should it ever end.
async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

async fn open(config: &Config) -> Result<Opened, ServerError> {
    let (storage, domain) = (config.storage.clone(), config.trust_domain.clone());
    tokio::task::spawn_blocking(move || storage::open(&storage, &domain))
        .await
        .unwrap_or(Err(ServerError::Task { task: "open" }))
}

async fn listen(config: &Config, group: Option<u32>, minters: Option<u32>) -> Result<Listeners, ServerError> {
    let https = TcpServer::bind(config.https, "listen.https")
        .await
        .map_err(ServerError::part("listen for the public"))?;
    let agents = TcpServer::bind(config.agents, "listen.agents")
        .await
        .map_err(ServerError::part("listen for agents"))?;
    let metrics = match config.metrics {
        Some(address) => Some(
            TcpServer::bind(address, "listen.metrics")
                .await
                .map_err(ServerError::part("listen for metrics"))?,
        ),
        None => None,
    };
    let options = UnixOptions {
        mode: if group.is_some() { 0o660 } else { 0o600 },
        group,
        also: minters,
    };
    let api = UnixServer::bind(&config.api_socket, options)
        .map_err(ServerError::part("listen for administrators"))?;
    Ok(Listeners {
        https,
        agents,
        metrics,
        api,
    })
}

/// The number of the group that `setting` names.
async fn group_id(setting: &'static str, name: Option<String>) -> Result<Option<u32>, ServerError> {
    let Some(name) = name else {
        return Ok(None);
    };
    let wanted = name.clone();
    // The name service may ask the network.
    let found = tokio::task::spawn_blocking(move || signet_sys::names::group_id(&wanted))
        .await
        .map_err(|_| ServerError::Task { task: "group" })?
        .map_err(ServerError::part("look up a group"))?;
    found.map(Some).ok_or(ServerError::Group { setting, name })
}

fn own_identity(
    config: &Config,
    authority: &Authority,
    keys: &Arc<Keys>,
    clock: &SharedClock,
) -> Result<OwnIdentity, ServerError> {
    let path = format!("/signet/server/{}", config.name);
    Ok(OwnIdentity {
        id: SpiffeId::new(&config.trust_domain, &path).map_err(ServerError::part("name the server"))?,
        live: Arc::new(LiveIdentity::none()),
        authority: authority.clone(),
        keys: Arc::clone(keys),
        clock: Arc::clone(clock),
    })
}

fn addresses(listeners: &Listeners) -> Addresses {
    Addresses {
        https: listeners.https.address(),
        agents: listeners.agents.address(),
        metrics: listeners.metrics.as_ref().map(TcpServer::address),
        api: listeners.api.path().to_owned(),
    }
}
