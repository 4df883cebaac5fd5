//! Backups of a running server, and how far a record shows that a log had come.

use crate::ServerError;
use crate::health::VERSION;
use signet_id::TrustDomain;
use signet_keys::{Seal, prove};
use signet_record::Record;
use signet_store::backup::{About, Encoder, ImagePart};
use signet_store::{BoxFuture, Cause, ChangeLog, Index, Journal, JournalError, Seq, StoreError};
use signet_surface_admin::BackupStream;
use signet_time::SharedClock;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What takes a backup.
pub(crate) type Take = Arc<dyn Fn() -> BoxFuture<'static, Result<BackupStream, StoreError>> + Send + Sync>;

/// Parts that wait to be put into bytes, and bytes that wait for their reader: all that is held of a backup.
const PARTS_WAITING_MAX: usize = 2;

/// How many of the newest records are looked at: those that were decided at once may lie in any order.
const NEWEST: u64 = 256;

/// What a seal's proofs are for where they stand in a backup.
pub(crate) const PROOF: &str = "backup";

/// What takes backups of `log` for the administration API, which `seal` proves. `seal_name` is how the settings name it.
pub(crate) fn taker(
    trust_domain: &TrustDomain,
    seal_name: String,
    seal: Arc<dyn Seal>,
    log: Arc<dyn ChangeLog>,
    journal: Arc<dyn Journal>,
    clock: SharedClock,
) -> Take {
    let trust_domain = trust_domain.to_string();
    Arc::new(move || {
        let (trust_domain, seal_name, seal) = (trust_domain.clone(), seal_name.clone(), Arc::clone(&seal));
        let (log, journal, clock) = (Arc::clone(&log), Arc::clone(&journal), Arc::clone(&clock));
        Box::pin(async move {
            let (sender, mut parts) = mpsc::channel(PARTS_WAITING_MAX);
            let reading = tokio::spawn(async move { log.image_parts(sender).await });
            let Some(ImagePart::Head(head)) = parts.recv().await else {
                return match reading.await {
                    Ok(Err(error)) => Err(error),
                    // The runtime is shutting down.
                    _ => Err(StoreError::Unavailable(Cause::new(ServerError::Task {
                        task: "backup",
                    }))),
                };
            };
            let about = About {
                trust_domain,
                version: VERSION.to_owned(),
                seal: seal_name,
                taken: clock.now(),
                record_next: journal.next_index().0,
            };
            let (chunks, receiver) = mpsc::channel(PARTS_WAITING_MAX);
            tokio::spawn(async move {
                let (mut encoder, first) = Encoder::begin(&about, &head);
                let mut next = Some(first);
                while let Some(bytes) = next {
                    if !bytes.is_empty() && chunks.send(Ok(bytes.into())).await.is_err() {
                        // Nobody reads it any more.
                        return;
                    }
                    next = match parts.recv().await {
                        Some(ImagePart::Changes(changes)) => Some(encoder.changes(&changes)),
                        Some(ImagePart::Rows(rows)) => Some(encoder.rows(&rows)),
                        // There is one head.
                        Some(ImagePart::Head(_)) | None => None,
                    };
                }
                let last = match reading.await {
                    Ok(Ok(())) => match prove(&*seal, PROOF, &encoder.to_prove()) {
                        Ok(proof) => Ok(encoder.end(&proof).into()),
                        Err(error) => Err(StoreError::Unavailable(Cause::new(error))),
                    },
                    Ok(Err(error)) => Err(error),
                    Err(_) => return,
                };
                let _gone = chunks.send(last).await;
            });
            Ok(BackupStream {
                seq: head.cursor.seq,
                chunks: receiver,
            })
        })
    })
}

/// Refuses a log that is behind the record: an older state was put in its place, and what it says now was said before.
pub(crate) async fn check_age(log: &dyn ChangeLog, journal: &dyn Journal) -> Result<(), ServerError> {
    let held = *log.head().borrow();
    let recorded = last_recorded(journal)
        .await
        .map_err(ServerError::part("read the record"))?;
    match recorded {
        Some(recorded) if recorded > held => Err(ServerError::OlderState { held, recorded }),
        _ => Ok(()),
    }
}

