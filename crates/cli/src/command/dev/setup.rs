//! Starts server and agent, joins them, and entitles the calling user.

use crate::Outcome;
use crate::api::Api;
use crate::error::CliError;
use crate::file::{self, Readers};
use core::num::NonZeroU32;
use core::time::Duration;
use signet_agent::{Agent, AgentError, AgentSettings, Launch, LimitSettings, Pace};
use signet_api::{EntryDoc, JoinTokenRequest};
use signet_id::{Selector, SpiffeId, TrustDomain};
use signet_server::{Config, Handle, Server, Storage};
use signet_settings::{ByteSize, HostPort};
use signet_time::SharedClock;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What is to be started.
pub(super) struct Wish<'a> {
    pub(super) dir: &'a Path,
    /// Whether state stays in `dir` after the end.
    pub(super) is_kept: bool,
    pub(super) trust_domain: &'a TrustDomain,
    pub(super) https: SocketAddr,
    pub(super) agents: SocketAddr,
    pub(super) metrics: SocketAddr,
}

/// A server and an agent that serve.
pub(super) struct Running {
    pub(super) server: Handle,
    agent: AgentTask,
    pub(super) api: Api,
    pub(super) api_url: String,
    pub(super) workload_api: Endpoint,
    pub(super) local_api: Endpoint,
    pub(super) root_pem: PathBuf,
    /// What the calling user's processes are.
    pub(super) user_id: SpiffeId,
    pub(super) uid: u32,
}

/// The agent, running by itself.
struct AgentTask {
    shutdown: CancellationToken,
    /// Cancelled when it has ended.
    ended: CancellationToken,
    outcome: JoinHandle<Result<(), AgentError>>,
}

impl AgentTask {
    fn spawn(agent: signet_agent::Handle, shutdown: CancellationToken) -> Self {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let outcome = tokio::spawn(async move {
            let _guard = guard;
            agent.wait().await
        });
        Self {
            shutdown,
            ended,
            outcome,
        }
    }

    async fn stop(self) -> Outcome {
        self.shutdown.cancel();
        match self.outcome.await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => Err(CliError::Ended {
                part: "the agent",
                why: Some(error.to_string()),
            }
            .into()),
        }
    }
}

/// From the start of the agent to the first identity, before something must be wrong.
const FIRST_SVID_WITHIN: Duration = Duration::from_secs(20);

/// How long the server goes on for the agent's last calls. It then needs up to eight seconds itself, and ten are allowed
/// for all.
const AGENT_FIRST: Duration = Duration::from_secs(1);

/// There is one user here, with the whole machine, who may well run `signet bench`.
const ONE_USERS_LIMITS: LimitSettings = LimitSettings {
    process_streams_max: NonZeroU32::new(20_000).expect("positive"),
    process_calls_per_s_max: NonZeroU32::new(1_000_000).expect("positive"),
    process_requests_max: NonZeroU32::new(20_000).expect("positive"),
    process_signing_max: NonZeroU32::new(4_096).expect("positive"),
    jwt_cache_bytes_max: ByteSize(16 << 20),
};

/// Between two looks for the first identity.
const PAUSE: Duration = Duration::from_millis(2);

