//! Two services that call each other over mutual TLS while their certificates rotate.
//!
//! They are tasks of this process and otherwise as foreign to Signet as any workload: each fetches its identity from
//! the Workload API over the socket, and shows and checks certificates with what came from there.

use super::setup::{Running, by_uid, entitle};
use crate::error::CliError;
use crate::failure::Failure;
use crate::{Outcome, output};
use arc_swap::ArcSwap;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use signet_api::EntryDoc;
use signet_id::{Selector, SpiffeId};
use signet_time::SharedClock;
use signet_tls::{ClientPolicy, ClientTls, LiveIdentity, PeerRule, ServerTls, peer_identity};
use signet_trust::TrustView;
use signet_workload::{WorkloadError, X509Context, X509Source, X509Svid};
use signet_x509::Certificate;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How long the services' certificates live: short enough to watch.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(20);

/// Between two calls.
const CALL_EVERY: Duration = Duration::from_millis(500);

/// From connecting to the answer.
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// Callers that the backend serves at the same time. There is one; whoever else comes waits.
const CALLERS_MAX: usize = 16;

/// The longest line of the services' protocol: a SPIFFE ID and a few words.
const LINE_BYTES_MAX: u64 = 4096;

/// How long an identity may take to arrive after its entry was made.
const IDENTITY_WITHIN: Duration = Duration::from_secs(10);

/// Runs both services for ever.
pub(super) async fn run(running: &Running, clock: SharedClock, is_told: bool) -> Outcome {
    let (frontend, backend) = (
        Service::entitle(running, "frontend", is_told).await?,
        Service::entitle(running, "backend", is_told).await?,
    );
    let calls = Arc::new(Calls::default());
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(ended("the demo's backend"))?;
    let address = listener.local_addr().map_err(ended("the demo's backend"))?;
    let acceptor = ServerTls::new(
        Arc::clone(&backend.identity),
        Arc::clone(&backend.trust),
        clock.clone(),
        ClientPolicy::Spiffe,
    )?;
    let connector = ClientTls::new(
        Arc::clone(&frontend.identity),
        Arc::clone(&frontend.trust),
        clock,
        PeerRule::ExactId(backend.id.clone()),
    )?;
    let acceptor = TlsAcceptor::from(acceptor.with_alpn(&[PROTOCOL]).config());
    let connector = TlsConnector::from(connector.with_alpn(&[PROTOCOL]).config());
    let expected = frontend.id.clone();
    let told = calls.clone();
    tokio::select! {
        outcome = serve(listener, acceptor, expected) => outcome,
        outcome = call(address, connector, &calls, is_told) => outcome,
        outcome = frontend.follow(&told) => outcome,
        outcome = backend.follow(&told) => outcome,
    }
}

/// What the two agree on in the handshake.
const PROTOCOL: &[u8] = b"signet-demo";

/// One of the two services, with an identity that follows the Workload API.
struct Service {
    name: &'static str,
    id: SpiffeId,
    source: X509Source,
    identity: Arc<LiveIdentity>,
    trust: Arc<ArcSwap<TrustView>>,
    is_told: bool,
}

impl Service {
    /// Makes the service's entry and waits until the Workload API knows of it.
    async fn entitle(running: &Running, name: &'static str, is_told: bool) -> Outcome<Self> {
        let own = running.server.trust_domain();
        let id = SpiffeId::new(own, &format!("/demo/{name}"))?;
        let mut selectors = vec![by_uid(running.uid)?];
        // Only this very program, so that the user's other processes see their one identity and no more.
        selectors.extend(own_executable());
        selectors.sort();
        let mut doc = EntryDoc::new(id.clone(), selectors);
        doc.x509_ttl = Some(CERTIFICATE_LIFE);
        doc.hint = Some(format!("demo-{name}"));
        entitle(&running.api, doc).await?;
        let source = X509Source::start(running.workload_api.clone()).await?;
        let mut updates = source.updates();
        let arrived = updates.wait_for(|_| find(&source.current(), &id).is_some());
        match tokio::time::timeout(IDENTITY_WITHIN, arrived).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(WorkloadError::Ended.into()),
            Err(_) => {
                return Err(CliError::Slow {
                    what: format!("the identity `{id}` did not arrive"),
                    seconds: IDENTITY_WITHIN.as_secs(),
                }
                .into());
            }
        }
        let service = Self {
            name,
            id,
            identity: Arc::new(LiveIdentity::none()),
            trust: Arc::new(ArcSwap::new(Arc::clone(source.current().view()))),
            source,
            is_told,
        };
        service.show()?;
        Ok(service)
    }

    /// Shows from now on what the source holds now, and returns its leaf.
    fn show(&self) -> Outcome<Option<Certificate>> {
        let context = self.source.current();
        self.trust.store(Arc::clone(context.view()));
        let Some(svid) = find(&context, &self.id) else {
            return Ok(None);
        };
        if self.identity.chain().as_slice() == &*svid.chain {
            return Ok(None);
        }
        self.identity.set(svid.chain.to_vec(), &svid.key)?;
        let leaf = svid.chain.first().ok_or(WorkloadError::Ended)?;
        Ok(Some(Certificate::parse(leaf)?))
    }

    /// Takes over each renewal and tells of it.
    async fn follow(&self, calls: &Calls) -> Outcome {
        let mut updates = self.source.updates();
        while updates.changed().await.is_ok() {
            let Some(leaf) = self.show()? else { continue };
            if self.is_told {
                let serial: String = leaf.serial_hex().chars().take(8).collect();
                output::text(&format!(
                    "{} renewed its certificate: serial {serial}..., until {}; {calls}",
                    self.name,
                    leaf.not_after()
                ))?;
            }
        }
        Err(CliError::Ended {
            part: "a demo service",
            why: None,
        }
        .into())
    }
}

