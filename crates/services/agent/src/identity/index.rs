use super::EntryId;
use signet_feed::{EntryChange, EntrySet, FeedEntry, NodeState};
use signet_id::{Selector, TrustDomain};
use signet_time::UnixTime;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A node's state with a way to find the entries of a caller.
pub(super) struct Index {
    pub(super) node: Arc<NodeState>,
    /// How many entries have a selector.
    counts: HashMap<Selector, usize>,
    /// Each entry stands under one of its selectors: of those that the fewest entries had when it came.
    by_selector: HashMap<Selector, EntrySet>,
    /// Under which.
    places: HashMap<EntryId, Selector>,
}

impl Index {
    pub(super) fn new(node: Arc<NodeState>) -> Self {
        let mut index = Self {
            node: Arc::new(NodeState {
                entries: EntrySet::default(),
                ..NodeState::clone(&node)
            }),
            counts: HashMap::new(),
            by_selector: HashMap::new(),
            places: HashMap::new(),
        };
        let changes = node.entries.changes_since(&index.node.entries);
        index.follow(node, &changes);
        index
    }

    /// Goes on to `node`, which differs from the state before by `changes`, in a time that depends on those.
    pub(super) fn follow(&mut self, node: Arc<NodeState>, changes: &[EntryChange]) {
        self.node = node;
        for change in changes {
            if let Some(entry) = &change.before {
                self.leave(entry);
            }
            if let Some(entry) = &change.after {
                for selector in &entry.selectors {
                    *self.counts.entry(selector.clone()).or_default() += 1;
                }
            }
        }
        // Once all are counted.
        for entry in changes.iter().filter_map(|change| change.after.as_ref()) {
            self.place(entry);
        }
    }

    fn place(&mut self, entry: &Arc<FeedEntry>) {
        // An entry without selectors would hold for every caller: it is left out, as if it did not exist.
        let count = |selector: &&Selector| self.counts.get(*selector).copied().unwrap_or(0);
        if let Some(selector) = entry.selectors.iter().min_by_key(count).cloned() {
            let entries = self.by_selector.entry(selector.clone()).or_default();
            entries.put(Arc::clone(entry));
            self.places.insert(entry.id, selector);
        }
    }

    fn leave(&mut self, entry: &FeedEntry) {
        for selector in &entry.selectors {
            if let Some(count) = self.counts.get_mut(selector) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(selector);
                }
            }
        }
        let Some(place) = self.places.remove(&entry.id) else {
            return;
        };
        if let Some(entries) = self.by_selector.get_mut(&place) {
            entries.remove(&entry.id);
            if entries.is_empty() {
                self.by_selector.remove(&place);
            }
        }
    }

    pub(super) fn entry(&self, id: EntryId) -> Option<&Arc<FeedEntry>> {
        self.node.entries.get(&id)
    }

    /// The form that `entry` has now; what came of a template stays as it is while the template is there.
    pub(super) fn current(&self, entry: &Arc<FeedEntry>) -> Option<Arc<FeedEntry>> {
        let source = self.entry(entry.source())?;
        Some(Arc::clone(if entry.expansion.is_some() { entry } else { source }))
    }

    /// Whether the entry of this name, which is the server's, is there.
    pub(super) fn has(&self, id: EntryId) -> bool {
        self.entry(id).is_some()
    }

    /// The entries whose selectors `caller` has all, oldest first; in the place of templates what they give to it, if they
    /// give it anything. `caller` is sorted.
    pub(super) fn matching(&self, caller: &[Selector], now: UnixTime) -> Vec<Arc<FeedEntry>> {
        let has = |selector: &Selector| caller.binary_search(selector).is_ok();
        let mut found: Vec<_> = caller
            .iter()
            .filter_map(|selector| self.by_selector.get(selector))
            .flatten()
            .filter(|entry| holds(entry, now) && entry.selectors.iter().all(has))
            .filter_map(|entry| entry.for_process(caller).ok())
            .collect();
        found.sort_unstable_by_key(|entry| (entry.created_at, entry.id));
        found
    }

    /// The foreign trust domains that `entries` federate with and whose bundle is here.
    pub(super) fn federation(&self, entries: &[Arc<FeedEntry>]) -> BTreeSet<TrustDomain> {
        let trust = &self.node.trust;
        entries
            .iter()
            .flat_map(|entry| &entry.federates_with)
            .filter(|domain| *domain != trust.own() && trust.bundle(domain).is_some())
            .cloned()
            .collect()
    }
}

/// Whether `entry` has not ended.
fn holds(entry: &FeedEntry, now: UnixTime) -> bool {
    entry.expires_at.is_none_or(|end| now < end)
}

#[cfg(test)]
mod tests {
    use super::super::svid::entry_for_tests;
    use super::*;
    use signet_feed::FeedCursor;
    use signet_trust::TrustView;

    fn selectors(list: &[&str]) -> Vec<Selector> {
        let mut list: Vec<_> = list
            .iter()
            .map(|s| Selector::parse(s).expect("selector"))
            .collect();
        list.sort_unstable();
        list
    }

