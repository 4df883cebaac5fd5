use proptest::prelude::*;
use signet_store::{Index, Journal, conformance};
use std::sync::Arc;

fn journals(directory: &tempfile::TempDir) -> impl Fn(&str) -> Arc<dyn Journal> {
    let path = directory.path().to_owned();
    move |name| Arc::new(crate::open(&path.join(name)).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_file_journal_conforms() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    conformance::journal(&journals(&directory)).await;
}

#[tokio::test]
async fn the_file_journal_conforms_under_faults() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    conformance::journal_faults(&journals(&directory)).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn records_of_any_length_come_back_across_segments_and_restarts(
        runs in prop::collection::vec(prop::collection::vec(1..30_000_usize, 1..12), 1..4),
    ) {
        let _quiet = crate::FAILPOINTS.blocking_read();
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut written = Vec::new();
            for lengths in runs {
                let journal = crate::open(&directory.path().join("journal")).unwrap();
                let mut appends = Vec::new();
                for length in lengths {
                    let record = bytes::Bytes::from(vec![u8::try_from(length % 251).unwrap(); length]);
                    appends.push((journal.append(record.clone()), record));
                }
                for (append, record) in appends {
                    written.push((append.await.unwrap(), record));
                }
                let found = conformance::read_all(&journal, Index::FIRST).await;
                prop_assert_eq!(&found, &written);
            }
            Ok(())
        })?;
    }
}
