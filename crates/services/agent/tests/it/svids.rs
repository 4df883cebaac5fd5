//! What the X.509 messages hold.

use crate::world::{Domain, World, entry, first, ids};
use signet_agent::SvidKey;
use signet_crypto::LocalKey;
use signet_proto::workload::{X509BundlesRequest, X509svidRequest};
use signet_testkit::START;
use signet_trust::TrustView;
use signet_x509::{Certificate, Der};

/// Cuts concatenated DER where each certificate ends.
pub(crate) fn split(mut der: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while !der.is_empty() {
        assert_eq!(der[0], 0x30, "a sequence");
        let length = match der[1] {
            short @ ..=0x7f => 2 + usize::from(short),
            0x81 => 3 + usize::from(der[2]),
            0x82 => 4 + usize::from(u16::from_be_bytes([der[2], der[3]])),
            other => panic!("length {other:#x}"),
        };
        let (part, rest) = der.split_at(length);
        parts.push(part);
        der = rest;
    }
    parts
}

#[tokio::test]
async fn spiffe_18_every_svid_is_whole_and_in_the_standards_form() {
    let mut named = entry(2, "/b");
    named.dns_names = vec!["b.internal".to_owned()];
    let mut federated = entry(1, "/a");
    federated.federates_with = vec![
        "b.test".parse().expect("domain"),
        "a.test".parse().expect("domain"),
    ];
    let mut world = World::with(vec![federated, named]).await;
    let foreign = Domain::new("b.test");
    world.federate(vec![foreign.bundle()]).await;
    let message = world.fetch_x509().await.expect("fetch");
    assert_eq!(ids(&message), ["spiffe://a.test/a", "spiffe://a.test/b"]);
    let trust = TrustView::new("a.test".parse().expect("domain")).with_bundle(world.server.domain.bundle());
    for svid in &message.svids {
        assert!(!svid.x509_svid.starts_with(b"-----"), "not PEM");
        let chain: Vec<Der> = split(&svid.x509_svid)
            .iter()
            .map(|c| Der::from(c.to_vec()))
            .collect();
        assert_eq!(chain.len(), 2, "leaf and intermediate, no root");
        let leaf = Certificate::parse(&chain[0]).expect("leaf first");
        assert!(!leaf.is_ca());
        let verified = signet_check::x509::verify_svid(&chain, &trust, START).expect("verifies");
        assert_eq!(verified.id.as_str(), svid.spiffe_id);
        let key = LocalKey::from_pkcs8(&svid.x509_svid_key).expect("PKCS#8 in DER, not encrypted");
        signet_check::x509::match_private_key(&verified.leaf, &key).expect("the key of this certificate");
        assert_eq!(
            svid.bundle,
            world.server.domain.root.certificate.to_vec(),
            "the roots, in DER"
        );
    }
    let dns = Certificate::parse(split(&message.svids[1].x509_svid)[0]).expect("leaf");
    assert_eq!(dns.dns_names(), ["b.internal"]);
    // Keyed by the trust domain's SPIFFE ID, and the own domain is not among them though the entry names it.
    let keys: Vec<_> = message.federated_bundles.keys().map(String::as_str).collect();
    assert_eq!(keys, ["spiffe://b.test"]);
    assert_eq!(
        message.federated_bundles["spiffe://b.test"],
        foreign.root.certificate.to_vec()
    );
}

#[tokio::test]
async fn keys_are_of_the_kind_that_is_set_whatever_the_authority_has() {
    for key in [
        SvidKey::P256,
        SvidKey::P384,
        SvidKey::Ed25519,
        SvidKey::Rsa2048,
        SvidKey::Rsa3072,
        SvidKey::MlDsa44,
        SvidKey::MlDsa65,
        SvidKey::MlDsa87,
    ] {
        let mut world = World::with_key(key);
        world.publish(vec![entry(1, "/a")]).await;
        let message = world.fetch_x509().await.expect("fetch");
        let svid = &message.svids[0];
        let leaf = Der::from(split(&svid.x509_svid)[0].to_vec());
        let private = LocalKey::from_pkcs8(&svid.x509_svid_key).expect("PKCS#8");
        signet_check::x509::match_private_key(&leaf, &private).expect("the key of this certificate");
        let kind = format!("{:?}", private.public_key().kind());
        assert_eq!(kind, format!("{key:?}"));
    }
}

