use crate::{World, config};
use signet_crypto::{CryptoError, Secret};
use signet_fault::Coded;
use signet_keys::{
    FileSeal, Keys, KeysError, MemorySeal, Purpose, REGISTER, Seal, SealChoice, SealFileFault, parse_seal,
};
use signet_record::Recorder;
use signet_store::{Batch, Change, ChangeLog};
use signet_testkit::START;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

#[test]
fn the_register_is_sound() {
    assert_eq!(signet_fault::flaws(&[REGISTER]), []);
}

#[test]
fn a_seal_is_chosen_by_name_and_those_to_come_are_refused_by_name() {
    assert_eq!(parse_seal("file=/a/b").unwrap(), SealChoice::File("/a/b".into()));
    assert_eq!(parse_seal("file=a=b").unwrap(), SealChoice::File("a=b".into()));
    for name in ["systemd", "tpm", "passphrase"] {
        let error = parse_seal(name).unwrap_err();
        assert_eq!(
            (error.code(), error.to_string()),
            ("SGKY001", format!("the seal `{name}` does not exist yet"))
        );
    }
    for text in ["", "file", "file=", "File=/a", "vault=x", "/a/b"] {
        assert!(
            matches!(parse_seal(text), Err(KeysError::SealName { .. })),
            "{text}"
        );
    }
}

fn fault(path: &Path) -> SealFileFault {
    match FileSeal::open(path).map(drop) {
        Err(KeysError::SealFile { path: named, what }) => {
            assert_eq!(named, path);
            what
        }
        other => panic!("{other:?}"),
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_file_is_made_once_and_opens_what_it_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seal.key");
    let made = FileSeal::create(&path).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len()), (0o600, 32));
    let sealed = made.seal(b"aad", b"plain").unwrap();
    assert!(
        FileSeal::open(&path)
            .unwrap()
            .open(b"aad", &sealed)
            .unwrap()
            .ct_eq(b"plain")
    );
    let before = std::fs::read(&path).unwrap();
    let again = FileSeal::create(&path).map(drop);
    assert!(
        matches!(
            again,
            Err(KeysError::SealFile {
                what: SealFileFault::Io(_),
                ..
            })
        ),
        "{again:?}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_key_file_that_cannot_be_trusted_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seal.key");
    assert!(matches!(fault(&path), SealFileFault::Io(_)));
    FileSeal::create(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o644, 0o777] {
        set_mode(&path, mode);
        assert!(
            matches!(fault(&path), SealFileFault::Mode { mode: found } if found == mode),
            "{mode:o}"
        );
    }
    set_mode(&path, 0o400);
    FileSeal::open(&path).unwrap();
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(fault(&link), SealFileFault::Io(_)));
    assert!(matches!(fault(dir.path()), SealFileFault::NotFile));
    for bytes in [0_usize, 31, 33] {
        let path = dir.path().join(format!("{bytes}"));
        std::fs::write(&path, vec![7; bytes]).unwrap();
        set_mode(&path, 0o600);
        assert!(matches!(fault(&path), SealFileFault::Length { bytes: found } if found == bytes as u64));
    }
}

#[test]
fn a_key_file_of_another_user_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seal.key");
    FileSeal::create(&path).unwrap();
    // Root can give a file away; anybody else has files of root to look at.
    let foreign = match chown(&path, Some(12_345), None) {
        Ok(()) => path,
        Err(_) => "/etc/passwd".into(),
    };
    assert!(matches!(fault(&foreign), SealFileFault::Owner { .. }));
}

#[tokio::test]
async fn another_key_is_recognised_and_not_taken_for_damage() {
    let world = World::new();
    world.started().await;
    let other: Arc<dyn Seal> = Arc::new(MemorySeal::random().unwrap());
    let recorder = Recorder::new(Arc::new(world.journal.clone()));
    let opened = Keys::open(Arc::new(world.log.clone()), other, recorder, config()).await;
    let error = opened.map(drop).unwrap_err();
    assert_eq!(error.code(), "SGKY004", "{error}");
}

/// A key moved to another purpose, another name or another trust domain does not open.
#[tokio::test]
async fn a_sealed_key_is_bound_to_purpose_name_and_trust_domain() {
    let world = World::new();
    let keys = world.started().await;
    let kid = |n: usize| keys.published(Purpose::JwtSvid)[n].kid().to_owned();
    let (one, two) = (kid(0), kid(1));
    let rows = world.log.load().await.unwrap().rows;
    let row = |kid: &str| {
        rows.iter()
            .find(|row| row.kind == signet_keys::SEALED_KEY && row.key == kid)
            .unwrap()
            .clone()
    };
    // The blob of one under the name and public key of the other.
    let (blob_one, blob_two) = (row(&one).body, row(&two).body);
    let spki = |body: &[u8]| {
        let at = body.windows(2).position(|w| w == [0x30, 0x59]).unwrap();
        at..at + 91
    };
    let mut crossed = blob_one.to_vec();
    crossed[spki(&blob_one)].copy_from_slice(&blob_two[spki(&blob_two)]);
    for (name, body) in [(&two, crossed), (&two, blob_one.to_vec())] {
        let log = signet_store::memory::MemoryLog::new();
        let mut batch = Batch::new(crate::origin(START));
        let mut ordered: Vec<_> = rows.clone();
        ordered.sort_by_key(|row| row.seq);
        batch
            .changes
            .extend(ordered.iter().map(signet_store::Row::to_change));
        log.commit(batch).await.unwrap();
        let swapped = Change::put(signet_keys::SEALED_KEY, 1, name.clone().into_bytes(), body);
        log.commit(Batch::new(crate::origin(START)).with(swapped))
            .await
            .unwrap();
        let opened = world.open_with(Arc::new(log), config()).await;
        assert!(matches!(opened.map(drop), Err(KeysError::Follow(_))));
    }
    let mut elsewhere = config();
    elsewhere.trust_domain = "other.test".parse().unwrap();
    let opened = world.open_with(Arc::new(world.log.clone()), elsewhere).await;
    assert!(matches!(opened.map(drop), Err(KeysError::WrongSeal { .. })));
}

