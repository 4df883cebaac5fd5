//! Nodes that attest by a machine certificate.

use crate::world::{World, chain, reason};
use core::time::Duration;
use rcgen::{ExtendedKeyUsagePurpose as Eku, KeyUsagePurpose as Ku};
use signet_check::machine::{Binding, MachineTrust, sign};
use signet_check::x509::verify_svid;
use signet_crypto::{KeyKind, LocalKey, PublicKey, digest};
use signet_feed::hello;
use signet_id::SpiffeId;
use signet_proto::agent::v1::{self, attest_request::Evidence};
use signet_surface_agents::{NodeTemplate, X509Pop};
use signet_testkit::forge::{Authority, ForgeKey, Leaf, Recipe};
use signet_time::Clock as _;
use signet_x509::make_csr;
use tonic::{Code, Status};

fn ca() -> Authority {
    Authority::root_from(Recipe::ca("machines").uris(&[]), KeyKind::P256)
}

fn recipe() -> Recipe {
    Recipe::web("pump-7.plant.example").extended_key_usages(&[Eku::ClientAuth])
}

async fn world(ca: &Authority, template: &str) -> World {
    let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
    let template = NodeTemplate::parse(template).unwrap();
    World::with_machines("dev.test", X509Pop::new(trust, template)).await
}

fn key() -> LocalKey {
    LocalKey::generate(KeyKind::P256).unwrap()
}

fn evidence(leaf: &Leaf, binding: &Binding, node_key: &PublicKey) -> v1::X509Pop {
    v1::X509Pop {
        chain: leaf.certificate.to_vec().into(),
        signature: sign(&leaf.key, binding, node_key).unwrap().into(),
    }
}

fn request(world: &World, key: &LocalKey, evidence: v1::X509Pop) -> v1::AttestRequest {
    v1::AttestRequest {
        hello: Some(hello("agent test", world.clock.now())),
        evidence: Some(Evidence::X509pop(evidence)),
        csr: make_csr(key, None, &[]).unwrap().into(),
        step: None,
    }
}

/// Attests with `leaf` for the node key `key`, over a connection of its own.
async fn attest(world: &World, leaf: &Leaf, key: &LocalKey) -> Result<v1::NodeSvid, Status> {
    let (mut client, binding) = world.bound_prover(key).await;
    let evidence = evidence(leaf, &binding, key.public_key());
    let answer = client.attest(request(world, key, evidence)).await?;
    Ok(answer.into_inner().svid.unwrap())
}

fn refusal<T: core::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    (status.code(), reason(&status))
}

fn denied(code: &str) -> (Code, String) {
    (Code::PermissionDenied, code.to_owned())
}

#[tokio::test]
async fn a_machine_becomes_the_node_that_its_certificate_names_each_time() {
    let ca = ca();
    let (world, leaf, first) = (
        world(&ca, NodeTemplate::DEFAULT).await,
        ca.leaf_from(recipe()),
        key(),
    );
    let before = world.recorded();
    let svid = attest(&world, &leaf, &first).await.unwrap();
    let fingerprint = digest::hex(&digest::sha256(&leaf.certificate));
    let id = format!("spiffe://dev.test/signet/node/x509pop/{fingerprint}");
    assert_eq!(svid.spiffe_id, id);
    assert_eq!(world.recorded(), before + 1, "nothing leaves unrecorded");
    let view = world.view_of(svid.bundle.as_ref().unwrap());
    let verified = verify_svid(&chain(&svid.chain), &view, world.clock.now()).unwrap();
    assert_eq!(verified.id.as_str(), id);
    let node = |world: &World| world.registry.read(|s| s.node(&verified.id).cloned()).unwrap();
    assert_eq!(node(&world).attestor, "x509pop");
    let attested_at = node(&world).attested_at;

    world.clock.advance(Duration::from_secs(60));
    assert_eq!(attest(&world, &leaf, &first).await.unwrap().spiffe_id, id);
    assert_eq!(
        node(&world).attested_at,
        attested_at,
        "the same key is the same node"
    );

    // The node lost its key: what the earlier key got is void.
    let second = key();
    assert_eq!(attest(&world, &leaf, &second).await.unwrap().spiffe_id, id);
    assert_eq!(node(&world).public_key_sha256, second.public_key().fingerprint());
    let mut old = world.connect(chain(&svid.chain), &first);
    let csr = make_csr(&first, None, &[]).unwrap().into();
    let renewed = old.renew(v1::RenewRequest { csr, step: None }).await;
    assert_eq!(refusal(renewed), (Code::Unauthenticated, "SGAS005".to_owned()));

    let other = attest(&world, &ca.leaf_from(recipe()), &key()).await.unwrap();
    assert_ne!(other.spiffe_id, id, "another machine is another node");
}

