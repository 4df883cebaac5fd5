use crate::digest::Sha256;

/// An order-free hash of a set of things, each with a name of 16 bytes and the number of its last change.
///
/// It is the sum of SHA-256(name, number) over all of them, each hash taken as four little-endian numbers of 64 bits
/// that are added modulo 2^64. So things come and go in any order at the same small cost, the hashes of two disjoint
/// sets add up to that of both, and a thing that was taken in twice shows. It tells accidents apart, not attacks: who
/// chooses names freely can make two sets that have one sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetHash {
    sum: [u64; 4],
    count: u64,
}

impl SetHash {
    /// The hash of `count` things with the sum `sum`, as another side tells it.
    #[must_use]
    pub fn told(sum: &[u8; 32], count: u64) -> Self {
        Self {
            sum: lanes(sum),
            count,
        }
    }

    /// Takes in `name` at `number`. It must not be there.
    pub fn insert(&mut self, name: &[u8; 16], number: u64) {
        *self = self.plus(Self::of(name, number));
    }

    /// Takes out `name`, which was taken in at `number`.
    pub fn remove(&mut self, name: &[u8; 16], number: u64) {
        let gone = Self::of(name, number);
        self.merge(gone, u64::wrapping_sub);
    }

    /// The hash of this set and another one that has nothing in common with it.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.merge(other, u64::wrapping_add);
        self
    }

    /// How many things there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The sum over all of them.
    #[must_use]
    pub fn sum(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.sum) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }

    fn of(name: &[u8; 16], number: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(name);
        hash.update(&number.to_be_bytes());
        Self {
            sum: lanes(&hash.finish()),
            count: 1,
        }
    }

    fn merge(&mut self, other: Self, op: fn(u64, u64) -> u64) {
        for (mine, theirs) in self.sum.iter_mut().zip(other.sum) {
            *mine = op(*mine, theirs);
        }
        self.count = op(self.count, other.count);
    }
}

fn lanes(bytes: &[u8; 32]) -> [u64; 4] {
    let mut lanes = [0; 4];
    for (lane, chunk) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
        *lane = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(things: &[(u8, u64)]) -> SetHash {
        let mut hash = SetHash::default();
        for (name, number) in things {
            hash.insert(&[*name; 16], *number);
        }
        hash
    }

    #[test]
    fn order_and_detours_do_not_show_and_everything_else_does() {
        let three = of(&[(1, 1), (2, 1), (3, 9)]);
        assert_eq!(three, of(&[(3, 9), (1, 1), (2, 1)]));
        let mut detour = of(&[(4, 4), (3, 8), (2, 1)]);
        detour.remove(&[4; 16], 4);
        detour.remove(&[3; 16], 8);
        detour.insert(&[3; 16], 9);
        detour.insert(&[1; 16], 1);
        assert_eq!(three, detour);
        assert_eq!(of(&[(1, 1)]).plus(of(&[(2, 1), (3, 9)])), three);
        for other in [
            &[(1, 1), (2, 1)][..],
            &[(1, 1), (2, 1), (3, 8)],
            &[(1, 1), (2, 9), (3, 1)],
            &[(1, 1), (2, 1), (3, 9), (3, 9)],
            &[(1, 1), (2, 1), (4, 9)],
        ] {
            assert_ne!(three, of(other), "{other:?}");
            assert_ne!(three.sum(), of(other).sum(), "{other:?}");
        }
        assert_eq!(SetHash::told(&three.sum(), three.count()), three);
        assert_eq!(of(&[]).sum(), [0; 32]);
    }

    /// SHA-256 over 16 bytes of 1 and the number 2, made by another program.
    #[test]
    fn one_thing_alone_has_the_hash_of_its_name_and_number() {
        let mut bytes = [1; 24];
        bytes[16..].copy_from_slice(&2_u64.to_be_bytes());
        assert_eq!(of(&[(1, 2)]).sum(), crate::digest::sha256(&bytes));
        assert_eq!(of(&[(1, 2)]).sum()[..4], KNOWN);
    }

    const KNOWN: [u8; 4] = [0xef, 0x3a, 0x8e, 0x80];
}
