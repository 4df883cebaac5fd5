use crate::cursor::digest_to_proto;
use crate::limits::{CHUNK_BYTES, DELTA_BYTES_MAX};
use crate::{Capabilities, FeedCursor, FeedEntry, PeerHello, bundle_for, hello, hello_to};
use core::iter::Peekable;
use core::time::Duration;
use prost::Message as _;
use signet_crypto::SetHash;
use signet_id::TrustDomain;
use signet_proto::agent::v1::{self, sync_response::Message};
use signet_time::UnixTime;
use signet_trust::Bundle;
use std::sync::Arc;

/// Writes the server's side of a stream.
#[derive(Clone, Debug)]
pub struct Producer {
    own: TrustDomain,
    software: String,
    jwt_issuer: String,
}

/// What changed for one node.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The bundles that changed.
    pub bundles: Vec<Arc<Bundle>>,
    /// Foreign domains whose bundles are gone.
    pub bundles_removed: Vec<TrustDomain>,
    /// The entries that it may serve no more. It had them.
    pub removed: Vec<[u8; 16]>,
    /// Entries that are new, or have changed.
    pub entries: Vec<FeedEntry>,
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

    /// The first message, to whoever speaks the newest protocol.
    #[must_use]
    pub fn hello(&self, now: UnixTime) -> v1::SyncResponse {
        wrap(Message::Hello(hello(&self.software, now)))
    }

    /// The first message, in the protocol that `peer` speaks.
    #[must_use]
    pub fn hello_to(&self, peer: &PeerHello, now: UnixTime) -> v1::SyncResponse {
        wrap(Message::Hello(hello_to(peer, &self.software, now)))
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
        wrap(Message::Snapshot(v1::Snapshot {
            cursor: Some(cursor.to_proto()),
            bundles: bundles.iter().map(|b| self.bundle(b, theirs)).collect(),
            entries: entries.into_iter().map(|entry| entry.to_proto()).collect(),
            jwt_issuer: self.jwt_issuer.clone(),
        }))
    }

    /// The same in pieces of some 256 KiB, each made when it is asked for, for a side that named
    /// [`crate::Capability::Chunks`].
    pub fn chunks<I: IntoIterator<Item = FeedEntry>>(
        &self,
        cursor: FeedCursor,
        bundles: &[Arc<Bundle>],
        entries: I,
        theirs: Capabilities,
    ) -> Chunks<I::IntoIter> {
        let bundles: Vec<_> = bundles.iter().map(|b| self.bundle(b, theirs)).collect();
        Chunks {
            bundles: bundles.into_iter().peekable(),
            entries: entries.into_iter().peekable(),
            next: Some(0),
            digest: SetHash::default(),
            cursor,
            jwt_issuer: self.jwt_issuer.clone(),
        }
    }

    /// What changed between `from`, where the agent is, and `to`, for a side that named [`crate::Capability::Delta`].
    /// `None` where that is too much for one message: then it is sent a snapshot.
    #[must_use]
    pub fn delta(
        &self,
        from: FeedCursor,
        to: FeedCursor,
        changes: &Changes,
        theirs: Capabilities,
    ) -> Option<v1::SyncResponse> {
        let delta = v1::Delta {
            from: Some(from.to_proto()),
            bundles: changes.bundles.iter().map(|b| self.bundle(b, theirs)).collect(),
            bundles_removed: changes
                .bundles_removed
                .iter()
                .map(TrustDomain::to_string)
                .collect(),
            removed: changes.removed.iter().map(|id| id.to_vec().into()).collect(),
            entries: changes.entries.iter().map(FeedEntry::to_proto).collect(),
            to: Some(to.to_proto()),
            jwt_issuer: self.jwt_issuer.clone(),
        };
        (delta.encoded_len() <= DELTA_BYTES_MAX).then(|| wrap(Message::Delta(delta)))
    }

    /// Says that the server is there and that nothing changed for the node up to `cursor`, for a side that named
    /// [`crate::Capability::Heartbeat`]. The next one comes within `interval`.
    #[must_use]
    pub fn heartbeat(
        &self,
        cursor: FeedCursor,
        digest: Option<&SetHash>,
        interval: Duration,
        now: UnixTime,
    ) -> v1::SyncResponse {
        wrap(Message::Heartbeat(v1::Heartbeat {
            now_ms: now.as_millis(),
            cursor: Some(cursor.to_proto()),
            interval_ms: millis(interval),
            digest: digest.map(digest_to_proto),
        }))
    }

    /// The last message before a planned end, for a side that named [`crate::Capability::GoingAway`].
    #[must_use]
    pub fn going_away(&self, reason: &str, retry_after: Duration) -> v1::SyncResponse {
        wrap(Message::GoingAway(v1::GoingAway {
            reason: reason.to_owned(),
            retry_after_ms: millis(retry_after),
        }))
    }

    fn bundle(&self, bundle: &Bundle, theirs: Capabilities) -> v1::Bundle {
        bundle_for(bundle, bundle.trust_domain() == &self.own, theirs)
    }
}

/// The pieces of a snapshot, in their order.
#[derive(Debug)]
pub struct Chunks<I: Iterator<Item = FeedEntry>> {
    bundles: Peekable<std::vec::IntoIter<v1::Bundle>>,
    entries: Peekable<I>,
    /// `None` after the last one.
    next: Option<u32>,
    digest: SetHash,
    cursor: FeedCursor,
    jwt_issuer: String,
}

impl<I: Iterator<Item = FeedEntry>> Iterator for Chunks<I> {
    type Item = v1::SyncResponse;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next?;
        let mut chunk = v1::SnapshotChunk {
            number,
            ..v1::SnapshotChunk::default()
        };
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some(bundle) = self.bundles.next()
        {
            bytes += bundle.encoded_len() + ITEM_BYTES;
            chunk.bundles.push(bundle);
        }
        while bytes < CHUNK_BYTES
            && let Some(entry) = self.entries.next()
        {
            self.digest.insert(&entry.id, entry.seq);
            let entry = entry.to_proto();
            bytes += entry.encoded_len() + ITEM_BYTES;
            chunk.entries.push(entry);
        }
        if self.bundles.peek().is_none() && self.entries.peek().is_none() {
            chunk.end = Some(v1::SnapshotEnd {
                cursor: Some(self.cursor.to_proto()),
                jwt_issuer: core::mem::take(&mut self.jwt_issuer),
                digest: Some(digest_to_proto(&self.digest)),
            });
            self.next = None;
        } else {
            self.next = number.checked_add(1);
        }
        Some(wrap(Message::Chunk(chunk)))
    }
}

/// What stands before an item of a piece at most: its field and its length.
const ITEM_BYTES: usize = 6;

fn wrap(message: Message) -> v1::SyncResponse {
    v1::SyncResponse {
        message: Some(message),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
