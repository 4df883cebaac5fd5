//! The one thread that writes.

use crate::files::Lock;
use crate::slots::{Misplaced, Slots};
use crate::{SqliteError, sql, sums};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use signet_fault::failpoint;
use signet_store::group::{CloseOnDrop, Queue};
use signet_store::{Batch, Cause, Change, CommitError, Committed, Cursor, Kind, Seq, StoreError, chain};
use signet_time::UnixTime;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::sync::{oneshot, watch};

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    Commit {
        batch: Batch,
        answer: oneshot::Sender<Result<Committed, CommitError>>,
    },
    Prune {
        before: Before,
        /// How many changes went in earlier rounds.
        pruned: u64,
        answer: oneshot::Sender<Result<u64, StoreError>>,
    },
    Epoch {
        answer: oneshot::Sender<Result<Cursor, StoreError>>,
    },
}

/// Up to where to prune.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Before {
    Seq(Seq),
    Time(UnixTime),
}

/// Most pieces of work in one transaction.
const GROUP_JOBS_MAX: usize = 1_024;
/// Most bytes in one transaction, but for a single larger batch: what a crash makes the next start replay.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most changes pruned in one transaction, so that commits do not wait long for it.
const PRUNE_CHANGES_MAX: u64 = 2_000;

/// The writer's state, owned by its thread.
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) slots: Slots,
    pub(crate) cursor: Cursor,
    pub(crate) head: watch::Sender<Seq>,
    pub(crate) queue: Arc<Queue<Job>>,
    /// Why nothing may be written any more.
    pub(crate) broken: Arc<OnceLock<String>>,
    // Last, so that the connection is closed before the file is anyone else's.
    pub(crate) _lock: Arc<Lock>,
}

/// Why a transaction did not end well.
enum Failure {
    /// It is undone.
    Undone(SqliteError),
    /// It may have landed, or may yet.
    Unknown(SqliteError),
    /// It has landed, and nobody may be told. Only failpoints do this.
    Unanswered(SqliteError),
}

