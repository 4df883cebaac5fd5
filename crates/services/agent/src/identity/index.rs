use super::EntryId;
use signet_feed::{FeedEntry, NodeState};
use signet_id::{Selector, TrustDomain};
use signet_time::UnixTime;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A node's state with a way to find the entries of a caller.
pub(super) struct Index {
    pub(super) node: Arc<NodeState>,
    /// Each entry stands under the one of its selectors that the fewest entries have.
    by_selector: HashMap<Selector, Vec<Arc<FeedEntry>>>,
    by_id: HashMap<EntryId, Arc<FeedEntry>>,
}

impl Index {
    pub(super) fn new(node: Arc<NodeState>) -> Self {
        let mut counts: HashMap<&Selector, usize> = HashMap::new();
        for selector in node.entries.iter().flat_map(|e| &e.selectors) {
            *counts.entry(selector).or_default() += 1;
        }
        let mut by_selector: HashMap<Selector, Vec<Arc<FeedEntry>>> = HashMap::new();
        for entry in &node.entries {
            // An entry without selectors would hold for every caller: it is left out, as if it did not exist.
            let rarest = entry
                .selectors
                .iter()
                .min_by_key(|s| counts.get(s).copied().unwrap_or(0));
            if let Some(selector) = rarest {
                by_selector
                    .entry(selector.clone())
                    .or_default()
                    .push(Arc::clone(entry));
            }
        }
        let by_id = node.entries.iter().map(|e| (e.id, Arc::clone(e))).collect();
        Self {
            node,
            by_selector,
            by_id,
        }
    }

    pub(super) fn entry(&self, id: EntryId) -> Option<&Arc<FeedEntry>> {
        self.by_id.get(&id)
    }

    pub(super) fn has(&self, id: EntryId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The entries whose selectors `caller` has all, oldest first. `caller` is sorted.
    pub(super) fn matching(&self, caller: &[Selector], now: UnixTime) -> Vec<Arc<FeedEntry>> {
        let has = |selector: &Selector| caller.binary_search(selector).is_ok();
        let mut found: Vec<_> = caller
            .iter()
            .filter_map(|selector| self.by_selector.get(selector))
            .flatten()
            .filter(|entry| holds(entry, now) && entry.selectors.iter().all(has))
            .cloned()
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
    use super::*;
    use core::time::Duration;
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
            id: [number; 16],
            spiffe_id: format!("spiffe://a.test/{number}").parse().expect("id"),
            selectors: selectors(wanted),
            dns_names: Vec::new(),
            x509_ttl: Duration::from_secs(60),
            jwt_ttl: Duration::from_secs(60),
            jwt_audiences: Vec::new(),
            hint: String::new(),
            federates_with: Vec::new(),
            expires_at: None,
            created_at: UnixTime::from_secs(created_s),
            seq: 1,
        })
    }

    fn index(entries: Vec<Arc<FeedEntry>>) -> Index {
        Index::new(Arc::new(NodeState {
            cursor: FeedCursor {
                epoch: [0; 16],
                seq: 1,
                chain: [0; 32],
            },
            trust: TrustView::new("a.test".parse().expect("domain")),
            entries,
            jwt_issuer: String::new(),
        }))
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
}
