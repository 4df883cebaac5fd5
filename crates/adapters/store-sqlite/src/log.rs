use crate::files::{self, Lock};
use crate::writer::{Before, Job, Writer, restore};
use crate::{SqliteError, migrate, reader};
use rusqlite::{Connection, OpenFlags};
use signet_fault::failpoint;
use signet_store::backup::{Image, ImagePart};
use signet_store::group::{Queue, Refused};
use signet_store::{
    Batch, BoxFuture, Cause, ChangeLog, CommitError, Committed, Cursor, Past, PastWish, Piece, Seq, Snapshot,
    StoreError, Tail, Wanted,
};
use signet_time::UnixTime;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How a database is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// After how many pages in the write-ahead log they are moved into the database.
    pub checkpoint_pages: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            checkpoint_pages: 1_000,
        }
    }
}

/// A change log in one SQLite file.
///
/// Dropping it lets the writer finish what was asked for, and waits for that.
#[derive(Debug)]
pub struct SqliteLog {
    queue: Arc<Queue<Job>>,
    head: watch::Sender<Seq>,
    reader: Arc<Reader>,
    broken: Arc<OnceLock<String>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Reader {
    /// For `tail`; held for one read at a time. `load`, which is rare and long, opens a connection of its own.
    conn: Mutex<Connection>,
    path: PathBuf,
    _lock: Arc<Lock>,
}

/// Most batches that may wait for the writer.
const QUEUE_BATCHES_MAX: usize = 4_096;
/// Most bytes that may wait for the writer.
const QUEUE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How long a foreign program may hold a lock before a write is refused.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// What the write-ahead log is cut back to after a burst.
const WAL_BYTES_KEPT: u32 = 16 * 1024 * 1024;
/// Size of the page cache of the writer, in KiB.
const CACHE_KIB: i32 = 16 * 1024;
/// The same while the database is opened.
const CACHE_KIB_OPENING: i32 = 256;

impl SqliteLog {
    /// Opens or creates the database at `path`, whose directory must exist.
    ///
    /// # Errors
    /// [`SqliteError`]: each thing that a person can have got wrong has its variant.
    pub fn open(path: &Path) -> Result<Self, SqliteError> {
        Self::open_with(path, &Options::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, options: &Options) -> Result<Self, SqliteError> {
        let (path, lock) = files::claim(path)?;
        let lock = Arc::new(lock);
        let mut conn = connect(&path, options)?;
        migrate::migrate(&mut conn, &path)?;
        sync_what_was_recovered(&conn, &path)?;
        let (slots, cursor) = restore(&conn, &path)?;
        // Only now: reading every key has filled it with pages that nobody looks at again.
        conn.execute_batch("PRAGMA shrink_memory")
            .and_then(|()| conn.pragma_update(None, "cache_size", -CACHE_KIB))
            .map_err(|e| SqliteError::sqlite(&path, e))?;
        let reader = Reader {
            conn: Mutex::new(reader::connect(&path)?),
            path: path.clone(),
            _lock: Arc::clone(&lock),
        };
        let queue = Arc::new(Queue::new(QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX));
        let head = watch::Sender::new(cursor.seq);
        let broken = Arc::new(OnceLock::new());
        let writer = Writer {
            conn,
            path: path.clone(),
            slots,
            cursor,
            head: head.clone(),
            queue: Arc::clone(&queue),
            broken: Arc::clone(&broken),
            _lock: lock,
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| SqliteError::io(&path, e))?;
        Ok(Self {
            queue,
            head,
            reader: Arc::new(reader),
            broken,
            writer: Some(writer),
        })
    }

    /// Why no change is written until restart, if so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    fn prune_before(&self, before: Before) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Prune {
            before,
            pruned: 0,
            answer,
        };
        let pushed = self.queue.push(job, 0);
        Box::pin(async move {
            pushed.map_err(|refused| StoreError::Unavailable(cause(refused)))?;
            answered
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable(Cause::new(SqliteError::Stopped))))
        })
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, SqliteError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let reader = Arc::clone(&self.reader);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || read(&reader)).await {
                Ok(done) => done.map_err(|e| StoreError::Unavailable(Cause::new(e))),
                Err(_) => Err(StoreError::Unavailable(Cause::new(SqliteError::Stopped))),
            }
        })
    }
}

