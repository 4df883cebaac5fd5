//! Entries created, updated and deleted in one commit, or none of them.

use crate::ledger::Noted;
use crate::orphans::still_orphaned;
use crate::plan::same_but_seq;
use crate::registry::{distinct, entry_key, free_to_say, no_nodes, put_entry};
use crate::state::{ENTRY, SCHEMA};
use crate::{Entry, EntryId, EntryProblems, NewEntry, Registry, RegistryError, RegistryState, limits};
use signet_store::{Batch, Change, Expect, Origin, Seq};
use std::collections::HashSet;
use std::sync::Arc;

/// What one commit is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChanges {
    /// New entries.
    pub create: Vec<NewEntry>,
    /// Entries that say something else from then on.
    pub update: Vec<EntryUpdate>,
    /// Entries that go.
    pub delete: Vec<EntryDeletion>,
}

/// An entry that is to say what a draft says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryUpdate {
    /// Its name.
    pub id: EntryId,
    /// The change that touched it last when this was planned.
    pub seq: Seq,
    /// What it is to say; its name and age stay.
    pub draft: NewEntry,
}

/// An entry that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryDeletion {
    /// Its name.
    pub id: EntryId,
    /// The change that touched it last when this was planned.
    pub seq: Seq,
    /// Goes only if it is still orphaned, by the rule of so many days, when the commit is handed over.
    pub orphaned_days: Option<u16>,
}

/// What one commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The new entries, in the order of their drafts.
    pub created: Vec<Arc<Entry>>,
    /// The changed ones, in the order given.
    pub updated: Vec<Arc<Entry>>,
    /// The names of those that are gone, in the order given.
    pub deleted: Vec<EntryId>,
}

impl Registry {
    /// Makes all of `changes` or none of them. An entry that is updated or deleted must still be as the change named
    /// with it left it. In lists of problems the drafts of `create` are counted first, those of `update` after them.
    ///
    /// # Errors
    /// [`RegistryError::EntryOutdated`] where somebody was faster; [`RegistryError::EntryNeeded`] where an entry is to go as
    /// an orphan and is none any more; [`RegistryError::EntryRepeated`]; otherwise as [`Registry::create`].
    pub async fn apply(&self, changes: &EntryChanges, origin: Origin) -> Result<Applied, RegistryError> {
        let EntryChanges {
            create,
            update,
            delete,
        } = changes;
        let max = limits::ENTRIES_PER_COMMIT_MAX;
        let given = create.len() + update.len() + delete.len();
        if !(1..=max).contains(&given) {
            return Err(RegistryError::Count { given, max });
        }
        let leaving = named(changes)?;
        let mut entries = self.checked_both(create, update, origin.when)?;
        let (new, changed) = entries.split_at_mut(create.len());
        self.read(|state| {
            for (entry, update) in changed.iter_mut().zip(update) {
                let old = current(state, update.id, update.seq)?;
                (entry.id, entry.created_at) = (old.id, old.created_at);
            }
            for gone in delete {
                current(state, gone.id, gone.seq)?;
            }
            Ok::<_, RegistryError>(())
        })?;
        for (entry, (id, created_at)) in new.iter_mut().zip(self.new_ids(origin.when, create.len())?) {
            (entry.id, entry.created_at) = (id, created_at);
        }
        let _claim = self.claim(distinct(&entries)?)?;
        self.read(|state| free_to_say(state, &entries, &leaving, origin.when))?;
        let batch = batch_of(&entries, changes, origin);
        let landed = |state: &RegistryState| {
            let stands = |entry: &Entry| state.entry(entry.id).is_some_and(|now| same_but_seq(&now, entry));
            entries.iter().all(stands) && delete.iter().all(|gone| !state.has_entry(gone.id))
        };
        let now = batch.origin.when;
        let holds = |state: &RegistryState, noted: &Noted| {
            let mut delete = delete.iter();
            delete.try_for_each(|gone| still_orphaned(state, noted, gone, now))
        };
        self.settle_while(batch, holds, landed)
            .await
            .map_err(|error| self.whose(error, changes))?;
        // Another call may have changed some again already; what this one made is returned all the same.
        let mut made: Vec<_> = self.read(|state| {
            let now = |entry: Entry| state.entry(entry.id).unwrap_or_else(|| Arc::new(entry));
            entries.into_iter().map(now).collect()
        });
        let updated = made.split_off(create.len());
        Ok(Applied {
            created: made,
            updated,
            deleted: delete.iter().map(|gone| gone.id).collect(),
        })
    }

