//! Listeners and clients against each other, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod drain;
mod limits;
mod tls;

use bytes::Bytes;
use core::convert::Infallible;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use signet_net::client::{Client, Endpoint};
use signet_net::{CancellationToken, Limits, NetError, UnixOptions, UnixServer, serve_unix};
use signet_sys::Peer;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// Says who asks, then what was sent.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let pid = request.extensions().get::<Peer>().map(Peer::pid);
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map(|b| b.to_bytes())
        .unwrap_or_default();
    let body = format!("{path} {pid:?} {}", String::from_utf8_lossy(&body));
    Ok(Response::new(Full::new(body.into())))
}

struct Running {
    _dir: tempfile::TempDir,
    path: PathBuf,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn start(limits: Limits) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.sock");
    let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve_unix(
        server,
        tower::service_fn(answer),
        limits,
        shutdown.clone(),
    ));
    Running {
        _dir: dir,
        path,
        shutdown,
        task,
    }
}

fn client(path: &Path) -> Client {
    Client::new(Endpoint::Unix(path.to_path_buf()))
}

#[tokio::test]
async fn a_request_over_a_socket_carries_its_peer() {
    let running = start(Limits::admin());
    let reply = client(&running.path)
        .send(
            Method::POST,
            "/a?b=c",
            &[("x-a", "b")],
            Bytes::from_static(b"hello"),
        )
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    let expected = format!("/a Some({}) hello", std::process::id());
    assert_eq!(reply.body, expected);
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert!(!running.path.exists());
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let absent = client(&dir.path().join("no.sock"));
    let error = absent
        .send(Method::GET, "/", &[], Bytes::new())
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::Absent { .. }), "{error}");
    let https = Client::new(Endpoint::parse("https://127.0.0.1:1").unwrap());
    let error = https.send(Method::GET, "/", &[], Bytes::new()).await.unwrap_err();
    assert!(matches!(error, NetError::NoTls { .. }), "{error}");
    let running = start(Limits::admin());
    let short = client(&running.path).with_answer_bytes_max(3);
    let error = short.send(Method::GET, "/", &[], Bytes::new()).await.unwrap_err();
    assert!(matches!(error, NetError::AnswerLength { max: 3, .. }), "{error}");
}
