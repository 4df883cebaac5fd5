use crate::Index;
use core::hash::BuildHasher as _;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;

/// Texts, each kept once and counted.
///
/// Long texts that begin alike share the beginning: a text that ends a path, such as an identity or a selector, costs
/// what stands behind its directory and about 20 bytes. A text has a number, its *slot*, as long as it is used; the
/// numbers of texts that went are given out again.
///
/// A beginning ends behind a `/` or `:` and is shared from its second use on, as far as two uses are seen within some
/// thousand texts: so what differs in every text never becomes a beginning that stands alone.
#[derive(Clone, Debug)]
pub struct Texts {
    rows: Vec<Row>,
    /// How often the texts are used that have [`MANY`] uses.
    many: HashMap<u32, u32>,
    /// The last row that was freed; the others follow in `Row::at`.
    free: u32,
    /// What stands behind the heads.
    tails: Vec<u8>,
    /// Bytes of `tails` that no row has any more.
    garbage: usize,
    index: Index,
    heads: Heads,
    hashing: RandomState,
}

/// One text. Packed, because there are millions: fields are copied out, never borrowed.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
struct Row {
    /// The beginning, or [`NO_HEAD`], in 24 bits.
    head: [u8; 3],
    /// By how many it is used; 0 in a free row, and [`MANY`] where that is told elsewhere.
    uses: u8,
    /// Where the rest begins in the bytes of all tails; of a free row the next free one.
    at: u32,
    bytes: u16,
}

const NONE: u32 = u32::MAX;
/// Stands alone. There are fewer heads than this.
const NO_HEAD: u32 = 0xff_ffff;
/// So many uses or more: few texts have them, and those are counted elsewhere.
const MANY: u8 = u8::MAX;
/// A tail of so many bytes needs no longer head.
const TAIL_SHORT: usize = 16;
/// How many places in a text, from its end, are looked at as the end of a head.
const CUTS_MAX: usize = 6;
/// How many hashes of possible heads are remembered: 32 KiB.
const SEEN: usize = 16 * 1024;
/// So much garbage is never worth the work.
const GARBAGE_FINE: usize = 16 * 1024;

impl Default for Texts {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            many: HashMap::new(),
            free: NONE,
            tails: Vec::new(),
            garbage: 0,
            index: Index::default(),
            heads: Heads::default(),
            hashing: RandomState::new(),
        }
    }
}

impl Texts {
    /// The longest text, in bytes.
    pub const BYTES_MAX: usize = 65_535;

