use bytes::Bytes;
use http::{Extensions, Method};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use signet_net::client::{Client, Endpoint};
use signet_net::{CancellationToken, Limits, NetError, TcpServer, serve_tls};
use std::sync::Arc;

fn configs() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn start(
    tls: Arc<rustls::ServerConfig>,
    verdict: Result<u32, &'static str>,
) -> (
    std::net::SocketAddr,
    CancellationToken,
    tokio::task::JoinHandle<()>,
) {
    let server = TcpServer::bind("127.0.0.1:0".parse().unwrap(), "test")
        .await
        .unwrap();
    let address = server.address();
    let shutdown = CancellationToken::new();
    let identify = move |_: &rustls::ServerConnection| {
        verdict.map(|number| {
            let mut extensions = Extensions::new();
            extensions.insert(number);
            extensions
        })
    };
    let service = tower::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let number = request.extensions().get::<u32>().copied();
        let remote = request.extensions().get::<signet_net::RemoteAddr>().is_some();
        let body = http_body_util::Full::new(Bytes::from(format!("{number:?} {remote}")));
        Ok::<_, core::convert::Infallible>(http::Response::new(body))
    });
    let serving = serve_tls(server, tls, identify, service, Limits::admin(), shutdown.clone());
    (address, shutdown, tokio::spawn(serving))
}

#[tokio::test]
async fn what_the_handshake_proved_reaches_the_request() {
    let (server, client) = configs();
    let (address, shutdown, serving) = start(server, Ok(7)).await;
    let endpoint = Endpoint::parse(&format!("https://{address}")).unwrap();
    let reply = Client::new(endpoint)
        .with_tls(client)
        .send(Method::GET, "/", &[], Bytes::new())
        .await
        .unwrap();
    assert_eq!(reply.body, "Some(7) true");
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_peer_that_is_not_known_gets_nothing() {
    let (server, client) = configs();
    let (address, ..) = start(server, Err("nobody")).await;
    let endpoint = Endpoint::parse(&format!("https://{address}")).unwrap();
    let reply = Client::new(endpoint)
        .with_tls(client)
        .send(Method::GET, "/", &[], Bytes::new())
        .await;
    assert!(matches!(reply, Err(NetError::Exchange { .. })), "{reply:?}");
}

#[tokio::test]
async fn a_server_of_another_root_is_not_trusted() {
    let (server, _) = configs();
    let (_, stranger) = configs();
    let (address, ..) = start(server, Ok(7)).await;
    let endpoint = Endpoint::parse(&format!("https://{address}")).unwrap();
    let reply = Client::new(endpoint)
        .with_tls(stranger)
        .send(Method::GET, "/", &[], Bytes::new())
        .await;
    assert!(matches!(reply, Err(NetError::Handshake { .. })), "{reply:?}");
}

#[tokio::test]
async fn a_peer_that_has_no_reason_to_stay_is_let_go() {
    use tokio::io::AsyncReadExt as _;
    let (server, client) = configs();
    let listener = TcpServer::bind("127.0.0.1:0".parse().unwrap(), "test")
        .await
        .unwrap();
    let address = listener.address();
    let identify = |_: &rustls::ServerConnection| {
        let mut extensions = Extensions::new();
        extensions.insert(signet_net::ConnectionAge(core::time::Duration::from_millis(20)));
        Ok::<_, core::convert::Infallible>(extensions)
    };
    let service = tower::service_fn(super::answer);
    let shutdown = CancellationToken::new();
    tokio::spawn(serve_tls(
        listener,
        server,
        identify,
        service,
        Limits::admin(),
        shutdown,
    ));
    let mut stream = signet_net::client::channel::tls_stream(&address.to_string(), client)
        .await
        .unwrap();
    assert_eq!(
        stream.read(&mut [0; 16]).await.unwrap(),
        0,
        "closed without a word"
    );
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    use tokio::io::AsyncReadExt as _;
    let (tls, _) = configs();
    let server = TcpServer::bind("127.0.0.1:0".parse().unwrap(), "test")
        .await
        .unwrap();
    let address = server.address();
    let shutdown = CancellationToken::new();
    let limits = Limits {
        connections_per_address_max: 2,
        ..Limits::public()
    };
    let identify = |_: &rustls::ServerConnection| Ok::<_, core::convert::Infallible>(Extensions::new());
    let service = tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
        Ok::<_, core::convert::Infallible>(http::Response::new(http_body_util::Empty::<Bytes>::new()))
    });
    let serving = tokio::spawn(serve_tls(
        server,
        tls,
        identify,
        service,
        limits,
        shutdown.clone(),
    ));
    let connect = || tokio::net::TcpStream::connect(address);
    let (first, second) = (connect().await.unwrap(), connect().await.unwrap());
    let mut third = connect().await.unwrap();
    let mut rest = Vec::new();
    match third.read_to_end(&mut rest).await {
        Ok(read) => assert_eq!(read, 0, "closed at once"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    drop((first, second));
    shutdown.cancel();
    serving.await.unwrap();
}
