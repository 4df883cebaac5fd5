//! What workloads were given, and the journal in which all of it must stand.

use bytes::Bytes;
use signet_crypto::digest::{hex, sha256};
use signet_journal_file::{FileJournal, Options, SEGMENT_BYTES_MIN};
use signet_record::{CredentialKind, IssueRecord, Record};
use signet_store::{Index, Journal as _};
use signet_time::SharedClock;
use signet_trust::TrustView;
use signet_workload::{JwtSvid, X509Context};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;

/// The bytes behind a serial number or a `jti`.
pub(super) type Identifier = [u8; 16];

/// A credential as its holder and its record both know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credential {
    kind: CredentialKind,
    subject: String,
    sha256: [u8; 32],
}

/// All that workloads were given.
pub(super) struct Issued {
    /// The trust of the very beginning: no credential may ever need another one.
    view: TrustView,
    clock: SharedClock,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    all: HashMap<Identifier, Credential>,
    /// Those that were not looked for in the journal yet.
    unchecked: Vec<Identifier>,
}

impl Issued {
    pub(super) fn new(view: TrustView, clock: SharedClock) -> Self {
        Self {
            view,
            clock,
            given: Mutex::default(),
        }
    }

    /// A workload was given a token for `audience`.
    pub(super) fn token(&self, svid: &JwtSvid, audience: &str) {
        let now = self.clock.now();
        let valid = signet_check::jwt::validate_svid(&svid.token, audience, &self.view, now).unwrap();
        assert_eq!(valid.id, svid.id);
        let jti = valid.claims["jti"].as_str().unwrap();
        let credential = Credential {
            kind: CredentialKind::JwtSvid,
            subject: svid.id.to_string(),
            sha256: sha256(svid.token.as_bytes()),
        };
        self.note(unhex(jti), credential);
    }

    /// A workload was sent a message with certificates.
    pub(super) fn certificates(&self, context: &X509Context) {
        let now = self.clock.now();
        for svid in context.svids() {
            for view in [&self.view, context.view()] {
                let valid = signet_check::x509::verify_svid(&svid.chain, view, now).unwrap();
                assert_eq!(valid.id, svid.id);
            }
            let leaf = signet_x509::Certificate::parse(&svid.chain[0]).unwrap();
            let credential = Credential {
                kind: CredentialKind::X509Svid,
                subject: svid.id.to_string(),
                sha256: sha256(&svid.chain[0]),
            };
            self.note(unhex(&leaf.serial_hex()), credential);
        }
    }

    fn note(&self, identifier: Identifier, credential: Credential) {
        let mut given = self.given.lock().unwrap();
        match given.all.get(&identifier) {
            None => {
                given.unchecked.push(identifier);
                given.all.insert(identifier, credential);
            }
            // The same one, kept by the agent.
            Some(earlier) => assert_eq!(*earlier, credential, "two credentials with one number"),
        }
    }

    /// How many credentials workloads were given.
    pub(super) fn count(&self) -> usize {
        self.given.lock().unwrap().all.len()
    }

    /// Looks for those that were given since the last time. Returns how many that were.
    pub(super) fn check_new(&self, journal: &Recorded) -> Result<usize, String> {
        let mut given = self.given.lock().unwrap();
        let new = core::mem::take(&mut given.unchecked);
        for identifier in &new {
            journal.holds(identifier, &given.all[identifier])?;
        }
        Ok(new.len())
    }

    /// Looks for all that were ever given. Returns how many that were.
    pub(super) fn check_all(&self, journal: &Recorded) -> Result<usize, String> {
        let given = self.given.lock().unwrap();
        for (identifier, credential) in &given.all {
            journal.holds(identifier, credential)?;
        }
        Ok(given.all.len())
    }
}

/// What was read from the journal.
#[derive(Default)]
pub(super) struct Recorded {
    by_identifier: HashMap<Identifier, Credential>,
    /// The nodes that asked for workloads' credentials.
    pub(super) askers: BTreeSet<String>,
    last: Option<(Index, Bytes)>,
}

