use crate::ledger::{Ledger, Noted};
use crate::plan::same_but_seq;
use crate::state::{ENTRY, NODE, SCHEMA, Saying};
use crate::{Entry, EntryId, EntryProblems, NewEntry, Node, RegistryError, RegistryState, limits};
use bytes::Bytes;
use signet_id::{IdPattern, SpiffeId, TrustDomain};
use signet_store::follow::Followed;
use signet_store::{Batch, Change, ChangeLog, CommitError, Expect, Origin, Seq};
use signet_time::UnixTime;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The registry of one trust domain: the log it is written to and the state that is read.
pub struct Registry {
    own: TrustDomain,
    followed: Followed<RegistryState>,
    ids: Mutex<IdSource>,
    /// What is being created by calls that have not finished, so that two calls at once do not say the same.
    creating: Mutex<HashSet<Saying>>,
    ledger: Ledger,
}

impl Registry {
    /// Loads the registry of the trust domain `own` from `log`.
    ///
    /// # Errors
    /// [`RegistryError::Follow`].
    pub async fn open(log: Arc<dyn ChangeLog>, own: TrustDomain) -> Result<Self, RegistryError> {
        let followed = Followed::open(log, RegistryState::default)
            .await
            .map_err(RegistryError::Follow)?;
        Ok(Self {
            own,
            followed,
            ids: Mutex::default(),
            creating: Mutex::default(),
            ledger: Ledger::default(),
        })
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.own
    }

    /// The state and its log: to follow it, and to wait for a change.
    #[must_use]
    pub fn followed(&self) -> &Followed<RegistryState> {
        &self.followed
    }

    /// Looks at the state as it is now. Never touches the database.
    pub fn read<R>(&self, look: impl FnOnce(&RegistryState) -> R) -> R {
        self.followed.read(look)
    }

    /// Creates all of `drafts` or none of them, in their order.
    ///
    /// # Errors
    /// [`RegistryError::InvalidEntries`] with every problem of every draft; [`RegistryError::Count`],
    /// [`RegistryError::EntryExists`], [`RegistryError::EntryTwice`], [`RegistryError::IdentityOfNode`], and what a
    /// commit can meet.
    pub async fn create(
        &self,
        drafts: &[NewEntry],
        origin: Origin,
    ) -> Result<Vec<Arc<Entry>>, RegistryError> {
        let max = limits::ENTRIES_PER_COMMIT_MAX;
        let given = drafts.len();
        if !(1..=max).contains(&given) {
            return Err(RegistryError::Count { given, max });
        }
        let mut entries = self.checked(drafts, origin.when)?;
        let sayings = distinct(&entries)?;
        let _claim = self.claim(sayings)?;
        self.read(|state| free_to_say(state, &entries, &HashSet::new(), origin.when))?;
        let mut batch = Batch::new(origin);
        for (entry, (id, created_at)) in entries.iter_mut().zip(self.new_ids(batch.origin.when, given)?) {
            (entry.id, entry.created_at) = (id, created_at);
            batch.changes.push(put_entry(entry));
            batch.expect.push(Expect::absent(ENTRY, entry_key(id)));
        }
        batch.expect.extend(no_nodes(&entries));
        let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        self.settle(batch, |state| ids.iter().all(|id| state.has_entry(*id)))
            .await?;
        // Another call may have deleted some again already; what was created is returned all the same.
        let seq_of =
            |state: &RegistryState, entry: Entry| state.entry(entry.id).unwrap_or_else(|| Arc::new(entry));
        Ok(self.read(|state| entries.into_iter().map(|entry| seq_of(state, entry)).collect()))
    }

    /// Replaces the entry `id` by what `draft` says; its id and age stay. With `expected`, only if that is still the
    /// change that last touched it.
    ///
    /// # Errors
    /// As [`Registry::create`]; [`RegistryError::EntryUnknown`], [`RegistryError::Changed`].
    pub async fn update(
        &self,
        id: EntryId,
        draft: &NewEntry,
        expected: Option<Seq>,
        origin: Origin,
    ) -> Result<Arc<Entry>, RegistryError> {
        let old = self.entry_at(id, expected)?;
        let mut entries = self.checked(core::slice::from_ref(draft), origin.when)?;
        for entry in &mut entries {
            (entry.id, entry.created_at) = (id, old.created_at);
        }
        let _claim = self.claim(distinct(&entries)?)?;
        self.read(|state| free_to_say(state, &entries, &HashSet::new(), origin.when))?;
        let mut batch = Batch::new(origin).expecting(Expect::at(ENTRY, entry_key(id), old.seq));
        batch.expect.extend(no_nodes(&entries));
        batch.changes.extend(entries.iter().map(put_entry));
        self.settle(batch, |state| {
            let stands = |now: &Arc<Entry>| entries.iter().all(|entry| same_but_seq(now, entry));
            state.entry(id).as_ref().is_some_and(stands)
        })
        .await?;
        self.read(|state| state.entry(id))
            .ok_or(RegistryError::EntryUnknown { id })
    }

