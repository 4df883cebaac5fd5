use crate::rig::{CLIENT, Rig, shake, shows, shows_chain};
use signet_check::x509::X509SvidError;
use signet_crypto::{KeyKind, LocalKey};
use signet_testkit::START;
use signet_testkit::forge::{Leaf, Recipe};
use signet_tls::{ClientPolicy, LiveIdentity, PeerIdentity, PeerRule, TlsError, peer_identity};
use signet_x509::self_signed_node;
use std::sync::Arc;

/// What a server that takes proofs says of a client that shows `leaf`.
fn refusal(leaf: &Leaf) -> TlsErrorText {
    refusal_of(shows(leaf))
}

type TlsErrorText = (String, bool);

fn refusal_of(identity: Arc<LiveIdentity>) -> TlsErrorText {
    let rig = Rig::new();
    let client = rig.client_as(
        identity,
        PeerRule::AnyOfTrustDomain("example.org".parse().unwrap()),
    );
    let Err(failed) = shake(&client, &rig.server(ClientPolicy::SpiffeOrProof)) else {
        panic!("the handshake went through");
    };
    (
        failed.servers().to_string(),
        matches!(failed.servers(), TlsError::ProofWithNames),
    )
}

#[test]
fn a_nodes_own_certificate_proves_its_key_and_no_identity() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
        let rig = Rig::new();
        let key = LocalKey::generate(kind).unwrap();
        let node = shows_chain(&[&self_signed_node(&key, START).unwrap()], &key);
        let client = rig.client_as(node, PeerRule::server());
        let (_, server) = shake(&client, &rig.server(ClientPolicy::SpiffeOrProof))
            .ok()
            .unwrap();
        let peer = peer_identity(&server);
        assert!(peer.spiffe_id().is_none());
        assert!(
            matches!(&peer, PeerIdentity::ProofOfPossession(shown) if shown == key.public_key()),
            "{peer:?}"
        );
    }
}

#[test]
fn an_svid_is_an_identity_where_proofs_are_taken_too() {
    let rig = Rig::new();
    let (_, server) = shake(&rig.client(), &rig.server(ClientPolicy::SpiffeOrProof))
        .ok()
        .unwrap();
    assert_eq!(peer_identity(&server).spiffe_id().unwrap().as_str(), CLIENT);
}

#[test]
fn a_proof_is_refused_where_an_svid_is_demanded() {
    let rig = Rig::new();
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let node = shows_chain(&[&self_signed_node(&key, START).unwrap()], &key);
    let client = rig.client_as(node, PeerRule::server());
    let Err(failed) = shake(&client, &rig.server(ClientPolicy::Spiffe)) else {
        panic!("the handshake went through");
    };
    assert!(matches!(failed.servers_svid(), X509SvidError::NoUriName));
}

#[test]
fn a_self_signed_certificate_with_an_id_is_refused() {
    for id in [
        CLIENT,
        "spiffe://example.org/signet/server/one",
        "spiffe://elsewhere/x",
        "https://example.org",
    ] {
        for recipe in [Recipe::svid(id), Recipe::svid(id).subject("node")] {
            let (text, with_names) = refusal(&recipe.self_signed());
            assert!(with_names, "{id}: {text}");
        }
    }
}

#[test]
fn a_self_signed_certificate_with_any_name_is_refused() {
    let (text, with_names) = refusal(&Recipe::web("node.example.org").subject("node").self_signed());
    assert!(with_names, "{text}");
}

#[test]
fn a_certificate_without_identity_must_be_its_own() {
    let rig = Rig::new();
    // Signed by an authority, ours or another's: still nobody's identity, and no proof either.
    let by_authority = rig.root.leaf_from(Recipe::svid("x:").uris(&[]));
    assert!(refusal(&by_authority).0.contains("not its own"));
    let ca = Recipe::svid("x:")
        .uris(&[])
        .subject("node")
        .is_ca(true)
        .self_signed();
    assert!(refusal(&ca).0.contains("not its own"));
    // Names itself as its issuer, but somebody else signed.
    let named = signet_testkit::forge::Authority::root_from(Recipe::ca("x").subject("node"), KeyKind::P256);
    let lie = named.leaf_from(Recipe::svid("x:").uris(&[]).subject("node"));
    assert!(refusal(&lie).0.contains("not its own"));
}

#[test]
fn a_proof_comes_alone() {
    let rig = Rig::new();
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let node = self_signed_node(&key, START).unwrap();
    let (text, _) = refusal_of(shows_chain(&[&node, &rig.root.certificate], &key));
    assert!(text.contains("not its own"), "{text}");
}
