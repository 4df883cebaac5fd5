use crate::{Capabilities, FeedEntry, bundle_for, hello};
use bytes::Bytes;
use core::time::Duration;
use signet_id::TrustDomain;
use signet_proto::agent::v1::{self, sync_response::Message};
use signet_time::UnixTime;
use signet_trust::Bundle;
use std::sync::Arc;

/// A place in the change log: epoch, sequence, chain hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    /// Which log.
    pub epoch: [u8; 16],
    /// The last change that is in.
    pub seq: u64,
    /// The hash over everything up to it.
    pub chain: [u8; 32],
}

impl FeedCursor {
    pub(crate) fn to_proto(self) -> v1::Cursor {
        v1::Cursor {
            epoch: Bytes::copy_from_slice(&self.epoch),
            seq: self.seq,
            chain: Bytes::copy_from_slice(&self.chain),
        }
    }

    pub(crate) fn from_proto(cursor: &v1::Cursor) -> Option<Self> {
        Some(Self {
            epoch: cursor.epoch.as_ref().try_into().ok()?,
            seq: cursor.seq,
            chain: cursor.chain.as_ref().try_into().ok()?,
        })
    }
}

/// Writes the server's side of a stream.
#[derive(Clone, Debug)]
pub struct Producer {
    own: TrustDomain,
    software: String,
    jwt_issuer: String,
}

impl Producer {
    /// For a server of the trust domain `own` whose JWT-SVIDs name `jwt_issuer`.
    #[must_use]
    pub fn new(own: TrustDomain, software: &str, jwt_issuer: &str) -> Self {
        Self {
            own,
            software: software.to_owned(),
            jwt_issuer: jwt_issuer.to_owned(),
        }
    }

    /// The first message.
    #[must_use]
    pub fn hello(&self, now: UnixTime) -> v1::SyncResponse {
        wrap(Message::Hello(hello(&self.software, now)))
    }

    /// All that one node may know, as of `cursor`, as far as its agent named that it knows of it.
    #[must_use]
    pub fn snapshot(
        &self,
        cursor: FeedCursor,
        bundles: &[Arc<Bundle>],
        entries: impl IntoIterator<Item = FeedEntry>,
        theirs: Capabilities,
    ) -> v1::SyncResponse {
        let is_own = |bundle: &Bundle| bundle.trust_domain() == &self.own;
        wrap(Message::Snapshot(v1::Snapshot {
            cursor: Some(cursor.to_proto()),
            bundles: bundles.iter().map(|b| bundle_for(b, is_own(b), theirs)).collect(),
            entries: entries.into_iter().map(|entry| entry.to_proto()).collect(),
            jwt_issuer: self.jwt_issuer.clone(),
        }))
    }

    /// The last message before a planned end, for a side that named [`crate::Capability::GoingAway`].
    #[must_use]
    pub fn going_away(&self, reason: &str, retry_after: Duration) -> v1::SyncResponse {
        wrap(Message::GoingAway(v1::GoingAway {
            reason: reason.to_owned(),
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        }))
    }
}

fn wrap(message: Message) -> v1::SyncResponse {
    v1::SyncResponse {
        message: Some(message),
    }
}
