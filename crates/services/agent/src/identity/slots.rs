use super::index::Index;
use super::slot::Slot;
use super::svid::{Held, Svid};
use super::view::{Shown, SvidSight};
use super::{EntryId, frames};
use crate::identity::frames::Bundles;
use signet_feed::{EntryChange, FeedEntry};
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// The SVIDs of one kind, by the entries that entitle to them.
pub(crate) struct Slots<S> {
    by_entry: HashMap<EntryId, Slot<S>>,
    /// What came last: the next one has most often something in common with it.
    last: Weak<S>,
}

impl<S> Default for Slots<S> {
    fn default() -> Self {
        Self {
            by_entry: HashMap::new(),
            last: Weak::new(),
        }
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
        self.by_entry.get_mut(&id)
    }

    /// Takes up what was issued for the entry `id`.
    pub(super) fn put(&mut self, id: EntryId, mut svid: S, now: UnixTime) {
        if let Some(last) = self.last.upgrade() {
            svid.share(&last);
        }
        if let Some(slot) = self.by_entry.get_mut(&id) {
            let svid = Arc::new(svid);
            self.last = Arc::downgrade(&svid);
            slot.put(svid, now);
        }
    }

    /// Notes that somebody looks at the SVIDs of `entries`.
    pub(super) fn used(&mut self, entries: &[Arc<FeedEntry>], now: UnixTime) {
        for entry in entries {
            if let Some(slot) = self.by_entry.get_mut(&entry.id) {
                slot.used_at = now;
            }
        }
    }

