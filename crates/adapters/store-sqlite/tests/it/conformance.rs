use proptest::prelude::*;
use signet_store::{ChangeLog, conformance};
use signet_store_sqlite::SqliteLog;
use std::sync::Arc;

fn logs(directory: &tempfile::TempDir) -> impl Fn(&str) -> Arc<dyn ChangeLog> {
    let path = directory.path().to_owned();
    move |name| Arc::new(SqliteLog::open(&path.join(format!("{name}.db"))).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sqlite_log_conforms() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    conformance::change_log(&logs(&directory)).await;
}

#[tokio::test]
async fn the_sqlite_log_conforms_under_faults() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    conformance::change_log_faults(&logs(&directory)).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_sqlite_log_equals_the_model(numbers in prop::collection::vec(any::<u64>(), 0..25)) {
        let _quiet = crate::FAILPOINTS.blocking_read();
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(conformance::model::change_log(&logs(&directory), "model", &numbers));
    }
}
