use crate::FAILPOINTS;
use signet_store::backup::restored_base;
use signet_store::{Batch, Change, ChangeLog as _, Kind, Origin, Seq, Tail};
use signet_store_sqlite::{SqliteLog, import};
use signet_time::UnixTime;

const KIND: Kind = Kind(65_280);

fn batch(key: &str) -> Batch {
    Batch::new(Origin::new("who", "why", UnixTime::EPOCH)).with(Change::put(KIND, 1, key.to_owned(), "body"))
}

#[tokio::test]
async fn an_imported_state_begins_a_log_of_its_own_that_goes_on_and_reopens() {
    let _quiet = FAILPOINTS.read().await;
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.db"), dir.path().join("new.db"));
    let log = SqliteLog::open(&old).unwrap();
    for key in ["a", "b", "a"] {
        log.commit(batch(key)).await.unwrap();
    }
    let image = log.image().await.unwrap();
    let base = restored_base(UnixTime::from_millis(1_800_000_000_000), &[]).unwrap();
    let cursor = import(&new, &image.renumbered(base), base).unwrap();
    assert_eq!(cursor.seq, Seq(base.0 + 2));
    assert_ne!(cursor.epoch, image.snapshot.cursor.epoch);
    for round in 1..3 {
        let log = SqliteLog::open(&new).unwrap();
        assert_eq!(log.tail(image.snapshot.cursor, 9).await.unwrap(), Tail::Diverged);
        assert_eq!(log.load().await.unwrap().rows.len(), 2);
        let committed = log.commit(batch("a")).await.unwrap();
        assert_eq!(committed.first, Seq(cursor.seq.0 + round));
        let Tail::Changes(changes) = log.tail(cursor, 9).await.unwrap() else {
            panic!("the cursor of the import is not known");
        };
        assert_eq!(changes.len(), usize::try_from(round).unwrap());
    }
    // Into a log that is in use nothing is imported, and it stays as it is.
    assert!(import(&new, &image.renumbered(base), base).is_err());
    assert_eq!(
        SqliteLog::open(&new).unwrap().load().await.unwrap().cursor.seq,
        Seq(cursor.seq.0 + 2)
    );
}
