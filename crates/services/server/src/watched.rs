//! The ports of storage, watched for refused writes: a server that cannot write is not ready.

use crate::health::Probe;
use bytes::Bytes;
use signet_fault::{Coded, chain};
use signet_store::backup::{Image, ImagePart};
use signet_store::{
    Batch, BoxFuture, ChangeLog, CommitError, Committed, Cursor, Index, Journal, JournalError, Past,
    PastWish, Piece, Seq, Snapshot, StoreError, Tail, Wanted,
};
use signet_telemetry::Metrics;
use signet_time::UnixTime;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// Why the last write was refused, until one is taken.
#[derive(Clone, Default)]
struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn refused<E: Coded>(&self, error: &E) {
        self.set(Some(format!("{} [{}]", chain(error), error.code())));
    }

    fn probe(&self, part: &'static str) -> Probe {
        let why = self.clone();
        Box::new(move || {
            let why = why.0.lock().unwrap_or_else(PoisonError::into_inner);
            why.as_ref().map(|why| format!("{part}: {why}"))
        })
    }
}

/// A change log that remembers whether it takes writes.
pub(crate) struct WatchedLog {
    inner: Arc<dyn ChangeLog>,
    refusal: Refusal,
}

impl WatchedLog {
    pub(crate) fn new(inner: Arc<dyn ChangeLog>) -> Self {
        Self {
            inner,
            refusal: Refusal::default(),
        }
    }

    pub(crate) fn probe(&self) -> Probe {
        self.refusal.probe("change log")
    }

    fn pruned<'a>(
        &'a self,
        work: BoxFuture<'a, Result<u64, StoreError>>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let outcome = work.await;
            match &outcome {
                // Nothing to forget is nothing written.
                Ok(0) => {}
                Ok(_) => self.refusal.set(None),
                Err(error) => self.refusal.refused(error),
            }
            outcome
        })
    }
}

impl ChangeLog for WatchedLog {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let work = self.inner.commit(batch);
        Box::pin(async move {
            let outcome = work.await;
            match &outcome {
                Ok(_) => self.refusal.set(None),
                Err(error @ (CommitError::Unavailable(_) | CommitError::Unknown(_))) => {
                    self.refusal.refused(error);
                }
                // These say nothing about the disk.
                Err(_) => {}
            }
            outcome
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
        self.inner.image_parts(parts)
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
        self.pruned(self.inner.prune(before))
    }

    fn prune_older(&self, before: UnixTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.pruned(self.inner.prune_older(before))
    }
}

/// A journal that shows somebody how each append ended.
pub(crate) struct SeenJournal<S> {
    inner: Arc<dyn Journal>,
    seen: S,
}

type Appended = Result<Index, JournalError>;

/// `inner`, and what says whether it takes records.
pub(crate) fn watched_journal(inner: Arc<dyn Journal>) -> (SeenJournal<impl Fn(&Appended)>, Probe) {
    let refusal = Refusal::default();
    let probe = refusal.probe("record");
    let seen = move |outcome: &Appended| match outcome {
        Ok(_) => refusal.set(None),
        Err(error @ (JournalError::Unavailable(_) | JournalError::Unknown(_))) => refusal.refused(error),
        // These say nothing about the disk.
        Err(_) => {}
    };
    (SeenJournal { inner, seen }, probe)
}

/// `inner`, whose records are counted that are durable.
pub(crate) fn counted_journal(
    inner: Arc<dyn Journal>,
    metrics: &Metrics,
) -> SeenJournal<impl Fn(&Appended) + use<>> {
    let appended = metrics.counter(
        "signet_audit_appended_total",
        "Records of what was issued that are durable",
    );
    let seen = move |outcome: &Appended| {
        if outcome.is_ok() {
            appended.inc();
        }
    };
    SeenJournal { inner, seen }
}

impl<S: Fn(&Appended) + Send + Sync> SeenJournal<S> {
    fn shown<'a>(&'a self, work: BoxFuture<'a, Appended>) -> BoxFuture<'a, Appended> {
        Box::pin(async move {
            let outcome = work.await;
            (self.seen)(&outcome);
            outcome
        })
    }
}

impl<S: Fn(&Appended) + Send + Sync> Journal for SeenJournal<S> {
    fn append(&self, record: Bytes) -> BoxFuture<'_, Appended> {
        self.shown(self.inner.append(record))
    }

