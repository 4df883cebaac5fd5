//! A backup: the log and the state at one cursor, as one file that says whose it is and proves that it is whole.
//!
//! The form is `signet backup 2` and a line feed, the header, the changes, the rows, the proof, and SHA-256 of all
//! before. Numbers are big-endian; texts and bytes have their length (32 bits) before them. Bodies are as they lie in
//! the log: private keys are sealed, and the seal's key is not in it. The proof is what the seal made of SHA-256 of all
//! before it, so that whoever has the seal knows that the backup is of a server that had it. `signet backup 1` had none and is
//! read no more: it could have been changed by whoever could write the file.

use crate::{
    BODY_BYTES_MAX, Change, Cursor, KEY_BYTES_MAX, Kind, LogEntry, Origin, Row, Seq, Snapshot, WHO_BYTES_MAX,
    WHY_BYTES_MAX, chain,
};
use bytes::Bytes;
use signet_crypto::digest::{self, Sha256};
use signet_fault::{Coded, remedy_of};
use signet_time::UnixTime;
use std::borrow::Cow;
use std::collections::HashMap;

/// The log and the state, both at one cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The place before the oldest change that is kept, and the chain hash there.
    pub floor: (Seq, [u8; 32]),
    /// Every change that is kept, dense and in order.
    pub changes: Vec<LogEntry>,
    /// Every key at the cursor.
    pub snapshot: Snapshot,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Whose state it is.
    pub trust_domain: String,
    /// The version of the software that wrote it.
    pub version: String,
    /// What seals the keys in it, as the settings name it; the key itself is not in the backup.
    pub seal: String,
    /// When it was taken.
    pub taken: UnixTime,
    /// The place after the last record of issuance at that time. The records themselves are not in the backup.
    pub record_next: u64,
    /// The state.
    pub image: Image,
    /// What proves where it is from.
    pub proof: Proof,
}

/// What proves where a backup is from, to whoever has the seal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// SHA-256 of all that stands before it.
    pub of: [u8; 32],
    /// What the seal made of that.
    pub sealed: Vec<u8>,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// See [`Backup::trust_domain`].
    pub trust_domain: String,
    /// See [`Backup::version`].
    pub version: String,
    /// See [`Backup::seal`].
    pub seal: String,
    /// See [`Backup::taken`].
    pub taken: UnixTime,
    /// See [`Backup::record_next`].
    pub record_next: u64,
}

/// How an image begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHead {
    /// The place that it is of.
    pub cursor: Cursor,
    /// See [`Image::floor`].
    pub floor: (Seq, [u8; 32]),
    /// How many changes there are.
    pub changes: u64,
    /// How many rows there are.
    pub rows: u64,
}

/// A part of an image, while others are still being read: the head first, then all changes, then all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImagePart {
    /// How it begins.
    Head(ImageHead),
    /// Some changes, in their order.
    Changes(Vec<LogEntry>),
    /// Some rows.
    Rows(Vec<Row>),
}

/// Writes a backup part by part, so that nobody has to hold it whole.
pub struct Encoder {
    sum: Sha256,
}

/// Why bytes are no backup that can be used.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("it is no backup of a Signet server")]
    NotBackup,
    /// Of a later version.
    #[error("it is a backup of format {found}, this version reads format {FORMAT}")]
    Format {
        /// The format's number, as it stands there.
        found: String,
    },
    /// Cut off or changed since it was written.
    #[error("it is cut off or was changed since it was written: its checksum does not fit")]
    Damaged,
    /// The checksum fits, and what it holds does not fit together.
    #[error("what it holds does not fit together: {why}")]
    Inconsistent {
        /// What does not.
        why: String,
    },
}

impl Coded for BackupError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotBackup => "SGST009",
            Self::Format { .. } => "SGST010",
            Self::Damaged => "SGST011",
            Self::Inconsistent { .. } => "SGST012",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(crate::REGISTER, self.code())
    }
}

/// The number of the format.
pub const FORMAT: u32 = 2;

/// The media type of a backup.
pub const MEDIA_TYPE: &str = "application/vnd.signet.backup";

