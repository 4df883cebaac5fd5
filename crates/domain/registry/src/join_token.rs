use crate::entry_id::hex16;
use crate::records;
use core::fmt;
use prost::Message;
use signet_crypto::{CryptoError, Secret, digest};
use signet_id::{SpiffeId, TrustDomain};
use signet_store::Seq;
use signet_time::UnixTime;

/// The public name of a join token: the first half of its SHA-256. It tells nothing of the token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// Reads 32 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex16(text).map(Self)
    }

    pub(crate) fn of_hash(hash: &[u8; 32]) -> Self {
        let (head, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self(*head)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A join token in clear: 128 random bits. Shown once, stored nowhere.
pub struct JoinTokenSecret(Secret);

impl JoinTokenSecret {
    pub(crate) fn random() -> Result<Self, CryptoError> {
        let bits: [u8; 16] = signet_crypto::random()?;
        Ok(Self(Secret::new(bits.to_vec())))
    }

    /// Reads the text of a token; `None` where it has not the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex16(text).map(|bits| Self(Secret::new(bits.to_vec())))
    }

    /// The token's text, 32 hex digits, for the one answer that carries it.
    #[must_use]
    pub fn expose(&self) -> String {
        digest::hex(self.0.expose())
    }

    /// What is stored in its place. No salt: nobody can guess 128 random bits.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        digest::sha256(self.0.expose())
    }
}

impl fmt::Debug for JoinTokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinTokenSecret")
    }
}

/// A join token as it is known: everything but the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Its public name.
    pub id: TokenId,
    /// The identity of the node that uses it; `None` means the default below `/signet/node/join/`.
    pub spiffe_id: Option<SpiffeId>,
    /// When it was made.
    pub created_at: UnixTime,
    /// From then on it is refused.
    pub expires_at: UnixTime,
    /// Who made it.
    pub created_by: String,
    /// SHA-256 of the first public key that used it, and when.
    pub bound: Option<([u8; 32], UnixTime)>,
    /// The change that last touched it.
    pub seq: Seq,
}

impl JoinToken {
    /// The identity that the node gets.
    ///
    /// # Panics
    /// Never: a trust domain, a fixed path and 32 hex digits make an ID of at most 320 bytes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "see Panics")]
    pub fn node_id(&self, own: &TrustDomain) -> SpiffeId {
        self.spiffe_id.clone().unwrap_or_else(|| {
            SpiffeId::new(own, &format!("/signet/node/join/{}", self.id)).expect("fixed path and hex digits")
        })
    }

    pub(crate) fn to_body(&self) -> bytes::Bytes {
        let record = records::JoinToken {
            spiffe_id: self
                .spiffe_id
                .as_ref()
                .map(SpiffeId::to_string)
                .unwrap_or_default(),
            created_at_ms: self.created_at.as_millis(),
            expires_at_ms: self.expires_at.as_millis(),
            created_by: self.created_by.clone(),
            bound_key_sha256: self.bound.map(|(key, _)| key.to_vec()).unwrap_or_default().into(),
            bound_at_ms: self.bound.map_or(0, |(_, at)| at.as_millis()),
        };
        record.encode_to_vec().into()
    }

    pub(crate) fn from_body(key: &[u8], seq: Seq, body: &[u8]) -> Option<Self> {
        let record = records::JoinToken::decode(body).ok()?;
        let spiffe_id = match record.spiffe_id.as_str() {
            "" => None,
            id => Some(SpiffeId::parse(id).ok()?),
        };
        let bound = match record.bound_key_sha256.as_ref() {
            [] => None,
            hash => Some((hash.try_into().ok()?, UnixTime::from_millis(record.bound_at_ms))),
        };
        Some(Self {
            id: TokenId::of_hash(key.try_into().ok()?),
            spiffe_id,
            created_at: UnixTime::from_millis(record.created_at_ms),
            expires_at: UnixTime::from_millis(record.expires_at_ms),
            created_by: record.created_by,
            bound,
            seq,
        })
    }
}
