//! The SPIFFE Workload API on the agent's socket, and server reflection. Envoy's secrets are in [`crate::sds`].
//!
//! Streams answer with messages that are encoded once and shared by everybody who sees the same; the unary methods
//! go through tonic. Extras of our own would be services of their own, never methods here (Workload API §2).

mod body;
pub(crate) mod caller;
mod jwt;
mod limits;
mod request;
mod status;
mod stream;

pub(crate) use body::{Reply, Stepping};
pub(crate) use status::public_message;
pub(crate) use stream::{Step, Watched};

use crate::attest::Attestation;
use crate::identity::{Identities, WitSvid, X509Svid};
use crate::metrics::{Limit, Series, StreamKind, Surface};
use crate::reload::Live;
use crate::settings::Pace;
use crate::{AgentError, sds};
use bytes::Buf as _;
use core::convert::Infallible;
use core::task::{Context, Poll};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use limits::{Accounts, Place};
use request::Arriving;
use signet_net::CancellationToken;
use signet_proto::codec::Small;
use signet_proto::workload::{DESCRIPTOR, WitsvidRequest, X509svidRequest};
use signet_sys::Peer;
use signet_time::SharedClock;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use stream::Watcher;
use tonic::server::Grpc;
use tower::ServiceExt as _;
use tower_service::Service;

/// What all calls share.
pub(crate) struct Shared {
    identities: Arc<Identities>,
    attestation: Arc<Attestation>,
    accounts: Accounts,
    clock: SharedClock,
    pace: Pace,
    series: Series,
    live: Live,
    shutdown: CancellationToken,
    began: tokio::time::Instant,
}

impl Shared {
    pub(crate) fn new(
        identities: Arc<Identities>,
        attestation: Arc<Attestation>,
        clock: SharedClock,
        pace: Pace,
        series: Series,
        live: Live,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            identities,
            attestation,
            accounts: Accounts::default(),
            clock,
            pace,
            series,
            live,
            shutdown,
            began: tokio::time::Instant::now(),
        }
    }

    /// Who is at the other end, as whoever accepted the connection found out; if it can be served now at all. Charges
    /// the call to that process.
    ///
    /// Also while the agent stops: a call that was sent before its caller could know is answered as ever, and a stream is
    /// told that it ends behind its first message.
    pub(crate) fn admit(&self, extensions: &http::Extensions) -> Result<Peer, AgentError> {
        let peer = extensions.get::<Peer>().cloned();
        let peer = peer.ok_or(AgentError::PeerUnknown)?;
        if !self.identities.is_ready() {
            return Err(AgentError::Initialising);
        }
        self.charge(&peer)?;
        Ok(peer)
    }

    /// As [`Self::admit`], with a place for the request while it arrives.
    fn arriving(&self, extensions: &http::Extensions) -> Result<(Peer, Place), AgentError> {
        let peer = self.admit(extensions)?;
        let place = self.place(&peer, Limit::Requests)?;
        Ok((peer, place))
    }

    /// Charges a call that asks what is served here, and gives the place of its stream.
    fn reflecting(&self, extensions: &http::Extensions) -> Result<Place, AgentError> {
        let peer = extensions.get::<Peer>().ok_or(AgentError::PeerUnknown)?;
        self.charge(peer)?;
        self.place(peer, Limit::Streams)
    }

    /// Charges a call to the process behind `peer`.
    fn charge(&self, peer: &Peer) -> Result<(), AgentError> {
        self.accounts
            .call(peer.into(), &self.live.limits(), self.clock.now())
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// A place for a stream or a signature of the process behind `peer`.
    fn place(&self, peer: &Peer, limit: Limit) -> Result<Place, AgentError> {
        self.accounts
            .place(peer.into(), limit, &self.live.limits(), self.clock.now())
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, surface: Surface, error: &AgentError) {
        self.series.refused(surface, status::judge(error).1);
        if let AgentError::Limited { limit, holder, .. } = error {
            self.series.limited(*limit, *holder);
        }
    }

    /// Counts a refusal and says what the caller is told of it.
    fn refuse(&self, surface: Surface, error: &AgentError) -> tonic::Status {
        self.refused(surface, error);
        tracing::debug!(%error, "call refused");
        status::status(error)
    }
}

/// The service of the socket. A request's extensions must hold the [`Peer`], put there by whoever accepted the
/// connection.
#[derive(Clone)]
pub(crate) struct WorkloadApi {
    shared: Arc<Shared>,
    // Shared, because each connection and each call has a clone of the service.
    reflection: Arc<Reflection>,
}

type BoxError = Box<dyn StdError + Send + Sync>;
type ReplyFuture = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

