//! The entries in packed form: some 150 bytes for each instead of kilobytes.
//!
//! An entry is a [`Row`] of numbers. Its texts are kept once for all entries ([`Texts`]): the identity, the parent, each
//! selector, and what is seldom unlike in two entries (lives of SVIDs, DNS names, hint, owner, federation, audiences)
//! as one record of *details*. So the few kinds of details that a fleet has cost nothing, and an entry whose details
//! are its own pays for them alone. An [`Entry`] is rebuilt when somebody asks for it.
//!
//! Rows are numbered by slots that are used again. What finds a row:
//!
//! * by name and by age: one list in the order of ids, which is the order of age;
//! * by node: a list for each parent, in the same order, and one of the entries without;
//! * by what it says (identity, parent, selectors): a hash index;
//! * by selectors that a workload has: each entry stands in the list of one of its selectors, the rarest.

mod homes;
mod row;
mod search;
#[cfg(test)]
mod tests;

pub use search::{EntryFilter, Scanned};

use crate::{Entry, EntryId, records};
use core::cmp::Ordering;
use core::hash::BuildHasher as _;
use prost::Message as _;
use row::{NONE, Pool, Row, Rows};
use signet_compact::{Index, Sorted, Texts};
use signet_crypto::SetHash;
use signet_id::{Selector, SpiffeId};
use signet_store::Seq;
use signet_time::UnixTime;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;

/// All entries.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    rows: Rows,
    by_age: Sorted,
    /// The entries that hold on every node.
    everywhere: Share,
    /// The entries of each parent, by the slot of its text.
    of_parent: Vec<Share>,
    ids: Texts,
    parents: Texts,
    selectors: Texts,
    details: Texts,
    /// The slots of the selectors of all rows.
    pool: Pool,
    homes: homes::Homes,
    sayings: Index,
    hashing: RandomState,
    /// When entries end, by slot. Most never do.
    ends: HashMap<u32, UnixTime>,
    /// When entries were created whose ids say something else.
    births: HashMap<u32, UnixTime>,
}

/// The entries that have one parent.
#[derive(Debug, Default)]
struct Share {
    list: Sorted,
    /// Over their ids and last changes.
    digest: SetHash,
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Makes room for `entries` entries in all. Room that is not used costs no memory.
    pub(crate) fn reserve(&mut self, entries: usize) {
        self.rows.reserve(entries);
        self.ids.reserve(entries);
        self.selectors.reserve(entries);
        let (rows, pool, hashing) = (&self.rows, &self.pool, &self.hashing);
        self.sayings
            .reserve(entries, |slot| said(rows, pool, hashing, slot));
    }

    /// Adds `entry`, whose id must not be there. `None` where four billion of something are there already.
    pub(crate) fn insert(&mut self, entry: &Entry) -> Option<()> {
        let spiffe_id = self.ids.take(entry.spiffe_id.as_str().as_bytes())?;
        let parent = match &entry.parent_id {
            Some(parent) => self.parents.take(parent.as_str().as_bytes())?,
            None => NONE,
        };
        let asked = entry.selectors.iter();
        let asked: Vec<u32> = asked
            .map(|selector| self.selectors.take(selector.as_str().as_bytes()))
            .collect::<Option<_>>()?;
        let slot = self.rows.add(Row {
            id: entry.id,
            seq: entry.seq.0,
            spiffe_id,
            parent,
            details: self.details.take(&entry.to_details().encode_to_vec())?,
            asked: self.pool.add(&asked)?,
            home: 0,
            next: NONE,
            before: NONE,
        })?;
        if let Some(at) = entry.expires_at {
            self.ends.insert(slot, at);
        }
        if entry.created_at != entry.id.created_at() {
            self.births.insert(slot, entry.created_at);
        }
        self.enlist(slot, entry, parent);
        let hash = saying(&self.hashing, spiffe_id, parent, &asked);
        let (rows, pool, hashing) = (&self.rows, &self.pool, &self.hashing);
        self.sayings
            .insert(hash, slot, |slot| said(rows, pool, hashing, slot));
        self.settle(slot, &asked);
        Some(())
    }

