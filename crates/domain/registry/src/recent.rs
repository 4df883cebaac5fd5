use crate::state::{ENTRY, SCHEMA};
use crate::{Entry, EntryId};
use signet_compact::Texts;
use signet_id::SpiffeId;
use signet_store::{Cursor, Earlier, LogEntry, Past, Seq};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What changed lately, by node, so that whoever knew the registry at one place in the log can be told the rest in a
/// time that depends on the changes and on nothing else.
///
/// It reaches back over the last [`PLACES_MAX`] changes of the log, of whatever kind; after a start over fewer, see
/// [`PAST_MAX`]. Who was away for longer, or knew another log, is not told anything here.
#[derive(Debug)]
pub struct Recent {
    places_max: usize,
    head: Option<Cursor>,
    /// The places up to `head`, without a gap.
    places: VecDeque<Mark>,
    /// All changes after the first of those places, oldest first. They are numbered, and this many went before them.
    touches: VecDeque<Row>,
    forgotten: u64,
    nodes: Texts,
    /// The number of the last change of an entry of each node, by the slot of its name. One that was forgotten, or of
    /// the node that had the slot before, is not found any more.
    last: Vec<u64>,
    /// The same of the entries of every node.
    last_everywhere: u64,
}

/// A place in the log: half of its chain hash, which is enough to tell logs apart.
type Mark = [u8; 16];

/// A change, as far as those need to know who are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Where in the log.
    pub seq: Seq,
    /// The node that it is about; `None` is every node.
    pub node: Option<SpiffeId>,
    /// The entry that it is about; `None` if it is about the node itself.
    pub entry: Option<EntryId>,
}

/// The same as it is kept. Packed, because there are thousands: fields are copied out, never borrowed.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
struct Row {
    seq: u64,
    /// The slot of the node's name, or [`EVERY`].
    node: u32,
    /// How many numbers before this one the last change of an entry of the same node has; 0 if there was none.
    before: u32,
    id: EntryId,
    /// Whether it is about an entry; the rest says something of that.
    of_entry: bool,
    /// Whether the entry had the same parent before.
    was_there: bool,
    /// Whether the entry is a template, or was one before.
    is_template: bool,
}

const EVERY: u32 = u32::MAX;

/// Where an entry belonged, and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Was<'a> {
    pub(crate) parent: Option<&'a SpiffeId>,
    pub(crate) is_template: bool,
}

impl<'a> From<&'a Entry> for Was<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            parent: entry.parent_id.as_ref(),
            is_template: entry.spiffe_id.template().is_some(),
        }
    }
}

/// What a record in the log says of that.
struct Left {
    parent: Option<SpiffeId>,
    is_template: bool,
}

impl Left {
    fn of(key: &[u8], body: &[u8]) -> Option<Self> {
        let Entry {
            parent_id: parent,
            spiffe_id,
            ..
        } = Entry::from_body(key, Seq::ZERO, body)?;
        let is_template = spiffe_id.template().is_some();
        Some(Self { parent, is_template })
    }

    fn was(&self) -> Was<'_> {
        Was {
            parent: self.parent.as_ref(),
            is_template: self.is_template,
        }
    }
}

/// How far [`Recent`] reaches back, in changes of the log. Some 1 MB.
pub const PLACES_MAX: usize = 16_384;

/// How many changes before its start a server reads, so that agents that were connected to it go on with what changed. A
/// restart takes seconds, and each costs a little of the start's time and memory.
pub const PAST_MAX: usize = 4_096;

impl Default for Recent {
    fn default() -> Self {
        Self::reaching(PLACES_MAX)
    }
}

impl Recent {
    fn reaching(places_max: usize) -> Self {
        Self {
            places_max,
            head: None,
            places: VecDeque::new(),
            touches: VecDeque::new(),
            forgotten: 0,
            nodes: Texts::default(),
            last: Vec::new(),
            last_everywhere: 0,
        }
    }

    /// The place in the log that the registry is at; `None` before it was loaded.
    #[must_use]
    pub fn place(&self) -> Option<Cursor> {
        self.head
    }

