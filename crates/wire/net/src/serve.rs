//! The accept loops, one connection's life, and the drain.

use crate::authority::Walker;
use crate::head::{FIELDS_READ_MAX, READ_FACTOR};
use crate::places::{self, Holder, Place, Places};
use crate::wire::Wire;
use crate::work::{Answering, Work};
use crate::{Limits, Protocol, TcpServer, UnixServer};
use core::time::Duration;
use futures_util::TryFutureExt as _;
use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use signet_sys::Peer;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
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

/// How long a connection may last. Put into the extensions by `identify` for peers that have no reason to stay, who must
/// not take the places of those that have one, and for those whose credential ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionAge(pub Duration);

/// A peer that may do one thing and then go. Put into the extensions by `identify`; what it says then holds instead of
/// the listener's [`Limits`], whose bounds on guests hold too: guests take few places, and hold little while they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// How long the connection may last, as with [`ConnectionAge`].
    pub age: Duration,
    /// How long nothing may be asked while nothing is being answered.
    pub unused: Duration,
    /// Streams at once on HTTP/2.
    pub streams_max: u32,
    /// As [`Limits::window_bytes`].
    pub window_bytes: u32,
}

/// Who is known and may stay, as a number. Put into the extensions by `identify` for who is no [`Guest`]: each has a share
/// of the places, [`Limits::connections_per_member_max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member(pub u64);

/// Ends the connection that a request came over, at once. In the extensions of requests whose peer is a [`Member`]: what was
/// sent to a peer that does not read is kept as long as its connection is.
#[derive(Clone, Debug)]
pub struct Hangup(CancellationToken);

impl Hangup {
    /// Ends it.
    pub fn hang_up(&self) {
        self.0.cancel();
    }
}

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
        tasks.spawn(place, move |context| {
            let peer = Peer::of(&stream)
                .inspect_err(|error| info!(%error, "peer of a connection is not known"))
                .ok();
            // Not a map of extensions: that would be kept, mostly empty, for each connection.
            let tell = move |extensions: &mut Extensions| {
                if let Some(peer) = &peer {
                    extensions.insert(peer.clone());
                }
            };
            let authority = match context.limits.protocol {
                Protocol::Http1 => None,
                Protocol::Http2 => Some(Walker::new()),
            };
            context.serve(stream, authority, Stay::default(), tell, service)
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
        tasks.spawn(place, move |context| {
            let tell = move |extensions: &mut Extensions| {
                extensions.insert(RemoteAddr(remote));
            };
            context.serve(stream, None, Stay::default(), tell, service)
        });
    }
    drop(server);
    tasks.drain().await;
}

/// Serves `service` on `server` over TLS until `shutdown` is cancelled, then drains.
///
/// `identify` says what the handshake proved; what it returns is in each request's extensions, beside
/// [`RemoteAddr`]. With a [`ConnectionAge`] among it the connection ends by then; with a [`Guest`] or a [`Member`] it
/// needs one of their places. Where it returns an error the connection is closed.
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
        let Some(handshaking) = tasks.handshakes.take(Some(Holder::network(remote.ip()))) else {
            info!(%remote, "connection refused: too many handshakes are under way");
            continue;
        };
        let (service, acceptor, identify) = (service.clone(), acceptor.clone(), identify.clone());
        tasks.spawn(place, move |context| {
            Box::pin(async move {
                let handshake =
                    tokio::time::timeout(context.limits.handshake_timeout, acceptor.accept(stream));
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
                let _place = match context.share(&extensions, remote) {
                    Ok(place) => place,
                    Err(whose) => {
                        info!(%remote, whose, "connection refused: too many are open of those that it counts with");
                        return;
                    }
                };
                if extensions.get::<Member>().is_some() {
                    extensions.insert(Hangup(CancellationToken::new()));
                }
                // Only now, so that at every moment it counts somewhere.
                drop(handshaking);
                let stay = Stay::of(&extensions);
                let tell = move |to: &mut Extensions| to.extend(extensions.clone());
                context.serve(stream, None, stay, tell, service).await;
            })
        });
    }
    drop(server);
    tasks.drain().await;
}

/// Gives memory back to the system. It may take some tenths of a second where much is kept.
async fn trim() {
    // Nothing is to be known of it.
    let _ = tokio::task::spawn_blocking(signet_sys::process::give_back_memory).await;
    debug!("gave back the memory of connections that have ended");
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
    handshakes: Arc<Places>,
    guests: Arc<Places>,
    members: Arc<Places>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    _giving_back: AbortOnDropHandle<()>,
    /// Cancelled at the end of the drain: what is still there is cut. Nobody need wait for it before the shutdown.
    cut: CancellationToken,
}

