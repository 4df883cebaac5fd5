use super::EntryId;
use super::frames::{self, Bundles, same_authorities};
use super::index::Index;
use super::jwt::JwtCache;
use super::slot::Slot;
use super::view::{Sight, View, X509Sight};
use crate::attest::Selectors;
use signet_id::TrustDomain;
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

/// All that is known, under one lock.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) index: Option<Index>,
    pub(super) views: HashMap<Selectors, Weak<View>>,
    pub(super) slots: HashMap<EntryId, Slot>,
    /// Per set of foreign trust domains; callers with one set share bundles and messages.
    bundles: HashMap<BTreeSet<TrustDomain>, Arc<Bundles>>,
    pub(super) jwt: JwtCache,
    pub(super) next_number: u64,
    /// Entries whose slot changed since the views were last brought up to date.
    pub(super) changed: HashSet<EntryId>,
}

impl Inner {
    /// What callers with `selectors` see. With `view`, X.509-SVIDs too, if they are wanted there.
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
            x509: X509Sight::Pending,
            shown: Vec::new(),
        };
        if let Some(view) = view.filter(|view| view.is_x509_wanted()) {
            self.look_x509(&mut sight, &view.now(), now);
        }
        Some(sight)
    }

    fn look_x509(&mut self, sight: &mut Sight, before: &Sight, now: UnixTime) {
        let mut svids = Vec::with_capacity(sight.entries.len());
        let mut awaited = false;
        for entry in &sight.entries {
            let slot = self
                .slots
                .entry(entry.id)
                .or_insert_with(|| Slot::new(entry, now));
            slot.used_at = now;
            match &slot.current {
                Some(svid) if svid.is_valid(now) => svids.push((Arc::clone(entry), Arc::clone(svid))),
                _ => awaited |= slot.failures == 0,
            }
        }
        let was_shown = matches!(before.x509, X509Sight::Ready(_));
        // The first message waits until all SVIDs are there or were refused; later ones do not, because what was
        // taken away must be gone at once.
        if svids.is_empty() || (awaited && !was_shown) {
            if !awaited && !sight.entries.is_empty() {
                sight.x509 = X509Sight::Unavailable;
            }
            return;
        }
        sight.shown = svids
            .iter()
            .map(|(entry, svid)| (entry.id, svid.number, entry.hint.clone()))
            .collect();
        let unchanged = before.shown == sight.shown && Arc::ptr_eq(&before.bundles, &sight.bundles);
        sight.x509 = match &before.x509 {
            X509Sight::Ready(frame) if unchanged => X509Sight::Ready(frame.clone()),
            _ => X509Sight::Ready(frames::x509_svids(&svids, &sight.bundles)),
        };
    }

    /// Brings `view` up to date and tells its streams.
    pub(super) fn refresh(&mut self, view: &View, now: UnixTime) {
        if let Some(sight) = self.look(&view.selectors, Some(view), now) {
            view.sender.send_replace(Arc::new(sight));
        }
    }

    fn live_views(&self) -> Vec<Arc<View>> {
        self.views.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn refresh_all(&mut self, now: UnixTime) {
        self.views.retain(|_, view| view.strong_count() > 0);
        for view in self.live_views() {
            self.refresh(&view, now);
        }
        self.changed.clear();
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

    /// The entries whose X.509-SVID a stream shows.
    pub(super) fn in_use(&self) -> HashSet<EntryId> {
        self.live_views()
            .iter()
            .filter(|view| view.is_x509_wanted() && view.sender.receiver_count() > 0)
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
