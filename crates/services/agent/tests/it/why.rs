//! Why a process has an identity or none, asked on `local.sock`.

use crate::callers::inherit;
use crate::helper::Giver;
use crate::world::{World, channel, entry};
use signet_feed::FeedEntry;
use signet_proto::agent::v1::Refusal;
use signet_proto::local::v1::svid::State;
use signet_proto::local::v1::why_client::WhyClient;
use signet_proto::local::v1::{ProcessRequest, ProcessResponse};
use signet_proto::workload::X509svidRequest;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A process of ours that waits to be asked about.
struct Asked(Child);

impl Asked {
    /// One that runs its program: `spawn` returns while the kernel is still loading it, and a process that is looked
    /// at then has become another one a moment later.
    fn start() -> Self {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let said = b"running";
        child.stdin.as_mut().expect("input").write_all(said).expect("say");
        let mut heard = [0; 7];
        child
            .stdout
            .as_mut()
            .expect("output")
            .read_exact(&mut heard)
            .expect("hear");
        assert_eq!(&heard, said);
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn end(mut self) -> u32 {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
        self.pid()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn ask_on(channel: Channel, pid: u32, entries_max: u32) -> Result<ProcessResponse, Status> {
    let answer = WhyClient::new(channel)
        .process(ProcessRequest { pid, entries_max })
        .await;
    answer.map(tonic::Response::into_inner)
}

async fn ask(local: &Path, pid: u32) -> Result<ProcessResponse, Status> {
    ask_on(channel(local).await, pid, 0).await
}

fn code(status: &Status) -> String {
    status.get_details_error_info().expect("details").reason
}

fn fault(answer: &ProcessResponse) -> &str {
    answer.fault.as_ref().map_or("", |fault| &fault.code)
}

fn wants(number: u8, selectors: &[&str]) -> FeedEntry {
    let mut entry = entry(number, &format!("/{number}"));
    entry.selectors = selectors.iter().map(|s| s.parse().expect("selector")).collect();
    entry
}

fn own_uid() -> String {
    format!("unix:uid:{}", signet_sys::process::uid())
}

#[tokio::test]
async fn a_process_with_an_identity_is_told_by_whom_and_why() {
    let world = World::with(vec![entry(1, "/a"), wants(2, &["unix:uid:77"])]).await;
    let local = world.serve_local(signet_sys::process::uid());
    let asked = Asked::start();
    let answer = ask(&local, asked.pid()).await.expect("answer");
    assert_eq!(answer.fault, None);
    assert_eq!(answer.trust_domain, "a.test");
    let process = answer.process.as_ref().expect("process");
    assert_eq!(process.pid, asked.pid());
    assert_eq!(process.uid, signet_sys::process::uid());
    let exe = std::fs::read_link(format!("/proc/{}/exe", asked.pid())).expect("exe");
    assert_eq!(Path::new(&process.executable), exe);
    assert!(process.start_time > 0);
    let [unix] = &answer.attestors[..] else {
        panic!("{:?}", answer.attestors)
    };
    assert_eq!(unix.name, "unix");
    assert!(unix.selectors.contains(&own_uid()), "{unix:?}");
    assert_eq!(answer.selectors, unix.selectors);
    let entries = answer.entries.as_ref().expect("entries");
    assert_eq!((entries.total, entries.matched), (2, 1));
    let [first, second] = &entries.nearest[..] else {
        panic!("{entries:?}")
    };
    assert!(first.matches && first.missing.is_empty());
    assert_eq!(first.spiffe_id, "spiffe://a.test/a");
    assert_eq!(first.svids, [], "asking makes nobody sign anything");
    assert_eq!((second.satisfied, second.missing.as_str()), (0, "unix:uid:77"));
    let feed = answer.feed.as_ref().expect("feed");
    assert_eq!(
        (feed.connected, feed.applied, feed.heard),
        (true, Some(1), Some(1))
    );
    assert_eq!(
        world.server.x509_issued.load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn where_no_entry_matches_the_nearest_come_first_and_name_what_is_missing() {
    let uid = own_uid();
    let mut world = World::new().await;
    let local = world.serve_local(signet_sys::process::uid());
    let asked = Asked::start();
    let answer = ask(&local, asked.pid()).await.expect("answer");
    assert_eq!(fault(&answer), "SGAG009");
    assert_eq!(answer.entries.expect("entries").total, 0);

    let gid = format!("unix:gid:{}", signet_sys::process::gid());
    let mut ended = entry(5, "/5");
    ended.selectors.push(gid.parse().expect("selector"));
    ended.expires_at = Some(ended.created_at);
    world
        .publish(vec![
            wants(1, &["unix:uid:77"]),
            wants(2, &[&uid, "unix:path:/nowhere", "unix:user:nobody-here"]),
            wants(3, &[&uid, "unix:path:/nowhere"]),
            wants(4, &["unix:path:/nowhere", &gid, &uid]),
            ended,
        ])
        .await;
    let answer = ask(&local, asked.pid()).await.expect("answer");
    assert_eq!(fault(&answer), "SGAG009");
    let entries = answer.entries.expect("entries");
    assert_eq!((entries.total, entries.matched), (5, 0));
    let order: Vec<(&str, u32, &str)> = entries
        .nearest
        .iter()
        .map(|e| (e.spiffe_id.as_str(), e.satisfied, e.missing.as_str()))
        .collect();
    assert_eq!(
        order,
        [
            ("spiffe://a.test/5", 2, ""),
            ("spiffe://a.test/4", 2, "unix:path:/nowhere"),
            ("spiffe://a.test/3", 1, "unix:path:/nowhere"),
            ("spiffe://a.test/2", 1, "unix:path:/nowhere"),
            ("spiffe://a.test/1", 0, "unix:uid:77"),
        ]
    );
    assert!(entries.nearest[0].expires_at_ms > 0 && !entries.nearest[0].matches);

    let few = ask_on(channel(&local).await, asked.pid(), 2)
        .await
        .expect("answer");
    let few = few.entries.expect("entries");
    assert_eq!((few.total, few.nearest.len()), (5, 2));
    assert_eq!(few.nearest[..], entries.nearest[..2]);
}

#[tokio::test]
async fn the_number_of_entries_shown_has_a_bound_that_nobody_can_raise() {
    let many = (0..200).map(|n| wants(n, &["unix:uid:77"])).collect();
    let world = World::with(many).await;
    let local = world.serve_local(signet_sys::process::uid());
    let answer = ask_on(channel(&local).await, std::process::id(), u32::MAX).await;
    let entries = answer.expect("answer").entries.expect("entries");
    assert_eq!((entries.total, entries.nearest.len()), (200, 64));
}

#[tokio::test]
async fn before_the_first_state_that_is_what_is_missing() {
    let world = World::initialising();
    let local = world.serve_local(signet_sys::process::uid());
    world
        .link
        .down("connect s:1: refused".to_owned(), signet_testkit::START);
    let answer = ask(&local, std::process::id()).await.expect("answer");
    assert_eq!(fault(&answer), "SGAG001");
    assert!(
        !answer.selectors.is_empty(),
        "the process can be looked at all the same"
    );
    let feed = answer.feed.expect("feed");
    assert_eq!((feed.connected, feed.applied, feed.heard), (false, None, None));
    assert_eq!(feed.reason, "connect s:1: refused");
}

#[tokio::test]
async fn an_svid_that_is_being_signed_is_on_its_way_and_then_ready() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    let shut = world.server.gate.write().await;
    let mut client = world.client().await;
    let mut stream = client
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    let svid = |answer: &ProcessResponse| {
        let entries = answer.entries.as_ref().expect("entries");
        entries.nearest[0].svids.first().cloned()
    };
    let answer = ask(&local, std::process::id()).await.expect("answer");
    assert_eq!(answer.fault, None, "it will have one");
    let signing = svid(&answer).expect("asked for");
    assert_eq!((signing.kind.as_str(), signing.state()), ("x509", State::Signing));
    drop(shut);
    stream.message().await.expect("svid");
    let answer = ask(&local, std::process::id()).await.expect("answer");
    let ready = svid(&answer).expect("asked for");
    assert_eq!(ready.state(), State::Ready);
    assert!(ready.not_after_ms > answer.now_ms);
}

#[tokio::test]
async fn a_refusal_by_the_server_is_told_with_its_code_until_it_is_mended() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    *world.server.refusal.lock().expect("lock") = Some(Refusal {
        code: "SGAU999".to_owned(),
        message: "not for this node".to_owned(),
        retry: false,
    });
    world.fetch_x509().await.expect_err("refused");
    let answer = ask(&local, std::process::id()).await.expect("answer");
    let told = answer.fault.as_ref().expect("no identity");
    assert_eq!(told.code, "SGAU999");
    assert!(told.message.contains("not for this node"), "{told:?}");
    let svid = &answer.entries.as_ref().expect("entries").nearest[0].svids[0];
    assert_eq!(svid.state(), State::Failed);
    assert!(svid.failed_at_ms > 0);

    *world.server.refusal.lock().expect("lock") = None;
    world.pass(Duration::from_secs(60));
    world.fetch_x509().await.expect("mended");
    let answer = ask(&local, std::process::id()).await.expect("answer");
    assert_eq!(answer.fault, None);
    assert_eq!(answer.entries.expect("entries").nearest[0].svids[0].fault, None);
}

#[tokio::test]
async fn with_the_server_away_a_process_has_what_was_signed_before_and_nothing_else() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    world
        .link
        .down("connect s:1: refused".to_owned(), signet_testkit::START);
    let answer = ask(&local, std::process::id()).await.expect("answer");
    assert_eq!(fault(&answer), "SGAG024", "entitled, and nobody signs");
    world.fetch_x509().await.expect("the server answers once more");
    let answer = ask(&local, std::process::id()).await.expect("answer");
    assert_eq!(answer.fault, None);
    assert!(!answer.feed.expect("feed").connected);
}

#[tokio::test]
async fn an_attestor_that_fails_is_named_with_its_error() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    world
        .attestor
        .fails
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = ask(&local, std::process::id()).await.expect("answer");
    let failed = answer.attestors[0].fault.as_ref().expect("error");
    assert_eq!(failed.code, "SGAG008");
    assert_eq!(fault(&answer), "SGAG008", "that is why");
}

#[tokio::test]
async fn who_runs_the_node_is_told_that_there_is_no_such_process() {
    let world = World::new().await;
    let local = world.serve_local(signet_sys::process::uid());
    for pid in [0, Asked::start().end(), u32::MAX] {
        let status = ask(&local, pid).await.expect_err("nobody");
        assert_eq!(
            (status.code(), code(&status).as_str()),
            (Code::NotFound, "SGAG051"),
            "{pid}"
        );
    }
}

/// Whoever has the number afterwards is not the one that was looked at.
#[tokio::test]
async fn a_process_that_ends_while_it_is_looked_at_gets_no_answer_under_its_number() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    let asked = Asked::start();
    let pid = asked.pid();
    *world.attestor.afterwards.lock().expect("lock") = Some(Box::new(move || drop(asked)));
    let status = ask(&local, pid).await.expect_err("gone");
    assert_eq!(
        (status.code(), code(&status).as_str()),
        (Code::Unavailable, "SGAG052")
    );
}

