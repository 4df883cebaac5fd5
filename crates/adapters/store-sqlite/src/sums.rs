//! The checksum that each row of `current` carries.
//!
//! It tells an altered row from a sound one: an edit by hand, a restore of half a file, a page that went bad. It is no
//! secret, so whoever means to deceive can write a right one beside a wrong row.

use crate::{SqliteError, sql};
use bytes::BytesMut;
use rusqlite::{Connection, params};
use signet_crypto::digest::Sha256;
use signet_store::{Kind, Seq};
use std::path::Path;

/// The checksum of a row. Every part is of fixed size or has its length before it.
pub(crate) fn sum(kind: Kind, schema: u16, must: bool, seq: Seq, key: &[u8], body: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"signet row v1\0");
    hash.update(&kind.0.to_be_bytes());
    hash.update(&schema.to_be_bytes());
    hash.update(&[u8::from(must)]);
    hash.update(&seq.0.to_be_bytes());
    for part in [key, body] {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hash.finish();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// Gives every row that is there its checksum: once, when the column is new.
pub(crate) fn fill(conn: &Connection, path: &Path) -> Result<(), SqliteError> {
    let error = |e| SqliteError::sqlite(path, e);
    let mut rows = conn
        .prepare("SELECT kind, schema, must, key, seq, body, slot FROM current")
        .map_err(error)?;
    let mut update = conn
        .prepare("UPDATE current SET sum = ?1 WHERE slot = ?2")
        .map_err(error)?;
    let mut found = rows.query([]).map_err(error)?;
    while let Some(row) = found.next().map_err(error)? {
        let slot: i64 = row.get(6).map_err(error)?;
        let row = sql::unsummed_row(path, row, &mut BytesMut::new())?;
        let sum = sum(
            row.kind,
            row.schema,
            row.must_understand,
            row.seq,
            &row.key,
            &row.body,
        );
        update.execute(params![&sum[..], slot]).map_err(error)?;
    }
    Ok(())
}
