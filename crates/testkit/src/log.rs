//! A change log with something of a test's own between it and whoever uses it.

use signet_store::backup::{Image, ImagePart};
use signet_store::{
    Batch, BoxFuture, ChangeLog, CommitError, Committed, Cursor, Past, PastWish, Piece, Seq, Snapshot,
    StoreError, Tail, Wanted,
};
use signet_time::UnixTime;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

type BeforeCommit = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;
type PartSeen = Box<dyn Fn(&ImagePart) + Send + Sync>;

/// Passes everything on to another log; commits may have to wait, and the parts of images be seen.
pub struct HookedLog {
    inner: Arc<dyn ChangeLog>,
    before_commit: BeforeCommit,
    part_seen: PartSeen,
}

impl HookedLog {
    /// `inner`, with nothing between yet.
    #[must_use]
    pub fn new(inner: Arc<dyn ChangeLog>) -> Self {
        Self {
            inner,
            before_commit: Box::new(|| Box::pin(core::future::ready(()))),
            part_seen: Box::new(|_| {}),
        }
    }

    /// Commits reach the log once `wait` is over.
    #[must_use]
    pub fn before_commit(
        mut self,
        wait: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.before_commit = Box::new(wait);
        self
    }

    /// Shows `seen` each part of an image when there is room for it at whoever takes it.
    #[must_use]
    pub fn part_seen(mut self, seen: impl Fn(&ImagePart) + Send + Sync + 'static) -> Self {
        self.part_seen = Box::new(seen);
        self
    }
}

impl ChangeLog for HookedLog {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let wait = (self.before_commit)();
        Box::pin(async move {
            wait.await;
            self.inner.commit(batch).await
        })
    }

    fn load_kinds(&self, wanted: Wanted) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.inner.load_kinds(wanted)
    }

    fn load_pieces(
        &self,
        wanted: Wanted,
        pieces: mpsc::Sender<Piece>,
    ) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        self.inner.load_pieces(wanted, pieces)
    }

    fn image(&self) -> BoxFuture<'_, Result<Image, StoreError>> {
        self.inner.image()
    }

    fn image_parts(&self, parts: mpsc::Sender<ImagePart>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            // No room of its own beyond one part.
            let (sender, mut read) = mpsc::channel(1);
            let reading = self.inner.image_parts(sender);
            let passing = async {
                while let Some(part) = read.recv().await {
                    let Ok(room) = parts.reserve().await else { break };
                    (self.part_seen)(&part);
                    room.send(part);
                }
                drop(read);
            };
            tokio::join!(reading, passing).0
        })
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
