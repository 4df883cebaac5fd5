use crate::FeedError;
use crate::error::bounded;
use crate::limits::{NAMES_MAX, SELECTORS_MAX, TEXT_BYTES_MAX, TTL_S_MAX};
use bytes::Bytes;
use core::time::Duration;
use signet_id::{Selector, SpiffeId, TrustDomain};
use signet_proto::agent::v1;
use signet_time::UnixTime;

/// An entry as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its name.
    pub id: [u8; 16],
    /// The identity that it gives.
    pub spiffe_id: SpiffeId,
    /// What must all be true of a process; 1 to 32.
    pub selectors: Vec<Selector>,
    /// Life of an X.509-SVID.
    pub x509_ttl: Duration,
    /// Life of a JWT-SVID.
    pub jwt_ttl: Duration,
    /// DNS names in the certificate.
    pub dns_names: Vec<String>,
    /// What the workload is told; empty for nothing.
    pub hint: String,
    /// Foreign trust domains whose bundles the workload gets.
    pub federates_with: Vec<TrustDomain>,
    /// The only audiences of its tokens; empty means any.
    pub jwt_audiences: Vec<String>,
    /// From then on it gives nothing.
    pub expires_at: Option<UnixTime>,
    /// When it was made: of two with one hint the older keeps it.
    pub created_at: UnixTime,
    /// The change that last touched it.
    pub seq: u64,
}

impl FeedEntry {
    /// As it goes over the wire.
    #[must_use]
    pub fn to_proto(&self) -> v1::Entry {
        v1::Entry {
            id: Bytes::copy_from_slice(&self.id),
            spiffe_id: self.spiffe_id.to_string(),
            selectors: self.selectors.iter().map(Selector::to_string).collect(),
            x509_ttl_s: self.x509_ttl.as_secs(),
            jwt_ttl_s: self.jwt_ttl.as_secs(),
            dns_names: self.dns_names.clone(),
            hint: self.hint.clone(),
            federates_with: self.federates_with.iter().map(TrustDomain::to_string).collect(),
            jwt_audiences: self.jwt_audiences.clone(),
            expires_at_ms: self.expires_at.map_or(0, UnixTime::as_millis),
            created_at_ms: self.created_at.as_millis(),
            seq: self.seq,
        }
    }

    /// Reads one, for a node of the trust domain `own`.
    ///
    /// # Errors
    /// [`FeedError`] says which member is wrong.
    pub fn from_proto(entry: &v1::Entry, own: &TrustDomain) -> Result<Self, FeedError> {
        let spiffe_id = SpiffeId::parse(&entry.spiffe_id).map_err(|source| FeedError::Id {
            what: "an entry's identity",
            source,
        })?;
        if spiffe_id.trust_domain() != own || !spiffe_id.has_path() || spiffe_id.is_reserved() {
            return Err(FeedError::EntryIdentity {
                id: spiffe_id.to_string(),
                own: own.clone(),
            });
        }
        // An entry without selectors would fit every process on the node.
        if entry.selectors.is_empty() {
            return Err(FeedError::Malformed {
                what: "an entry's list of selectors",
            });
        }
        bounded("selectors of an entry", entry.selectors.len(), SELECTORS_MAX)?;
        bounded("dns names of an entry", entry.dns_names.len(), NAMES_MAX)?;
        bounded(
            "domains that an entry federates with",
            entry.federates_with.len(),
            NAMES_MAX,
        )?;
        bounded("audiences of an entry", entry.jwt_audiences.len(), NAMES_MAX)?;
        let texts = entry.dns_names.iter().chain(&entry.jwt_audiences);
        for text in texts.chain([&entry.hint]) {
            bounded("bytes of an entry's text", text.len(), TEXT_BYTES_MAX)?;
        }
        Ok(Self {
            id: entry.id.as_ref().try_into().map_err(|_| FeedError::Malformed {
                what: "an entry's id",
            })?,
            spiffe_id,
            selectors: entry
                .selectors
                .iter()
                .map(|text| Selector::parse(text).map_err(FeedError::Selector))
                .collect::<Result<_, _>>()?,
            x509_ttl: ttl(entry.x509_ttl_s)?,
            jwt_ttl: ttl(entry.jwt_ttl_s)?,
            dns_names: entry.dns_names.clone(),
            hint: entry.hint.clone(),
            federates_with: entry
                .federates_with
                .iter()
                .map(|name| {
                    TrustDomain::parse(name).map_err(|source| FeedError::Id {
                        what: "a domain that an entry federates with",
                        source,
                    })
                })
                .collect::<Result<_, _>>()?,
            jwt_audiences: entry.jwt_audiences.clone(),
            expires_at: (entry.expires_at_ms != 0).then(|| UnixTime::from_millis(entry.expires_at_ms)),
            created_at: UnixTime::from_millis(entry.created_at_ms),
            seq: entry.seq,
        })
    }
}

fn ttl(secs: u64) -> Result<Duration, FeedError> {
    if secs == 0 || secs > TTL_S_MAX {
        return Err(FeedError::Malformed {
            what: "an entry's life",
        });
    }
    Ok(Duration::from_secs(secs))
}
