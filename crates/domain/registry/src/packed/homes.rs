//! Which entries can match a workload: each stands in the list of one selector that it asks for.

use super::row::{NONE, Row, Rows};
use super::{Entries, index, shrink};
use crate::EntryId;
use signet_id::Selector;
use std::collections::HashMap;

/// The lists.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// The first row of each list, by the slot of the selector's text.
    first: Vec<u32>,
    /// How many rows the lists have that have more than one: most selectors are one entry's alone.
    len: HashMap<u32, u32>,
}

/// Lists that are shorter are not looked through for entries that belong elsewhere.
pub(super) const LONG: u32 = 64;

impl Entries {
    /// The entries whose selectors are all among `facts`, oldest first. A list is looked at for each fact: it holds
    /// few entries, unless many ask for nothing else.
    pub(crate) fn matching(&self, facts: &[Selector]) -> Vec<EntryId> {
        let known = facts
            .iter()
            .filter_map(|fact| self.selectors.find(fact.as_str().as_bytes()));
        let mut known: Vec<u32> = known.collect();
        known.sort_unstable();
        known.dedup();
        let mut found = Vec::new();
        for fact in &known {
            for slot in self.homes.slots(&self.rows, *fact) {
                let Some(row) = self.rows.get(slot) else { continue };
                let asked = self.pool.get(row.asked);
                if asked.iter().all(|selector| known.binary_search(selector).is_ok()) {
                    found.push(row.id);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Puts a new row into the list of the rarest of its selectors, `asked`.
    pub(super) fn settle(&mut self, slot: u32, asked: &[u32]) {
        let home = self.rarest(asked);
        let Some(selector) = asked.get(usize::from(home)).copied() else {
            return;
        };
        let len = self.homes.link(&mut self.rows, slot, home, selector);
        // Each time that the list has doubled: so the work for one entry stays bounded.
        if len >= LONG && len.is_power_of_two() {
            self.thin(selector);
        }
    }

    pub(super) fn unsettle(&mut self, slot: u32, row: &Row) {
        if let Some(selector) = self.pool.get(row.asked).get(usize::from(row.home)) {
            self.homes.unlink(&mut self.rows, slot, *selector);
        }
    }

    /// Moves the entries of a list that by now have a much rarer selector: it was rare when they came.
    fn thin(&mut self, selector: u32) {
        let slots: Vec<u32> = self.homes.slots(&self.rows, selector).collect();
        for slot in slots {
            let Some(row) = self.rows.get(slot) else { continue };
            let asked = self.pool.get(row.asked);
            let home = self.rarest(asked);
            let Some(better) = asked.get(usize::from(home)).copied() else {
                continue;
            };
            if self.selectors.uses(better) <= self.selectors.uses(selector) / 2 {
                self.homes.unlink(&mut self.rows, slot, selector);
                self.homes.link(&mut self.rows, slot, home, better);
            }
        }
    }

    /// The place in `asked` of the selector that the fewest entries ask for.
    fn rarest(&self, asked: &[u32]) -> u8 {
        let places = (0_u8..).zip(asked);
        let rarest = places.min_by_key(|(_, selector)| self.selectors.uses(**selector));
        rarest.map_or(0, |(place, _)| place)
    }

    #[cfg(test)]
    pub(super) fn longest_home(&self) -> u32 {
        let one = self.homes.first.iter().any(|first| *first != NONE);
        self.homes.len.values().copied().max().unwrap_or(one.into())
    }
}

impl Homes {
    /// The rows in the list of `selector`.
    fn slots<'a>(&self, rows: &'a Rows, selector: u32) -> impl Iterator<Item = u32> + use<'a> {
        let first = self.first.get(index(selector)).copied().unwrap_or(NONE);
        let real = |slot: u32| (slot != NONE).then_some(slot);
        core::iter::successors(real(first), move |slot| real(rows.get(*slot)?.next))
    }

    /// Puts the row `slot` into the list of `selector`, which is its selector number `place`; returns the length.
    fn link(&mut self, rows: &mut Rows, slot: u32, place: u8, selector: u32) -> u32 {
        if self.first.len() <= index(selector) {
            self.first.resize(index(selector).saturating_add(1), NONE);
        }
        let Some(first) = self.first.get_mut(index(selector)) else {
            return 0;
        };
        let next = core::mem::replace(first, slot);
        if let Some(row) = rows.get_mut(slot) {
            (row.home, row.next, row.before) = (place, next, NONE);
        }
        let Some(next) = rows.get_mut(next) else {
            return 1;
        };
        next.before = slot;
        let len = self.len.entry(selector).or_insert(1);
        *len += 1;
        *len
    }

    fn unlink(&mut self, rows: &mut Rows, slot: u32, selector: u32) {
        let (Some(row), Some(first)) = (rows.get(slot), self.first.get_mut(index(selector))) else {
            return;
        };
        match rows.get_mut(row.before) {
            Some(before) => before.next = row.next,
            None => *first = row.next,
        }
        if let Some(next) = rows.get_mut(row.next) {
            next.before = row.before;
        }
        if let Some(len) = self.len.get_mut(&selector) {
            *len -= 1;
            if *len < 2 {
                self.len.remove(&selector);
                shrink(&mut self.len);
            }
        }
    }
}
