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

#[tokio::test]
async fn guests_have_few_places_and_others_theirs_beside_them() {
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (tls, client) = configs();
    let server = TcpServer::bind("127.0.0.1:0".parse().unwrap(), "test")
        .await
        .unwrap();
    let address = server.address();
    // The first two who come are guests, and the third; the fourth is not.
    let came = Arc::new(AtomicU32::new(0));
    let identify = move |_: &rustls::ServerConnection| {
        let mut extensions = Extensions::new();
        if came.fetch_add(1, Ordering::SeqCst) < 3 {
            extensions.insert(signet_net::Guest {
                age: core::time::Duration::from_secs(86_400),
                unused: core::time::Duration::from_secs(86_400),
                streams_max: 1,
                window_bytes: 65_535,
            });
        }
        Ok::<_, core::convert::Infallible>(extensions)
    };
    let limits = Limits {
        guests_max: 8,
        guests_per_address_max: 2,
        ..Limits::admin()
    };
    let shutdown = CancellationToken::new();
    let service = tower::service_fn(super::answer);
    let serving = tokio::spawn(serve_tls(
        server,
        tls,
        identify,
        service,
        limits,
        shutdown.clone(),
    ));
    let address = address.to_string();
    let mut open = Vec::new();
    for (nth, is_served) in [true, true, false, true].into_iter().enumerate() {
        let mut stream = signet_net::client::channel::tls_stream(&address, Arc::clone(&client))
            .await
            .unwrap();
        // One that was refused may be closed before it has asked.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answered = stream.read(&mut [0; 8]).await.unwrap_or(0);
        assert_eq!(answered > 0, is_served, "number {nth}");
        open.push(stream);
    }
    drop(open);
    shutdown.cancel();
    serving.await.unwrap();
}

/// Serves `answer` with `limits`; whoever comes is what `identify` makes of how many came before.
async fn serve(
    tls: Arc<rustls::ServerConfig>,
    limits: Limits,
    identify: impl Fn(u64) -> Extensions + Clone + Send + 'static,
) -> (String, CancellationToken, tokio::task::JoinHandle<()>) {
    let server = TcpServer::bind("127.0.0.1:0".parse().unwrap(), "test")
        .await
        .unwrap();
    let (address, shutdown) = (server.address().to_string(), CancellationToken::new());
    let came = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let identify = move |_: &rustls::ServerConnection| {
        let before = came.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, core::convert::Infallible>(identify(before))
    };
    let service = tower::service_fn(super::answer);
    let serving = serve_tls(server, tls, identify, service, limits, shutdown.clone());
    (address, shutdown, tokio::spawn(serving))
}

type Stream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// Whether a request on `stream` is answered.
async fn is_answered(stream: &mut Stream) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // One that was refused may be closed before it has asked.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    stream.read(&mut [0; 1_024]).await.unwrap_or(0) > 0
}

async fn connect(address: &str, tls: &Arc<rustls::ClientConfig>) -> Result<Stream, NetError> {
    signet_net::client::channel::tls_stream(address, Arc::clone(tls)).await
}

#[tokio::test]
async fn who_says_nothing_takes_few_places_from_one_address_and_none_of_those_that_are_done() {
    let (tls, client) = configs();
    let limits = Limits {
        handshakes_per_address_max: 2,
        handshake_timeout: core::time::Duration::from_secs(86_400),
        ..Limits::admin()
    };
    let (address, shutdown, serving) = serve(tls, limits, |_| Extensions::new()).await;
    // More than may shake hands at once: who is done does not count.
    let mut done = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&address, &client).await.unwrap();
        assert!(is_answered(&mut stream).await);
        done.push(stream);
    }
    let silent = [
        tokio::net::TcpStream::connect(&address).await.unwrap(),
        tokio::net::TcpStream::connect(&address).await.unwrap(),
    ];
    let refused = connect(&address, &client).await;
    assert!(matches!(refused, Err(NetError::Handshake { .. })), "{refused:?}");
    for stream in &mut done {
        assert!(is_answered(stream).await);
    }
    // Another address has its own share.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(address.parse().unwrap()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut other = tokio_rustls::TlsConnector::from(Arc::clone(&client))
        .connect(name, other)
        .await
        .unwrap();
    assert!(is_answered(&mut other).await);
    // Places come back as soon as the silent ones go, which the server hears in its own time.
    drop(silent);
    while connect(&address, &client).await.is_err() {
        tokio::task::yield_now().await;
    }
    drop((done, other));
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn all_handshakes_together_leave_places_to_others() {
    let (tls, client) = configs();
    let limits = Limits {
        handshakes_max: 1,
        handshake_timeout: core::time::Duration::from_secs(86_400),
        ..Limits::admin()
    };
    let (address, shutdown, serving) = serve(tls, limits, |_| Extensions::new()).await;
    let mut done = connect(&address, &client).await.unwrap();
    assert!(is_answered(&mut done).await);
    let silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    let refused = connect(&address, &client).await;
    assert!(matches!(refused, Err(NetError::Handshake { .. })), "{refused:?}");
    assert!(is_answered(&mut done).await);
    drop((silent, done));
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_member_has_a_share_of_the_places() {
    let (tls, client) = configs();
    let limits = Limits {
        connections_per_member_max: 2,
        ..Limits::admin()
    };
    // Three connections of one member, and then one of another.
    let identify = |before: u64| {
        let mut extensions = Extensions::new();
        extensions.insert(signet_net::Member(before / 3));
        extensions
    };
    let (address, shutdown, serving) = serve(tls, limits, identify).await;
    let mut open = Vec::new();
    for (nth, is_served) in [true, true, false, true].into_iter().enumerate() {
        let mut stream = connect(&address, &client).await.unwrap();
        assert_eq!(is_answered(&mut stream).await, is_served, "number {nth}");
        open.push(stream);
    }
    drop(open);
    shutdown.cancel();
    serving.await.unwrap();
}
