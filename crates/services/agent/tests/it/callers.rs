//! Whom the agent takes a caller for.

use crate::helper::{Giver, may_make_user_namespaces};
use crate::world::{Client, World, client, entry, next, raw_call};
use hyper_util::rt::TokioIo;
use signet_agent::Pace;
use signet_proto::workload::{JwtsvidRequest, X509svidRequest};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

/// A channel over the connection that another process opened.
pub(crate) async fn inherit(giver: &mut Giver) -> Channel {
    let stream = std::os::unix::net::UnixStream::from(giver.connection.take().expect("connection"));
    stream.set_nonblocking(true).expect("nonblocking");
    let stream = Arc::new(Mutex::new(Some(
        tokio::net::UnixStream::from_std(stream).expect("stream"),
    )));
    Channel::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = stream.lock().expect("lock").take();
            async move {
                stream
                    .map(TokioIo::new)
                    .ok_or_else(|| std::io::Error::other("there was only one"))
            }
        }))
        .await
        .expect("connect")
}

/// The connection is accepted and its process was looked at once this returns: a refusal comes over it.
pub(crate) async fn await_accepted(channel: &Channel) {
    let status = raw_call(channel.clone(), "/SpiffeWorkloadAPI/FetchX509SVID", &[])
        .await
        .expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
}

pub(crate) async fn await_exec(giver: &Giver) {
    let own = std::env::current_exe().expect("own path");
    while giver.executes().is_none_or(|exe| exe == own) {
        tokio::task::yield_now().await;
    }
}

async fn denied(client: &mut Client) {
    let status = client.fetch_x509svid(X509svidRequest {}).await.expect_err("x509");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let request = JwtsvidRequest {
        audience: vec!["b".to_owned()],
        spiffe_id: String::new(),
    };
    let status = client.fetch_jwtsvid(request).await.expect_err("jwt");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
}

pub(crate) fn quick() -> Pace {
    Pace {
        recheck: Duration::from_millis(10),
        ..Pace::default()
    }
}

#[tokio::test]
async fn who_connects_hands_the_connection_on_and_executes_another_program_gets_nothing() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut giver = Giver::start("exec", world.socket());
    let channel = inherit(&mut giver).await;
    await_accepted(&channel).await;
    giver.go_on();
    await_exec(&giver).await;
    denied(&mut client(channel)).await;
    assert_eq!(
        world.server.x509_issued.load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_executes_another_program() {
    let mut world = World::with_pace(quick());
    world.publish(vec![entry(1, "/a")]).await;
    let mut giver = Giver::start("exec", world.socket());
    let mut client = client(inherit(&mut giver).await);
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream)
        .await
        .expect("entitled as long as it is the one that connected");
    giver.go_on();
    assert_eq!(
        next(&mut stream).await.expect_err("end").code(),
        Code::PermissionDenied
    );
    await_exec(&giver).await;
    denied(&mut client).await;
}

#[tokio::test]
async fn nothing_is_pushed_to_a_caller_that_executed_another_program() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut giver = Giver::start("exec", world.socket());
    let mut client = client(inherit(&mut giver).await);
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    giver.go_on();
    await_exec(&giver).await;
    // At the usual pace nobody has looked again yet; the push is what makes the agent look.
    world.publish(vec![entry(1, "/a"), entry(2, "/b")]).await;
    assert_eq!(
        next(&mut stream).await.expect_err("end").code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_ends_though_another_holds_the_connection() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut giver = Giver::start("end", world.socket());
    let mut client = client(inherit(&mut giver).await);
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    giver.go_on();
    assert_eq!(
        next(&mut stream).await.expect_err("end").code(),
        Code::PermissionDenied
    );
    giver.child.wait().expect("wait");
    denied(&mut client).await;
}

