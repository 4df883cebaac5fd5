use crate::{open, segment};
use bytes::Bytes;
use signet_fault::Coded as _;
use signet_store::conformance::read_all;
use signet_store::{Index, Journal as _, JournalError};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The bytes that each record of [`fill`] takes: a header of 24, and 1,000.
const FRAME: u64 = 1_024;

fn record(index: u64) -> Bytes {
    let mut bytes = vec![0xa5; 1_000];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    Bytes::from(bytes)
}

/// Appends records, each in a flush of its own, up to the index `last`.
async fn fill(path: &Path, last: u64) {
    let journal = open(path).unwrap();
    for index in journal.next_index().0..=last {
        assert_eq!(journal.append(record(index)).await.unwrap(), Index(index));
    }
}

/// Appends records in one flush, or a few.
async fn fill_at_once(path: &Path, last: u64) {
    let journal = open(path).unwrap();
    let appends: Vec<_> = (journal.next_index().0..=last)
        .map(|n| journal.append(record(n)))
        .collect();
    for append in appends {
        append.await.unwrap();
    }
}

/// What a reopened journal holds.
async fn reopened(path: &Path) -> u64 {
    let journal = open(path).unwrap();
    let all = read_all(&journal, Index::FIRST).await;
    assert!(all.iter().all(|(index, bytes)| *bytes == record(index.0)));
    let next = journal.next_index();
    assert_eq!(journal.append(record(next.0)).await.unwrap(), next, "it goes on");
    drop(journal);
    let journal = open(path).unwrap();
    assert_eq!(journal.next_index(), next.next());
    next.0 - 1
}

fn offset(index: u64) -> u64 {
    64 + (index - 1) * FRAME
}

fn alter(path: &Path, offset: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// Flips a bit.
fn flip(path: &Path, offset: u64) {
    let byte = fs::read(path).unwrap()[usize::try_from(offset).unwrap()];
    alter(path, offset, &[byte ^ 1]);
}

fn refused(path: &Path) -> String {
    let error = open(path).unwrap_err();
    assert_eq!(error.code(), "SGJF007", "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_torn_last_record_is_cut_off() {
    let _quiet = crate::FAILPOINTS.read().await;
    for at in [0, 4, 8, 16, 23, 24, 500, 1_023] {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 10).await;
        flip(&segment(directory.path(), 1), offset(10) + at);
        assert_eq!(reopened(directory.path()).await, 9, "byte {at}");
    }
    // Only part of it reached the disk.
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 10).await;
    alter(&segment(directory.path(), 1), offset(10) + 512, &[0; 512]);
    assert_eq!(reopened(directory.path()).await, 9);
}

#[tokio::test]
async fn a_flush_that_was_torn_out_of_order_is_cut_off_whole() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 5).await;
    // Frames 6 to 8 as one flush: 7 and 8 say that they stand behind 6 in it.
    let path = segment(directory.path(), 1);
    fill_at_once(directory.path(), 8).await;
    let bytes = fs::read(&path).unwrap();
    let back = |index: u64| bytes[usize::try_from(offset(index)).unwrap() + 12];
    if (back(6), back(7), back(8)) == (0, 1, 2) {
        alter(&path, offset(6), &[0; 1_024]);
        assert_eq!(reopened(directory.path()).await, 5);
        let after = fs::read(&path).unwrap();
        let end = usize::try_from(offset(7)).unwrap();
        assert!(
            after[end..].iter().all(|byte| *byte == 0),
            "what was torn is gone for good"
        );
    } else {
        // The writer was quick and made several flushes: then losing the first of them is damage.
        alter(&path, offset(6), &[0; 1_024]);
        refused(directory.path());
    }
}

#[tokio::test]
async fn rubbish_behind_the_last_record_is_wiped() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 3).await;
    let path = segment(directory.path(), 1);
    alter(&path, offset(4), &[0xff; 3_000]);
    alter(&path, 128 * 1024 - 1, &[1]);
    assert_eq!(reopened(directory.path()).await, 3);
    let after = fs::read(&path).unwrap();
    assert!(
        after[usize::try_from(offset(5)).unwrap()..]
            .iter()
            .all(|byte| *byte == 0)
    );
}

