/// A hash table of slots: 6 to 9 bytes for each, whatever their number.
///
/// It keeps no hashes and no keys: whoever owns the slots says with each call what a slot's hash is and whether it is
/// the one looked for. A table of the standard library doubles when it is full, and is half empty from then on; this
/// one grows by half of what it holds.
#[derive(Clone, Debug, Default)]
pub struct Index {
    slots: Vec<u32>,
    /// What stands in each place: [`FREE`], [`DEAD`] or eight bits of the hash.
    tags: Vec<u8>,
    len: usize,
    /// How many places are [`DEAD`].
    dead: usize,
}

/// Nothing stands here, and a search ends.
const FREE: u8 = 0;
/// Something stood here, and a search goes on.
const DEAD: u8 = 1;
/// Tables smaller than this do not shrink.
const SMALL: usize = 64;

impl Index {
    /// How many slots it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for `slots` slots in all, so that the table need not be made anew while they come. Room that is not
    /// used costs address space and no memory.
    pub fn reserve(&mut self, slots: usize, hash_of: impl Fn(u32) -> u64) {
        let places = slots + slots / 6 + 8;
        if places > self.tags.len() {
            self.rebuild(places, hash_of);
        }
    }

    /// The slot with the hash `hash` of which `is` says that it is the one.
    pub fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.slots.get(self.place(hash, is)?).copied()
    }

    /// Adds `slot`, even where one with the same hash is there. `hash_of` gives the hash of any slot that is held.
    pub fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        // Nine tenths full at most: from there on searches become long.
        if (self.len + self.dead + 1) * 10 > self.tags.len() * 9 {
            let places = self.len + 1 + (self.len + 1) * 2 / 3 + 8;
            self.rebuild(places, hash_of);
        }
        self.put(hash, slot);
    }

    /// Takes out the slot with the hash `hash` of which `is` says that it is the one.
    pub fn remove(
        &mut self,
        hash: u64,
        is: impl FnMut(u32) -> bool,
        hash_of: impl Fn(u32) -> u64,
    ) -> Option<u32> {
        let place = self.place(hash, is)?;
        let slot = self.slots.get(place).copied()?;
        // A search that comes to the place behind it and ends there needs no mark here either.
        let next = self.tags.get(place + 1).or(self.tags.first()).copied();
        if let Some(tag) = self.tags.get_mut(place) {
            *tag = if next == Some(FREE) { FREE } else { DEAD };
            self.dead += usize::from(*tag == DEAD);
        }
        self.len -= 1;
        if self.tags.len() > SMALL && self.len * 4 < self.tags.len() {
            self.rebuild(2 * self.len + 8, hash_of);
        }
        Some(slot)
    }

    fn place(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<usize> {
        let (start, wanted) = (self.home(hash), tag(hash));
        let (before, after) = self.tags.split_at_checked(start)?;
        // INVARIANT: a tenth of all places is free, so a search ends.
        for (at, tag) in (start..).zip(after).chain((0..).zip(before)) {
            match *tag {
                FREE => return None,
                found if found == wanted && self.slots.get(at).is_some_and(|slot| is(*slot)) => {
                    return Some(at);
                }
                _ => {}
            }
        }
        None
    }

    /// The place where a search for `hash` begins.
    fn home(&self, hash: u64) -> usize {
        let places = u64::try_from(self.tags.len()).unwrap_or(u64::MAX);
        // The upper half of the hash as a fraction of one; the tag is taken from the lower.
        usize::try_from(((hash >> 32) * places) >> 32).unwrap_or(0)
    }

    fn put(&mut self, hash: u64, slot: u32) {
        let start = self.home(hash);
        let empty = |tag: &u8| *tag <= DEAD;
        let after = self.tags.iter().skip(start).position(empty).map(|n| start + n);
        let Some(at) = after.or_else(|| self.tags.iter().position(empty)) else {
            return;
        };
        if let (Some(place), Some(found)) = (self.slots.get_mut(at), self.tags.get_mut(at)) {
            self.dead -= usize::from(*found == DEAD);
            (*place, *found) = (slot, tag(hash));
            self.len += 1;
        }
    }

    /// Makes the table anew with so many places.
    fn rebuild(&mut self, places: usize, hash_of: impl Fn(u32) -> u64) {
        let old = core::mem::take(self);
        self.slots = vec![0; places];
        self.tags = vec![FREE; places];
        for (slot, tag) in old.slots.into_iter().zip(old.tags) {
            if tag > DEAD {
                self.put(hash_of(slot), slot);
            }
        }
    }
}

/// Eight bits of the hash, none of the two that mean something else.
fn tag(hash: u64) -> u8 {
    let [low, ..] = hash.to_le_bytes();
    low.max(DEAD + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Few hashes, so that many slots share one.
    fn hash(slot: u32) -> u64 {
        u64::from(slot % 23).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    proptest! {
        #[test]
        fn it_finds_what_a_map_would_find(
            ops in prop::collection::vec((0..400_u32, 0..5_u8), 0..800),
        ) {
            let (mut index, mut model) = (Index::default(), HashMap::new());
            for (slot, op) in ops {
                let there = model.contains_key(&slot);
                if op < 3 && !there {
                    index.insert(hash(slot), slot, hash);
                    model.insert(slot, ());
                } else if op >= 3 {
                    let gone = index.remove(hash(slot), |s| s == slot, hash);
                    prop_assert_eq!(gone, model.remove(&slot).map(|()| slot));
                }
                prop_assert_eq!(index.len(), model.len());
                prop_assert!((index.len + index.dead) * 10 <= index.tags.len() * 9);
            }
            for slot in 0..400 {
                let found = index.find(hash(slot), |s| s == slot);
                prop_assert_eq!(found, model.contains_key(&slot).then_some(slot));
            }
        }
    }

    #[test]
    fn it_is_small_at_every_size_and_shrinks() {
        let spread = |slot: u32| u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = Index::default();
        for slot in 0..50_000 {
            index.insert(spread(slot), slot, spread);
            let bytes = index.tags.len() * 5;
            assert!(bytes <= index.len() * 9 + 64, "{bytes} for {}", index.len());
        }
        let places = index.tags.len();
        index.reserve(80_000, spread);
        let reserved = index.tags.len();
        assert!(places < 80_000 && (80_000..96_000).contains(&reserved));
        for slot in 50_000..80_000 {
            index.insert(spread(slot), slot, spread);
        }
        assert_eq!(index.tags.len(), reserved, "made once");
        for slot in 0..80_000 {
            assert_eq!(index.find(spread(slot), |s| s == slot), Some(slot));
        }
        for slot in (0..49_900).chain(50_000..80_000) {
            assert_eq!(index.remove(spread(slot), |s| s == slot, spread), Some(slot));
        }
        assert_eq!(index.len(), 100);
        assert!(index.tags.len() <= 400, "{}", index.tags.len());
        assert_eq!(index.find(spread(49_950), |s| s == 49_950), Some(49_950));
    }
}