impl ChangeLog for SqliteLog {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let (answer, answered) = oneshot::channel();
        let pushed = batch.check().and_then(|()| {
            let bytes = batch.bytes();
            self.queue
                .push(Job::Commit { batch, answer }, bytes)
                .map_err(|refused| CommitError::Unavailable(cause(refused)))
        });
        Box::pin(async move {
            pushed?;
            answered
                .await
                .unwrap_or_else(|_| Err(CommitError::Unknown(Cause::new(SqliteError::Stopped))))
        })
    }

    fn load_kinds(&self, wanted: Wanted) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.read(move |reader| reader::load(&mut reader::connect(&reader.path)?, &reader.path, &wanted))
    }

    fn load_pieces(
        &self,
        wanted: Wanted,
        pieces: mpsc::Sender<Piece>,
    ) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.read(move |reader| {
            reader::load_pieces(
                &mut reader::connect(&reader.path)?,
                &reader.path,
                &wanted,
                &pieces,
            )
        })
    }

    fn image(&self) -> BoxFuture<'_, Result<Image, StoreError>> {
        self.read(|reader| reader::image(&mut reader::connect(&reader.path)?, &reader.path))
    }

    fn image_parts(&self, parts: mpsc::Sender<ImagePart>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.read(move |reader| {
            reader::image_parts(&mut reader::connect(&reader.path)?, &reader.path, &parts)
        })
    }

    fn tail(&self, after: Cursor, limit: usize) -> BoxFuture<'_, Result<Tail, StoreError>> {
        self.read(move |reader| {
            let mut conn = reader.conn.lock().unwrap_or_else(PoisonError::into_inner);
            reader::tail(&mut conn, &reader.path, after, limit)
        })
    }

    fn past(&self, until: Cursor, wish: PastWish) -> BoxFuture<'_, Result<Past, StoreError>> {
        self.read(move |reader| {
            let mut conn = reader::connect(&reader.path)?;
            reader::past(&mut conn, &reader.path, until, wish)
        })
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    fn begin_epoch(&self) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let pushed = self.queue.push(Job::Epoch { answer }, 0);
        Box::pin(async move {
            pushed.map_err(|refused| StoreError::Unavailable(cause(refused)))?;
            answered
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable(Cause::new(SqliteError::Stopped))))
        })
    }

    fn prune(&self, before: Seq) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.prune_before(Before::Seq(before))
    }

    fn prune_older(&self, before: UnixTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.prune_before(Before::Time(before))
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so.
            let _panicked = writer.join();
        }
    }
}

fn cause(refused: Refused) -> Cause {
    Cause::new(match refused {
        Refused::Full => SqliteError::Busy,
        Refused::Closed => SqliteError::Stopped,
    })
}

/// Opens the connection that writes.
pub(crate) fn connect(path: &Path, options: &Options) -> Result<Connection, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(sql)?;
    conn.busy_timeout(BUSY_MAX).map_err(sql)?;
    conn.pragma_update(None, "trusted_schema", false).map_err(sql)?;
    conn.pragma_update(None, "cell_size_check", true).map_err(sql)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sql)?;
    if mode != "wal" {
        return Err(SqliteError::corrupt(
            path,
            format_args!("its journal mode stays `{mode}`"),
        ));
    }
    conn.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)
        .map_err(sql)?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))
        .map_err(sql)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB_OPENING)
        .map_err(sql)?;
    failpoint::hit("store-sqlite.open.connected").map_err(|e| SqliteError::injected(path, e))?;
    Ok(conn)
}

/// Moves the write-ahead log into the database, with syncs of both.
///
/// After a killed process the log may hold a transaction that was written but not synced. SQLite would show it, and a
/// power failure could still take it back from those who saw it.
fn sync_what_was_recovered(conn: &Connection, path: &Path) -> Result<(), SqliteError> {
    let busy: i64 = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|e| SqliteError::sqlite(path, e))?;
    if busy != 0 {
        return Err(SqliteError::InUse {
            path: path.to_owned(),
            holder: "a program that does not honour Signet's lock".to_owned(),
        });
    }
    failpoint::hit("store-sqlite.open.checkpointed").map_err(|e| SqliteError::injected(path, e))
}
