//! Credentials for identities that an operator names.

use crate::{World, entry, problem, value};
use http::StatusCode;
use serde_json::{Value, json};
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::Role;
use signet_id::{SpiffeId, TrustDomain};
use signet_record::{CredentialKind, IssueRecord, Record};
use signet_store::faulty::{Fault, Op};
use signet_store::{Index, Journal as _};
use signet_x509::{Certificate, make_csr, pem};

const X509: &str = "/api/v1/mint/x509";
const JWT: &str = "/api/v1/mint/jwt";
const WIT: &str = "/api/v1/mint/wit";

fn csr(key: &LocalKey) -> String {
    pem::encode_csr(&make_csr(key, None, &[]).unwrap())
}

fn key() -> LocalKey {
    LocalKey::generate(KeyKind::P256).unwrap()
}

fn x509_wish(path: &str) -> Value {
    json!({"spiffe_id": format!("spiffe://dev.test{path}"), "csr": csr(&key()), "reason": "smoke test"})
}

fn wit_wish(path: &str) -> Value {
    x509_wish(path)
}

fn jwt_wish(path: &str) -> Value {
    json!({"spiffe_id": format!("spiffe://dev.test{path}"), "audience": ["billing"], "reason": "smoke test"})
}

impl World {
    /// The records of workloads' credentials.
    async fn minted(&self) -> Vec<IssueRecord> {
        let records = self.journal.range(Index::FIRST, 1_000).await.unwrap();
        let decoded = records
            .iter()
            .map(|(_, bytes)| match Record::decode(bytes).unwrap() {
                Record::Issue(record) => record,
                other => panic!("{other:?}"),
            });
        decoded
            .filter(|record| record.kind() != CredentialKind::Authority)
            .collect()
    }
}

