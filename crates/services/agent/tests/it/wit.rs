//! The WIT methods: what they show, to whom, and over time.

use crate::world::{Client, Domain, SpoilWit, World, entry, fetch_wit, first, next};
use signet_check::wit::{
    PROOF_HEADER, SeenProofs, TOKEN_HEADER, WitSvidError, carried, make_proof, validate_svid,
};
use signet_crypto::{KeyKind, LocalKey};
use signet_jose::{JwsAlgorithm, PrivateJwk};
use signet_proto::agent::v1::Refusal;
use signet_proto::workload::{WitBundlesRequest, Witsvid, WitsvidRequest, WitsvidResponse, X509svidRequest};
use signet_testkit::START;
use signet_time::UnixTime;
use signet_trust::{Bundle, TrustView};
use signet_workload::{Endpoint, WitSource};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::{Code, Streaming};

const AUDIENCE: &str = "https://orders.a.test";

async fn open(client: &mut Client, spiffe_id: &str) -> Streaming<WitsvidResponse> {
    let request = WitsvidRequest {
        spiffe_id: spiffe_id.to_owned(),
    };
    client.fetch_witsvid(request).await.expect("open").into_inner()
}

fn ids(message: &WitsvidResponse) -> Vec<&str> {
    message.svids.iter().map(|s| s.spiffe_id.as_str()).collect()
}

fn short() -> signet_feed::FeedEntry {
    let mut short = entry(1, "/a");
    short.x509_ttl = Duration::from_secs(20);
    short
}

/// Whose `svid` is for a verifier that trusts `bundle`, by token and key as a workload holds them.
fn identity(svid: &Witsvid, bundle: Bundle, now: UnixTime) -> String {
    let trust = TrustView::new(bundle.trust_domain().clone()).with_bundle(bundle);
    let key = PrivateJwk::parse(svid.wit_svid_key.as_bytes()).expect("a private JWK");
    let proof = make_proof(&svid.wit_svid, &key, AUDIENCE, now).expect("proof");
    let verified = validate_svid(&svid.wit_svid, &trust, now)
        .expect("a wit-svid")
        .prove(&proof, AUDIENCE, &mut SeenProofs::new(1), now)
        .expect("the key of this token");
    verified.id.to_string()
}

