//! The memory backend runs the suites that every backend runs.
#![expect(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

use proptest::prelude::*;
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_store::{ChangeLog, Journal, conformance};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Opens by name: the same store for the same name.
fn logs() -> impl Fn(&str) -> Arc<dyn ChangeLog> {
    let stores: Mutex<HashMap<String, MemoryLog>> = Mutex::default();
    move |name| Arc::new(stores.lock().unwrap().entry(name.to_owned()).or_default().clone())
}

fn journals() -> impl Fn(&str) -> Arc<dyn Journal> {
    let stores: Mutex<HashMap<String, MemoryJournal>> = Mutex::default();
    move |name| Arc::new(stores.lock().unwrap().entry(name.to_owned()).or_default().clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_log_conforms() {
    conformance::change_log(&logs()).await;
}

#[tokio::test]
async fn the_memory_log_conforms_under_faults() {
    conformance::change_log_faults(&logs()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_journal_conforms() {
    conformance::journal(&journals()).await;
}

#[tokio::test]
async fn the_memory_journal_conforms_under_faults() {
    conformance::journal_faults(&journals()).await;
}

proptest! {
    #[test]
    fn the_memory_log_equals_the_model(numbers in prop::collection::vec(any::<u64>(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(conformance::model::change_log(&logs(), "model", &numbers));
    }
}