    /// How many different texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The slot of `text`, if it is kept.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.index
            .find(self.hashing.hash_one(text), |slot| self.is(slot, text))
    }

    /// Makes room for `texts` different texts in all. Room that is not used costs no memory.
    pub fn reserve(&mut self, texts: usize) {
        let (index, rows) = (&mut self.index, (&self.rows, &self.tails, &self.heads));
        index.reserve(texts, |slot| hash_of(rows.0, rows.1, rows.2, &self.hashing, slot));
        self.rows.reserve_exact(texts.saturating_sub(self.rows.len()));
    }

    /// By how many `slot` is used; 0 where there is no such text.
    #[must_use]
    pub fn uses(&self, slot: u32) -> u32 {
        match self.row(slot).map_or(0, |row| row.uses) {
            MANY => self.many.get(&slot).copied().unwrap_or(u32::MAX),
            few => few.into(),
        }
    }

    /// Whether the text of `slot` is `text`.
    #[must_use]
    pub fn is(&self, slot: u32, text: &[u8]) -> bool {
        let (head, tail) = self.parts(slot);
        text.len() == head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
    }

    /// The text of `slot`; empty where there is none.
    #[must_use]
    pub fn read(&self, slot: u32) -> Vec<u8> {
        let (head, tail) = self.parts(slot);
        [head, tail].concat()
    }

    /// Adds a use of `text` and gives its slot. `None` where it is longer than [`Texts::BYTES_MAX`], or where the
    /// tails of all texts would be more than 4 GiB.
    pub fn take(&mut self, text: &[u8]) -> Option<u32> {
        let hash = self.hashing.hash_one(text);
        if let Some(slot) = self.index.find(hash, |slot| self.is(slot, text)) {
            self.use_more(slot)?;
            return Some(slot);
        }
        let bytes = u16::try_from(text.len()).ok()?;
        let at = u32::try_from(self.tails.len()).ok()?;
        u32::try_from(self.tails.len() + text.len()).ok()?;
        let head = self.heads.take(text);
        let tail = text.get(self.heads.text(head).len()..).unwrap_or_default();
        self.tails.extend_from_slice(tail);
        let [_, head @ ..] = head.to_be_bytes();
        let row = Row {
            head,
            uses: 1,
            at,
            bytes: bytes - u16::try_from(text.len() - tail.len()).unwrap_or(0),
        };
        let slot = self.place(row)?;
        let (index, rows) = (&mut self.index, (&self.rows, &self.tails, &self.heads));
        index.insert(hash, slot, |slot| {
            hash_of(rows.0, rows.1, rows.2, &self.hashing, slot)
        });
        Some(slot)
    }

    /// Takes back one use of `slot`; after the last one the text is gone.
    pub fn release(&mut self, slot: u32) {
        if self.use_less(slot) != Some(0) {
            return;
        }
        let Some(gone) = self.rows.get(index(slot)).copied() else {
            return;
        };
        let hashing = &self.hashing;
        let of = |slot: u32| hash_of(&self.rows, &self.tails, &self.heads, hashing, slot);
        self.index.remove(of(slot), |found| found == slot, of);
        self.heads.release(gone.head());
        self.garbage += usize::from(gone.bytes);
        if let Some(row) = self.rows.get_mut(index(slot)) {
            row.at = self.free;
            self.free = slot;
        }
        if self.garbage > GARBAGE_FINE && self.garbage > self.tails.len() / 2 {
            self.compact();
        }
        if self.index.is_empty() {
            (self.rows, self.free) = (Vec::new(), NONE);
        }
    }

    /// The bytes that it holds: what it would need if nothing were allocated in advance.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.tails.len() + self.heads.bytes()
    }

    fn use_more(&mut self, slot: u32) -> Option<()> {
        let row = self.rows.get_mut(index(slot))?;
        if row.uses == MANY {
            let uses = self.many.get_mut(&slot)?;
            *uses = uses.checked_add(1)?;
            return Some(());
        }
        row.uses += 1;
        if row.uses == MANY {
            self.many.insert(slot, MANY.into());
        }
        Some(())
    }

    /// How many uses are left; `None` where there was none.
    fn use_less(&mut self, slot: u32) -> Option<u32> {
        let row = self.rows.get_mut(index(slot))?;
        if row.uses < MANY {
            row.uses = row.uses.checked_sub(1)?;
            return Some(row.uses.into());
        }
        let uses = self.many.get_mut(&slot)?;
        *uses -= 1;
        let left = *uses;
        if left < MANY.into() {
            row.uses = MANY - 1;
            self.many.remove(&slot);
        }
        Some(left)
    }

    fn row(&self, slot: u32) -> Option<Row> {
        self.rows.get(index(slot)).copied().filter(|row| row.uses > 0)
    }

    fn parts(&self, slot: u32) -> (&[u8], &[u8]) {
        parts(&self.rows, &self.tails, &self.heads, slot)
    }

    fn place(&mut self, row: Row) -> Option<u32> {
        if let Some(free) = self.rows.get_mut(index(self.free)) {
            let slot = self.free;
            self.free = free.at;
            *free = row;
            return Some(slot);
        }
        let slot = u32::try_from(self.rows.len()).ok().filter(|slot| *slot != NONE)?;
        self.rows.push(row);
        Some(slot)
    }

    /// Moves the tails that are used together.
    fn compact(&mut self) {
        let mut tails = Vec::with_capacity(self.tails.len() - self.garbage);
        for row in self.rows.iter_mut().filter(|row| row.uses > 0) {
            let from = index(row.at);
            let tail = self
                .tails
                .get(from..from + usize::from(row.bytes))
                .unwrap_or_default();
            // Fits: it is shorter than the one that it is copied from.
            row.at = u32::try_from(tails.len()).unwrap_or(NONE);
            tails.extend_from_slice(tail);
        }
        (self.tails, self.garbage) = (tails, 0);
    }
}

fn parts<'a>(rows: &[Row], tails: &'a [u8], heads: &'a Heads, slot: u32) -> (&'a [u8], &'a [u8]) {
    let Some(row) = rows.get(index(slot)) else {
        return (&[], &[]);
    };
    let from = index(row.at);
    let tail = tails.get(from..from + usize::from(row.bytes)).unwrap_or_default();
    (heads.text(row.head()), tail)
}

impl Row {
    fn head(self) -> u32 {
        let [a, b, c] = self.head;
        u32::from_be_bytes([0, a, b, c])
    }
}