#[tokio::test]
async fn damage_in_the_middle_is_refused() {
    let _quiet = crate::FAILPOINTS.read().await;
    for at in [0, 4, 8, 12, 16, 24, 1_023] {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 10).await;
        flip(&segment(directory.path(), 1), offset(4) + at);
        let error = refused(directory.path());
        assert!(error.contains("record 4 at byte 3136"), "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 100).await;
    alter(&segment(directory.path(), 1), offset(4), &vec![0; 60 * 1_024]);
    refused(directory.path());
}

#[tokio::test]
async fn frames_of_another_segment_never_count() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 200).await;
    let first = fs::read(segment(directory.path(), 1)).unwrap();
    let second = segment(directory.path(), 2);
    // Segment 2 starts at record 128. As if its file had been used before: old frames stand where the next would go.
    let next = 64 + (200 - 127) * FRAME;
    alter(&second, next, &first[64..64 + 20 * 1_024]);
    assert_eq!(reopened(directory.path()).await, 200);

    // The same frames with the number of the new segment: its seed is still another.
    let mut forged = first[64..64 + 1_024].to_vec();
    forged[8..12].copy_from_slice(&2_u32.to_le_bytes());
    forged[16..24].copy_from_slice(&202_u64.to_le_bytes());
    alter(&second, next + FRAME, &forged);
    assert_eq!(reopened(directory.path()).await, 201);
}

#[tokio::test]
async fn missing_exchanged_and_shortened_segments_are_refused() {
    let _quiet = crate::FAILPOINTS.read().await;
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("a segment in the middle is gone", |path| {
            fs::remove_file(segment(path, 2)).unwrap()
        }),
        ("one stands for another", |path| {
            fs::copy(segment(path, 1), segment(path, 2)).unwrap();
        }),
        ("the newest is shorter", |path| {
            let file = fs::OpenOptions::new().write(true).open(segment(path, 3)).unwrap();
            file.set_len(100 * 1_024).unwrap();
        }),
        ("a header is damaged", |path| alter(&segment(path, 3), 20, &[9])),
        ("a header is blank", |path| alter(&segment(path, 3), 0, &[0; 64])),
        ("a whole segment in the middle is blank", |path| {
            alter(&segment(path, 2), 0, &vec![0; 128 * 1_024])
        }),
    ];
    for (what, damage) in damages {
        let directory = tempfile::tempdir().unwrap();
        fill(directory.path(), 300).await;
        assert!(segment(directory.path(), 3).exists());
        damage(directory.path());
        let error = refused(directory.path());
        assert!(error.contains(".segment"), "{what}: {error}");
    }
}

#[tokio::test]
async fn damage_in_an_older_segment_is_found_where_it_is_read() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 300).await;
    alter(&segment(directory.path(), 1), offset(50) + 100, &[0]);
    let journal = open(directory.path()).unwrap();
    let error = journal.range(Index(50), 1).await.unwrap_err();
    assert_eq!(error.code(), "SGJF007");
    assert!(matches!(error, JournalError::Unavailable(_)));
    assert_eq!(
        journal.range(Index(40), 10).await.unwrap().len(),
        10,
        "what stands before it reads"
    );
    assert_eq!(
        journal.range(Index(128), 100).await.unwrap().len(),
        100,
        "so do other segments"
    );
}

#[tokio::test]
async fn leftovers_are_cleared_and_foreign_files_left_alone() {
    let _quiet = crate::FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 3).await;
    let path = directory.path();
    fs::write(path.join("0000000007.preparing"), "half").unwrap();
    fs::write(segment(path, 9), vec![0; 1_000]).unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    // Prepared, but a crash kept its length from the disk.
    fs::write(segment(path, 2), "").unwrap();
    assert_eq!(reopened(path).await, 3);
    assert!(!path.join("0000000007.preparing").exists());
    assert!(!segment(path, 9).exists());
    assert_eq!(fs::read(path.join("notes.txt")).unwrap(), b"mine");
    fill(path, 200).await;
    assert_eq!(reopened(path).await, 200);
}