#[tokio::test]
async fn a_minted_certificate_is_for_the_key_of_the_request_and_recorded_with_who_and_why() {
    for role in [Role::Administrator, Role::Minter] {
        let world = World::with([role]).await;
        let key = key();
        let mut wish = x509_wish("/ci");
        wish["csr"] = json!(csr(&key));
        wish["dns_names"] = json!(["ci.internal"]);
        wish["ttl"] = json!("10m");
        let reply = world.post(X509, &wish).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let minted = value(&reply);
        let chain = pem::parse_certs(minted["x509_svid"].as_str().unwrap().as_bytes()).unwrap();
        let leaf = Certificate::parse(&chain[0]).unwrap();
        assert_eq!(
            leaf.serial_hex().trim_start_matches('0'),
            minted["serial"].as_str().unwrap().trim_start_matches('0')
        );
        assert_eq!(
            leaf.not_after().to_string(),
            minted["not_after"].as_str().unwrap()
        );
        let bundle = world.keys.bundle().unwrap();
        let roots = pem::parse_certs(minted["bundle"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(roots.len(), bundle.x509().len());
        let records = world.minted().await;
        let [record] = records.as_slice() else {
            panic!("{records:?}");
        };
        assert_eq!(record.kind(), CredentialKind::X509Svid);
        assert_eq!(record.subject, "spiffe://dev.test/ci");
        assert_eq!(record.reason, "smoke test");
        assert!(
            record.requested_by.starts_with("local:uid:"),
            "{}",
            record.requested_by
        );
        assert_eq!(record.public_key_sha256[..], key.public_key().fingerprint()[..]);
        assert_eq!(record.not_after_ms - record.issued_at_ms, 600_000);
    }
}

#[tokio::test]
async fn a_minted_token_names_its_audiences_and_is_recorded() {
    let world = World::new().await;
    let reply = world.post(JWT, &jwt_wish("/ci")).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let minted = value(&reply);
    assert_eq!(minted["svid"].as_str().unwrap().split('.').count(), 3);
    let records = world.minted().await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        (records[0].kind(), records[0].reason.as_str()),
        (CredentialKind::JwtSvid, "smoke test")
    );
    assert_eq!(signet_crypto::digest::hex(&records[0].identifier), minted["jti"]);
    assert_eq!(records[0].audience_sha256.len(), 1);
    assert_eq!(records[0].not_after_ms - records[0].not_before_ms, 300_000);
}

#[tokio::test]
async fn spiffe_68_69_70_71_74_a_minted_wit_svid_has_the_form_of_all_others_and_is_recorded() {
    for role in [Role::Administrator, Role::Minter] {
        let world = World::with([role]).await;
        let key = key();
        let mut wish = wit_wish("/ci");
        wish["csr"] = json!(csr(&key));
        wish["ttl"] = json!("10m");
        let reply = world.post(WIT, &wish).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let minted = value(&reply);
        assert_eq!(minted["spiffe_id"], "spiffe://dev.test/ci");
        let part = |n: usize| -> Value {
            let part = minted["svid"].as_str().unwrap().split('.').nth(n).unwrap();
            serde_json::from_slice(&signet_jose::base64url::decode(part).unwrap()).unwrap()
        };
        let names = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        let (header, claims) = (part(0), part(1));
        assert_eq!(names(&header), ["alg", "kid", "typ"]);
        assert_eq!(header["typ"], "wit+jwt");
        assert_eq!(names(&claims), ["cnf", "exp", "iat", "jti", "sub"]);
        assert_eq!(names(&claims["cnf"]), ["jwk"]);
        assert_eq!(claims["cnf"]["jwk"].get("d"), None, "no private member");
        assert_eq!(claims["sub"], "spiffe://dev.test/ci");
        assert_eq!(claims["cnf"]["jwk"]["crv"], "P-256");
        assert_eq!(claims["jti"], minted["jti"]);
        let records = world.minted().await;
        let [record] = records.as_slice() else {
            panic!("{records:?}");
        };
        assert_eq!(
            (record.kind(), record.reason.as_str()),
            (CredentialKind::WitSvid, "smoke test")
        );
        assert!(record.requested_by.starts_with("local:uid:"));
        assert_eq!(record.public_key_sha256[..], key.public_key().fingerprint()[..]);
        assert_eq!(record.not_after_ms - record.not_before_ms, 600_000);
    }
}

#[tokio::test]
async fn what_may_not_be_minted_is_refused_and_leaves_no_record() {
    let world = World::new().await;
    let token = json!({"spiffe_id": "spiffe://dev.test/node/1"});
    assert_eq!(
        world.post("/api/v1/join-tokens", &token).await.status,
        StatusCode::CREATED
    );
    let with = |mut wish: Value, member: &str, to: Value| {
        wish[member] = to;
        wish
    };
    for (path, status, code) in [
        ("/signet/server/one", 422, "SGAU004"),
        ("/signet/node/join/1", 422, "SGAU004"),
        ("", 422, "SGAU003"),
        // A node's, once its join token is used.
        ("/node/1", 409, "SGRG005"),
    ] {
        problem(&world.post(X509, &x509_wish(path)).await, status, code);
        problem(&world.post(JWT, &jwt_wish(path)).await, status, code);
        problem(&world.post(WIT, &wit_wish(path)).await, status, code);
    }
    let issuer = world.keys.active(signet_keys::Purpose::X509Svid).unwrap();
    assert!(issuer.certificate().is_some());
    for (wish, status, code) in [
        (
            with(x509_wish("/a"), "spiffe_id", json!("spiffe://other.test/a")),
            422,
            "SGAU002",
        ),
        (with(x509_wish("/a"), "reason", json!(" ")), 422, "SGAU019"),
        (with(x509_wish("/a"), "reason", json!("a\nb")), 422, "SGAU019"),
        (with(x509_wish("/a"), "ttl", json!("7h")), 422, "SGAU008"),
        (with(x509_wish("/a"), "ttl", json!("1s")), 422, "SGAU008"),
        (with(x509_wish("/a"), "csr", json!("nonsense")), 422, "SGXC015"),
        (with(x509_wish("/a"), "dns_names", json!(["*.a"])), 422, "SGAD011"),
        (with(x509_wish("/a"), "selectors", json!([])), 400, "SGAD010"),
        (
            json!({"spiffe_id": "spiffe://dev.test/a", "csr": csr(&key())}),
            400,
            "SGAD010",
        ),
    ] {
        problem(&world.post(X509, &wish).await, status, code);
    }
    for (wish, status, code) in [
        (with(jwt_wish("/a"), "audience", json!([])), 422, "SGAU010"),
        (with(jwt_wish("/a"), "audience", json!([""])), 422, "SGAU011"),
        (with(jwt_wish("/a"), "reason", json!("")), 422, "SGAU019"),
        (with(jwt_wish("/a"), "ttl", json!("25h")), 422, "SGAU008"),
        (
            json!({"spiffe_id": "spiffe://dev.test/a", "reason": "x"}),
            400,
            "SGAD010",
        ),
    ] {
        problem(&world.post(JWT, &wish).await, status, code);
    }
    let ed25519 = csr(&LocalKey::generate(KeyKind::Ed25519).unwrap());
    let of_another = SpiffeId::parse("spiffe://dev.test/b").unwrap();
    let of_another = pem::encode_csr(&make_csr(&key(), Some(&of_another), &[]).unwrap());
    for (wish, status, code) in [
        (with(wit_wish("/a"), "reason", json!("")), 422, "SGAU019"),
        (with(wit_wish("/a"), "ttl", json!("7h")), 422, "SGAU008"),
        (with(wit_wish("/a"), "csr", json!("nonsense")), 422, "SGXC015"),
        (with(wit_wish("/a"), "csr", json!(ed25519)), 422, "SGAU018"),
        (with(wit_wish("/a"), "csr", json!(of_another)), 422, "SGAU005"),
        (with(wit_wish("/a"), "audience", json!(["a"])), 400, "SGAD010"),
        (
            json!({"spiffe_id": "spiffe://dev.test/a", "csr": csr(&key())}),
            400,
            "SGAD010",
        ),
    ] {
        problem(&world.post(WIT, &wish).await, status, code);
    }
    problem(&world.post(JWT, &json!(null)).await, 400, "SGAD010");
    assert!(world.minted().await.is_empty());
    // An entry's identity may be minted: that is what tests need.
    world.create(&entry("/a")).await;
    assert_eq!(world.post(JWT, &jwt_wish("/a")).await.status, StatusCode::CREATED);
    assert_eq!(
        world.registry.trust_domain(),
        &TrustDomain::parse("dev.test").unwrap()
    );
}

#[tokio::test]
async fn nothing_is_minted_that_cannot_be_recorded() {
    for fault in Fault::ALL {
        let world = World::new().await;
        for (path, wish) in [
            (X509, x509_wish("/a")),
            (JWT, jwt_wish("/a")),
            (WIT, wit_wish("/a")),
        ] {
            world.journal.plan(Op::Append, 1, fault);
            let reply = world.post(path, &wish).await;
            let refused = problem(&reply, 503, "SGRC003");
            assert!(
                refused.detail.contains("nothing was issued"),
                "{}",
                refused.detail
            );
            assert!(!String::from_utf8_lossy(&reply.body).contains("BEGIN"));
        }
    }
}

#[tokio::test]
async fn a_reader_mints_nothing() {
    let world = World::with([Role::Auditor]).await;
    for (path, wish) in [
        (X509, x509_wish("/a")),
        (JWT, jwt_wish("/a")),
        (WIT, wit_wish("/a")),
    ] {
        problem(&world.post(path, &wish).await, 403, "SGAD003");
    }
    assert!(world.minted().await.is_empty());
}
