//! The public port, met by clients that know names and no identities.

use crate::rig::{Rig, SERVER, shows};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as TlsUnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion, version,
};
use signet_check::x509::verify_svid;
use signet_crypto::Secret;
use signet_fault::Coded as _;
use signet_testkit::forge::{Leaf, Recipe};
use signet_testkit::{ManualClock, START};
use signet_time::Clock as _;
use signet_tls::{LiveIdentity, SpiffeName, WebTls};
use signet_x509::pem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &str = "id.example.org";

#[derive(Debug)]
struct At(ManualClock);

impl TimeProvider for At {
    fn current_time(&self) -> Option<TlsUnixTime> {
        let now = core::time::Duration::from_secs(self.0.now().as_secs());
        Some(TlsUnixTime::since_unix_epoch(now))
    }
}

/// Has no certificate, and remembers whether it was asked for one.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn pem_of(leaf: &Leaf) -> (Vec<u8>, Secret) {
    let certificate = pem::encode_certs(&[&leaf.certificate]);
    (
        certificate.into_bytes(),
        pem::encode_key(&leaf.key.to_pkcs8().unwrap()),
    )
}

fn server(rig: &Rig) -> Arc<ServerConfig> {
    let web = Arc::new(LiveIdentity::none());
    let (certificate, key) = pem_of(&rig.root.leaf_from(Recipe::web(NAME)));
    web.set_pem(&certificate, key.expose()).unwrap();
    let spiffe = SpiffeName {
        name: "spiffe.example.org".to_owned(),
        identity: shows(&rig.root.leaf(SERVER)),
    };
    WebTls::new(web, Some(spiffe), Arc::new(rig.clock.clone()))
        .unwrap()
        .config()
}

fn client(
    rig: &Rig,
    versions: &[&'static SupportedProtocolVersion],
    suites: &[CipherSuite],
) -> (Arc<ClientConfig>, Arc<Asked>) {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !suites.is_empty() {
        provider
            .cipher_suites
            .retain(|suite| suites.contains(&suite.suite()));
    }
    let mut roots = RootCertStore::empty();
    roots.add(rig.root.certificate.clone()).unwrap();
    let asked = Arc::new(Asked::default());
    let mut config = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(At(rig.clock.clone())))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&asked) as Arc<dyn ResolvesClientCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Arc::new(config), asked)
}

/// A whole handshake, or what the client said of it.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<ClientConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..6 {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        for mut bytes in there.chunks(4096) {
            server.read_tls(&mut bytes).unwrap();
            // What the server thinks of it, the client hears as an alert.
            let _ = server.process_new_packets();
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        for mut bytes in back.chunks(4096) {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(client)
}

#[test]
fn spiffe_87_89_clients_of_the_web_are_served_and_never_asked_who_they_are() {
    let rig = Rig::new();
    let server = server(&rig);
    for (versions, version) in [
        (&[&version::TLS13][..], ProtocolVersion::TLSv1_3),
        (&[&version::TLS12][..], ProtocolVersion::TLSv1_2),
        (&[&version::TLS12, &version::TLS13][..], ProtocolVersion::TLSv1_3),
    ] {
        let (client, asked) = client(&rig, versions, &[]);
        let first = shake(&client, &server, NAME).unwrap();
        assert_eq!(first.protocol_version(), Some(version));
        assert_eq!(first.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(!asked.0.load(Ordering::Relaxed), "{version:?}");
        // Nothing was kept of the first for a second.
        let again = shake(&client, &server, NAME).unwrap();
        assert_eq!(again.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn spiffe_87_the_suites_are_those_of_mozillas_intermediate_configuration() {
    let rig = Rig::new();
    let server = server(&rig);
    let offered: Vec<_> = server
        .crypto_provider()
        .cipher_suites
        .iter()
        .map(|suite| suite.suite())
        .collect();
    use CipherSuite as S;
    assert_eq!(
        offered,
        [
            S::TLS13_AES_256_GCM_SHA384,
            S::TLS13_AES_128_GCM_SHA256,
            S::TLS13_CHACHA20_POLY1305_SHA256,
            S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ]
    );
    for suite in offered {
        let version = match suite.as_str() {
            Some(name) if name.starts_with("TLS13") => &version::TLS13,
            _ => &version::TLS12,
        };
        let (client, _) = client(&rig, &[version], &[suite]);
        let done = shake(&client, &server, NAME);
        // The certificate has an elliptic key: suites for RSA have nothing to show.
        let is_rsa = suite.as_str().is_some_and(|name| name.contains("_RSA_"));
        assert_eq!(done.is_err(), is_rsa, "{suite:?}");
    }
}

#[test]
fn spiffe_87_one_port_has_both_profiles_told_apart_by_the_host_name() {
    let rig = Rig::new();
    let server = server(&rig);
    let (client, _) = client(&rig, &[&version::TLS13], &[]);
    let web = shake(&client, &server, NAME).unwrap();
    let shown = web.peer_certificates().unwrap();
    verify_svid(shown, &rig.trust.load(), START).unwrap_err();
    // A client of the web does not take an identity for a name.
    shake(&client, &server, "spiffe.example.org").unwrap_err();
    // Whoever checks identities meets one there, in whatever case the name is written.
    for name in ["spiffe.example.org", "SPIFFE.Example.ORG"] {
        let shown = shown_to(&rig, &server, name);
        let verified = verify_svid(&shown, &rig.trust.load(), START).unwrap();
        assert_eq!(verified.id.as_str(), SERVER);
    }
    for name in [NAME, "other.example.org", "192.0.2.1"] {
        assert_eq!(shown_to(&rig, &server, name), shown, "{name}");
    }
}

/// What the server shows to a client that takes anything.
fn shown_to(rig: &Rig, server: &Arc<ServerConfig>, name: &str) -> Vec<signet_x509::Der> {
    let (client, _) = client(rig, &[&version::TLS13], &[]);
    let mut config = ClientConfig::clone(&client);
    config.dangerous().set_certificate_verifier(Arc::new(Anything));
    let done = shake(&Arc::new(config), server, name).unwrap();
    done.peer_certificates().unwrap().to_vec()
}

/// Takes any certificate: the tests look at it themselves.
#[derive(Debug, Default)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: TlsUnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not asked here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn files_that_do_not_fit_are_refused_and_what_was_shown_stays() {
    let rig = Rig::new();
    let web = LiveIdentity::none();
    let (certificate, key) = pem_of(&rig.root.leaf_from(Recipe::web(NAME)));
    let (_, other) = pem_of(&rig.root.leaf_from(Recipe::web(NAME)));
    web.set_pem(&certificate, key.expose()).unwrap();
    assert!(web.is_for(NAME) && !web.is_for("other.example.org") && !web.is_for("192.0.2.1"));
    assert!(!LiveIdentity::none().is_for(NAME), "nothing is for nobody");
    let shown = web.chain();
    let broken = pem::encode_certs(&[b"no certificate"]);
    for (certificate, key, code) in [
        (certificate.as_slice(), other.expose(), "SGTL010"),
        (b"", key.expose(), "SGTL009"),
        (key.expose(), key.expose(), "SGTL009"),
        (broken.as_bytes(), key.expose(), "SGTL009"),
        (certificate.as_slice(), b"", "SGTL009"),
        (certificate.as_slice(), certificate.as_slice(), "SGTL009"),
    ] {
        let error = web.set_pem(certificate, key).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        let secret = String::from_utf8_lossy(key)
            .lines()
            .nth(1)
            .unwrap_or("?")
            .to_owned();
        assert!(!error.to_string().contains(&secret), "{error}");
        assert_eq!(web.chain(), shown);
    }
}