fn hash_of(rows: &[Row], tails: &[u8], heads: &Heads, hashing: &RandomState, slot: u32) -> u64 {
    let (head, tail) = parts(rows, tails, heads, slot);
    hashing.hash_one([head, tail].concat().as_slice())
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

/// The beginnings that several texts share. There are far fewer than texts.
#[derive(Clone, Debug, Default)]
struct Heads {
    /// Text and uses.
    rows: Vec<(Box<[u8]>, u32)>,
    free: Vec<u32>,
    index: Index,
    hashing: RandomState,
    /// Which hashes came lately; a later one takes the place of an earlier one.
    seen: Vec<u16>,
}

impl Heads {
    fn text(&self, head: u32) -> &[u8] {
        self.rows.get(index(head)).map(|row| &*row.0).unwrap_or_default()
    }

    /// Chooses the head of `text` and adds a use of it; [`NO_HEAD`] where it stands alone.
    fn take(&mut self, text: &[u8]) -> u32 {
        let known = cuts(text).find_map(|cut| {
            let head = text.get(..cut)?;
            self.find(self.hashing.hash_one(head), head)
                .map(|slot| (slot, cut))
        });
        let begin = known.map_or(0, |(_, cut)| cut);
        if text.len() - begin > TAIL_SHORT
            && let Some(cut) = self.seen_before(text, begin)
            && let Some(slot) = self.make(text.get(..cut).unwrap_or_default())
        {
            return slot;
        }
        let Some((slot, _)) = known else { return NO_HEAD };
        if let Some(row) = self.rows.get_mut(index(slot)) {
            row.1 += 1;
        }
        slot
    }

    fn release(&mut self, head: u32) {
        let Some(row) = self.rows.get_mut(index(head)) else {
            return;
        };
        row.1 = row.1.saturating_sub(1);
        if row.1 > 0 {
            return;
        }
        let text = core::mem::take(&mut row.0);
        let hash = self.hashing.hash_one(&*text);
        let (rows, hashing) = (&self.rows, &self.hashing);
        let of = |slot: u32| hashing.hash_one(rows.get(index(slot)).map(|row| &*row.0).unwrap_or_default());
        self.index.remove(hash, |slot| slot == head, of);
        self.free.push(head);
    }

    fn find(&self, hash: u64, head: &[u8]) -> Option<u32> {
        self.index.find(hash, |slot| self.text(slot) == head)
    }

    /// The best cut behind `begin` of which the head came before: the shortest that leaves a short tail, else the
    /// longest. All of them are remembered.
    fn seen_before(&mut self, text: &[u8], begin: usize) -> Option<usize> {
        self.seen.resize(SEEN, 0);
        let mut best = None;
        for cut in cuts(text).take_while(|cut| *cut > begin) {
            let hash = self.hashing.hash_one(text.get(..cut).unwrap_or_default());
            let [a, b, _, _, rest @ ..] = hash.to_le_bytes();
            let place = usize::try_from(u32::from_le_bytes(rest)).unwrap_or(0) % SEEN;
            let Some(seen) = self.seen.get_mut(place) else {
                continue;
            };
            // From the longest to the shortest.
            if core::mem::replace(seen, u16::from_le_bytes([a, b])) == *seen
                && (best.is_none() || text.len() - cut <= TAIL_SHORT)
            {
                best = Some(cut);
            }
        }
        best
    }

    fn make(&mut self, head: &[u8]) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.rows.len())
                    .ok()
                    .filter(|slot| *slot < NO_HEAD)?;
                self.rows.push((Box::default(), 0));
                slot
            }
        };
        *self.rows.get_mut(index(slot))? = (head.into(), 1);
        let (rows, hashing) = (&self.rows, &self.hashing);
        let of = |slot: u32| hashing.hash_one(rows.get(index(slot)).map(|row| &*row.0).unwrap_or_default());
        self.index.insert(hashing.hash_one(head), slot, of);
        Some(slot)
    }

    fn bytes(&self) -> usize {
        self.rows.iter().map(|row| row.0.len() + size_of_val(row)).sum()
    }
}