#[tokio::test]
async fn spiffe_19_the_oldest_entry_keeps_a_hint_and_hints_are_unique() {
    let hinted = |number, path: &str, hint: &str| {
        let mut entry = entry(number, path);
        entry.hint = hint.to_owned();
        entry
    };
    let world = World::with(vec![
        hinted(4, "/young", "main"),
        hinted(1, "/old", "main"),
        hinted(2, "/other", "other"),
        hinted(3, "/none", ""),
        hinted(5, "/also-none", ""),
    ])
    .await;
    let message = world.fetch_x509().await.expect("fetch");
    let hints: Vec<_> = message
        .svids
        .iter()
        .map(|s| (s.spiffe_id.as_str(), s.hint.as_str()))
        .collect();
    assert_eq!(
        hints,
        [
            ("spiffe://a.test/old", "main"),
            ("spiffe://a.test/other", "other"),
            ("spiffe://a.test/none", ""),
            // Not withheld: the identity stays, the hint is the older one's.
            ("spiffe://a.test/young", ""),
            ("spiffe://a.test/also-none", ""),
        ]
    );
}

#[tokio::test]
async fn spiffe_21_bundles_are_those_of_the_own_domain_and_of_what_the_caller_federates_with() {
    let mut federated = entry(1, "/a");
    federated.federates_with = vec!["b.test".parse().expect("domain")];
    let mut world = World::with(vec![federated]).await;
    let (b, c) = (Domain::new("b.test"), Domain::new("c.test"));
    world.federate(vec![b.bundle(), c.bundle()]).await;
    let stream = world
        .client()
        .await
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .expect("open");
    let message = first(stream).await.expect("first");
    let mut keys: Vec<_> = message.bundles.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["spiffe://a.test", "spiffe://b.test"],
        "c.test is none of this caller's business"
    );
    assert_eq!(
        message.bundles["spiffe://a.test"],
        world.server.domain.root.certificate.to_vec()
    );
    assert_eq!(message.bundles["spiffe://b.test"], b.root.certificate.to_vec());
    assert!(message.crl.is_empty());
    world.publish(Vec::new()).await;
    let status = world
        .client()
        .await
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .expect_err("no identity");
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_key_is_made_for_each_entry_and_shared_by_its_callers() {
    let world = World::with(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let one = world.fetch_x509().await.expect("fetch");
    let other = world.fetch_x509().await.expect("fetch");
    assert_ne!(one.svids[0].x509_svid_key, one.svids[1].x509_svid_key);
    assert_eq!(one, other);
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_unknown_fields_are_not() {
    use crate::world::{channel, raw_call};
    let world = World::with(vec![entry(1, "/a")]).await;
    let metadata = [("workload.spiffe.io", "true")];
    raw_call(
        channel(world.socket()).await,
        "/SpiffeWorkloadAPI/FetchX509SVID",
        &metadata,
    )
    .await
    .expect("empty");
    // A message of another kind: to this method just unknown fields.
    let mut grpc = tonic::client::Grpc::new(channel(world.socket()).await);
    grpc.ready().await.expect("ready");
    let mut request = tonic::Request::new(signet_proto::workload::JwtsvidRequest {
        audience: vec!["x".to_owned()],
        spiffe_id: "y".to_owned(),
    });
    request
        .metadata_mut()
        .insert("workload.spiffe.io", "true".parse().expect("value"));
    let codec = signet_proto::codec::Small::<_, signet_proto::workload::X509svidResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/SpiffeWorkloadAPI/FetchX509SVID");
    let stream = grpc.server_streaming(request, path, codec).await.expect("open");
    first(stream).await.expect("first");
    let _ = X509svidRequest {};
}