#[tokio::test]
async fn a_process_that_executes_another_program_while_it_is_looked_at_gets_no_answer() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    let mut giver = Giver::start("exec", world.socket());
    let pid = giver.child.id();
    let (keep, _kept) = std::sync::mpsc::channel();
    *world.attestor.afterwards.lock().expect("lock") = Some(Box::new(move || {
        giver.go_on();
        giver.await_exec();
        // It lives on with the test, and not this closure.
        keep.send(giver).expect("kept");
    }));
    let status = ask(&local, pid).await.expect_err("another");
    assert_eq!(code(&status), "SGAG052");
}

/// Somebody who neither is root nor runs the agent: its connection, a process of its own, and one of somebody else.
struct Stranger {
    channel: Channel,
    own: u32,
    others: u32,
    uid: u32,
    _giver: Option<Giver>,
    _program: Option<tempfile::TempDir>,
}

impl Stranger {
    async fn of(world: &World) -> Self {
        let uid = signet_sys::process::uid();
        if uid != 0 {
            // The agent is somebody else's here, and the first process of all is root's.
            let local = world.serve_local(uid + 1);
            return Self {
                channel: channel(&local).await,
                own: std::process::id(),
                others: 1,
                uid,
                _giver: None,
                _program: None,
            };
        }
        let local = world.serve_local(0);
        let program = tempfile::tempdir().expect("folder");
        let copy = program.path().join("program");
        std::fs::copy(std::env::current_exe().expect("own path"), &copy).expect("copy");
        for folder in [program.path(), local.parent().expect("folder")] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("open to all");
        }
        let mut giver = Giver::start_as_user(&copy, 54_321, &local);
        Self {
            channel: inherit(&mut giver).await,
            own: giver.child.id(),
            others: std::process::id(),
            uid: 54_321,
            _giver: Some(giver),
            _program: Some(program),
        }
    }
}