    /// The changes after `place`, oldest first; `None` where that cannot be told. Of those that a server read at its
    /// start, only the ones of entries are among them.
    #[must_use]
    pub fn touches_since(&self, place: &Cursor) -> Option<impl Iterator<Item = Touch> + use<'_>> {
        self.covers(place).then(|| {
            let from = self.touches.partition_point(|touch| touch.seq <= place.seq.0);
            self.touches.range(from..).map(|touch| self.touch(*touch))
        })
    }

    /// The entries that changed for `node` after `place`, each with whether the node might serve it at `place`. `None`
    /// where that cannot be told.
    #[must_use]
    pub fn entries_since(&self, place: &Cursor, node: &SpiffeId) -> Option<BTreeMap<EntryId, bool>> {
        if !self.covers(place) {
            return None;
        }
        let mut first: BTreeMap<EntryId, (u64, bool)> = BTreeMap::new();
        for touch in self.concerning(place, node) {
            let (seq, had) = first.entry(touch.id).or_insert((touch.seq, touch.was_there));
            // An entry that went from every node to this one alone, or back, is in both lists at once.
            if touch.seq < *seq {
                (*seq, *had) = (touch.seq, touch.was_there);
            } else if touch.seq == *seq {
                *had |= touch.was_there;
            }
        }
        Some(first.into_iter().map(|(id, (_, had))| (id, had)).collect())
    }

    /// Whether an entry changed for `node` after `place` that is a template, or was one. `None` where that cannot be told.
    #[must_use]
    pub fn templates_since(&self, place: &Cursor, node: &SpiffeId) -> Option<bool> {
        self.covers(place)
            .then(|| self.concerning(place, node).any(|touch| touch.is_template))
    }

    /// Whether `place` is one of the places from which on everything is known here.
    fn covers(&self, place: &Cursor) -> bool {
        let Some(head) = self.head.filter(|head| head.epoch == place.epoch) else {
            return false;
        };
        let back = head.seq.0.checked_sub(place.seq.0);
        let index = back
            .and_then(|back| usize::try_from(back).ok())
            .and_then(|back| self.places.len().checked_sub(1)?.checked_sub(back));
        index.and_then(|index| self.places.get(index)) == Some(&mark(place))
    }

    /// The changes after `place` of entries of every node and of `node`.
    fn concerning(&self, place: &Cursor, node: &SpiffeId) -> impl Iterator<Item = Row> {
        let slot = self.nodes.find(node.as_str().as_bytes());
        let own = slot.and_then(|slot| self.last.get(index(slot))).copied();
        let after = place.seq.0;
        let back_from = move |number: u64| {
            let before = |(number, touch): &(u64, Row)| match u64::from(touch.before) {
                0 => None,
                back => number.checked_sub(back),
            };
            core::iter::successors(self.numbered(number), move |found| self.numbered(before(found)?))
                .map(|(_, touch)| touch)
                .take_while(move |touch| touch.seq > after)
        };
        back_from(self.last_everywhere).chain(back_from(own.unwrap_or(0)))
    }

    /// The change of that number, if it is not forgotten.
    fn numbered(&self, number: u64) -> Option<(u64, Row)> {
        let place = usize::try_from(number.checked_sub(self.forgotten)?.checked_sub(1)?).ok()?;
        Some((number, *self.touches.get(place)?))
    }

    fn touch(&self, touch: Row) -> Touch {
        let name = || String::from_utf8(self.nodes.read(touch.node)).unwrap_or_default();
        let node = (touch.node != EVERY).then(|| SpiffeId::parse(&name()));
        Touch {
            seq: Seq(touch.seq),
            // INVARIANT: the name of a node was an identity when it was put here, and its slot is held by the touch.
            node: node.and_then(Result::ok),
            entry: touch.of_entry.then_some(touch.id),
        }
    }

    pub(crate) fn put(&mut self, before: Option<&Entry>, entry: &Entry) {
        // While the registry is loaded there is nobody who knew it before.
        if self.head.is_some() {
            self.changed(entry.seq, entry.id, before.map(Was::from), Some(Was::from(entry)));
        }
    }

    pub(crate) fn removed(&mut self, seq: Seq, entry: &Entry) {
        self.changed(seq, entry.id, Some(Was::from(entry)), None);
    }

    /// Takes note that the change at `seq` made of the entry `id` what is told.
    pub(crate) fn changed(&mut self, seq: Seq, id: EntryId, before: Option<Was<'_>>, after: Option<Was<'_>>) {
        let is_template = [before, after].into_iter().flatten().any(|was| was.is_template);
        let mut note = |parent: Option<&SpiffeId>, was_there| {
            let row = Row {
                seq: seq.0,
                node: EVERY,
                before: 0,
                id,
                of_entry: true,
                was_there,
                is_template,
            };
            self.push(parent, row);
        };
        let stayed = before
            .zip(after)
            .is_some_and(|(before, after)| before.parent == after.parent);
        if let Some(before) = before.filter(|_| !stayed) {
            note(before.parent, true);
        }
        if let Some(after) = after {
            note(after.parent, stayed);
        }
    }

    pub(crate) fn node(&mut self, seq: Seq, node: &SpiffeId) {
        let row = Row {
            seq: seq.0,
            node: EVERY,
            before: 0,
            id: EntryId::from_bytes([0; 16]),
            of_entry: false,
            was_there: false,
            is_template: false,
        };
        self.push(Some(node), row);
    }

    /// Takes note of the place that the registry is at now. The changes up to it were told before.
    pub(crate) fn reached(&mut self, place: &Cursor) {
        let follows = |head: &Cursor| head.epoch == place.epoch && head.seq.0 + 1 == place.seq.0;
        if !self.head.as_ref().is_some_and(follows) {
            self.begin(place);
            return;
        }
        self.head = Some(*place);
        self.places.push_back(mark(place));
        if self.places.len() > self.places_max {
            self.places.pop_front();
            self.forget();
        }
    }

    /// Knows nothing of what was before `place`.
    pub(crate) fn begin(&mut self, place: &Cursor) {
        self.clear();
        self.head = Some(*place);
        self.places.push_back(mark(place));
    }

    /// Takes note of what led to the place that the registry is at, in place of what is known.
    pub(crate) fn recall(&mut self, past: &Past) {
        self.begin(&past.from);
        let mut known: HashMap<EntryId, Option<Left>> = HashMap::new();
        for (entry, earlier) in past.entries.iter().zip(&past.earlier) {
            let place = Cursor {
                seq: entry.seq,
                chain: entry.chain,
                ..past.from
            };
            if entry.change.kind == ENTRY && self.recall_one(entry, earlier, &mut known).is_none() {
                // Whom it concerned, nobody can tell; so what was before it is not told.
                self.begin(&place);
            } else {
                self.reached(&place);
            }
        }
    }

    /// `None` where it cannot be told what the change was.
    fn recall_one(
        &mut self,
        entry: &LogEntry,
        earlier: &Earlier,
        known: &mut HashMap<EntryId, Option<Left>>,
    ) -> Option<()> {
        let (key, seq) = (&entry.change.key, entry.seq);
        let id = EntryId::from_slice(key)?;
        let after = match &entry.change.body {
            _ if entry.change.schema != SCHEMA => return None,
            Some(body) => Some(Left::of(key, body)?),
            None => None,
        };
        let before = match (known.remove(&id), earlier) {
            (Some(before), _) => before,
            (None, Earlier::Body(body)) => Some(Left::of(key, body)?),
            (None, Earlier::Gone) => None,
            // An id holds the time when it was made, and is never used again: one that is older than the change was
            // there before it.
            (None, Earlier::Untold) if id.created_at() >= entry.origin.when && after.is_some() => None,
            (None, Earlier::Untold) => return None,
        };
        self.changed(
            seq,
            id,
            before.as_ref().map(Left::was),
            after.as_ref().map(Left::was),
        );
        known.insert(id, after);
        Some(())
    }

    fn clear(&mut self) {
        *self = Self {
            places: core::mem::take(&mut self.places),
            touches: core::mem::take(&mut self.touches),
            head: self.head,
            ..Self::reaching(self.places_max)
        };
        self.places.clear();
        self.touches.clear();
    }

    /// Drops the changes that lie before the first place.
    fn forget(&mut self) {
        let known = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        let first = self.head.map_or(0, |head| (head.seq.0 + 1).saturating_sub(known));
        while let Some(touch) = self.touches.front().copied().filter(|touch| touch.seq <= first) {
            if touch.node != EVERY {
                self.nodes.release(touch.node);
            }
            self.touches.pop_front();
            self.forgotten += 1;
        }
    }

    fn push(&mut self, node: Option<&SpiffeId>, mut row: Row) {
        if self.head.is_none() {
            return;
        }
        if let Some(node) = node {
            let Some(slot) = self.nodes.take(node.as_str().as_bytes()) else {
                // Four billion bytes of names: what cannot be noted is not told either.
                self.clear();
                return;
            };
            row.node = slot;
        }
        let number = self.forgotten + u64::try_from(self.touches.len()).unwrap_or(0) + 1;
        if row.of_entry {
            let last = match row.node {
                EVERY => &mut self.last_everywhere,
                slot => {
                    if self.last.len() <= index(slot) {
                        self.last.resize(index(slot).saturating_add(1), 0);
                    }
                    let Some(last) = self.last.get_mut(index(slot)) else {
                        return;
                    };
                    last
                }
            };
            let before = core::mem::replace(last, number);
            // One that lies further back than that was forgotten long ago.
            row.before = u32::try_from(number - before).unwrap_or(0);
        }
        self.touches.push_back(row);
    }
}