const MAGIC: &[u8] = b"signet backup ";
const SUM_BYTES: usize = 32;
/// Longest text of the header.
const TEXT_BYTES_MAX: usize = 4_096;
/// Many times what a seal adds to nothing.
const PROOF_BYTES_MAX: usize = 1_024;

impl Backup {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let image = &self.image;
        let head = ImageHead {
            cursor: image.snapshot.cursor,
            floor: image.floor,
            changes: count(image.changes.len()),
            rows: count(image.snapshot.rows.len()),
        };
        let about = About {
            trust_domain: self.trust_domain.clone(),
            version: self.version.clone(),
            seal: self.seal.clone(),
            taken: self.taken,
            record_next: self.record_next,
        };
        let (mut encoder, mut bytes) = Encoder::begin(&about, &head);
        bytes.extend(encoder.changes(&image.changes));
        bytes.extend(encoder.rows(&image.snapshot.rows));
        bytes.extend(encoder.end(&self.proof.sealed));
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, and checks the checksum, the chain of the changes and that the rows
    /// are where the changes lead. The proof is for whoever has the seal to check.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::NotBackup)?;
        let end = rest.iter().take(12).position(|b| *b == b'\n');
        let number = end.and_then(|end| rest.get(..end)).ok_or(BackupError::Damaged)?;
        if number != FORMAT.to_string().as_bytes() {
            let found = signet_fault::shown(&String::from_utf8_lossy(number), 12);
            return Err(BackupError::Format { found });
        }
        let (body, sum) = bytes
            .split_last_chunk::<SUM_BYTES>()
            .ok_or(BackupError::Damaged)?;
        if digest::sha256(body) != *sum {
            return Err(BackupError::Damaged);
        }
        let start = MAGIC.len() + number.len() + 1;
        let mut reader = Reader(body.get(start..).unwrap_or_default());
        let malformed = || inconsistent("a part is malformed");
        let mut backup = reader.backup().ok_or_else(malformed)?;
        let before = body.len() - reader.0.len();
        backup.proof = Proof {
            of: digest::sha256(body.get(..before).unwrap_or_default()),
            sealed: reader.bytes(PROOF_BYTES_MAX).ok_or_else(malformed)?.to_vec(),
        };
        if !reader.0.is_empty() {
            return Err(inconsistent("something follows its last part"));
        }
        backup.image.check()?;
        Ok(backup)
    }
}

impl Encoder {
    /// The first bytes. What follows are `head.changes` changes and `head.rows` rows, in parts of whatever size.
    #[must_use]
    pub fn begin(about: &About, head: &ImageHead) -> (Self, Vec<u8>) {
        let mut out = Writer(format!("signet backup {FORMAT}\n").into_bytes());
        out.bytes(about.trust_domain.as_bytes());
        out.bytes(about.version.as_bytes());
        out.bytes(about.seal.as_bytes());
        out.u64(about.taken.as_millis());
        out.u64(about.record_next);
        out.raw(&head.cursor.epoch);
        out.u64(head.floor.0.0);
        out.raw(&head.floor.1);
        out.u64(head.cursor.seq.0);
        out.raw(&head.cursor.chain);
        out.u64(head.changes);
        out.u64(head.rows);
        let mut encoder = Self { sum: Sha256::new() };
        let bytes = encoder.summed(out);
        (encoder, bytes)
    }

    /// The bytes of some changes, which follow those before.
    #[must_use]
    pub fn changes(&mut self, changes: &[LogEntry]) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        changes.iter().for_each(|entry| out.entry(entry));
        self.summed(out)
    }

    /// The bytes of some rows.
    #[must_use]
    pub fn rows(&mut self, rows: &[Row]) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        rows.iter().for_each(|row| out.row(row));
        self.summed(out)
    }

    /// What there is to prove once all rows are in: SHA-256 of all bytes so far.
    #[must_use]
    pub fn to_prove(&self) -> [u8; 32] {
        self.sum.clone().finish()
    }

    /// The last bytes, with what the seal made of [`to_prove`](Self::to_prove). Without them it is no backup.
    #[must_use]
    pub fn end(mut self, sealed: &[u8]) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        out.bytes(sealed);
        let mut bytes = self.summed(out);
        bytes.extend(self.sum.finish());
        bytes
    }

    fn summed(&mut self, out: Writer) -> Vec<u8> {
        self.sum.update(&out.0);
        out.0
    }
}

