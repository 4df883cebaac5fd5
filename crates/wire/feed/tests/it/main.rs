//! A producer's messages through the wire's encoding into a replica, whole and broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod news;
mod recorded;

use core::time::Duration;
use proptest::prelude::*;
use prost::Message as _;
use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
use signet_feed::{
    Capabilities, Capability, Event, FeedCursor, FeedEntry, FeedError, NodeState, PeerHello, Producer,
    Replica, hello,
};
use signet_id::{IdPattern, Selector, TrustDomain};
use signet_jose::{Jwk, JwkParams, JwsAlgorithm};
use signet_proto::agent::v1::{self, sync_response::Message};
use signet_time::UnixTime;
use signet_trust::{Bundle, JwtAuthority, WitAuthority, X509Authority};
use signet_x509::{CaCert, CaKind, Der, Serial};
use std::sync::Arc;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn root(trust_domain: &TrustDomain) -> Der {
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let algorithm = KeyKind::P256.default_algorithm();
    let tbs = CaCert {
        trust_domain: trust_domain.clone(),
        common_name: "root".into(),
        public_key: key.public_key().clone(),
        serial: Serial::new([1; 16]).unwrap(),
        not_before: NOW,
        not_after: NOW + Duration::from_secs(3_600),
        path_len: None,
        kind: CaKind::Root,
    }
    .tbs_self(algorithm)
    .unwrap();
    let signature = key.sign(algorithm, SignatureEncoding::Asn1, tbs.bytes()).unwrap();
    tbs.assemble(&signature).unwrap()
}

fn bundle(name: &str) -> Arc<Bundle> {
    let trust_domain = domain(name);
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let params = JwkParams {
        kid: Some("k1".into()),
        alg: Some(JwsAlgorithm::Es256),
        use_: Some("jwt-svid".into()),
    };
    let jwt = JwtAuthority {
        kid: "k1".into(),
        jwk: Jwk::from_public_key(key.public_key(), params).unwrap(),
        tainted: true,
    };
    let x509 = X509Authority {
        certificate: root(&trust_domain),
        tainted: false,
    };
    let params = JwkParams {
        kid: Some("k2".into()),
        alg: Some(JwsAlgorithm::Es256),
        use_: Some("wit-svid".into()),
    };
    let wit = WitAuthority {
        kid: "k2".into(),
        jwk: Jwk::from_public_key(key.public_key(), params).unwrap(),
        tainted: true,
    };
    let hint = Some(Duration::from_secs(300));
    let bundle = Bundle::new(trust_domain, 7, hint, vec![x509], vec![jwt]).unwrap();
    Arc::new(bundle.with_wit(vec![wit]).unwrap())
}

fn entry(number: u8) -> FeedEntry {
    FeedEntry {
        id: [number; 16],
        spiffe_id: IdPattern::parse(&format!("spiffe://dev.test/w/{number}")).unwrap(),
        selectors: vec![Selector::parse("unix:uid:1000").unwrap()],
        x509_ttl: Duration::from_secs(3_600),
        jwt_ttl: Duration::from_secs(300),
        dns_names: vec!["w.dev.test".into()],
        hint: "internal".into(),
        federates_with: vec![domain("other.test")],
        jwt_audiences: vec!["a".into()],
        expires_at: Some(NOW),
        created_at: NOW,
        seq: 9,
        expansion: None,
    }
}

fn cursor(seq: u64) -> FeedCursor {
    FeedCursor {
        epoch: [5; 16],
        seq,
        chain: [6; 32],
    }
}

fn producer() -> Producer {
    Producer::new(domain("dev.test"), "signet test", "https://localhost/workload")
}

fn snapshot() -> v1::SyncResponse {
    producer().snapshot(
        cursor(9),
        &[bundle("dev.test"), bundle("other.test")],
        [entry(1), entry(2)],
        capabilities(),
    )
}

/// What this software names.
fn capabilities() -> Capabilities {
    PeerHello::read(&hello("test", NOW)).unwrap().capabilities
}

