//! Nothing is released before its record is durable.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use signet_fault::Coded as _;
use signet_record::{CredentialKind, IssueRecord, Record, RecordError, Recorder, Unrecorded};
use signet_store::faulty::{Fault, FaultyJournal, Op};
use signet_store::memory::MemoryJournal;
use signet_store::{BoxFuture, Index, Journal, JournalError, RECORD_BYTES_MAX};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Says when it is dropped: a credential that is not released must not stay around.
struct Credential {
    _alive: Arc<()>,
}

struct Bench {
    inner: MemoryJournal,
    faulty: FaultyJournal,
    recorder: Recorder,
    alive: Arc<()>,
}

impl Bench {
    fn new() -> Self {
        let inner = MemoryJournal::new();
        let faulty = FaultyJournal::new(Arc::new(inner.clone()));
        Self {
            recorder: Recorder::new(Arc::new(faulty.clone())),
            inner,
            faulty,
            alive: Arc::new(()),
        }
    }

    fn unrecorded(&self, name: &str) -> Unrecorded<Credential> {
        let record = IssueRecord {
            subject: name.to_owned(),
            ..self.recorder.reserve().unwrap().record(CredentialKind::X509Svid)
        };
        let credential = Credential {
            _alive: Arc::clone(&self.alive),
        };
        Unrecorded::new(credential, record)
    }

    fn credentials(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }

    async fn recorded(&self) -> Vec<String> {
        let records = self.inner.range(Index::FIRST, 1_000).await.unwrap();
        let subject = |bytes: &[u8]| match Record::decode(bytes).unwrap() {
            Record::Issue(record) => record.subject,
            other => panic!("{other:?}"),
        };
        records.iter().map(|(_, bytes)| subject(bytes)).collect()
    }
}

#[tokio::test]
async fn nothing_is_released_when_the_record_is_refused_lost_or_unanswered() {
    for fault in Fault::ALL {
        let bench = Bench::new();
        bench.faulty.plan(Op::Append, 2, fault);
        assert!(bench.recorder.release(bench.unrecorded("a")).await.is_ok());
        let failed = bench.recorder.release(bench.unrecorded("b")).await;
        assert!(matches!(failed, Err(RecordError::Journal(_))), "{fault:?}");
        assert_eq!(bench.credentials(), 0, "{fault:?}: the credential is gone");
        assert!(
            bench.recorder.release(bench.unrecorded("c")).await.is_ok(),
            "{fault:?}: it goes on"
        );
        let landed: &[&str] = if fault == Fault::Unanswered {
            &["a", "b", "c"]
        } else {
            &["a", "c"]
        };
        assert_eq!(bench.recorded().await, landed, "{fault:?}");
    }
}

#[tokio::test]
async fn of_many_each_is_released_only_with_its_own_record() {
    for fault in Fault::ALL {
        for nth in 1..=4 {
            let bench = Bench::new();
            bench.faulty.plan(Op::Append, nth, fault);
            let many = ["a", "b", "c", "d"].map(|name| bench.unrecorded(name));
            let released = bench.recorder.release_all(many.into_iter().collect()).await;
            let failed: Vec<_> = released.iter().map(Result::is_err).collect();
            let expected: Vec<_> = (1..=4).map(|n| n == nth).collect();
            assert_eq!(failed, expected, "{fault:?} at {nth}");
            assert_eq!(bench.credentials(), 3);
            assert_eq!(
                bench.recorded().await.len(),
                if fault == Fault::Unanswered { 4 } else { 3 }
            );
        }
    }
}

#[tokio::test]
async fn of_many_an_incomplete_one_is_left_out_and_moves_no_other() {
    let bench = Bench::new();
    let record = |name| bench.unrecorded(name).record().clone();
    let mut many: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| Unrecorded::new(name, record(name)))
        .into();
    let incomplete = IssueRecord {
        identifier: bytes::Bytes::new(),
        ..record("b")
    };
    many.insert(1, Unrecorded::new("incomplete", incomplete));
    let released = bench.recorder.release_all(many).await;
    let released: Vec<_> = released.iter().map(|one| one.as_ref().ok().copied()).collect();
    assert_eq!(released, [Some("a"), None, Some("b"), Some("c"), Some("d")]);
    assert_eq!(bench.recorded().await, ["a", "b", "c", "d"]);
}

/// Takes records and never answers.
struct Silent;

impl Journal for Silent {
    fn append(&self, _: bytes::Bytes) -> BoxFuture<'_, Result<Index, JournalError>> {
        Box::pin(std::future::pending())
    }

    fn append_all(&self, records: Vec<bytes::Bytes>) -> Vec<BoxFuture<'_, Result<Index, JournalError>>> {
        records.into_iter().map(|record| self.append(record)).collect()
    }

    fn range(&self, _: Index, _: usize) -> BoxFuture<'_, Result<Vec<(Index, bytes::Bytes)>, JournalError>> {
        Box::pin(std::future::pending())
    }

    fn next_index(&self) -> Index {
        Index::FIRST
    }

    fn prune_before(&self, _: Index) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_journal_that_never_answers_releases_nothing() {
    let bench = Bench::new();
    let recorder = Recorder::new(Arc::new(Silent));
    let mut release = Box::pin(recorder.release(bench.unrecorded("a")));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(matches!(release.as_mut().poll(&mut context), Poll::Pending));
    }
    drop(release);
    assert_eq!(bench.credentials(), 0, "who gives up waiting gets nothing either");
}

#[tokio::test]
async fn an_incomplete_or_oversize_record_releases_nothing() {
    let bench = Bench::new();
    let complete = bench.unrecorded("a").record().clone();
    type Spoil = fn(&mut IssueRecord);
    let spoils: [(&str, Spoil); 3] = [
        ("identifier", |record| record.identifier.truncate(15)),
        ("subject", |record| record.subject.clear()),
        ("kind", |record| record.kind = 0),
    ];
    for (field, spoil) in spoils {
        let mut record = complete.clone();
        spoil(&mut record);
        let refused = bench.recorder.release(Unrecorded::new((), record)).await;
        assert!(matches!(refused, Err(RecordError::Incomplete { field: found }) if found == field));
    }
    let mut record = complete;
    record.request_id = "x".repeat(RECORD_BYTES_MAX);
    let refused = bench.recorder.release(Unrecorded::new((), record)).await;
    let Err(error @ RecordError::Journal(JournalError::Length { .. })) = refused else {
        panic!("an oversize record was taken");
    };
    assert_eq!(error.code(), "SGRC003");
    assert_eq!(bench.recorded().await, [""; 0]);
}

#[tokio::test]
async fn no_two_slots_are_alike_and_serial_jti_and_record_agree() {
    let bench = Bench::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let slot = bench.recorder.reserve().unwrap();
        let hex: String = slot.serial().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(slot.jti(), hex);
        assert_eq!(slot.record(CredentialKind::JwtSvid).identifier, slot.serial()[..]);
        assert!(seen.insert(slot.serial()));
    }
}

#[test]
fn a_sealed_credential_shows_nothing() {
    let record = IssueRecord {
        request_id: "request".to_owned(),
        ..IssueRecord::default()
    };
    assert_eq!(
        format!("{:?}", Unrecorded::new("credential", record)),
        "Unrecorded { .. }"
    );
}