#[tokio::test]
async fn callers_are_told_apart_by_every_selector_of_unix() {
    use std::os::unix::fs::MetadataExt as _;
    let exe = std::env::current_exe().expect("own path");
    let mut wanted = vec![
        format!("unix:uid:{}", signet_sys::process::uid()),
        format!("unix:gid:{}", signet_sys::process::gid()),
        format!("unix:path:{}", exe.display()),
        format!(
            "unix:sha256:{}",
            signet_crypto::digest::hex(&signet_crypto::digest::sha256(
                &std::fs::read(&exe).expect("read")
            ))
        ),
    ];
    if let Some(user) = signet_sys::names::user(signet_sys::process::uid()).expect("lookup") {
        wanted.push(format!("unix:user:{user}"));
    }
    if let Some(group) = signet_sys::names::group(signet_sys::process::gid()).expect("lookup") {
        wanted.push(format!("unix:group:{group}"));
    }
    for group in rustix::process::getgroups().expect("groups") {
        wanted.push(format!("unix:supplementary_gid:{}", group.as_raw()));
        if let Some(name) = signet_sys::names::group(group.as_raw()).expect("lookup") {
            wanted.push(format!("unix:supplementary_group:{name}"));
        }
    }
    // Each alone is enough, and each spoiled is not.
    for selector in wanted {
        let mut one = entry(1, "/a");
        one.selectors = vec![selector.parse().expect("selector")];
        let mut world = World::with(vec![one.clone()]).await;
        world.fetch_x509().await.expect(&selector);
        one.selectors = vec![format!("{selector}0").parse().expect("selector")];
        world.publish(vec![one]).await;
        assert_eq!(
            world.fetch_x509().await.expect_err(&selector).code(),
            Code::PermissionDenied,
            "{selector}0"
        );
    }
    assert!(std::fs::metadata(&exe).expect("stat").size() > 0);
}

#[tokio::test]
async fn a_program_whose_file_was_removed_has_no_path_any_more() {
    let folder = tempfile::tempdir().expect("folder");
    let copy = folder.path().join("program");
    std::fs::copy(std::env::current_exe().expect("own path"), &copy).expect("copy");
    let mut by_path = entry(1, "/a");
    by_path.selectors = vec![format!("unix:path:{}", copy.display()).parse().expect("selector")];
    let world = World::with(vec![by_path]).await;
    let mut there = Giver::start_as(&copy, "end", world.socket());
    let mut gone = Giver::start_as(&copy, "end", world.socket());
    let stream = client(inherit(&mut there).await)
        .fetch_x509svid(X509svidRequest {})
        .await;
    next(&mut stream.expect("open").into_inner())
        .await
        .expect("its path is its own");
    // The name now leads to another file.
    std::fs::remove_file(&copy).expect("remove");
    std::fs::write(&copy, "another program").expect("write");
    let status = client(inherit(&mut gone).await)
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect_err("denied");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_ne!(gone.executes().as_ref(), Some(&copy), "marked as deleted");
}

#[tokio::test]
async fn a_caller_in_a_user_namespace_of_its_own_is_its_user_and_no_program() {
    if !may_make_user_namespaces() {
        return;
    }
    let exe = std::env::current_exe().expect("own path");
    let hash = signet_crypto::digest::sha256(&std::fs::read(&exe).expect("read"));
    let with = |number, path: &str, selector: String| {
        let mut entry = entry(number, path);
        entry.selectors = vec![selector.parse().expect("selector")];
        entry
    };
    let world = World::with(vec![
        entry(1, "/user"),
        with(2, "/path", format!("unix:path:{}", exe.display())),
        with(
            3,
            "/sha256",
            format!("unix:sha256:{}", signet_crypto::digest::hex(&hash)),
        ),
    ])
    .await;
    let mut near = Giver::start("end", world.socket());
    let mut apart = Giver::start_apart("end", world.socket());
    assert_eq!(apart.executes(), near.executes(), "the very same program");
    for (giver, wanted) in [(&mut near, 3), (&mut apart, 1)] {
        let stream = client(inherit(giver).await)
            .fetch_x509svid(X509svidRequest {})
            .await;
        let message = next(&mut stream.expect("open").into_inner())
            .await
            .expect("svids");
        assert_eq!(message.svids.len(), wanted);
        assert_eq!(message.svids[0].spiffe_id, "spiffe://a.test/user");
    }
}
