use super::index::Index;
use super::slot::Slot;
use super::svid::{Held, Svid};
use super::view::{Shown, SvidSight};
use super::{EntryId, frames};
use crate::identity::frames::Bundles;
use signet_feed::FeedEntry;
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The SVIDs of one kind, by the entries that entitle to them.
pub(crate) struct Slots<S>(HashMap<EntryId, Slot<S>>);

impl<S> Default for Slots<S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// What a look at all slots found.
pub(super) struct Due {
    /// These are to be asked for; they are marked as under way.
    pub(super) begin: Vec<Arc<FeedEntry>>,
    /// The SVIDs of these have expired.
    pub(super) ended: Vec<EntryId>,
    /// When to look again.
    pub(super) next: UnixTime,
}

impl<S: Svid> Slots<S> {
    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Slot<S>> {
        self.0.get_mut(&id)
    }

    /// Notes that somebody looks at the SVIDs of `entries`.
    pub(super) fn used(&mut self, entries: &[Arc<FeedEntry>], now: UnixTime) {
        for entry in entries {
            if let Some(slot) = self.0.get_mut(&entry.id) {
                slot.used_at = now;
            }
        }
    }

    /// Takes up the entries' new forms and forgets the SVIDs of those that are gone. With `trust`, which is new, has
    /// those replaced that do not stand any more: what a tainted or withdrawn authority signed is replaced at once.
    pub(super) fn follow(
        &mut self,
        entries: &HashMap<EntryId, &Arc<FeedEntry>>,
        trust: Option<&TrustView>,
        now: UnixTime,
    ) {
        self.0.retain(|id, slot| {
            let Some(entry) = entries.get(id) else {
                return false;
            };
            slot.follow(entry, now);
            if let Some(trust) = trust {
                slot.recheck(trust, now);
            }
            true
        });
    }

    /// Drops what has expired and is of no use, and finds what is to be asked for.
    pub(super) fn due(&mut self, index: Option<&Index>, in_use: &HashSet<EntryId>, now: UnixTime) -> Due {
        let mut due = Due {
            begin: Vec::new(),
            ended: Vec::new(),
            next: now + super::IDLE_MAX,
        };
        self.0.retain(|id, slot| {
            let entry = index.and_then(|index| index.entry(*id));
            if slot.expire(now) {
                due.ended.push(*id);
            }
            let used = in_use.contains(id);
            if used {
                slot.used_at = now;
            }
            match entry {
                Some(entry) if slot.is_due(now) && (used || slot.is_worth_renewing(now)) => {
                    slot.under_way = true;
                    due.begin.push(Arc::clone(entry));
                }
                Some(_) => due.next = due.next.min(slot.next(now, used)),
                None => return false,
            }
            used || slot.under_way || slot.current.is_some()
        });
        due
    }

    /// What callers see to whom `entries` hold and who saw `before`; `same_bundles` since then.
    pub(super) fn look(
        &mut self,
        entries: &[Arc<FeedEntry>],
        bundles: &Bundles,
        before: &SvidSight<S>,
        same_bundles: bool,
        now: UnixTime,
    ) -> SvidSight<S> {
        let before = match before {
            SvidSight::Ready(shown) => Some(shown),
            SvidSight::Pending | SvidSight::Unavailable => None,
        };
        let mut hints = HashSet::new();
        let (mut svids, mut awaited) = (Vec::with_capacity(entries.len()), HashSet::new());
        for entry in entries {
            let slot = self.0.entry(entry.id).or_insert_with(|| Slot::new(entry, now));
            slot.used_at = now;
            match &slot.current {
                Some(svid) if now < svid.not_after() => svids.push(Held {
                    entry: Arc::clone(entry),
                    svid: Arc::clone(svid),
                    hint: frames::unique_hint(&mut hints, entry),
                }),
                _ if slot.failures == 0 => drop(awaited.insert(entry.id)),
                _ => {}
            }
        }
        // The first message waits until all SVIDs are there or were refused; later ones do not, because what was
        // taken away must be gone at once.
        if svids.is_empty() || (!awaited.is_empty() && before.is_none()) {
            return if awaited.is_empty() && !entries.is_empty() {
                SvidSight::Unavailable
            } else {
                SvidSight::Pending
            };
        }
        let message = match before {
            Some(before) if same_bundles && before.has_same(&svids) => before.message.clone(),
            _ => S::message(&svids, bundles),
        };
        SvidSight::Ready(Arc::new(Shown {
            message,
            svids,
            awaited,
        }))
    }
}