/// Starts everything and returns when the first identity can be fetched.
pub(super) async fn start(wish: &Wish<'_>, clock: SharedClock) -> Outcome<Running> {
    let config = Config {
        storage: if wish.is_kept {
            Storage::Insecure {
                dir: wish.dir.join("server"),
            }
        } else {
            Storage::Memory
        },
        https: wish.https,
        agents: wish.agents,
        metrics: Some(wish.metrics),
        ..Config::dev(wish.trust_domain.clone(), wish.dir)
    };
    let server = Server::start(config, clock.clone()).await?;
    let api_url = format!("unix://{}", server.addresses().api.display());
    let api = Api::at(&api_url)?;

    let uid = signet_sys::process::uid();
    let user_id = user_id(wish.trust_domain, uid)?;
    entitle(&api, EntryDoc::new(user_id.clone(), vec![by_uid(uid)?])).await?;
    let join = api.create_join_token(&JoinTokenRequest::default()).await?.join;
    let socket = wish.dir.join("agent.sock");
    let mut settings = AgentSettings {
        state_dir: wish.is_kept.then(|| wish.dir.join("agent")),
        // An agent that was here before remembers the port of that time.
        servers: vec![HostPort {
            host: server.addresses().agents.ip().to_string(),
            port: server.addresses().agents.port(),
        }],
        metrics: None,
        limits: ONE_USERS_LIMITS,
        ..AgentSettings::default()
    };
    settings.workload_api.path.clone_from(&socket);
    let shutdown = CancellationToken::new();
    let agent = Agent::start(Launch {
        settings,
        join: Some(&join),
        clock,
        pace: Pace::default(),
        shutdown: shutdown.clone(),
    })
    .await?;
    let local_api = Endpoint::Unix(agent.local_socket().to_path_buf());
    let agent = AgentTask::spawn(agent, shutdown);

    let root_pem = wish.dir.join("root.pem");
    file::write(&root_pem, server.root_pem().as_bytes(), Readers::All)?;
    let workload_api = Endpoint::Unix(socket);
    let first = tokio::select! {
        outcome = first_svid(&workload_api) => Some(outcome),
        () = agent.ended.cancelled() => None,
    };
    match first {
        Some(outcome) => outcome?,
        // It says itself why it could not go on.
        None => {
            agent.stop().await?;
            let (part, why) = ("the agent", None);
            return Err(CliError::Ended { part, why }.into());
        }
    }
    Ok(Running {
        server,
        agent,
        api,
        api_url,
        workload_api,
        local_api,
        root_pem,
        user_id,
        uid,
    })
}

impl Running {
    /// Completes when a part has ended that should not have.
    pub(super) async fn failed(&self) {
        let server = self.server.shutdown_token();
        tokio::select! {
            () = server.cancelled() => {}
            () = self.agent.ended.cancelled() => {}
        }
    }

    /// Ends the agent, then the server that it talks to. What hangs at the one is no reason to begin late with the
    /// other, so that both together take no longer than each may.
    pub(super) async fn stop(self) -> Outcome {
        self.server.leave();
        let agent = self.agent.stop();
        tokio::pin!(agent);
        let ended = tokio::time::timeout(AGENT_FIRST, &mut agent).await;
        self.server.shutdown();
        let (agent, server) = match ended {
            Ok(agent) => (agent, self.server.finished().await),
            Err(_) => tokio::join!(agent, self.server.finished()),
        };
        server?;
        agent
    }
}

/// Creates `doc` unless an entry with the same identity and selectors is there already.
pub(super) async fn entitle(api: &Api, doc: EntryDoc) -> Outcome {
    let there = api.entries(&[("spiffe_id", doc.spiffe_id.as_str())]).await?;
    if there.iter().all(|entry| entry.selectors != doc.selectors) {
        api.create_entry(&doc).await?;
    }
    Ok(())
}

/// The selector of everything that the user `uid` runs.
pub(super) fn by_uid(uid: u32) -> Outcome<Selector> {
    Ok(Selector::parse(&format!("unix:uid:{uid}"))?)
}

/// `spiffe://DOMAIN/dev/NAME`, or `uid-N` for a user whose name is no legal path segment.
fn user_id(trust_domain: &TrustDomain, uid: u32) -> Outcome<SpiffeId> {
    let name = signet_sys::names::user(uid).ok().flatten();
    let segment = name
        .filter(|name| SpiffeId::is_segment(name))
        .unwrap_or_else(|| format!("uid-{uid}"));
    Ok(SpiffeId::new(trust_domain, &format!("/dev/{segment}"))?)
}

/// Fetches an identity as a workload would, as soon as the agent has one to give.
async fn first_svid(endpoint: &Endpoint) -> Outcome {
    let attempts = async {
        loop {
            let outcome = match WorkloadClient::connect(endpoint).await {
                Ok(client) => client.fetch_x509().await.map(drop),
                Err(error) => Err(error),
            };
            match outcome {
                // The agent joins and learns of the entry first.
                Err(WorkloadError::Unavailable { .. } | WorkloadError::NoIdentity { .. }) => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    };
    match tokio::time::timeout(FIRST_SVID_WITHIN, attempts).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(CliError::Slow {
            what: "no identity could be fetched".to_owned(),
            seconds: FIRST_SVID_WITHIN.as_secs(),
        }
        .into()),
    }
}
