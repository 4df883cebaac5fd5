use super::svid::{Svid, half_life};
use signet_feed::FeedEntry;
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::sync::Arc;
use std::time::Duration;

/// The SVID of one kind of one entry: what is there, what is wanted, what is under way.
pub(super) struct Slot<S> {
    pub(super) current: Option<Arc<S>>,
    /// From then on a successor of the current one is wanted.
    renew_at: UnixTime,
    pub(super) under_way: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Nothing is asked for before.
    pub(super) retry_at: UnixTime,
    /// When somebody last looked at it.
    pub(super) used_at: UnixTime,
    wanted: Arc<FeedEntry>,
}

impl<S: Svid> Slot<S> {
    pub(super) fn new(entry: &Arc<FeedEntry>, now: UnixTime) -> Self {
        Self {
            current: None,
            renew_at: UnixTime::EPOCH,
            under_way: false,
            failures: 0,
            retry_at: now,
            used_at: now,
            wanted: Arc::clone(entry),
        }
    }

    /// Whether what was asked for as `entry` is what is wanted now.
    pub(super) fn wants(&self, entry: &FeedEntry) -> bool {
        let wanted = &self.wanted;
        wanted.spiffe_id == entry.spiffe_id
            && S::dns_names(wanted) == S::dns_names(entry)
            && wanted.x509_ttl == entry.x509_ttl
    }

    /// Takes up the entry's new form. What was issued for another identity is dropped at once; for other names or
    /// another life it serves until its successor is there.
    pub(super) fn follow(&mut self, entry: &Arc<FeedEntry>, now: UnixTime) {
        if !self.wants(entry) {
            let same_id = self.wanted.spiffe_id == entry.spiffe_id;
            self.wanted = Arc::clone(entry);
            if same_id {
                self.renew_now(now);
            } else {
                self.current = None;
            }
        }
        // News from the server: it is there, and what it refused may have been mended.
        if self.failures > 0 {
            self.retry_at = now;
        }
    }

    /// Takes up what was issued; a successor is wanted around half its life.
    pub(super) fn put(&mut self, svid: S, now: UnixTime) {
        self.renew_at = half_life(now, svid.not_after());
        self.current = Some(Arc::new(svid));
        self.failures = 0;
    }

    /// Has the SVID replaced if a verifier with `trust` would not take it.
    pub(super) fn recheck(&mut self, trust: &TrustView, now: UnixTime) {
        if self.current.as_ref().is_some_and(|svid| !svid.stands(trust, now)) {
            self.renew_now(now);
        }
    }

    /// Drops an SVID that has expired. Whether that is news.
    pub(super) fn expire(&mut self, now: UnixTime) -> bool {
        let expired = self.current.as_ref().is_some_and(|svid| now >= svid.not_after());
        if expired {
            self.current = None;
            // Whoever looks now is told that there is none, and need not wait for one.
            self.failures = self.failures.max(1);
        }
        expired
    }

    pub(super) fn is_due(&self, now: UnixTime) -> bool {
        !self.under_way && self.due_at() <= now
    }

    /// Whether somebody looked at it so lately that a successor will find use.
    pub(super) fn is_worth_renewing(&self, now: UnixTime) -> bool {
        now.since(self.used_at) < self.wanted.x509_ttl.max(KEPT_MIN)
    }

    /// When to look again.
    pub(super) fn next(&self, now: UnixTime, used: bool) -> UnixTime {
        let end = self.current.as_ref().map(|svid| svid.not_after());
        let due = (!self.under_way && (used || self.is_worth_renewing(now))).then(|| self.due_at());
        end.into_iter().chain(due).min().unwrap_or(now + super::IDLE_MAX)
    }

    fn due_at(&self) -> UnixTime {
        let renew_at = self.current.as_ref().map_or(UnixTime::EPOCH, |_| self.renew_at);
        renew_at.max(self.retry_at)
    }

    fn renew_now(&mut self, now: UnixTime) {
        self.renew_at = self.renew_at.min(now);
    }
}

/// An SVID with a very short life is kept alive this long after its last use.
const KEPT_MIN: Duration = Duration::from_secs(60);
