use crate::rig::{CLIENT, Failed, Rig, SERVER, shake, shows_chain};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use signet_check::x509::X509SvidError;
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_fault::Coded as _;
use signet_testkit::START;
use signet_testkit::forge::Authority;
use signet_tls::{ClientPolicy, ClientTls, PeerIdentity, TlsError, peer_identity};
use signet_x509::self_signed_node;
use std::sync::Arc;
use std::time::Duration;

/// A client that has a join string with the hashes of `roots` and the domain `domain`.
fn joins(rig: &Rig, domain: &str, roots: &[&Authority]) -> Arc<ClientConfig> {
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let node = shows_chain(&[&self_signed_node(&key, START).unwrap()], &key);
    let hashes = roots
        .iter()
        .map(|root| digest::sha256(&root.certificate))
        .collect();
    let clock = Arc::new(rig.clock.clone());
    ClientTls::pinned_join(node, hashes, domain.parse().unwrap(), clock)
        .unwrap()
        .config()
}

/// A server as `id` below an intermediate, whose chain ends with the root.
fn server(rig: &Rig, id: &str) -> Arc<ServerConfig> {
    let intermediate = rig.root.intermediate("example.org");
    let leaf = intermediate.leaf(id);
    let chain = [
        &leaf.certificate,
        &intermediate.certificate,
        &rig.root.certificate,
    ];
    rig.server_as(shows_chain(&chain, &leaf.key), ClientPolicy::SpiffeOrProof)
}

fn refused(result: Result<(ClientConnection, ServerConnection), Box<Failed>>) -> Box<Failed> {
    match result {
        Ok(_) => panic!("the handshake went through"),
        Err(failed) => failed,
    }
}

#[test]
fn a_first_contact_rests_on_the_hash_of_the_root() {
    let rig = Rig::new();
    let next = Authority::root("example.org");
    for roots in [&[&rig.root][..], &[&rig.root, &next], &[&next, &rig.root]] {
        let (client, server) = shake(&joins(&rig, "example.org", roots), &server(&rig, SERVER))
            .ok()
            .unwrap();
        assert_eq!(peer_identity(&client).spiffe_id().unwrap().as_str(), SERVER);
        assert!(matches!(
            peer_identity(&server),
            PeerIdentity::ProofOfPossession(_)
        ));
    }
}

#[test]
fn a_join_string_of_another_root_says_so() {
    let rig = Rig::new();
    for roots in [&[][..], &[&Authority::root("example.org")]] {
        let failed = refused(shake(&joins(&rig, "example.org", roots), &server(&rig, SERVER)));
        assert!(failed.clients().to_string().contains("another root"));
        assert_eq!(failed.clients().code(), "SGTL008");
    }
}

#[test]
fn a_server_that_does_not_send_its_root_cannot_be_joined() {
    let rig = Rig::new();
    let leaf = rig.root.leaf(SERVER);
    let server = rig.server_as(
        shows_chain(&[&leaf.certificate], &leaf.key),
        ClientPolicy::SpiffeOrProof,
    );
    let failed = refused(shake(&joins(&rig, "example.org", &[&rig.root]), &server));
    assert!(matches!(failed.clients(), TlsError::OtherRoot { .. }));
}

#[test]
fn the_root_in_the_chain_must_be_the_one_that_signed() {
    // The right root, for everyone to see, behind a chain that another one signed.
    let rig = Rig::new();
    let other = Authority::root("example.org");
    let leaf = other.leaf(SERVER);
    let chain = [&leaf.certificate, &other.certificate, &rig.root.certificate];
    let server = rig.server_as(shows_chain(&chain, &leaf.key), ClientPolicy::SpiffeOrProof);
    let failed = refused(shake(&joins(&rig, "example.org", &[&rig.root]), &server));
    assert!(matches!(
        failed.clients_svid(),
        X509SvidError::UnknownAuthority { .. }
    ));
}

#[test]
fn only_a_server_of_the_join_strings_domain_can_be_joined() {
    let rig = Rig::new();
    for id in [
        CLIENT,
        "spiffe://example.org/signet/node/x",
        "spiffe://example.org/signet/server",
    ] {
        let failed = refused(shake(
            &joins(&rig, "example.org", &[&rig.root]),
            &server(&rig, id),
        ));
        assert!(
            matches!(failed.clients(), TlsError::UnexpectedPeer { .. }),
            "{id}"
        );
    }
    // A root of another domain signs for ours, and ours for another.
    let failed = refused(shake(
        &joins(&rig, "example.com", &[&rig.root]),
        &server(&rig, SERVER),
    ));
    assert!(matches!(failed.clients_svid(), X509SvidError::NoBundle { .. }));
}

#[test]
fn the_pinned_chain_is_held_to_every_other_rule() {
    let rig = Rig::new();
    let (client, server) = (joins(&rig, "example.org", &[&rig.root]), server(&rig, SERVER));
    rig.clock.advance(Duration::from_hours(2));
    let failed = refused(shake(&client, &server));
    assert!(matches!(failed.clients_svid(), X509SvidError::Expired { .. }));
}

#[test]
fn a_leaf_cannot_be_pinned_as_root() {
    let rig = Rig::new();
    let leaf = rig.root.leaf(SERVER);
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let node = shows_chain(&[&self_signed_node(&key, START).unwrap()], &key);
    let hashes = vec![digest::sha256(&leaf.certificate)];
    let client = ClientTls::pinned_join(
        node,
        hashes,
        "example.org".parse().unwrap(),
        Arc::new(rig.clock.clone()),
    )
    .unwrap();
    let chain = [&leaf.certificate, &rig.root.certificate];
    let server = rig.server_as(shows_chain(&chain, &leaf.key), ClientPolicy::SpiffeOrProof);
    let failed = refused(shake(&client.config(), &server));
    assert!(matches!(failed.clients(), TlsError::OtherRoot { .. }));
}