#[tokio::test]
async fn by_its_key_a_machine_stays_the_node_when_its_certificate_is_renewed() {
    let ca = ca();
    let world = world(&ca, "/signet/node/x509pop/plant/{public_key}").await;
    let (machine, node) = (ForgeKey::generate(KeyKind::P384), key());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let leaf = ca.leaf_with_key(recipe(), &machine);
        ids.push(attest(&world, &leaf, &node).await.unwrap().spiffe_id);
    }
    let hash = digest::hex(&machine.local().public_key().fingerprint());
    assert_eq!(
        ids[0],
        format!("spiffe://dev.test/signet/node/x509pop/plant/{hash}")
    );
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_server_that_names_no_authority_takes_no_machine() {
    let (world, ca) = (World::new("dev.test").await, ca());
    let outcome = attest(&world, &ca.leaf_from(recipe()), &key()).await;
    assert_eq!(refusal(outcome), denied("SGAS020"));
    assert!(world.registry.read(|state| state.nodes().is_empty()));
}

#[tokio::test]
async fn machines_that_are_not_good_are_refused_and_leave_nothing_behind() {
    let ca = ca();
    let world = world(&ca, NodeTemplate::DEFAULT).await;
    let (now, hour) = (world.clock.now(), Duration::from_secs(3600));
    let own = Authority::root("dev.test");
    for (leaf, code) in [
        (
            ca.leaf_from(recipe().valid(now - hour * 2, now - hour)),
            "SGCK311",
        ),
        (
            ca.leaf_from(recipe().valid(now + hour, now + hour * 2)),
            "SGCK312",
        ),
        (self::ca().leaf_from(recipe()), "SGCK313"),
        (
            ca.leaf_from(recipe().extended_key_usages(&[Eku::ServerAuth])),
            "SGCK314",
        ),
        (
            ca.leaf_from(recipe().key_usages(&[Ku::KeyEncipherment])),
            "SGCK307",
        ),
        (ca.leaf_from(Recipe::svid("spiffe://dev.test/x")), "SGCK305"),
        (own.leaf("spiffe://dev.test/x"), "SGCK305"),
        (recipe().self_signed(), "SGCK313"),
    ] {
        assert_eq!(refusal(attest(&world, &leaf, &key()).await), denied(code));
    }
    assert!(world.registry.read(|state| state.nodes().is_empty()));
}

