use super::Entries;
use crate::{Entry, EntryId, records};
use prost::Message as _;
use signet_id::{IdPattern, Selector};
use std::collections::HashMap;
use std::sync::Arc;

/// Which entries are looked for; an empty filter finds all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// They give this identity, or are this template.
    pub spiffe_id: Option<IdPattern>,
    /// They ask for all of these, and perhaps for more.
    pub selectors: Vec<Selector>,
    /// They have this owner, to the letter.
    pub owner: Option<String>,
}

/// What one step of a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The entries found, oldest first.
    pub found: Vec<Arc<Entry>>,
    /// The last entry looked at: where the next step goes on. `None` where nothing is left.
    pub last: Option<EntryId>,
}

/// A filter in numbers.
struct Wanted {
    spiffe_id: Option<u32>,
    selectors: Vec<u32>,
}

impl Entries {
    /// Looks at up to `steps` entries after `after`, and finds up to `most`.
    pub(crate) fn scan(
        &self,
        after: Option<EntryId>,
        filter: &EntryFilter,
        steps: usize,
        most: usize,
    ) -> Scanned {
        let mut scanned = Scanned::default();
        // A text that no entry has is one that no entry matches.
        let Some(wanted) = self.wanted(filter) else {
            return scanned;
        };
        let mut owners = HashMap::new();
        let mut slots = self.slots_after(after);
        for slot in slots.by_ref().take(steps) {
            let Some(row) = self.rows.get(slot) else { continue };
            scanned.last = Some(row.id);
            let asked = self.pool.get(row.asked);
            let fits = wanted.spiffe_id.is_none_or(|id| id == row.spiffe_id)
                && wanted.selectors.iter().all(|selector| asked.contains(selector))
                && filter.owner.as_ref().is_none_or(|owner| {
                    // Many entries share their details.
                    *owners
                        .entry(row.details)
                        .or_insert_with(|| self.owner(row.details).as_ref() == Some(owner))
                });
            if fits {
                scanned.found.extend(self.rebuilt(slot).map(Arc::new));
            }
            if scanned.found.len() >= most {
                break;
            }
        }
        if slots.next().is_none() {
            scanned.last = None;
        }
        scanned
    }

    fn owner(&self, details: u32) -> Option<String> {
        let record = records::Entry::decode(&*self.details.read(details)).ok()?;
        Some(record.owner)
    }

    fn wanted(&self, filter: &EntryFilter) -> Option<Wanted> {
        let id = filter.spiffe_id.as_ref();
        let id = id.map(|id| self.ids.find(id.as_str().as_bytes()).ok_or(()));
        Some(Wanted {
            spiffe_id: id.transpose().ok()?,
            selectors: self.selectors_of(&filter.selectors)?,
        })
    }
}
