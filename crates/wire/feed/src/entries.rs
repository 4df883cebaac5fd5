use crate::FeedEntry;
use core::{fmt, slice};
use signet_crypto::SetHash;
use std::sync::Arc;

/// The entries of a node, by id.
///
/// Clones share what they have in common: taking in a change costs a few small copies whatever the size of the set, and
/// what differs between two sets is found without looking at what they share.
#[derive(Clone, Default)]
pub struct EntrySet {
    root: Option<Arc<Part>>,
    len: usize,
}

/// How an entry differs between two sets; at least one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange {
    /// As it was.
    pub before: Option<Arc<FeedEntry>>,
    /// As it is.
    pub after: Option<Arc<FeedEntry>>,
}

/// The entries whose ids begin alike.
#[derive(Clone)]
enum Part {
    /// A few, by id.
    Leaf(Vec<Arc<FeedEntry>>),
    /// By the next four bits of the id.
    Branch([Option<Arc<Part>>; 16]),
}

/// More than this are told apart by four more bits of their ids.
const LEAF_MAX: usize = 16;

impl EntrySet {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The one with this id.
    #[must_use]
    pub fn get(&self, id: &[u8; 16]) -> Option<&Arc<FeedEntry>> {
        let mut part = self.root.as_ref()?;
        let mut depth = 0;
        loop {
            match &**part {
                Part::Leaf(entries) => {
                    let place = entries.binary_search_by(|entry| entry.id.cmp(id)).ok()?;
                    return entries.get(place);
                }
                Part::Branch(children) => part = children.get(nibble(id, depth))?.as_ref()?,
            }
            depth += 1;
        }
    }

    /// Takes `entry` in, in the place of the one with its id, which is returned.
    pub fn put(&mut self, entry: Arc<FeedEntry>) -> Option<Arc<FeedEntry>> {
        let root = self.root.get_or_insert_with(|| Arc::new(Part::Leaf(Vec::new())));
        let before = put(root, 0, entry);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes out the one with this id, if it is there.
    pub fn remove(&mut self, id: &[u8; 16]) -> Option<Arc<FeedEntry>> {
        // Nothing is copied for one that is not there.
        self.get(id)?;
        let gone = remove(self.root.as_mut()?, 0, id);
        self.len -= usize::from(gone.is_some());
        gone
    }

    /// All of them, by id, which is by age.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            stack: vec![slice::from_ref(&self.root).iter()],
            leaf: [].iter(),
        }
    }

    /// The hash over their ids and last changes, counted anew.
    #[must_use]
    pub fn digest(&self) -> SetHash {
        let mut hash = SetHash::default();
        self.iter().for_each(|entry| hash.insert(&entry.id, entry.seq));
        hash
    }

    /// What became of the entries of `before`.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<EntryChange> {
        let mut changes = Vec::new();
        compare(before.root.as_ref(), self.root.as_ref(), &mut changes);
        changes
    }
}

fn nibble(id: &[u8; 16], depth: usize) -> usize {
    let byte = id.get(depth / 2).copied().unwrap_or_default();
    usize::from(if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 15
    })
}

fn put(part: &mut Arc<Part>, depth: usize, entry: Arc<FeedEntry>) -> Option<Arc<FeedEntry>> {
    match Arc::make_mut(part) {
        Part::Branch(children) => {
            let child = children.get_mut(nibble(&entry.id, depth))?;
            let child = child.get_or_insert_with(|| Arc::new(Part::Leaf(Vec::new())));
            put(child, depth + 1, entry)
        }
        Part::Leaf(entries) => match entries.binary_search_by(|known| known.id.cmp(&entry.id)) {
            Ok(place) => {
                let known = entries.get_mut(place)?;
                Some(core::mem::replace(known, entry))
            }
            Err(place) => {
                entries.insert(place, entry);
                if entries.len() > LEAF_MAX {
                    let mut branch = Arc::new(Part::Branch(Default::default()));
                    for entry in core::mem::take(entries) {
                        put(&mut branch, depth, entry);
                    }
                    *part = branch;
                }
                None
            }
        },
    }
}

fn remove(part: &mut Arc<Part>, depth: usize, id: &[u8; 16]) -> Option<Arc<FeedEntry>> {
    match Arc::make_mut(part) {
        Part::Branch(children) => {
            let child = children.get_mut(nibble(id, depth))?;
            let gone = remove(child.as_mut()?, depth + 1, id);
            if child.as_ref().is_some_and(|child| child.is_empty()) {
                *child = None;
            }
            gone
        }
        Part::Leaf(entries) => {
            let place = entries.binary_search_by(|known| known.id.cmp(id)).ok()?;
            Some(entries.remove(place))
        }
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.is_empty(),
            Self::Branch(children) => children.iter().all(Option::is_none),
        }
    }
}

fn compare(before: Option<&Arc<Part>>, after: Option<&Arc<Part>>, changes: &mut Vec<EntryChange>) {
    match (before.map(|part| &**part), after.map(|part| &**part)) {
        (Some(one), Some(other)) if core::ptr::eq(one, other) => {}
        (Some(Part::Branch(one)), Some(Part::Branch(other))) => {
            for (before, after) in one.iter().zip(other) {
                compare(before.as_ref(), after.as_ref(), changes);
            }
        }
        // Of another shape, or small: entry by entry.
        _ => merge(Iter::of(before), Iter::of(after), changes),
    }
}

