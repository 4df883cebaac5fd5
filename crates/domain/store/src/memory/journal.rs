use crate::{BoxFuture, Index, Journal, JournalError, RANGE_RECORDS_MAX, check_record};
use bytes::Bytes;
use core::future::ready;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A journal in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many records are forgotten.
    pruned: u64,
    records: VecDeque<Bytes>,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn oldest(&self) -> Index {
        Index(self.pruned.saturating_add(1))
    }

    fn next(&self) -> Index {
        let kept = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        Index(self.oldest().0.saturating_add(kept))
    }

    fn range(&self, from: Index, limit: usize) -> Result<Vec<(Index, Bytes)>, JournalError> {
        let Some(skip) = from.0.checked_sub(self.oldest().0) else {
            return Err(JournalError::Pruned {
                oldest: self.oldest(),
            });
        };
        Ok((from.0..)
            .map(Index)
            .zip(
                self.records
                    .iter()
                    .skip(usize::try_from(skip).unwrap_or(usize::MAX)),
            )
            .take(limit.min(RANGE_RECORDS_MAX))
            .map(|(index, record)| (index, record.clone()))
            .collect())
    }
}

impl Journal for MemoryJournal {
    fn append(&self, record: Bytes) -> BoxFuture<'_, Result<Index, JournalError>> {
        let appended = check_record(&record).map(|()| {
            let mut state = self.state();
            let index = state.next();
            state.records.push_back(record);
            index
        });
        Box::pin(ready(appended))
    }

    fn append_all(&self, records: Vec<Bytes>) -> Vec<BoxFuture<'_, Result<Index, JournalError>>> {
        records.into_iter().map(|record| self.append(record)).collect()
    }

    fn range(&self, from: Index, limit: usize) -> BoxFuture<'_, Result<Vec<(Index, Bytes)>, JournalError>> {
        Box::pin(ready(self.state().range(from, limit)))
    }

    fn next_index(&self) -> Index {
        self.state().next()
    }

    fn prune_before(&self, before: Index) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut state = self.state();
        while state.oldest() < before && state.records.pop_front().is_some() {
            state.pruned = state.pruned.saturating_add(1);
        }
        Box::pin(ready(Ok(())))
    }
}
