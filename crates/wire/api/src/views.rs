//! What the server shows, beside entries.

use core::time::Duration;
use serde::{Deserialize, Serialize};
use signet_id::{SpiffeId, TrustDomain};
use signet_time::{Day, UnixTime};

/// The most items in one page of a list.
pub const LIST_LIMIT_MAX: usize = 1_000;

/// How many items a page holds when the request does not say.
pub const LIST_LIMIT_DEFAULT: usize = 100;

/// After how many whole days without use an entry counts as orphaned when the request does not say.
pub const ORPHAN_DAYS_DEFAULT: u16 = 30;

/// The most days that a request can name.
pub const ORPHAN_DAYS_MAX: u16 = 3_650;

/// One page of a list. Ask again with `?cursor=` and the value of `next_cursor` until that is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items, in a stable order.
    pub items: Vec<T>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// What a bulk creation made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntriesCreated {
    /// The entries with their ids, in the order of the request.
    pub created: Vec<crate::EntryDoc>,
}

/// Entries that nobody needs any more: one page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphansView {
    /// The entries, oldest first.
    pub items: Vec<OrphanView>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// Since when uses are known without a gap: nothing is taken for unused that was made or used after that and less
    /// than `days` ago. Null on a server that has written nothing yet.
    pub watched_since: Option<Day>,
    /// After how many whole days without use an entry counts as orphaned.
    pub days: u16,
}

/// An entry that nobody needs any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanView {
    /// The entry, with its id.
    pub entry: crate::EntryDoc,
    /// The change that touched it last.
    pub seq: u64,
    /// Why: `expired`, `node_banned`, `node_unknown`, `never_used` or `unused`.
    pub why: String,
    /// The day since when it has been so.
    pub since: Day,
    /// The day on which something was signed for it last; null if that is not known.
    pub last_used: Option<Day>,
}

/// A node that proved itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// How it proved itself, such as `join`.
    pub attestor: String,
    /// The public name of the join token it used, if it used one.
    pub join_token: Option<String>,
    /// SHA-256 of its public key (SubjectPublicKeyInfo) in hexadecimal digits.
    pub key_sha256: String,
    /// When it last proved itself.
    pub attested_at: UnixTime,
    /// The serial number of its newest certificate in hexadecimal digits.
    pub serial: Option<String>,
    /// When that certificate ends.
    pub expires_at: Option<UnixTime>,
    /// Whether it is barred from everything.
    pub banned: bool,
    /// Since when, if it is.
    pub banned_at: Option<UnixTime>,
    /// Why, if it is.
    pub ban_reason: Option<String>,
    /// How often it was given a certificate.
    pub renewals: u64,
    /// How often it renewed without going on from its renewal before: its key was copied.
    pub copies: u64,
    /// When it last did.
    pub copied_at: Option<UnixTime>,
}

/// A wish to bar a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// Why; shown to whoever asks about the node.
    pub reason: String,
}

/// A wish for a join string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// How long the token works; the server's default where null.
    #[serde(default, with = "crate::span::optional")]
    pub ttl: Option<Duration>,
    /// The ID the node gets; below `/signet/node/join/` where null.
    #[serde(default)]
    pub spiffe_id: Option<SpiffeId>,
}

/// A join string, shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenReply {
    /// The join string: `sgjoin1.…`. A secret until it is used.
    pub join: String,
    /// When its token ends.
    pub expires_at: UnixTime,
    /// The ID that the node will have.
    pub spiffe_id: SpiffeId,
}

impl core::fmt::Debug for JoinTokenReply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("JoinTokenReply")
            .field("expires_at", &self.expires_at)
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

/// The keys that a trust domain signs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaView {
    /// Whose they are.
    pub trust_domain: TrustDomain,
    /// The change at which they were last different.
    pub sequence: u64,
    /// Each key, grouped by purpose, oldest first.
    pub keys: Vec<AuthorityView>,
}

/// One key of the trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityView {
    /// Its name: the `kid` of tokens, the key identifier of certificates.
    pub kid: String,
    /// What it signs: `x509-root`, `x509-svid`, `jwt-svid` or `wit-svid`.
    pub purpose: String,
    /// Where it stands: `prepared`, `active`, `draining` or `retired`.
    pub state: String,
    /// Whether it was called off.
    pub tainted: bool,
    /// The kind of key, such as `p256`.
    pub key_kind: String,
    /// When it ends, if it does.
    pub not_after: Option<UnixTime>,
    /// SHA-256 of its certificate in hexadecimal digits, if it has one.
    pub certificate_sha256: Option<String>,
}

/// The trust bundle of the own domain in the forms that others read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleView {
    /// Whose it is.
    pub trust_domain: TrustDomain,
    /// Rises with every change.
    pub sequence: u64,
    /// The root certificates as PEM.
    pub x509_pem: String,
    /// The SPIFFE bundle document.
    pub spiffe: serde_json::Value,
    /// The keys of JWT-SVIDs alone, as a JWK Set.
    pub jwks: serde_json::Value,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The software's version.
    pub version: String,
    /// The issuer that JWT-SVIDs name.
    pub jwt_issuer: String,
    /// Where agents connect, `HOST:PORT`, best first.
    pub agents: Vec<String>,
    /// What time it is there.
    pub time: UnixTime,
}

/// Whether the server serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// `ready`, or in one word why not: `starting`, `draining`, `failing`.
    pub status: String,
    /// What is wrong, if anything is.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// The server's trust domain.
    pub trust_domain: TrustDomain,
    /// The software's version.
    pub version: String,
    /// The newest change that the server knows.
    pub seq: u64,
}