fn merge(before: Iter<'_>, after: Iter<'_>, changes: &mut Vec<EntryChange>) {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    loop {
        let (one, other) = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(one), Some(other)) if one.id == other.id => (before.next(), after.next()),
            (Some(one), Some(other)) if one.id > other.id => (None, after.next()),
            (None, Some(_)) => (None, after.next()),
            (Some(_), _) => (before.next(), None),
        };
        if one != other {
            changes.push(EntryChange {
                before: one.cloned(),
                after: other.cloned(),
            });
        }
    }
}

/// Walks an [`EntrySet`].
pub struct Iter<'a> {
    stack: Vec<slice::Iter<'a, Option<Arc<Part>>>>,
    leaf: slice::Iter<'a, Arc<FeedEntry>>,
}

impl<'a> Iter<'a> {
    fn of(part: Option<&'a Arc<Part>>) -> Self {
        let mut iter = Self {
            stack: Vec::new(),
            leaf: [].iter(),
        };
        if let Some(part) = part {
            iter.enter(part);
        }
        iter
    }

    fn enter(&mut self, part: &'a Part) {
        match part {
            Part::Leaf(entries) => self.leaf = entries.iter(),
            Part::Branch(children) => self.stack.push(children.iter()),
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Arc<FeedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(entry);
            }
            match self.stack.last_mut()?.next() {
                Some(Some(part)) => self.enter(part),
                Some(None) => {}
                None => drop(self.stack.pop()),
            }
        }
    }
}

impl<'a> IntoIterator for &'a EntrySet {
    type Item = &'a Arc<FeedEntry>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Arc<FeedEntry>> for EntrySet {
    fn from_iter<I: IntoIterator<Item = Arc<FeedEntry>>>(entries: I) -> Self {
        let mut set = Self::default();
        for entry in entries {
            set.put(entry);
        }
        set
    }
}

impl fmt::Debug for EntrySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn entry(id: [u8; 16], seq: u64) -> Arc<FeedEntry> {
        Arc::new(FeedEntry {
            seq,
            ..FeedEntry::for_tests(id, "spiffe://a.test/w")
        })
    }

    /// Ids as they are: many of one moment, which differ in two bytes and at the end.
    fn id(number: u16) -> [u8; 16] {
        let mut id = [7; 16];
        id[6..8].copy_from_slice(&(number / 2).to_be_bytes());
        id[15] = u8::from(number.is_multiple_of(2));
        id
    }

    fn known(set: &EntrySet) -> Vec<([u8; 16], u64)> {
        set.iter().map(|entry| (entry.id, entry.seq)).collect()
    }

    proptest! {
        /// Against a map that copies everything.
        #[test]
        fn a_set_is_a_map_and_the_changes_between_two_are_all_there_are(
            steps in prop::collection::vec((0_u16..600, 0_u64..3, any::<bool>()), 0..900),
            cut in 0_usize..900,
        ) {
            let (mut set, mut map) = (EntrySet::default(), BTreeMap::new());
            let mut middle = (set.clone(), map.clone());
            for (at, (number, seq, puts)) in steps.into_iter().enumerate() {
                if at == cut {
                    middle = (set.clone(), map.clone());
                }
                let id = id(number);
                let (one, other) = if puts {
                    (set.put(entry(id, seq)), map.insert(id, seq))
                } else {
                    (set.remove(&id), map.remove(&id))
                };
                prop_assert_eq!(one.map(|entry| entry.seq), other);
            }
            prop_assert_eq!(set.len(), map.len());
            prop_assert_eq!(known(&set), map.iter().map(|(id, seq)| (*id, *seq)).collect::<Vec<_>>());
            prop_assert!(map.iter().all(|(id, seq)| set.get(id).is_some_and(|entry| entry.seq == *seq)));
            prop_assert_eq!(known(&middle.0), middle.1.iter().map(|(id, seq)| (*id, *seq)).collect::<Vec<_>>());
            let mut again = middle.1;
            for change in set.changes_since(&middle.0) {
                prop_assert_ne!(&change.before, &change.after);
                let id = change.before.as_ref().or(change.after.as_ref()).unwrap().id;
                let before = match &change.after {
                    Some(after) => again.insert(id, after.seq),
                    None => again.remove(&id),
                };
                prop_assert_eq!(before, change.before.map(|entry| entry.seq));
            }
            prop_assert_eq!(again, map);
        }
    }

    /// In time proportional to the change: what two sets share is never looked at.
    #[test]
    fn a_change_copies_a_path_and_shares_the_rest() {
        let before: EntrySet = (0..20_000).map(|number| entry(id(number), 1)).collect();
        let mut after = before.clone();
        after.put(entry(id(12_345), 2));
        after.remove(&id(77));
        fn parts(part: &Arc<Part>, found: &mut std::collections::HashSet<*const Part>) {
            found.insert(Arc::as_ptr(part));
            if let Part::Branch(children) = &**part {
                children.iter().flatten().for_each(|child| parts(child, found));
            }
        }
        let (mut old, mut new) = (Default::default(), Default::default());
        parts(before.root.as_ref().unwrap(), &mut old);
        parts(after.root.as_ref().unwrap(), &mut new);
        let fresh = new.difference(&old).count();
        assert!(fresh <= 2 * 33, "{fresh} of {} parts are new", new.len());
        assert!(old.len() > 1_000);
        assert_eq!(after.changes_since(&before).len(), 2);
        assert_eq!((before.len(), after.len()), (20_000, 19_999));
    }
}