fn find<'c>(context: &'c X509Context, id: &SpiffeId) -> Option<&'c X509Svid> {
    context.svids().iter().find(|svid| svid.id == *id)
}

/// The selector of processes that run the same program as this one.
fn own_executable() -> Option<Selector> {
    let path = std::env::current_exe().ok()?;
    Selector::parse(&format!("unix:path:{}", path.to_str()?)).ok()
}

/// How the calls went so far.
#[derive(Default)]
struct Calls {
    good: AtomicU64,
    failed: AtomicU64,
}

impl core::fmt::Display for Calls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (good, failed) = (
            self.good.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        );
        write!(f, "{good} calls so far, {failed} failed")
    }
}

/// The backend: tells each caller who it is.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, expected: SpiffeId) -> Outcome {
    let mut callers = JoinSet::new();
    loop {
        while callers.len() >= CALLERS_MAX {
            callers.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let answer = answer(acceptor.clone(), stream, expected.clone());
                    callers.spawn(tokio::time::timeout(CALL_WITHIN, answer));
                }
                Err(error) => tracing::warn!(%error, "demo backend: accept"),
            },
            Some(_) = callers.join_next() => {}
        }
    }
}

async fn answer(acceptor: TlsAcceptor, stream: TcpStream, expected: SpiffeId) {
    let outcome = async {
        let mut stream = acceptor.accept(stream).await?;
        let peer = peer_identity(stream.get_ref().1);
        let id = peer.spiffe_id();
        let words = match id {
            Some(id) if *id == expected => format!("hello {id}\n"),
            _ => "who are you?\n".to_owned(),
        };
        stream.write_all(words.as_bytes()).await?;
        stream.shutdown().await
    };
    let outcome: io::Result<()> = outcome.await;
    if let Err(error) = outcome {
        tracing::info!(%error, "demo backend: a call broke");
    }
}

/// The frontend: calls over a new connection each time, so that each call is a handshake with the newest certificates.
async fn call(address: SocketAddr, connector: TlsConnector, calls: &Calls, is_told: bool) -> Outcome {
    let mut was_told = false;
    let mut every = tokio::time::interval(CALL_EVERY);
    loop {
        every.tick().await;
        match tokio::time::timeout(CALL_WITHIN, ask(address, &connector)).await {
            Ok(Ok(words)) => {
                calls.good.fetch_add(1, Ordering::Relaxed);
                if is_told && !was_told {
                    was_told = true;
                    output::text(&format!(
                        "frontend called backend over mutual TLS at {address}; backend said: {}",
                        words.trim_end()
                    ))?;
                }
            }
            Ok(Err(error)) => {
                calls.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "demo frontend: the call failed");
            }
            Err(_) => {
                calls.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("demo frontend: no answer in time");
            }
        }
    }
}

async fn ask(address: SocketAddr, connector: &TlsConnector) -> io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let stream = connector.connect(ClientTls::server_name(), stream).await?;
    let mut words = String::new();
    stream.take(LINE_BYTES_MAX).read_to_string(&mut words).await?;
    if words.starts_with("hello ") {
        Ok(words)
    } else {
        Err(io::Error::other("the backend did not know its caller"))
    }
}

fn ended(part: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| {
        CliError::Ended {
            part,
            why: Some(error.to_string()),
        }
        .into()
    }
}
