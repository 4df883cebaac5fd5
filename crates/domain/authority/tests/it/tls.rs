//! The certificate of the server's own public port.

use crate::{HOUR, World, csr, csr_of, id, origin};
use core::time::Duration;
use signet_authority::{Context, IssueError, TlsServerRequest};
use signet_check::x509::{X509SvidError, verify_svid};
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::{Action, Decision, Principal, Request};
use signet_fault::Coded as _;
use signet_keys::Purpose;
use signet_record::CredentialKind;
use signet_testkit::START;
use signet_x509::Certificate;

fn request() -> TlsServerRequest {
    TlsServerRequest {
        dns_names: vec!["localhost".to_owned(), "host.test".to_owned()],
        ip_addresses: vec![[127, 0, 0, 1].into()],
        ttl: HOUR,
        csr: csr(),
        context: Context::default(),
    }
}

#[tokio::test]
async fn a_server_certificate_has_names_and_never_an_identity() {
    let world = World::new().await;
    let decision = request().own_decision();
    let issued = world
        .authority
        .issue_tls_server(request(), &decision, START)
        .await
        .unwrap();
    let leaf = Certificate::parse(&issued.chain[0]).unwrap();
    assert_eq!(leaf.dns_names(), ["localhost", "host.test"]);
    assert_eq!(leaf.ip_addresses().len(), 1);
    assert_eq!(issued.chain.len(), 2, "leaf and intermediate, no root");
    assert_eq!(issued.not_after, START + HOUR);
    let refused = verify_svid(&issued.chain, &world.view(), START).unwrap_err();
    assert!(matches!(refused, X509SvidError::NoUriName), "{refused}");

    let records = world.records().await;
    let record = records.last().unwrap();
    assert_eq!(record.kind(), CredentialKind::TlsServer);
    assert_eq!(record.subject, "tls-server:localhost,host.test,127.0.0.1");
    assert_eq!(
        record.credential_sha256,
        signet_crypto::digest::sha256(&issued.chain[0])[..]
    );
}

#[tokio::test]
async fn nobody_but_the_server_gets_one_and_for_no_other_names() {
    let world = World::new().await;
    let refused = |request: TlsServerRequest, decision: Decision| {
        let authority = &world.authority;
        async move {
            authority
                .issue_tls_server(request, &decision, START)
                .await
                .unwrap_err()
        }
    };
    let before = world.records().await.len();
    let by_node = Request::new(
        Principal::Spiffe(id("/signet/node/join/1")),
        Action::ISSUE_TLS_SERVER,
        request().resource(),
    );
    let error = refused(request(), Decision::allow(by_node, "p", "yes")).await;
    assert!(matches!(error, IssueError::NotOurselves), "{error}");
    let more = TlsServerRequest {
        dns_names: vec!["localhost".to_owned(), "other.test".to_owned()],
        ..request()
    };
    let error = refused(more, request().own_decision()).await;
    assert!(matches!(error, IssueError::Denied(_)), "{error}");
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    for csr in [
        csr_of(&key, Some(&id("/a")), &[]),
        csr_of(&key, None, &["localhost"]),
    ] {
        let named = TlsServerRequest { csr, ..request() };
        let decision = named.own_decision();
        assert_eq!(refused(named, decision).await.code(), "SGAU006");
    }
    let mut ours = request();
    ours.csr.public_key = world.keys.active(Purpose::X509Svid).unwrap().public_key().clone();
    let decision = ours.own_decision();
    assert!(matches!(refused(ours, decision).await, IssueError::CsrIssuerKey));
    let long = TlsServerRequest {
        ttl: HOUR * 6 + Duration::from_secs(1),
        ..request()
    };
    let decision = long.own_decision();
    assert!(matches!(
        refused(long, decision).await,
        IssueError::Lifetime { .. }
    ));
    assert_eq!(
        world.records().await.len(),
        before,
        "what was refused is not recorded"
    );
}

#[tokio::test]
async fn a_tainted_issuer_signs_none() {
    let world = World::new().await;
    let kid = world.keys.active(Purpose::X509Svid).unwrap().kid().to_owned();
    let slot = world.authority.recorder().reserve().unwrap();
    let decision = request().own_decision();
    let admitted = world
        .authority
        .admit_tls_server(request(), &decision, slot, START)
        .unwrap();
    world.keys.taint(&kid, origin(START)).await.unwrap();
    let error = world.authority.sign(admitted).await.unwrap_err();
    assert!(matches!(error, IssueError::Tainted { .. }), "{error}");
}
