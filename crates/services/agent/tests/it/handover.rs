//! One agent takes over from another: by the API, and by its protocol as another version would speak it.

use crate::site::Site;
use crate::upstream::{fetched, workload};
use crate::world::{entry, next};
use serde_json::{Value, json};
use signet_agent::{Agent, AgentError, AgentSettings, Handle, Launch, Pace};
use signet_fault::Coded as _;
use signet_net::CancellationToken;
use signet_proto::agent::v1::Refusal;
use signet_proto::workload::{X509svidRequest, X509svidResponse};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::{Code, Streaming};

/// An agent that has joined and serves.
async fn running(site: &Site) -> Handle {
    let agent = site.agent(site.kept_settings(), Some(&site.join())).await;
    let agent = agent.expect("start");
    agent.ready().await.expect("ready");
    agent
}

/// As soon as nobody else tries: that the one before is gone is noticed in its own time.
async fn take_over(site: &Site, settings: AgentSettings, within: Duration) -> Result<Handle, AgentError> {
    loop {
        match take_over_now(site, settings.clone(), within).await {
            Err(AgentError::HandoverRefused { code, .. }) if code == "SGAG075" => {}
            taken => return taken,
        }
    }
}

async fn take_over_now(site: &Site, settings: AgentSettings, within: Duration) -> Result<Handle, AgentError> {
    let pace = Pace {
        retry_min: Duration::from_millis(5),
        retry_max: Duration::from_millis(20),
        take_over: within,
        ..Pace::default()
    };
    let clock = Arc::new(site.control.clock.clone());
    Agent::take_over(Launch {
        settings,
        join: None,
        clock,
        pace,
        shutdown: CancellationToken::new(),
    })
    .await
}

/// For what is to come about.
const LONG: Duration = Duration::from_secs(60);
/// For what is not.
const SHORT: Duration = Duration::from_millis(100);

async fn stream(agent: &Handle) -> Streaming<X509svidResponse> {
    let mut stream = workload(agent)
        .await
        .fetch_x509svid(X509svidRequest {})
        .await
        .expect("open")
        .into_inner();
    next(&mut stream).await.expect("first");
    stream
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("there").ino()
}

fn code(taken: Result<Handle, AgentError>) -> &'static str {
    taken.map(|_| ()).expect_err("refused").code()
}

/// The agent serves as before, new callers and those that it had, and another one can take over from it.
async fn assert_goes_on(site: &Site, agent: Handle, mut stream: Streaming<X509svidResponse>) {
    assert_eq!(fetched(&agent).await.expect("serves"), ["spiffe://a.test/a"]);
    let ended = tokio::time::timeout(Duration::ZERO, stream.message()).await;
    assert!(ended.is_err(), "the stream goes on: {ended:?}");
    let second = take_over(site, site.kept_settings(), LONG)
        .await
        .expect("taken over");
    agent.wait().await.expect("ends well");
    assert_eq!(fetched(&second).await.expect("serves"), ["spiffe://a.test/a"]);
}

#[tokio::test]
async fn an_agent_takes_over_the_socket_and_streams_end_as_unavailable() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let first = running(&site).await;
    let mut stream = stream(&first).await;
    let (socket, handover) = (first.socket().to_owned(), site.state_dir().join("handover.sock"));
    let made = (inode(&socket), inode(&handover));

    let second = take_over(&site, site.kept_settings(), LONG)
        .await
        .expect("taken over");
    let metrics = second.metrics().text();
    assert!(
        metrics.contains("signet_issue_total{kind=\"x509\",outcome=\"ok\"} 1"),
        "what was in use is there before anybody asks: {metrics}"
    );
    assert_eq!(fetched(&second).await.expect("serves"), ["spiffe://a.test/a"]);
    let status = next(&mut stream).await.expect_err("ended");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    first.wait().await.expect("ends well");
    assert_eq!((inode(&socket), inode(&handover)), made, "the same sockets");

    // The one after it as well, and its end is like any other's.
    let third = take_over(&site, site.kept_settings(), LONG)
        .await
        .expect("taken over");
    second.wait().await.expect("ends well");
    assert_eq!(fetched(&third).await.expect("serves"), ["spiffe://a.test/a"]);
    assert_eq!((inode(&socket), inode(&handover)), made, "the same sockets");
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1, "it is one node");
    assert_eq!(site.control.returned.load(Ordering::SeqCst), 0);
    let held = code(site.agent(site.kept_settings(), None).await);
    assert_eq!(held, "SGAG070");
    drop(third);
    let fourth = site
        .agent(crate::upstream::again(&site), None)
        .await
        .expect("start");
    fourth.ready().await.expect("the state directory is free");
}

