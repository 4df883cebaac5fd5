//! What stands before the gRPC service: who may call at all, and how much.
//!
//! What a connection proved is known when its handshake ends. So a call is refused by that, and by the node's standing,
//! before a byte of its body is asked for; and what is let through is counted on its way to the decoder, which makes
//! far more of some bytes than was sent. How much one node may have under way is bounded here, too ([`crate::shares`]).

use crate::AgentsError;
use crate::agents::{Agents, count};
use crate::metrics::Kind;
use crate::peer::{self, NodePeer};
use crate::shares::{Answer, Call};
use bytes::Bytes;
use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use http_body::{Body, Frame, SizeHint};
use signet_decision::Action;
use signet_feed::{Form, Screen};
use signet_proto::agent::v1::agent_server::{AgentServer, SERVICE_NAME};
use signet_telemetry::RequestId;
use signet_tls::PeerIdentity;
use tonic::codegen::{BoxFuture, Service, StdError};

/// Renews a node's SVID.
pub(crate) const RENEW: Action = Action::ISSUE_NODE_SVID;
/// Follows what a node may know.
pub(crate) const SYNC: Action = Action::read("node.sync");
/// Asks for workloads; each wish is decided by itself.
pub(crate) const ISSUE: Action = Action::read("node.issue");

/// The gRPC service behind its gate.
#[derive(Clone)]
pub struct Gate {
    agents: Agents,
    service: AgentServer<Agents>,
}

/// What is called.
#[derive(Clone, Copy)]
enum Method {
    Attest,
    Renew,
    Sync,
    Issue,
}

impl Method {
    fn of(path: &str) -> Option<Self> {
        let method = path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?;
        match method {
            "/Attest" => Some(Self::Attest),
            "/Renew" => Some(Self::Renew),
            "/Sync" => Some(Self::Sync),
            "/Issue" => Some(Self::Issue),
            _ => None,
        }
    }

    fn form(self) -> &'static Form {
        match self {
            Self::Attest => &Form::ATTEST,
            Self::Renew => &Form::RENEW,
            Self::Sync => &Form::SYNC,
            Self::Issue => &Form::ISSUE,
        }
    }
}

impl Gate {
    pub(crate) fn new(agents: Agents, service: AgentServer<Agents>) -> Self {
        Self { agents, service }
    }

    /// Whether the connection may call `method`; of a node with who it is, for the method itself.
    fn admit(
        &self,
        method: Option<Method>,
        extensions: &http::Extensions,
    ) -> Result<Option<NodePeer>, AgentsError> {
        let action = match method {
            Some(Method::Attest) => return peer::proof(extensions).map(|_| None),
            Some(Method::Renew) => RENEW,
            Some(Method::Sync) => {
                self.agents.refuse_if_stopping()?;
                SYNC
            }
            Some(Method::Issue) => ISSUE,
            // Nodes are told by the service that there is no such method; nobody else is told anything.
            None if matches!(extensions.get(), Some(PeerIdentity::Spiffe(_))) => return Ok(None),
            None => return NodePeer::of(extensions, &self.agents, SYNC).map(Some),
        };
        NodePeer::of(extensions, &self.agents, action).map(Some)
    }

    /// Counts a call of `node`. Streams are counted where they begin: they last.
    fn count(&self, method: Option<Method>, node: Option<&NodePeer>) -> Result<Option<Call>, AgentsError> {
        match (method, node) {
            (Some(Method::Renew | Method::Issue), Some(node)) => self.agents.shares.call(&node.id).map(Some),
            _ => Ok(None),
        }
    }
}

impl<B> Service<http::Request<B>> for Gate
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<StdError>,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let said = request.headers().get(RequestId::HEADER);
        let id = RequestId::from_caller(said.map(http::HeaderValue::as_bytes));
        request.extensions_mut().insert(id.clone());
        let method = Method::of(request.uri().path());
        let admitted = self
            .admit(method, request.extensions())
            .and_then(|node| Ok((self.count(method, node.as_ref())?, node)));
        let call = match admitted {
            Ok((call, node)) => {
                if let Some(node) = node {
                    request.extensions_mut().insert(node);
                }
                call
            }
            Err(error) => {
                if matches!(method, Some(Method::Attest | Method::Renew)) {
                    count(&self.agents, Kind::Node, Some(&error));
                }
                let refused = error.status(&id, &self.agents.series).into_http();
                return Box::pin(core::future::ready(Ok(refused)));
            }
        };
        let agents = self.agents.clone();
        let form = method.map_or(&Form::RENEW, Method::form);
        let answered = self.service.call(request.map(|body| Screened {
            body,
            screen: Screen::new(form),
            agents,
            id,
        }));
        let Some(call) = call else {
            return answered;
        };
        Box::pin(async move {
            let answer = answered.await?;
            Ok(answer.map(|body| tonic::body::Body::new(Answer::new(body, call))))
        })
    }
}

/// A body that ends with the refusal of what is too much in it.
struct Screened<B> {
    body: B,
    screen: Screen,
    agents: Agents,
    id: RequestId,
}

impl<B> Body for Screened<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let data = frame.data_ref().map_or(&[][..], |data| data);
        Poll::Ready(Some(match this.screen.pass(data) {
            Ok(()) => Ok(frame),
            Err(excess) => {
                let error = AgentsError::from(excess);
                Err(error.status(&this.id, &this.agents.series).into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
