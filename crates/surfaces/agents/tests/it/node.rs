//! What a connection may do by what it proved, and when that ends.

use crate::world::{Node, World, chain, reason};
use core::time::Duration;
use signet_crypto::{KeyKind, LocalKey};
use signet_proto::agent::v1;
use signet_time::Clock as _;
use signet_x509::{Certificate, make_csr};
use tonic::Code;

fn renew(key: &LocalKey) -> v1::RenewRequest {
    v1::RenewRequest {
        csr: make_csr(key, None, &[]).unwrap().into(),
        step: None,
    }
}

fn step(from: &[u8], to: &[u8]) -> Option<v1::RenewalStep> {
    Some(v1::RenewalStep {
        from: from.to_vec().into(),
        to: to.to_vec().into(),
    })
}

async fn refusal(node: &Node) -> (Code, String) {
    let status = node.client.clone().renew(renew(&node.key)).await.unwrap_err();
    (status.code(), reason(&status))
}

#[tokio::test]
async fn proof_of_possession_is_good_for_attest_alone() {
    let world = World::new("dev.test").await;
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let mut prover = world.prover(&key, world.root_hashes());
    let renewed = prover.renew(renew(&key)).await.map(drop);
    let issued = prover
        .issue(v1::IssueRequest { items: Vec::new() })
        .await
        .map(drop);
    let synced = prover
        .sync(tokio_stream::pending::<v1::SyncRequest>())
        .await
        .map(drop);
    // Having attested changes nothing for the connection.
    let token = world.token().await;
    prover.attest(world.attest_request(&key, &token)).await.unwrap();
    let afterwards = prover.renew(renew(&key)).await.map(drop);
    for refused in [renewed, issued, synced, afterwards] {
        let status = refused.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "SGAS002")
        );
    }
    let counted = "signet_unauthorized_total{surface=\"agents\",reason=\"proof_only\"} 4";
    assert!(world.metrics.text().contains(counted), "{}", world.metrics.text());
}

#[tokio::test]
async fn an_svid_does_not_attest() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let token = world.token().await;
    let request = world.attest_request(&node.key, &token);
    let status = node.client.clone().attest(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "SGAS003")
    );
}

#[tokio::test]
async fn a_node_renews_with_the_same_key_and_with_a_new_one() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    world.clock.advance(Duration::from_secs(1_800));
    let next = LocalKey::generate(KeyKind::P256).unwrap();
    for key in [&node.key, &next] {
        let answer = node.client.clone().renew(renew(key)).await.unwrap();
        let svid = answer.into_inner().svid.unwrap();
        assert_eq!(svid.spiffe_id, node.id.as_str());
        let leaf = Certificate::parse(&svid.chain[0]).unwrap();
        assert_eq!(leaf.public_key().unwrap(), *key.public_key());
        // The new one is good at once.
        let mut anew = world.connect(chain(&svid.chain), key);
        anew.renew(renew(key)).await.unwrap();
    }
    let known = world
        .registry
        .read(|state| state.node(&node.id).cloned())
        .unwrap();
    assert_eq!(known.public_key_sha256, next.public_key().fingerprint());
}

#[tokio::test]
async fn a_copied_key_is_told_of_when_its_second_holder_renews() {
    let world = World::new("dev.test").await;
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let mut prover = world.prover(&key, world.root_hashes());
    let mut request = world.attest_request(&key, &world.token().await);
    request.step = step(&[], &[1; 16]);
    let svid = prover.attest(request).await.unwrap().into_inner().svid.unwrap();
    let client = world.connect(chain(&svid.chain), &key);
    let renew = async |step| {
        let request = v1::RenewRequest { step, ..renew(&key) };
        client.clone().renew(request).await
    };
    let counted = |copies: u32| {
        let line = format!("signet_node_key_copies_total {copies}\n");
        assert!(world.metrics.text().contains(&line), "{}", world.metrics.text());
    };
    renew(step(&[1; 16], &[2; 16])).await.unwrap();
    // An answer that was lost.
    renew(step(&[1; 16], &[2; 16])).await.unwrap();
    counted(0);
    // The copy was made before, and is served: which of the two it is cannot be seen.
    renew(step(&[1; 16], &[9; 16])).await.unwrap();
    counted(1);
    renew(step(&[2; 16], &[3; 16])).await.unwrap();
    counted(2);
    renew(step(&[3; 16], &[4; 16])).await.unwrap();
    // One that comes back by the key alone, and says nothing of what it was given.
    let mut back = world.attest_request(&key, "");
    back.evidence = Some(v1::attest_request::Evidence::KnownNode(v1::KnownNode {
        spiffe_id: svid.spiffe_id.clone(),
    }));
    let mut prover = world.prover(&key, world.root_hashes());
    prover.attest(back).await.unwrap();
    counted(3);
    for malformed in [
        step(&[4; 16], &[4; 16]),
        step(&[4; 16], &[]),
        step(&[4; 15], &[5; 16]),
        step(&[4; 16], &[5; 17]),
    ] {
        let status = renew(malformed).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "SGAS025")
        );
    }
    counted(3);
}