    fn entry(number: u8, created_s: u64, wanted: &[&str]) -> Arc<FeedEntry> {
        Arc::new(FeedEntry {
            selectors: selectors(wanted),
            created_at: UnixTime::from_secs(created_s),
            ..entry_for_tests(number, &format!("spiffe://a.test/{number}"))
        })
    }

    fn index(entries: Vec<Arc<FeedEntry>>) -> Index {
        Index::new(state(entries))
    }

    fn state(entries: Vec<Arc<FeedEntry>>) -> Arc<NodeState> {
        Arc::new(NodeState {
            cursor: FeedCursor {
                epoch: [0; 16],
                seq: 1,
                chain: [0; 32],
            },
            trust: TrustView::new("a.test".parse().expect("domain")),
            entries: entries.into_iter().collect(),
            jwt_issuer: String::new(),
        })
    }

    fn numbers(found: &[Arc<FeedEntry>]) -> Vec<u8> {
        found.iter().map(|e| e.id[0]).collect()
    }

    #[test]
    fn an_entry_matches_who_has_all_its_selectors_and_no_one_else() {
        let index = index(vec![
            entry(1, 30, &["unix:uid:1"]),
            entry(2, 20, &["unix:uid:1", "unix:gid:2"]),
            entry(3, 10, &["unix:uid:1", "unix:gid:3"]),
            entry(4, 5, &["unix:uid:9"]),
            entry(5, 1, &[]),
        ]);
        let now = UnixTime::from_secs(100);
        let of = |caller: &[&str]| numbers(&index.matching(&selectors(caller), now));
        assert_eq!(
            of(&["unix:uid:1", "unix:gid:2", "unix:user:a"]),
            [2, 1],
            "oldest first"
        );
        assert_eq!(of(&["unix:uid:1"]), [1]);
        assert_eq!(of(&["unix:gid:2"]), [0_u8; 0]);
        assert_eq!(
            of(&[]),
            [0_u8; 0],
            "no selectors match nothing, and an entry without selectors matches nobody"
        );
    }

    #[test]
    fn an_expired_entry_matches_nobody() {
        let mut short = entry(1, 1, &["unix:uid:1"]);
        Arc::make_mut(&mut short).expires_at = Some(UnixTime::from_secs(50));
        let index = index(vec![short]);
        let caller = selectors(&["unix:uid:1"]);
        assert_eq!(index.matching(&caller, UnixTime::from_millis(49_999)).len(), 1);
        assert_eq!(index.matching(&caller, UnixTime::from_secs(50)).len(), 0);
    }

    #[test]
    fn entries_of_one_age_keep_one_order() {
        let caller = selectors(&["unix:uid:1"]);
        let one = index((1..=9).map(|n| entry(n, 7, &["unix:uid:1"])).collect());
        let other = index((1..=9).rev().map(|n| entry(n, 7, &["unix:uid:1"])).collect());
        let now = UnixTime::from_secs(100);
        assert_eq!(
            numbers(&one.matching(&caller, now)),
            numbers(&other.matching(&caller, now))
        );
    }

    /// However it came to a state, an index answers as one that was made for it.
    #[test]
    fn an_index_that_followed_is_one_that_was_made_anew() {
        let lists = [
            &["unix:uid:1"][..],
            &["unix:uid:1", "unix:gid:2"],
            &["unix:gid:2", "unix:uid:3"],
            &["unix:uid:3"],
        ];
        let mut random = 7_u32;
        let mut next = |bound: u32| {
            random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (random >> 16) % bound
        };
        let mut entries: HashMap<u8, Arc<FeedEntry>> = HashMap::new();
        let mut followed = index(Vec::new());
        for _ in 0..200 {
            for _ in 0..next(4) {
                let number = u8::try_from(next(40)).expect("small");
                if next(3) == 0 {
                    entries.remove(&number);
                } else {
                    let list = lists[next(4) as usize];
                    entries.insert(number, entry(number, number.into(), list));
                }
            }
            let now = state(entries.values().cloned().collect());
            let changes = now.entries.changes_since(&followed.node.entries);
            followed.follow(Arc::clone(&now), &changes);
            let fresh = Index::new(now);
            for caller in [
                &["unix:uid:1"][..],
                &["unix:gid:2", "unix:uid:1"],
                &["unix:gid:2", "unix:uid:3"],
                &["unix:uid:9"],
            ] {
                let caller = selectors(caller);
                let at = UnixTime::from_secs(100);
                assert_eq!(
                    numbers(&followed.matching(&caller, at)),
                    numbers(&fresh.matching(&caller, at))
                );
            }
            assert_eq!(followed.counts, fresh.counts);
            assert_eq!(followed.places.len(), entries.len());
            assert_eq!(
                followed.by_selector.values().map(EntrySet::len).sum::<usize>(),
                entries.len()
            );
        }
    }
}