type Commit = (Batch, oneshot::Sender<Result<Committed, CommitError>>);

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _close = CloseOnDrop(Arc::clone(&self.queue));
        while let Some(jobs) = self.queue.take(GROUP_JOBS_MAX, GROUP_BYTES_MAX) {
            let mut group = Vec::with_capacity(jobs.len());
            for job in jobs {
                match job {
                    Job::Commit { batch, answer } => group.push((batch, answer)),
                    Job::Prune {
                        before,
                        pruned,
                        answer,
                    } => {
                        self.commit_group(std::mem::take(&mut group));
                        self.prune(before, pruned, answer);
                    }
                    Job::Epoch { answer } => {
                        self.commit_group(std::mem::take(&mut group));
                        let begun = self.begin_epoch().map_err(|failure| {
                            let (Failure::Undone(error)
                            | Failure::Unknown(error)
                            | Failure::Unanswered(error)) = failure;
                            if !self.conn.is_autocommit() {
                                self.undo(self.cursor);
                            }
                            StoreError::Unavailable(Cause::new(error))
                        });
                        let _gone = answer.send(begun);
                    }
                }
            }
            self.commit_group(group);
        }
    }

    /// Commits a group in one transaction and answers everyone, after the sync.
    fn commit_group(&mut self, group: Vec<Commit>) {
        if group.is_empty() {
            return;
        }
        if let Some(error) = self.refusal() {
            let cause = Cause::new(error);
            for (_, answer) in group {
                let _gone = answer.send(Err(CommitError::Unavailable(cause.clone())));
            }
            return;
        }
        let before = self.cursor;
        let (batches, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let mut outcomes = Vec::with_capacity(batches.len());
        match self.write(&batches, &mut outcomes) {
            Ok(()) => {
                self.publish();
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _gone = answer.send(outcome);
                }
            }
            Err(failure) => {
                let error = match failure {
                    Failure::Undone(error) => {
                        self.undo(before);
                        CommitError::Unavailable(Cause::new(error))
                    }
                    Failure::Unknown(error) => {
                        self.undo(before);
                        let _first = self.broken.set(signet_fault::chain(&error));
                        tracing::error!(path = %self.path.display(), error = %signet_fault::chain(&error), "a commit failed to sync; changes are refused until restart");
                        CommitError::Unknown(Cause::new(error))
                    }
                    Failure::Unanswered(error) => {
                        self.publish();
                        CommitError::Unknown(Cause::new(error))
                    }
                };
                for answer in answers {
                    let _gone = answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// The error for everyone, if nothing may be written any more.
    fn refusal(&self) -> Option<SqliteError> {
        self.broken.get().map(|why| SqliteError::Broken {
            path: self.path.clone(),
            why: why.clone(),
        })
    }

    /// Takes the state in memory, and what SQLite may still hold, back to `before`.
    fn undo(&mut self, before: Cursor) {
        self.slots.revert();
        self.cursor = before;
        if self.conn.is_autocommit() {
            return;
        }
        if let Err(error) = self.conn.execute_batch("ROLLBACK") {
            let _first = self.broken.set(error.to_string());
            tracing::error!(path = %self.path.display(), %error, "roll back; changes are refused until restart");
        }
    }

    /// Makes a synced transaction known.
    fn publish(&mut self) {
        self.slots.keep();
        let last = self.cursor.seq;
        self.head
            .send_if_modified(|head| std::mem::replace(head, last) != last);
        // After this nothing can fail: an error here would only be a late answer.
        let _ignored = failpoint::hit("store-sqlite.commit.published");
    }

    /// Writes the batches in one transaction; an outcome for each.
    fn write(
        &mut self,
        batches: &[Batch],
        outcomes: &mut Vec<Result<Committed, CommitError>>,
    ) -> Result<(), Failure> {
        self.begin().map_err(Failure::Undone)?;
        self.hit("store-sqlite.commit.begun").map_err(Failure::Undone)?;
        let before = self.cursor.seq;
        for batch in batches {
            outcomes.push(match self.conflict(batch) {
                Some(conflict) => Err(conflict),
                None => Ok(self.apply(batch).map_err(Failure::Undone)?),
            });
        }
        if self.cursor.seq == before {
            // Only conflicts. What they were judged by is synced already.
            return self
                .conn
                .execute_batch("ROLLBACK")
                .map_err(|e| Failure::Undone(SqliteError::sqlite(&self.path, e)));
        }
        self.hit("store-sqlite.commit.before_sync")
            .map_err(Failure::Undone)?;
        self.commit()?;
        self.hit("store-sqlite.commit.synced")
            .map_err(Failure::Unanswered)
    }

    fn begin(&self) -> Result<(), SqliteError> {
        self.conn
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|e| SqliteError::sqlite(&self.path, e))
    }

    /// Ends the transaction; synced when `Ok`.
    fn commit(&self) -> Result<(), Failure> {
        let Err(error) = self.conn.execute_batch("COMMIT") else {
            return Ok(());
        };
        // A full disk or a lock stops SQLite before the frame that makes a transaction count. After a failed write or
        // sync nobody can say.
        let undone = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::ReadOnly
            )
        );
        let error = SqliteError::sqlite(&self.path, error);
        Err(if undone {
            Failure::Undone(error)
        } else {
            Failure::Unknown(error)
        })
    }

    fn conflict(&self, batch: &Batch) -> Option<CommitError> {
        batch.expect.iter().find_map(|expect| {
            let found = self.slots.seq(expect.kind, &expect.key);
            (found != expect.seq).then(|| CommitError::Conflict {
                kind: expect.kind,
                key: expect.key.clone(),
                found,
            })
        })
    }

    fn apply(&mut self, batch: &Batch) -> Result<Committed, SqliteError> {
        let first = self.cursor.seq.next();
        let mut rest = u32::try_from(batch.changes.len()).unwrap_or(u32::MAX);
        for change in &batch.changes {
            rest = rest.saturating_sub(1);
            let seq = self.cursor.seq.next();
            self.cursor.chain = chain::link(&self.cursor.chain, seq, change, rest, &batch.origin);
            self.cursor.seq = seq;
            self.log(change, rest, batch)
                .and_then(|()| self.put(change))
                .map_err(|e| SqliteError::sqlite(&self.path, e))?;
            self.hit("store-sqlite.commit.change_written")?;
        }
        Ok(Committed {
            first,
            last: self.cursor.seq,
            cursor: self.cursor,
        })
    }

    /// Adds the change at the cursor to the log.
    fn log(&self, change: &Change, rest: u32, batch: &Batch) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql::INSERT_CHANGE)?.execute(params![
            sql::int(self.cursor.seq.0),
            change.kind.0,
            change.schema,
            change.must_understand,
            &*change.key,
            change.body.as_deref(),
            rest,
            batch.origin.who,
            batch.origin.why,
            sql::int(batch.origin.when.as_millis()),
            &self.cursor.chain[..],
        ])?;
        Ok(())
    }

    /// Brings `current` up to the change at the cursor.
    fn put(&mut self, change: &Change) -> rusqlite::Result<()> {
        let seq = self.cursor.seq;
        match &change.body {
            Some(body) => {
                let Some(slot) = self.slots.put(change.kind, &change.key, seq) else {
                    // As SQLite says it of a table that has no number left.
                    let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
                    return Err(rusqlite::Error::SqliteFailure(full, None));
                };
                let (kind, must) = (change.kind, change.must_understand);
                let sum = sums::sum(kind, change.schema, must, seq, &change.key, body);
                self.conn.prepare_cached(sql::PUT_CURRENT)?.execute(params![
                    slot,
                    change.kind.0,
                    change.schema,
                    change.must_understand,
                    &*change.key,
                    sql::int(seq.0),
                    &**body,
                    &sum[..],
                ])?;
            }
            None => {
                if let Some(slot) = self.slots.remove(change.kind, &change.key) {
                    self.conn.prepare_cached(sql::DELETE_CURRENT)?.execute([slot])?;
                }
            }
        }
        Ok(())
    }

    /// Goes on under another epoch.
    fn begin_epoch(&mut self) -> Result<Cursor, Failure> {
        if let Some(error) = self.refusal() {
            return Err(Failure::Undone(error));
        }
        let epoch = sql::new_epoch(&self.path).map_err(Failure::Undone)?;
        self.begin().map_err(Failure::Undone)?;
        self.conn
            .execute(sql::SET_EPOCH, [&epoch[..]])
            .map_err(|e| Failure::Undone(SqliteError::sqlite(&self.path, e)))?;
        if let Err(failure) = self.commit() {
            if let Failure::Unknown(error) = &failure {
                let _first = self.broken.set(signet_fault::chain(error));
            }
            return Err(failure);
        }
        self.cursor.epoch = epoch;
        // The number is the same, and who waits is woken all the same.
        self.head.send_replace(self.cursor.seq);
        Ok(self.cursor)
    }

    /// Prunes one round; what is left goes to the end of the queue.
    fn prune(&mut self, before: Before, pruned: u64, answer: oneshot::Sender<Result<u64, StoreError>>) {
        match self.prune_round(before) {
            Ok((round, more)) => {
                let pruned = pruned.saturating_add(round);
                let Some(before) = more else {
                    let _gone = answer.send(Ok(pruned));
                    return;
                };
                let job = Job::Prune {
                    before: Before::Seq(before),
                    pruned,
                    answer,
                };
                // A queue that is full or closed drops the job: the caller is told that the store is not available,
                // and prunes again another time.
                let _dropped = self.queue.push(job, 0);
            }
            Err(failure) => {
                let (Failure::Undone(error) | Failure::Unknown(error) | Failure::Unanswered(error)) = failure;
                if !self.conn.is_autocommit() {
                    self.undo(self.cursor);
                }
                let _gone = answer.send(Err(StoreError::Unavailable(Cause::new(error))));
            }
        }
    }

    /// Forgets up to [`PRUNE_CHANGES_MAX`] changes: how many, and up to where the rest goes.
    fn prune_round(&mut self, before: Before) -> Result<(u64, Option<Seq>), Failure> {
        if let Some(error) = self.refusal() {
            return Err(Failure::Undone(error));
        }
        let (target, floor) = self.prune_target(before).map_err(Failure::Undone)?;
        let Some(wanted) = target.0.checked_sub(floor.0).filter(|n| *n > 0) else {
            return Ok((0, None));
        };
        let round = wanted.min(PRUNE_CHANGES_MAX);
        let upto = Seq(floor.0.saturating_add(round));
        self.begin().map_err(Failure::Undone)?;
        self.hit("store-sqlite.prune.begun").map_err(Failure::Undone)?;
        self.forget(upto).map_err(Failure::Undone)?;
        self.hit("store-sqlite.prune.before_sync")
            .map_err(Failure::Undone)?;
        if let Err(failure) = self.commit() {
            if let Failure::Unknown(error) = &failure {
                let _first = self.broken.set(signet_fault::chain(error));
            }
            return Err(failure);
        }
        self.hit("store-sqlite.prune.synced")
            .map_err(Failure::Unanswered)?;
        Ok((round, (round < wanted).then(|| target.next())))
    }

    /// The last change to forget, and the floor now.
    fn prune_target(&self, before: Before) -> Result<(Seq, Seq), SqliteError> {
        let (floor, _) = sql::floor(&self.conn, &self.path)?;
        let before = match before {
            Before::Seq(before) => before,
            Before::Time(time) => {
                let first: Option<i64> = self
                    .conn
                    .query_row(sql::FIRST_SINCE, [sql::int(time.as_millis())], |row| row.get(0))
                    .optional()
                    .map_err(|e| SqliteError::sqlite(&self.path, e))?;
                match first {
                    Some(first) => Seq(sql::uint(&self.path, first)?),
                    None => self.cursor.seq.next(),
                }
            }
        };
        let target = before.0.saturating_sub(1).min(self.cursor.seq.0);
        Ok((Seq(target), floor))
    }

    fn forget(&self, upto: Seq) -> Result<(), SqliteError> {
        let sql = |e| SqliteError::sqlite(&self.path, e);
        let chain = sql::chain_at(&self.conn, &self.path, upto)?
            .ok_or_else(|| SqliteError::corrupt(&self.path, format_args!("change {upto} is missing")))?;
        self.conn.execute(sql::PRUNE, [sql::int(upto.0)]).map_err(sql)?;
        self.conn
            .execute(sql::SET_FLOOR, [sql::floor_value(upto, &chain)])
            .map_err(sql)?;
        Ok(())
    }

    fn hit(&self, name: &'static str) -> Result<(), SqliteError> {
        failpoint::hit(name).map_err(|e| SqliteError::injected(&self.path, e))
    }
}

