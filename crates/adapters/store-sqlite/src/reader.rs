//! Reading: connections that never write.

use crate::{SqliteError, sql};
use bytes::{Bytes, BytesMut};
use core::ops::ControlFlow;
use rusqlite::{Connection, OpenFlags};
use signet_store::backup::{Image, ImageHead, ImagePart};
use signet_store::{
    BATCH_BYTES_MAX, Cursor, Kind, Past, PastWish, Piece, Row, Seq, Snapshot, TAIL_CHANGES_MAX, Tail, Wanted,
};
use std::path::Path;
use tokio::sync::mpsc;

/// Size of the page cache of a connection that reads, in KiB. It reads in order, and never looks at a page again.
const CACHE_KIB: i32 = 256;

/// Bytes of bodies that make a part of an image, whatever their number; one body may be larger.
const PART_BYTES: usize = 256 * 1024;

/// Rows in one piece of a snapshot: some 60 KiB.
const PIECE_ROWS: usize = 256;

/// Opens a connection that can only read.
pub(crate) fn connect(path: &Path) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| SqliteError::sqlite(path, e))?;
    // Not opened read-only, because a WAL reader must be able to write the shared index.
    conn.pragma_update(None, "query_only", true)
        .map_err(|e| SqliteError::sqlite(path, e))?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)
        .map_err(|e| SqliteError::sqlite(path, e))?;
    Ok(conn)
}

/// Every row of the kinds wanted, and the place in the log where they are so.
pub(crate) fn load(conn: &mut Connection, path: &Path, wanted: &Wanted) -> Result<Snapshot, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    // One read transaction, so that rows and cursor belong together.
    let tx = conn.transaction().map_err(sql)?;
    let cursor = sql::cursor(&tx, path)?;
    let rows = rows(&tx, path, wanted)?;
    Ok(Snapshot { cursor, rows })
}

/// The log as far as it is kept, and every row, at one place in the log.
pub(crate) fn image(conn: &mut Connection, path: &Path) -> Result<Image, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    // One read transaction: what is written meanwhile is not seen, and nobody waits.
    let tx = conn.transaction().map_err(sql)?;
    let cursor = sql::cursor(&tx, path)?;
    let floor = sql::floor(&tx, path)?;
    let rows = rows(&tx, path, &|_| true)?;
    let mut statement = tx.prepare(sql::SCAN_TAIL).map_err(sql)?;
    let mut found = statement.query([sql::int(floor.0.0)]).map_err(sql)?;
    let mut changes = Vec::new();
    while let Some(row) = found.next().map_err(sql)? {
        changes.push(sql::entry(path, row)?);
    }
    let snapshot = Snapshot { cursor, rows };
    Ok(Image {
        floor,
        changes,
        snapshot,
    })
}

