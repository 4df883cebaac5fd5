//! Which slot of `current` each key has.

use bytes::Bytes;
use core::fmt;
use core::hash::BuildHasher as _;
use signet_compact::Index;
use signet_crypto::digest::Sha256;
use signet_store::{Kind, Seq};
use std::hash::RandomState;

/// The map from key to slot and last change, and what it takes to undo an unfinished transaction.
///
/// It has a row for every row of the table, so it keeps of each key only a [`Print`]: 26 to 29 bytes in all.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// By slot.
    places: Vec<Place>,
    index: Index,
    /// Slots that are not taken.
    free: Vec<u32>,
    undo: Vec<Undo>,
    secret: Secret,
}

/// The first 12 bytes of the SHA-256 of a secret, kind and key. Who does not know the secret cannot look for two keys with
/// the same, and chance finds them in one of ten billion logs that have all slots taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print([u8; 12]);

/// What the prints of this process are made with.
struct Secret([u8; 16]);

/// Whose a slot is. Packed, because there are millions: fields are copied out, never borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed)]
struct Place {
    print: Print,
    /// The change that wrote it last; [`FREE`] in a slot that is not taken.
    seq: Seq,
}

/// No change is ever this one.
const FREE: Seq = Seq(u64::MAX);

#[derive(Debug)]
enum Undo {
    /// The key had no slot; whether the table ended before this one.
    Took { slot: u32, fresh: bool },
    /// The key had this slot and this last change.
    Moved { slot: u32, was: Seq },
    /// The slot was this key's.
    Freed { slot: u32, was: Place },
}

/// Why a row of the table cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// Its key is in another slot already.
    Twice,
    /// Its slot is none that we would give out.
    Slot,
}

impl Slots {
    /// Makes room for `slots` slots in all. Room that is not used costs no memory.
    pub(crate) fn reserve(&mut self, slots: usize) {
        // A number that stands in a file must not make much of itself.
        let slots = slots.min(RESERVED_MAX);
        self.places.reserve_exact(slots.saturating_sub(self.places.len()));
        let places = &self.places;
        self.index.reserve(slots, |slot| hash_of(places, slot));
    }

    /// Takes in a row of the table; rows come in the order of their slots.
    pub(crate) fn restore(&mut self, kind: Kind, key: &[u8], slot: i64, seq: Seq) -> Result<(), Misplaced> {
        let slot = number(slot).ok_or(Misplaced::Slot)?;
        let end = self.end().ok_or(Misplaced::Slot)?;
        let print = self.secret.print(kind, key);
        if slot < end {
            return Err(Misplaced::Slot);
        }
        if self.find(print).is_some() {
            return Err(Misplaced::Twice);
        }
        self.free.extend(end..slot);
        let places = index(slot);
        self.places.resize(places, Place { print, seq: FREE });
        self.places.push(Place { print, seq });
        self.enter(print, slot);
        Ok(())
    }

    /// The change that wrote a key last.
    pub(crate) fn seq(&self, kind: Kind, key: &Bytes) -> Option<Seq> {
        let slot = self.find(self.secret.print(kind, key))?;
        self.places.get(index(slot)).map(|place| place.seq)
    }

    /// Notes that the change at `seq` writes a key, and returns the key's slot. `None` where every slot is taken, all
    /// four billion of them.
    pub(crate) fn put(&mut self, kind: Kind, key: &Bytes, seq: Seq) -> Option<i64> {
        let print = self.secret.print(kind, key);
        if let Some(slot) = self.find(print) {
            let place = self.places.get_mut(index(slot))?;
            let was = place.seq;
            place.seq = seq;
            self.undo.push(Undo::Moved { slot, was });
            return Some(slot.into());
        }
        let place = Place { print, seq };
        let (slot, fresh) = if let Some(slot) = self.free.pop() {
            *self.places.get_mut(index(slot))? = place;
            (slot, false)
        } else {
            let slot = self.end()?;
            self.places.push(place);
            (slot, true)
        };
        self.enter(print, slot);
        self.undo.push(Undo::Took { slot, fresh });
        Some(slot.into())
    }

    /// Notes that a key goes, and returns the slot that it had.
    pub(crate) fn remove(&mut self, kind: Kind, key: &Bytes) -> Option<i64> {
        let slot = self.find(self.secret.print(kind, key))?;
        let was = self.leave(slot)?;
        self.free.push(slot);
        self.undo.push(Undo::Freed { slot, was });
        Some(slot.into())
    }