/// A copy of the log in which `change` came last.
pub(crate) async fn log_with(world: &World, changes: Vec<Change>) -> Arc<dyn ChangeLog> {
    let log = signet_store::memory::MemoryLog::new();
    let mut rows = world.log.load().await.unwrap().rows;
    rows.sort_by_key(|row| row.seq);
    let mut batch = Batch::new(crate::origin(START));
    batch
        .changes
        .extend(rows.iter().map(signet_store::Row::to_change));
    log.commit(batch).await.unwrap();
    let mut batch = Batch::new(crate::origin(START));
    batch.changes = changes;
    log.commit(batch).await.unwrap();
    Arc::new(log)
}

/// A length-delimited field of a protobuf message.
pub(crate) fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend_from_slice(bytes);
    out
}

/// Whoever can write to the log but not open the seal must not give a root another certificate: its name, its life
/// and its key are what verifiers trust.
#[tokio::test]
async fn a_sealed_key_is_bound_to_its_certificate() {
    let world = World::new();
    let keys = world.started().await;
    let root = keys.active(Purpose::X509Root).unwrap();
    let forged = signet_testkit::forge::Authority::root("dev.test");
    let rows = world.log.load().await.unwrap().rows;
    let row = rows
        .iter()
        .find(|row| row.kind == signet_keys::SEALED_KEY && row.key == root.kid())
        .unwrap();
    // The last of two values of one field counts.
    let body = [&row.body[..], &field(5, &forged.certificate)].concat();
    let swapped = Change::put(signet_keys::SEALED_KEY, 1, root.kid().to_owned(), body);
    let opened = world
        .open_with(log_with(&world, vec![swapped]).await, config())
        .await;
    assert!(matches!(opened.map(drop), Err(KeysError::Follow(_))));
}

#[tokio::test]
async fn a_key_that_nobody_sealed_is_not_published() {
    let world = World::new();
    let published = world.started().await.bundle().unwrap().x509().len();
    let forged = signet_testkit::forge::Authority::root("dev.test");
    let certificate = signet_x509::Certificate::parse(&forged.certificate).unwrap();
    let kid = signet_crypto::digest::hex(&certificate.public_key().unwrap().fingerprint()[..16]);
    let purpose_root = [1 << 3, 1];
    let body = [
        &purpose_root[..],
        &field(2, certificate.spki_der()),
        &field(5, &forged.certificate),
    ]
    .concat();
    for state in [1, 2, 3] {
        let changes = vec![
            Change::put(signet_keys::SEALED_KEY, 1, kid.clone(), body.clone()),
            Change::put(signet_keys::KEY_STATE, 1, kid.clone(), vec![1 << 3, state]),
        ];
        let keys = world
            .open_with(log_with(&world, changes).await, config())
            .await
            .unwrap();
        let bundle = keys.bundle().unwrap();
        assert_eq!(bundle.x509().len(), published, "state {state}");
        assert!(bundle.x509().iter().all(|a| a.certificate != forged.certificate));
    }
}

/// A seal that remembers what it was given.
struct Spy {
    inner: MemorySeal,
    seen: Mutex<Vec<Vec<u8>>>,
}

impl Seal for Spy {
    fn name(&self) -> &'static str {
        "spy"
    }

    fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.seen.lock().unwrap().push(plain.to_vec());
        self.inner.seal(aad, plain)
    }

    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, CryptoError> {
        self.inner.open(aad, sealed)
    }
}

#[tokio::test]
async fn no_private_key_lies_in_the_log_in_clear() {
    let spy = Arc::new(Spy {
        inner: MemorySeal::random().unwrap(),
        seen: Mutex::default(),
    });
    let world = World {
        seal: spy.clone(),
        ..World::new()
    };
    world.started().await;
    let rows = world.log.load().await.unwrap().rows;
    let sealed: Vec<_> = spy.seen.lock().unwrap().clone();
    assert_eq!(sealed.len(), 8, "seven keys and the check");
    for plain in sealed.iter().filter(|plain| plain.len() > 40) {
        // The secret number stands in the first half, the public key in the second; 16 bytes of it are enough.
        let secret = &plain[plain.len() / 2 - 20..plain.len() / 2 - 4];
        for row in &rows {
            assert!(!row.body.windows(secret.len()).any(|window| window == secret));
        }
    }
}
