use super::{client, start};
use bytes::Bytes;
use core::time::Duration;
use http::Method;
use signet_net::{Limits, NetError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Whether the server closes `stream` without having sent anything but HTTP/2 frames.
async fn is_closed(mut stream: UnixStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest).await {
        Ok(_) => true,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_closed_at_once() {
    let running = start(Limits {
        connections_max: 2,
        ..Limits::admin()
    });
    let first = UnixStream::connect(&running.path).await.unwrap();
    let second = UnixStream::connect(&running.path).await.unwrap();
    assert!(is_closed(UnixStream::connect(&running.path).await.unwrap()).await);
    drop((first, second));
    // Their places come back as soon as the server has seen them go.
    loop {
        match client(&running.path)
            .send(Method::GET, "/", &[], Bytes::new())
            .await
        {
            Ok(reply) => break assert_eq!(reply.status, 200),
            Err(NetError::Exchange { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn one_user_cannot_take_all_places() {
    let running = start(Limits {
        connections_per_user_max: 1,
        ..Limits::admin()
    });
    let _first = UnixStream::connect(&running.path).await.unwrap();
    assert!(is_closed(UnixStream::connect(&running.path).await.unwrap()).await);
}

#[tokio::test]
async fn who_never_begins_is_shown_out() {
    let short = Duration::from_millis(20);
    for limits in [Limits::workload(), Limits::admin()] {
        let running = start(Limits {
            handshake_timeout: short,
            header_timeout: short,
            ..limits
        });
        let mut slow = UnixStream::connect(&running.path).await.unwrap();
        slow.write_all(b"P").await.unwrap();
        assert!(is_closed(slow).await);
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let running = start(Limits::admin());
    let long = "x".repeat(64 << 10);
    let reply = client(&running.path)
        .send(Method::GET, "/", &[("x-long", &long)], Bytes::new())
        .await;
    match reply {
        Ok(reply) => assert_eq!(reply.status, 431),
        // The server may close before it has read all that was sent.
        Err(error) => assert!(matches!(error, NetError::Exchange { .. }), "{error}"),
    }
    let after = client(&running.path)
        .send(Method::GET, "/", &[], Bytes::new())
        .await
        .unwrap();
    assert_eq!(after.status, 200);
}
