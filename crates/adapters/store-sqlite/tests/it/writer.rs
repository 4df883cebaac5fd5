use signet_fault::{Coded as _, failpoint};
use signet_store::conformance::{batch, verified_tail};
use signet_store::{ChangeLog as _, CommitError, Seq};
use signet_store_sqlite::SqliteLog;

#[tokio::test]
async fn a_failed_step_leaves_all_or_nothing_and_the_log_goes_on() {
    let _alone = crate::FAILPOINTS.write().await;
    for (point, landed) in [
        ("store-sqlite.commit.begun", false),
        ("store-sqlite.commit.change_written", false),
        ("store-sqlite.commit.before_sync", false),
        ("store-sqlite.commit.synced", true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signet.db");
        let log = SqliteLog::open(&path).unwrap();
        let start = log.load().await.unwrap().cursor;
        log.commit(batch(&[("a", "1"), ("gone", "1")])).await.unwrap();
        failpoint::arm(point, failpoint::Action::Error, 1);
        let failed = log.commit(batch(&[("b", "2"), ("a", "3")])).await.unwrap_err();
        failpoint::disarm(point);
        assert_eq!(
            matches!(failed, CommitError::Unknown(_)),
            landed,
            "{point}: {failed:?}"
        );
        assert_eq!(failed.code(), "SGSQ011");
        let head = if landed { Seq(4) } else { Seq(2) };
        assert_eq!(*log.head().borrow(), head, "{point}");
        let next = log.commit(batch(&[("c", "4"), ("b", "5")])).await.unwrap();
        assert_eq!(next.first, head.next(), "{point}");
        let before = log.load().await.unwrap();
        drop(log);
        let log = SqliteLog::open(&path).unwrap();
        let after = log.load().await.unwrap();
        assert_eq!(after.cursor, before.cursor, "{point}");
        assert_eq!(after.rows.len(), 4, "{point}");
        assert_eq!(
            verified_tail(&log, start).await.0.len(),
            usize::try_from(head.0 + 2).unwrap()
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&directory.path().join("signet.db")).unwrap();
    for n in 0..5_000_u32 {
        let done = log.commit(batch(&[("k", &n.to_string())]));
        if n % 100 == 99 {
            done.await.unwrap();
        }
    }
    for (point, pruned) in [
        ("store-sqlite.prune.begun", 0),
        ("store-sqlite.prune.before_sync", 0),
        ("store-sqlite.prune.synced", 2_000),
    ] {
        failpoint::arm(point, failpoint::Action::Error, 1);
        assert!(log.prune(Seq(3_001)).await.is_err(), "{point}");
        failpoint::disarm(point);
        assert_eq!(log.prune(Seq(1)).await.unwrap(), 0);
        log.commit(batch(&[("k", "x")])).await.unwrap();
        if pruned > 0 {
            // The first round landed, unanswered.
            assert_eq!(log.prune(Seq(3_001)).await.unwrap(), 1_000);
        }
    }
    assert_eq!(log.prune(Seq(u64::MAX)).await.unwrap(), 2_003);
}