fn mark(place: &Cursor) -> Mark {
    let (half, _) = place.chain.split_first_chunk().unwrap_or((&[0; 16], &[]));
    *half
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;
    use signet_time::UnixTime;

    fn place(seq: u64) -> Cursor {
        Cursor {
            epoch: [1; 16],
            seq: Seq(seq),
            chain: [u8::try_from(seq % 251).unwrap(); 32],
        }
    }

    fn node(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://a.test/node/{name}")).unwrap()
    }

    fn entry(number: u8, parent: Option<&str>, seq: u64) -> Entry {
        Entry {
            id: EntryId::from_bytes([number; 16]),
            spiffe_id: signet_id::IdPattern::parse("spiffe://a.test/w").unwrap(),
            parent_id: parent.map(node),
            selectors: Vec::new(),
            x509_ttl: Duration::from_secs(60),
            jwt_ttl: Duration::from_secs(60),
            dns_names: Vec::new(),
            hint: String::new(),
            owner: String::new(),
            federates_with: Vec::new(),
            jwt_audiences: Vec::new(),
            expires_at: None,
            created_at: UnixTime::EPOCH,
            seq: Seq(seq),
        }
    }

    fn loaded(places_max: usize) -> Recent {
        let mut recent = Recent::reaching(places_max);
        recent.put(None, &entry(1, None, 3));
        recent.put(None, &entry(2, Some("a"), 5));
        recent.reached(&place(5));
        recent
    }

    fn since(recent: &Recent, seq: u64, name: &str) -> Option<Vec<(u8, bool)>> {
        let found = recent.entries_since(&place(seq), &node(name))?;
        Some(found.iter().map(|(id, had)| (id.as_bytes()[0], *had)).collect())
    }

    #[test]
    fn each_node_is_told_of_its_own_changes() {
        let mut recent = loaded(100);
        assert_eq!(since(&recent, 5, "a"), Some(vec![]));
        assert_eq!(since(&recent, 4, "a"), None, "before it was loaded");
        recent.put(None, &entry(3, Some("b"), 6));
        recent.reached(&place(6));
        recent.put(Some(&entry(1, None, 3)), &entry(1, None, 7));
        recent.reached(&place(7));
        recent.removed(Seq(8), &entry(2, Some("a"), 5));
        recent.reached(&place(8));
        // Made and gone between two looks.
        recent.put(None, &entry(4, Some("a"), 9));
        recent.reached(&place(9));
        recent.removed(Seq(10), &entry(4, Some("a"), 9));
        recent.reached(&place(10));
        assert_eq!(
            since(&recent, 5, "a"),
            Some(vec![(1, true), (2, true), (4, false)])
        );
        assert_eq!(since(&recent, 9, "a"), Some(vec![(4, true)]));
        assert_eq!(since(&recent, 5, "b"), Some(vec![(1, true), (3, false)]));
        assert_eq!(since(&recent, 7, "b"), Some(vec![]));
        assert_eq!(since(&recent, 5, "c"), Some(vec![(1, true)]));
    }

    #[test]
    fn an_entry_that_moves_is_told_where_it_was_and_where_it_is() {
        let mut recent = loaded(100);
        recent.put(Some(&entry(1, None, 3)), &entry(1, Some("a"), 6));
        recent.reached(&place(6));
        recent.put(Some(&entry(2, Some("a"), 5)), &entry(2, Some("b"), 7));
        recent.reached(&place(7));
        assert_eq!(since(&recent, 5, "a"), Some(vec![(1, true), (2, true)]));
        assert_eq!(since(&recent, 5, "b"), Some(vec![(1, true), (2, false)]));
        recent.put(Some(&entry(2, Some("b"), 7)), &entry(2, Some("a"), 8));
        recent.reached(&place(8));
        assert_eq!(since(&recent, 5, "a"), Some(vec![(1, true), (2, true)]));
        assert_eq!(since(&recent, 6, "b"), Some(vec![(2, false)]));
        assert_eq!(since(&recent, 7, "b"), Some(vec![(2, true)]));
    }

    #[test]
    fn what_is_too_old_or_of_another_log_cannot_be_told() {
        let mut recent = loaded(4);
        for seq in 6..=20 {
            recent.put(None, &entry(u8::try_from(seq).unwrap(), Some("a"), seq));
            recent.reached(&place(seq));
        }
        assert_eq!(since(&recent, 16, "a"), None);
        assert_eq!(
            since(&recent, 17, "a"),
            Some(vec![(18, false), (19, false), (20, false)])
        );
        assert_eq!((recent.touches.len(), recent.nodes.len()), (3, 1));
        assert_eq!(since(&recent, 21, "a"), None, "ahead of the log");
        let (mut epoch, mut chain) = (place(18), place(18));
        epoch.epoch = [2; 16];
        chain.chain = [0; 32];
        for other in [epoch, chain] {
            assert_eq!(recent.entries_since(&other, &node("a")), None);
            assert!(recent.touches_since(&other).is_none());
        }
        // Changes of others push the last one out.
        for seq in 21..=30 {
            recent.reached(&place(seq));
        }
        assert!(recent.touches.is_empty() && recent.nodes.is_empty());
        assert_eq!(since(&recent, 28, "a"), Some(vec![]));
        // A log that begins anew.
        recent.reached(&place(50));
        assert_eq!(since(&recent, 30, "a"), None);
        assert_eq!(since(&recent, 50, "a"), Some(vec![]));
    }

    #[test]
    fn touches_name_the_nodes_that_are_concerned() {
        let mut recent = loaded(100);
        recent.put(None, &entry(3, None, 6));
        recent.reached(&place(6));
        recent.node(Seq(7), &node("b"));
        recent.reached(&place(7));
        let touched = |seq| -> Vec<_> {
            let touches = recent.touches_since(&place(seq)).unwrap();
            touches.map(|t| (t.node.clone(), t.entry.is_some())).collect()
        };
        assert_eq!(touched(5), [(None, true), (Some(node("b")), false)]);
        assert_eq!(touched(6), [(Some(node("b")), false)]);
        assert_eq!(touched(7), []);
    }

    /// Random histories against a plain list.
    #[derive(Clone, Debug)]
    struct Step {
        id: u8,
        /// `None`: it goes.
        parent: Option<Option<u8>>,
    }

    fn step() -> impl Strategy<Value = Step> {
        let parent = prop::option::weighted(0.8, prop::option::of(0..3_u8));
        (0..6_u8, parent).prop_map(|(id, parent)| Step { id, parent })
    }

    proptest! {
        #[test]
        fn it_tells_what_a_list_of_all_changes_would_tell(
            steps in prop::collection::vec(step(), 1..80),
            places_max in 2..20_usize,
            begun_at in 0..40_usize,
        ) {
            let name = |n: u8| ["a", "b", "c"][usize::from(n)];
            let mut recent = Recent::reaching(places_max);
            recent.reached(&place(0));
            let mut now: BTreeMap<u8, Entry> = BTreeMap::new();
            let mut states = vec![now.clone()];
            let mut first = 0;
            for (n, step) in steps.iter().enumerate() {
                let seq = u64::try_from(n).unwrap() + 1;
                match step.parent {
                    Some(parent) => {
                        let entry = entry(step.id, parent.map(name), seq);
                        recent.put(now.get(&step.id), &entry);
                        now.insert(step.id, entry);
                    }
                    None => if let Some(entry) = now.remove(&step.id) {
                        recent.removed(Seq(seq), &entry);
                    },
                }
                if n == begun_at {
                    recent.begin(&place(seq));
                    first = seq;
                } else {
                    recent.reached(&place(seq));
                }
                states.push(now.clone());
                let known = u64::try_from(places_max).unwrap();
                for from in 0..=seq {
                    for node_name in ["a", "b", "c", "d"] {
                        let told = since(&recent, from, node_name);
                        prop_assert_eq!(told.is_some(), from >= first && from + known > seq);
                        let Some(told) = told else { continue };
                        let wanted = node(node_name);
                        let here = |entry: &&Entry| entry.parent_id.as_ref().is_none_or(|parent| *parent == wanted);
                        let then = &states[usize::try_from(from).unwrap()];
                        let told: BTreeMap<u8, bool> = told.into_iter().collect();
                        for id in 0..6 {
                            let (had, has) = (then.get(&id).filter(here), now.get(&id).filter(here));
                            prop_assert_eq!(told.get(&id).copied().unwrap_or(had.is_some()), had.is_some());
                            if had != has {
                                prop_assert!(told.contains_key(&id), "{} after {}", id, from);
                            }
                        }
                    }
                }
            }
        }
    }
}
