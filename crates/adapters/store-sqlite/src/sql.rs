//! The statements, and the rows they give.

use crate::{SqliteError, sums};
use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow};
use signet_store::{Change, Cursor, Kind, LogEntry, Origin, Row, Seq};
use signet_time::UnixTime;
use std::path::Path;

pub(crate) const INSERT_CHANGE: &str = "INSERT INTO changes \
     (seq, kind, schema, must, key, body, rest, who, why, at_ms, chain) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
pub(crate) const PUT_CURRENT: &str = "INSERT OR REPLACE INTO current \
     (slot, kind, schema, must, key, seq, body, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
pub(crate) const DELETE_CURRENT: &str = "DELETE FROM current WHERE slot = ?1";
pub(crate) const SCAN_KEYS: &str = "SELECT slot, kind, key, seq FROM current";
pub(crate) const SCAN_CURRENT: &str = "SELECT kind, schema, must, key, seq, body, sum FROM current";
pub(crate) const COUNT_CURRENT: &str = "SELECT count(*) FROM current";
pub(crate) const SCAN_TAIL: &str = "SELECT seq, kind, schema, must, key, body, rest, who, why, at_ms, chain \
     FROM changes WHERE seq > ?1 ORDER BY seq";
pub(crate) const SCAN_UNTIL: &str = "SELECT seq, kind, schema, must, key, body, rest, who, why, at_ms, chain \
     FROM changes WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
pub(crate) const SCAN_BACK: &str = "SELECT key, body FROM changes \
     WHERE seq > ?1 AND seq <= ?2 AND kind = ?3 ORDER BY seq DESC";
pub(crate) const CHAIN_AT: &str = "SELECT chain FROM changes WHERE seq = ?1";
pub(crate) const OLDEST: &str = "SELECT min(seq) FROM changes";
pub(crate) const FIRST_SINCE: &str = "SELECT seq FROM changes WHERE at_ms >= ?1 ORDER BY seq LIMIT 1";
pub(crate) const PRUNE: &str = "DELETE FROM changes WHERE seq <= ?1";
pub(crate) const SET_FLOOR: &str = "UPDATE meta SET value = ?1 WHERE name = 'floor'";
pub(crate) const SET_EPOCH: &str = "UPDATE meta SET value = ?1 WHERE name = 'epoch'";
const LAST: &str = "SELECT seq, chain FROM changes ORDER BY seq DESC LIMIT 1";
const META: &str = "SELECT value FROM meta WHERE name = ?1";

/// A number as SQLite keeps it. Sequence numbers and times stay far below 2^63.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as we keep it.
pub(crate) fn uint(path: &Path, number: i64) -> Result<u64, SqliteError> {
    u64::try_from(number).map_err(|_| SqliteError::corrupt(path, "a number is negative"))
}

fn small<T: TryFrom<i64>>(path: &Path, number: i64) -> Result<T, SqliteError> {
    T::try_from(number).map_err(|_| SqliteError::corrupt(path, "a number is out of its range"))
}

fn hash(path: &Path, bytes: &[u8]) -> Result<[u8; 32], SqliteError> {
    <[u8; 32]>::try_from(bytes).map_err(|_| SqliteError::corrupt(path, "a chain hash has not 32 bytes"))
}

/// The place before the oldest change.
pub(crate) fn floor(conn: &Connection, path: &Path) -> Result<(Seq, [u8; 32]), SqliteError> {
    let value = meta(conn, path, "floor")?;
    let (seq, chain) = value
        .split_first_chunk::<8>()
        .ok_or_else(|| SqliteError::corrupt(path, "the floor is too short"))?;
    Ok((Seq(u64::from_be_bytes(*seq)), hash(path, chain)?))
}

/// An epoch that no log has had.
pub(crate) fn new_epoch(path: &Path) -> Result<[u8; 16], SqliteError> {
    signet_crypto::random::<16>().map_err(|error| SqliteError::Io {
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })
}

/// What [`floor`] reads.
pub(crate) fn floor_value(seq: Seq, chain: &[u8]) -> Vec<u8> {
    [&seq.0.to_be_bytes()[..], chain].concat()
}

/// The place after the last change.
pub(crate) fn cursor(conn: &Connection, path: &Path) -> Result<Cursor, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let epoch = meta(conn, path, "epoch")?;
    let epoch = <[u8; 16]>::try_from(&*epoch)
        .map_err(|_| SqliteError::corrupt(path, "the epoch has not 16 bytes"))?;
    let last: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(LAST)
        .and_then(|mut s| s.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(sql)?;
    let (seq, chain) = match last {
        Some((seq, chain)) => (Seq(uint(path, seq)?), hash(path, &chain)?),
        None => floor(conn, path)?,
    };
    Ok(Cursor { epoch, seq, chain })
}