    /// Takes the entry `id` away. Whether it was there.
    pub(crate) fn remove(&mut self, id: EntryId) -> bool {
        let Some((slot, row)) = self.find(id) else {
            return false;
        };
        self.unsettle(slot, &row);
        let (rows, pool, hashing) = (&self.rows, &self.pool, &self.hashing);
        let hash_of = |slot| said(rows, pool, hashing, slot);
        self.sayings.remove(hash_of(slot), |found| found == slot, hash_of);
        self.by_age.remove(|slot| rows.id(slot).cmp(&id));
        if let Some(share) = share_of(&mut self.everywhere, &mut self.of_parent, row.parent) {
            share.list.remove(|slot| rows.id(slot).cmp(&id));
            share.digest.remove(id.as_bytes(), row.seq);
        }
        for selector in self.pool.get(row.asked) {
            self.selectors.release(*selector);
        }
        self.ids.release(row.spiffe_id);
        self.parents.release(row.parent);
        self.details.release(row.details);
        self.ends.remove(&slot);
        self.births.remove(&slot);
        self.pool.free(row.asked);
        self.rows.free(slot);
        if self.pool.is_wasteful() {
            self.pool.compact(&mut self.rows);
        }
        shrink(&mut self.ends);
        shrink(&mut self.births);
        true
    }

    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.find(id).is_some()
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<Entry> {
        self.rebuilt(self.find(id)?.0)
    }