/// How long a connection may stay beside what all may.
#[derive(Clone, Default)]
struct Stay {
    guest: Option<Guest>,
    age: Option<ConnectionAge>,
    hangup: Option<Hangup>,
}

impl Stay {
    fn of(extensions: &Extensions) -> Self {
        let guest = extensions.get::<Guest>().copied();
        let age = extensions.get::<ConnectionAge>().copied();
        Self {
            guest,
            age: guest.map(|guest| ConnectionAge(guest.age)).or(age),
            hangup: extensions.get::<Hangup>().cloned(),
        }
    }

    fn is_bounded(&self) -> bool {
        self.guest.is_some() || self.age.is_some() || self.hangup.is_some()
    }
}

/// What one connection knows.
struct Context {
    limits: Limits,
    guests: Arc<Places>,
    members: Arc<Places>,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

impl Tasks {
    fn new(limits: Limits, per_holder_max: usize, shutdown: CancellationToken) -> Self {
        let places = Places::new(limits.connections_max, per_holder_max);
        let left = Arc::clone(&places);
        Self {
            limits,
            _giving_back: AbortOnDropHandle::new(tokio::spawn(async move { left.give_back(trim).await })),
            places,
            handshakes: Places::new(limits.handshakes_max, limits.handshakes_per_address_max),
            guests: Places::new(limits.guests_max, limits.guests_per_address_max),
            members: Places::new(usize::MAX, limits.connections_per_member_max),
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

    fn spawn(&self, place: Place, begin: impl FnOnce(Context) -> Life + Send + 'static) {
        let context = Context {
            limits: self.limits,
            guests: Arc::clone(&self.guests),
            members: Arc::clone(&self.members),
            shutdown: self.shutdown.clone(),
            cut: self.cut.clone(),
        };
        // Boxed, as what it returns: what a future began with stays laid out in it to its end, beside what it became,
        // which would cost each idle connection kilobytes.
        let begin: Box<dyn FnOnce() -> Life + Send> = Box::new(move || begin(context));
        self.tracker.spawn(async move {
            begin().await;
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

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One connection, from its first byte to its last.
type Life = BoxFuture<()>;

impl Context {
    /// A place among those that the peer counts with, where it is a guest or a member; which of the two, if there is none.
    fn share(&self, extensions: &Extensions, remote: SocketAddr) -> Result<Option<Place>, &'static str> {
        let (places, holder, whose) = match (extensions.get::<Guest>(), extensions.get::<Member>()) {
            (Some(_), _) => (&self.guests, Holder::network(remote.ip()), "guests"),
            (None, Some(Member(number))) => (&self.members, Holder::Member(*number), "this member"),
            (None, None) => return Ok(None),
        };
        places.take(Some(holder)).map(Some).ok_or(whose)
    }

    /// The life of one connection. `tell` puts what is known about the peer into a request's extensions.
    fn serve<IO, K, S, B>(self, io: IO, authority: Option<Walker>, stay: Stay, tell: K, service: S) -> Life
    where
        K: Fn(&mut Extensions) + Send + 'static,
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
        let begun = Arc::clone(&work);
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            // Set here alone, after the wire was read: no header can bring an extension in.
            tell(request.extensions_mut());
            let in_flight = begun.begin();
            // Boxed: a stream that answers for hours need not keep room for the request that it began with.
            Box::pin(service.clone().oneshot(request))
                .map_ok(|response| response.map(|body| Answering::new(body, in_flight)))
        });
        let mut limits = self.limits;
        if let Some(guest) = stay.guest {
            limits.streams_max = guest.streams_max;
            limits.window_bytes = guest.window_bytes;
        }
        let keeping = Keeping {
            drain_timeout: limits.drain_timeout,
            shutdown: self.shutdown,
            cut: self.cut,
            work: Arc::clone(&work),
        };
        match limits.protocol {
            Protocol::Http1 => {
                let connection = http1(&limits).serve_connection(io, service);
                Box::pin(keeping.run(Box::pin(connection), too_long(None, stay, work)))
            }
            Protocol::Http2 => {
                let connection = http2(&limits).serve_connection(io, service);
                let silent = Some(limits.handshake_timeout);
                Box::pin(keeping.run(Box::pin(connection), too_long(silent, stay, work)))
            }
        }
    }
}

fn http1(limits: &Limits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(
            usize::try_from(limits.header_bytes_max)
                .unwrap_or(usize::MAX)
                .max(8 << 10)
                .saturating_mul(READ_FACTOR),
        )
        .max_headers(FIELDS_READ_MAX);
    builder
}

fn http2(limits: &Limits) -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    if limits.ping_interval.is_some() {
        // What nothing is timed with is not kept for each connection.
        builder.timer(TokioTimer::new());
    }
    builder
        .initial_stream_window_size(limits.window_bytes)
        .initial_connection_window_size(limits.window_bytes)
        .max_send_buf_size(limits.send_buffer_bytes_max)
        .max_header_list_size(limits.header_bytes_max)
        .header_table_size(0)
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(calls_off_max(limits.streams_max))
        .max_local_error_reset_streams(FAULTS_MAX)
        .keep_alive_interval(limits.ping_interval)
        .auto_date_header(false);
    builder
}

/// What ends a connection beside its peer.
struct Keeping {
    drain_timeout: Duration,
    shutdown: CancellationToken,
    cut: CancellationToken,
    work: Arc<Work>,
}

impl Keeping {
    /// Runs `connection` until its end, or until `too_long` says that it has lasted too long. What is only needed at the
    /// end is boxed then: most connections wait for hours.
    ///
    /// A block and no function: those keep room for their arguments twice.
    #[expect(
        clippy::manual_async_fn,
        reason = "an asynchronous function takes more memory, as said above"
    )]
    fn run<C>(
        self,
        mut connection: Pin<Box<C>>,
        mut too_long: BoxFuture<TooLong>,
    ) -> impl Future<Output = ()> + Send
    where
        C: GracefulConnection<Error = hyper::Error> + Send,
    {
        async move {
            loop {
                let too_long_by = tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        return Box::pin(finish(&self.work, &self.cut, connection)).await;
                    }
                    done = connection.as_mut() => return ended(done),
                    by = &mut too_long => by,
                };
                match too_long_by {
                    // Nothing else is waited for, and what waited takes no room: this box is empty.
                    TooLong::Never => too_long = Box::pin(core::future::pending()),
                    TooLong::Silent => return info!("closing a connection on which nothing was asked"),
                    TooLong::Unused => return info!("closing a guest's connection that is not used"),
                    TooLong::HungUp => {
                        return info!("cutting a connection whose peer does not take what it asked for");
                    }
                    TooLong::Old => {
                        connection.as_mut().graceful_shutdown();
                        return Box::pin(overdue(self.drain_timeout, &self.cut, connection)).await;
                    }
                }
            }
        }
    }
}

