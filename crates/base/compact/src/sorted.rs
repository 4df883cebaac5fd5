use core::cmp::Ordering;

/// A list of slots in an order that their owner knows, about 4 bytes for each.
///
/// Slots mostly come in their order and then stand in full pieces; one that comes late moves a piece of at most
/// 512 slots and not the whole list. The order is told by `compare`: how the slot given stands to the one that is
/// looked for.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// Never an empty one.
    pieces: Vec<Vec<u32>>,
    len: usize,
}

/// Most slots in one piece.
const PIECE: usize = 512;

impl Sorted {
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

    /// All slots in their order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.pieces.iter().flatten().copied()
    }

    /// The slots that `compare` puts behind what is looked for, in their order.
    pub fn after(&self, compare: impl Fn(u32) -> Ordering) -> impl Iterator<Item = u32> {
        let (piece, place) = self.locate(compare);
        let skipped = match place {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        let mut rest = self.pieces.iter().skip(piece);
        let first = rest.next().map(Vec::as_slice).unwrap_or_default();
        let first = first.get(skipped..).unwrap_or_default();
        first.iter().chain(rest.flatten()).copied()
    }

    /// The slot that `compare` finds equal.
    pub fn find(&self, compare: impl Fn(u32) -> Ordering) -> Option<u32> {
        let (piece, place) = self.locate(compare);
        self.pieces.get(piece)?.get(place.ok()?).copied()
    }

    /// Adds `slot`. `false`, and nothing is done, where an equal one is there.
    pub fn insert(&mut self, slot: u32, compare: impl Fn(u32) -> Ordering) -> bool {
        let (mut at, place) = self.locate(compare);
        let Err(mut place) = place else {
            return false;
        };
        let is_last = at + 1 >= self.pieces.len();
        if self
            .pieces
            .get(at)
            .is_none_or(|piece| is_last && place == PIECE && piece.len() == PIECE)
        {
            // In order behind a full piece, which stays full. Most lists have one piece, and need no room for four.
            if self.pieces.is_empty() {
                self.pieces.reserve_exact(1);
            }
            self.pieces.push(vec![slot]);
            self.len += 1;
            return true;
        }
        if let Some(piece) = self.pieces.get_mut(at)
            && piece.len() == PIECE
        {
            let second = piece.split_off(PIECE / 2);
            self.pieces.insert(at + 1, second);
            if place > PIECE / 2 {
                (at, place) = (at + 1, place - PIECE / 2);
            }
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            if piece.len() == piece.capacity() {
                // Doubling would leave every list of a million half empty.
                piece.reserve_exact((piece.len() / 4).max(4).min(PIECE - piece.len()));
            }
            piece.insert(place, slot);
            self.len += 1;
        }
        true
    }

    /// Takes out the slot that `compare` finds equal.
    pub fn remove(&mut self, compare: impl Fn(u32) -> Ordering) -> Option<u32> {
        let (at, place) = self.locate(compare);
        let piece = self.pieces.get_mut(at)?;
        let slot = piece.remove(place.ok()?);
        self.len -= 1;
        let left = piece.len();
        if left <= PIECE / 4 {
            self.join(at);
        }
        if let Some(piece) = self.pieces.get_mut(at)
            && piece.capacity() > 2 * piece.len() + 8
        {
            piece.shrink_to(piece.len() + piece.len() / 4);
        }
        Some(slot)
    }

    /// Puts a piece that became small together with its neighbour, if both are; drops an empty one.
    fn join(&mut self, at: usize) {
        let size = |at: usize| self.pieces.get(at).map(Vec::len);
        let Some(own) = size(at) else { return };
        if own == 0 {
            self.pieces.remove(at);
        } else if size(at + 1).is_some_and(|next| own + next <= PIECE / 2) {
            let next = self.pieces.remove(at + 1);
            if let Some(piece) = self.pieces.get_mut(at) {
                piece.extend(next);
            }
        }
        if self.pieces.capacity() > 2 * self.pieces.len() + 8 {
            self.pieces.shrink_to(self.pieces.len());
        }
    }

    /// The piece, and the place in it, where what is looked for stands or would stand.
    fn locate(&self, compare: impl Fn(u32) -> Ordering) -> (usize, Result<usize, usize>) {
        // Most come behind all others, which one look tells.
        if let Some(last) = self.pieces.last()
            && last.last().is_some_and(|slot| compare(*slot) == Ordering::Less)
        {
            return (self.pieces.len() - 1, Err(last.len()));
        }
        let begins_behind = |piece: &Vec<u32>| {
            piece
                .first()
                .is_none_or(|first| compare(*first) != Ordering::Greater)
        };
        let piece = self.pieces.partition_point(begins_behind).saturating_sub(1);
        let place = match self.pieces.get(piece) {
            Some(slots) => slots.binary_search_by(|slot| compare(*slot)),
            None => Err(0),
        };
        (piece, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(wanted: u32) -> impl Fn(u32) -> Ordering {
        move |slot| slot.cmp(&wanted)
    }

    fn check(list: &Sorted, model: &BTreeSet<u32>) {
        assert_eq!(list.len(), model.len());
        assert_eq!(list.is_empty(), model.is_empty());
        assert!(list.iter().eq(model.iter().copied()));
        assert!(list.pieces.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
    }

    proptest! {
        #[test]
        fn it_is_the_list_that_a_set_would_give(
            ops in prop::collection::vec((0..4_000_u32, 0..3_u8), 0..3_000),
            from in 0..4_000_u32,
        ) {
            let (mut list, mut model) = (Sorted::default(), BTreeSet::new());
            // Many in order first, so that there are full pieces.
            for slot in (0..4_000).step_by(2) {
                list.insert(slot, at(slot));
                model.insert(slot);
            }
            for (slot, op) in ops {
                if op == 0 {
                    prop_assert_eq!(list.insert(slot, at(slot)), model.insert(slot));
                } else {
                    prop_assert_eq!(list.remove(at(slot)).is_some(), model.remove(&slot));
                }
                prop_assert_eq!(list.find(at(slot)).is_some(), model.contains(&slot));
            }
            check(&list, &model);
            prop_assert!(list.after(at(from)).eq(model.range(from + 1..).copied()));
        }
    }

    #[test]
    fn it_is_dense_in_order_and_bounded_after_churn() {
        let mut list = Sorted::default();
        for slot in 0..100_000 {
            list.insert(slot, at(slot));
        }
        assert!(list.pieces.iter().rev().skip(1).all(|piece| piece.len() == PIECE));
        let room = |list: &Sorted| list.pieces.iter().map(Vec::capacity).sum::<usize>();
        assert!(room(&list) < 100_000 + 2 * PIECE, "{}", room(&list));
        for slot in (0..100_000).filter(|slot| slot % 100 != 0) {
            list.remove(at(slot));
        }
        check(&list, &(0..100_000).step_by(100).collect());
        assert!(room(&list) <= 4_000, "{}", room(&list));
    }
}
