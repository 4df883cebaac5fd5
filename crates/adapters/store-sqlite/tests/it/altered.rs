//! A database that somebody wrote to behind our back.

use bytes::Bytes;
use signet_store::conformance::{KIND, batch};
use signet_store::follow::{FollowError, Followed};
use signet_store::{Change, ChangeLog, Fold, FoldError, Kind, Seq, StoreError};
use signet_store_sqlite::SqliteLog;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The bodies, by key.
#[derive(Default)]
struct Bodies(BTreeMap<Bytes, Bytes>);

impl Fold for Bodies {
    fn owns(&self, kind: Kind) -> bool {
        kind == KIND
    }

    fn apply(&mut self, _seq: Seq, change: &Change) -> Result<(), FoldError> {
        match &change.body {
            Some(body) => self.0.insert(change.key.clone(), body.clone()),
            None => self.0.remove(&change.key),
        };
        Ok(())
    }
}

fn raw(path: &Path, sql: &str) -> usize {
    rusqlite::Connection::open(path)
        .unwrap()
        .execute(sql, [])
        .unwrap()
}

async fn commit(log: &SqliteLog, key: &'static str, body: &'static str) {
    log.commit(batch(&[(key, body)])).await.unwrap();
}

#[tokio::test]
async fn an_altered_change_ends_the_following_and_changes_no_state() {
    let _quiet = crate::FAILPOINTS.read().await;
    for edit in [
        "UPDATE changes SET body = x'6576696c' WHERE seq = 2",
        "UPDATE changes SET key = x'62' WHERE seq = 2",
        "UPDATE changes SET who = 'nobody' WHERE seq = 2",
        "UPDATE changes SET must = 1 - must WHERE seq = 2",
        "UPDATE changes SET body = NULL WHERE seq = 2",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signet.db");
        let log = Arc::new(SqliteLog::open(&path).unwrap());
        commit(&log, "a", "good").await;
        let followed = Followed::open(log.clone() as Arc<dyn ChangeLog>, Bodies::default)
            .await
            .unwrap();
        commit(&log, "a", "better").await;
        assert_eq!(raw(&path, edit), 1);
        for _ in 0..2 {
            let refused = followed.catch_up().await.unwrap_err();
            assert!(
                matches!(refused, FollowError::Fold(FoldError::Altered { seq: Seq(2) })),
                "{edit}: {refused}"
            );
        }
        assert_eq!(followed.read(|bodies| bodies.0[&b"a"[..]].clone()), "good");
        assert_eq!(followed.follow().await, FoldError::Altered { seq: Seq(2) });
    }
}

#[tokio::test]
async fn an_altered_row_of_the_state_is_not_loaded() {
    let _quiet = crate::FAILPOINTS.read().await;
    for edit in [
        "UPDATE current SET body = x'6576696c' WHERE key = x'61'",
        "UPDATE current SET key = x'63' WHERE key = x'61'",
        "UPDATE current SET kind = kind + 1 WHERE key = x'61'",
        "UPDATE current SET must = 1 - must WHERE key = x'61'",
        "UPDATE current SET seq = 2 WHERE key = x'61'",
        "UPDATE current SET sum = x'' WHERE key = x'61'",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signet.db");
        let log = SqliteLog::open(&path).unwrap();
        commit(&log, "a", "good").await;
        commit(&log, "b", "good").await;
        drop(log);
        assert_eq!(raw(&path, edit), 1);
        let log = SqliteLog::open(&path).unwrap();
        let refused = log.load().await.unwrap_err();
        let StoreError::Unavailable(cause) = &refused else {
            panic!("{refused}")
        };
        assert_eq!(cause.code(), "SGSQ010", "{edit}");
        assert!(cause.to_string().contains("altered"), "{cause}");
        let (sender, _pieces) = tokio::sync::mpsc::channel(8);
        let refused = log.load_pieces(Box::new(|_| true), sender).await.unwrap_err();
        let StoreError::Unavailable(cause) = &refused else {
            panic!("{refused}")
        };
        assert_eq!(cause.code(), "SGSQ010", "{edit}, in pieces");
    }
}

#[tokio::test]
async fn a_database_from_before_the_sums_gets_them() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signet.db");
    let log = SqliteLog::open(&path).unwrap();
    commit(&log, "a", "good").await;
    let before = log.load().await.unwrap();
    drop(log);
    raw(&path, "ALTER TABLE current DROP COLUMN sum");
    assert_eq!(raw(&path, "DELETE FROM migrations WHERE number = 2"), 1);
    let log = SqliteLog::open(&path).unwrap();
    assert_eq!(log.load().await.unwrap(), before);
    commit(&log, "a", "better").await;
    assert_eq!(log.load().await.unwrap().rows[0].body, "better");
}
