//! The accept loops, one connection's life, and the drain.

use crate::authority::Walker;
use crate::places::{self, Holder, Place, Places};
use crate::wire::Wire;
use crate::work::{Answering, Work};
use crate::{Limits, Protocol, TcpServer, UnixServer};
use core::time::Duration;
use futures_util::TryFutureExt as _;
use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use signet_sys::Peer;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tower_service::Service;
use tracing::{debug, info, warn};

/// The address that a TCP connection came from; in the extensions of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddr(pub SocketAddr);

impl RemoteAddr {
    /// Whose share something counts against that comes from there: the IPv4 address, or the IPv6 network of 64 bits.
    #[must_use]
    pub fn network(&self) -> u64 {
        places::network(self.0.ip())
    }
}

/// How long a connection may last. Put into the extensions by `identify` for peers that have no reason to stay: they
/// must not take the places of those that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionAge(pub Duration);

type BoxError = Box<dyn StdError + Send + Sync>;

/// How long the accept loop rests when the process is out of descriptors: closing connections is what helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `service` on `server` until `shutdown` is cancelled, then drains.
///
/// Each request's extensions hold the [`Peer`]; nothing, where the kernel would not say who it is. Such a request
/// must be refused by a service that tells callers apart.
pub async fn serve_unix<S, B>(server: UnixServer, service: S, limits: Limits, shutdown: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let tasks = Tasks::new(limits, limits.connections_per_user_max, shutdown);
    let user = |stream: &UnixStream, _: &_| stream.peer_cred().ok().map(|cred| Holder::User(cred.uid()));
    while let Some((stream, _, place)) = tasks.next(|| server.listener.accept(), user).await {
        let service = service.clone();
        tasks.spawn(place, move |context| async move {
            let mut extensions = Extensions::new();
            match Peer::of(&stream) {
                Ok(peer) => {
                    extensions.insert(peer);
                }
                Err(error) => info!(%error, "peer of a connection is not known"),
            }
            let authority = match context.limits.protocol {
                Protocol::Http1 => None,
                Protocol::Http2 => Some(Walker::new()),
            };
            context.serve(stream, authority, extensions, service).await;
        });
    }
    // The file goes first, so that whoever starts next is not told that somebody is here.
    drop(server);
    tasks.drain().await;
}

/// Serves `service` on `server` without TLS until `shutdown` is cancelled, then drains: metrics and health.
pub async fn serve_tcp<S, B>(server: TcpServer, service: S, limits: Limits, shutdown: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let tasks = Tasks::new(limits, limits.connections_per_address_max, shutdown);
    while let Some((stream, remote, place)) = tasks.next_tcp(&server).await {
        let service = service.clone();
        tasks.spawn(place, move |context| async move {
            let mut extensions = Extensions::new();
            extensions.insert(RemoteAddr(remote));
            context.serve(stream, None, extensions, service).await;
        });
    }
    drop(server);
    tasks.drain().await;
}

/// Serves `service` on `server` over TLS until `shutdown` is cancelled, then drains.
///
/// `identify` says what the handshake proved; what it returns is in each request's extensions, beside
/// [`RemoteAddr`]. With a [`ConnectionAge`] among it the connection ends by then. Where it returns an error the
/// connection is closed.
pub async fn serve_tls<S, B, I, E>(
    server: TcpServer,
    tls: Arc<rustls::ServerConfig>,
    identify: I,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    I: Fn(&rustls::ServerConnection) -> Result<Extensions, E> + Clone + Send + 'static,
    E: std::fmt::Display,
{
    let tasks = Tasks::new(limits, limits.connections_per_address_max, shutdown);
    let acceptor = TlsAcceptor::from(tls);
    while let Some((stream, remote, place)) = tasks.next_tcp(&server).await {
        let (service, acceptor, identify) = (service.clone(), acceptor.clone(), identify.clone());
        tasks.spawn(place, move |context| async move {
            let handshake = tokio::time::timeout(context.limits.handshake_timeout, acceptor.accept(stream));
            let stream = tokio::select! {
                biased;
                () = context.shutdown.cancelled() => return,
                done = handshake => match done {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        info!(%remote, %error, "tls handshake failed");
                        return;
                    }
                    Err(_) => {
                        info!(%remote, "tls handshake took too long");
                        return;
                    }
                },
            };
            let mut extensions = match identify(stream.get_ref().1) {
                Ok(extensions) => extensions,
                Err(error) => {
                    info!(%remote, %error, "peer of a tls connection is not known");
                    return;
                }
            };
            extensions.insert(RemoteAddr(remote));
            context.serve(stream, None, extensions, service).await;
        });
    }
    drop(server);
    tasks.drain().await;
}

async fn pause(error: &io::Error) {
    // A connection that was reset before it was accepted says nothing about the next one.
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    ) {
        return;
    }
    warn!(%error, "cannot accept connections");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The connections of one listener.
struct Tasks {
    limits: Limits,
    places: Arc<Places>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    /// Cancelled at the end of the drain: what is still there is cut.
    cut: CancellationToken,
}

/// What one connection knows.
struct Context {
    limits: Limits,
    shutdown: CancellationToken,
}

impl Tasks {
    fn new(limits: Limits, per_holder_max: usize, shutdown: CancellationToken) -> Self {
        Self {
            limits,
            places: Places::new(limits.connections_max, per_holder_max),
            tracker: TaskTracker::new(),
            shutdown,
            cut: CancellationToken::new(),
        }
    }

