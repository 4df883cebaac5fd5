use crate::renewals::Mark;
use crate::{Renewals, TokenId, records};
use bytes::Bytes;
use prost::Message;
use signet_crypto::digest;
use signet_id::SpiffeId;
use signet_store::Seq;
use signet_time::UnixTime;

/// A machine that proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its identity.
    pub id: SpiffeId,
    /// SHA-256 of the SubjectPublicKeyInfo of its newest key.
    pub public_key_sha256: [u8; 32],
    /// How it proved itself: `join`, or `x509pop` for a machine certificate.
    pub attestor: String,
    /// The join token it used.
    pub join_token: Option<TokenId>,
    /// When it last proved itself.
    pub attested_at: UnixTime,
    /// Its newest SVID, once one was issued.
    pub svid: Option<NodeSvid>,
    /// Since when and why it is banned.
    pub banned: Option<(UnixTime, String)>,
    /// How often it renewed its identity, and whether somebody else did.
    pub renewals: Renewals,
    /// The change that last touched it.
    pub seq: Seq,
}

/// What is remembered of a node's newest SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSvid {
    /// Its serial number in hex.
    pub serial: String,
    /// Its end.
    pub not_after: UnixTime,
}

impl Node {
    /// The key of a node's record: IDs are longer than a key may be.
    pub(crate) fn key(id: &SpiffeId) -> Bytes {
        Bytes::copy_from_slice(&digest::sha256(id.as_str().as_bytes()))
    }

    pub(crate) fn to_body(&self) -> Bytes {
        let (banned_at, ban_reason) = self.banned.clone().unwrap_or_default();
        let renewals = self.renewals;
        let (mark, epoch) = renewals
            .mark
            .map(|(mark, epoch)| (Bytes::copy_from_slice(&mark), Bytes::copy_from_slice(&epoch)))
            .unwrap_or_default();
        let record = records::Node {
            spiffe_id: self.id.to_string(),
            public_key_sha256: Bytes::copy_from_slice(&self.public_key_sha256),
            attestor: self.attestor.clone(),
            join_token_id: self.join_token.map(|id| id.to_string()).unwrap_or_default(),
            attested_at_ms: self.attested_at.as_millis(),
            expires_at_ms: self.svid.as_ref().map_or(0, |svid| svid.not_after.as_millis()),
            serial: self
                .svid
                .as_ref()
                .map(|svid| svid.serial.clone())
                .unwrap_or_default(),
            banned_at_ms: banned_at.as_millis(),
            ban_reason,
            renewals: renewals.count,
            renewal_mark: mark,
            renewal_epoch: epoch,
            copies: renewals.copies,
            copied_at_ms: renewals.copied_at.map_or(0, UnixTime::as_millis),
        };
        record.encode_to_vec().into()
    }

    pub(crate) fn from_body(key: &[u8], seq: Seq, body: &[u8]) -> Option<Self> {
        let record = records::Node::decode(body).ok()?;
        let id = SpiffeId::parse(&record.spiffe_id).ok()?;
        if Self::key(&id) != key {
            return None;
        }
        let join_token = match record.join_token_id.as_str() {
            "" => None,
            text => Some(TokenId::parse(text)?),
        };
        let at = UnixTime::from_millis;
        let svid = (record.expires_at_ms != 0).then(|| NodeSvid {
            serial: record.serial,
            not_after: at(record.expires_at_ms),
        });
        Some(Self {
            id,
            public_key_sha256: record.public_key_sha256.as_ref().try_into().ok()?,
            attestor: record.attestor,
            join_token,
            attested_at: at(record.attested_at_ms),
            svid,
            banned: (record.banned_at_ms != 0).then(|| (at(record.banned_at_ms), record.ban_reason)),
            renewals: Renewals {
                count: record.renewals,
                mark: mark(&record.renewal_mark, &record.renewal_epoch)?,
                copies: record.copies,
                copied_at: (record.copied_at_ms != 0).then(|| at(record.copied_at_ms)),
            },
            seq,
        })
    }
}

/// A mark with its epoch, if there is one; `None` for what is neither.
#[expect(clippy::option_option, reason = "the outer one is the record's form")]
fn mark(mark: &[u8], epoch: &[u8]) -> Option<Option<(Mark, [u8; 16])>> {
    if mark.is_empty() && epoch.is_empty() {
        return Some(None);
    }
    Some(Some((mark.try_into().ok()?, epoch.try_into().ok()?)))
}
