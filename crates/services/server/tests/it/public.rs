//! The public port of a whole server.

use crate::world::{Wall, clock, config, create_entry, join, join_string, start};
use bytes::Bytes;
use core::time::Duration;
use http::Method;
use rustls::pki_types::UnixTime as TlsUnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use signet_check::x509::verify_svid;
use signet_fault::Coded as _;
use signet_jose::base64url;
use signet_net::client::{Client, Endpoint, Reply, channel};
use signet_proto::agent::v1;
use signet_server::{Config, Handle, Server, Web, WebFiles};
use signet_surface_publish::PublicUrl;
use signet_testkit::ManualClock;
use signet_testkit::forge::{Authority, Leaf, Recipe};
use signet_time::{Clock as _, SharedClock};
use signet_trust::{Bundle, TrustView};
use signet_x509::{Certificate, Der, pem};
use std::path::Path;
use std::sync::Arc;

struct At(SharedClock);

impl TimeProvider for At {
    fn current_time(&self) -> Option<TlsUnixTime> {
        Some(TlsUnixTime::since_unix_epoch(Duration::from_secs(
            self.0.now().as_secs(),
        )))
    }
}

impl core::fmt::Debug for At {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("At")
    }
}

/// A client of the web: it trusts `roots` and looks at names.
fn tls(roots: &[Der], clock: SharedClock) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(At(clock)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    Arc::new(config)
}

fn roots(server: &Handle) -> Vec<Der> {
    pem::parse_certs(server.root_pem().as_bytes()).unwrap()
}

