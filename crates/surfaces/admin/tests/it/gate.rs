//! A change log whose commits wait until they are let through.

use signet_store::ChangeLog;
use signet_store::memory::MemoryLog;
use signet_testkit::HookedLog;
use std::sync::Arc;
use tokio::sync::Semaphore;

pub(crate) struct Gate {
    /// One permit for each commit that has arrived.
    pub(crate) arrived: Arc<Semaphore>,
    /// One permit for each commit that may go on.
    pub(crate) open: Arc<Semaphore>,
}

impl Gate {
    /// Shut, before an empty log.
    pub(crate) fn new() -> (Self, Arc<dyn ChangeLog>) {
        let gate = Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        };
        let (arrived, open) = (Arc::clone(&gate.arrived), Arc::clone(&gate.open));
        let log = HookedLog::new(Arc::new(MemoryLog::new())).before_commit(move || {
            let (arrived, open) = (Arc::clone(&arrived), Arc::clone(&open));
            Box::pin(async move {
                arrived.add_permits(1);
                open.acquire().await.expect("open").forget();
            })
        });
        (gate, Arc::new(log))
    }
}