/// A replica that has heard the hello.
fn greeted() -> Replica {
    let mut replica = Replica::new(domain("dev.test"));
    let Event::Hello(peer) = replica.read(&producer().hello(NOW), NOW).unwrap() else {
        panic!("not a hello");
    };
    assert!(peer.capabilities.has(Capability::GoingAway));
    replica
}

fn read(response: &v1::SyncResponse) -> Result<Arc<NodeState>, FeedError> {
    let over_the_wire = v1::SyncResponse::decode(response.encode_to_vec().as_slice()).unwrap();
    match greeted().read(&over_the_wire, NOW)? {
        Event::State(state) => Ok(state),
        other => panic!("{other:?}"),
    }
}

/// The error that a snapshot gives after `change` had its way with it.
fn broken(change: impl FnOnce(&mut v1::Snapshot)) -> FeedError {
    let mut response = snapshot();
    let Some(Message::Snapshot(inner)) = &mut response.message else {
        panic!("not a snapshot");
    };
    change(inner);
    read(&response).unwrap_err()
}

#[test]
fn a_snapshot_arrives_as_it_was_sent() {
    let state = read(&snapshot()).unwrap();
    assert_eq!(state.cursor, cursor(9));
    assert_eq!(state.jwt_issuer, "https://localhost/workload");
    assert_eq!(
        state.entries.iter().map(|e| (**e).clone()).collect::<Vec<_>>(),
        [entry(1), entry(2)]
    );
    assert_eq!(state.trust.bundles().len(), 2);
    let own = state.trust.own_bundle().unwrap();
    assert_eq!(
        (own.sequence(), own.refresh_hint()),
        (7, Some(Duration::from_secs(300)))
    );
    assert_eq!((own.x509().len(), own.jwt().len(), own.wit().len()), (1, 1, 1));
    assert!(own.wit()[0].tainted && own.wit()[0].kid == "k2");
    assert!(own.jwt()[0].tainted && !own.x509()[0].tainted);
    assert_eq!(state.trust.received_at(), NOW);
}

/// A side is sent nothing that it has not named.
#[test]
fn keys_for_wit_svids_go_to_those_who_know_of_them() {
    let mut said = hello("old", NOW);
    said.capabilities.retain(|name| name != "wit-svid");
    let theirs = PeerHello::read(&said).unwrap().capabilities;
    assert!(theirs.has(Capability::GoingAway) && !theirs.has(Capability::WitSvid));
    let sent = producer().snapshot(cursor(9), &[bundle("dev.test")], [], theirs);
    let state = read(&sent).unwrap();
    let own = state.trust.own_bundle().unwrap();
    assert_eq!((own.x509().len(), own.jwt().len(), own.wit().len()), (1, 1, 0));
}

#[test]
fn the_hello_comes_first_and_once() {
    let mut replica = Replica::new(domain("dev.test"));
    assert!(matches!(
        replica.read(&snapshot(), NOW),
        Err(FeedError::Order { .. })
    ));
    let mut replica = greeted();
    let again = replica.read(&producer().hello(NOW), NOW);
    assert!(matches!(again, Err(FeedError::Order { .. })));
    let nothing = v1::SyncResponse { message: None };
    assert!(matches!(
        replica.read(&nothing, NOW),
        Err(FeedError::Malformed { .. })
    ));
}