/// The last change that the newest records were decided at.
async fn last_recorded(journal: &dyn Journal) -> Result<Option<Seq>, JournalError> {
    let from = Index(journal.next_index().0.saturating_sub(NEWEST).max(Index::FIRST.0));
    let newest = match journal.range(from, NEWEST as usize).await {
        Err(JournalError::Pruned { oldest }) => journal.range(oldest, NEWEST as usize).await,
        read => read,
    }?;
    // A record that does not decode is for whoever reads the record to tell.
    let issued = newest
        .iter()
        .filter_map(|(_, bytes)| match Record::decode(bytes) {
            Ok(Record::Issue(record)) => Some(Seq(record.state_seq)),
            _ => None,
        });
    Ok(issued.max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use signet_keys::MemorySeal;
    use signet_store::backup::Backup;
    use signet_store::memory::{MemoryJournal, MemoryLog};
    use signet_store::{Batch, Change, Kind, Origin};
    use signet_store_sqlite::SqliteLog;
    use signet_testkit::{HookedLog, ManualClock};
    use signet_time::UnixTime;

    /// Bytes in the bodies of a part.
    fn bytes_in(part: &ImagePart) -> usize {
        match part {
            ImagePart::Head(_) => 0,
            ImagePart::Changes(all) => all
                .iter()
                .map(|entry| entry.change.body.as_ref().map_or(0, bytes::Bytes::len))
                .sum(),
            ImagePart::Rows(all) => all.iter().map(|row| row.body.len()).sum(),
        }
    }

    fn take(log: Arc<dyn ChangeLog>) -> Take {
        let domain = TrustDomain::parse("dev.test").unwrap();
        let clock: SharedClock = Arc::new(ManualClock::default());
        taker(
            &domain,
            "file=/k".to_owned(),
            Arc::new(MemorySeal::random().unwrap()),
            log,
            Arc::new(MemoryJournal::new()),
            clock,
        )
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_is_read_no_faster_than_it_is_taken_and_never_held_whole() {
        const ROWS: usize = 6_000;
        let dir = tempfile::tempdir().unwrap();
        let log: Arc<dyn ChangeLog> = Arc::new(SqliteLog::open(&dir.path().join("state.db")).unwrap());
        for some in (0..ROWS).collect::<Vec<_>>().chunks(1_000) {
            let mut batch = Batch::new(Origin::new("test", "test", UnixTime::EPOCH));
            for n in some {
                let put = Change::put(Kind(65_280), 1, n.to_string(), vec![b'x'; 2_000]);
                batch.changes.push(put);
            }
            log.commit(batch).await.unwrap();
        }
        let (parts, bytes_max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (parts_seen, most) = (Arc::clone(&parts), Arc::clone(&bytes_max));
        let counted = HookedLog::new(Arc::clone(&log)).part_seen(move |part| {
            most.fetch_max(bytes_in(part), Ordering::SeqCst);
            parts_seen.fetch_add(1, Ordering::SeqCst);
        });
        let mut stream = take(Arc::new(counted))().await.unwrap();
        let (mut whole, mut read) = (Vec::new(), 0);
        while let Some(chunk) = stream.chunks.recv().await {
            whole.extend_from_slice(&chunk.unwrap());
            read += 1;
            // What waits in the two channels, and the one that is being put into bytes.
            let ahead = parts.load(Ordering::SeqCst).saturating_sub(read);
            assert!(
                ahead <= 2 * PARTS_WAITING_MAX + 1,
                "{ahead} parts ahead of their reader"
            );
        }
        assert!(read > 2 * ROWS / 256, "{read} chunks");
        let most = bytes_max.load(Ordering::SeqCst);
        assert!(most <= 512 * 1024 + 2_000, "{most} bytes in one part");
        assert!(whole.len() > 2 * ROWS * 2_000);
        let backup = Backup::decode(&whole).unwrap();
        assert_eq!(backup.image, log.image().await.unwrap());
        assert_eq!(backup.image.snapshot.cursor.seq, stream.seq);
        // A reader that goes away ends it.
        drop(take(log)().await.unwrap());
    }

    #[tokio::test]
    async fn a_backup_of_a_log_that_fails_half_way_has_no_end() {
        use signet_store::faulty::{Fault, FaultyLog, Op};
        let log = FaultyLog::new(Arc::new(MemoryLog::new()));
        for (fault, begins) in [(Fault::Refused, false), (Fault::Unanswered, true)] {
            log.plan(Op::Load, 1, fault);
            let taken = take(Arc::new(log.clone()))().await;
            assert_eq!(taken.is_ok(), begins, "{fault:?}");
            let Ok(mut stream) = taken else { continue };
            let (mut whole, mut last) = (Vec::new(), Ok(()));
            while let Some(chunk) = stream.chunks.recv().await {
                match chunk {
                    Ok(bytes) => whole.extend_from_slice(&bytes),
                    Err(error) => last = Err(error),
                }
            }
            assert!(last.is_err());
            assert!(Backup::decode(&whole).is_err());
        }
    }
}
