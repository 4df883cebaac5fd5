//! Noting which entries are used, and writing that down from time to time.

use crate::registry::{ATTEMPTS, lock};
use crate::state::{ENTRY_USES, SCHEMA, USE_WATCH};
use crate::uses::{WATCH_KEY, Watch, drawer_of};
use crate::{EntryId, Registry, RegistryError, RegistryState};
use bytes::Bytes;
use signet_store::{Batch, Change, Expect, Kind, Origin, Seq};
use signet_time::{Day, UnixTime};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

/// Uses that are not written yet: one for each entry at most.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Noted>);

/// When entries were used last, as far as that is not written.
pub(crate) type Noted = HashMap<EntryId, Day>;

/// Uses by drawer.
type Drawers = BTreeMap<u16, BTreeMap<EntryId, Day>>;

/// Bytes of records in one commit: half of what a batch may hold, because what is merged grows.
const COMMIT_BYTES: usize = signet_store::BATCH_BYTES_MAX / 2;

impl Registry {
    /// Notes that something was signed at `now` for the entry `id`. Costs a look at memory; nothing is written.
    pub fn note_use(&self, id: EntryId, now: UnixTime) {
        let today = Day::of(now);
        if self.read(|state| state.uses().last(id)) < Some(today) {
            let mut noted = self.noted();
            let last = noted.entry(id).or_default();
            *last = (*last).max(today);
        }
    }

    /// When `id` was used last, as far as that is not written yet.
    pub(crate) fn noted_use(&self, id: EntryId) -> Option<Day> {
        self.noted().get(&id).copied()
    }

    /// What is noted. While it is held nobody notes a use.
    pub(crate) fn noted(&self) -> MutexGuard<'_, Noted> {
        lock(&self.ledger().0)
    }

    /// Writes down what was noted, and that uses are watched; how many records that took. What cannot be written stays
    /// noted.
    ///
    /// # Errors
    /// What a commit can meet.
    pub async fn write_uses(&self, now: UnixTime) -> Result<usize, RegistryError> {
        let mut written = self.write_watch(now).await?;
        let mut drawers = self.noted_by_drawer();
        while !drawers.is_empty() {
            written += self.write_some(&mut drawers, now).await?;
        }
        Ok(written)
    }

    fn noted_by_drawer(&self) -> Drawers {
        let mut drawers = Drawers::new();
        for (id, day) in &*self.noted() {
            drawers.entry(drawer_of(*id)).or_default().insert(*id, *day);
        }
        drawers
    }

    /// Writes as many of `drawers` as one commit holds, and takes them out.
    async fn write_some(&self, drawers: &mut Drawers, now: UnixTime) -> Result<usize, RegistryError> {
        for _ in 0..ATTEMPTS {
            let (mut batch, mut bytes, mut taken) = (uses_batch(now), 0, Vec::new());
            self.read(|state| {
                for (drawer, noted) in &*drawers {
                    let body = state.uses().merged(*drawer, noted, |id| state.has_entry(id));
                    bytes += body.len();
                    taken.push(*drawer);
                    let key = Bytes::copy_from_slice(&drawer.to_be_bytes());
                    write(&mut batch, ENTRY_USES, key, body, state.uses().seq(*drawer));
                    if bytes >= COMMIT_BYTES {
                        break;
                    }
                }
            });
            let landed = |state: &RegistryState| {
                let there = |(id, day): (&EntryId, &Day)| {
                    !state.has_entry(*id) || state.uses().last(*id) >= Some(*day)
                };
                taken
                    .iter()
                    .filter_map(|drawer| drawers.get(drawer))
                    .flatten()
                    .all(there)
            };
            match self.settle(batch, landed).await {
                Ok(()) => {
                    let count = taken.len();
                    let done = taken.iter().filter_map(|drawer| drawers.remove(drawer));
                    self.forget_noted(done.flatten());
                    return Ok(count);
                }
                // Another server wrote the same: what it wrote is merged.
                Err(RegistryError::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RegistryError::Contended { attempts: ATTEMPTS })
    }

    fn forget_noted(&self, written: impl Iterator<Item = (EntryId, Day)>) {
        let mut noted = self.noted();
        for (id, day) in written {
            // It may have been used on another day meanwhile.
            if noted.get(&id).is_some_and(|last| *last <= day) {
                noted.remove(&id);
            }
        }
        if noted.capacity() > 4 * noted.len() + 64 {
            let len = noted.len();
            noted.shrink_to(2 * len);
        }
    }

    async fn write_watch(&self, now: UnixTime) -> Result<usize, RegistryError> {
        let today = Day::of(now);
        for _ in 0..ATTEMPTS {
            let (next, seq) = self.read(|state| {
                let uses = state.uses();
                (Watch::on(uses.watch(), today), uses.watch_seq())
            });
            let Some(next) = next else { return Ok(0) };
            let mut batch = uses_batch(now);
            write(
                &mut batch,
                USE_WATCH,
                Bytes::from_static(WATCH_KEY),
                next.to_body(),
                seq,
            );
            match self
                .settle(batch, |state| state.uses().watch() == Some(next))
                .await
            {
                Ok(()) => return Ok(1),
                Err(RegistryError::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RegistryError::Contended { attempts: ATTEMPTS })
    }
}

fn uses_batch(now: UnixTime) -> Batch {
    Batch::new(Origin::new("system", "uses of entries", now))
}

/// Adds a record that whoever does not know it may pass over.
fn write(batch: &mut Batch, kind: Kind, key: Bytes, body: Bytes, seq: Option<Seq>) {
    batch.expect.push(Expect {
        kind,
        key: key.clone(),
        seq,
    });
    batch.changes.push(Change {
        must_understand: false,
        ..Change::put(kind, SCHEMA, key, body)
    });
}
