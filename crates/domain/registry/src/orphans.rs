//! Entries that nobody needs any more, as far as a server can tell.

use crate::ledger::Noted;
use crate::uses::Watch;
use crate::{Entry, EntryDeletion, EntryId, Registry, RegistryError, RegistryState};
use signet_time::{Day, UnixTime};
use std::sync::Arc;

/// Which entries count as orphaned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanRule {
    /// After how many whole days without use; at least 1.
    pub days: u16,
    /// Only those that this owner answers for, to the letter.
    pub owner: Option<String>,
    /// What time it is.
    pub now: UnixTime,
}

/// An entry that nobody needs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Why.
    pub why: OrphanReason,
    /// The day since when it has been so.
    pub since: Day,
    /// When something was signed for it last, as far as that is known.
    pub last_used: Option<Day>,
}

/// Why an entry is orphaned. All but [`OrphanReason::Expired`] hold only of entries that were not used for long.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrphanReason {
    /// Its end is past.
    Expired,
    /// Its node is banned.
    NodeBanned,
    /// There is no node of its parent's name: it was evicted or forgotten, or never came.
    NodeUnknown,
    /// Nothing was ever signed for it.
    NeverUsed,
    /// Nothing was signed for it for long.
    Unused,
}

impl OrphanReason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Expired,
        Self::NodeBanned,
        Self::NodeUnknown,
        Self::NeverUsed,
        Self::Unused,
    ];

    /// As scripts know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NodeBanned => "node_banned",
            Self::NodeUnknown => "node_unknown",
            Self::NeverUsed => "never_used",
            Self::Unused => "unused",
        }
    }
}

/// What one step of a search for orphans found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphansFound {
    /// The orphans found, oldest first.
    pub found: Vec<Orphan>,
    /// The last entry looked at: where the next step goes on. `None` where nothing is left.
    pub last: Option<EntryId>,
}

impl Registry {
    /// The day since when uses are known without a gap; `None` before the first was written. Nothing is taken for unused
    /// that was not used before.
    #[must_use]
    pub fn watched_since(&self) -> Option<Day> {
        self.read(|state| state.uses().watch().map(|watch| watch.since))
    }

    /// The day on which something was signed last for the entry `id`.
    #[must_use]
    pub fn last_used(&self, id: EntryId) -> Option<Day> {
        let noted = self.noted_use(id);
        noted.max(self.read(|state| state.uses().last(id)))
    }

    /// Looks for orphans among the entries after `after`: at `steps` of them at most, and stops where `most` are found.
    #[must_use]
    pub fn orphans(
        &self,
        after: Option<EntryId>,
        rule: &OrphanRule,
        steps: usize,
        most: usize,
    ) -> OrphansFound {
        self.read(|state| {
            let mut step = OrphansFound::default();
            let mut entries = state.entries_after(after);
            for entry in entries.by_ref().take(steps) {
                step.last = Some(entry.id);
                let last_used = self.noted_use(entry.id).max(state.uses().last(entry.id));
                step.found.extend(rule.judge(state, entry, last_used));
                if step.found.len() >= most {
                    break;
                }
            }
            if entries.next().is_none() {
                step.last = None;
            }
            step
        })
    }
}

/// Refuses to delete as an orphan what is none any more: it was used, or its node came back.
pub(crate) fn still_orphaned(
    state: &RegistryState,
    noted: &Noted,
    gone: &EntryDeletion,
    now: UnixTime,
) -> Result<(), RegistryError> {
    let id = gone.id;
    // One that is not there any more is for the commit's own conditions to tell.
    let (Some(days), Some(entry)) = (gone.orphaned_days, state.entry(id)) else {
        return Ok(());
    };
    let owner = None;
    let last_used = noted.get(&id).copied().max(state.uses().last(id));
    match (OrphanRule { days, owner, now }).judge(state, entry, last_used) {
        Some(_) => Ok(()),
        None => Err(RegistryError::EntryNeeded { id }),
    }
}

impl OrphanRule {
    /// What is so of `entry`, if it is orphaned.
    fn judge(&self, state: &RegistryState, entry: Arc<Entry>, last_used: Option<Day>) -> Option<Orphan> {
        if self.owner.as_ref().is_some_and(|owner| *owner != entry.owner) {
            return None;
        }
        let (why, since) = match entry.expires_at.filter(|at| *at <= self.now) {
            Some(end) => (OrphanReason::Expired, Day::of(end)),
            None => self.judge_use(state, &entry, last_used)?,
        };
        Some(Orphan {
            entry,
            why,
            since,
            last_used,
        })
    }

    fn judge_use(
        &self,
        state: &RegistryState,
        entry: &Entry,
        last_used: Option<Day>,
    ) -> Option<(OrphanReason, Day)> {
        let Watch { since: watched, .. } = state.uses().watch()?;
        // To be made is as good as to be used, and what nobody watched may have been used.
        let created = Day::of(entry.created_at);
        let since = created.max(watched).max(last_used.unwrap_or_default());
        // Days lie between moments that may be a whole day nearer than they look.
        if Day::of(self.now).since(since) <= self.days.max(1) {
            return None;
        }
        let why = match entry.parent_id.as_ref().map(|parent| state.node(parent)) {
            Some(None) => OrphanReason::NodeUnknown,
            Some(Some(node)) if node.banned.is_some() => OrphanReason::NodeBanned,
            _ if last_used.is_none() => OrphanReason::NeverUsed,
            _ => OrphanReason::Unused,
        };
        Some((why, since))
    }
}
