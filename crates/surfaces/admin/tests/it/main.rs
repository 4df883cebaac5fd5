//! The administration API over a real socket, with the listener and the client that it is used with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod access;
mod apply;
mod bulk;
mod conformance;
mod document;
mod entries;
mod forms;
mod gate;
mod mint;
mod nodes;
mod orphans;
mod refusals;
mod schema;
mod store;
mod trust;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet_api::Problem;
use signet_authority::{Authority, NoneReserved};
use signet_decision::Role;
use signet_id::TrustDomain;
use signet_keys::{Keys, KeysConfig, MemorySeal, X509Algorithm};
use signet_net::client::{Client, Endpoint, Reply};
use signet_net::{CancellationToken, Limits, UnixOptions, UnixServer, serve_unix};
use signet_record::Recorder;
use signet_registry::{Entry, Registry};
use signet_store::ChangeLog;
use signet_store::backup::{Backup, Proof};
use signet_store::faulty::{FaultyJournal, FaultyLog};
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_surface_admin::{BackupStream, Deps, Health, Roles};
use signet_sys::Peer;
use signet_telemetry::Metrics;
use signet_testkit::{ManualClock, START};
use std::sync::Arc;

const JSON: (&str, &str) = ("content-type", "application/json");
const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

/// Everybody has these roles.
struct Given(Vec<Role>);

impl Roles for Given {
    fn roles(&self, _: &Peer) -> Vec<Role> {
        self.0.clone()
    }
}

/// A server of the API on a socket of its own.
struct World {
    registry: Arc<Registry>,
    keys: Arc<Keys>,
    log: FaultyLog,
    journal: FaultyJournal,
    clock: ManualClock,
    metrics: Arc<Metrics>,
    client: Client,
    shutdown: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    async fn new() -> Self {
        Self::with([Role::Administrator]).await
    }

    async fn with(roles: impl IntoIterator<Item = Role>) -> Self {
        Self::over(Arc::new(MemoryLog::new()), roles).await
    }

    async fn over(log: Arc<dyn ChangeLog>, roles: impl IntoIterator<Item = Role>) -> Self {
        heard_everywhere();
        let own = TrustDomain::parse("dev.test").unwrap();
        let log = FaultyLog::new(log);
        let shared: Arc<dyn ChangeLog> = Arc::new(log.clone());
        let config = KeysConfig {
            x509: X509Algorithm::Ed25519,
            ..KeysConfig::new(own.clone())
        };
        let seal = Arc::new(MemorySeal::random().unwrap());
        let journal = FaultyJournal::new(Arc::new(MemoryJournal::new()));
        let recorder = Recorder::new(Arc::new(journal.clone()));
        let keys = Keys::open(shared.clone(), seal, recorder.clone(), config)
            .await
            .unwrap();
        keys.ensure(START).await.unwrap();
        let (registry, keys) = (
            Arc::new(Registry::open(shared, own).await.unwrap()),
            Arc::new(keys),
        );
        let (clock, metrics) = (ManualClock::new(START), Arc::new(Metrics::new(None)));
        let backed_up = log.clone();
        let deps = Deps {
            registry: Arc::clone(&registry),
            keys: Arc::clone(&keys),
            authority: Authority::new(
                Arc::clone(&keys),
                recorder,
                "https://localhost:8443/workload",
                Arc::new(NoneReserved),
            ),
            roles: Arc::new(Given(roles.into_iter().collect())),
            clock: Arc::new(clock.clone()),
            advertised: Arc::new(|| vec!["127.0.0.1:8445".to_owned()]),
            jwt_issuer: "https://localhost:8443/workload".to_owned(),
            health: Arc::new(|| Health {
                status: "failing",
                reasons: vec!["journal: full".to_owned()],
            }),
            backup: Arc::new(move || {
                let log = backed_up.clone();
                Box::pin(async move {
                    let backup = Backup {
                        trust_domain: "dev.test".to_owned(),
                        version: "1".to_owned(),
                        seal: "memory".to_owned(),
                        taken: START,
                        record_next: 1,
                        image: log.image().await?,
                        proof: Proof::default(),
                    };
                    let seq = backup.image.snapshot.cursor.seq;
                    let bytes = bytes::Bytes::from(backup.encode());
                    let (sender, chunks) = tokio::sync::mpsc::channel(bytes.len());
                    // Piece by piece, as a server gives it.
                    for chunk in bytes.chunks(100) {
                        let piece = Ok(bytes::Bytes::copy_from_slice(chunk));
                        sender.send(piece).await.expect("there is room");
                    }
                    Ok(BackupStream { seq, chunks })
                })
            }),
            metrics: Arc::clone(&metrics),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
        let shutdown = CancellationToken::new();
        let router = signet_surface_admin::router(deps);
        tokio::spawn(serve_unix(server, router, Limits::admin(), shutdown.clone()));
        Self {
            registry,
            keys,
            log,
            journal,
            clock,
            metrics,
            client: Client::new(Endpoint::Unix(path)),
            shutdown,
            _dir: dir,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let body: Vec<u8> = body.into();
        let reply = self
            .client
            .send(method.clone(), path, headers, body.into())
            .await
            .unwrap();
        conformance::check(&method, path, &reply);
        assert!(!text_of(&reply, "x-request-id").is_empty());
        text_of(&reply, "x-signet-seq").parse::<u64>().unwrap();
        assert_eq!(text_of(&reply, "cache-control"), "no-store");
        reply
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    /// What `path` shows.
    async fn shown(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {reply:?}");
        value(&reply)
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &[JSON], body.to_string()).await
    }

    /// Creates an entry, which must succeed.
    async fn create(&self, body: &Value) -> Value {
        let reply = self.post("/api/v1/entries", body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        value(&reply)
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        self.registry.read(|state| state.entries().collect())
    }
}

/// Puts a subscriber under all threads. While there is one in a single thread alone, an event that is first met in
/// another one is taken for unwanted everywhere, and the thread that listens misses it.
fn heard_everywhere() {
    // All but the first find one there.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
}

fn entry(path: &str) -> Value {
    json!({"spiffe_id": format!("spiffe://dev.test{path}"), "selectors": ["unix:uid:1000"]})
}

fn value(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

fn text_of<'r>(reply: &'r Reply, header: &str) -> &'r str {
    reply
        .headers
        .get(header)
        .map_or("", |value| value.to_str().unwrap())
}

/// The problem that `reply` is: its own members agree with the reply's.
#[track_caller]
fn problem(reply: &Reply, status: u16, code: &str) -> Problem {
    let shown = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status.as_u16(), status, "{shown}");
    assert_eq!(text_of(reply, "content-type"), "application/problem+json");
    let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((problem.status, problem.code.as_str()), (status, code), "{shown}");
    assert_eq!(problem.kind, format!("urn:signet:error:{code}"));
    assert_eq!(problem.request_id, text_of(reply, "x-request-id"));
    assert!(problem.instance.starts_with('/'));
    assert!(!problem.title.is_empty() && !problem.detail.is_empty() && !problem.remedy.is_empty());
    problem
}

/// `text` as one segment of a path or one value of a query.
fn escaped(text: &str) -> String {
    let escape = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(escape).collect()
}