impl WorkloadApi {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, AgentError> {
        Ok(Self {
            shared,
            reflection: Arc::new(Reflection::new()?),
        })
    }

    /// What is not a stream of the Workload API is boxed, so that opening one takes little.
    async fn answer<B>(self, request: Request<B>) -> Response<Reply>
    where
        B: http_body::Body + Send + Unpin + 'static,
        B::Error: Into<BoxError> + Send,
        B::Data: Send,
    {
        let (parts, body) = request.into_parts();
        if let Some(method) = parts.uri.path().strip_prefix(sds::SERVICE) {
            let answer = Box::pin(sds::answer(&self.shared, method, &parts, body)).await;
            return answer.unwrap_or_else(|error| self.refuse(Surface::Sds, &error));
        }
        let Some(method) = parts.uri.path().strip_prefix(SERVICE) else {
            // Reflection tells everybody the same, whoever it is and whatever is the matter; but it is work.
            return match self.shared.reflecting(&parts.extensions) {
                Err(error) => self.refuse(Surface::Workload, &error),
                Ok(place) => {
                    let body = Arriving::stream(body, place);
                    Box::pin(self.reflection.answer(Request::from_parts(parts, body))).await
                }
            };
        };
        let method = Method::of(method);
        // Before anything else: the metadata keeps browsers and other confused deputies out (Workload Endpoint §6).
        let outcome = match check_metadata(&parts.headers) {
            Err(error) => Err(error),
            Ok(()) if method == Method::Unsupported => Err(AgentError::Unimplemented),
            Ok(()) => match self.shared.arriving(&parts.extensions) {
                Err(error) => Err(error),
                Ok((peer, place)) => match method {
                    // A server that issues none publishes no keys for them. Clients must not retry these then.
                    Method::Stream(StreamKind::WitSvid | StreamKind::WitBundles)
                        if !self.shared.identities.has_wit() =>
                    {
                        Err(AgentError::Unimplemented)
                    }
                    Method::Stream(kind) => self.open(kind, peer, Arriving::soon(body, place)).await,
                    _ => {
                        let body = Arriving::soon(body, place);
                        return Box::pin(self.call(method, peer, Request::from_parts(parts, body))).await;
                    }
                },
            },
        };
        outcome.unwrap_or_else(|error| self.refuse(Surface::Workload, &error))
    }

    /// Opens a stream. What can be refused at once is refused without one.
    async fn open<B>(&self, kind: StreamKind, peer: Peer, body: B) -> Result<Response<Reply>, AgentError>
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError> + Send,
        B::Data: Send,
    {
        let id = match kind {
            StreamKind::WitSvid => {
                let request: WitsvidRequest = read_message(body, STREAM_REQUEST_BYTES_MAX).await?;
                jwt::wanted(&request.spiffe_id)?
            }
            // All others are empty.
            _ => {
                let X509svidRequest {} = read_message(body, STREAM_REQUEST_BYTES_MAX).await?;
                None
            }
        };
        let view = caller::of(&self.shared, &peer).await?;
        if view.now().entries.is_empty() {
            return Err(AgentError::NoIdentity);
        }
        match kind {
            StreamKind::X509Svid => self.shared.identities.want::<X509Svid>(&view),
            StreamKind::WitSvid => self.shared.identities.want::<WitSvid>(&view),
            _ => {}
        }
        let watcher = Watcher::new(kind, id, peer, view, Arc::clone(&self.shared))?;
        Ok(streaming(watcher.stepping()))
    }

    /// Calls a unary method.
    async fn call<B>(&self, method: Method, peer: Peer, request: Request<B>) -> Response<Reply>
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError> + Send,
    {
        let shared = Arc::clone(&self.shared);
        let response = if method == Method::FetchJwt {
            let codec = Small::default();
            let service = tower::service_fn(move |request: tonic::Request<_>| {
                let (shared, peer) = (Arc::clone(&shared), peer.clone());
                async move { told(&shared, jwt::fetch(&shared, &peer, request.into_inner()).await) }
            });
            Grpc::new(codec)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .unary(service, request)
                .await
        } else {
            let codec = Small::default();
            let service = tower::service_fn(move |request: tonic::Request<_>| {
                let (shared, peer) = (Arc::clone(&shared), peer.clone());
                async move { told(&shared, jwt::validate(&shared, &peer, request.into_inner()).await) }
            });
            Grpc::new(codec)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .unary(service, request)
                .await
        };
        response.map(Reply::from)
    }

    fn refuse(&self, surface: Surface, error: &AgentError) -> Response<Reply> {
        self.shared
            .refuse(surface, error)
            .into_http::<tonic::body::Body>()
            .map(Reply::from)
    }
}