    /// Takes up the new forms of entries and forgets the SVIDs of those that are gone.
    pub(super) fn follow(&mut self, changes: &[EntryChange], now: UnixTime) {
        for change in changes {
            if let Some(before) = change.before.as_ref().filter(|before| before.is_template()) {
                let newer = change.after.as_deref();
                self.by_entry
                    .retain(|_, slot| slot.follow_template(before.id, newer, now));
            }
            match (&change.before, &change.after) {
                (Some(before), None) => drop(self.by_entry.remove(&before.id)),
                // It has no SVID of its own any more.
                (Some(before), Some(after)) if after.is_template() => drop(self.by_entry.remove(&before.id)),
                (_, Some(entry)) => {
                    if let Some(slot) = self.by_entry.get_mut(&entry.id) {
                        slot.follow(entry, now);
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// News from the server: it is there, and what it refused may have been mended.
    pub(super) fn hope(&mut self, now: UnixTime) {
        self.by_entry.values_mut().for_each(|slot| slot.hope(now));
    }

    /// Has those replaced that do not stand before `trust`: what a tainted or withdrawn authority signed is replaced at
    /// once.
    pub(super) fn recheck(&mut self, trust: &TrustView, now: UnixTime) {
        self.by_entry
            .values_mut()
            .for_each(|slot| slot.recheck(trust, now));
    }

    /// Drops what has expired and is of no use, and finds what is to be asked for. The next look is no later than `latest`.
    pub(super) fn due(
        &mut self,
        index: Option<&Index>,
        in_use: &HashSet<EntryId>,
        now: UnixTime,
        latest: UnixTime,
    ) -> Due {
        let mut due = Due {
            begin: Vec::new(),
            ended: Vec::new(),
            next: latest,
        };
        self.by_entry.retain(|id, slot| {
            let entry = index.and_then(|index| slot.entry(index));
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
                    due.begin.push(entry);
                }
                Some(_) => due.next = slot.next(now, used).map_or(due.next, |at| due.next.min(at)),
                None => return false,
            }
            used || slot.under_way || slot.current.is_some()
        });
        self.forget_unused_of_templates(in_use);
        due
    }

    /// Keeps only so many SVIDs of templates that no stream shows: processes can have ever new facts, such as units of their
    /// own naming. Those that were used longest ago go.
    fn forget_unused_of_templates(&mut self, in_use: &HashSet<EntryId>) {
        let is_unused =
            |id: &EntryId, slot: &Slot<S>| slot.is_of_template() && !slot.under_way && !in_use.contains(id);
        let unused = self.by_entry.iter().filter(|(id, slot)| is_unused(id, slot));
        let mut unused: Vec<_> = unused.map(|(id, slot)| (slot.used_at, *id)).collect();
        let Some(excess) = unused.len().checked_sub(UNUSED_OF_TEMPLATES_MAX) else {
            return;
        };
        unused.sort_unstable();
        for (_, id) in unused.into_iter().take(excess) {
            self.by_entry.remove(&id);
        }
    }

    /// What callers see to whom `entries` hold and who saw `before`; `same_bundles` since then.
    pub(super) fn look(
        &mut self,
        entries: &[Arc<FeedEntry>],
        bundles: &Arc<Bundles>,
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
            let slot = self
                .by_entry
                .entry(entry.id)
                .or_insert_with(|| Slot::new(entry, now));
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
        let svids: Arc<[_]> = svids.into();
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

/// Some 5 KiB each.
const UNUSED_OF_TEMPLATES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::super::inner::Inner;
    use super::super::message::Message;
    use super::super::svid::{Wanted, entry_for_tests};
    use super::super::view::{Sight, View};
    use super::*;
    use crate::AgentError;
    use crate::metrics::IssueKind;
    use crate::settings::SvidKey;
    use bytes::Bytes;
    use core::sync::atomic::AtomicBool;
    use core::time::Duration;
    use signet_crypto::KeyKind;
    use signet_feed::{EntrySet, FeedCursor, NodeState};
    use signet_id::{Selector, TrustDomain};
    use signet_proto::agent::v1::issue_answer::Outcome as Issued;
    use signet_proto::agent::v1::issue_item::Wish;

    /// An SVID of nobody.
    struct Fake;

    impl Svid for Fake {
        const KIND: IssueKind = IssueKind::X509;
        const NAME: &'static str = "fake";

        fn not_after(&self) -> UnixTime {
            NOW + Duration::from_secs(36_000)
        }

        fn number(&self) -> u64 {
            1
        }

        fn stands(&self, _: &TrustView, _: UnixTime) -> bool {
            true
        }

        fn key_kind(_: SvidKey) -> KeyKind {
            KeyKind::P256
        }

        fn dns_names(entry: &FeedEntry) -> &[String] {
            &entry.dns_names
        }

        fn wish(_: Vec<u8>) -> Wish {
            unreachable!("nothing is asked for")
        }

        fn fulfil(_: Wanted, _: Issued, _: &TrustView, _: UnixTime, _: u64) -> Result<Self, AgentError> {
            unreachable!("nothing is asked for")
        }

        fn message(_: &Arc<[Held<Self>]>, _: &Arc<Bundles>) -> Message {
            Message::Whole(Bytes::new())
        }

        fn slots(_: &mut Inner) -> &mut Slots<Self> {
            unreachable!("there is no store of these")
        }

        fn sight(_: &Sight) -> &SvidSight<Self> {
            unreachable!("there is no view of these")
        }

        fn wanted_by(_: &View) -> &AtomicBool {
            unreachable!("there is no view of these")
        }
    }

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn entry(number: u8, spiffe_id: &str) -> Arc<FeedEntry> {
        Arc::new(FeedEntry {
            x509_ttl: Duration::from_secs(36_000),
            ..entry_for_tests(number, spiffe_id)
        })
    }

    /// What the template gives to the process of user number `n`.
    fn of_user(template: &Arc<FeedEntry>, n: usize) -> Arc<FeedEntry> {
        let facts = [Selector::parse(&format!("unix:uid:{n}")).unwrap()];
        template.for_process(&facts).unwrap()
    }

    /// Notes an SVID for `entry` that somebody looked at `at`.
    fn hold(slots: &mut Slots<Fake>, entry: &Arc<FeedEntry>, at: UnixTime) {
        let mut slot = Slot::new(entry, at);
        slot.put(Arc::new(Fake), at);
        slot.used_at = at;
        slots.by_entry.insert(entry.id, slot);
    }

    #[test]
    fn of_the_svids_of_templates_that_nobody_shows_so_many_stay_that_were_used_last() {
        const MORE: usize = 40;
        let template = entry(7, "spiffe://a.test/user/{unix.uid}");
        let plain = entry(8, "spiffe://a.test/plain");
        let mut known = EntrySet::default();
        known.put(Arc::clone(&template));
        known.put(Arc::clone(&plain));
        let index = Index::new(Arc::new(NodeState {
            cursor: FeedCursor {
                epoch: [0; 16],
                seq: 3,
                chain: [0; 32],
            },
            trust: TrustView::new(TrustDomain::parse("a.test").unwrap()),
            entries: known,
            jwt_issuer: String::new(),
        }));
        let mut slots = Slots::default();
        let at = |n: usize| NOW + Duration::from_secs(u64::try_from(n).unwrap());
        // The older, the earlier they were looked at; the plain one before them all.
        hold(&mut slots, &plain, UnixTime::from_secs(1_700_000_000));
        let count = UNUSED_OF_TEMPLATES_MAX + MORE;
        let users: Vec<_> = (0..count).map(|n| of_user(&template, n)).collect();
        for (n, user) in users.iter().enumerate() {
            hold(&mut slots, user, at(n));
        }
        // One of the oldest is on a stream, and for another one a successor is under way.
        let (shown, awaited) = (users[3].id, users[5].id);
        slots.get_mut(awaited).unwrap().under_way = true;
        let later = at(4 * count);
        let due = slots.due(Some(&index), &HashSet::from([shown]), at(count), later);
        assert!(due.begin.is_empty() && due.ended.is_empty());
        let gone: Vec<usize> = (0..count)
            .filter(|n| !slots.by_entry.contains_key(&users[*n].id))
            .collect();
        let expected: Vec<usize> = (0..MORE).filter(|n| ![3, 5].contains(n)).collect();
        assert_eq!(gone, expected);
        assert_eq!(
            slots.by_entry.len(),
            UNUSED_OF_TEMPLATES_MAX + 3,
            "and the two, and the plain one"
        );
        // A look at one makes it the last to go.
        slots.get_mut(users[MORE].id).unwrap().used_at = at(2 * count);
        hold(&mut slots, &of_user(&template, count), at(count));
        slots.due(Some(&index), &HashSet::from([shown]), at(count), later);
        assert!(slots.by_entry.contains_key(&users[MORE].id));
        assert!(!slots.by_entry.contains_key(&users[MORE + 1].id));
    }
}
