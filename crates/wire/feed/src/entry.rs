use crate::error::bounded;
use crate::limits::{NAMES_MAX, SELECTORS_MAX, TEXT_BYTES_MAX, TTL_S_MAX};
use crate::{Expansion, FeedError};
use bytes::Bytes;
use core::time::Duration;
use signet_id::{IdPattern, IdTemplate, Selector, SpiffeId, TrustDomain};
use signet_proto::agent::v1;
use signet_time::UnixTime;
use std::sync::Arc;

/// An entry as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its name.
    pub id: [u8; 16],
    /// The identity that it gives, or a template of identities with what the server knows of the node filled in.
    pub spiffe_id: IdPattern,
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
    /// What it came of, where it came of a template; never on the wire.
    pub expansion: Option<Arc<Expansion>>,
}

impl FeedEntry {
    /// As it goes over the wire.
    #[must_use]
    pub fn to_proto(&self) -> v1::Entry {
        v1::Entry {
            id: Bytes::copy_from_slice(&self.id),
            spiffe_id: self.spiffe_id.one().map(SpiffeId::to_string).unwrap_or_default(),
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
            id_template: self
                .spiffe_id
                .template()
                .map(IdTemplate::to_string)
                .unwrap_or_default(),
        }
    }

    /// Reads one, for a node of the trust domain `own`.
    ///
    /// # Errors
    /// [`FeedError`] says which member is wrong.
    pub fn from_proto(entry: &v1::Entry, own: &TrustDomain) -> Result<Self, FeedError> {
        let spiffe_id = pattern(entry, own)?;
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
                // Most have one, and room for one then.
                .collect::<Result<Box<[_]>, _>>()?
                .into_vec(),
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
            expansion: None,
        })
    }
}

#[cfg(test)]
impl FeedEntry {
    /// One that says no more than it must, and gives `spiffe_id`.
    pub(crate) fn for_tests(id: [u8; 16], spiffe_id: &str) -> Self {
        Self {
            id,
            spiffe_id: spiffe_id.parse().expect("id"),
            selectors: Vec::new(),
            x509_ttl: Duration::from_secs(60),
            jwt_ttl: Duration::from_secs(60),
            dns_names: Vec::new(),
            hint: String::new(),
            federates_with: Vec::new(),
            jwt_audiences: Vec::new(),
            expires_at: None,
            created_at: UnixTime::EPOCH,
            seq: 1,
            expansion: None,
        }
    }
}

/// What the entry gives, one or the other.
fn pattern(entry: &v1::Entry, own: &TrustDomain) -> Result<IdPattern, FeedError> {
    let (pattern, may_be) = match (entry.spiffe_id.as_str(), entry.id_template.as_str()) {
        (text, "") => {
            let id = SpiffeId::parse(text).map_err(|source| FeedError::Id {
                what: "an entry's identity",
                source,
            })?;
            let may_be = id.has_path() && !id.is_reserved();
            (IdPattern::One(id), may_be)
        }
        ("", text) => {
            let template = IdTemplate::parse(text).map_err(FeedError::Template)?;
            let may_be = !template.is_reserved();
            (IdPattern::Template(template), may_be)
        }
        _ => {
            return Err(FeedError::Malformed {
                what: "an entry's identity beside a template",
            });
        }
    };
    if pattern.trust_domain() != own || !may_be {
        return Err(FeedError::EntryIdentity {
            id: pattern.to_string(),
            own: own.clone(),
        });
    }
    Ok(pattern)
}

fn ttl(secs: u64) -> Result<Duration, FeedError> {
    if secs == 0 || secs > TTL_S_MAX {
        return Err(FeedError::Malformed {
            what: "an entry's life",
        });
    }
    Ok(Duration::from_secs(secs))
}
