//! Numbered migrations with checksums.

use crate::{SqliteError, sql, sums};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use signet_crypto::digest;
use signet_fault::failpoint;
use signet_store::chain;
use std::path::Path;

/// One step of the schema.
pub(crate) struct Migration {
    number: i64,
    sql: &'static str,
    /// What the program does once the text has run.
    then: Option<Step>,
}

type Step = fn(&Connection, &Path) -> Result<(), SqliteError>;

/// Every step, in order. A text that was ever released is never changed.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        sql: include_str!("../migrations/0001_log.sql"),
        then: None,
    },
    Migration {
        number: 2,
        sql: include_str!("../migrations/0002_sums.sql"),
        then: Some(sums::fill),
    },
];

/// `Sgnt` in ASCII: marks a database as ours.
const APPLICATION_ID: i64 = 0x5367_6e74;

/// Brings the database to the latest schema, in one transaction.
pub(crate) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let injected = |e| SqliteError::injected(path, e);
    let found: i64 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(sql)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sql)?;
    let fresh = found == 0 && tables == 0;
    if !fresh && found != APPLICATION_ID {
        return Err(SqliteError::NotDatabase {
            path: path.to_owned(),
        });
    }
    let applied = if fresh { 0 } else { check(conn, path)? };
    if MIGRATIONS.iter().all(|m| m.number <= applied) {
        return Ok(());
    }

    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql)?;
    failpoint::hit("store-sqlite.migrate.begun").map_err(injected)?;
    if fresh {
        tx.pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(sql)?;
        tx.execute_batch(
            "CREATE TABLE migrations (number INTEGER PRIMARY KEY, checksum BLOB NOT NULL) STRICT",
        )
        .map_err(sql)?;
    }
    for migration in MIGRATIONS.iter().filter(|m| m.number > applied) {
        tx.execute_batch(migration.sql).map_err(sql)?;
        if let Some(step) = migration.then {
            step(&tx, path)?;
        }
        let row = params![migration.number, digest::sha256(migration.sql.as_bytes())];
        tx.execute("INSERT INTO migrations VALUES (?1, ?2)", row)
            .map_err(sql)?;
        failpoint::hit("store-sqlite.migrate.applied").map_err(injected)?;
    }
    if fresh {
        begin_epoch(&tx, path)?;
    }
    tx.commit().map_err(sql)?;
    failpoint::hit("store-sqlite.migrate.committed").map_err(injected)
}

/// Checks every applied migration against ours, and returns the last one's number.
fn check(conn: &Connection, path: &Path) -> Result<i64, SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let known = MIGRATIONS.last().map_or(0, |m| m.number);
    let last: i64 = conn
        .query_row("SELECT ifnull(max(number), 0) FROM migrations", [], |row| {
            row.get(0)
        })
        .map_err(sql)?;
    // First, because a later version may have good reasons for other migrations below.
    if last > known {
        return Err(SqliteError::NewerSchema {
            path: path.to_owned(),
            found: last,
            known,
        });
    }
    for migration in MIGRATIONS.iter().filter(|m| m.number <= last) {
        let checksum: Option<Vec<u8>> = conn
            .query_row(
                "SELECT checksum FROM migrations WHERE number = ?1",
                [migration.number],
                |row| row.get(0),
            )
            .optional()
            .map_err(sql)?;
        if checksum.as_deref() != Some(&digest::sha256(migration.sql.as_bytes())[..]) {
            return Err(SqliteError::AlteredMigration {
                path: path.to_owned(),
                number: migration.number,
            });
        }
    }
    Ok(last)
}

fn begin_epoch(conn: &Connection, path: &Path) -> Result<(), SqliteError> {
    let sql = |e| SqliteError::sqlite(path, e);
    let epoch = sql::new_epoch(path)?;
    let mut floor = vec![0; 8];
    floor.extend_from_slice(&chain::genesis(&epoch));
    for (name, value) in [("epoch", epoch.to_vec()), ("floor", floor)] {
        conn.execute("INSERT INTO meta VALUES (?1, ?2)", params![name, value])
            .map_err(sql)?;
    }
    Ok(())
}
