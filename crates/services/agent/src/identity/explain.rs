//! Which entries were tried for a process, and what became of each.

use super::inner::Inner;
use super::slots::Slots;
use super::svid::Svid;
use super::trouble::Trouble;
use super::wit::WitSvid;
use super::x509::X509Svid;
use super::{EntryId, Identities};
use crate::metrics::IssueKind;
use signet_feed::{FeedEntry, NodeState};
use signet_id::{ExpandError, Selector, TrustDomain};
use signet_time::UnixTime;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

/// Which entries may be shown beside those that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All, to whoever runs the node.
    Node,
    /// Those that share a selector with the process, to its owner: what else runs on the node is not theirs to know.
    Own,
}

/// The entries of this node as seen by one process.
pub(crate) struct Explained {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) total: usize,
    pub(crate) matched: usize,
    /// Those that match, oldest first; then by how many selectors the process has, then by how few it lacks.
    pub(crate) nearest: Vec<Tried>,
}

/// One entry, compared with the process.
pub(crate) struct Tried {
    pub(crate) entry: Arc<FeedEntry>,
    pub(crate) matches: bool,
    pub(crate) satisfied: usize,
    /// The first of its selectors that the process lacks.
    pub(crate) missing: Option<Selector>,
    /// Why it gives nothing though none is missing: it is a template, and this is wrong with the facts.
    pub(crate) not_given: Option<ExpandError>,
    /// Those that were asked for, if it matches.
    pub(crate) svids: Vec<(IssueKind, SvidState)>,
}

/// How the SVID of one kind of an entry is.
pub(crate) enum SvidState {
    /// It can be had. With the last failure to replace it.
    Ready {
        not_after: UnixTime,
        failed: Option<Arc<Trouble>>,
    },
    /// It is being signed.
    Signing,
    /// There is none.
    Failed {
        why: Option<Arc<Trouble>>,
        retry_at: Option<UnixTime>,
    },
}

impl Identities {
    /// Compares `selectors`, which are sorted, with every entry, and shows at most `shown_max` of them. `None` before
    /// the first state. Nothing is issued for it.
    pub(crate) fn explain(
        &self,
        selectors: &[Selector],
        scope: Scope,
        shown_max: usize,
    ) -> Option<Explained> {
        let now = self.clock.now();
        let (node, matching) = {
            let mut inner = self.lock();
            let index = inner.index.as_ref()?;
            // Asked of the index itself, so that what is told is what callers get.
            let matching = index.matching(selectors, now);
            let node = Arc::clone(&index.node);
            let with_svids = |entry: Arc<FeedEntry>| {
                let svids = inner.svids(entry.id, now);
                (entry, svids)
            };
            let matching: Vec<_> = matching.into_iter().map(with_svids).collect();
            (node, matching)
        };
        Some(compare(&node, selectors, matching, scope, shown_max))
    }
}

type Matching = Vec<(Arc<FeedEntry>, Vec<(IssueKind, SvidState)>)>;

fn compare(
    node: &NodeState,
    selectors: &[Selector],
    matching: Matching,
    scope: Scope,
    shown_max: usize,
) -> Explained {
    let matched = matching.len();
    let matches: HashSet<EntryId> = matching.iter().map(|(entry, _)| entry.source()).collect();
    let mut rest: Vec<_> = node
        .entries
        .iter()
        .filter(|entry| !matches.contains(&entry.id))
        .map(|entry| (satisfied(entry, selectors), entry))
        .filter(|(satisfied, _)| scope == Scope::Node || *satisfied > 0)
        .collect();
    let room = shown_max.saturating_sub(matched);
    let nearness = |(satisfied, entry): &(usize, &Arc<FeedEntry>)| {
        let missing = entry.selectors.len().saturating_sub(*satisfied);
        (Reverse(*satisfied), missing, entry.created_at, entry.id)
    };
    if room < rest.len() {
        rest.select_nth_unstable_by_key(room, nearness);
        rest.truncate(room);
    }
    rest.sort_unstable_by_key(nearness);
    let matching = matching.into_iter().take(shown_max).map(|(entry, svids)| Tried {
        matches: true,
        satisfied: entry.selectors.len(),
        missing: None,
        not_given: None,
        svids,
        entry,
    });
    let rest = rest.into_iter().map(|(satisfied, entry)| Tried {
        matches: false,
        satisfied,
        missing: entry.selectors.iter().find(|s| !has(selectors, s)).cloned(),
        not_given: (satisfied == entry.selectors.len())
            .then(|| entry.for_process(selectors).err())
            .flatten(),
        svids: Vec::new(),
        entry: Arc::clone(entry),
    });
    Explained {
        trust_domain: node.trust.own().clone(),
        total: node.entries.len(),
        matched,
        nearest: matching.chain(rest).collect(),
    }
}

fn has(selectors: &[Selector], selector: &Selector) -> bool {
    selectors.binary_search(selector).is_ok()
}

fn satisfied(entry: &FeedEntry, selectors: &[Selector]) -> usize {
    entry.selectors.iter().filter(|s| has(selectors, s)).count()
}

impl Inner {
    /// The SVIDs of the entry `id`, and the tokens that could not be had.
    fn svids(&mut self, id: EntryId, now: UnixTime) -> Vec<(IssueKind, SvidState)> {
        let x509 = self.troubles.of(id, IssueKind::X509);
        let wit = self.troubles.of(id, IssueKind::Wit);
        let jwt = self.troubles.of(id, IssueKind::Jwt).map(|why| SvidState::Failed {
            why: Some(why),
            retry_at: None,
        });
        [
            (IssueKind::X509, state::<X509Svid>(&mut self.x509, id, x509, now)),
            (IssueKind::Wit, state::<WitSvid>(&mut self.wit, id, wit, now)),
            (IssueKind::Jwt, jwt),
        ]
        .into_iter()
        .filter_map(|(kind, state)| Some((kind, state?)))
        .collect()
    }
}

/// `None` where none was asked for.
fn state<S: Svid>(
    slots: &mut Slots<S>,
    id: EntryId,
    trouble: Option<Arc<Trouble>>,
    now: UnixTime,
) -> Option<SvidState> {
    let slot = slots.get_mut(id);
    let current = slot.as_ref().and_then(|slot| slot.current.as_ref());
    if let Some(not_after) = current.map(|svid| svid.not_after()).filter(|end| now < *end) {
        return Some(SvidState::Ready {
            not_after,
            failed: trouble,
        });
    }
    match slot {
        Some(slot) if slot.failures == 0 => Some(SvidState::Signing),
        Some(slot) => Some(SvidState::Failed {
            why: trouble,
            retry_at: Some(slot.retry_at()),
        }),
        None => trouble.map(|why| SvidState::Failed {
            why: Some(why),
            retry_at: None,
        }),
    }
}