#[tokio::test]
async fn a_proof_is_good_on_its_own_connection_for_its_own_node_key_and_certificate() {
    let ca = ca();
    let world = world(&ca, NodeTemplate::DEFAULT).await;
    let (leaf, other, node) = (ca.leaf_from(recipe()), ca.leaf_from(recipe()), key());
    let (mut first, binding) = world.bound_prover(&node).await;
    let good = evidence(&leaf, &binding, node.public_key());

    // Replayed by somebody who also has the node's key, over another connection.
    let (mut second, second_binding) = world.bound_prover(&node).await;
    assert_ne!(binding, second_binding);
    let replayed = second.attest(request(&world, &node, good.clone())).await;
    assert_eq!(refusal(replayed), denied("SGCK310"));

    // Passed on by somebody in between, who proves a key of his own there.
    let relay = key();
    let (mut between, _) = world.bound_prover(&relay).await;
    let relayed = between.attest(request(&world, &relay, good.clone())).await;
    assert_eq!(refusal(relayed), denied("SGCK310"));

    // A request for another key than the connection's.
    let swapped = first.attest(request(&world, &relay, good.clone())).await;
    assert_eq!(refusal(swapped), denied("SGAS007"));
    // For another key than the one that was signed for.
    let unsigned = evidence(&leaf, &binding, relay.public_key());
    assert_eq!(
        refusal(first.attest(request(&world, &node, unsigned)).await),
        denied("SGCK310")
    );
    // Another machine's certificate, and another machine's key.
    let mut swapped = good.clone();
    swapped.chain = other.certificate.to_vec().into();
    assert_eq!(
        refusal(first.attest(request(&world, &node, swapped)).await),
        denied("SGCK310")
    );
    // Nothing, and more than there may be.
    let mut none = good.clone();
    none.chain.clear();
    assert_eq!(
        refusal(first.attest(request(&world, &node, none)).await),
        denied("SGCK302")
    );
    let mut long = good.clone();
    long.chain = leaf.certificate.repeat(5).into();
    assert_eq!(
        refusal(first.attest(request(&world, &node, long)).await),
        denied("SGCK303")
    );

    assert!(world.registry.read(|state| state.nodes().is_empty()));
    first
        .attest(request(&world, &node, good))
        .await
        .expect("on its own connection");
}

#[tokio::test]
async fn a_banned_node_stays_out_and_an_evicted_one_may_prove_itself_anew() {
    let ca = ca();
    let (world, leaf, node) = (
        world(&ca, NodeTemplate::DEFAULT).await,
        ca.leaf_from(recipe()),
        key(),
    );
    let svid = attest(&world, &leaf, &node).await.unwrap();
    let id = SpiffeId::parse(&svid.spiffe_id).unwrap();
    world
        .registry
        .ban_node(&id, "stolen", world.origin())
        .await
        .unwrap();
    for key in [&node, &key()] {
        assert_eq!(refusal(attest(&world, &leaf, key).await), denied("SGRG009"));
    }
    world.clock.advance(Duration::from_secs(60));
    world.registry.evict_node(&id, world.origin()).await.unwrap();
    let again = attest(&world, &leaf, &node).await.unwrap();
    assert_eq!(again.spiffe_id, svid.spiffe_id);
    let mut old = world.connect(chain(&svid.chain), &node);
    let csr = make_csr(&node, None, &[]).unwrap().into();
    let renewed = old.renew(v1::RenewRequest { csr, step: None }).await;
    assert_eq!(
        refusal(renewed),
        (Code::Unauthenticated, "SGAS005".to_owned()),
        "what it had is void"
    );
}

#[tokio::test]
async fn attempts_from_one_address_are_counted_before_anything_is_verified() {
    let ca = ca();
    let world = world(&ca, NodeTemplate::DEFAULT).await;
    let (leaf, node) = (ca.leaf_from(recipe()), key());
    let (mut client, binding) = world.bound_prover(&node).await;
    let good = evidence(&leaf, &binding, node.public_key());
    let empty = v1::X509Pop::default();
    for _ in 0..64 {
        assert_eq!(
            refusal(client.attest(request(&world, &node, empty.clone())).await),
            denied("SGCK302")
        );
    }
    let refused = client.attest(request(&world, &node, good.clone())).await;
    assert_eq!(refusal(refused), (Code::ResourceExhausted, "SGAS021".to_owned()));
    // Join tokens are not held up.
    let token = world.token().await;
    client
        .attest(world.attest_request(&node, &token))
        .await
        .expect("a join token");
    world.clock.advance(Duration::from_secs(2));
    client
        .attest(request(&world, &node, good))
        .await
        .expect("a while later");
}
