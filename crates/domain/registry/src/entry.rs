use crate::{EntryId, records};
use core::time::Duration;
use prost::Message;
use signet_id::{IdPattern, Selector, SpiffeId, TrustDomain};
use signet_store::Seq;
use signet_time::{UnixTime, format_duration};

/// A workload that has all of `selectors`, on the node `parent_id` or any, may have `spiffe_id`, or what that gives with its
/// facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// The identity it gives, or a template of identities.
    pub spiffe_id: IdPattern,
    /// The node it holds on; `None` means every node.
    pub parent_id: Option<SpiffeId>,
    /// What the workload must show, all of them. Sorted, unique, at least one.
    pub selectors: Vec<Selector>,
    /// How long an X.509-SVID lives.
    pub x509_ttl: Duration,
    /// How long a JWT-SVID lives.
    pub jwt_ttl: Duration,
    /// DNS names in the certificate.
    pub dns_names: Vec<String>,
    /// Tells several identities of one workload apart; may be empty.
    pub hint: String,
    /// The person or team behind it; may be empty.
    pub owner: String,
    /// Foreign trust domains whose bundles the workload gets.
    pub federates_with: Vec<TrustDomain>,
    /// The audiences that tokens may name; empty means any.
    pub jwt_audiences: Vec<String>,
    /// From then on it gives nothing.
    pub expires_at: Option<UnixTime>,
    /// When it was created.
    pub created_at: UnixTime,
    /// The change that last touched it.
    pub seq: Seq,
}

/// An entry as somebody wrote it, unchecked. What is `None` or empty gets its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEntry {
    /// See [`Entry::spiffe_id`].
    pub spiffe_id: String,
    /// See [`Entry::parent_id`].
    pub parent_id: Option<String>,
    /// See [`Entry::selectors`]; in any order.
    pub selectors: Vec<String>,
    /// Such as `1h`.
    pub x509_ttl: Option<String>,
    /// Such as `5m`.
    pub jwt_ttl: Option<String>,
    /// See [`Entry::dns_names`].
    pub dns_names: Vec<String>,
    /// See [`Entry::hint`].
    pub hint: String,
    /// See [`Entry::owner`].
    pub owner: String,
    /// See [`Entry::federates_with`].
    pub federates_with: Vec<String>,
    /// See [`Entry::jwt_audiences`].
    pub jwt_audiences: Vec<String>,
    /// RFC 3339 in UTC.
    pub expires_at: Option<String>,
}

impl From<&Entry> for NewEntry {
    /// The draft that gives `entry` again: what an update starts from.
    fn from(entry: &Entry) -> Self {
        Self {
            spiffe_id: entry.spiffe_id.to_string(),
            parent_id: entry.parent_id.as_ref().map(SpiffeId::to_string),
            selectors: entry.selectors.iter().map(Selector::to_string).collect(),
            x509_ttl: Some(format_duration(entry.x509_ttl)),
            jwt_ttl: Some(format_duration(entry.jwt_ttl)),
            dns_names: entry.dns_names.clone(),
            hint: entry.hint.clone(),
            owner: entry.owner.clone(),
            federates_with: entry.federates_with.iter().map(TrustDomain::to_string).collect(),
            jwt_audiences: entry.jwt_audiences.clone(),
            expires_at: entry.expires_at.map(|at| at.to_string()),
        }
    }
}

impl Entry {
    /// Whether it still gives its identity at `now`.
    #[must_use]
    pub fn is_live_at(&self, now: UnixTime) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    pub(crate) fn to_body(&self) -> bytes::Bytes {
        let parent_id = self.parent_id.as_ref().map(SpiffeId::to_string);
        let record = records::Entry {
            spiffe_id: self.spiffe_id.to_string(),
            parent_id: parent_id.unwrap_or_default(),
            selectors: self.selectors.iter().map(Selector::to_string).collect(),
            expires_at_ms: self.expires_at.map_or(0, UnixTime::as_millis),
            created_at_ms: self.created_at.as_millis(),
            ..self.to_details()
        };
        record.encode_to_vec().into()
    }

    /// The record without what is mostly an entry's own: identity, parent, selectors and times.
    pub(crate) fn to_details(&self) -> records::Entry {
        records::Entry {
            x509_ttl_ms: millis(self.x509_ttl),
            jwt_ttl_ms: millis(self.jwt_ttl),
            dns_names: self.dns_names.clone(),
            hint: self.hint.clone(),
            owner: self.owner.clone(),
            federates_with: self.federates_with.iter().map(TrustDomain::to_string).collect(),
            jwt_audiences: self.jwt_audiences.clone(),
            ..records::Entry::default()
        }
    }

    /// The entry in a record; `None` where the record is not one that we would have written.
    pub(crate) fn from_body(key: &[u8], seq: Seq, body: &[u8]) -> Option<Self> {
        Self::from_record(EntryId::from_slice(key)?, seq, records::Entry::decode(body).ok()?)
    }

    pub(crate) fn from_record(id: EntryId, seq: Seq, record: records::Entry) -> Option<Self> {
        let parent_id = match record.parent_id.as_str() {
            "" => None,
            id => Some(SpiffeId::parse(id).ok()?),
        };
        Some(Self {
            id,
            spiffe_id: IdPattern::parse(&record.spiffe_id).ok()?,
            parent_id,
            selectors: parse_all(&record.selectors, Selector::parse)?,
            x509_ttl: Duration::from_millis(record.x509_ttl_ms),
            jwt_ttl: Duration::from_millis(record.jwt_ttl_ms),
            dns_names: record.dns_names,
            hint: record.hint,
            owner: record.owner,
            federates_with: parse_all(&record.federates_with, TrustDomain::parse)?,
            jwt_audiences: record.jwt_audiences,
            expires_at: (record.expires_at_ms != 0).then(|| UnixTime::from_millis(record.expires_at_ms)),
            created_at: UnixTime::from_millis(record.created_at_ms),
            seq,
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn parse_all<T, E>(texts: &[String], parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
    texts.iter().map(|text| parse(text).ok()).collect()
}
