//! A disk that loses what was not synced, and proof that each sync is needed.

use crate::run::{Run, scratch, verify};
use signet_crash::acks::Acks;
use signet_crash::dice::Dice;
use signet_crash::disk::{Disk, Loss, SyncKind};
use signet_crash::log::{self, Entry, Op};
use signet_crash::verify::Store;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Several processes one after another on one disk, as one record.
struct Recorded {
    store: Store,
    root: PathBuf,
    entries: Vec<Entry>,
}

/// How a process of a record ends.
enum End {
    /// By SIGKILL, before a call.
    Kill(&'static str),
    /// By an abort at a failpoint.
    Failpoint(&'static str),
    /// By itself, because from some call on all fail.
    Refused(&'static str),
    /// By itself.
    Itself,
}

fn record(store: Store) -> Recorded {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let path = outside.path().join("log");
    let ends: &[End] = match store {
        Store::Sqlite => &[
            End::Kill("fsync:40:kill:-wal"),
            End::Kill("fsync:25:kill:-wal"),
            End::Itself,
            End::Itself,
        ],
        Store::Journal => &[
            // No second segment, and so no later sync of the directory that would make the first one's name durable.
            End::Refused("create:2:28:.preparing"),
            End::Kill("fsync:40:kill:.segment"),
            // The name of a prepared segment is not synced; the next process uses it, and prepares no other.
            End::Failpoint("journal-file.prepare.renamed=abort"),
            End::Refused("create:1:28:.preparing"),
            End::Kill("fsync:25:kill:.segment"),
            End::Itself,
            End::Itself,
        ],
    };
    let mut acks = Acks::default();
    for end in ends {
        let mut run = Run::new(store, &root, 60);
        run.log = Some(&path);
        // Pruning syncs the directory too, and would hide that another sync of it is missing.
        run.keep = matches!(end, End::Refused(_));
        match end {
            End::Kill(at) | End::Refused(at) => run.at = Some(at),
            End::Failpoint(list) => run.failpoints = Some((*list).to_owned()),
            End::Itself => {}
        }
        let status = run.finish(&mut acks);
        assert_eq!(
            status.success(),
            matches!(end, End::Itself | End::Refused(_)),
            "{status}"
        );
        let failed = !std::mem::take(&mut acks.errors).is_empty();
        assert_eq!(failed, matches!(end, End::Refused(_)));
    }
    let entries = log::read(&path);
    Recorded { store, root, entries }
}

impl Recorded {
    /// Tries a crash before each sync, which is where most is acknowledged for what is on the disk, and one at the end.
    /// Returns what the first of them that loses something loses.
    fn lose_everything_unsynced(&self, without: Option<&SyncKind>) -> Option<String> {
        let mut disk = Disk::new(&self.root);
        for (n, entry) in self.entries.iter().enumerate() {
            if matches!(entry.op, Op::Sync { .. })
                && let Err(lost) = self.crash(&disk, &mut Loss::Everything)
            {
                return Some(format!("before operation {n}: {lost}"));
            }
            disk.apply(entry, without);
        }
        self.crash(&disk, &mut Loss::Everything)
            .err()
            .or_else(|| disk.violations.first().cloned())
    }

    /// Tries crashes at random moments that keep a random part of what was not synced.
    fn lose_some_unsynced(
        &self,
        without: Option<&SyncKind>,
        dice: &mut Dice,
        crashes: u64,
    ) -> Option<String> {
        let mut disk = Disk::new(&self.root);
        for (n, entry) in self.entries.iter().enumerate() {
            // Starts are short and names change seldom: worth more crashes than what goes on all the time.
            let rare = matches!(entry.op, Op::Unlink { .. } | Op::Rename { .. });
            let chance = crashes * if rare { 8 } else { 1 };
            if !disk.acks.ready || dice.below(self.entries.len() as u64) < chance {
                let mut loss = Loss::Some(Dice::from_seed(dice.any()));
                if let Err(lost) = self.crash(&disk, &mut loss) {
                    return Some(format!("before operation {n}, {loss:?}: {lost}"));
                }
            }
            disk.apply(entry, without);
        }
        None
    }

    fn crash(&self, disk: &Disk, loss: &mut Loss) -> Result<(), String> {
        let target = scratch();
        disk.crash(loss, target.path());
        verify(self.store, target.path(), &disk.acks)
    }

    /// The record up to when the first process had opened its store.
    fn first_start(&self) -> Self {
        let mut disk = Disk::new(&self.root);
        let starting = self.entries.iter().take_while(|entry| {
            disk.apply(entry, None);
            !disk.acks.ready
        });
        Self {
            store: self.store,
            root: self.root.clone(),
            entries: starting.cloned().collect(),
        }
    }

    /// Every kind of sync in the record, and how many there are of each.
    fn kinds(&self) -> BTreeMap<SyncKind, u64> {
        let mut disk = Disk::new(&self.root);
        let mut kinds = BTreeMap::new();
        for entry in &self.entries {
            if let Some(kind) = disk.sync_kind(entry) {
                *kinds.entry(kind).or_default() += 1;
            }
            disk.apply(entry, None);
        }
        kinds
    }
}

fn nothing_acknowledged_is_lost(store: Store) {
    let mut dice = Dice::seeded(&format!("disk {store:?}"));
    let recorded = record(store);
    assert_eq!(recorded.lose_everything_unsynced(None), None);
    assert_eq!(recorded.lose_some_unsynced(None, &mut dice, 150), None);
}

fn each_sync_is_needed(store: Store) {
    let mut dice = Dice::seeded(&format!("syncs {store:?}"));
    let recorded = record(store);
    let mut needless = Vec::new();
    for (kind, count) in recorded.kinds() {
        // What is needed only while a database is made is needed in one moment, and shows in one of ten crashes there.
        let starting = recorded.first_start();
        let mut tries = 0;
        let mut lose_some = |recorded: &Recorded| {
            tries += 1;
            recorded.lose_some_unsynced(Some(&kind), &mut dice, 150)
        };
        let lost = recorded
            .lose_everything_unsynced(Some(&kind))
            .or_else(|| (0..100).find_map(|_| lose_some(&starting)))
            .or_else(|| (0..20).find_map(|_| lose_some(&recorded)));
        println!("without the {count} of {kind:?}, after {tries} tries: {lost:?}");
        if lost.is_none() {
            needless.push(kind);
        }
    }
    assert_eq!(needless, []);
}

#[test]
fn crash_of_the_disk_loses_nothing_acknowledged_in_sqlite() {
    nothing_acknowledged_is_lost(Store::Sqlite);
}

#[test]
fn crash_of_the_disk_loses_nothing_acknowledged_in_the_journal() {
    nothing_acknowledged_is_lost(Store::Journal);
}

#[test]
fn crash_of_the_disk_without_any_one_sync_is_found_in_sqlite() {
    each_sync_is_needed(Store::Sqlite);
}

#[test]
fn crash_of_the_disk_without_any_one_sync_is_found_in_the_journal() {
    each_sync_is_needed(Store::Journal);
}