/// As [`image`], in parts, which `parts` takes on other threads.
pub(crate) fn image_parts(
    conn: &mut Connection,
    path: &Path,
    parts: &mpsc::Sender<ImagePart>,
) -> Result<(), SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let tx = conn.transaction().map_err(sql)?;
    let (cursor, floor) = (sql::cursor(&tx, path)?, sql::floor(&tx, path)?);
    let rows: i64 = tx
        .query_row(sql::COUNT_CURRENT, [], |row| row.get(0))
        .map_err(sql)?;
    let head = ImageHead {
        cursor,
        floor,
        changes: cursor.seq.0.saturating_sub(floor.0.0),
        rows: sql::uint(path, rows)?,
    };
    if parts.blocking_send(ImagePart::Head(head)).is_err() {
        return Ok(());
    }
    let mut statement = tx.prepare(sql::SCAN_TAIL).map_err(sql)?;
    let mut found = statement.query([sql::int(floor.0.0)]).map_err(sql)?;
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().map_err(sql)? {
        let entry = sql::entry(path, row)?;
        bytes += entry.change.body.as_ref().map_or(0, Bytes::len);
        changes.push(entry);
        if is_enough(changes.len(), &mut bytes)
            && parts
                .blocking_send(ImagePart::Changes(core::mem::take(&mut changes)))
                .is_err()
        {
            return Ok(());
        }
    }
    if parts.blocking_send(ImagePart::Changes(changes)).is_err() {
        return Ok(());
    }
    let (mut rows, mut bytes) = (Vec::new(), 0);
    each_row(&tx, path, &|_| true, |row| {
        bytes += row.body.len();
        rows.push(row);
        if is_enough(rows.len(), &mut bytes)
            && parts
                .blocking_send(ImagePart::Rows(core::mem::take(&mut rows)))
                .is_err()
        {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    let _taken = parts.blocking_send(ImagePart::Rows(rows));
    Ok(())
}

/// Whether so many things with so many bytes make a part; then the bytes are counted anew.
fn is_enough(things: usize, bytes: &mut usize) -> bool {
    let is_enough = things >= PIECE_ROWS || *bytes >= PART_BYTES;
    if is_enough {
        *bytes = 0;
    }
    is_enough
}

/// As [`load`], in pieces, which `pieces` takes on other threads.
pub(crate) fn load_pieces(
    conn: &mut Connection,
    path: &Path,
    wanted: &Wanted,
    pieces: &mpsc::Sender<Piece>,
) -> Result<Cursor, SqliteError> {
    let tx = conn.transaction().map_err(|e| SqliteError::sqlite(path, e))?;
    let cursor = sql::cursor(&tx, path)?;
    let of = sql::slots(&tx, path)?;
    let mut rows = Vec::with_capacity(PIECE_ROWS);
    each_row(&tx, path, wanted, |row| {
        rows.push(row);
        if rows.len() < PIECE_ROWS {
            return ControlFlow::Continue(());
        }
        let rows = core::mem::replace(&mut rows, Vec::with_capacity(PIECE_ROWS));
        match pieces.blocking_send(Piece { rows, of }) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody takes the rest.
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    let _taken = pieces.blocking_send(Piece { rows, of });
    Ok(cursor)
}

fn rows(conn: &Connection, path: &Path, wanted: &dyn Fn(Kind) -> bool) -> Result<Vec<Row>, SqliteError> {
    let mut rows = Vec::new();
    each_row(conn, path, wanted, |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// Gives each row of the kinds wanted to `take`, until that has enough.
fn each_row(
    conn: &Connection,
    path: &Path,
    wanted: &dyn Fn(Kind) -> bool,
    mut take: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let mut statement = conn.prepare(sql::SCAN_CURRENT).map_err(sql)?;
    let mut found = statement.query([]).map_err(sql)?;
    let mut room = BytesMut::new();
    while let Some(row) = found.next().map_err(sql)? {
        if wanted(sql::kind(path, row)?) && take(sql::row(path, row, &mut room)?).is_break() {
            break;
        }
    }
    Ok(())
}

/// What led to `until`.
pub(crate) fn past(
    conn: &mut Connection,
    path: &Path,
    until: Cursor,
    wish: PastWish,
) -> Result<Past, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let tx = conn.transaction().map_err(sql)?;
    let (head, floor) = (sql::cursor(&tx, path)?, sql::floor(&tx, path)?);
    let is_there = until.epoch == head.epoch && (floor.0..=head.seq).contains(&until.seq);
    if !is_there || chain(&tx, path, floor, until.seq)?.as_deref() != Some(&until.chain[..]) {
        return Ok(Past::none(until));
    }
    let back = |seq: Seq, changes: usize| {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        Seq(seq.0.saturating_sub(changes)).max(floor.0)
    };
    let begin = back(until.seq, wish.changes_max);
    let before = chain(&tx, path, floor, begin)?.and_then(|chain| <[u8; 32]>::try_from(chain).ok());
    let missing = || SqliteError::corrupt(path, format_args!("change {begin} is missing"));
    let from = Cursor {
        seq: begin,
        chain: before.ok_or_else(missing)?,
        ..until
    };
    let mut statement = tx.prepare(sql::SCAN_UNTIL).map_err(sql)?;
    let mut found = statement
        .query([sql::int(begin.0), sql::int(until.seq.0)])
        .map_err(sql)?;
    let mut entries = Vec::new();
    while let Some(row) = found.next().map_err(sql)? {
        entries.push(sql::entry(path, row)?);
    }
    let mut past = Past::new(from, entries);
    let mut statement = tx.prepare(sql::SCAN_BACK).map_err(sql)?;
    let range = [
        sql::int(back(begin, wish.back_max).0),
        sql::int(begin.0),
        wish.kind.0.into(),
    ];
    let bytes = |bytes: Vec<u8>| Bytes::from(bytes);
    let found = statement
        .query_map(range, |row| {
            let (key, body): (Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
            Ok((bytes(key), body.map(bytes)))
        })
        .map_err(sql)?;
    past.look_back(wish.kind, found).map_err(sql)?;
    Ok(past)
}

/// The chain hash at `seq`, if the log knows it.
fn chain(
    conn: &Connection,
    path: &Path,
    floor: (Seq, [u8; 32]),
    seq: Seq,
) -> Result<Option<Vec<u8>>, SqliteError> {
    if seq == floor.0 {
        return Ok(Some(floor.1.to_vec()));
    }
    sql::chain_at(conn, path, seq)
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
    if chain(&tx, path, floor, after.seq)?.as_deref() != Some(&after.chain[..]) {
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
        bytes = bytes.saturating_add(entry.change.body.as_ref().map_or(0, Bytes::len));
        let ends = entry.rest == 0;
        entries.push(entry);
        if ends {
            whole = entries.len();
        }
    }
    entries.truncate(whole);
    Ok(Tail::Changes(entries))
}