fn told<T>(shared: &Shared, result: Result<T, AgentError>) -> Result<tonic::Response<T>, tonic::Status> {
    result
        .map(tonic::Response::new)
        .map_err(|error| shared.refuse(Surface::Workload, &error))
}

impl<B> Service<Request<B>> for WorkloadApi
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Error: Into<BoxError> + Send,
    B::Data: Send,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Stream(StreamKind),
    FetchJwt,
    ValidateJwt,
    /// Whatever does not exist.
    Unsupported,
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "FetchX509SVID" => Self::Stream(StreamKind::X509Svid),
            "FetchX509Bundles" => Self::Stream(StreamKind::X509Bundles),
            "FetchJWTBundles" => Self::Stream(StreamKind::JwtBundles),
            "FetchWITSVID" => Self::Stream(StreamKind::WitSvid),
            "FetchWITBundles" => Self::Stream(StreamKind::WitBundles),
            "FetchJWTSVID" => Self::FetchJwt,
            "ValidateJWTSVID" => Self::ValidateJwt,
            _ => Self::Unsupported,
        }
    }
}

/// Exactly `workload.spiffe.io: true`, once.
fn check_metadata(headers: &HeaderMap) -> Result<(), AgentError> {
    let mut values = headers.get_all(METADATA).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes() == b"true" => Ok(()),
        _ => Err(AgentError::Metadata),
    }
}

/// An answer that is a stream.
pub(crate) fn streaming(first: Stepping) -> Response<Reply> {
    let mut response = Response::new(Reply::stream(first));
    let mut grpc = GRPC;
    // So that it is sent as it is, and HTTP/2 begins no table of what this connection was sent, to be kept as long.
    grpc.set_sensitive(true);
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    response
}

/// Reads the request of a streaming method. Fields that we do not know are none of our business, but there must be one
/// message and no more.
pub(crate) async fn read_message<B, M>(body: B, bytes_max: usize) -> Result<M, AgentError>
where
    M: prost::Message + Default,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError> + Send,
    B::Data: Send,
{
    let mut bytes = Limited::new(body, bytes_max)
        .collect()
        .await
        .map_err(|_| AgentError::Request("it is cut off or too long"))?
        .to_bytes();
    if bytes.len() < 5 {
        return Err(AgentError::Request("it has no message"));
    }
    if bytes.get_u8() != 0 {
        return Err(AgentError::Request("compression was not agreed on"));
    }
    if usize::try_from(bytes.get_u32()) != Ok(bytes.len()) {
        return Err(AgentError::Request("its length does not fit"));
    }
    M::decode(bytes).map_err(|_| AgentError::Request("it is not protobuf"))
}

type Inner<S> = tower::util::BoxCloneSyncService<Request<tonic::body::Body>, Response<tonic::body::Body>, S>;

/// gRPC server reflection, in the version that tools speak and the one that they spoke before.
struct Reflection {
    v1: Inner<Infallible>,
    v1alpha: Inner<Infallible>,
}

impl Reflection {
    fn new() -> Result<Self, AgentError> {
        let failed = |_| AgentError::Server("the API's description cannot be read".to_owned());
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR)
                .register_encoded_file_descriptor_set(signet_proto::sds::DESCRIPTOR)
        };
        Ok(Self {
            v1: Inner::new(
                builder()
                    .build_v1()
                    .map_err(failed)?
                    .max_decoding_message_size(REFLECTION_BYTES_MAX),
            ),
            v1alpha: Inner::new(
                builder()
                    .build_v1alpha()
                    .map_err(failed)?
                    .max_decoding_message_size(REFLECTION_BYTES_MAX),
            ),
        })
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError> + Send,
        B::Data: Send,
    {
        let service = match request.uri().path() {
            path if path.starts_with("/grpc.reflection.v1.ServerReflection/") => &self.v1,
            path if path.starts_with("/grpc.reflection.v1alpha.ServerReflection/") => &self.v1alpha,
            _ => {
                return status::status(&AgentError::Unimplemented)
                    .into_http::<tonic::body::Body>()
                    .map(Reply::from);
            }
        };
        let body = |body: B| {
            tonic::body::Body::new(
                body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
            )
        };
        let Ok(response) = service.clone().oneshot(request.map(body)).await;
        response.map(Reply::from)
    }
}

const SERVICE: &str = "/SpiffeWorkloadAPI/";
const METADATA: &str = "workload.spiffe.io";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// The name of a service, a method or a file.
const REFLECTION_BYTES_MAX: usize = 4 << 10;
/// A SPIFFE ID with room for fields that a later version may add.
const STREAM_REQUEST_BYTES_MAX: usize = 4 << 10;
/// A token, or sixteen audiences of 512 bytes, and room to spare.
const REQUEST_BYTES_MAX: usize = 64 << 10;
