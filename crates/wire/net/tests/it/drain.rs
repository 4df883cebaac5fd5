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