/// Why a connection is ended by us.
enum TooLong {
    /// It is not.
    Never,
    /// The peer did not begin.
    Silent,
    /// A guest let it lie.
    Unused,
    /// It was to last no longer.
    Old,
    /// The service wants it so.
    HungUp,
}

/// Resolves when a connection has lasted too long, or nothing can make it so any more. `silent` is how long its peer may
/// take to begin.
fn too_long(silent: Option<Duration>, stay: Stay, work: Arc<Work>) -> BoxFuture<TooLong> {
    if !stay.is_bounded() {
        // Most connections, which need not keep room for the rest.
        return match silent {
            Some(limit) => Box::pin(async move { self::silent(limit, &work).await }),
            None => Box::pin(core::future::pending()),
        };
    }
    let beginning = async move |work: &Work| match silent {
        Some(limit) => self::silent(limit, work).await,
        None => TooLong::Never,
    };
    Box::pin(async move {
        let beginning = async {
            match beginning(&work).await {
                TooLong::Never => core::future::pending().await,
                by => by,
            }
        };
        tokio::select! {
            biased;
            by = beginning => by,
            () = unused(stay.guest, &work) => TooLong::Unused,
            () = hung_up(stay.hangup) => TooLong::HungUp,
            () = old(stay.age) => TooLong::Old,
        }
    })
}

/// How many calls a peer may call off before they were looked at, which cost room although they are not open any more. As
/// many as it may have open: all calls of a client can run out of time at once. Whoever calls off more, faster than it is
/// read, is not after answers (CVE-2023-44487), and loses its connection.
fn calls_off_max(streams_max: u32) -> usize {
    usize::try_from(streams_max).unwrap_or(usize::MAX)
}

/// How often, in the life of a connection, a stream may be reset because its peer broke the protocol or opened more than it
/// may. What a peer itself calls off or drops is not counted.
const FAULTS_MAX: usize = 1_024;

