//! Which slot of `current` each key has.

use bytes::Bytes;
use signet_store::{Kind, Seq};
use std::collections::HashMap;

/// The map from key to slot and last change, and what it takes to undo an unfinished transaction.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: HashMap<(Kind, Bytes), Place>,
    /// Slots below `end` that are not taken.
    free: Vec<i64>,
    end: i64,
    undo: Vec<Undo>,
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: i64,
    pub(crate) seq: Seq,
}

#[derive(Debug)]
enum Undo {
    /// The key had no slot.
    Took { key: (Kind, Bytes), fresh: bool },
    /// The key had this place.
    Moved { key: (Kind, Bytes), was: Place },
    /// The key had this place and gave it up.
    Freed { key: (Kind, Bytes), was: Place },
}

impl Slots {
    /// Takes in a row of the table; rows come in the order of their slots. `false` if the key is there already.
    pub(crate) fn restore(&mut self, kind: Kind, key: Bytes, slot: i64, seq: Seq) -> bool {
        self.free.extend(self.end..slot);
        self.end = slot.saturating_add(1);
        self.taken.insert((kind, key), Place { slot, seq }).is_none()
    }

    /// The change that wrote a key last.
    pub(crate) fn seq(&self, kind: Kind, key: &Bytes) -> Option<Seq> {
        self.taken.get(&(kind, key.clone())).map(|place| place.seq)
    }

    /// Notes that the change at `seq` writes a key, and returns the key's slot.
    pub(crate) fn put(&mut self, kind: Kind, key: &Bytes, seq: Seq) -> i64 {
        let key = (kind, key.clone());
        if let Some(place) = self.taken.get_mut(&key) {
            let was = *place;
            place.seq = seq;
            self.undo.push(Undo::Moved { key, was });
            return was.slot;
        }
        let (slot, fresh) = match self.free.pop() {
            Some(slot) => (slot, false),
            None => (self.end, true),
        };
        self.end = self.end.max(slot.saturating_add(1));
        self.taken.insert(key.clone(), Place { slot, seq });
        self.undo.push(Undo::Took { key, fresh });
        slot
    }

    /// Notes that a key goes, and returns the slot that it had.
    pub(crate) fn remove(&mut self, kind: Kind, key: &Bytes) -> Option<i64> {
        let key = (kind, key.clone());
        let was = self.taken.remove(&key)?;
        self.free.push(was.slot);
        self.undo.push(Undo::Freed { key, was });
        Some(was.slot)
    }

    /// Everything since the last call of this or of [`revert`](Self::revert) stays.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Everything since the last call of this or of [`keep`](Self::keep) is undone.
    pub(crate) fn revert(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Took { key, fresh } => {
                    if let Some(place) = self.taken.remove(&key) {
                        if fresh {
                            self.end = place.slot;
                        } else {
                            self.free.push(place.slot);
                        }
                    }
                }
                Undo::Moved { key, was } => {
                    self.taken.insert(key, was);
                }
                Undo::Freed { key, was } => {
                    // INVARIANT: undone in reverse, so the slot that was freed is the last in the list again.
                    self.free.pop();
                    self.taken.insert(key, was);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const KIND: Kind = Kind(1);

    fn key(n: u8) -> Bytes {
        Bytes::from(vec![n])
    }

    #[test]
    fn slots_are_dense_and_reused() {
        let mut slots = Slots::default();
        assert!(slots.restore(KIND, key(1), 2, Seq(1)));
        assert!(!slots.restore(KIND, key(1), 3, Seq(2)), "a key twice");
        let mut next = || {
            slots.put(
                KIND,
                &Bytes::from(slots.taken.len().to_be_bytes().to_vec()),
                Seq(3),
            )
        };
        assert_eq!(BTreeSet::from([next(), next()]), BTreeSet::from([0, 1]));
        assert_eq!(next(), 4);
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
                    } else {
                        slots.remove(KIND, &key(*n));
                    }
                    let all: BTreeSet<_> = slots.taken.values().map(|p| p.slot).chain(slots.free.iter().copied()).collect();
                    assert_eq!(all, (0..slots.end).collect());
                    assert_eq!(slots.taken.len() + slots.free.len(), all.len());
                }
            };
            run(&mut slots, &kept, 1);
            slots.keep();
            let before = (slots.taken.clone(), slots.free.clone(), slots.end);
            run(&mut slots, &undone, 100);
            slots.revert();
            prop_assert_eq!((slots.taken, slots.free, slots.end), before);
        }
    }
}