/// How many slots there are in `current`, whether they are taken or not.
pub(crate) fn slots(conn: &Connection, path: &Path) -> Result<usize, SqliteError> {
    let last: i64 = conn
        .query_row("SELECT ifnull(max(slot), -1) FROM current", [], |row| row.get(0))
        .map_err(|e| SqliteError::sqlite(path, e))?;
    Ok(usize::try_from(last.saturating_add(1)).unwrap_or(0))
}

/// The chain hash after the change at `seq`, if it is there.
pub(crate) fn chain_at(conn: &Connection, path: &Path, seq: Seq) -> Result<Option<Vec<u8>>, SqliteError> {
    conn.prepare_cached(CHAIN_AT)
        .and_then(|mut s| s.query_row([int(seq.0)], |row| row.get(0)).optional())
        .map_err(|e| SqliteError::sqlite(path, e))
}

fn meta(conn: &Connection, path: &Path, name: &str) -> Result<Vec<u8>, SqliteError> {
    conn.prepare_cached(META)
        .and_then(|mut s| s.query_row([name], |row| row.get(0)).optional())
        .map_err(|e| SqliteError::sqlite(path, e))?
        .ok_or_else(|| SqliteError::corrupt(path, format_args!("it has no `{name}`")))
}

/// The kind of a row of [`SCAN_CURRENT`].
pub(crate) fn kind(path: &Path, row: &SqlRow<'_>) -> Result<Kind, SqliteError> {
    let kind = row.get(0).map_err(|e| SqliteError::sqlite(path, e))?;
    small(path, kind).map(Kind)
}

/// Bytes of rows that are kept in one piece.
const ROOM_BYTES: usize = 64 * 1024;

/// A row of [`SCAN_CURRENT`], if it is as it was written.
///
/// Its bytes are put into `room`: one piece of memory for many rows, which goes when the last of them does.
pub(crate) fn row(path: &Path, row: &SqlRow<'_>, room: &mut BytesMut) -> Result<Row, SqliteError> {
    let found: Vec<u8> = row.get(6).map_err(|e| SqliteError::sqlite(path, e))?;
    let row = unsummed_row(path, row, room)?;
    let sum = sums::sum(
        row.kind,
        row.schema,
        row.must_understand,
        row.seq,
        &row.key,
        &row.body,
    );
    if found != sum {
        let (kind, seq) = (row.kind, row.seq);
        return Err(SqliteError::corrupt(
            path,
            format_args!("the row of kind {kind} that change {seq} wrote was altered since"),
        ));
    }
    Ok(row)
}

/// The first six columns of [`SCAN_CURRENT`], unchecked.
pub(crate) fn unsummed_row(path: &Path, row: &SqlRow<'_>, room: &mut BytesMut) -> Result<Row, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let number = |n: usize| row.get::<_, i64>(n).map_err(sql);
    let mut blob = |n: usize| {
        let bytes = row
            .get_ref(n)
            .and_then(|value| Ok(value.as_blob()?))
            .map_err(sql)?;
        if room.capacity() < bytes.len() {
            *room = BytesMut::with_capacity(bytes.len().max(ROOM_BYTES));
        }
        room.extend_from_slice(bytes);
        Ok::<_, SqliteError>(room.split().freeze())
    };
    Ok(Row {
        kind: kind(path, row)?,
        schema: small(path, number(1)?)?,
        must_understand: number(2)? != 0,
        key: blob(3)?,
        seq: Seq(uint(path, number(4)?)?),
        body: blob(5)?,
    })
}

/// A row of [`SCAN_TAIL`].
pub(crate) fn entry(path: &Path, row: &SqlRow<'_>) -> Result<LogEntry, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let number = |n: usize| row.get::<_, i64>(n).map_err(sql);
    let text = |n: usize| row.get::<_, String>(n).map_err(sql);
    let chain: Vec<u8> = row.get(10).map_err(sql)?;
    Ok(LogEntry {
        seq: Seq(uint(path, number(0)?)?),
        change: Change {
            kind: Kind(small(path, number(1)?)?),
            schema: small(path, number(2)?)?,
            must_understand: number(3)? != 0,
            key: Bytes::from(row.get::<_, Vec<u8>>(4).map_err(sql)?),
            body: row.get::<_, Option<Vec<u8>>>(5).map_err(sql)?.map(Bytes::from),
        },
        rest: small(path, number(6)?)?,
        origin: Origin {
            who: text(7)?,
            why: text(8)?,
            when: UnixTime::from_millis(uint(path, number(9)?)?),
        },
        chain: hash(path, &chain)?,
    })
}