    /// The entries that both lists of drafts describe, in one list; or the problems of both.
    fn checked_both(
        &self,
        create: &[NewEntry],
        update: &[EntryUpdate],
        now: signet_time::UnixTime,
    ) -> Result<Vec<Entry>, RegistryError> {
        let changed: Vec<_> = update.iter().map(|update| update.draft.clone()).collect();
        let later = |mut bad: Vec<EntryProblems>| {
            for entry in &mut bad {
                entry.index += create.len();
            }
            bad
        };
        match (self.checked(create, now), self.checked(&changed, now)) {
            (Ok(mut entries), Ok(changed)) => {
                entries.extend(changed);
                Ok(entries)
            }
            (Err(RegistryError::InvalidEntries(mut bad)), Err(RegistryError::InvalidEntries(more))) => {
                bad.extend(later(more));
                Err(RegistryError::InvalidEntries(bad))
            }
            (Ok(_), Err(RegistryError::InvalidEntries(bad))) => {
                Err(RegistryError::InvalidEntries(later(bad)))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Which entry somebody else changed, where that is why nothing was committed.
    fn whose(&self, error: RegistryError, changes: &EntryChanges) -> RegistryError {
        if !matches!(error, RegistryError::Changed) {
            return error;
        }
        let updated = changes.update.iter().map(|update| (update.id, update.seq));
        let mut touched = updated.chain(changes.delete.iter().map(|gone| (gone.id, gone.seq)));
        self.read(|state| touched.find_map(|(id, seq)| current(state, id, seq).err()))
            .unwrap_or(error)
    }
}

/// The entries that `changes` updates or deletes, each once.
fn named(changes: &EntryChanges) -> Result<HashSet<EntryId>, RegistryError> {
    let updated = changes.update.iter().map(|update| update.id);
    let mut named = HashSet::new();
    for id in updated.chain(changes.delete.iter().map(|gone| gone.id)) {
        if !named.insert(id) {
            return Err(RegistryError::EntryRepeated { id });
        }
    }
    Ok(named)
}

/// The entry `id`, if the change `seq` is still the last that touched it.
fn current(state: &RegistryState, id: EntryId, seq: Seq) -> Result<Arc<Entry>, RegistryError> {
    let outdated = RegistryError::EntryOutdated { id };
    state.entry(id).filter(|entry| entry.seq == seq).ok_or(outdated)
}

fn batch_of(entries: &[Entry], changes: &EntryChanges, origin: Origin) -> Batch {
    let (new, changed) = entries.split_at(changes.create.len());
    let mut batch = Batch::new(origin);
    // What goes comes first: what it said may be said anew by what follows.
    for gone in &changes.delete {
        batch
            .changes
            .push(Change::delete(ENTRY, SCHEMA, entry_key(gone.id)));
        batch.expect.push(Expect::at(ENTRY, entry_key(gone.id), gone.seq));
    }
    for (entry, update) in changed.iter().zip(&changes.update) {
        batch.changes.push(put_entry(entry));
        batch
            .expect
            .push(Expect::at(ENTRY, entry_key(update.id), update.seq));
    }
    for entry in new {
        batch.changes.push(put_entry(entry));
        batch.expect.push(Expect::absent(ENTRY, entry_key(entry.id)));
    }
    batch.expect.extend(no_nodes(entries));
    batch
}
