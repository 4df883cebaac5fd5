//! What would have to change for the registry to say what a list says. Nothing is changed here.

use crate::registry::node_among;
use crate::state::Saying;
use crate::{
    Entry, EntryDeletion, EntryProblems, NewEntry, Problem, Registry, RegistryError, RegistryState, limits,
};
use signet_id::IdPattern;
use signet_store::Seq;
use signet_time::UnixTime;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How a list of drafts differs from what the registry holds.
///
/// A draft is the entry that says the same: same identity, same parent, same selectors. There is one at most, because
/// the registry takes no second; so a draft with other selectors is another entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPlan {
    /// The drafts that no entry says, by their place in the list; the entries have no name yet.
    pub create: Vec<(usize, Entry)>,
    /// The drafts that an entry says with other details.
    pub update: Vec<PlannedUpdate>,
    /// The drafts that an entry says in all details, and that entry.
    pub unchanged: Vec<(usize, Arc<Entry>)>,
    /// The entries that no draft says, oldest first: what would delete them. There may be very many.
    pub unlisted: Vec<EntryDeletion>,
}

/// An entry and what a draft makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedUpdate {
    /// The draft, counted from 0.
    pub index: usize,
    /// The entry as it is.
    pub old: Arc<Entry>,
    /// The entry as it would be.
    pub new: Entry,
}

impl Registry {
    /// Compares `drafts` with the entries there are, at one place in the log.
    ///
    /// # Errors
    /// [`RegistryError::InvalidEntries`] with all that [`Registry::problems`] finds; [`RegistryError::Count`].
    pub fn plan(&self, drafts: &[NewEntry], now: UnixTime) -> Result<EntryPlan, RegistryError> {
        let max = limits::ENTRIES_PER_COMMIT_MAX;
        let given = drafts.len();
        if !(1..=max).contains(&given) {
            return Err(RegistryError::Count { given, max });
        }
        let bad = self.problems(drafts, now);
        if !bad.is_empty() {
            return Err(RegistryError::InvalidEntries(bad));
        }
        // Everything that takes time is done before the state is held: writers wait for it.
        let entries = self.checked(drafts, now)?;
        Ok(self.read(|state| compare(state, entries)))
    }

    /// Everything that keeps `drafts` from being entries side by side: what is wrong with each, which of them say what
    /// an earlier one says, and which give an identity that is a node's. Ordered by draft.
    #[must_use]
    pub fn problems(&self, drafts: &[NewEntry], now: UnixTime) -> Vec<EntryProblems> {
        let mut found: Vec<Vec<Problem>> = Vec::with_capacity(drafts.len());
        let (mut good, mut seen) = (Vec::new(), HashMap::with_capacity(drafts.len()));
        for (index, draft) in drafts.iter().enumerate() {
            let problems = match draft.check(self.trust_domain(), now) {
                Ok(entry) => {
                    let first = *seen.entry(Saying::of(&entry)).or_insert(index);
                    good.push((index, entry.spiffe_id));
                    (first != index)
                        .then(|| Problem::twice(first))
                        .into_iter()
                        .collect()
                }
                Err(problems) => problems,
            };
            found.push(problems);
        }
        self.read(|state| {
            let taken = state.identities_of_nodes(now);
            for (index, id) in &good {
                let Some(node) = node_among(&taken, id) else {
                    continue;
                };
                if let Some(problems) = found.get_mut(*index) {
                    let message = match id {
                        IdPattern::One(_) => "is a node's identity".to_owned(),
                        IdPattern::Template(_) => format!("could give `{node}`, which is a node's identity"),
                    };
                    problems.push(Problem::new("spiffe_id", message));
                }
            }
        });
        let numbered = found.into_iter().enumerate();
        numbered
            .filter(|(_, problems)| !problems.is_empty())
            .map(|(index, problems)| EntryProblems { index, problems })
            .collect()
    }
}

fn compare(state: &RegistryState, entries: Vec<Entry>) -> EntryPlan {
    let mut plan = EntryPlan::default();
    let mut listed = HashSet::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let said = state.said_by(&entry);
        let Some(old) = said.and_then(|id| state.entry(id)) else {
            plan.create.push((index, entry));
            continue;
        };
        listed.insert(old.id);
        let new = Entry {
            id: old.id,
            created_at: old.created_at,
            seq: Seq::ZERO,
            ..entry
        };
        if same_but_seq(&old, &new) {
            plan.unchanged.push((index, old));
        } else {
            plan.update.push(PlannedUpdate { index, old, new });
        }
    }
    let unlisted = state.names().filter(|(id, _)| !listed.contains(id));
    plan.unlisted = unlisted
        .map(|(id, seq)| EntryDeletion {
            id,
            seq,
            orphaned_days: None,
        })
        .collect();
    plan
}

/// Whether two entries differ in nothing but the change that wrote them.
pub(crate) fn same_but_seq(one: &Entry, other: &Entry) -> bool {
    // Entries are small: one copy is cheaper than a second list of all fields that could miss one.
    Entry {
        seq: one.seq,
        ..other.clone()
    } == *one
}
