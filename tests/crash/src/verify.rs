//! Opens what a crash left and compares it with what was acknowledged.

use crate::acks::Acks;
use crate::child::{open_journal, open_store, read_journal};
use crate::workload::{self, KIND, WRITERS};
use signet_fault::chain as text;
use signet_store::{ChangeLog as _, Cursor, Tail, chain};
use std::collections::BTreeMap;
use std::path::Path;

/// Which store a campaign is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The change log on SQLite.
    Sqlite,
    /// The journal in files.
    Journal,
}

impl Store {
    /// The child's role.
    #[must_use]
    pub const fn role(self) -> &'static str {
        match self {
            Self::Sqlite => "store",
            Self::Journal => "journal",
        }
    }

    /// The crate's failpoints.
    #[must_use]
    pub const fn failpoints(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => signet_store_sqlite::FAILPOINTS,
            Self::Journal => signet_journal_file::FAILPOINTS,
        }
    }

    /// Checks the store in `directory`.
    ///
    /// # Errors
    /// What is not as acknowledged.
    pub fn verify(self, directory: &Path, acks: &Acks) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            match self {
                Self::Sqlite => store(directory, acks).await,
                Self::Journal => journal(directory, acks).await,
            }
        })
    }
}

async fn store(directory: &Path, acks: &Acks) -> Result<(), String> {
    let log = open_store(directory).map_err(|e| format!("open: {}", text(&e)))?;
    let snapshot = log.load().await.map_err(|e| format!("load: {}", text(&e)))?;
    let mut found: BTreeMap<_, _> = snapshot
        .rows
        .iter()
        .map(|row| (row.key.clone(), row.body.clone()))
        .collect();
    if found.len() != snapshot.rows.len() || snapshot.rows.iter().any(|row| row.kind != KIND) {
        return Err("a key stands twice, or is not ours".to_owned());
    }
    for writer in 0..WRITERS {
        let counted = found
            .get(&workload::counter(writer))
            .and_then(|body| std::str::from_utf8(body).ok()?.parse().ok());
        let steps: u32 = counted.unwrap_or(0);
        let acknowledged = acks.steps.get(&writer).copied().unwrap_or(0);
        // One more may have landed without an answer.
        if !(acknowledged..=acknowledged + 1).contains(&steps) {
            return Err(format!(
                "writer {writer}: {steps} steps are there, {acknowledged} were acknowledged"
            ));
        }
        for (key, body) in workload::state(writer, steps) {
            if found.remove(&key).as_ref() != Some(&body) {
                return Err(format!(
                    "writer {writer}, step {steps}: {key:?} is not as written"
                ));
            }
        }
    }
    if let Some(key) = found.keys().next() {
        return Err(format!("{key:?} is there and should not be"));
    }
    match acks.cursor {
        Some(cursor) => follow(&log, cursor, snapshot.cursor).await,
        None => Ok(()),
    }
}

/// Checks that the history after an acknowledged cursor leads to `head`.
async fn follow(log: &dyn signet_store::ChangeLog, mut at: Cursor, head: Cursor) -> Result<(), String> {
    loop {
        let entries = match log
            .tail(at, 50)
            .await
            .map_err(|e| format!("tail: {}", text(&e)))?
        {
            Tail::Changes(entries) => entries,
            // Only what is older than the newest sixty changes is pruned.
            Tail::Compacted => return Err("the newest change is pruned".to_owned()),
            Tail::Diverged => return Err(format!("the history that change {} ended is another", at.seq)),
        };
        if entries.is_empty() {
            return if at == head {
                Ok(())
            } else {
                Err("tail and load differ".to_owned())
            };
        }
        for entry in entries {
            if entry.seq != at.seq.next() || !chain::follows(&at.chain, &entry) {
                return Err(format!("the chain breaks at change {}", entry.seq));
            }
            (at.seq, at.chain) = (entry.seq, entry.chain);
        }
    }
}

async fn journal(directory: &Path, acks: &Acks) -> Result<(), String> {
    let journal = open_journal(directory).map_err(|e| format!("open: {}", text(&e)))?;
    let records = read_journal(&journal)
        .await
        .map_err(|e| format!("range: {}", text(&e)))?;
    let oldest = records.first().map_or(1, |(index, _)| index.0);
    if oldest > acks.prunable.max(1) {
        return Err(format!(
            "records before {oldest} are gone, and only those before {} were pruned",
            acks.prunable
        ));
    }
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for ((index, bytes), expected) in records.iter().zip(oldest..) {
        if index.0 != expected {
            return Err(format!("record {expected} is missing"));
        }
        let Some((writer, step)) = workload::parse_record(bytes) else {
            return Err(format!("record {index} is not ours"));
        };
        if *bytes != workload::record(writer, step) {
            return Err(format!("record {index} is not as written"));
        }
        if last.insert(writer, step).is_some_and(|before| before + 1 != step) {
            return Err(format!("record {index}: writer {writer} jumps to step {step}"));
        }
        found.insert(index.0, (writer, step));
    }
    for (index, record) in acks.records.range(oldest..) {
        if found.get(index) != Some(record) {
            return Err(format!(
                "record {index} was acknowledged as {record:?} and is {:?}",
                found.get(index)
            ));
        }
    }
    let acknowledged: BTreeMap<u32, u32> =
        acks.records
            .values()
            .fold(BTreeMap::new(), |mut all, (writer, step)| {
                let last = all.entry(*writer).or_insert(0);
                *last = (*last).max(*step);
                all
            });
    for (writer, step) in last {
        let acknowledged = acknowledged.get(&writer).copied().unwrap_or(0);
        // One more may have landed without an answer.
        if step > acknowledged + 1 {
            return Err(format!(
                "writer {writer}: step {step} is there, {acknowledged} was acknowledged"
            ));
        }
    }
    Ok(())
}