#[tokio::test]
async fn what_the_new_agent_does_not_listen_on_goes_with_the_old_one() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let first = running(&site).await;
    let (socket, local) = (first.socket().to_owned(), first.local_socket().to_owned());
    let mut settings = site.kept_settings();
    settings.workload_api.path = site.folder.path().join("other.sock");
    settings.local_api.path = Some(local.clone());
    let second = take_over(&site, settings, LONG).await.expect("taken over");
    first.wait().await.expect("ends well");
    assert_eq!(fetched(&second).await.expect("serves"), ["spiffe://a.test/a"]);
    assert!(!socket.exists() && local.exists() && second.socket().exists());
}

#[tokio::test]
async fn where_no_agent_runs_it_is_started_as_usual() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let agent = running(&site).await;
    drop(agent);
    let agent = take_over(&site, crate::upstream::again(&site), LONG)
        .await
        .expect("started");
    agent.ready().await.expect("ready");
    assert_eq!(fetched(&agent).await.expect("serves"), ["spiffe://a.test/a"]);
    assert_eq!(code(take_over(&site, site.settings(), LONG).await), "SGAG072");
}

#[tokio::test]
async fn an_agent_that_cannot_be_ready_changes_nothing() {
    let mut site = Site::new(vec![entry(1, "/a")]).await;
    let first = running(&site).await;
    let stream = stream(&first).await;
    // One of the identities cannot be had.
    *site.control.server.refusal.lock().expect("lock") = Some(Refusal {
        code: "SGIS001".to_owned(),
        message: "no".to_owned(),
        retry: false,
    });
    let mut within = SHORT;
    loop {
        let late = take_over(&site, site.kept_settings(), within).await.map(|_| ());
        let late = late.expect_err("not ready");
        assert_eq!(late.code(), "SGAG079");
        if late.to_string().contains("spiffe://a.test/a") {
            break;
        }
        // It had not even a state.
        assert!(within < LONG, "{late}");
        within *= 2;
    }
    *site.control.server.refusal.lock().expect("lock") = None;
    // There is no server.
    site.stop().await;
    let late = take_over(&site, site.kept_settings(), SHORT).await.map(|_| ());
    let late = late.expect_err("not ready");
    assert_eq!(late.code(), "SGAG079");
    assert!(late.to_string().contains("no state from the server"), "{late}");
    site.start().await;
    // A socket that it cannot have.
    let mut settings = site.kept_settings();
    settings.workload_api.path = site.folder.path().join("no/such.sock");
    assert_eq!(code(take_over(&site, settings, LONG).await), "SGNE002");
    assert_goes_on(&site, first, stream).await;
}

#[tokio::test]
async fn an_agent_without_the_nodes_identity_does_not_join_beside_the_one_that_runs() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let first = running(&site).await;
    let stream = stream(&first).await;
    let (kept, away) = (site.state_dir().join("node.json"), site.state_dir().join("away"));
    fs::rename(&kept, &away).expect("away");
    assert_eq!(
        code(take_over(&site, site.kept_settings(), LONG).await),
        "SGAG020"
    );
    let join = site.folder.path().join("join");
    fs::write(&join, site.join()).expect("write");
    let settings = AgentSettings {
        join_file: Some(join),
        ..site.kept_settings()
    };
    assert_eq!(code(take_over(&site, settings, LONG).await), "SGAG073");
    assert_eq!(site.control.attested.load(Ordering::SeqCst), 1);
    fs::rename(&away, &kept).expect("back");
    assert_goes_on(&site, first, stream).await;
}

/// Another agent, as far as it speaks.
struct Asker(UnixStream);

impl Asker {
    async fn connect(site: &Site) -> Self {
        let path = site.state_dir().join("handover.sock");
        Self(UnixStream::connect(path).await.expect("connect"))
    }

    async fn say(&mut self, message: &Value) {
        let body = message.to_string();
        let length = u32::try_from(body.len()).expect("short");
        self.0.write_all(&length.to_be_bytes()).await.expect("write");
        self.0.write_all(body.as_bytes()).await.expect("write");
    }

