//! A change log whose commits wait until they are let through.

use signet_store::memory::MemoryLog;
use signet_store::{
    Batch, BoxFuture, ChangeLog, CommitError, Committed, Cursor, Past, PastWish, Seq, Snapshot, StoreError,
    Tail, Wanted,
};
use signet_time::UnixTime;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

#[derive(Clone)]
pub(crate) struct Gate {
    inner: MemoryLog,
    /// One permit for each commit that has arrived.
    pub(crate) arrived: Arc<Semaphore>,
    /// One permit for each commit that may go on.
    pub(crate) open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryLog::new(),
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }
}

impl ChangeLog for Gate {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            self.arrived.add_permits(1);
            self.open.acquire().await.expect("open").forget();
            self.inner.commit(batch).await
        })
    }

    fn load_kinds(&self, wanted: Wanted) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.inner.load_kinds(wanted)
    }

    fn image(&self) -> BoxFuture<'_, Result<signet_store::backup::Image, StoreError>> {
        self.inner.image()
    }

    fn tail(&self, after: Cursor, limit: usize) -> BoxFuture<'_, Result<Tail, StoreError>> {
        self.inner.tail(after, limit)
    }

    fn past(&self, until: Cursor, wish: PastWish) -> BoxFuture<'_, Result<Past, StoreError>> {
        self.inner.past(until, wish)
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.inner.head()
    }

    fn begin_epoch(&self) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.inner.begin_epoch()
    }

    fn prune(&self, before: Seq) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.prune(before)
    }

    fn prune_older(&self, before: UnixTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.inner.prune_older(before)
    }
}
