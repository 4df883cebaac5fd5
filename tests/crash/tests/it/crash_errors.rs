//! Errors of the system in the middle of the work: clear codes, nothing lost, and readers go on.

use crate::run::{Run, verify};
use signet_crash::acks::Acks;
use signet_crash::verify::Store;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// Runs a child in which calls fail from the `nth` on, then one in which nothing does. Returns what the first said.
fn fail(store: Store, call: &str, nth: u32, errno: i32, file: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let (log, at) = (outside.path().join("log"), format!("{call}:{nth}:{errno}:{file}"));
    let mut acks = Acks::default();
    let mut run = Run::new(store, &root, 100);
    run.log = Some(&log);
    run.at = Some(&at);
    let status = run.finish(&mut acks);
    assert!(status.success(), "{at}: {status}");
    let said = std::mem::take(&mut acks.errors);
    if let Err(wrong) = verify(store, &root, &acks) {
        panic!("{at}: {wrong}");
    }
    let before = acks.lines;
    assert!(Run::new(store, &root, 10).finish(&mut acks).success());
    assert!(
        acks.lines > before && acks.errors.is_empty(),
        "{at}: {:?}",
        acks.errors
    );
    said
}

/// Checks that every error is one of `allowed`, and that there were some.
fn only(said: &[String], allowed: &[&str]) {
    assert!(!said.is_empty(), "nothing failed");
    for error in said {
        assert!(
            allowed.contains(&error.as_str()),
            "{error} is not one of {allowed:?}"
        );
    }
}

#[test]
fn crash_free_a_failed_sync_refuses_changes_until_restart() {
    let said = fail(Store::Sqlite, "fsync", 30, EIO, "-wal");
    only(&said, &["SGSQ012-unknown", "SGSQ013-refused"]);
    assert!(said.contains(&"SGSQ012-unknown".to_owned()));
    let said = fail(Store::Journal, "fsync", 30, EIO, ".segment");
    only(&said, &["SGJF008-unknown", "SGJF009-refused"]);
    assert!(said.contains(&"SGJF008-unknown".to_owned()));
}

#[test]
fn crash_free_a_full_disk_refuses_changes_by_its_name() {
    only(
        &fail(Store::Sqlite, "write", 60, ENOSPC, "-wal"),
        &["SGSQ005-refused"],
    );
    // The journal meets it while preparing.
    only(
        &fail(Store::Journal, "write", 2, ENOSPC, ".preparing"),
        &["SGJF005-refused"],
    );
    only(
        &fail(Store::Journal, "create", 2, ENOSPC, ".preparing"),
        &["SGJF005-refused"],
    );
}

#[test]
fn crash_free_a_failed_write_is_never_acknowledged() {
    only(
        &fail(Store::Sqlite, "write", 60, EIO, "-wal"),
        &["SGSQ012-unknown", "SGSQ013-refused", "SGSQ012-refused"],
    );
    only(
        &fail(Store::Journal, "write", 40, EIO, ".segment"),
        &["SGJF008-unknown", "SGJF009-refused"],
    );
}

#[test]
fn crash_free_a_read_only_file_system_is_named_at_the_start() {
    for (store, file, code) in [
        (Store::Sqlite, "signet.db.lock", "SGSQ004"),
        (Store::Sqlite, "signet.db", "SGSQ004"),
        (Store::Journal, "lock", "SGJF004"),
        (Store::Journal, ".preparing", "SGJF004"),
    ] {
        only(&fail(store, "create", 1, EROFS, file), &[code]);
    }
    only(
        &fail(Store::Sqlite, "create", 1, ENOSPC, "signet.db"),
        &["SGSQ005"],
    );
    only(
        &fail(Store::Journal, "write", 1, ENOSPC, ".preparing"),
        &["SGJF005"],
    );
}