fn inconsistent(why: impl Into<String>) -> BackupError {
    BackupError::Inconsistent { why: why.into() }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Image {
    /// Checks that the changes follow one another up to the cursor, and that the rows are where they lead.
    fn check(&self) -> Result<(), BackupError> {
        let cursor = self.snapshot.cursor;
        let mut at = self.floor;
        for entry in &self.changes {
            if entry.seq != at.0.next() || !chain::follows(&at.1, entry) {
                let seq = entry.seq;
                return Err(inconsistent(format!(
                    "change {seq} does not follow the one before"
                )));
            }
            at = (entry.seq, entry.chain);
        }
        if at != (cursor.seq, cursor.chain) {
            return Err(inconsistent("its changes do not lead to its cursor"));
        }
        let mut last = HashMap::new();
        for entry in &self.changes {
            last.insert((entry.change.kind, &entry.change.key), entry);
        }
        let mut rows = HashMap::new();
        for row in &self.snapshot.rows {
            if rows.insert((row.kind, &row.key), row).is_some() {
                return Err(inconsistent("a key stands twice"));
            }
            let fits = match last.get(&(row.kind, &row.key)) {
                Some(entry) => entry.seq == row.seq && entry.change == row.to_change(),
                None => row.seq <= self.floor.0 && row.seq > Seq::ZERO,
            };
            if !fits {
                let seq = row.seq;
                return Err(inconsistent(format!(
                    "the row of change {seq} is not what the changes lead to"
                )));
            }
        }
        let lost = last
            .iter()
            .find(|(key, entry)| entry.change.body.is_some() && !rows.contains_key(*key));
        match lost {
            Some((_, entry)) => Err(inconsistent(format!(
                "the row of change {} is missing",
                entry.seq
            ))),
            None => Ok(()),
        }
    }

    /// The rows as they stand in a new log whose numbers begin after `base`: dense, in the order in which they were
    /// written.
    #[must_use]
    pub fn renumbered(&self, base: Seq) -> Vec<Row> {
        let mut rows = self.snapshot.rows.clone();
        rows.sort_unstable_by(|a, b| (a.seq, a.kind, &a.key).cmp(&(b.seq, b.kind, &b.key)));
        let mut seq = base;
        for row in &mut rows {
            seq = seq.next();
            row.seq = seq;
        }
        rows
    }
}

/// How many numbers a log gets for each millisecond of the clock when it is restored.
const PER_MILLISECOND_BITS: u32 = 11;

/// Numbers above this are not safe in JSON (RFC 8259 §6).
const SEQ_MAX: u64 = (1 << 53) - 1;

/// The number after which a restored log begins: larger than any that the domain can have used before `now`, and larger
/// than each of `known`.
///
/// A log begins at 0 or where an earlier restore began it, and grows by one for each change. 2,048 numbers for each
/// millisecond since 1970 are more than it can have used up by then, as long as it was not changed more than two million
/// times a second without a pause and the clock was not ahead at an earlier restore. `None` past the year 2100.
#[must_use]
pub fn restored_base(now: UnixTime, known: &[Seq]) -> Option<Seq> {
    let beyond = |seq: &Seq| (seq.0 >> PER_MILLISECOND_BITS).saturating_add(1);
    let slot = known.iter().map(beyond).max().unwrap_or(0).max(now.as_millis());
    let base = slot.checked_mul(1 << PER_MILLISECOND_BITS)?;
    // The upper half of the last stretch is left to the changes that follow.
    (base <= SEQ_MAX - (SEQ_MAX >> 8)).then_some(Seq(base))
}

struct Writer(Vec<u8>);

impl Writer {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u64(&mut self, number: u64) {
        self.raw(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // Each part has a bound far below 2^32.
        self.raw(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.raw(bytes);
    }

    fn change(&mut self, kind: Kind, schema: u16, must: bool, key: &[u8], body: Option<&[u8]>) {
        self.raw(&kind.0.to_be_bytes());
        self.raw(&schema.to_be_bytes());
        self.raw(&[u8::from(must), u8::from(body.is_some())]);
        self.bytes(key);
        self.bytes(body.unwrap_or_default());
    }

    fn entry(&mut self, entry: &LogEntry) {
        let change = &entry.change;
        self.u64(entry.seq.0);
        let body = change.body.as_deref();
        self.change(
            change.kind,
            change.schema,
            change.must_understand,
            &change.key,
            body,
        );
        self.raw(&entry.rest.to_be_bytes());
        self.bytes(entry.origin.who.as_bytes());
        self.bytes(entry.origin.why.as_bytes());
        self.u64(entry.origin.when.as_millis());
        self.raw(&entry.chain);
    }

    fn row(&mut self, row: &Row) {
        self.u64(row.seq.0);
        self.change(
            row.kind,
            row.schema,
            row.must_understand,
            &row.key,
            Some(&row.body),
        );
    }
}

/// Reads within what is left; `None` where that is too little or not what it must be.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn bytes(&mut self, max: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).ok()?;
        if length > max {
            return None;
        }
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn text(&mut self, max: usize) -> Option<String> {
        String::from_utf8(self.bytes(max)?.to_vec()).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn change(&mut self) -> Option<Change> {
        let (kind, schema, must_understand) = (Kind(self.u16()?), self.u16()?, self.flag()?);
        let has_body = self.flag()?;
        let key = self.bytes(KEY_BYTES_MAX)?;
        let body = self.bytes(BODY_BYTES_MAX)?;
        if key.is_empty() || !(has_body || body.is_empty()) {
            return None;
        }
        Some(Change {
            kind,
            schema,
            must_understand,
            key: Bytes::copy_from_slice(key),
            body: has_body.then(|| Bytes::copy_from_slice(body)),
        })
    }

    fn entry(&mut self) -> Option<LogEntry> {
        Some(LogEntry {
            seq: Seq(self.u64()?),
            change: self.change()?,
            rest: u32::from_be_bytes(self.array()?),
            origin: Origin {
                who: self.text(WHO_BYTES_MAX)?,
                why: self.text(WHY_BYTES_MAX)?,
                when: UnixTime::from_millis(self.u64()?),
            },
            chain: self.array()?,
        })
    }

    fn row(&mut self) -> Option<Row> {
        let (seq, change) = (Seq(self.u64()?), self.change()?);
        Some(Row {
            kind: change.kind,
            schema: change.schema,
            must_understand: change.must_understand,
            key: change.key,
            seq,
            body: change.body?,
        })
    }

    fn backup(&mut self) -> Option<Backup> {
        let (trust_domain, version) = (self.text(TEXT_BYTES_MAX)?, self.text(TEXT_BYTES_MAX)?);
        let seal = self.text(TEXT_BYTES_MAX)?;
        let (taken, record_next) = (UnixTime::from_millis(self.u64()?), self.u64()?);
        let epoch = self.array()?;
        let floor = (Seq(self.u64()?), self.array()?);
        let (seq, chain) = (Seq(self.u64()?), self.array()?);
        let cursor = Cursor { epoch, seq, chain };
        let (changes, rows) = (self.u64()?, self.u64()?);
        // Gathered one by one: a count that lies ends where the bytes do, and reserves nothing.
        let changes = (0..changes).map(|_| self.entry()).collect::<Option<_>>()?;
        let rows = (0..rows).map(|_| self.row()).collect::<Option<_>>()?;
        Some(Backup {
            trust_domain,
            version,
            seal,
            taken,
            record_next,
            image: Image {
                floor,
                changes,
                snapshot: Snapshot { cursor, rows },
            },
            proof: Proof::default(),
        })
    }
}

#[cfg(test)]
mod tests;