/// Reads the map from key to slot, and checks that table and log belong together.
pub(crate) fn restore(conn: &Connection, path: &std::path::Path) -> Result<(Slots, Cursor), SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let cursor = sql::cursor(conn, path)?;
    let (floor, _) = sql::floor(conn, path)?;
    let oldest: Option<i64> = conn.query_row(sql::OLDEST, [], |row| row.get(0)).map_err(sql)?;
    match oldest {
        Some(oldest) if sql::uint(path, oldest)? != floor.next().0 => {
            return Err(SqliteError::corrupt(
                path,
                "the oldest change is not the one after the floor",
            ));
        }
        _ => {}
    }
    let mut slots = Slots::default();
    slots.reserve(sql::slots(conn, path)?);
    let mut statement = conn.prepare(sql::SCAN_KEYS).map_err(sql)?;
    let mut rows = statement.query([]).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        let slot: i64 = row.get(0).map_err(sql)?;
        let kind: u16 = row.get(1).map_err(sql)?;
        let key = row.get_ref(2).map_err(sql)?;
        let key = key.as_blob().map_err(|e| sql(e.into()))?;
        let seq = Seq(sql::uint(path, row.get(3).map_err(sql)?)?);
        if seq > cursor.seq {
            return Err(SqliteError::corrupt(path, "a row is newer than the log"));
        }
        slots.restore(Kind(kind), key, slot, seq).map_err(|misplaced| {
            let why = match misplaced {
                Misplaced::Twice => "a key stands in two slots",
                Misplaced::Slot => "a slot has a number that no slot has",
            };
            SqliteError::corrupt(path, why)
        })?;
    }
    Ok((slots, cursor))
}