    /// What is said, without the descriptors that come with it.
    async fn hear(&mut self) -> Value {
        let length = self.0.read_u32().await.expect("an answer");
        let mut body = vec![0; usize::try_from(length).expect("short")];
        self.0.read_exact(&mut body).await.expect("an answer");
        serde_json::from_slice(&body).expect("json")
    }

    async fn refused(mut self) -> String {
        let answer = self.hear().await;
        assert_eq!(self.0.read(&mut [0]).await.expect("the end"), 0);
        let refused = &answer["refused"];
        assert!(!refused["message"].as_str().expect("words").is_empty());
        refused["code"].as_str().expect("a code").to_owned()
    }
}

fn hello(versions: &[u32]) -> Value {
    json!({"hello": {"versions": versions, "software": "another/1"}})
}

#[tokio::test]
async fn one_at_a_time_and_who_goes_before_it_is_ready_has_changed_nothing() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let first = running(&site).await;
    let stream = stream(&first).await;
    let mut asker = Asker::connect(&site).await;
    asker.say(&hello(&[1, 2])).await;
    let offer = asker.hear().await;
    let offer = &offer["offer"];
    assert_eq!(offer["version"], 1);
    let roles: Vec<_> = offer["listeners"]
        .as_array()
        .expect("listeners")
        .iter()
        .map(|listener| listener["role"].as_str().expect("role"))
        .collect();
    assert_eq!(roles, ["workload", "local", "metrics", "handover"]);
    assert_eq!(offer["in_use"][0]["x509"], json!(["01".repeat(16)]));

    assert_eq!(
        code(take_over_now(&site, site.kept_settings(), LONG).await),
        "SGAG077"
    );
    let mut another = Asker::connect(&site).await;
    another.say(&hello(&[1])).await;
    assert_eq!(another.refused().await, "SGAG075");

    drop(asker);
    // It is noticed in its own time.
    loop {
        let mut asker = Asker::connect(&site).await;
        asker.say(&hello(&[1])).await;
        if asker.hear().await.get("offer").is_some() {
            // Out of turn: whoever says that is not ready.
            asker.say(&json!({"done": {}})).await;
            assert_eq!(asker.refused().await, "SGAG078");
            break;
        }
    }
    assert_goes_on(&site, first, stream).await;
}

#[tokio::test]
async fn who_does_not_speak_as_this_agent_is_told_so() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let first = running(&site).await;
    let stream = stream(&first).await;
    for (message, expected) in [
        (hello(&[2, 3]), "SGAG076"),
        (hello(&[]), "SGAG076"),
        (json!({"ready": {"kept": []}}), "SGAG078"),
        (json!({"unheard-of": {}}), "SGAG078"),
        (json!(1), "SGAG078"),
    ] {
        let mut asker = Asker::connect(&site).await;
        asker.say(&message).await;
        assert_eq!(asker.refused().await, expected, "{message}");
    }
    // An end in the middle of a message, and one before it.
    let mut asker = Asker::connect(&site).await;
    asker.0.write_all(&[0, 0]).await.expect("write");
    drop(asker);
    drop(Asker::connect(&site).await);
    let mode = fs::metadata(site.state_dir().join("handover.sock"))
        .expect("there")
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_goes_on(&site, first, stream).await;
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_meanwhile_leaves_everything_to_the_new_one() {
    let site = Site::new(vec![entry(1, "/a")]).await;
    let shutdown = CancellationToken::new();
    let (clock, join) = (Arc::new(site.control.clock.clone()), site.join());
    let first = Agent::start(Launch {
        settings: site.kept_settings(),
        join: Some(&join),
        clock,
        pace: Pace::default(),
        shutdown: shutdown.clone(),
    });
    let first = first.await.expect("start");
    first.ready().await.expect("ready");
    let socket = first.socket().to_owned();
    // The new one is held up by an identity that does not come.
    let _stream = stream(&first).await;
    let gate = site.control.server.gate.write().await;
    let (taken, ()) = tokio::join!(take_over(&site, site.kept_settings(), LONG), async {
        // A snapshot for the new one: it has the offer by then.
        while site.control.held.borrow().len() < 2 {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        first.wait().await.expect("ends well");
        assert!(socket.exists(), "it is the other one's");
        drop(gate);
    });
    let second = taken.expect("goes on alone");
    second.ready().await.expect("ready");
    assert_eq!(fetched(&second).await.expect("serves"), ["spiffe://a.test/a"]);
}
