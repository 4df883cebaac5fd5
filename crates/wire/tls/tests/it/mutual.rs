use crate::rig::{CLIENT, Failed, Rig, SERVER, bundle, shake, shows, view};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_check::x509::X509SvidError;
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::Coded as _;
use signet_testkit::forge::{Authority, ForgeKey, Recipe};
use signet_tls::{ClientPolicy, LiveIdentity, PeerIdentity, PeerRule, TlsError, peer_identity};
use std::sync::Arc;
use std::time::Duration;

fn refused(result: Result<(rustls::ClientConnection, rustls::ServerConnection), Box<Failed>>) -> Box<Failed> {
    match result {
        Ok(_) => panic!("the handshake went through"),
        Err(failed) => failed,
    }
}

#[test]
fn both_ends_learn_who_the_other_is() {
    let rig = Rig::new();
    let (client, server) = shake(&rig.client(), &rig.server(ClientPolicy::Spiffe))
        .ok()
        .unwrap();
    assert_eq!(peer_identity(&server).spiffe_id().unwrap().as_str(), CLIENT);
    assert_eq!(peer_identity(&client).spiffe_id().unwrap().as_str(), SERVER);
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        client.negotiated_key_exchange_group().unwrap().name(),
        NamedGroup::X25519MLKEM768
    );
    assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn every_key_kind_of_a_leaf_shakes_hands() {
    let rig = Rig::new();
    for kind in KeyKind::ALL {
        let leaf = rig
            .root
            .leaf_with_key(Recipe::svid(CLIENT), &ForgeKey::generate(kind));
        let client = rig.client_as(shows(&leaf), PeerRule::server());
        let (_, server) = shake(&client, &rig.server(ClientPolicy::Spiffe)).ok().unwrap();
        assert!(peer_identity(&server).spiffe_id().is_some(), "{kind:?}");
    }
}

#[test]
fn a_client_that_is_not_asked_is_nobody() {
    let rig = Rig::new();
    let (_, server) = shake(&rig.client(), &rig.server(ClientPolicy::None))
        .ok()
        .unwrap();
    assert!(matches!(peer_identity(&server), PeerIdentity::None));
}

#[test]
fn a_client_without_certificate_is_refused() {
    let rig = Rig::new();
    let nobody = rig.client_as(Arc::new(LiveIdentity::none()), PeerRule::server());
    for policy in [ClientPolicy::Spiffe, ClientPolicy::SpiffeOrProof] {
        let failed = refused(shake(&nobody, &rig.server(policy)));
        assert_eq!(failed.server, Some(rustls::Error::NoCertificatesPresented));
    }
}

#[test]
fn a_server_without_certificate_fails_every_handshake() {
    let rig = Rig::new();
    let server = rig.server_as(Arc::new(LiveIdentity::none()), ClientPolicy::Spiffe);
    assert!(refused(shake(&rig.client(), &server)).server.is_some());
}

#[test]
fn spiffe_44_neither_end_takes_a_peer_of_another_bundle() {
    let rig = Rig::new();
    let theirs = Authority::root("example.com");
    rig.trust.store(Arc::new(
        view(&rig.root).with_bundle(bundle("example.com", &theirs)),
    ));
    let forged = rig.client_as(shows(&theirs.leaf(CLIENT)), PeerRule::server());
    let failed = refused(shake(&forged, &rig.server(ClientPolicy::Spiffe)));
    assert!(matches!(
        failed.servers_svid(),
        X509SvidError::UnknownAuthority { .. }
    ));
    let forged = rig.server_as(shows(&theirs.leaf(SERVER)), ClientPolicy::Spiffe);
    let failed = refused(shake(&rig.client(), &forged));
    assert!(matches!(
        failed.clients_svid(),
        X509SvidError::UnknownAuthority { .. }
    ));
    assert_eq!(failed.clients().code(), "SGCK017");
}

#[test]
fn spiffe_42_the_clock_that_was_handed_in_decides() {
    let rig = Rig::new();
    let (client, server) = (rig.client(), rig.server(ClientPolicy::Spiffe));
    shake(&client, &server).ok().unwrap();
    rig.clock.advance(Duration::from_hours(2));
    let failed = refused(shake(&client, &server));
    assert!(matches!(failed.clients_svid(), X509SvidError::Expired { .. }));
}

#[test]
fn spiffe_52_a_second_connection_is_verified_anew() {
    let rig = Rig::new();
    let (client, server) = (rig.client(), rig.server(ClientPolicy::Spiffe));
    for _ in 0..2 {
        let (client, server) = shake(&client, &server).ok().unwrap();
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
    }
    // The domain's authority is replaced: whoever was let in a moment ago is not let in again.
    rig.trust.store(Arc::new(view(&Authority::root("example.org"))));
    let failed = refused(shake(&client, &server));
    assert!(matches!(
        failed.clients_svid(),
        X509SvidError::UnknownAuthority { .. }
    ));

    // The same where only the server's trust changed.
    let other = Rig {
        root: Authority::root("example.org"),
        ..Rig::new()
    };
    let strict = other.server_as(shows(&rig.root.leaf(SERVER)), ClientPolicy::Spiffe);
    rig.trust.store(Arc::new(view(&rig.root)));
    let failed = refused(shake(&client, &strict));
    assert!(matches!(
        failed.servers_svid(),
        X509SvidError::UnknownAuthority { .. }
    ));
}

