use crate::{open, segment};
use bytes::Bytes;
use signet_fault::{Coded as _, failpoint};
use signet_store::conformance::read_all;
use signet_store::{Index, Journal as _, JournalError};

fn record(n: u64) -> Bytes {
    Bytes::from(n.to_be_bytes().repeat(500))
}

#[tokio::test]
async fn after_a_failed_write_or_sync_nothing_is_appended_until_restart() {
    let _alone = crate::FAILPOINTS.write().await;
    for (point, landed) in [
        ("journal-file.append.framed", 0),
        ("journal-file.append.written", 1),
        ("journal-file.append.synced", 1),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path()).unwrap();
        journal.append(record(1)).await.unwrap();
        failpoint::arm(point, failpoint::Action::Error, 1);
        let failed = journal.append(record(2)).await;
        failpoint::disarm(point);
        assert!(
            matches!(failed, Err(JournalError::Unknown(_))),
            "{point}: {failed:?}"
        );
        for _ in 0..2 {
            let refused = journal.append(record(3)).await.unwrap_err();
            assert!(
                matches!(refused, JournalError::Unavailable(_)),
                "{point}: {refused:?}"
            );
            assert_eq!(refused.code(), "SGJF009");
        }
        assert!(journal.broken().is_some());
        assert_eq!(journal.next_index(), Index(2));
        assert_eq!(
            read_all(&journal, Index::FIRST).await,
            [(Index(1), record(1))],
            "readers go on"
        );
        drop(journal);

        let journal = open(directory.path()).unwrap();
        assert_eq!(journal.broken(), None);
        assert_eq!(journal.next_index(), Index(2 + landed), "{point}");
        journal.append(record(9)).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_of_records_is_one_flush() {
    let _alone = crate::FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    failpoint::arm("journal-file.append.synced", failpoint::Action::Error, 1);
    let appends = journal.append_all((1..=8).map(record).collect());
    for (n, append) in appends.into_iter().enumerate() {
        let failed = append.await;
        // What would come after the flush that failed is known not to be written.
        assert!(matches!(failed, Err(JournalError::Unknown(_))), "{n}: {failed:?}");
    }
    failpoint::disarm("journal-file.append.synced");
    drop(journal);
    assert_eq!(open(directory.path()).unwrap().next_index(), Index(9));
}

#[tokio::test]
async fn without_room_for_a_segment_appends_are_refused_until_there_is() {
    let _alone = crate::FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    // The next segment cannot be prepared, neither in the background nor when it is needed.
    failpoint::arm("journal-file.prepare.filled", failpoint::Action::Error, 1);
    let mut last = Index(0);
    let refused = loop {
        match journal.append(record(last.0 + 1)).await {
            Ok(index) => last = index,
            Err(error) => break error,
        }
        // The segment that was perhaps prepared before the failpoint was armed is used up first.
        assert!(last < Index(1_000));
    };
    assert!(matches!(refused, JournalError::Unavailable(_)), "{refused:?}");
    assert_eq!(journal.broken(), None, "a full disk is not damage");
    assert_eq!(journal.next_index(), last.next());
    assert!(journal.append(record(0)).await.is_err());
    failpoint::disarm("journal-file.prepare.filled");
    assert_eq!(
        journal.append(record(last.0 + 1)).await.unwrap(),
        last.next(),
        "it goes on by itself"
    );
    let all = read_all(&journal, Index::FIRST).await;
    assert!(all.iter().all(|(index, bytes)| *bytes == record(index.0)));
}

#[tokio::test]
async fn a_failed_rotation_breaks_off_and_loses_nothing() {
    let _alone = crate::FAILPOINTS.write().await;
    {
        let point = "journal-file.rotate.activated";
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path()).unwrap();
        failpoint::arm(point, failpoint::Action::Error, 1);
        let mut last = Index(0);
        while let Ok(index) = journal.append(record(last.0 + 1)).await {
            last = index;
        }
        failpoint::disarm(point);
        assert_eq!(journal.append(record(0)).await.unwrap_err().code(), "SGJF009");
        drop(journal);
        let journal = open(directory.path()).unwrap();
        assert_eq!(journal.next_index(), last.next());
        assert_eq!(journal.append(record(last.0 + 1)).await.unwrap(), last.next());
        let all = read_all(&journal, Index::FIRST).await;
        assert!(all.iter().all(|(index, bytes)| *bytes == record(index.0)));
    }
}

#[tokio::test]
async fn whole_segments_are_pruned_and_their_files_go() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    for n in 1..=120 {
        journal.append(record(n)).await.unwrap();
    }
    // 32 records a segment.
    assert!(segment(directory.path(), 4).exists());
    journal.prune_before(Index(70)).await.unwrap();
    assert!(!segment(directory.path(), 2).exists());
    assert!(segment(directory.path(), 3).exists());
    assert!(matches!(
        journal.range(Index(64), 1).await,
        Err(JournalError::Pruned { oldest: Index(65) })
    ));
    drop(journal);
    let journal = open(directory.path()).unwrap();
    assert_eq!(read_all(&journal, Index(65)).await.len(), 56);
    journal.prune_before(Index(u64::MAX)).await.unwrap();
    drop(journal);
    let journal = open(directory.path()).unwrap();
    assert_eq!(
        journal.next_index(),
        Index(121),
        "the newest segment is never pruned"
    );
}