impl Recorded {
    /// Reads what was added to the journal in `directory` since the last time.
    ///
    /// A copy is opened and not the journal itself: that is for the server to mend, whatever the crash left there.
    pub(super) async fn read_on(&mut self, directory: &Path) -> Result<(), String> {
        let copy = copy_of(directory);
        let options = Options {
            segment_bytes: SEGMENT_BYTES_MIN,
            first_segment_bytes: SEGMENT_BYTES_MIN,
        };
        let told = |error: &dyn std::error::Error| format!("the journal: {}", signet_fault::chain(error));
        let journal = FileJournal::open_with(copy.path(), &options).map_err(|e| told(&e))?;
        let mut next = Index::FIRST;
        if let Some((index, record)) = &self.last {
            let there = journal.range(*index, 1).await.map_err(|e| told(&e))?;
            if there.first() != Some(&(*index, record.clone())) {
                return Err(format!(
                    "record {index}, which was there before, is not there now"
                ));
            }
            next = index.next();
        }
        loop {
            let page = journal.range(next, 1_000).await.map_err(|e| told(&e))?;
            let Some((last, record)) = page.last() else {
                return Ok(());
            };
            (next, self.last) = (last.next(), Some((*last, record.clone())));
            for (index, record) in &page {
                match Record::decode(record).map_err(|e| told(&e))? {
                    Record::Issue(record) => self.take(*index, &record)?,
                    other => return Err(format!("record {index} is {other:?}")),
                }
            }
        }
    }

    fn take(&mut self, index: Index, record: &IssueRecord) -> Result<(), String> {
        let short = |_| format!("record {index} has a field of another length");
        let identifier: Identifier = record.identifier[..].try_into().map_err(short)?;
        let credential = Credential {
            kind: record.kind(),
            subject: record.subject.clone(),
            sha256: record.credential_sha256[..].try_into().map_err(short)?,
        };
        if matches!(record.kind(), CredentialKind::JwtSvid | CredentialKind::X509Svid) {
            self.askers.insert(record.requested_by.clone());
        }
        match self.by_identifier.insert(identifier, credential) {
            None => Ok(()),
            Some(earlier) => Err(format!("record {index} has the number of another: {earlier:?}")),
        }
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        self.by_identifier.len()
    }

    /// Whether a node's certificate with this serial number was recorded.
    pub(super) fn holds_node(&self, serial_hex: &str, id: &str) -> bool {
        self.by_identifier
            .get(&unhex(serial_hex))
            .is_some_and(|found| found.kind == CredentialKind::Node && found.subject == id)
    }

    fn holds(&self, identifier: &Identifier, credential: &Credential) -> Result<(), String> {
        let given = || {
            let (kind, number) = (credential.kind.as_str_name(), hex(identifier));
            format!("{kind} {number} of {} was given out", credential.subject)
        };
        match self.by_identifier.get(identifier) {
            Some(found) if found == credential => Ok(()),
            Some(other) => Err(format!("{}, and recorded as {other:?}", given())),
            None => Err(format!("{}, and never recorded", given())),
        }
    }
}

/// A copy of the files in `directory`, in memory where the system has that. Segments are full of zeros, and those are
/// left out.
fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let (mut piece, zeros) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    for file in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let mut from = fs::File::open(file.path()).unwrap();
        let to = fs::File::create_new(copy.path().join(file.file_name())).unwrap();
        to.set_permissions(from.metadata().unwrap().permissions())
            .unwrap();
        to.set_len(from.metadata().unwrap().len()).unwrap();
        let mut at = 0;
        loop {
            let read = from.read(&mut piece).unwrap();
            if read == 0 {
                break;
            }
            if piece[..read] != zeros[..read] {
                to.write_all_at(&piece[..read], at).unwrap();
            }
            at += read as u64;
        }
    }
    copy
}

/// The bytes of a serial number or a `jti`; a number may have lost zeros at its front, or have one more.
fn unhex(text: &str) -> Identifier {
    u128::from_str_radix(text, 16).unwrap().to_be_bytes()
}