#[test]
fn the_identity_that_is_shown_can_be_replaced_at_both_ends() {
    let rig = Rig::new();
    let (first, second) = (rig.root.leaf(CLIENT), rig.root.leaf("spiffe://example.org/web2"));
    let mine = shows(&first);
    let client = rig.client_as(Arc::clone(&mine), PeerRule::server());
    let (old, new) = (
        rig.root.leaf(SERVER),
        rig.root.leaf("spiffe://example.org/signet/server/two"),
    );
    let theirs = shows(&old);
    let server = rig.server_as(Arc::clone(&theirs), ClientPolicy::Spiffe);
    shake(&client, &server).ok().unwrap();

    mine.set(vec![second.certificate.clone()], &second.key).unwrap();
    theirs.set(vec![new.certificate.clone()], &new.key).unwrap();
    let (at_client, at_server) = shake(&client, &server).ok().unwrap();
    assert_eq!(peer_identity(&at_server).spiffe_id().unwrap().path(), "/web2");
    assert_eq!(
        peer_identity(&at_client).spiffe_id().unwrap().path(),
        "/signet/server/two"
    );
    assert_eq!(mine.chain(), core::slice::from_ref(&second.certificate));

    // Key and certificate that do not fit are not shown, and what was shown stays.
    let misfit = mine
        .set(vec![second.certificate.clone()], &first.key)
        .unwrap_err();
    assert!(
        matches!(misfit, TlsError::OwnCertificate(X509SvidError::PrivateKey)),
        "spiffe-49"
    );
    assert!(matches!(
        mine.set(Vec::new(), &first.key),
        Err(TlsError::OwnCertificate(_))
    ));
    assert_eq!(mine.chain(), [second.certificate]);
}

#[test]
fn clients_insist_on_the_peer_that_was_meant() {
    let rig = Rig::new();
    let theirs = Authority::root("example.com");
    rig.trust.store(Arc::new(
        view(&rig.root).with_bundle(bundle("example.com", &theirs)),
    ));
    let other_domain = "spiffe://example.com/signet/server/one";
    let meets = |rule: &PeerRule, id: &str| {
        let root = if id.starts_with("spiffe://example.com") {
            &theirs
        } else {
            &rig.root
        };
        let server = rig.server_as(shows(&root.leaf(id)), ClientPolicy::None);
        let client = rig.client_as(Arc::new(LiveIdentity::none()), rule.clone());
        match shake(&client, &server) {
            Ok(_) => true,
            Err(failed) => {
                assert!(
                    matches!(failed.clients(), TlsError::UnexpectedPeer { .. }),
                    "{rule} {id}"
                );
                false
            }
        }
    };
    let server = PeerRule::server();
    assert!(meets(&server, SERVER));
    assert!(!meets(&server, "spiffe://example.org/signet/serverX/one"));
    assert!(!meets(&server, "spiffe://example.org/signet/server"));
    assert!(!meets(&server, "spiffe://example.org/web"));
    assert!(!meets(&server, other_domain));
    let exact = PeerRule::ExactId(SERVER.parse().unwrap());
    assert!(meets(&exact, SERVER));
    assert!(!meets(&exact, "spiffe://example.org/signet/server/one/more"));
    let any = PeerRule::AnyOfTrustDomain("example.com".parse().unwrap());
    assert!(meets(&any, other_domain));
    assert!(!meets(&any, SERVER));
}

/// Shows a certificate without having its key.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    let rig = Rig::new();
    let stolen = [
        rig.root.leaf(CLIENT).certificate,
        Recipe::web("x")
            .uris(&[])
            .subject("node")
            .self_signed()
            .certificate,
    ];
    for certificate in stolen {
        let other = LocalKey::generate(KeyKind::P256).unwrap().to_pkcs8().unwrap();
        let other = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(other.expose()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&other).unwrap();
        let thief = Thief(Arc::new(CertifiedKey::new(vec![certificate], key)));
        let mut client = (*rig.client()).clone();
        client.client_auth_cert_resolver = Arc::new(thief);
        let failed = refused(shake(&Arc::new(client), &rig.server(ClientPolicy::SpiffeOrProof)));
        assert!(failed.server.is_some());
    }
    // The first of the two fails for its signature alone.
    let leaf = rig.root.leaf(CLIENT);
    let other = LocalKey::generate(KeyKind::P256).unwrap().to_pkcs8().unwrap();
    let other = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(other.expose()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&other).unwrap();
    let mut client = (*rig.client()).clone();
    client.client_auth_cert_resolver =
        Arc::new(Thief(Arc::new(CertifiedKey::new(vec![leaf.certificate], key))));
    let failed = refused(shake(&Arc::new(client), &rig.server(ClientPolicy::Spiffe)));
    assert_eq!(
        failed.server,
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::BadSignature
        ))
    );
}

#[test]
fn tls_1_2_is_not_spoken() {
    let rig = Rig::new();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let failed = refused(shake(&Arc::new(old), &rig.server(ClientPolicy::None)));
    assert!(
        matches!(failed.server, Some(rustls::Error::PeerIncompatible(_))),
        "{:?}",
        failed.server
    );
}

#[test]
fn a_refusal_is_found_inside_an_io_error() {
    let rig = Rig::new();
    let theirs = Authority::root("example.com");
    let forged = rig.client_as(
        shows(&theirs.leaf("spiffe://example.com/web")),
        PeerRule::server(),
    );
    let failed = refused(shake(&forged, &rig.server(ClientPolicy::Spiffe)));
    let io = std::io::Error::new(std::io::ErrorKind::InvalidData, failed.server.unwrap());
    let found = signet_tls::cause(&io).unwrap();
    assert_eq!(found.code(), "SGCK015");
    assert!(signet_tls::cause(&std::io::Error::other("no")).is_none());
}

#[test]
fn the_register_is_whole() {
    assert_eq!(signet_fault::flaws(&[signet_tls::REGISTER]), []);
}
