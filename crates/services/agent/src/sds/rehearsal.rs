use super::talk::{Asks as _, Extent, Heard, Talk};
use crate::AgentError;
use crate::identity::{Bundles, Sight, SvidSight};
use bytes::{Buf as _, Bytes};
use signet_feed::FeedEntry;
use signet_proto::sds::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use signet_trust::TrustView;
use std::sync::Arc;

/// What is said on a stream of secrets, without a stream and a caller: for those who look for requests that break it.
pub struct Rehearsal(Talk);

/// What the caller of a [`Rehearsal`] may have at one time. All of its certificates are on their way.
pub struct Scene(Sight);

impl Scene {
    /// The identities of `entries`, and of `all` the bundles of the own domain and of those that they federate with.
    #[must_use]
    pub fn new(entries: Vec<FeedEntry>, all: &TrustView) -> Self {
        let federation = entries.iter().flat_map(|e| e.federates_with.iter().cloned());
        let bundles = Bundles::new(all, &federation.collect());
        Self(Sight {
            entries: entries.into_iter().map(Arc::new).collect(),
            bundles: Arc::new(bundles),
            x509: SvidSight::Pending,
            wit: SvidSight::Pending,
        })
    }
}

impl Rehearsal {
    /// Of a stream that says all of what is wanted each time.
    #[must_use]
    pub fn of_world() -> Self {
        Self(Talk::new(Arc::default(), Extent::Changes))
    }

    /// Of a stream that says what changes.
    #[must_use]
    pub fn of_deltas() -> Self {
        Self(Talk::new(Arc::default(), Extent::Deltas))
    }

    /// Takes a request in. Whether it counts: one that answers an older response does not.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn hear(&mut self, request: &DiscoveryRequest) -> Result<bool, AgentError> {
        Ok(request.tell(&mut self.0)? != Heard::Stale)
    }

    /// Takes a request in, which counts always.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn hear_delta(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), AgentError> {
        request.tell(&mut self.0).map(drop)
    }

    /// The response that is due, encoded.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn say(&mut self, scene: &Scene) -> Result<Option<Bytes>, AgentError> {
        let said = self.0.say(&scene.0)?;
        Ok(said.map(|mut frame| {
            frame.advance(GRPC_PREFIX_BYTES.min(frame.len()));
            frame
        }))
    }
}

/// A flag and a length stand before each message of gRPC.
const GRPC_PREFIX_BYTES: usize = 5;
