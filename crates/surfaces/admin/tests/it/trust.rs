use crate::{World, entry, text_of};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet_crypto::digest;
use signet_id::TrustDomain;
use signet_testkit::START;
use signet_trust::Bundle;
use signet_x509::pem;

#[tokio::test]
async fn the_keys_are_shown_with_purpose_and_state() {
    let world = World::new().await;
    let ca = world.shown("/api/v1/ca").await;
    assert_eq!(ca["trust_domain"], "dev.test");
    let keys = ca["keys"].as_array().unwrap();
    let shown: Vec<_> = keys
        .iter()
        .map(|key| (key["purpose"].as_str().unwrap(), key["state"].as_str().unwrap()))
        .collect();
    for expected in [
        ("x509-root", "active"),
        ("x509-root", "prepared"),
        ("x509-svid", "active"),
        ("jwt-svid", "active"),
        ("jwt-svid", "prepared"),
        ("wit-svid", "active"),
        ("wit-svid", "prepared"),
    ] {
        assert!(shown.contains(&expected), "{expected:?} {shown:?}");
    }
    assert_eq!(keys.len(), 7);
    for key in keys {
        let is_x509 = key["purpose"].as_str().unwrap().starts_with("x509-");
        assert_eq!(key["not_after"].is_string(), is_x509, "{key}");
        assert_eq!(key["certificate_sha256"].is_string(), is_x509, "{key}");
        assert_eq!(key["key_kind"], if is_x509 { "ed25519" } else { "p256" });
        assert_eq!((&key["tainted"], key["kid"].is_string()), (&json!(false), true));
    }
}

#[tokio::test]
async fn the_bundle_is_shown_in_every_form() {
    let world = World::new().await;
    let all = world.shown("/api/v1/bundle").await;
    let own = TrustDomain::parse("dev.test").unwrap();
    let spiffe = world.get("/api/v1/bundle?format=spiffe").await;
    let bundle = Bundle::parse_spiffe(own, &spiffe.body).unwrap();
    assert_eq!((bundle.x509().len(), bundle.jwt().len()), (2, 2));
    assert_eq!(
        serde_json::from_slice::<Value>(&spiffe.body).unwrap(),
        all["spiffe"]
    );
    assert_eq!(all["sequence"], bundle.sequence());
    let jwks = world.get("/api/v1/bundle?format=jwks").await;
    assert_eq!(text_of(&jwks, "content-type"), "application/jwk-set+json");
    assert_eq!(serde_json::from_slice::<Value>(&jwks.body).unwrap(), all["jwks"]);
    assert_eq!(all["jwks"]["keys"].as_array().unwrap().len(), 2);
    let roots = world.get("/api/v1/bundle?format=pem").await;
    assert_eq!(all["x509_pem"], String::from_utf8_lossy(&roots.body).as_ref());
    let roots = pem::parse_certs(&roots.body).unwrap();
    let hashes: Vec<_> = roots.iter().map(|der| digest::sha256(der)).collect();
    let expected: Vec<_> = bundle
        .x509()
        .iter()
        .map(|a| digest::sha256(&a.certificate))
        .collect();
    assert_eq!(hashes, expected);
    // The seq of these answers is the one that the keys have seen.
    let seq: u64 = text_of(&spiffe, "x-signet-seq").parse().unwrap();
    assert_eq!(seq, world.keys.followed().seq().0);
    assert!(seq >= bundle.sequence());
}

#[tokio::test]
async fn the_server_says_what_it_is_and_how() {
    let world = World::new().await;
    let server = world.shown("/api/v1/server").await;
    assert_eq!(
        server,
        json!({
            "trust_domain": "dev.test", "version": env!("CARGO_PKG_VERSION"),
            "jwt_issuer": "https://localhost:8443/workload", "agents": ["127.0.0.1:8445"],
            "time": START.to_string(),
        })
    );
    let health = world.shown("/api/v1/health").await;
    assert_eq!(
        (&health["status"], &health["reasons"]),
        (&json!("failing"), &json!(["journal: full"]))
    );
    assert_eq!(health["seq"], world.registry.followed().seq().0);
    let head = world.send(Method::HEAD, "/api/v1/health", &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn requests_are_counted_by_what_they_do_and_how_they_end() {
    let world = World::new().await;
    world.create(&entry("/a")).await;
    world.post("/api/v1/entries", &entry("/a")).await;
    world.get("/api/v1/ca").await;
    world.get("/api/v1/nowhere").await;
    let text = world.metrics.text();
    for (class, outcome) in [
        ("change", "ok"),
        ("change", "conflict"),
        ("read", "ok"),
        ("unrouted", "invalid"),
    ] {
        let line = format!("signet_admin_request_total{{class=\"{class}\",outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(
        text.contains("signet_admin_request_seconds_count{class=\"change\"} 2"),
        "{text}"
    );
}