    /// Everything since the last call of this or of [`revert`](Self::revert) stays.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
        // What one large transaction needed is not kept for good.
        self.undo.shrink_to(UNDO_KEPT);
    }

    /// Everything since the last call of this or of [`keep`](Self::keep) is undone.
    pub(crate) fn revert(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Took { slot, fresh } => {
                    self.leave(slot);
                    if fresh {
                        // INVARIANT: undone in reverse, so it is the last slot again.
                        self.places.pop();
                    } else {
                        self.free.push(slot);
                    }
                }
                Undo::Moved { slot, was } => {
                    if let Some(place) = self.places.get_mut(index(slot)) {
                        place.seq = was;
                    }
                }
                Undo::Freed { slot, was } => {
                    // INVARIANT: undone in reverse, so the slot that was freed is the last in the list again.
                    self.free.pop();
                    if let Some(place) = self.places.get_mut(index(slot)) {
                        *place = was;
                    }
                    self.enter(was.print, slot);
                }
            }
        }
    }

    /// The first slot that never was taken.
    fn end(&self) -> Option<u32> {
        u32::try_from(self.places.len()).ok()
    }

    fn find(&self, print: Print) -> Option<u32> {
        let is = |slot| {
            self.places
                .get(index(slot))
                .is_some_and(|place| { place.print } == print)
        };
        self.index.find(print.hash(), is)
    }

    fn enter(&mut self, print: Print, slot: u32) {
        let places = &self.places;
        self.index
            .insert(print.hash(), slot, |slot| hash_of(places, slot));
    }

    /// Gives up the slot; whose it was.
    fn leave(&mut self, slot: u32) -> Option<Place> {
        let was = *self.places.get(index(slot))?;
        let places = &self.places;
        self.index.remove(
            was.print.hash(),
            |found| found == slot,
            |slot| hash_of(places, slot),
        );
        self.places.get_mut(index(slot))?.seq = FREE;
        Some(was)
    }
}

impl Secret {
    fn print(&self, kind: Kind, key: &[u8]) -> Print {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update(&kind.0.to_be_bytes());
        hash.update(key);
        let hash = hash.finish();
        let (head, _) = hash.split_first_chunk().unwrap_or((&[0; 12], &[]));
        Print(*head)
    }
}

impl Default for Secret {
    fn default() -> Self {
        // Each hasher has random keys of its own.
        let half = || RandomState::new().hash_one(()).to_be_bytes();
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (half(), half());
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Print {
    fn hash(self) -> u64 {
        let (head, _) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        u64::from_be_bytes(*head)
    }
}

fn hash_of(places: &[Place], slot: u32) -> u64 {
    places.get(index(slot)).map_or(0, |place| place.print.hash())
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

fn number(slot: i64) -> Option<u32> {
    u32::try_from(slot).ok()
}

/// Most slots that room is made for in advance: some 500 MiB of address space.
const RESERVED_MAX: usize = 16 << 20;

/// Room for undoing that is kept from one transaction to the next.
const UNDO_KEPT: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const KIND: Kind = Kind(1);

    fn key(n: u8) -> Bytes {
        Bytes::from(vec![n])
    }

    /// Slot and last change of each key below eight, and what is free.
    fn all(slots: &Slots) -> (BTreeMap<u8, (u32, Seq)>, Vec<u32>, usize) {
        let place = |n| {
            let slot = slots.find(slots.secret.print(KIND, &key(n)))?;
            Some((n, (slot, slots.places[index(slot)].seq)))
        };
        (
            (0..8).filter_map(place).collect(),
            slots.free.clone(),
            slots.places.len(),
        )
    }

    #[test]
    fn slots_are_dense_and_reused() {
        let mut slots = Slots::default();
        assert_eq!(slots.restore(KIND, &key(1), 2, Seq(1)), Ok(()));
        assert_eq!(slots.restore(KIND, &key(1), 3, Seq(2)), Err(Misplaced::Twice));
        for bad in [-1, 2, i64::from(u32::MAX) + 1] {
            assert_eq!(slots.restore(KIND, &key(9), bad, Seq(2)), Err(Misplaced::Slot));
        }
        let mut next = |n| slots.put(KIND, &key(n), Seq(3)).unwrap();
        assert_eq!(BTreeSet::from([next(2), next(3)]), BTreeSet::from([0, 1]));
        assert_eq!((next(4), next(1)), (3, 2));
        assert_eq!(
            slots.put(Kind(2), &key(1), Seq(4)),
            Some(4),
            "another kind, another key"
        );
        assert_eq!(
            (slots.seq(KIND, &key(1)), slots.seq(Kind(2), &key(1))),
            (Some(Seq(3)), Some(Seq(4)))
        );
    }

    proptest! {
        #[test]
        fn reverting_leaves_no_trace(
            kept in prop::collection::vec((0..8_u8, any::<bool>()), 0..20),
            undone in prop::collection::vec((0..8_u8, any::<bool>()), 0..20),
        ) {
            let mut slots = Slots::default();
            let run = |slots: &mut Slots, ops: &[(u8, bool)], from: u64| {
                for ((n, put), seq) in ops.iter().zip(from..) {
                    if *put {
                        slots.put(KIND, &key(*n), Seq(seq));
                        assert_eq!(slots.seq(KIND, &key(*n)), Some(Seq(seq)));
                    } else {
                        slots.remove(KIND, &key(*n));
                        assert_eq!(slots.seq(KIND, &key(*n)), None);
                    }
                    let (taken, free, end) = all(slots);
                    let used: BTreeSet<_> = taken.values().map(|(slot, _)| *slot).chain(free.iter().copied()).collect();
                    assert_eq!(used, (0..u32::try_from(end).unwrap()).collect());
                    assert_eq!((taken.len() + free.len(), slots.index.len()), (end, taken.len()));
                }
            };
            run(&mut slots, &kept, 1);
            slots.keep();
            let before = all(&slots);
            run(&mut slots, &undone, 100);
            slots.revert();
            prop_assert_eq!(all(&slots), before);
        }
    }
}
