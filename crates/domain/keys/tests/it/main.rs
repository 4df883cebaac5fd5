//! The keys over the memory log: their lives, crashes, races and seals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod algorithms;
mod crashes;
mod emergencies;
mod lives;
mod model;
mod seals;
mod wit;

use core::time::Duration;
use signet_id::TrustDomain;
use signet_keys::{Keys, KeysConfig, KeysError, MemorySeal, Purpose, Seal, X509Algorithm};
use signet_record::{IssueRecord, Record, Recorder};
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_store::{ChangeLog, Index, Journal, Origin};
use signet_testkit::START;
use signet_time::UnixTime;
use std::sync::Arc;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn own() -> TrustDomain {
    TrustDomain::parse("dev.test").unwrap()
}

/// The usual settings, with the kind of key that is fastest to make.
fn config() -> KeysConfig {
    KeysConfig {
        x509: X509Algorithm::Ed25519,
        ..KeysConfig::new(own())
    }
}

fn origin(when: UnixTime) -> Origin {
    Origin::new("local:uid:0", "test", when)
}

/// A trust domain that outlives the servers that are started over it.
struct World {
    log: MemoryLog,
    seal: Arc<dyn Seal>,
    journal: MemoryJournal,
}

impl World {
    fn new() -> Self {
        Self {
            log: MemoryLog::new(),
            seal: Arc::new(MemorySeal::random().unwrap()),
            journal: MemoryJournal::new(),
        }
    }

    async fn open_with(&self, log: Arc<dyn ChangeLog>, config: KeysConfig) -> Result<Keys, KeysError> {
        let recorder = Recorder::new(Arc::new(self.journal.clone()));
        Keys::open(log, self.seal.clone(), recorder, config).await
    }

    async fn open(&self) -> Keys {
        self.open_with(Arc::new(self.log.clone()), config())
            .await
            .unwrap()
    }

    async fn started(&self) -> Keys {
        let keys = self.open().await;
        keys.ensure(START).await.unwrap();
        keys
    }

    async fn recorded(&self) -> Vec<IssueRecord> {
        let records = self.journal.range(Index::FIRST, 1_000).await.unwrap();
        records
            .iter()
            .map(|(_, bytes)| match Record::decode(bytes).unwrap() {
                Record::Issue(record) => record,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

/// The names and states of all keys of a purpose, oldest first.
fn states(keys: &Keys, purpose: Purpose) -> Vec<(String, &'static str)> {
    keys.read(|ring| {
        ring.keys()
            .iter()
            .filter(|key| key.purpose() == purpose)
            .map(|key| (key.kid().to_owned(), key.state().as_str()))
            .collect()
    })
}

fn only_states(keys: &Keys, purpose: Purpose) -> Vec<&'static str> {
    states(keys, purpose)
        .into_iter()
        .map(|(_, state)| state)
        .collect()
}

fn active(keys: &Keys, purpose: Purpose) -> String {
    keys.active(purpose).unwrap().kid().to_owned()
}

/// The names of the JWT keys in the bundle.
fn jwt_kids(keys: &Keys) -> Vec<String> {
    let bundle = keys.bundle().unwrap();
    bundle.jwt().iter().map(|key| key.kid.clone()).collect()
}

/// The names of the WIT keys in the bundle.
fn wit_kids(keys: &Keys) -> Vec<String> {
    let bundle = keys.bundle().unwrap();
    bundle.wit().iter().map(|key| key.kid.clone()).collect()
}

/// The names of all keys for tokens in the bundle.
fn token_kids(keys: &Keys) -> Vec<String> {
    [jwt_kids(keys), wit_kids(keys)].concat()
}

/// The certificates of the roots in the bundle.
fn roots(keys: &Keys) -> Vec<Vec<u8>> {
    keys.bundle()
        .unwrap()
        .x509()
        .iter()
        .map(|root| root.certificate.to_vec())
        .collect()
}
