//! What administrators were told, kept apart from the server: what must be there after a crash.

use signet_api::EntryDoc;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Something that the server keeps, by the SPIFFE ID that it is for.
pub(super) trait Kept: Clone + Debug {
    /// Whether `found` is this, as far as this is known.
    fn is(&self, found: &Self) -> bool;
}

impl Kept for EntryDoc {
    fn is(&self, found: &Self) -> bool {
        let mut expected = self.clone();
        if expected.id.is_none() {
            // The answer, which would have told it, never came.
            expected.id.clone_from(&found.id);
        }
        expected == *found
    }
}

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) banned: bool,
    /// Whether it has a certificate; one that was asked for may not have come so far.
    pub(super) certified: bool,
}

impl Kept for Place {
    fn is(&self, found: &Self) -> bool {
        self.banned == found.banned && self.certified <= found.certified
    }
}

/// For each ID all that may be true of it: one thing, where the last change was answered.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    lines: BTreeMap<String, Vec<Option<T>>>,
    /// IDs that were asked for at once, without an answer so far: all or none of them.
    groups: Vec<BTreeSet<String>>,
    /// How many changes were answered.
    pub(super) answered: u64,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            lines: BTreeMap::new(),
            groups: Vec::new(),
            answered: 0,
        }
    }
}

impl<T: Kept> Ledger<T> {
    /// `id` is being changed to `then`: from now on that may be true as well.
    pub(super) fn ask(&mut self, id: &str, then: Option<T>) {
        let line = self.lines.entry(id.to_owned()).or_insert_with(|| vec![None]);
        line.push(then);
    }

    /// All of `new` are being created by one request.
    pub(super) fn ask_all(&mut self, new: &[(String, T)]) {
        for (id, then) in new {
            self.ask(id, Some(then.clone()));
        }
        self.groups.push(new.iter().map(|(id, _)| id.clone()).collect());
    }

    /// The server said that `id` is `now`.
    pub(super) fn told(&mut self, id: &str, now: Option<T>) {
        self.lines.insert(id.to_owned(), vec![now]);
        self.answered += 1;
    }

    /// The server said that all of `new` were created.
    pub(super) fn told_all(&mut self, new: Vec<(String, T)>) {
        let ids: BTreeSet<_> = new.iter().map(|(id, _)| id.clone()).collect();
        self.groups.retain(|group| *group != ids);
        for (id, now) in new {
            self.lines.insert(id, vec![Some(now)]);
        }
        self.answered += 1;
    }

    /// What is certainly there, with an ID that begins with `prefix`.
    pub(super) fn there(&self, prefix: &str) -> Vec<(String, T)> {
        let with_prefix = self.lines.iter().filter(|(id, _)| id.starts_with(prefix));
        with_prefix
            .filter_map(|(id, line)| match line.as_slice() {
                [Some(one)] => Some((id.clone(), one.clone())),
                _ => None,
            })
            .collect()
    }

    /// How many changes have no answer.
    pub(super) fn open(&self) -> usize {
        self.lines.values().filter(|line| line.len() > 1).count()
    }

    /// Holds `found`, which is all that the server has, against what it said; what was open is now as it was found.
    ///
    /// # Errors
    /// Everything that is not as it must be.
    pub(super) fn check(&mut self, found: BTreeMap<String, T>) -> Result<(), String> {
        let mut wrong = Vec::new();
        for (id, line) in &self.lines {
            let now = found.get(id);
            let fits = line.iter().any(|may| match (may, now) {
                (None, None) => true,
                (Some(expected), Some(now)) => expected.is(now),
                _ => false,
            });
            if !fits {
                wrong.push(format!("`{id}` is {now:?} and may be {line:?}"));
            }
        }
        for id in found.keys().filter(|id| !self.lines.contains_key(*id)) {
            wrong.push(format!("nobody asked for `{id}`"));
        }
        for group in &self.groups {
            let there = group.iter().filter(|id| found.contains_key(*id)).count();
            if there != 0 && there != group.len() {
                wrong.push(format!("{there} of {} that one request created", group.len()));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        self.groups.clear();
        // What is gone is never asked for again under the same ID.
        self.lines = found.into_iter().map(|(id, now)| (id, vec![Some(now)])).collect();
        Ok(())
    }
}

#[test]
fn a_ledger_takes_what_may_be_and_nothing_else() {
    let place = |banned| Place {
        banned,
        certified: true,
    };
    let found = |all: &[(&str, bool)]| -> BTreeMap<String, Place> {
        all.iter()
            .map(|(id, banned)| ((*id).to_owned(), place(*banned)))
            .collect()
    };
    let ledger = || {
        let mut ledger = Ledger::default();
        ledger.ask("a", Some(place(false)));
        ledger.told("a", Some(place(false)));
        ledger.ask("b", Some(place(false)));
        ledger.ask_all(&[("c".to_owned(), place(false)), ("d".to_owned(), place(false))]);
        ledger
    };
    for good in [
        &[("a", false)][..],
        &[("a", false), ("b", false)],
        &[("a", false), ("c", false), ("d", false)],
    ] {
        ledger().check(found(good)).unwrap();
    }
    for bad in [
        &[][..],
        &[("a", true)],
        &[("a", false), ("b", true)],
        &[("a", false), ("c", false)],
        &[("a", false), ("x", false)],
    ] {
        ledger().check(found(bad)).unwrap_err();
    }
    // Once found, it has to stay; once gone, it has to stay away.
    let mut settled = ledger();
    settled.check(found(&[("a", false), ("b", false)])).unwrap();
    settled.check(found(&[("a", false)])).unwrap_err();
    settled
        .check(found(&[("a", false), ("b", false), ("c", false), ("d", false)]))
        .unwrap_err();
}
