//! What X.509-SVIDs and WIT-SVIDs have in common: a key that is made here, a credential that is asked for with it, and
//! a place among what callers see.

use super::frames::Bundles;
use super::inner::Inner;
use super::message::Message;
use super::slots::Slots;
use super::view::{Sight, SvidSight, View};
use crate::AgentError;
use crate::metrics::IssueKind;
use crate::settings::SvidKey;
use core::fmt::Display;
use core::sync::atomic::AtomicBool;
use signet_crypto::{CryptoError, KeyKind, LocalKey};
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_proto::agent::v1::issue_item::Wish;
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::sync::Arc;
use std::time::Duration;

/// A kind of credential with a key of its own, one for each entry.
pub(crate) trait Svid: Sized + Send + Sync + 'static {
    /// As it is counted.
    const KIND: IssueKind;
    /// The name that people read.
    const NAME: &'static str;

    /// When it ends.
    fn not_after(&self) -> UnixTime;

    /// What tells it from every other one in this process.
    fn number(&self) -> u64;

    /// Whether a verifier with `trust` would take it.
    fn stands(&self, trust: &TrustView, now: UnixTime) -> bool;

    /// The kind of its key, where X.509-SVIDs have what `setting` says.
    fn key_kind(setting: SvidKey) -> KeyKind;

    /// The names of `entry` that it carries beside the identity.
    fn dns_names(entry: &FeedEntry) -> &[String];

    /// Asks the server for it with a request that proves the key.
    fn wish(csr: Vec<u8>) -> Wish;

    /// Takes what was issued, if it is what a verifier of the own trust domain would take for this identity and fits
    /// the key.
    fn fulfil(
        wanted: Wanted,
        issued: Issued,
        trust: &TrustView,
        now: UnixTime,
        number: u64,
    ) -> Result<Self, AgentError>;

    /// Holds what it has in common with `other` but once.
    fn share(&mut self, _other: &Self) {}

    /// The Workload API's message of these, in this order.
    fn message(svids: &Arc<[Held<Self>]>, bundles: &Arc<Bundles>) -> Message;

    /// Where those of this kind are kept.
    fn slots(inner: &mut Inner) -> &mut Slots<Self>;

    /// What callers see of those of this kind.
    fn sight(sight: &Sight) -> &SvidSight<Self>;

    /// Whether anybody with `view` asked for those of this kind.
    fn wanted_by(view: &View) -> &AtomicBool;
}

/// The SVID of one entry, as it is shown.
pub(crate) struct Held<S> {
    pub(super) entry: Arc<FeedEntry>,
    pub(super) svid: Arc<S>,
    /// The entry's hint, unless an older one had it.
    pub(super) hint: String,
}

impl<S> Clone for Held<S> {
    fn clone(&self) -> Self {
        Self {
            entry: Arc::clone(&self.entry),
            svid: Arc::clone(&self.svid),
            hint: self.hint.clone(),
        }
    }
}

/// An entry that says no more than it must, and gives `spiffe_id`.
#[cfg(test)]
pub(super) fn entry_for_tests(number: u8, spiffe_id: &str) -> FeedEntry {
    FeedEntry {
        id: [number; 16],
        spiffe_id: spiffe_id.parse().expect("id"),
        selectors: Vec::new(),
        dns_names: Vec::new(),
        x509_ttl: Duration::from_secs(60),
        jwt_ttl: Duration::from_secs(60),
        jwt_audiences: Vec::new(),
        hint: String::new(),
        federates_with: Vec::new(),
        expires_at: None,
        created_at: UnixTime::EPOCH,
        seq: 1,
        expansion: None,
    }
}

#[cfg(test)]
impl<S> Held<S> {
    pub(super) fn for_tests(svid: S, hint: &str) -> Self {
        Self {
            entry: Arc::new(entry_for_tests(1, "spiffe://a.test/service")),
            svid: Arc::new(svid),
            hint: hint.to_owned(),
        }
    }
}

impl<S: Svid> Held<S> {
    /// Whether both are the same SVIDs under the same hints.
    pub(super) fn are_same(some: &[Self], others: &[Self]) -> bool {
        let names = |held: &Self| (held.entry.id, held.svid.number());
        some.len() == others.len()
            && some
                .iter()
                .zip(others)
                .all(|(a, b)| names(a) == names(b) && a.hint == b.hint)
    }
}

/// A key made for a wish that is under way.
pub(crate) struct Wanted {
    pub(super) key: LocalKey,
    pub(super) id: SpiffeId,
}

impl Wanted {
    /// Makes a key and the wish for its credential.
    pub(super) async fn new<S: Svid>(
        entry: &FeedEntry,
        setting: SvidKey,
    ) -> Result<(Self, Wish), AgentError> {
        // Nobody is shown a template.
        let id = entry.spiffe_id.one().ok_or(AgentError::NoIdentity)?.clone();
        let key = generate(S::key_kind(setting)).await?;
        let csr =
            signet_x509::make_csr(&key, Some(&id), S::dns_names(entry)).map_err(AgentError::Certificate)?;
        Ok((Self { key, id }, S::wish(csr)))
    }
}

/// Refuses what was issued to another identity.
pub(super) fn check_id(issued: &SpiffeId, wanted: &SpiffeId) -> Result<(), AgentError> {
    if issued == wanted {
        Ok(())
    } else {
        Err(wrong(&format!("`{issued}` instead of `{wanted}`")))
    }
}

/// What was issued is not what was asked for.
pub(super) fn wrong(what: &dyn Display) -> AgentError {
    AgentError::Issued(what.to_string())
}

/// A new key. RSA takes tens of milliseconds and more, so it goes to a thread that may block; the others take less than
/// the way there.
async fn generate(kind: KeyKind) -> Result<LocalKey, AgentError> {
    let make = move || LocalKey::generate(kind);
    let made = match kind {
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => tokio::task::spawn_blocking(make)
            .await
            // The thread is lost where the runtime is shutting down.
            .unwrap_or(Err(CryptoError::Generate { kind })),
        _ => make(),
    };
    made.map_err(AgentError::Key)
}

/// Half of the time from `now` to `end`, a tenth earlier or later, so that not all come back at once.
pub(super) fn half_life(now: UnixTime, end: UnixTime) -> UnixTime {
    now + scatter(end.since(now) / 2)
}

/// `span`, up to a tenth shorter or longer.
pub(crate) fn scatter(span: Duration) -> Duration {
    // Without randomness all come back at once, which is a pity and no more.
    let random = signet_crypto::random::<4>().map_or(u32::MAX / 2, u32::from_le_bytes);
    span.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_falls_near_half_life_for_short_lives_too() {
        for life_s in [2, 20, 3600, 21_600] {
            let now = UnixTime::from_secs(1_800_000_000);
            let end = now + Duration::from_secs(life_s);
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..200 {
                let at =
                    half_life(now, end).since(now).as_secs_f64() / Duration::from_secs(life_s).as_secs_f64();
                assert!((0.449..=0.551).contains(&at), "{at}");
                seen.insert(half_life(now, end));
            }
            assert!(seen.len() > 50, "they scatter");
        }
    }
}