    /// Deletes the entry `id`. With `expected`, only if that is still the change that last touched it.
    ///
    /// # Errors
    /// [`RegistryError::EntryUnknown`], [`RegistryError::Changed`], and what a commit can meet.
    pub async fn delete(
        &self,
        id: EntryId,
        expected: Option<Seq>,
        origin: Origin,
    ) -> Result<(), RegistryError> {
        let old = self.entry_at(id, expected)?;
        let batch = Batch::new(origin)
            .with(Change::delete(ENTRY, SCHEMA, entry_key(id)))
            .expecting(Expect::at(ENTRY, entry_key(id), old.seq));
        self.settle(batch, |state| !state.has_entry(id)).await
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn entry_at(&self, id: EntryId, expected: Option<Seq>) -> Result<Arc<Entry>, RegistryError> {
        let entry = self
            .read(|state| state.entry(id))
            .ok_or(RegistryError::EntryUnknown { id })?;
        if expected.is_some_and(|seq| seq != entry.seq) {
            return Err(RegistryError::Changed);
        }
        Ok(entry)
    }

    pub(crate) fn checked(&self, drafts: &[NewEntry], now: UnixTime) -> Result<Vec<Entry>, RegistryError> {
        let mut entries = Vec::with_capacity(drafts.len());
        let mut bad = Vec::new();
        for (index, draft) in drafts.iter().enumerate() {
            match draft.check(&self.own, now) {
                Ok(entry) => entries.push(entry),
                Err(problems) => bad.push(EntryProblems { index, problems }),
            }
        }
        if bad.is_empty() {
            Ok(entries)
        } else {
            Err(RegistryError::InvalidEntries(bad))
        }
    }

    /// Commits `batch` and waits until the state shows it. Where no answer comes, the log is read and the same batch
    /// offered again: its expectations let it land once at most. `landed` tells whether it has.
    pub(crate) async fn settle(
        &self,
        batch: Batch,
        landed: impl Fn(&RegistryState) -> bool,
    ) -> Result<(), RegistryError> {
        self.settle_while(batch, |_, _| Ok(()), landed).await
    }

    /// As [`settle`](Self::settle), and offers the batch only while `holds`: what it sees is so when the commit is handed
    /// over, because nobody moves the state or notes a use in between.
    pub(crate) async fn settle_while(
        &self,
        batch: Batch,
        holds: impl Fn(&RegistryState, &Noted) -> Result<(), RegistryError>,
        landed: impl Fn(&RegistryState) -> bool,
    ) -> Result<(), RegistryError> {
        let mut unanswered = None;
        for _ in 0..ATTEMPTS {
            let offered = self.read(|state| {
                let noted = self.noted();
                holds(state, &noted).map(|()| self.followed.log().commit(batch.clone()))
            });
            let offered = match offered {
                Ok(offered) => offered,
                Err(e) => return Err(unanswered.map_or(e, RegistryError::Unknown)),
            };
            match offered.await {
                Ok(_) => return self.catch_up().await,
                Err(e @ CommitError::Unknown(_)) => {
                    self.catch_up().await?;
                    if self.read(&landed) {
                        return Ok(());
                    }
                    unanswered = Some(e);
                }
                Err(CommitError::Conflict { .. }) => {
                    self.catch_up().await?;
                    if unanswered.is_some() && self.read(&landed) {
                        return Ok(());
                    }
                    return Err(RegistryError::Changed);
                }
                // An earlier offer may still land.
                Err(e) => return Err(unanswered.map_or(RegistryError::Commit(e), RegistryError::Unknown)),
            }
        }
        Err(unanswered.map_or(
            RegistryError::Contended { attempts: ATTEMPTS },
            RegistryError::Unknown,
        ))
    }

    pub(crate) async fn catch_up(&self) -> Result<(), RegistryError> {
        self.followed
            .catch_up()
            .await
            .map(drop)
            .map_err(RegistryError::Follow)
    }

    pub(crate) fn claim(&self, sayings: Vec<Saying>) -> Result<Claim<'_>, RegistryError> {
        let mut creating = lock(&self.creating);
        if sayings.iter().any(|saying| creating.contains(saying)) {
            return Err(RegistryError::Contended { attempts: 1 });
        }
        creating.extend(&sayings);
        Ok(Claim {
            creating: &self.creating,
            sayings,
        })
    }

