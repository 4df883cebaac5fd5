use super::support::read_all;
use crate::{Index, Journal, JournalError, RECORD_BYTES_MAX};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The journal's suite, except for the faults of [`journal_faults`](super::journal_faults).
///
/// # Panics
/// At the first promise that is not kept.
pub async fn journal(open: &dyn Fn(&str) -> Arc<dyn Journal>) {
    starts_empty(&*open("empty")).await;
    numbers_records(&*open("numbers")).await;
    holds_its_bounds(&*open("bounds")).await;
    loses_nothing_of_concurrent_writers(open("writers")).await;
    takes_many_appends_at_once(&*open("many")).await;
    works_though_nobody_waits(&*open("dropped")).await;
    prunes(&*open("prune")).await;
    survives_reopening(open).await;
}

async fn starts_empty(journal: &dyn Journal) {
    assert_eq!(journal.next_index(), Index::FIRST);
    assert_eq!(journal.range(Index::FIRST, 10).await.expect("range"), []);
    assert_eq!(journal.range(Index(99), 10).await.expect("range"), []);
    journal.prune_before(Index(99)).await.expect("prune");
    assert_eq!(journal.next_index(), Index::FIRST);
}

async fn numbers_records(journal: &dyn Journal) {
    for n in 1..=20_u64 {
        let index = journal
            .append(Bytes::from(format!("record {n}")))
            .await
            .expect("append");
        assert_eq!(index, Index(n));
        assert_eq!(journal.next_index(), Index(n + 1));
    }
    let all = read_all(journal, Index::FIRST).await;
    assert_eq!(all.len(), 20);
    assert!(
        all.iter()
            .all(|(index, record)| *record == format!("record {index}"))
    );
    assert_eq!(journal.range(Index(18), 2).await.expect("range"), all[17..19]);
    assert_eq!(journal.range(Index(18), 0).await.expect("range"), []);
    assert_eq!(journal.range(Index(21), 2).await.expect("range"), []);
    assert!(matches!(
        journal.range(Index(0), 2).await,
        Err(JournalError::Pruned { oldest: Index::FIRST })
    ));
}

async fn holds_its_bounds(journal: &dyn Journal) {
    for bytes in [0, RECORD_BYTES_MAX + 1] {
        let refused = journal.append(Bytes::from(vec![1; bytes])).await;
        assert!(matches!(refused, Err(JournalError::Length { bytes: found }) if found == bytes));
    }
    assert_eq!(journal.next_index(), Index::FIRST, "nothing invalid was written");
    // Zeros must not look like the end of the journal.
    for record in [
        Bytes::from(vec![0; RECORD_BYTES_MAX]),
        Bytes::from(vec![0]),
        Bytes::from(vec![0xff; 24]),
    ] {
        let index = journal.append(record.clone()).await.expect("append");
        assert_eq!(journal.range(index, 1).await.expect("range"), [(index, record)]);
    }
}

async fn loses_nothing_of_concurrent_writers(journal: Arc<dyn Journal>) {
    let tasks: Vec<_> = (0..16_u32)
        .map(|writer| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let mut own = Vec::new();
                for n in 0..50_u32 {
                    let record = Bytes::from(format!("{writer}/{n}/{}", "x".repeat(n as usize * 40)));
                    let index = journal.append(record.clone()).await.expect("append");
                    assert!(journal.next_index() > index, "acknowledged is durable");
                    own.push((index, record));
                }
                own
            })
        })
        .collect();
    let mut acknowledged = BTreeMap::new();
    for task in tasks {
        let own = task.await.expect("writer");
        assert!(
            own.is_sorted_by_key(|(index, _)| *index),
            "a writer's records are in its order"
        );
        acknowledged.extend(own);
    }
    let all: BTreeMap<_, _> = read_all(&*journal, Index::FIRST).await.into_iter().collect();
    assert_eq!(all, acknowledged);
    assert_eq!(all.len(), 16 * 50, "no two records share an index");
}

async fn takes_many_appends_at_once(journal: &dyn Journal) {
    let appends: Vec<_> = (0..300_u32)
        .map(|n| journal.append(Bytes::from(format!("{n}"))))
        .collect();
    for (append, expected) in appends.into_iter().zip(1_u64..) {
        assert_eq!(
            append.await.expect("append"),
            Index(expected),
            "calls take effect in order"
        );
    }
    let list = |from: u32| (from..).map(|n| Bytes::from(format!("{n}")));
    let mut records: Vec<_> = list(301).take(40).collect();
    records.insert(20, Bytes::new());
    let mut expected = (301_u64..=340).map(Index);
    for (n, append) in journal.append_all(records).into_iter().enumerate() {
        match append.await {
            Ok(index) => assert_eq!(Some(index), expected.next(), "a list takes effect in order"),
            Err(error) => assert!(n == 20 && matches!(error, JournalError::Length { bytes: 0 })),
        }
    }
    assert_eq!(expected.next(), None, "one that is refused keeps no other back");
    assert!(journal.append_all(Vec::new()).is_empty());
}

async fn works_though_nobody_waits(journal: &dyn Journal) {
    drop(journal.append(Bytes::from_static(b"dropped")));
    let kept = journal.append(Bytes::from_static(b"kept")).await.expect("append");
    assert_eq!(kept, Index(2));
}

async fn prunes(journal: &dyn Journal) {
    let record = |n: u64| Bytes::from(n.to_be_bytes().repeat(250));
    for n in 1..=400 {
        journal.append(record(n)).await.expect("append");
    }
    journal.prune_before(Index(300)).await.expect("prune");
    let from = match journal.range(Index::FIRST, 1).await {
        Ok(_) => Index::FIRST,
        Err(JournalError::Pruned { oldest }) => oldest,
        Err(other) => panic!("range: {other}"),
    };
    assert!(from <= Index(300), "only what was allowed is pruned");
    let kept = read_all(journal, from).await;
    assert!(kept.iter().all(|(index, bytes)| *bytes == record(index.0)));
    assert_eq!(journal.next_index(), Index(401));
    assert_eq!(journal.append(record(401)).await.expect("append"), Index(401));
    journal.prune_before(Index(u64::MAX)).await.expect("prune all");
    assert_eq!(
        journal.append(record(402)).await.expect("append"),
        Index(402),
        "numbers go on"
    );
}

async fn survives_reopening(open: &dyn Fn(&str) -> Arc<dyn Journal>) {
    let record = |n: u64| Bytes::from(n.to_be_bytes().repeat(120));
    let mut next = 1;
    for _ in 0..6 {
        let journal = open("reopen");
        assert_eq!(journal.next_index(), Index(next));
        let all = read_all(&*journal, Index::FIRST).await;
        assert!(all.iter().all(|(index, bytes)| *bytes == record(index.0)));
        for _ in 0..50 {
            let index = journal.append(record(next)).await.expect("append");
            assert_eq!(index, Index(next));
            next += 1;
        }
        drop(journal);
    }
}
