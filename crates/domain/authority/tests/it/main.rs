//! The authority over real keys, a real record, and journals that break.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod algorithms;
mod corpus;
mod jwt;
mod mint;
mod recording;
mod requests;
mod tls;
mod wit;
mod x509;

use core::time::Duration;
use signet_authority::{
    Authority, Context, IssueError, JwtRequest, NoneReserved, Profile, WitRequest, X509Request, X509Svid,
};
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::{Action, Decision, Principal, Request, Resource};
use signet_id::SpiffeId;
use signet_keys::{Keys, KeysConfig, MemorySeal, X509Algorithm};
use signet_record::{IssueRecord, Record, Recorder};
use signet_store::faulty::FaultyJournal;
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_store::{Index, Journal, Origin, Seq};
use signet_testkit::START;
use signet_time::UnixTime;
use signet_trust::TrustView;
use signet_x509::{Csr, make_csr};
use std::sync::Arc;

const ISSUER: &str = "https://localhost:8443/workload";
const HOUR: Duration = Duration::from_secs(3_600);

struct World {
    keys: Arc<Keys>,
    authority: Authority,
    journal: FaultyJournal,
}

impl World {
    /// A trust domain whose intermediates live 7 days.
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// As [`World::new`], with other settings.
    async fn with(change: impl FnOnce(&mut KeysConfig)) -> Self {
        let memory = Arc::new(MemoryJournal::new());
        let journal = FaultyJournal::new(memory);
        let recorder = Recorder::new(Arc::new(journal.clone()));
        let mut config = KeysConfig {
            x509: X509Algorithm::Ed25519,
            ..KeysConfig::new("dev.test".parse().unwrap())
        };
        change(&mut config);
        let (log, seal) = (
            Arc::new(MemoryLog::new()),
            Arc::new(MemorySeal::random().unwrap()),
        );
        let keys = Arc::new(Keys::open(log, seal, recorder.clone(), config).await.unwrap());
        keys.ensure(START).await.unwrap();
        let authority = Authority::new(keys.clone(), recorder, ISSUER, Arc::new(NoneReserved));
        Self {
            keys,
            authority,
            journal,
        }
    }

    fn view(&self) -> TrustView {
        TrustView::new("dev.test".parse().unwrap()).with_bundle(self.keys.bundle().unwrap())
    }

    async fn issue(&self, request: X509Request, now: UnixTime) -> Result<X509Svid, IssueError> {
        let decision = allowed(Action::ISSUE_X509_SVID, &request.id);
        self.authority
            .issue_x509(request, Profile::Workload, &decision, now)
            .await
    }

    async fn records(&self) -> Vec<IssueRecord> {
        let records = self.journal.range(Index::FIRST, 1_000).await.unwrap();
        let decode = |bytes: &[u8]| match Record::decode(bytes).unwrap() {
            Record::Issue(record) => record,
            other => panic!("{other:?}"),
        };
        records.iter().map(|(_, bytes)| decode(bytes)).collect()
    }
}

fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://dev.test{path}")).unwrap()
}

fn node() -> Principal {
    Principal::Spiffe(id("/signet/node/join/1"))
}

fn allowed(action: Action, id: &SpiffeId) -> Decision {
    Decision::allow(Request::new(node(), action, Resource::identity(id)), "test", "so")
}

fn csr_of(key: &LocalKey, id: Option<&SpiffeId>, dns: &[&str]) -> Csr {
    let dns: Vec<_> = dns.iter().map(|name| (*name).to_owned()).collect();
    Csr::parse(&make_csr(key, id, &dns).unwrap()).unwrap()
}

fn csr() -> Csr {
    csr_of(&LocalKey::generate(KeyKind::P256).unwrap(), None, &[])
}

fn x509(path: &str) -> X509Request {
    X509Request {
        id: id(path),
        dns_names: Vec::new(),
        ttl: HOUR,
        csr: csr(),
        context: Context::default(),
    }
}

fn jwt(path: &str) -> JwtRequest {
    JwtRequest {
        id: id(path),
        audiences: vec!["aud".to_owned()],
        allowed_audiences: Vec::new(),
        ttl: Duration::from_secs(300),
        context: Context {
            entry_id: Some([7; 16]),
            state_seq: Seq(42),
            request_id: "req-1".to_owned(),
            reason: String::new(),
        },
    }
}

fn wit(path: &str, key: &LocalKey) -> WitRequest {
    WitRequest {
        id: id(path),
        ttl: HOUR,
        csr: csr_of(key, None, &[]),
        context: Context {
            entry_id: Some([7; 16]),
            state_seq: Seq(42),
            request_id: "req-1".to_owned(),
            reason: String::new(),
        },
    }
}

fn origin(when: UnixTime) -> Origin {
    Origin::new("test", "test", when)
}