    /// The next connection that there is a place for, and where it came from; none once no more are taken.
    async fn next<T, A: Debug, F>(
        &self,
        accept: impl Fn() -> F,
        holder: impl Fn(&T, &A) -> Option<Holder>,
    ) -> Option<(T, A, Place)>
    where
        F: Future<Output = io::Result<(T, A)>>,
    {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                accepted = accept() => accepted,
            };
            match accepted {
                Ok((stream, whence)) => match self.places.take(holder(&stream, &whence)) {
                    Some(place) => return Some((stream, whence, place)),
                    None => info!(?whence, "connection refused: too many are open"),
                },
                Err(e) => pause(&e).await,
            }
        }
    }

    async fn next_tcp(&self, server: &TcpServer) -> Option<(TcpStream, SocketAddr, Place)> {
        let address = |_: &TcpStream, remote: &SocketAddr| Some(Holder::network(remote.ip()));
        let next = self.next(|| server.listener.accept(), address).await;
        if let Some((stream, ..)) = &next {
            // Small frames must not wait for an acknowledgement; failing to say so only slows them.
            let _ = stream.set_nodelay(true);
        }
        next
    }

    fn spawn<F, Fut>(&self, place: Place, run: F)
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        // Boxed, as the connections below: a future that is moved into another one is laid out twice in it, which
        // costs each idle connection kilobytes.
        let running = Box::pin(run(Context {
            limits: self.limits,
            shutdown: self.shutdown.clone(),
        }));
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = running => {}
            }
            drop(place);
        });
    }

    async fn drain(self) {
        self.tracker.close();
        if tokio::time::timeout(self.limits.drain_timeout, self.tracker.wait())
            .await
            .is_err()
        {
            warn!(
                connections = self.tracker.len(),
                "cutting connections that did not end in time"
            );
            self.cut.cancel();
            self.tracker.wait().await;
        }
    }
}

impl Context {
    async fn serve<IO, S, B>(self, io: IO, authority: Option<Walker>, extensions: Extensions, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let work = Arc::new(Work::default());
        let io = TokioIo::new(Wire::new(io, Arc::clone(&work), authority));
        let age = extensions.get::<ConnectionAge>().copied();
        let begun = Arc::clone(&work);
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            // Set here alone, after the wire was read: no header can bring an extension in.
            request.extensions_mut().extend(extensions.clone());
            let in_flight = begun.begin();
            service
                .clone()
                .oneshot(request)
                .map_ok(|response| response.map(|body| Answering::new(body, in_flight)))
        });
        let limits = &self.limits;
        match limits.protocol {
            Protocol::Http1 => {
                let mut connection = Box::pin(
                    hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(limits.header_timeout)
                        .max_buf_size(
                            usize::try_from(limits.header_bytes_max)
                                .unwrap_or(usize::MAX)
                                .max(8 << 10),
                        )
                        .max_headers(64)
                        .serve_connection(io, service),
                );
                tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        finish(&work, connection).await;
                    }
                    done = connection.as_mut() => ended(done),
                    () = old(age) => {
                        connection.as_mut().graceful_shutdown();
                        overdue(limits, connection).await;
                    }
                }
            }
            Protocol::Http2 => {
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(limits.window_bytes)
                    .initial_connection_window_size(limits.window_bytes)
                    .max_send_buf_size(limits.send_buffer_bytes_max)
                    .max_header_list_size(limits.header_bytes_max)
                    .header_table_size(0)
                    .max_concurrent_streams(limits.streams_max)
                    .keep_alive_interval(limits.ping_interval)
                    .auto_date_header(false);
                let mut connection = Box::pin(builder.serve_connection(io, service));
                let late = silent(limits.handshake_timeout, &work);
                tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        finish(&work, connection).await;
                    }
                    done = connection.as_mut() => ended(done),
                    () = late => info!("closing a connection on which nothing was asked"),
                    () = old(age) => {
                        connection.as_mut().graceful_shutdown();
                        overdue(limits, connection).await;
                    }
                }
            }
        }
    }
}

/// Lets what is in flight on a connection finish. What idles after it was told to end is not waited for.
async fn finish(work: &Work, connection: impl Future<Output = Result<(), hyper::Error>>) {
    tokio::select! {
        biased;
        done = connection => ended(done),
        () = work.idle() => debug!("closing an idle connection whose peer does not confirm the end"),
    }
}

/// Resolves when the peer has let `limit` pass without even beginning HTTP/2; never, if it began.
async fn silent(limit: Duration, work: &Work) {
    tokio::time::sleep(limit).await;
    if work.has_begun() {
        std::future::pending::<()>().await;
    }
}

/// Resolves when a connection of that age is to end; never, without one.
async fn old(age: Option<ConnectionAge>) {
    match age {
        Some(ConnectionAge(age)) => tokio::time::sleep(age).await,
        None => std::future::pending().await,
    }
}

/// Lets what is in flight on an old connection finish, within bounds.
async fn overdue(limits: &Limits, connection: impl Future<Output = Result<(), hyper::Error>>) {
    if let Ok(result) = tokio::time::timeout(limits.drain_timeout, connection).await {
        ended(result);
    }
}

fn ended(result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        // A peer that goes away is not worth more than this.
        debug!(%error, "connection ended");
    }
}
