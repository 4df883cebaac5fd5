use super::EntryId;
use super::cache::JwtCache;
use super::frames::{Bundles, same_authorities};
use super::index::Index;
use super::slots::Slots;
use super::svid::Svid;
use super::trouble::Troubles;
use super::under_way::UnderWay;
use super::view::{Sight, SvidSight, View};
use super::wit::WitSvid;
use super::x509::X509Svid;
use crate::attest::Selectors;
use signet_feed::EntryChange;
use signet_id::{Selector, TrustDomain};
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

/// All that is known, under one lock.
#[derive(Default)]
pub(crate) struct Inner {
    pub(super) index: Option<Index>,
    pub(super) views: HashMap<Selectors, Weak<View>>,
    pub(super) x509: Slots<X509Svid>,
    pub(super) wit: Slots<WitSvid>,
    /// Per set of foreign trust domains; callers with one set share bundles and messages.
    bundles: HashMap<BTreeSet<TrustDomain>, Arc<Bundles>>,
    pub(super) jwt: JwtCache,
    pub(super) under_way: UnderWay,
    pub(super) troubles: Troubles,
    pub(super) next_number: u64,
    /// SVIDs that are being asked for.
    pub(super) asked: Asked,
    /// Entries whose slot changed since the views were last brought up to date.
    pub(super) changed: HashSet<EntryId>,
}

/// How many SVIDs are asked for at once.
#[derive(Default)]
pub(super) struct Asked {
    under_way: usize,
    /// All of this time, since none was.
    in_a_row: usize,
}

impl Asked {
    pub(super) const fn begin(&mut self) {
        self.under_way += 1;
        self.in_a_row += 1;
    }

    /// Ends one. Whether that was the last of so many that what making them took is worth giving back.
    pub(super) const fn end(&mut self) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way > 0 {
            return false;
        }
        let were_many = self.in_a_row >= MANY;
        self.in_a_row = 0;
        were_many
    }
}

impl Inner {
    pub(super) fn new(jwt: JwtCache) -> Self {
        Self {
            jwt,
            ..Self::default()
        }
    }

    /// What callers with `selectors` see. With `view`, those SVIDs too that are wanted there.
    pub(super) fn look(
        &mut self,
        selectors: &Selectors,
        view: Option<&View>,
        now: UnixTime,
    ) -> Option<Sight> {
        let index = self.index.as_ref()?;
        let entries = index.matching(selectors, now);
        let federation = index.federation(&entries);
        let trust = &index.node.trust;
        let bundles = self
            .bundles
            .entry(federation)
            .or_insert_with_key(|f| Arc::new(Bundles::new(trust, f)));
        let bundles = Arc::clone(bundles);
        let mut sight = Sight {
            entries,
            bundles,
            x509: SvidSight::Pending,
            wit: SvidSight::Pending,
        };
        if let Some(view) = view {
            let before = view.now();
            let same_bundles = Arc::ptr_eq(&before.bundles, &sight.bundles);
            let (entries, bundles) = (&sight.entries, &sight.bundles);
            if view.is_wanted::<X509Svid>() {
                sight.x509 = self.x509.look(entries, bundles, &before.x509, same_bundles, now);
            }
            if view.is_wanted::<WitSvid>() {
                sight.wit = self.wit.look(entries, bundles, &before.wit, same_bundles, now);
            }
        }
        Some(sight)
    }

    /// Brings `view` up to date and tells its streams.
    pub(super) fn refresh(&mut self, view: &View, now: UnixTime) {
        if let Some(sight) = self.look(&view.selectors, Some(view), now) {
            view.sender.send_replace(Arc::new(sight));
        }
    }

    pub(super) fn live_views(&self) -> Vec<Arc<View>> {
        self.views.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn refresh_all(&mut self, now: UnixTime) {
        self.views.retain(|_, view| view.strong_count() > 0);
        for view in self.live_views() {
            self.refresh(&view, now);
        }
        self.changed.clear();
    }

    /// Brings the views up to date that an entry is shown in that changed, or that one holds for. Others are only looked at.
    pub(super) fn refresh_concerned(&mut self, changes: &[EntryChange], now: UnixTime) {
        if changes.is_empty() {
            return self.refresh_changed(now);
        }
        for view in self.live_views() {
            let has = |selector: &Selector| view.selectors.binary_search(selector).is_ok();
            let concerns = |change: &EntryChange| {
                let both = [&change.before, &change.after];
                both.into_iter()
                    .flatten()
                    .any(|entry| entry.selectors.iter().all(has))
            };
            if changes.iter().any(concerns) {
                self.refresh(&view, now);
            }
        }
        self.refresh_changed(now);
    }

    pub(super) fn refresh_changed(&mut self, now: UnixTime) {
        if self.changed.is_empty() {
            return;
        }
        let changed = core::mem::take(&mut self.changed);
        for view in self.live_views() {
            if view.now().entries.iter().any(|entry| changed.contains(&entry.id)) {
                self.refresh(&view, now);
            }
        }
    }

    /// The entries whose SVID of this kind a stream shows.
    pub(super) fn in_use<S: Svid>(&self) -> HashSet<EntryId> {
        self.live_views()
            .iter()
            .filter(|view| view.is_wanted::<S>() && view.sender.receiver_count() > 0)
            .flat_map(|view| view.now().entries.iter().map(|e| e.id).collect::<Vec<_>>())
            .collect()
    }

    /// When the first of the entries that somebody looks at ends to hold.
    pub(super) fn first_end(&self) -> Option<UnixTime> {
        self.live_views()
            .iter()
            .filter_map(|view| view.now().entries.iter().filter_map(|e| e.expires_at).min())
            .min()
    }

    /// Makes bundles and messages anew where they differ, and keeps those that do not, so that streams are not told
    /// what they know.
    pub(super) fn renew_bundles(&mut self, trust: &TrustView) {
        for (federation, bundles) in core::mem::take(&mut self.bundles) {
            let federation: BTreeSet<_> = federation
                .into_iter()
                .filter(|d| trust.bundle(d).is_some())
                .collect();
            let renewed = Bundles::new(trust, &federation);
            let kept = if same_authorities(&renewed.trust, &bundles.trust) {
                bundles
            } else {
                Arc::new(renewed)
            };
            // Nobody uses the others any more; they come back when somebody does.
            if Arc::strong_count(&kept) > 1 || federation.is_empty() {
                self.bundles.insert(federation, kept);
            }
        }
    }
}

/// Asking for one takes some 5 KiB meanwhile.
const MANY: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_many_is_told_from_one_after_the_other() {
        let mut asked = Asked::default();
        for _ in 0..10 * MANY {
            asked.begin();
            assert!(!asked.end(), "each was alone");
        }
        for _ in 0..2 {
            (0..MANY).for_each(|_| asked.begin());
            assert!((1..MANY).all(|_| !asked.end()), "some are under way");
            assert!(asked.end());
        }
        (1..MANY).for_each(|_| asked.begin());
        assert!((1..MANY).all(|_| !asked.end()), "not that many");
    }
}