#[tokio::test]
async fn a_stranger_is_told_of_own_processes_and_cannot_tell_others_from_none() {
    let mut world = World::new().await;
    let stranger = Stranger::of(&world).await;
    let uid = format!("unix:uid:{}", stranger.uid);
    world
        .publish(vec![
            wants(1, &[&uid, "unix:path:/nowhere"]),
            wants(2, &["unix:uid:77"]),
        ])
        .await;
    world
        .link
        .down("connect 10.0.0.7:8445: refused".to_owned(), signet_testkit::START);
    let ask = |pid| ask_on(stranger.channel.clone(), pid, 0);
    let answer = ask(stranger.own).await.expect("its own");
    assert_eq!(fault(&answer), "SGAG009");
    let entries = answer.entries.as_ref().expect("entries");
    assert_eq!(entries.total, 2);
    let shown: Vec<_> = entries.nearest.iter().map(|e| e.spiffe_id.as_str()).collect();
    assert_eq!(
        shown,
        ["spiffe://a.test/1"],
        "what has nothing to do with it is not shown"
    );
    let reason = &answer.feed.as_ref().expect("feed").reason;
    assert!(!reason.is_empty() && !reason.contains("10.0.0.7"), "{reason}");

    let others = ask(stranger.others).await.expect_err("somebody else's");
    let nobodys = ask(Asked::start().end()).await.expect_err("nobody's");
    for status in [&others, &nobodys] {
        assert_eq!(
            (status.code(), code(status).as_str()),
            (Code::PermissionDenied, "SGAG050")
        );
    }
    assert_eq!(others.message(), nobodys.message());
    assert_eq!(others.details(), nobodys.details());
}

#[tokio::test]
async fn who_executes_another_program_is_not_answered_over_its_connection() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let local = world.serve_local(signet_sys::process::uid());
    let mut giver = Giver::start("exec", &local);
    let channel = inherit(&mut giver).await;
    ask_on(channel.clone(), std::process::id(), 0)
        .await
        .expect("still itself");
    giver.go_on();
    giver.await_exec();
    let status = ask_on(channel, std::process::id(), 0).await.expect_err("another");
    assert_eq!(status.code(), Code::PermissionDenied);
}
