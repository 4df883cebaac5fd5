//! The registry over the memory log, whole and broken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod apply;
mod entries;
mod faults;
mod joining;
mod model;
mod recalled;
mod serving;
mod templates;
mod uses;

use signet_crypto::{KeyKind, LocalKey, PublicKey};
use signet_id::{SpiffeId, TrustDomain};
use signet_registry::{NewEntry, Registry, RegistryError};
use signet_store::{ChangeLog, Origin, memory::MemoryLog};
use signet_testkit::START;
use std::sync::Arc;

fn own() -> TrustDomain {
    TrustDomain::parse("dev.test").unwrap()
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://dev.test{path}")).unwrap()
}

fn origin() -> Origin {
    Origin::new("local:uid:0", "test", START)
}

async fn open(log: impl ChangeLog + 'static) -> Registry {
    Registry::open(Arc::new(log), own()).await.unwrap()
}

async fn empty() -> (MemoryLog, Registry) {
    let log = MemoryLog::new();
    (log.clone(), open(log).await)
}

fn draft(path: &str, selector: &str) -> NewEntry {
    NewEntry {
        spiffe_id: format!("spiffe://dev.test{path}"),
        selectors: vec![selector.to_owned()],
        ..NewEntry::default()
    }
}

fn key() -> PublicKey {
    LocalKey::generate(KeyKind::Ed25519).unwrap().public_key().clone()
}

/// The fields that `error` complains about, of the first bad entry.
fn fields(error: &RegistryError) -> Vec<&str> {
    match error {
        RegistryError::InvalidEntries(bad) => bad[0].problems.iter().map(|p| p.field.as_str()).collect(),
        other => panic!("{other}"),
    }
}