/// Lets what is in flight on a connection finish. What idles after it was told to end is not waited for.
async fn finish(
    work: &Work,
    cut: &CancellationToken,
    connection: impl Future<Output = Result<(), hyper::Error>>,
) {
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        done = connection => ended(done),
        () = work.idle() => debug!("closing an idle connection whose peer does not confirm the end"),
    }
}

/// Waits until the peer has asked something, or has let `limit` pass: that is too long where it has not even begun HTTP/2.
async fn silent(limit: Duration, work: &Work) -> TooLong {
    tokio::select! {
        biased;
        () = work.asked() => TooLong::Never,
        () = tokio::time::sleep(limit) => if work.has_begun() { TooLong::Never } else { TooLong::Silent },
    }
}

/// Resolves when a connection of that age is to end; never, without one.
async fn old(age: Option<ConnectionAge>) {
    match age {
        Some(ConnectionAge(age)) => tokio::time::sleep(age).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the service ends the connection; never, where it cannot.
async fn hung_up(hangup: Option<Hangup>) {
    match hangup {
        Some(Hangup(token)) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Resolves when a guest has let its connection lie; never, for anybody else.
async fn unused(guest: Option<Guest>, work: &Work) {
    match guest {
        Some(guest) => work.unused(guest.unused).await,
        None => std::future::pending().await,
    }
}

/// Lets what is in flight on an old connection finish, within bounds.
async fn overdue(
    limit: Duration,
    cut: &CancellationToken,
    connection: impl Future<Output = Result<(), hyper::Error>>,
) {
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        done = tokio::time::timeout(limit, connection) => if let Ok(result) = done {
            ended(result);
        },
    }
}

fn ended(result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        // A peer that goes away is not worth more than this.
        debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Empty;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    const GUEST: Guest = Guest {
        age: Duration::from_secs(60),
        unused: Duration::from_secs(10),
        streams_max: 1,
        window_bytes: 65_535,
    };

    /// The preface, and settings that say nothing.
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0........";

    /// One connection served over a pipe, without ever being asked anything.
    fn served(guest: Option<Guest>) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let limits = Limits {
            ping_interval: None,
            ..Limits::agents()
        };
        let context = Context {
            limits,
            guests: Places::new(1, 1),
            members: Places::new(1, 1),
            shutdown: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let mut extensions = Extensions::new();
        if let Some(guest) = guest {
            extensions.insert(guest);
        }
        let stay = Stay::of(&extensions);
        let service = tower::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let serving = tokio::spawn(context.serve(ours, None, stay, |_: &mut Extensions| {}, service));
        (theirs, serving)
    }

    /// What the server announced: the value of a setting (RFC 9113 §6.5.1).
    async fn setting(theirs: &mut DuplexStream, wanted: u16) -> Option<u32> {
        let mut head = [0; 9];
        theirs.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "settings come first");
        let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        theirs.read_exact(&mut settings).await.unwrap();
        settings.chunks_exact(6).find_map(|setting| {
            let (id, value) = setting.split_at(2);
            (id == wanted.to_be_bytes()).then(|| u32::from_be_bytes(value.try_into().unwrap()))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_asks_nothing_is_cut_whatever_else_it_sends() {
        for ping in [&b""[..], PING] {
            let (mut theirs, serving) = served(Some(GUEST));
            let begun = Instant::now();
            theirs.write_all(BEGIN).await.unwrap();
            while !serving.is_finished() {
                let _ = theirs.write_all(ping).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let lasted = begun.elapsed();
            assert!(
                lasted >= GUEST.unused && lasted < GUEST.unused * 2,
                "{lasted:?} with {ping:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_no_guest_may_listen_for_long() {
        let (mut theirs, serving) = served(None);
        theirs.write_all(BEGIN).await.unwrap();
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert!(!serving.is_finished());
        drop(theirs);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_has_one_stream_and_a_small_window() {
        const STREAMS: u16 = 3;
        const WINDOW: u16 = 4;
        for (guest, streams, window) in [(Some(GUEST), 1, None), (None, 32, Some(1 << 20))] {
            let (mut theirs, _serving) = served(guest);
            theirs.write_all(BEGIN).await.unwrap();
            assert_eq!(setting(&mut theirs, STREAMS).await, Some(streams));
            let (mut theirs, _serving) = served(guest);
            theirs.write_all(BEGIN).await.unwrap();
            // None is the protocol's own 65,535.
            assert_eq!(
                setting(&mut theirs, WINDOW)
                    .await
                    .filter(|bytes| *bytes != 65_535),
                window
            );
        }
    }
}