#[test]
fn a_server_of_another_protocol_is_refused() {
    let mut hello = producer().hello(NOW);
    let Some(Message::Hello(inner)) = &mut hello.message else {
        panic!("not a hello");
    };
    inner.protocol = 2;
    let error = Replica::new(domain("dev.test")).read(&hello, NOW).unwrap_err();
    assert!(
        matches!(
            error,
            FeedError::Protocol {
                theirs: 2,
                newest: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn snapshots_do_not_go_back_within_a_log() {
    let mut replica = greeted();
    let at = |seq| producer().snapshot(cursor(seq), &[bundle("dev.test")], [], capabilities());
    replica.read(&at(9), NOW).unwrap();
    assert!(matches!(replica.read(&at(8), NOW), Err(FeedError::Order { .. })));
    replica.read(&at(9), NOW).unwrap();
    let restored = FeedCursor {
        epoch: [0; 16],
        ..cursor(1)
    };
    let other_log = producer().snapshot(restored, &[bundle("dev.test")], [], capabilities());
    assert!(
        replica.read(&other_log, NOW).is_ok(),
        "a restore begins a new log"
    );
}

#[test]
fn a_pause_has_an_end() {
    let away = producer().going_away("maintenance\n", Duration::from_secs(1 << 40));
    let Event::GoingAway { reason, retry_after } = greeted().read(&away, NOW).unwrap() else {
        panic!("not a farewell");
    };
    assert_eq!(
        (reason.as_str(), retry_after),
        ("maintenance", Duration::from_secs(300))
    );
}

#[test]
fn spiffe_44_no_foreign_bundle_takes_the_place_of_the_own() {
    assert!(matches!(
        broken(|s| s.bundles[0].own = false),
        FeedError::OwnBundle { .. }
    ));
    assert!(matches!(
        broken(|s| s.bundles[1].own = true),
        FeedError::OwnBundle { .. }
    ));
    assert!(matches!(
        broken(|s| drop(s.bundles.remove(0))),
        FeedError::OwnBundle { .. }
    ));
    let twice = broken(|s| s.bundles.push(s.bundles[1].clone()));
    assert!(matches!(twice, FeedError::Twice { .. }), "{twice}");
}

#[test]
fn what_is_malformed_is_refused_and_named() {
    type Change = fn(&mut v1::Snapshot);
    let changes: [(&str, Change); 18] = [
        ("cursor", |s| s.cursor = None),
        ("cursor", |s| s.cursor.as_mut().unwrap().epoch.truncate(15)),
        ("trust domain", |s| s.bundles[1].trust_domain = "Other".into()),
        ("certificate", |s| s.bundles[0].x509[0].certificate.truncate(20)),
        ("bytes of a certificate", |s| {
            s.bundles[0].x509[0].certificate = vec![0; 20_000].into()
        }),
        ("key of", |s| s.bundles[0].jwt[0].jwk = "{}".into()),
        ("kid", |s| s.bundles[0].jwt[0].kid = "other".into()),
        ("key of", |s| s.bundles[0].wit[0].jwk = "{}".into()),
        ("kid", |s| s.bundles[0].wit[0].kid = "other".into()),
        // No name is that of two keys (spiffe-78).
        ("put the bundle together", |s| {
            let jwt = s.bundles[0].jwt[0].clone();
            s.bundles[0].wit[0].kid = jwt.kid;
            s.bundles[0].wit[0].jwk = jwt.jwk;
        }),
        ("id", |s| s.entries[0].id.truncate(3)),
        ("identity", |s| s.entries[0].spiffe_id = "x".into()),
        ("selectors", |s| s.entries[0].selectors.clear()),
        ("selector", |s| s.entries[0].selectors[0] = "unix".into()),
        ("selectors", |s| {
            s.entries[0].selectors = vec!["unix:uid:1".into(); 33]
        }),
        ("life", |s| s.entries[0].x509_ttl_s = 0),
        ("text", |s| s.entries[0].hint = "h".repeat(1_025)),
        ("stands twice", |s| s.entries[1].id = s.entries[0].id.clone()),
    ];
    for (part, change) in changes {
        let error = broken(change).to_string();
        assert!(error.contains(part), "expected `{part}`: {error}");
    }
}

#[test]
fn no_entry_gives_what_no_workload_may_have() {
    for id in [
        "spiffe://dev.test",
        "spiffe://dev.test/signet/server/a",
        "spiffe://other.test/w",
    ] {
        let error = broken(|s| s.entries[0].spiffe_id = id.into());
        assert!(matches!(error, FeedError::EntryIdentity { .. }), "{id}: {error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        if let Ok(response) = v1::SyncResponse::decode(bytes.as_slice()) {
            let _ = greeted().read(&response, NOW);
        }
    }
}
