//! Snapshots that are not whole yet.

use crate::error::bounded;
use crate::limits::{
    BUNDLES_MAX, CHUNK_BYTES_MAX, CHUNKS_MAX, ENTRIES_MAX, SNAPSHOT_BYTES_MAX, TEXT_BYTES_MAX,
};
use crate::{EntrySet, FeedCursor, FeedEntry, FeedError, NodeState, bundle_from_proto};
use prost::Message as _;
use signet_crypto::SetHash;
use signet_id::TrustDomain;
use signet_proto::agent::v1;
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::sync::Arc;

/// Bundles as they come in.
#[derive(Debug)]
pub(crate) struct Bundles(TrustView);

impl Bundles {
    pub(crate) fn new(own: &TrustDomain, now: UnixTime) -> Self {
        Self(TrustView::new(own.clone()).received(now))
    }

    pub(crate) fn take(&mut self, bundles: &[v1::Bundle]) -> Result<(), FeedError> {
        bounded("bundles", self.0.bundles().len() + bundles.len(), BUNDLES_MAX)?;
        for bundle in bundles {
            let read = bundle_from_proto(bundle)?;
            // A foreign bundle that passed for ours would vouch for our own identities.
            if bundle.own != (read.trust_domain() == self.0.own()) {
                return Err(FeedError::OwnBundle {
                    own: self.0.own().clone(),
                });
            }
            if self.0.bundle(read.trust_domain()).is_some() {
                return Err(FeedError::Twice { what: "a bundle" });
            }
            self.0 = self.0.clone().with_bundle(read);
        }
        Ok(())
    }

    pub(crate) fn into_view(self) -> TrustView {
        self.0
    }
}

/// What came of a snapshot so far.
#[derive(Debug)]
pub(crate) struct Staging {
    own: TrustDomain,
    next: u32,
    bytes: usize,
    bundles: Bundles,
    entries: EntrySet,
    /// What is known meanwhile. An entry that comes as it is known is not held twice.
    known: EntrySet,
}

impl Staging {
    pub(crate) fn new(own: &TrustDomain, known: EntrySet, now: UnixTime) -> Self {
        Self {
            known,
            own: own.clone(),
            next: 0,
            bytes: 0,
            bundles: Bundles::new(own, now),
            entries: EntrySet::default(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn piece(&mut self, chunk: &v1::SnapshotChunk) -> Result<(), FeedError> {
        if chunk.number != self.next {
            return Err(FeedError::Order {
                what: "a piece of a snapshot out of turn",
            });
        }
        self.next += 1;
        bounded("pieces of a snapshot", self.next as usize, CHUNKS_MAX)?;
        let bytes = chunk.encoded_len();
        bounded("bytes of a piece of a snapshot", bytes, CHUNK_BYTES_MAX)?;
        self.bytes += bytes;
        bounded("bytes of a snapshot", self.bytes, SNAPSHOT_BYTES_MAX)?;
        if chunk.end.is_none() && chunk.bundles.is_empty() && chunk.entries.is_empty() {
            return Err(FeedError::Malformed {
                what: "a piece of a snapshot",
            });
        }
        self.take(&chunk.bundles, &chunk.entries)
    }

    pub(crate) fn take(&mut self, bundles: &[v1::Bundle], entries: &[v1::Entry]) -> Result<(), FeedError> {
        if !self.entries.is_empty() && !bundles.is_empty() {
            return Err(FeedError::Order {
                what: "a bundle after the entries",
            });
        }
        self.bundles.take(bundles)?;
        bounded("entries", self.entries.len() + entries.len(), ENTRIES_MAX)?;
        for entry in entries {
            let entry = FeedEntry::from_proto(entry, &self.own)?;
            let entry = match self.known.get(&entry.id) {
                Some(known) if **known == entry => Arc::clone(known),
                _ => Arc::new(entry),
            };
            if self.entries.put(entry).is_some() {
                return Err(FeedError::Twice { what: "an entry" });
            }
        }
        Ok(())
    }

    /// The state, now that it is whole.
    pub(crate) fn end(
        self,
        cursor: Option<&v1::Cursor>,
        jwt_issuer: &str,
        digest: Option<SetHash>,
    ) -> Result<NodeState, FeedError> {
        let cursor = FeedCursor::demanded(cursor)?;
        bounded("bytes of the issuer", jwt_issuer.len(), TEXT_BYTES_MAX)?;
        if let Some(told) = digest {
            let held = self.entries.digest();
            if held != told {
                return Err(FeedError::Digest {
                    held: held.count(),
                    told: told.count(),
                });
            }
        }
        let trust = self.bundles.into_view();
        if trust.own_bundle().is_none() {
            return Err(FeedError::OwnBundle { own: self.own });
        }
        Ok(NodeState {
            cursor,
            trust,
            entries: self.entries,
            jwt_issuer: jwt_issuer.to_owned(),
        })
    }
}
