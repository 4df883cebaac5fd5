use signet_fault::Coded as _;
use signet_store::ChangeLog as _;
use signet_store::conformance::batch;
use signet_store_sqlite::{SqliteError, SqliteLog};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

fn code(path: &Path) -> &'static str {
    SqliteLog::open(path).unwrap_err().code()
}

fn raw(path: &Path, sql: &str) {
    rusqlite::Connection::open(path)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

#[test]
fn files_are_private() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signet.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let _log = SqliteLog::open(&path).unwrap();
    let names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|e| e.unwrap())
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    for file in names {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/signet.db");
    let error = SqliteLog::open(&missing).unwrap_err();
    assert_eq!(error.code(), "SGSQ001");
    assert!(error.to_string().contains("missing"), "{error}");
    fs::write(directory.path().join("file"), "").unwrap();
    assert_eq!(code(&directory.path().join("file/signet.db")), "SGSQ001");
    assert_eq!(code(Path::new("/")), "SGSQ006");
}

#[test]
fn what_is_not_our_database_is_refused_and_not_touched() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    let content = "not a database, but long enough to hold the header of one ".repeat(50);
    fs::write(&text, &content).unwrap();
    assert_eq!(code(&text), "SGSQ006");
    assert_eq!(fs::read_to_string(&text).unwrap(), content);

    let foreign = directory.path().join("foreign.db");
    raw(&foreign, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    assert_eq!(code(&foreign), "SGSQ006");
    let conn = rusqlite::Connection::open(&foreign).unwrap();
    assert_eq!(
        conn.query_row("SELECT x FROM theirs", [], |r| r.get::<_, i64>(0))
            .unwrap(),
        1
    );

    fs::create_dir(directory.path().join("directory")).unwrap();
    assert_eq!(code(&directory.path().join("directory")), "SGSQ006");
}

#[test]
fn a_second_opener_is_refused_by_the_name_of_the_first() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signet.db");
    let log = SqliteLog::open(&path).unwrap();
    let error = SqliteLog::open(&path).unwrap_err();
    assert_eq!(error.code(), "SGSQ007");
    let process = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    drop(log);
    SqliteLog::open(&path).unwrap();
}

#[test]
fn another_users_directory_is_refused() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    // Only root can give a directory away; anyone else has one of root's at hand, but may write to none of them.
    if std::os::unix::fs::chown(directory.path(), Some(4_242), None).is_ok() {
        let error = SqliteLog::open(&directory.path().join("signet.db")).unwrap_err();
        assert!(
            matches!(error, SqliteError::ForeignOwner { owner: 4_242, .. }),
            "{error}"
        );
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "nothing was left there"
        );
        std::os::unix::fs::chown(directory.path(), Some(0), None).unwrap();
        let file = directory.path().join("theirs.db");
        fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(4_242), None).unwrap();
        assert_eq!(code(&file), "SGSQ002");
    } else {
        assert_eq!(code(Path::new("/signet-test.db")), "SGSQ003");
    }
}

#[test]
fn a_later_schema_and_an_altered_migration_are_refused() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signet.db");
    drop(SqliteLog::open(&path).unwrap());
    raw(&path, "INSERT INTO migrations VALUES (99, x'00')");
    let error = SqliteLog::open(&path).unwrap_err();
    assert!(
        matches!(error, SqliteError::NewerSchema { found: 99, .. }),
        "{error}"
    );
    raw(&path, "DELETE FROM migrations WHERE number = 99");
    drop(SqliteLog::open(&path).unwrap());
    raw(&path, "UPDATE migrations SET checksum = zeroblob(32)");
    let error = SqliteLog::open(&path).unwrap_err();
    assert!(
        matches!(error, SqliteError::AlteredMigration { number: 1, .. }),
        "{error}"
    );
    raw(&path, "DELETE FROM migrations");
    assert!(SqliteLog::open(&path).is_err(), "tables without their migration");
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    for (name, sql) in [
        (
            "a key twice",
            "INSERT INTO current SELECT 99, kind, schema, must, key, seq, body, sum FROM current WHERE slot = 0",
        ),
        (
            "a row ahead of the log",
            "UPDATE current SET seq = 99 WHERE slot = 0",
        ),
        ("a gap at the floor", "DELETE FROM changes WHERE seq = 1"),
        ("no epoch", "DELETE FROM meta WHERE name = 'epoch'"),
        (
            "a short floor",
            "UPDATE meta SET value = x'00' WHERE name = 'floor'",
        ),
    ] {
        let path = directory.path().join(name);
        let log = SqliteLog::open(&path).unwrap();
        log.commit(batch(&[("a", "1"), ("b", "2")])).await.unwrap();
        log.commit(batch(&[("c", "3")])).await.unwrap();
        drop(log);
        raw(&path, sql);
        assert_eq!(code(&path), "SGSQ010", "{name}");
    }
    let path = directory.path().join("a gap within");
    let log = SqliteLog::open(&path).unwrap();
    let start = log.load().await.unwrap().cursor;
    for n in 0..3 {
        log.commit(batch(&[("k", &n.to_string())])).await.unwrap();
    }
    drop(log);
    raw(&path, "DELETE FROM changes WHERE seq = 2");
    let log = SqliteLog::open(&path).unwrap();
    assert_eq!(log.tail(start, 9).await.unwrap_err().code(), "SGSQ010");
}
