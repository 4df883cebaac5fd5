//! What led to a place in the log, for those who tell others what changed.

use crate::{Cursor, Kind, LogEntry};
use bytes::Bytes;
use std::collections::HashMap;

/// How much of what was before a place in the log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastWish {
    /// So many changes, if the log still has them.
    pub changes_max: usize,
    /// Of this kind also what the keys held before.
    pub kind: Kind,
    /// That is looked for in so many changes before those.
    pub back_max: usize,
}

/// The last changes before a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The place before the first of them.
    pub from: Cursor,
    /// The changes, dense and in order, up to the place asked for.
    pub entries: Vec<LogEntry>,
    /// What the key of each of them held before.
    pub earlier: Vec<Earlier>,
}

/// What a key held before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It was not looked for, because an earlier one of the changes tells or the kind is another; or it was not found.
    Untold,
    /// The key had been deleted.
    Gone,
    /// This.
    Body(Bytes),
}

impl Past {
    /// Nothing is known of what was before `place`.
    #[must_use]
    pub const fn none(place: Cursor) -> Self {
        Self {
            from: place,
            entries: Vec::new(),
            earlier: Vec::new(),
        }
    }

    /// `entries`, of which nobody has looked what the keys held before.
    #[must_use]
    pub fn new(from: Cursor, entries: Vec<LogEntry>) -> Self {
        Self {
            from,
            earlier: vec![Earlier::Untold; entries.len()],
            entries,
        }
    }

    /// Looks for what the keys of `kind` held before. `back` gives the changes before these, newest first.
    ///
    /// # Errors
    /// What `back` says.
    pub fn look_back<E>(
        &mut self,
        kind: Kind,
        back: impl IntoIterator<Item = Result<(Bytes, Option<Bytes>), E>>,
    ) -> Result<(), E> {
        let mut wanted: HashMap<Bytes, usize> = HashMap::new();
        for (place, entry) in self.entries.iter().enumerate() {
            if entry.change.kind == kind {
                wanted.entry(entry.change.key.clone()).or_insert(place);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        for change in back {
            let (key, body) = change?;
            if let Some(earlier) = wanted.remove(&key).and_then(|place| self.earlier.get_mut(place)) {
                *earlier = body.map_or(Earlier::Gone, Earlier::Body);
                if wanted.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }
}