#[tokio::test]
async fn spiffe_25_every_wit_svid_is_whole_with_a_key_of_its_own_made_here() {
    let world = World::with(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let message = fetch_wit(&world, "").await.expect("fetch");
    assert_eq!(ids(&message), ["spiffe://a.test/a", "spiffe://a.test/b"]);
    for svid in &message.svids {
        assert_eq!(
            identity(svid, world.server.domain.bundle(), START),
            svid.spiffe_id
        );
    }
    assert_ne!(message.svids[0].wit_svid_key, message.svids[1].wit_svid_key);
    // Its key is not that of the X.509-SVID: one leak is one leak.
    assert_eq!(world.server.x509_issued.load(Ordering::SeqCst), 0);
    world.fetch_x509().await.expect("fetch");
    assert_eq!(fetch_wit(&world, "").await.expect("fetch"), message);
}

#[tokio::test]
async fn spiffe_25_one_identity_is_shown_where_one_is_asked_for() {
    let world = World::with(vec![entry(1, "/a"), entry(2, "/b"), entry(3, "/b")]).await;
    let all = fetch_wit(&world, "").await.expect("fetch");
    let one = fetch_wit(&world, "spiffe://a.test/b").await.expect("fetch");
    assert_eq!(one.svids, [all.svids[1].clone()], "that of the oldest entry");
    for (id, code) in [
        ("spiffe://a.test/other", Code::PermissionDenied),
        ("spiffe://b.test/a", Code::PermissionDenied),
        ("spiffe://a.test//a", Code::InvalidArgument),
        ("a", Code::InvalidArgument),
    ] {
        let status = fetch_wit(&world, id).await.expect_err(id);
        assert_eq!(status.code(), code, "{id}: {status:?}");
    }
}

#[tokio::test]
async fn spiffe_25_a_stream_for_one_identity_follows_that_one_alone() {
    let mut world = World::with(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let mut client = world.client().await;
    let mut b = open(&mut client, "spiffe://a.test/b").await;
    let mut all = open(&mut client, "").await;
    let (one, both) = (
        next(&mut b).await.expect("first"),
        next(&mut all).await.expect("first"),
    );
    assert_eq!((one.svids.len(), both.svids.len()), (1, 2));
    // The other one goes: that is no news on this stream, whose next message is about its own.
    world.publish(vec![entry(2, "/b")]).await;
    assert_eq!(
        ids(&next(&mut all).await.expect("one left")),
        ["spiffe://a.test/b"]
    );
    let mut hinted = entry(2, "/b");
    hinted.hint = "main".to_owned();
    world.publish(vec![hinted]).await;
    let message = next(&mut b).await.expect("its hint");
    assert_eq!(message.svids[0].hint, "main");
    assert_eq!(message.svids[0].wit_svid, one.svids[0].wit_svid);
    // Others hold, but not the one that was asked for.
    world.publish(vec![entry(1, "/a")]).await;
    let ended = next(&mut b).await.expect_err("it went");
    assert_eq!(ended.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn spiffe_25_an_identity_whose_svid_cannot_be_had_is_unavailable_and_the_others_are_not() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    fetch_wit(&world, "").await.expect("first");
    *world.server.refusal.lock().expect("lock") = Some(Refusal {
        code: "SGAU002".to_owned(),
        message: "no such entry".to_owned(),
        retry: false,
    });
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let status = fetch_wit(&world, "spiffe://a.test/b").await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        ids(&fetch_wit(&world, "").await.expect("the other")),
        ["spiffe://a.test/a"]
    );
    // News from the server: it is tried again, and the stream waits for it.
    *world.server.refusal.lock().expect("lock") = None;
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    loop {
        match fetch_wit(&world, "spiffe://a.test/b").await {
            Ok(message) => break assert_eq!(ids(&message), ["spiffe://a.test/b"]),
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    }
}

#[tokio::test]
async fn spiffe_25_bundles_are_jwk_sets_of_wit_keys_alone_each_with_its_name() {
    let mut federated = entry(1, "/a");
    federated.federates_with = vec!["b.test".parse().expect("domain")];
    let mut world = World::with(vec![federated]).await;
    let foreign = Domain::new("b.test");
    world
        .federate(vec![foreign.bundle(), Domain::new("c.test").bundle()])
        .await;
    let mut client = world.client().await;
    let message = first(
        client
            .fetch_wit_bundles(WitBundlesRequest {})
            .await
            .expect("open"),
    )
    .await
    .expect("message");
    let mut domains: Vec<_> = message.bundles.keys().map(String::as_str).collect();
    domains.sort_unstable();
    assert_eq!(domains, ["spiffe://a.test", "spiffe://b.test"], "and not c.test");
    for (domain, set) in &message.bundles {
        let set: HashMap<String, Vec<serde_json::Value>> = serde_json::from_str(set).expect("JSON");
        let keys = &set["keys"];
        assert_eq!(keys.len(), 1, "{domain}");
        assert_eq!(keys[0]["use"], "wit-svid");
        let name = domain.strip_prefix("spiffe://").expect("an ID");
        assert_eq!(keys[0]["kid"], format!("{name}-wit-0"));
    }
    // Nobody without identity.
    let nobody = World::new().await;
    let mut client = nobody.client().await;
    let refused = client.fetch_wit_bundles(WitBundlesRequest {}).await;
    assert_eq!(refused.expect_err("nobody").code(), Code::PermissionDenied);
    let refused = fetch_wit(&nobody, "").await.expect_err("nobody");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = fetch_wit(&World::initialising(), "")
        .await
        .expect_err("too early");
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn spiffe_19_hints_of_wit_svids_are_unique() {
    let hinted = |number, path: &str| {
        let mut entry = entry(number, path);
        entry.hint = "main".to_owned();
        entry
    };
    let world = World::with(vec![hinted(2, "/young"), hinted(1, "/old")]).await;
    let message = fetch_wit(&world, "").await.expect("fetch");
    let hints: Vec<_> = message
        .svids
        .iter()
        .map(|s| (s.spiffe_id.as_str(), s.hint.as_str()))
        .collect();
    assert_eq!(
        hints,
        [("spiffe://a.test/old", "main"), ("spiffe://a.test/young", "")]
    );
}

#[tokio::test]
async fn spiffe_15_a_wit_svid_is_renewed_around_half_its_life_with_a_new_key() {
    let world = World::with(vec![short()]).await;
    let mut client = world.client().await;
    let mut stream = open(&mut client, "").await;
    let one = next(&mut stream).await.expect("first").svids.remove(0);
    // A tenth before half of 20 s.
    world.pass(Duration::from_millis(8_900));
    assert_eq!(fetch_wit(&world, "").await.expect("still").svids[0], one);
    world.pass(Duration::from_millis(2_200));
    let two = next(&mut stream).await.expect("renewed").svids.remove(0);
    assert_ne!(one.wit_svid, two.wit_svid);
    assert_ne!(one.wit_svid_key, two.wit_svid_key);
    let now = START + Duration::from_millis(11_100);
    let bundle = world.server.domain.bundle();
    assert_eq!(identity(&two, bundle.clone(), now), "spiffe://a.test/a");
    assert_eq!(
        identity(&one, bundle, now),
        "spiffe://a.test/a",
        "both hold meanwhile"
    );
    assert_eq!(world.server.wit_issued.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn while_the_server_is_away_wit_svids_are_served_until_they_end_and_no_longer() {
    let world = World::with(vec![short()]).await;
    let mut client = world.client().await;
    let mut stream = open(&mut client, "").await;
    let one = next(&mut stream).await.expect("first");
    world.server.away.send_replace(true);
    world.pass(Duration::from_millis(19_999));
    assert_eq!(fetch_wit(&world, "").await.expect("still good"), one);
    world.pass(Duration::from_millis(1));
    let ended = next(&mut stream).await.expect_err("it ended");
    assert_eq!(ended.code(), Code::Unavailable);
    world.server.away.send_replace(false);
    world.pass(Duration::from_secs(60));
    loop {
        match fetch_wit(&world, "").await {
            Ok(message) => break assert_ne!(message, one),
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    }
}

#[tokio::test]
async fn spiffe_15_16_a_key_that_is_called_off_and_an_entry_that_goes_are_followed_at_once() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let (mut stream, mut bundles) = (
        open(&mut client, "").await,
        client
            .fetch_wit_bundles(WitBundlesRequest {})
            .await
            .expect("open")
            .into_inner(),
    );
    let one = next(&mut stream).await.expect("first");
    let known = next(&mut bundles).await.expect("first");
    world.server.domain.taint_wit();
    world.publish(vec![entry(1, "/a")]).await;
    let two = next(&mut stream).await.expect("another key signs");
    assert_ne!(one.svids[0].wit_svid, two.svids[0].wit_svid);
    assert_ne!(next(&mut bundles).await.expect("a new set"), known);
    let bundle = world.server.domain.bundle();
    assert_eq!(identity(&two.svids[0], bundle, START), "spiffe://a.test/a");
    world.publish(Vec::new()).await;
    for ended in [
        next(&mut stream).await.map(drop).expect_err("no identity"),
        next(&mut bundles).await.map(drop).expect_err("no identity"),
    ] {
        assert_eq!(ended.code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn nothing_is_issued_that_nobody_asked_for() {
    let world = World::with(vec![short()]).await;
    let mut client = world.client().await;
    let mut x509 = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut x509).await.expect("first");
    world.pass(Duration::from_secs(11));
    next(&mut x509).await.expect("renewed");
    assert_eq!(world.server.wit_issued.load(Ordering::SeqCst), 0);
}

/// A token for another key, for another identity, by another authority, or none: no workload gets to see it.
#[tokio::test]
async fn a_wit_svid_that_was_not_asked_for_is_not_handed_out() {
    fn other_csr() -> Vec<u8> {
        let key = LocalKey::generate(KeyKind::P256).expect("key");
        signet_x509::make_csr(&key, None, &[]).expect("csr")
    }
    const LIFE: Duration = Duration::from_secs(60);
    let spoils: [(&str, SpoilWit); 6] = [
        ("another key", |domain, _, issued| {
            *issued = domain.wit("spiffe://a.test/a", &other_csr(), START, LIFE, 7);
        }),
        ("another identity", |domain, csr, issued| {
            *issued = domain.wit("spiffe://a.test/b", csr, START, LIFE, 7);
        }),
        ("another authority", |_, csr, issued| {
            *issued = Domain::new("a.test").wit("spiffe://a.test/a", csr, START, LIFE, 7);
        }),
        ("a token that is over", |domain, csr, issued| {
            *issued = domain.wit("spiffe://a.test/a", csr, START - LIFE, LIFE, 7);
        }),
        ("nothing", |_, _, issued| issued.token.clear()),
        ("another kind of token", |domain, _, issued| {
            let end = (START + LIFE).as_secs();
            let claims = serde_json::json!({"sub": "spiffe://a.test/a", "aud": "x", "exp": end});
            issued.token = domain.token(&claims);
        }),
    ];
    for (what, spoil) in spoils {
        let world = World::with(vec![entry(1, "/a")]).await;
        *world.server.spoil_wit.lock().expect("lock") = Some(spoil);
        let status = fetch_wit(&world, "").await.expect_err(what);
        assert_eq!(status.code(), Code::Unavailable, "{what}");
        assert!(world.server.wit_issued.load(Ordering::SeqCst) > 0);
    }
}

/// As a program does it: a source that follows, and the headers of a request that a service checks.
#[tokio::test]
async fn spiffe_25_75_a_source_follows_rotation_and_its_requests_are_proven_once() {
    let mut world = World::with(vec![short()]).await;
    let endpoint = Endpoint::parse(&format!("unix://{}", world.socket().display())).expect("endpoint");
    let source = WitSource::start(endpoint.clone()).await.expect("source");
    let one = source.current();
    let trust = || {
        let bundles = source.bundles();
        TrustView::new("a.test".parse().expect("domain")).with_bundle(bundles[0].clone())
    };
    let mut seen = SeenProofs::new(8);
    let mut check = |headers: &[(&'static str, String)], now| {
        let found = carried(headers.iter().map(|(name, value)| (*name, value.as_bytes())))?;
        let found = found.expect("both headers");
        let proven =
            validate_svid(found.token, &trust(), now)?.prove(found.proof, AUDIENCE, &mut seen, now)?;
        Ok::<_, WitSvidError>(proven.id.to_string())
    };
    let headers = one[0].headers(AUDIENCE, START).expect("headers");
    assert_eq!(check(&headers, START).expect("proven"), "spiffe://a.test/a");
    assert_eq!(
        check(&headers, START),
        Err(WitSvidError::ProofRepeated),
        "sent again"
    );
    // Whoever stole the token has not its key.
    let thief = LocalKey::generate(KeyKind::P256).expect("key");
    let thief = PrivateJwk::new(thief, JwsAlgorithm::Es256).expect("key");
    let forged = make_proof(&one[0].token, &thief, AUDIENCE, START).expect("proof");
    let stolen = [(TOKEN_HEADER, one[0].token.clone()), (PROOF_HEADER, forged)];
    assert!(matches!(check(&stolen, START), Err(WitSvidError::Proof(_))));
    assert_eq!(
        check(&stolen[..1], START),
        Err(WitSvidError::HeaderMissing { header: PROOF_HEADER })
    );

    let (mut updates, mut bundles) = (source.updates(), source.bundle_updates());
    world.pass(Duration::from_millis(11_100));
    updates.wait_for(|count| *count == 2).await.expect("renewed");
    let two = source.current();
    assert_ne!(one[0].token, two[0].token);
    let now = START + Duration::from_millis(11_100);
    let headers = two[0].headers(AUDIENCE, now).expect("headers");
    assert_eq!(check(&headers, now).expect("proven"), "spiffe://a.test/a");
    world.server.domain.taint_wit();
    world.publish(vec![short()]).await;
    bundles.wait_for(|count| *count == 2).await.expect("new keys");
    assert_eq!(source.bundles()[0].wit().len(), 2);

    // Where the server issues none any more, a client is told not to ask again.
    let domain = &world.server.domain;
    let own = domain.bundle_of(vec![domain.x509_authority()], vec![domain.jwt_authority()]);
    world.set_own_bundle(own).await;
    let refused = WitSource::start(endpoint).await.map(drop).expect_err("none");
    assert!(refused.is_final(), "{refused}");
}