#[tokio::test]
async fn a_workloads_svid_is_no_nodes() {
    let world = World::new("dev.test").await;
    let mut node = world.join().await;
    let entry = world.entry("/w", None).await;
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let wish = v1::X509Wish {
        csr: make_csr(&key, None, &[]).unwrap().into(),
    };
    let item = v1::IssueItem {
        entry_id: entry.id.as_bytes().to_vec().into(),
        wish: Some(v1::issue_item::Wish::X509(wish)),
        ..v1::IssueItem::default()
    };
    let answers = node
        .client
        .issue(v1::IssueRequest { items: vec![item] })
        .await
        .unwrap();
    let Some(v1::issue_answer::Outcome::X509(issued)) = &answers.get_ref().answers[0].outcome else {
        panic!("{answers:?}");
    };
    let mut workload = world.connect(chain(&issued.chain), &key);
    let status = workload.renew(renew(&key)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "SGAS006")
    );
}

#[tokio::test]
async fn a_connection_ends_with_its_svid() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    node.client.clone().renew(renew(&node.key)).await.unwrap();
    world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(refusal(&node).await, (Code::Unauthenticated, "SGAS004".into()));
}

#[tokio::test]
async fn a_banned_node_gets_nothing_and_cannot_come_back() {
    let world = World::new("dev.test").await;
    let token = world.token().await;
    let node = world.join_with(&token).await;
    world
        .registry
        .ban_node(&node.id, "stolen", world.origin())
        .await
        .unwrap();
    assert_eq!(refusal(&node).await, (Code::PermissionDenied, "SGAS006".into()));
    let request = world.attest_request(&node.key, &token);
    let again = world
        .prover(&node.key, world.root_hashes())
        .attest(request)
        .await
        .unwrap_err();
    assert_eq!(
        (again.code(), reason(&again).as_str()),
        (Code::PermissionDenied, "SGRG009")
    );
    let (code, told) = returned(&world, &node.key, node.id.as_str()).await.unwrap_err();
    assert_eq!((code, told.as_str()), (Code::PermissionDenied, "SGRG009"));
    // An eviction lifts the ban and takes the token: the node does not come back by itself.
    world.registry.evict_node(&node.id, world.origin()).await.unwrap();
    let (code, told) = returned(&world, &node.key, node.id.as_str()).await.unwrap_err();
    assert_eq!((code, told.as_str()), (Code::PermissionDenied, "SGRG020"));
    let request = world.attest_request(&node.key, &token);
    let again = world
        .prover(&node.key, world.root_hashes())
        .attest(request)
        .await
        .unwrap_err();
    assert_eq!(reason(&again), "SGRG010", "{again:?}");
    assert!(again.message().contains("evicted"), "{again:?}");
}

/// What a node gets that comes back by `key` alone.
async fn returned(world: &World, key: &LocalKey, id: &str) -> Result<v1::NodeSvid, (Code, String)> {
    let request = world.return_request(key, id);
    let answer = world.prover(key, world.root_hashes()).attest(request).await;
    let answer = answer.map_err(|status| (status.code(), reason(&status)))?;
    Ok(answer.into_inner().svid.unwrap())
}

#[tokio::test]
async fn a_node_whose_svid_expired_comes_back_by_its_key() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    world.clock.advance(Duration::from_secs(3 * 3_600));
    let before = world.recorded();
    let svid = returned(&world, &node.key, node.id.as_str()).await.unwrap();
    assert_eq!(svid.spiffe_id, node.id.as_str());
    assert_eq!(world.recorded(), before + 1, "nothing leaves unrecorded");
    let mut anew = world.connect(chain(&svid.chain), &node.key);
    anew.renew(renew(&node.key)).await.unwrap();

    let refused = |key: LocalKey, id: String| {
        let world = &world;
        async move { returned(world, &key, &id).await.unwrap_err() }
    };
    let other = || LocalKey::generate(KeyKind::P256).unwrap();
    let unknown = (Code::PermissionDenied, "SGRG020".to_owned());
    assert_eq!(refused(other(), node.id.to_string()).await, unknown);
    assert_eq!(
        refused(other(), "spiffe://dev.test/hosts/none".into()).await,
        unknown
    );
    assert_eq!(refused(other(), "spiffe://other.test/a".into()).await, unknown);
    let malformed = (Code::InvalidArgument, "SGAS014".to_owned());
    assert_eq!(refused(other(), "dev.test/a b".into()).await, malformed);
}

#[tokio::test]
async fn an_svid_from_before_the_node_joined_anew_is_void() {
    let world = World::new("dev.test").await;
    let named = Some("spiffe://dev.test/hosts/one");
    let old = world.join_with(&world.token_for(named).await).await;
    world.registry.evict_node(&old.id, world.origin()).await.unwrap();
    assert_eq!(refusal(&old).await, (Code::PermissionDenied, "SGAS006".into()));
    world.clock.advance(Duration::from_secs(60));
    let new = world.join_with(&world.token_for(named).await).await;
    assert_eq!(old.id, new.id);
    assert_eq!(refusal(&old).await, (Code::Unauthenticated, "SGAS005".into()));
    new.client.clone().renew(renew(&new.key)).await.unwrap();
    assert!(world.clock.now().as_secs() > 0);
}
