use super::*;
use crate::memory::MemoryLog;
use crate::{Batch, ChangeLog as _};

const KIND: Kind = Kind(65_280);

async fn image() -> Image {
    let log = MemoryLog::new();
    for key in ["a", "b", "c", "a"] {
        let origin = Origin::new("who", "why", UnixTime::from_millis(7));
        let put = Change::put(KIND, 1, key, format!("body of {key}"));
        log.commit(Batch::new(origin).with(put)).await.unwrap();
    }
    let gone = Batch::new(Origin::new("who", "gone", UnixTime::from_millis(8)));
    let gone = gone.with(Change::delete(KIND, 1, "c"));
    log.commit(gone).await.unwrap();
    log.prune(Seq(3)).await.unwrap();
    log.image().await.unwrap()
}

/// With a proof, as whoever reads it finds it.
async fn backup() -> Backup {
    let sealed = b"of the seal".to_vec();
    let mut backup = Backup {
        trust_domain: "dev.test".into(),
        version: "1".into(),
        seal: "file=/k".into(),
        taken: UnixTime::from_millis(9),
        record_next: 5,
        image: image().await,
        proof: Proof { of: [0; 32], sealed },
    };
    let bytes = backup.encode();
    let before = bytes.len() - SUM_BYTES - backup.proof.sealed.len() - 4;
    backup.proof.of = digest::sha256(&bytes[..before]);
    backup
}

/// `bytes` with the checksum that fits.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - SUM_BYTES);
    let sum = digest::sha256(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

#[tokio::test]
async fn a_backup_reads_back_and_no_byte_of_it_can_change_or_lack() {
    let backup = backup().await;
    assert_eq!(backup.image.floor.0, Seq(2));
    assert_eq!(backup.image.changes.len(), 3);
    let bytes = backup.encode();
    assert_eq!(Backup::decode(&bytes).as_ref(), Ok(&backup));
    for n in 0..bytes.len() {
        assert!(Backup::decode(&bytes[..n]).is_err(), "cut at {n}");
        let mut altered = bytes.clone();
        altered[n] ^= 1;
        assert!(Backup::decode(&altered).is_err(), "changed at {n}");
        // With a checksum that fits, whatever it says it is read within its bounds, and is not what was proven.
        let read = Backup::decode(&summed(altered));
        let same = read.is_ok_and(|read| read.proof == backup.proof);
        assert_eq!(same, n >= bytes.len() - SUM_BYTES, "{n}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(Backup::decode(&longer), Err(BackupError::Damaged));
}

#[tokio::test]
async fn a_backup_written_in_parts_proves_what_is_read_of_it() {
    let whole = backup().await;
    let about = About {
        trust_domain: whole.trust_domain.clone(),
        version: whole.version.clone(),
        seal: whole.seal.clone(),
        taken: whole.taken,
        record_next: whole.record_next,
    };
    let head = ImageHead {
        cursor: whole.image.snapshot.cursor,
        floor: whole.image.floor,
        changes: 3,
        rows: count(whole.image.snapshot.rows.len()),
    };
    let (mut encoder, mut bytes) = Encoder::begin(&about, &head);
    bytes.extend(encoder.changes(&whole.image.changes));
    bytes.extend(encoder.rows(&whole.image.snapshot.rows));
    let to_prove = encoder.to_prove();
    bytes.extend(encoder.end(b"of the seal"));
    assert_eq!(bytes, whole.encode());
    assert_eq!(Backup::decode(&bytes).unwrap().proof.of, to_prove);
}

#[tokio::test]
async fn a_proof_of_many_bytes_is_refused() {
    let mut backup = backup().await;
    backup.proof.sealed = vec![0; PROOF_BYTES_MAX + 1];
    assert_eq!(Backup::decode(&backup.encode()).unwrap_err().code(), "SGST012");
}

#[tokio::test]
async fn other_files_and_other_formats_say_so() {
    assert_eq!(Backup::decode(b""), Err(BackupError::NotBackup));
    assert_eq!(Backup::decode(b"SQLite format 3\0"), Err(BackupError::NotBackup));
    let bytes = backup().await.encode();
    for number in ["1", "3"] {
        let other = [
            b"signet backup ",
            number.as_bytes(),
            b"\n",
            &bytes[MAGIC.len() + 2..],
        ]
        .concat();
        let found = number.to_owned();
        assert_eq!(Backup::decode(&other), Err(BackupError::Format { found }));
    }
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_whatever_its_checksum() {
    let sound = backup().await;
    let refused = |spoil: &dyn Fn(&mut Image)| {
        let mut spoilt = sound.clone();
        spoil(&mut spoilt.image);
        let error = Backup::decode(&spoilt.encode()).unwrap_err();
        assert_eq!(error.code(), "SGST012");
    };
    refused(&|image| image.changes[0].origin.who = "other".into());
    refused(&|image| drop(image.changes.pop()));
    refused(&|image| drop(image.changes.remove(1)));
    refused(&|image| image.snapshot.rows.clear());
    refused(&|image| image.snapshot.cursor.chain = [0; 32]);
    // A row whose change is kept; of an older one nothing is left to hold it against.
    refused(&|image| {
        let floor = image.floor.0;
        let mut rows = image.snapshot.rows.iter_mut();
        rows.find(|row| row.seq > floor).unwrap().body = "other".into();
    });
    refused(&|image| image.snapshot.rows.push(image.snapshot.rows[0].clone()));
    refused(&|image| {
        for row in &mut image.snapshot.rows {
            row.seq = Seq(9);
        }
    });
}

#[tokio::test]
async fn rows_keep_their_order_and_get_numbers_after_the_base() {
    let rows = image().await.renumbered(Seq(100));
    let found: Vec<_> = rows.iter().map(|row| (row.seq.0, &*row.key)).collect();
    assert_eq!(found, [(101, &b"b"[..]), (102, &b"a"[..])]);
}

#[test]
fn spiffe_79_a_restored_log_begins_after_all_that_was_used_before() {
    let now = UnixTime::from_millis(1_800_000_000_000);
    let base = restored_base(now, &[Seq(12)]).unwrap();
    // No log that began at 0 has come as far.
    assert!(base.0 > 1 << 51 && base.0 < 1 << 53);
    // A second restore of the same backup, a millisecond and two thousand changes later.
    let later = restored_base(UnixTime::from_millis(1_800_000_000_001), &[Seq(12)]).unwrap();
    assert!(later.0 > base.0 + 2_000);
    // Where it is known how far it came, the clock does not matter.
    let known = Seq(later.0 + 77);
    assert!(restored_base(UnixTime::from_millis(5), &[Seq(1), known]).unwrap() > known);
    assert_eq!(restored_base(UnixTime::from_millis(u64::MAX), &[]), None);
    assert!(
        restored_base(UnixTime::from_millis(4_102_444_800_000), &[]).is_some(),
        "the year 2100"
    );
}