    pub(crate) fn new_ids(
        &self,
        now: UnixTime,
        count: usize,
    ) -> Result<Vec<(EntryId, UnixTime)>, RegistryError> {
        let mut ids = lock(&self.ids);
        (0..count).map(|_| ids.next(now)).collect()
    }
}

/// How often one call offers its commit.
pub(crate) const ATTEMPTS: u32 = 8;

/// Ids that ascend, whatever the clock does.
#[derive(Default)]
struct IdSource {
    millis: u64,
    counter: u16,
}

impl IdSource {
    fn next(&mut self, now: UnixTime) -> Result<(EntryId, UnixTime), RegistryError> {
        if now.as_millis() > self.millis {
            (self.millis, self.counter) = (now.as_millis(), 0);
        } else if let Some(counter) = self.counter.checked_add(1) {
            self.counter = counter;
        } else {
            (self.millis, self.counter) = (self.millis + 1, 0);
        }
        let random = signet_crypto::random().map_err(RegistryError::Crypto)?;
        let id = EntryId::new(self.millis, self.counter, random);
        Ok((id, UnixTime::from_millis(self.millis)))
    }
}

/// Sayings that a call is creating; freed when the call ends, however it ends.
pub(crate) struct Claim<'a> {
    creating: &'a Mutex<HashSet<Saying>>,
    sayings: Vec<Saying>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut creating = lock(self.creating);
        for saying in &self.sayings {
            creating.remove(saying);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn entry_key(id: EntryId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub(crate) fn put_entry(entry: &Entry) -> Change {
    Change::put(ENTRY, SCHEMA, entry_key(entry.id), entry.to_body())
}

/// No identity of `entries` may be a node's when they are committed.
pub(crate) fn no_nodes(entries: &[Entry]) -> impl Iterator<Item = Expect> {
    // Which identities a template gives, nobody can list; nodes win over them when something is to be signed.
    let ids: BTreeSet<&SpiffeId> = entries.iter().filter_map(|entry| entry.spiffe_id.one()).collect();
    ids.into_iter().map(|id| Expect::absent(NODE, Node::key(id)))
}

pub(crate) fn distinct(entries: &[Entry]) -> Result<Vec<Saying>, RegistryError> {
    let mut seen = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Some(first) = seen.insert(Saying::of(entry), index) {
            return Err(RegistryError::EntryTwice { index, first });
        }
    }
    Ok(seen.into_keys().collect())
}

/// The first of the identities `taken` that `pattern` gives or could give.
pub(crate) fn node_among<'t>(taken: &HashSet<&'t SpiffeId>, pattern: &IdPattern) -> Option<&'t SpiffeId> {
    match pattern {
        IdPattern::One(id) => taken.get(id).copied(),
        IdPattern::Template(template) => taken.iter().copied().find(|id| template.could_give(id)),
    }
}

/// Whether `state` has room for `entries`: nobody says the same, and no node has an identity of theirs. What the
/// entries `leaving` say is free: the same commit deletes them or gives them something else to say.
pub(crate) fn free_to_say(
    state: &RegistryState,
    entries: &[Entry],
    leaving: &HashSet<EntryId>,
    now: UnixTime,
) -> Result<(), RegistryError> {
    let taken = state.identities_of_nodes(now);
    let is_new = |entry: &&Entry| entry.spiffe_id.template().is_some() && !state.is_template(entry.id);
    let new = entries.iter().filter(is_new).count();
    let max = limits::TEMPLATES_MAX;
    if new > 0 && state.template_count() + new > max {
        return Err(RegistryError::Templates { max });
    }
    for (index, entry) in entries.iter().enumerate() {
        if let Some(id) = node_among(&taken, &entry.spiffe_id) {
            return Err(RegistryError::IdentityOfNode { id: id.clone() });
        }
        match state.said_by(entry) {
            Some(existing) if existing != entry.id && !leaving.contains(&existing) => {
                return Err(RegistryError::EntryExists { index, existing });
            }
            _ => {}
        }
    }
    Ok(())
}
