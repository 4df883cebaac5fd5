use crate::FeedError;
use bytes::Bytes;
use signet_crypto::SetHash;
use signet_proto::agent::v1;

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

    /// The cursor in a message that must have one.
    pub(crate) fn demanded(cursor: Option<&v1::Cursor>) -> Result<Self, FeedError> {
        cursor
            .and_then(Self::from_proto)
            .ok_or(FeedError::Malformed { what: "the cursor" })
    }
}

pub(crate) fn digest_to_proto(hash: &SetHash) -> v1::Digest {
    v1::Digest {
        sum: Bytes::copy_from_slice(&hash.sum()),
        entries: hash.count(),
    }
}

pub(crate) fn digest_from_proto(digest: &v1::Digest) -> Result<SetHash, FeedError> {
    let sum = digest.sum.as_ref().try_into();
    let sum: [u8; 32] = sum.map_err(|_| FeedError::Malformed { what: "the digest" })?;
    Ok(SetHash::told(&sum, digest.entries))
}
