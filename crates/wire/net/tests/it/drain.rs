use bytes::Bytes;
use core::convert::Infallible;
use core::time::Duration;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use signet_net::client::{Client, Endpoint};
use signet_net::{CancellationToken, Limits, UnixOptions, UnixServer, serve_unix};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A service whose answers wait for a permit, and which says when a request came.
fn gated(
    came: Arc<Semaphore>,
    gate: Arc<Semaphore>,
) -> impl tower::Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send,
> + Clone
+ Send
+ Sync {
    tower::service_fn(move |_| {
        came.add_permits(1);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Response::new(Full::new(Bytes::from_static(b"done"))))
        }
    })
}

#[tokio::test]
async fn work_in_flight_finishes_and_nothing_new_begins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let (came, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
    let shutdown = CancellationToken::new();
    let service = gated(Arc::clone(&came), Arc::clone(&gate));
    let serving = tokio::spawn(serve_unix(server, service, Limits::admin(), shutdown.clone()));
    let client = Client::new(Endpoint::Unix(path.clone()));
    let asking = {
        let client = client.clone();
        tokio::spawn(async move { client.send(http::Method::GET, "/", &[], Bytes::new()).await })
    };
    came.acquire().await.unwrap().forget();
    shutdown.cancel();
    // The listener is gone before the request is answered.
    while path.exists() {
        tokio::task::yield_now().await;
    }
    assert!(
        client
            .send(http::Method::GET, "/", &[], Bytes::new())
            .await
            .is_err()
    );
    assert!(!serving.is_finished());
    gate.add_permits(1);
    assert_eq!(asking.await.unwrap().unwrap().body, "done");
    serving.await.unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let (came, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
    let shutdown = CancellationToken::new();
    let limits = Limits {
        drain_timeout: Duration::from_millis(10),
        ..Limits::admin()
    };
    let service = gated(Arc::clone(&came), gate);
    let serving = tokio::spawn(serve_unix(server, service, limits, shutdown.clone()));
    let client = Client::new(Endpoint::Unix(path));
    let asking = tokio::spawn(async move { client.send(http::Method::GET, "/", &[], Bytes::new()).await });
    came.acquire().await.unwrap().forget();
    shutdown.cancel();
    serving.await.unwrap();
    assert!(asking.await.unwrap().is_err());
}

/// An HTTP/2 peer written by hand, that asks and then reads only when the test does.
mod peer {
    use std::path::Path;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    pub(super) const GOAWAY: u8 = 7;
    pub(super) const HEADERS: u8 = 1;

    /// The preface, empty settings, and a request for `/` on stream 1 that ends at once.
    const ASK: &[&[u8]] = &[
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
        // GET, http, / by index, and the authority `a` as a literal.
        &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a'],
    ];

    pub(super) async fn ask(path: &Path) -> UnixStream {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(&ASK.concat()).await.unwrap();
        stream
    }

    /// The kinds of all frames until the other side closes.
    pub(super) async fn rest(mut stream: UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let (mut kinds, mut left) = (Vec::new(), bytes.as_slice());
        while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = left {
            kinds.push(*kind);
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            left = rest.get(length..).unwrap();
        }
        kinds
    }
}

/// Limits under which only an answer to every question, or our own word, ends a drain.
fn endless() -> Limits {
    Limits {
        drain_timeout: Duration::from_secs(86_400),
        ..Limits::workload()
    }
}

#[tokio::test]
async fn a_peer_that_hangs_is_told_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let (came, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(1)));
    let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
    let shutdown = CancellationToken::new();
    let service = gated(Arc::clone(&came), gate);
    let serving = tokio::spawn(serve_unix(server, service, endless(), shutdown.clone()));
    // One has asked and reads nothing, so it does not confirm that it was told; one has not even begun.
    let asked = peer::ask(&path).await;
    let silent = tokio::net::UnixStream::connect(&path).await.unwrap();
    came.acquire().await.unwrap().forget();
    shutdown.cancel();
    serving.await.unwrap();
    let frames = peer::rest(asked).await;
    assert!(frames.contains(&peer::HEADERS), "the answer was sent: {frames:?}");
    assert!(frames.contains(&peer::GOAWAY), "the peer was told: {frames:?}");
    assert!(!peer::rest(silent).await.contains(&peer::HEADERS));
}

#[tokio::test]
async fn a_peer_that_hangs_is_waited_for_while_its_answer_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let (came, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
    let shutdown = CancellationToken::new();
    let service = gated(Arc::clone(&came), Arc::clone(&gate));
    let serving = tokio::spawn(serve_unix(server, service, endless(), shutdown.clone()));
    let (slow, idle) = (
        peer::ask(&path).await,
        tokio::net::UnixStream::connect(&path).await.unwrap(),
    );
    came.acquire().await.unwrap().forget();
    shutdown.cancel();
    // The idle one ends while the other's answer is not there yet: the drain does not go one after another.
    peer::rest(idle).await;
    assert!(!serving.is_finished());
    gate.add_permits(1);
    serving.await.unwrap();
    let frames = peer::rest(slow).await;
    let at = |kind| frames.iter().position(|found| *found == kind);
    assert!(
        at(peer::GOAWAY) < at(peer::HEADERS),
        "told at once, answered later: {frames:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_gets_all_of_its_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const ANSWER_BYTES: usize = 8 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
    let shutdown = CancellationToken::new();
    let limits = Limits {
        protocol: signet_net::Protocol::Http1,
        ..endless()
    };
    let service = tower::service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
            &[b'x'; ANSWER_BYTES],
        ))))
    });
    let serving = tokio::spawn(serve_unix(server, service, limits, shutdown.clone()));
    let mut slow = tokio::net::UnixStream::connect(&path).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut piece = vec![0; 64 << 10];
    let mut read = slow.read(&mut piece).await.unwrap();
    shutdown.cancel();
    // Less at a time than the kernel holds for it, and long enough in all to be taken for one that hangs.
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match slow.read(&mut piece).await.unwrap() {
            0 => break,
            bytes => read += bytes,
        }
    }
    assert!(read > ANSWER_BYTES, "{read} bytes of an answer of {ANSWER_BYTES}");
    serving.await.unwrap();
}
