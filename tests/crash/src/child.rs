//! What the child does.

use crate::acks::{self, say};
use crate::workload::{self, KIND, WRITERS};
use signet_fault::Coded as _;
use signet_journal_file::{FileJournal, JournalFileError, SEGMENT_BYTES_MIN};
use signet_store::{ChangeLog as _, Index, Journal as _, JournalError, Seq};
use signet_store_sqlite::{SqliteError, SqliteLog};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// Opens the change log below `directory`, with a write-ahead log that wraps often.
///
/// # Errors
/// As [`SqliteLog::open`].
pub fn open_store(directory: &Path) -> Result<SqliteLog, SqliteError> {
    let options = signet_store_sqlite::Options { checkpoint_pages: 24 };
    SqliteLog::open_with(&directory.join("signet.db"), &options)
}

/// Opens the journal below `directory`, with segments that fill often.
///
/// # Errors
/// As [`FileJournal::open`].
pub fn open_journal(directory: &Path) -> Result<FileJournal, JournalFileError> {
    let options = signet_journal_file::Options {
        segment_bytes: SEGMENT_BYTES_MIN,
        first_segment_bytes: SEGMENT_BYTES_MIN,
    };
    FileJournal::open_with(&directory.join("journal"), &options)
}

/// Every record of `journal` that is left.
///
/// # Errors
/// What the journal says.
pub async fn read_journal(journal: &FileJournal) -> Result<Vec<(Index, bytes::Bytes)>, JournalError> {
    let mut from = match journal.range(Index::FIRST, 1).await {
        Err(JournalError::Pruned { oldest }) => oldest,
        other => other.map(|_| Index::FIRST)?,
    };
    let mut all = Vec::new();
    loop {
        let records = journal.range(from, 1_000).await?;
        let Some((last, _)) = records.last() else {
            return Ok(all);
        };
        from = last.next();
        all.extend(records);
    }
}

/// Writes to the change log, `steps` steps per writer; at times prunes it if `prunes`.
pub async fn store(directory: &Path, steps: u32, prunes: bool) {
    let log = match open_store(directory) {
        Ok(log) => Arc::new(log),
        Err(error) => return say(&format!("e {}", error.code())),
    };
    let snapshot = log.load().await.expect("load");
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let counter = workload::counter(writer);
        let row = snapshot
            .rows
            .iter()
            .find(|row| row.kind == KIND && row.key == counter);
        let done: u32 = row.map_or(0, |row| std::str::from_utf8(&row.body).unwrap().parse().unwrap());
        // Whoever reads sees this, so it must not go away again.
        say(&acks::step(writer, done, &snapshot.cursor));
        writers.push((writer, done, row.map(|row| row.seq)));
    }
    say("ready");
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|(writer, done, counted)| {
            let (log, prunes) = (Arc::clone(&log), prunes && writer == 0);
            tokio::spawn(step_store(log, writer, done + 1..=done + steps, counted, prunes))
        })
        .collect();
    for task in tasks {
        task.await.expect("writer");
    }
    if log.load().await.is_err() {
        say("e load");
    }
}

async fn step_store(
    log: Arc<SqliteLog>,
    writer: u32,
    steps: RangeInclusive<u32>,
    mut counted: Option<Seq>,
    prunes: bool,
) {
    for step in steps {
        match log.commit(workload::batch(writer, step, counted)).await {
            Ok(committed) => {
                counted = Some(committed.first);
                say(&acks::step(writer, step, &committed.cursor));
                if prunes && step % 20 == 0 {
                    let _later = log.prune(Seq(committed.last.0.saturating_sub(60))).await;
                }
            }
            Err(error) => {
                let outcome = match &error {
                    signet_store::CommitError::Unknown(_) => "unknown",
                    _ => "refused",
                };
                say(&format!("e {}-{outcome}", error.code()));
                return;
            }
        }
    }
}

/// Writes to the journal, `steps` steps per writer; at times prunes it if `prunes`.
pub async fn journal(directory: &Path, steps: u32, prunes: bool) {
    let journal = match open_journal(directory) {
        Ok(journal) => Arc::new(journal),
        Err(error) => return say(&format!("e {}", error.code())),
    };
    let mut done = [0; WRITERS as usize];
    for (index, bytes) in read_journal(&journal).await.expect("range") {
        let (writer, step) = workload::parse_record(&bytes).expect("a record of ours");
        // Whoever reads sees this, so it must not go away again.
        say(&format!("j {writer} {step} {index}"));
        *done.get_mut(writer as usize).expect("a writer") = step;
    }
    say("ready");
    let tasks: Vec<_> = (0..WRITERS)
        .zip(done)
        .map(|(writer, done)| {
            let (journal, prunes) = (Arc::clone(&journal), prunes && writer == 0);
            tokio::spawn(step_journal(journal, writer, done + 1..=done + steps, prunes))
        })
        .collect();
    for task in tasks {
        task.await.expect("writer");
    }
    if read_journal(&journal).await.is_err() {
        say("e range");
    }
}

async fn step_journal(journal: Arc<FileJournal>, writer: u32, steps: RangeInclusive<u32>, prunes: bool) {
    for step in steps {
        match journal.append(workload::record(writer, step)).await {
            Ok(index) => {
                say(&format!("j {writer} {step} {index}"));
                // Keeps more records than all writers have in a row, so that each one's last step is always there.
                if prunes && step % 10 == 0 {
                    let before = index.0.saturating_sub(200);
                    say(&format!("p {before}"));
                    let _later = journal.prune_before(Index(before)).await;
                }
            }
            Err(error) => {
                let outcome = match &error {
                    JournalError::Unknown(_) => "unknown",
                    _ => "refused",
                };
                say(&format!("e {}-{outcome}", error.code()));
                return;
            }
        }
    }
}