/// Where a head of `text` may end, the longest first: behind a `/` or `:` that something follows.
fn cuts(text: &[u8]) -> impl Iterator<Item = usize> {
    let ends = |(at, byte): (usize, &u8)| matches!(byte, b'/' | b':').then_some(at + 1);
    let inner = text.len().saturating_sub(1);
    let inner = text.get(..inner).unwrap_or_default();
    inner.iter().enumerate().rev().filter_map(ends).take(CUTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_text_is_kept_once_and_goes_with_its_last_use() {
        let mut texts = Texts::default();
        let a = texts.take(b"unix:uid:1000").unwrap();
        assert_eq!(texts.take(b"unix:uid:1000"), Some(a));
        let b = texts.take(b"unix:uid:1001").unwrap();
        assert_eq!((texts.len(), texts.uses(a), texts.uses(b)), (2, 2, 1));
        texts.release(a);
        assert!(texts.is(a, b"unix:uid:1000"));
        assert!(!texts.is(a, b"unix:uid:100") && !texts.is(a, b"unix:uid:10000"));
        texts.release(a);
        texts.release(a);
        assert_eq!(
            (texts.find(b"unix:uid:1000"), texts.uses(a), texts.len()),
            (None, 0, 1)
        );
        assert_eq!(texts.take(b"other"), Some(a), "slots are used again");
        assert_eq!(
            (texts.read(a), texts.read(b)),
            (b"other".to_vec(), b"unix:uid:1001".to_vec())
        );
        assert_eq!(texts.take(&[b'x'; Texts::BYTES_MAX + 1]), None);
        let longest = texts.take(&[b'x'; Texts::BYTES_MAX]).unwrap();
        assert_eq!(texts.read(longest).len(), Texts::BYTES_MAX);
    }

    /// Bytes of one text of `count` that `name` makes.
    fn each(count: usize, name: impl Fn(usize) -> String) -> usize {
        let mut texts = Texts::default();
        for n in 0..count {
            texts.take(name(n).as_bytes()).unwrap();
        }
        texts.bytes() / count
    }

    #[test]
    fn beginnings_are_shared_and_what_is_unique_makes_none() {
        let team = |n: usize| n * 7_919 % 100;
        let usual = |n| {
            format!(
                "spiffe://example.org/ns/team-{:04}/sa/service-{n:08}/pay-api",
                team(n)
            )
        };
        // 24 bytes behind the directory, and 10 of the row.
        assert!(each(20_000, usual) <= 36, "{}", each(20_000, usual));
        // The part that differs stands early: nothing behind it is worth a head.
        let early = |n| format!("spiffe://example.org/app/{n:036}/a-rather-long-name-of-a-workload");
        assert!(each(20_000, early) <= 36 + 34 + 10 + 6, "{}", each(20_000, early));
        let path = |n| format!("unix:path:/usr/lib/services/of/this/machine/service-{n:08}");
        assert!(each(20_000, path) <= 16 + 10 + 2, "{}", each(20_000, path));
    }

    #[test]
    fn many_uses_are_counted_as_few_are() {
        let mut texts = Texts::default();
        let slot = texts.take(b"unix:uid:1000").unwrap();
        for uses in 2..=1_000 {
            assert_eq!(texts.take(b"unix:uid:1000"), Some(slot));
            assert_eq!(texts.uses(slot), uses);
        }
        for uses in (0..1_000).rev() {
            texts.release(slot);
            assert_eq!(texts.uses(slot), uses);
        }
        texts.release(slot);
        assert!(texts.is_empty() && texts.many.is_empty());
    }

    /// Few beginnings and few ends, some of them long.
    fn text() -> impl Strategy<Value = String> {
        let begin = prop::sample::select(vec!["", "/", "a:", "/a/b/", "a-long-beginning/of-a-text/"]);
        (begin, 0..4_u8, 0..3_usize)
            .prop_map(|(begin, n, long)| format!("{begin}{n}/{}", "x".repeat(20 * long)))
    }

    proptest! {
        #[test]
        fn it_keeps_what_a_map_would_keep(
            ops in prop::collection::vec((text(), 0..4_u8), 0..400),
        ) {
            let (mut texts, mut model) = (Texts::default(), HashMap::<String, (u32, u32)>::new());
            for (text, op) in ops {
                let known = model.get(&text).copied();
                if op < 2 {
                    let slot = texts.take(text.as_bytes()).unwrap();
                    prop_assert!(known.is_none_or(|(was, _)| was == slot));
                    model.entry(text).or_insert((slot, 0)).1 += 1;
                } else if let Some((slot, uses)) = known {
                    texts.release(slot);
                    if uses == 1 {
                        model.remove(&text);
                    } else {
                        model.insert(text, (slot, uses - 1));
                    }
                }
            }
            prop_assert_eq!(texts.len(), model.len());
            prop_assert_eq!(texts.is_empty(), model.is_empty());
            for (text, (slot, uses)) in &model {
                prop_assert_eq!(texts.find(text.as_bytes()), Some(*slot));
                prop_assert_eq!(texts.uses(*slot), *uses);
                prop_assert_eq!(texts.read(*slot), text.as_bytes());
            }
        }
    }

    #[test]
    fn memory_is_bounded_after_churn() {
        let mut texts = Texts::default();
        let name = |n: usize| format!("spiffe://example.org/round/{:04}/workload-{n:08}", n / 100);
        let mut kept: std::collections::VecDeque<u32> = (0..2_000)
            .map(|n| texts.take(name(n).as_bytes()).unwrap())
            .collect();
        let before = texts.bytes();
        for n in 2_000..100_000 {
            texts.release(kept.pop_front().unwrap());
            kept.push_back(texts.take(name(n).as_bytes()).unwrap());
        }
        assert!(
            texts.bytes() < 2 * before + 2 * GARBAGE_FINE,
            "{} after {before}",
            texts.bytes()
        );
        assert_eq!(texts.read(*kept.back().unwrap()), name(99_999).as_bytes());
        kept.into_iter().for_each(|slot| texts.release(slot));
        assert_eq!(
            (texts.len(), texts.rows.len(), texts.heads.index.len()),
            (0, 0, 0)
        );
    }
}