async fn fetch(base: &str, path: &str, tls: Arc<ClientConfig>) -> Reply {
    let reply = Client::new(Endpoint::parse(base).unwrap())
        .with_tls(tls)
        .send(Method::GET, path, &[], Bytes::new())
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

async fn end(server: Handle) {
    server.shutdown();
    server.finished().await.unwrap();
}

/// A JWT-SVID as a workload of a new node gets it.
async fn token(server: &Handle) -> String {
    let entry = create_entry(server, "/w").await;
    let node = join(&join_string(server).await).await;
    let mut client = node.connect(&server.addresses().agents.to_string());
    let id = entry.id.unwrap();
    let entry_id = (0..16)
        .map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap())
        .collect::<Vec<_>>();
    let wish = v1::issue_item::Wish::Jwt(v1::JwtWish {
        audience: vec!["backend".into()],
    });
    let item = v1::IssueItem {
        entry_id: entry_id.into(),
        wish: Some(wish),
        ..v1::IssueItem::default()
    };
    let answers = client
        .issue(v1::IssueRequest { items: vec![item] })
        .await
        .unwrap();
    match answers.into_inner().answers.remove(0).outcome {
        Some(v1::issue_answer::Outcome::Jwt(jwt)) => jwt.token,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_the_public_port_is_localhost_under_our_own_root() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let port = server.addresses().https.port();
    assert_eq!(server.public_url(), format!("https://localhost:{port}"));
    assert_eq!(server.jwt_issuer(), format!("https://localhost:{port}/workload"));
    let client = tls(&roots(&server), clock());
    for base in [
        server.public_url().to_owned(),
        format!("https://127.0.0.1:{port}"),
    ] {
        let root = fetch(&base, "/ca/root.pem", Arc::clone(&client)).await;
        assert_eq!(root.body, server.root_pem().as_bytes());
    }
    // The bundle that everybody gets makes the server's own SVID valid.
    let bundle = fetch(server.public_url(), "/bundle", Arc::clone(&client)).await;
    let bundle = Bundle::parse_spiffe(server.trust_domain().clone(), &bundle.body).unwrap();
    assert_eq!(bundle.x509().len(), 2);

    let stream = channel::tls_stream(&format!("127.0.0.1:{port}"), Arc::clone(&client)).await;
    let chain = stream.unwrap().get_ref().1.peer_certificates().unwrap().to_vec();
    let leaf = Certificate::parse(&chain[0]).unwrap();
    assert_eq!(leaf.dns_names()[0], "localhost");
    let host = signet_sys::names::host().unwrap().to_ascii_lowercase();
    assert!(host == "localhost" || leaf.dns_names().contains(&host), "{host}");
    assert_eq!(leaf.ip_addresses(), [std::net::IpAddr::from([127, 0, 0, 1])]);
    // It is nobody: the SPIFFE verifier refuses it, though it chains up to the root of the bundle.
    let view = TrustView::new(server.trust_domain().clone()).with_bundle(bundle);
    verify_svid(&chain, &view, Wall.now()).unwrap_err();

    // Administration is not here.
    let reply = Client::new(Endpoint::parse(server.public_url()).unwrap())
        .with_tls(client)
        .send(Method::GET, "/api/v1/entries", &[], Bytes::new())
        .await
        .unwrap();
    assert_eq!(reply.status, 404);
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_port_reads_no_more_than_a_head() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let client = tls(&roots(&server), clock());
    let address = server.addresses().https.to_string();
    let ask = async |head: &str| {
        let mut stream = channel::tls_stream(&address, Arc::clone(&client)).await.unwrap();
        // The server ends what it refuses, maybe before it has all of it; how it closes is not the question.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    };
    for path in ["/bundle", "/nothing"] {
        let long = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n",
            "x".repeat(20_000)
        );
        let many = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{}\r\n",
            "a: b\r\n".repeat(100)
        );
        for head in [long, many] {
            let answer = ask(&head).await;
            assert!(
                answer.starts_with("HTTP/1.1 431 ")
                    && answer.contains("content-type: application/problem+json")
                    && answer.contains("SGNE020"),
                "{answer}"
            );
        }
    }
    // Beyond what is read at all, there is nobody left to say more.
    let longer = format!(
        "GET /bundle HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let answer = ask(&longer).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    // A body that never comes is not waited for.
    let body = ask("GET /bundle HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n").await;
    assert!(
        body.starts_with("HTTP/1.1 413 ") && body.contains("SGPB003"),
        "{body}"
    );
    let head = ask("HEAD /bundle HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(
        head.contains("content-length: ") && !head.contains("content-length: 0\r\n"),
        "{head}"
    );
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_r2_a_token_leads_to_the_discovery_and_the_key_that_verify_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let token = token(&server).await;
    let part = |n: usize| {
        let bytes = base64url::decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    let issuer = claims["iss"].as_str().unwrap();
    let client = tls(&roots(&server), clock());
    // As OpenID Connect Discovery §4 has it: the well-known name behind the issuer.
    let base = server.public_url();
    let path = issuer.strip_prefix(base).unwrap();
    let found = format!("{path}/.well-known/openid-configuration");
    let metadata = json(&fetch(base, &found, Arc::clone(&client)).await);
    assert_eq!(metadata["issuer"], issuer);
    let keys = metadata["jwks_uri"].as_str().unwrap().strip_prefix(base).unwrap();
    let set = json(&fetch(base, keys, Arc::clone(&client)).await);
    let mut named = set["keys"].as_array().unwrap().iter();
    let key = named.find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!(key["alg"], header["alg"]);
    // And no key of the other issuer would do.
    let other = json(&fetch(base, "/oauth2/jwks", client).await);
    assert_eq!(other["keys"], Value::Array(Vec::new()));
    end(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_certificate_is_renewed_at_half_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(Wall.now());
    let server = Server::start(config(dir.path()), Arc::new(clock.clone()))
        .await
        .unwrap();
    let client = tls(&roots(&server), Arc::new(clock.clone()));
    let address = server.addresses().https.to_string();
    let leaf = async || {
        let stream = channel::tls_stream(&address, Arc::clone(&client)).await.unwrap();
        Certificate::parse(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
    };
    let first = leaf().await;
    let life = first.not_after().since(first.not_before());
    clock.advance(life / 2 + Duration::from_secs(1));
    // Any change wakes whoever follows the log; without one the server looks at the clock by itself, later.
    create_entry(&server, "/w").await;
    let mut next = leaf().await;
    while next.serial_hex() == first.serial_hex() {
        next = leaf().await;
    }
    assert!(next.not_after() > first.not_after());
    end(server).await;
}

fn write(leaf: &Leaf, files: &WebFiles) {
    let key = pem::encode_key(&leaf.key.to_pkcs8().unwrap());
    std::fs::write(&files.key, key.expose()).unwrap();
    std::fs::write(&files.certificate, pem::encode_certs(&[&leaf.certificate])).unwrap();
}

fn web(dir: &Path) -> (Web, WebFiles) {
    let files = WebFiles {
        certificate: dir.join("web.pem"),
        key: dir.join("web.key"),
    };
    let web = Web {
        url: Some(PublicUrl::parse("https://id.example.org").unwrap()),
        files: Some(files.clone()),
        spiffe_name: Some("localhost".to_owned()),
    };
    (web, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_87_with_settings_the_port_shows_their_certificate_and_by_name_the_servers_svid() {
    let dir = tempfile::tempdir().unwrap();
    let (web, files) = web(dir.path());
    let now = Wall.now();
    let public = Authority::root_from(
        Recipe::ca("web.example").valid(now - Duration::from_secs(60), now + Duration::from_hours(2)),
        signet_crypto::KeyKind::P256,
    );
    let recipe =
        Recipe::web("id.example.org").valid(now - Duration::from_secs(60), now + Duration::from_hours(1));
    let leaf = public.leaf_from(recipe);
    write(&leaf, &files);
    let config = Config {
        web,
        ..config(dir.path())
    };
    let server = start(config).await;
    assert_eq!(server.jwt_issuer(), "https://id.example.org/workload");
    let port = server.addresses().https.port();
    let shown = async |name: &str| {
        let seen = Arc::new(crate::world::Seen::default());
        let tls = crate::world::looking(Arc::clone(&seen));
        // What is shown is the question here, not whether this client would take it.
        let _ = channel::tls_stream(&format!("{name}:{port}"), tls).await;
        seen.chain()
    };
    assert_eq!(shown("127.0.0.1").await, [leaf.certificate]);
    let svid = shown("localhost").await;
    let bundle = json_bundle(&server);
    let view = TrustView::new(server.trust_domain().clone()).with_bundle(bundle);
    let verified = verify_svid(&svid, &view, now).unwrap();
    assert_eq!(verified.id.as_str(), "spiffe://dev.test/signet/server/dev");
    end(server).await;
}

/// The bundle of the roots that the handle gives.
fn json_bundle(server: &Handle) -> Bundle {
    let x509 = roots(server)
        .into_iter()
        .map(|certificate| signet_trust::X509Authority {
            certificate,
            tainted: false,
        })
        .collect();
    Bundle::new(server.trust_domain().clone(), 1, None, x509, Vec::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (web, files) = web(dir.path());
    let refused = async || {
        let config = Config {
            web: web.clone(),
            ..config(dir.path())
        };
        Server::start(config, clock()).await.err().unwrap()
    };
    let error = refused().await;
    assert_eq!(error.code(), "SGSV014");
    assert!(error.to_string().contains("web.pem"), "{error}");
    let root = Authority::root("web.example");
    write(&root.leaf_from(Recipe::web("id.example.org")), &files);
    let other = root.leaf_from(Recipe::web("id.example.org"));
    std::fs::write(&files.certificate, pem::encode_certs(&[&other.certificate])).unwrap();
    assert_eq!(refused().await.code(), "SGTL010");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_not_served_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        jwt_issuer: Some("https://id.example.org/workload".to_owned()),
        ..config(dir.path())
    };
    let error = Server::start(config, clock()).await.err().unwrap();
    assert_eq!(error.code(), "SGSV013");
    assert!(error.to_string().contains("https://localhost:"), "{error}");
}