    /// Name and last change of every entry, oldest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = (EntryId, Seq)> {
        let rows = self.by_age.iter().filter_map(|slot| self.rows.get(slot));
        rows.map(|row| (row.id, Seq(row.seq)))
    }

    /// The entries after `after`, oldest first.
    pub(crate) fn after(&self, after: Option<EntryId>) -> impl Iterator<Item = Entry> {
        self.slots_after(after).filter_map(|slot| self.rebuilt(slot))
    }

    /// The entries of every node and of `node`, oldest first.
    pub(crate) fn assigned(&self, node: &SpiffeId) -> impl Iterator<Item = Entry> {
        let slots = self.assigned_slots(node).into_iter();
        slots.filter_map(|slot| self.rebuilt(slot))
    }

    /// The names of the same.
    pub(crate) fn assigned_names(&self, node: &SpiffeId) -> Vec<EntryId> {
        let slots = self.assigned_slots(node).into_iter();
        slots.map(|slot| self.rows.id(slot)).collect()
    }

    fn assigned_slots(&self, node: &SpiffeId) -> Vec<u32> {
        let parent = self.parents.find(node.as_str().as_bytes());
        let own = parent.and_then(|parent| self.of_parent.get(index(parent)));
        let mut slots: Vec<u32> = self.everywhere.list.iter().collect();
        slots.extend(own.into_iter().flat_map(|share| share.list.iter()));
        // Two sorted runs: that is no more than merging them.
        slots.sort_by_key(|slot| self.rows.id(*slot));
        slots
    }

    /// The hash over the entries of every node and of `node`: their ids and last changes.
    pub(crate) fn digest(&self, node: &SpiffeId) -> SetHash {
        let parent = self.parents.find(node.as_str().as_bytes());
        let own = parent.and_then(|parent| self.of_parent.get(index(parent)));
        self.everywhere
            .digest
            .plus(own.map(|share| share.digest).unwrap_or_default())
    }

    /// Name and last change of the entries that are over at `now`, oldest first.
    pub(crate) fn over(&self, now: UnixTime) -> Vec<(EntryId, Seq)> {
        let over = self.ends.iter().filter(|(_, at)| **at <= now);
        let rows = over.filter_map(|(slot, _)| self.rows.get(*slot));
        let mut names: Vec<_> = rows.map(|row| (row.id, Seq(row.seq))).collect();
        names.sort_unstable();
        names
    }

    /// Whether an entry gives `id`.
    pub(crate) fn is_given(&self, id: &SpiffeId) -> bool {
        self.ids.find(id.as_str().as_bytes()).is_some()
    }

    /// An entry that says what `entry` says: same identity, same parent, same selectors.
    pub(crate) fn said_by(&self, entry: &Entry) -> Option<EntryId> {
        let spiffe_id = self.ids.find(entry.spiffe_id.as_str().as_bytes())?;
        let parent = match &entry.parent_id {
            Some(parent) => self.parents.find(parent.as_str().as_bytes())?,
            None => NONE,
        };
        let asked = self.selectors_of(&entry.selectors)?;
        let hash = saying(&self.hashing, spiffe_id, parent, &asked);
        let says = |slot| {
            self.rows.get(slot).is_some_and(|row| {
                row.spiffe_id == spiffe_id && row.parent == parent && self.pool.get(row.asked) == asked
            })
        };
        self.sayings.find(hash, says).map(|slot| self.rows.id(slot))
    }

    fn find(&self, id: EntryId) -> Option<(u32, Row)> {
        let slot = self.by_age.find(|slot| self.rows.id(slot).cmp(&id))?;
        Some((slot, self.rows.get(slot)?))
    }

    fn slots_after(&self, after: Option<EntryId>) -> impl Iterator<Item = u32> {
        let all = Ordering::Greater;
        self.by_age
            .after(move |slot| after.map_or(all, |after| self.rows.id(slot).cmp(&after)))
    }

    fn rebuilt(&self, slot: u32) -> Option<Entry> {
        let row = self.rows.get(slot)?;
        let text = |texts: &Texts, slot| String::from_utf8(texts.read(slot)).ok();
        let created_at = self.births.get(&slot).copied().unwrap_or(row.id.created_at());
        let record = records::Entry {
            spiffe_id: text(&self.ids, row.spiffe_id)?,
            parent_id: text(&self.parents, row.parent)?,
            selectors: self
                .pool
                .get(row.asked)
                .iter()
                .map(|slot| text(&self.selectors, *slot))
                .collect::<Option<_>>()?,
            expires_at_ms: self.ends.get(&slot).map_or(0, |at| at.as_millis()),
            created_at_ms: created_at.as_millis(),
            ..records::Entry::decode(&*self.details.read(row.details)).ok()?
        };
        Entry::from_record(row.id, Seq(row.seq), record)
    }

    fn selectors_of(&self, selectors: &[Selector]) -> Option<Vec<u32>> {
        let slots = selectors
            .iter()
            .map(|s| self.selectors.find(s.as_str().as_bytes()));
        slots.collect()
    }

    fn enlist(&mut self, slot: u32, entry: &Entry, parent: u32) {
        if parent != NONE && self.of_parent.len() <= index(parent) {
            self.of_parent.resize_with(index(parent) + 1, Share::default);
        }
        let (rows, id) = (&self.rows, entry.id);
        self.by_age.insert(slot, |slot| rows.id(slot).cmp(&id));
        if let Some(share) = share_of(&mut self.everywhere, &mut self.of_parent, parent) {
            share.list.insert(slot, |slot| rows.id(slot).cmp(&id));
            share.digest.insert(id.as_bytes(), entry.seq.0);
        }
    }
}

fn share_of<'a>(everywhere: &'a mut Share, of_parent: &'a mut [Share], parent: u32) -> Option<&'a mut Share> {
    if parent == NONE {
        return Some(everywhere);
    }
    of_parent.get_mut(index(parent))
}

/// The hash of what a row says.
fn said(rows: &Rows, pool: &Pool, hashing: &RandomState, slot: u32) -> u64 {
    let Some(row) = rows.get(slot) else { return 0 };
    saying(hashing, row.spiffe_id, row.parent, pool.get(row.asked))
}

fn saying(hashing: &RandomState, spiffe_id: u32, parent: u32, selectors: &[u32]) -> u64 {
    hashing.hash_one((spiffe_id, parent, selectors))
}

/// Gives memory back where a map became far too large for what it holds.
fn shrink<T>(map: &mut HashMap<u32, T>) {
    if map.capacity() > 4 * map.len() + 64 {
        map.shrink_to(2 * map.len());
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}
