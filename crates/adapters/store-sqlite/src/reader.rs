//! Reading: connections that never write.

use crate::{SqliteError, sql};
use rusqlite::{Connection, OpenFlags};
use signet_store::{BATCH_BYTES_MAX, Cursor, Snapshot, TAIL_CHANGES_MAX, Tail};
use std::path::Path;

/// Opens a connection that can only read.
pub(crate) fn connect(path: &Path) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| SqliteError::sqlite(path, e))?;
    // Not opened read-only, because a WAL reader must be able to write the shared index.
    conn.pragma_update(None, "query_only", true)
        .map_err(|e| SqliteError::sqlite(path, e))?;
    Ok(conn)
}

/// Every row, and the place in the log where they are so.
pub(crate) fn load(conn: &mut Connection, path: &Path) -> Result<Snapshot, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    // One read transaction, so that rows and cursor belong together.
    let tx = conn.transaction().map_err(sql)?;
    let cursor = sql::cursor(&tx, path)?;
    let mut statement = tx.prepare(sql::SCAN_CURRENT).map_err(sql)?;
    let mut found = statement.query([]).map_err(sql)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(sql)? {
        rows.push(sql::row(path, row)?);
    }
    Ok(Snapshot { cursor, rows })
}

/// The changes after a cursor.
pub(crate) fn tail(
    conn: &mut Connection,
    path: &Path,
    after: Cursor,
    limit: usize,
) -> Result<Tail, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let tx = conn.transaction().map_err(sql)?;
    let head = sql::cursor(&tx, path)?;
    if after.epoch != head.epoch || after.seq > head.seq {
        return Ok(Tail::Diverged);
    }
    let floor = sql::floor(&tx, path)?;
    if after.seq < floor.0 {
        return Ok(Tail::Compacted);
    }
    let chain = if after.seq == floor.0 {
        Some(floor.1.to_vec())
    } else {
        sql::chain_at(&tx, path, after.seq)?
    };
    if chain.as_deref() != Some(&after.chain[..]) {
        return Ok(Tail::Diverged);
    }
    let limit = limit.clamp(1, TAIL_CHANGES_MAX);
    let mut statement = tx.prepare_cached(sql::SCAN_TAIL).map_err(sql)?;
    let mut found = statement.query([sql::int(after.seq.0)]).map_err(sql)?;
    let mut entries = Vec::new();
    // How many entries end with a whole batch, and how many bytes there are in all.
    let (mut whole, mut bytes) = (0, 0_usize);
    let mut expected = after.seq.next();
    while let Some(row) = found.next().map_err(sql)? {
        if whole > 0 && (entries.len() >= limit || bytes > BATCH_BYTES_MAX) {
            break;
        }
        let entry = sql::entry(path, row)?;
        if entry.seq != expected {
            return Err(SqliteError::corrupt(
                path,
                format_args!("change {expected} is missing"),
            ));
        }
        expected = expected.next();
        bytes = bytes.saturating_add(entry.change.body.as_ref().map_or(0, bytes::Bytes::len));
        let ends = entry.rest == 0;
        entries.push(entry);
        if ends {
            whole = entries.len();
        }
    }
    entries.truncate(whole);
    Ok(Tail::Changes(entries))
}
