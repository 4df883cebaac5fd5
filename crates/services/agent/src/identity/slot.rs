use super::EntryId;
use super::index::Index;
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
    retry_at: UnixTime,
    /// When `renew_at` and `retry_at` were set.
    set_at: UnixTime,
    /// When somebody last asked for it: that it is shown where nobody looks is no use.
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
            set_at: now,
            used_at: UnixTime::EPOCH,
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
        let wants = self.wants(entry);
        let same_id = self.wanted.spiffe_id == entry.spiffe_id;
        self.wanted = Arc::clone(entry);
        if !wants {
            if same_id {
                self.renew_now(now);
            } else {
                self.current = None;
            }
        }
    }

    /// Takes up the new form of the entry `template`, if what is wanted came of it; whether there is still something to be
    /// had.
    pub(super) fn follow_template(
        &mut self,
        template: EntryId,
        newer: Option<&FeedEntry>,
        now: UnixTime,
    ) -> bool {
        if self.wanted.expansion.is_none() || self.wanted.source() != template {
            return true;
        }
        let Some(renewed) = newer.and_then(|newer| self.wanted.renewed(newer)) else {
            return false;
        };
        self.follow(&Arc::new(renewed), now);
        true
    }

    /// Whether it is of what came of a template.
    pub(super) fn is_of_template(&self) -> bool {
        self.wanted.expansion.is_some()
    }

    /// What is to be asked for, in the form that it has now; `None` if that is gone.
    pub(super) fn entry(&self, index: &Index) -> Option<Arc<FeedEntry>> {
        index.current(&self.wanted)
    }

    /// Lets what failed be tried again at once.
    pub(super) fn hope(&mut self, now: UnixTime) {
        if self.failures > 0 {
            self.retry_at = now;
        }
    }

    /// Takes up what was issued; a successor is wanted around half its life.
    pub(super) fn put(&mut self, svid: Arc<S>, now: UnixTime) {
        self.renew_at = half_life(now, svid.not_after());
        // What earlier failures put off is done; by a clock that was set back since, it would be put off for long.
        self.retry_at = now;
        self.set_at = now;
        self.current = Some(svid);
        self.failures = 0;
    }

    /// Waits for `pause` before the next attempt.
    pub(super) fn failed(&mut self, pause: Duration, now: UnixTime) {
        self.retry_at = now + pause;
        self.set_at = now;
        self.failures = self.failures.saturating_add(1);
    }

    /// Lets what came too late be asked for anew at once.
    pub(super) fn ask_again(&mut self, now: UnixTime) {
        self.retry_at = now;
    }

    /// When the next attempt is due, for people.
    pub(super) fn retry_at(&self) -> UnixTime {
        self.retry_at
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
            // Whoever looks now is told that there is none, and need not wait for one; unless none was asked for yet,
            // because the clock was set or nobody wanted it.
            if self.under_way {
                self.failures = self.failures.max(1);
            }
        }
        expired
    }

    pub(super) fn is_due(&self, now: UnixTime) -> bool {
        !self.under_way && self.due_at(now) <= now
    }

    /// Whether somebody looked at it so lately that a successor will find use.
    pub(super) fn is_worth_renewing(&self, now: UnixTime) -> bool {
        now.since(self.used_at) < self.wanted.x509_ttl.max(KEPT_MIN)
    }

    /// When to look again; `None` if nothing will be due.
    pub(super) fn next(&self, now: UnixTime, used: bool) -> Option<UnixTime> {
        let end = self.current.as_ref().map(|svid| svid.not_after());
        let due = (!self.under_way && (used || self.is_worth_renewing(now))).then(|| self.due_at(now));
        end.into_iter().chain(due).min()
    }

    fn due_at(&self, now: UnixTime) -> UnixTime {
        // The clock was set back: what was issued meanwhile may be valid only later, and a pause says nothing any more.
        if now + SET_BACK < self.set_at {
            return now;
        }
        let renew_at = self.current.as_ref().map_or(UnixTime::EPOCH, |_| self.renew_at);
        renew_at.max(self.retry_at)
    }

    fn renew_now(&mut self, now: UnixTime) {
        self.renew_at = self.renew_at.min(now);
    }
}

/// A clock that is set back further than this has passed the begin of what was just issued, which lies 30 s back.
pub(super) const SET_BACK: Duration = Duration::from_secs(30);

/// An SVID with a very short life is kept alive this long after its last use.
const KEPT_MIN: Duration = Duration::from_secs(60);