    fn append_all(&self, records: Vec<Bytes>) -> Vec<BoxFuture<'_, Appended>> {
        let appends = self.inner.append_all(records).into_iter();
        appends.map(|work| self.shown(work)).collect()
    }

    fn range(&self, from: Index, limit: usize) -> BoxFuture<'_, Result<Vec<(Index, Bytes)>, JournalError>> {
        self.inner.range(from, limit)
    }

    fn next_index(&self) -> Index {
        self.inner.next_index()
    }

    fn prune_before(&self, before: Index) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.prune_before(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use signet_id::TrustDomain;
    use signet_net::CancellationToken;
    use signet_registry::{JoinTokenWish, Registry};
    use signet_store::Origin;
    use signet_store::faulty::{Fault, FaultyJournal, FaultyLog, Op};
    use signet_store::memory::{MemoryJournal, MemoryLog};

    #[tokio::test]
    async fn a_record_counts_once_it_is_durable_for_certain() {
        let (metrics, records) = (
            Metrics::new(None),
            FaultyJournal::new(Arc::new(MemoryJournal::new())),
        );
        let journal = counted_journal(Arc::new(records.clone()), &metrics);
        let is_told = |count: u32| {
            let line = format!("signet_audit_appended_total {count}");
            assert!(
                metrics.text().lines().any(|told| told == line),
                "{}",
                metrics.text()
            );
        };
        is_told(0);
        for _ in 0..3 {
            journal.append(Bytes::from_static(b"a record")).await.unwrap();
        }
        for fault in Fault::ALL {
            records.plan(Op::Append, 1, fault);
            journal.append(Bytes::from_static(b"another")).await.unwrap_err();
        }
        is_told(3);
    }

    #[tokio::test]
    async fn a_server_that_cannot_write_is_not_ready_until_it_can_again() {
        for fault in Fault::ALL {
            let faulty = FaultyLog::new(Arc::new(MemoryLog::new()));
            let log = WatchedLog::new(Arc::new(faulty.clone()));
            let records = FaultyJournal::new(Arc::new(MemoryJournal::new()));
            let (journal, probe) = watched_journal(Arc::new(records.clone()));
            let probes = vec![log.probe(), probe];
            let domain = TrustDomain::parse("dev.test").unwrap();
            let registry = Arc::new(Registry::open(Arc::new(log), domain).await.unwrap());
            let health = Health::new(Arc::clone(&registry), CancellationToken::new(), probes);
            let origin = || Origin::new("test", "test", UnixTime::EPOCH);
            assert_eq!(health.now().status, "ready");

            faulty.plan(Op::Commit, 1, Fault::Refused);
            let wish = JoinTokenWish::default();
            assert!(registry.create_join_token(&wish, origin()).await.is_err());
            let told = health.now();
            assert_eq!((told.status, told.reasons.len()), ("failing", 1));
            assert!(told.reasons[0].starts_with("change log: "), "{told:?}");
            // Reads and what is refused for its own sake do not mend it.
            registry.followed().catch_up().await.unwrap();
            assert!(
                registry
                    .followed()
                    .log()
                    .commit(Batch::new(origin()))
                    .await
                    .is_err()
            );
            assert_eq!(health.now().status, "failing");
            // The attempt that upkeep makes does, once it is taken.
            faulty.plan(Op::Commit, 1, fault);
            registry.try_write(UnixTime::EPOCH).await.unwrap_err();
            assert_eq!(health.now().status, "failing");
            registry.try_write(UnixTime::EPOCH).await.unwrap();
            assert_eq!(health.now().status, "ready");

            records.plan(Op::Append, 1, fault);
            journal.append(Bytes::from_static(b"x")).await.unwrap_err();
            let told = health.now();
            assert!(told.reasons[0].starts_with("record: "), "{told:?}");
            journal.append(Bytes::from_static(b"x")).await.unwrap();
            assert_eq!(health.now().status, "ready");
        }
    }
}
