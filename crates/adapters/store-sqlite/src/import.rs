//! A new database with a state that comes from a backup.

use crate::log::{Options, connect};
use crate::{SqliteError, files, migrate, sql, sums};
use rusqlite::{Connection, TransactionBehavior, params};
use signet_fault::failpoint;
use signet_store::{Cursor, Row, Seq, chain};
use std::path::Path;

/// The failpoints of [`import`], in the order in which it passes them, after those of a first start.
pub const IMPORT_FAILPOINTS: &[&str] = &[
    "store-sqlite.import.begun",
    "store-sqlite.import.before_sync",
    "store-sqlite.import.synced",
];

/// Makes the database `path`, which must not be there, with `rows` as its state and no change before them: a log of an
/// epoch of its own that begins after `base`, or after the last of `rows`. Durable when this returns, but for the name.
///
/// # Errors
/// [`SqliteError`]; what was begun is then of no use.
pub fn import(path: &Path, rows: &[Row], base: Seq) -> Result<Cursor, SqliteError> {
    let (path, _lock) = files::claim(path)?;
    let mut conn = connect(&path, &Options::default())?;
    migrate::migrate(&mut conn, &path)?;
    let sql = |e| SqliteError::sqlite(&path, e);
    let injected = |e| SqliteError::injected(&path, e);
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql)?;
    failpoint::hit("store-sqlite.import.begun").map_err(injected)?;
    let empty = sql::cursor(&tx, &path)?;
    if empty.seq != Seq::ZERO {
        return Err(SqliteError::corrupt(&path, "it holds changes already"));
    }
    put(&tx, rows).map_err(sql)?;
    let seq = rows.iter().map(|row| row.seq).max().unwrap_or(base).max(base);
    let cursor = Cursor {
        epoch: empty.epoch,
        seq,
        chain: chain::genesis(&empty.epoch),
    };
    tx.execute(sql::SET_FLOOR, [sql::floor_value(seq, &cursor.chain)])
        .map_err(sql)?;
    failpoint::hit("store-sqlite.import.before_sync").map_err(injected)?;
    tx.commit().map_err(sql)?;
    failpoint::hit("store-sqlite.import.synced").map_err(injected)?;
    Ok(cursor)
}

fn put(conn: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(sql::PUT_CURRENT)?;
    for (slot, row) in (0_i64..).zip(rows) {
        let (kind, must) = (row.kind, row.must_understand);
        let sum = sums::sum(kind, row.schema, must, row.seq, &row.key, &row.body);
        statement.execute(params![
            slot,
            kind.0,
            row.schema,
            must,
            &*row.key,
            sql::int(row.seq.0),
            &*row.body,
            &sum[..],
        ])?;
    }
    Ok(())
}
