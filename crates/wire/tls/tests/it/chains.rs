//! Whole chains of one algorithm, shown by both ends.

use crate::rig::{CLIENT, Rig, SERVER, shake, shake_counted, shows_chain, view};
use rustls::NamedGroup;
use rustls_pki_types::CertificateDer;
use signet_check::x509::X509SvidError;
use signet_crypto::KeyKind;
use signet_testkit::forge::{Authority, ForgeKey, Recipe};
use signet_tls::{ClientPolicy, LiveIdentity, PeerRule, peer_identity};
use signet_x509::Certificate;
use std::sync::Arc;

/// A trust domain whose root, intermediate and leaves are all of one kind.
struct Domain {
    rig: Rig,
    intermediate: Authority,
    kind: KeyKind,
}

impl Domain {
    fn new(kind: KeyKind) -> Self {
        let rig = Rig {
            root: Authority::root_from(Recipe::ca("example.org"), kind),
            ..Rig::new()
        };
        rig.trust.store(Arc::new(view(&rig.root)));
        let intermediate = rig.root.intermediate_from(Recipe::ca("example.org"), kind);
        Self {
            rig,
            intermediate,
            kind,
        }
    }

    /// A leaf for `id` below the intermediate, with a key of `kind`.
    fn shows(&self, id: &str, kind: KeyKind) -> Arc<LiveIdentity> {
        let leaf = self
            .intermediate
            .leaf_with_key(Recipe::svid(id), &ForgeKey::generate(kind));
        shows_chain(&[&leaf.certificate, &self.intermediate.certificate], &leaf.key)
    }

    /// The bytes of a handshake of leaves of `kind`.
    fn handshake_bytes(&self, kind: KeyKind) -> usize {
        let client = self.rig.client_as(self.shows(CLIENT, kind), PeerRule::server());
        let server = self.rig.server_as(self.shows(SERVER, kind), ClientPolicy::Spiffe);
        let (client, server, bytes) = shake_counted(&client, &server).ok().unwrap();
        assert_eq!(peer_identity(&server).spiffe_id().unwrap().as_str(), CLIENT);
        assert_eq!(peer_identity(&client).spiffe_id().unwrap().as_str(), SERVER);
        assert_eq!(
            client.negotiated_key_exchange_group().unwrap().name(),
            NamedGroup::X25519MLKEM768
        );
        for chain in [client.peer_certificates(), server.peer_certificates()] {
            assert_eq!(
                chain.unwrap().iter().map(key_kind).collect::<Vec<_>>(),
                [kind, self.kind]
            );
        }
        bytes
    }
}

fn key_kind(certificate: &CertificateDer<'_>) -> KeyKind {
    Certificate::parse(certificate)
        .unwrap()
        .public_key()
        .unwrap()
        .kind()
}

/// The sizes that `docs/algorithms.md` names: each a hybrid key exchange, two chains of leaf and intermediate, and two
/// signatures. Signatures of ECDSA differ by some bytes from one to the next.
#[test]
fn both_ends_show_a_chain_of_every_kind_in_as_many_bytes_as_published() {
    const SCATTER: usize = 50;
    for (kind, all_published, mixed_published) in [
        (KeyKind::P256, 4_840, 4_840),
        (KeyKind::P384, 5_160, 5_040),
        (KeyKind::Ed25519, 4_580, 4_690),
        (KeyKind::MlDsa44, 23_930, 16_750),
        (KeyKind::MlDsa65, 31_820, 21_580),
        (KeyKind::MlDsa87, 42_340, 28_130),
    ] {
        let domain = Domain::new(kind);
        for (leaf, published) in [(kind, all_published), (KeyKind::P256, mixed_published)] {
            let bytes = domain.handshake_bytes(leaf);
            println!("{} leaves below {}: {bytes} bytes", leaf.as_str(), kind.as_str());
            assert!(
                bytes.abs_diff(published) <= SCATTER,
                "{kind:?} {leaf:?}: {bytes}, not {published}"
            );
        }
    }
}

#[test]
fn an_ml_dsa_chain_of_another_root_is_refused() {
    for kind in [KeyKind::MlDsa44, KeyKind::MlDsa65, KeyKind::MlDsa87] {
        let (ours, theirs) = (Domain::new(kind), Domain::new(kind));
        let client = ours.rig.client_as(theirs.shows(CLIENT, kind), PeerRule::server());
        let server = ours.rig.server_as(ours.shows(SERVER, kind), ClientPolicy::Spiffe);
        let failed = shake(&client, &server).err().unwrap();
        assert!(
            matches!(failed.servers_svid(), X509SvidError::UnknownAuthority { .. }),
            "{kind:?}"
        );
    }
}

/// A signature of another key of the same kind under the right names.
#[test]
fn an_ml_dsa_leaf_that_its_issuer_did_not_sign_is_refused() {
    let kind = KeyKind::MlDsa65;
    let (ours, theirs) = (Domain::new(kind), Domain::new(kind));
    let forger = theirs.intermediate.pretending_to_be(&ours.intermediate);
    let leaf = forger.leaf_with_key(Recipe::svid(CLIENT), &ForgeKey::generate(kind));
    let forged = shows_chain(&[&leaf.certificate, &ours.intermediate.certificate], &leaf.key);
    let client = ours.rig.client_as(forged, PeerRule::server());
    let server = ours.rig.server_as(ours.shows(SERVER, kind), ClientPolicy::Spiffe);
    let failed = shake(&client, &server).err().unwrap();
    assert!(
        matches!(failed.servers_svid(), X509SvidError::Signature),
        "{:?}",
        failed.servers_svid()
    );
}
