//! Envoy's secret discovery service, version 3, on the socket of the Workload API.
//!
//! Callers are attested as those of the Workload API are, by the same code; the metadata of the Workload API is not
//! asked of them, because Envoy cannot be relied on to send it. What a name stands for is read in [`names`], found and
//! encoded in [`secret`]; [`talk`] keeps what was said on a stream, [`stream`] has the stream itself.

mod names;
mod rate;
mod rehearsal;
mod secret;
mod settings;
mod stream;
mod talk;

pub use rehearsal::{Rehearsal, Scene};
pub use settings::SdsSettings;

use crate::AgentError;
use crate::metrics::StreamKind;
use crate::workload::{Reply, Shared, Watched, caller, read_message, streaming};
use bytes::Buf as _;
use http::request::Parts;
use http::{Response, header};
use http_body_util::BodyExt as _;
use signet_proto::codec::Small;
use signet_proto::sds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DiscoveryRequest, DiscoveryResponse,
};
use std::error::Error as StdError;
use std::sync::Arc;
use stream::Subscriber;
use talk::{Asks, Extent, Talk};
use tonic::Streaming;
use tonic::codec::Codec as _;

/// What the paths of its methods begin with.
pub(crate) const SERVICE: &str = "/envoy.service.secret.v3.SecretDiscoveryService/";

/// Answers a call of `method`.
pub(crate) async fn answer<B>(
    shared: &Arc<Shared>,
    method: &str,
    parts: &Parts,
    body: B,
) -> Result<Response<Reply>, AgentError>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
    B::Data: Send,
{
    let extent = match method {
        "StreamSecrets" => Extent::Changes,
        "DeltaSecrets" => Extent::Deltas,
        "FetchSecrets" => Extent::Whole,
        _ => return Err(AgentError::Unimplemented),
    };
    let is_grpc = parts.headers.get(header::CONTENT_TYPE);
    if !is_grpc.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Err(AgentError::SecretRequest(
            "its content type is not application/grpc",
        ));
    }
    let peer = shared.admit(&parts.extensions)?;
    let view = caller::of(shared, &peer).await?;
    if view.now().entries.is_empty() {
        return Err(AgentError::NoIdentity);
    }
    let watched = Watched::new(StreamKind::Secrets, peer, view, Arc::clone(shared))?;
    let talk = Talk::new(shared.live().sds(), extent);
    let stepping = match extent {
        Extent::Changes => Subscriber::new(talk, watched, requests::<DiscoveryRequest, _>(body)).stepping(),
        Extent::Deltas => {
            Subscriber::new(talk, watched, requests::<DeltaDiscoveryRequest, _>(body)).stepping()
        }
        Extent::Whole => {
            let request: DiscoveryRequest = read_message(body, REQUEST_BYTES_MAX).await?;
            Subscriber::asked_once(talk, watched, request)?.stepping()
        }
    };
    Ok(streaming(stepping))
}

/// The requests of a stream, as they come.
fn requests<R, B>(body: B) -> Streaming<R>
where
    R: Asks,
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>> + Send,
    B::Data: Send,
{
    let body = body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
    let decoder = Small::<DiscoveryResponse, R>::default().decoder();
    Streaming::new_request(decoder, body, None, Some(REQUEST_BYTES_MAX))
}

/// All names at their longest are 256 KiB; an Envoy also lists its extensions, which are some tens of KiB.
const REQUEST_BYTES_MAX: usize = 1 << 20;
