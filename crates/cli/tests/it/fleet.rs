//! A server and an agent as processes of their own.

use crate::ports::HeldPort;
use crate::program::{Done, Running, run, signet, text};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything of one fleet lies.
pub(crate) struct Fleet {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) https: HeldPort,
    pub(crate) agents: HeldPort,
    pub(crate) server_metrics: HeldPort,
    pub(crate) agent_metrics: HeldPort,
}

impl Fleet {
    /// Makes a server's directory and settings; starts nothing.
    pub(crate) fn init() -> (Self, Done) {
        let fleet = Self {
            dir: tempfile::Builder::new().prefix("sg").tempdir().unwrap(),
            https: HeldPort::take(),
            agents: HeldPort::take(),
            server_metrics: HeldPort::take(),
            agent_metrics: HeldPort::take(),
        };
        let done = fleet.init_again("server", "recovery");
        let settings = format!(
            "trust_domain = \"fleet.test\"\ndata_dir = \"{}\"\nseal = \"file={}\"\nadvertise = [\"127.0.0.1:{agents}\"]\n\
             [listen]\nhttps = \"{}\"\nagents = \"127.0.0.1:{agents}\"\nmetrics = \"{}\"\napi = \"{}\"\n",
            fleet.text("server"),
            fleet.text("seal.key"),
            fleet.https.address(),
            fleet.server_metrics.address(),
            fleet.text("api.sock"),
            agents = fleet.agents.number(),
        );
        fs::write(fleet.at("server.toml"), settings).unwrap();
        (fleet, done)
    }

    fn init_again(&self, dir: &str, recovery: &str) -> Done {
        let seal = format!("file={}", self.text("seal.key"));
        run(&[
            "server",
            "init",
            "--dir",
            &self.text(dir),
            "--trust-domain",
            "fleet.test",
            "--seal",
            &seal,
            "--recovery-out",
            &self.text(recovery),
            "-o",
            "json",
        ])
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        text(&self.at(name)).to_owned()
    }

    pub(crate) fn api(&self) -> String {
        format!("unix://{}", self.text("api.sock"))
    }

    /// The command that runs the server.
    pub(crate) fn server(&self) -> Command {
        let mut command = signet();
        command.args(["server", "run", "--config", &self.text("server.toml")]);
        command
    }

    pub(crate) fn start_server(&self) -> Running {
        let server = Running::of(self.server());
        self.wait(&self.server_metrics);
        server
    }

    /// The command that runs the agent, which joins by the file `join`.
    pub(crate) fn agent(&self) -> Command {
        fs::write(self.at("agent.toml"), self.agent_settings()).unwrap();
        let mut command = signet();
        command.args(["agent", "run", "--config", &self.text("agent.toml")]);
        command
    }

    pub(crate) fn start_agent(&self) -> Running {
        let agent = Running::of(self.agent());
        self.wait(&self.agent_metrics);
        agent
    }

    pub(crate) fn agent_settings(&self) -> String {
        format!(
            "state_dir = \"{}\"\njoin_file = \"{}\"\nmetrics = \"{}\"\n[workload_api]\npath = \"{}\"\n",
            self.text("agent"),
            self.text("join"),
            self.agent_metrics.address(),
            self.text("agent.sock"),
        )
    }

    /// Entitles everything that this user runs to `path`.
    pub(crate) fn entitle(&self, path: &str) {
        let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata(self.dir.path()).unwrap());
        let (id, selector) = (format!("spiffe://fleet.test{path}"), format!("unix:uid:{uid}"));
        let api = self.api();
        let create = [
            "entry",
            "create",
            "--api",
            &api,
            "--spiffe-id",
            &id,
            "--selector",
            &selector,
        ];
        assert_eq!(run(&create).code, Some(0));
    }

    /// Makes a join string.
    pub(crate) fn join_string(&self) -> String {
        let api = self.api();
        let join = run(&["node", "join-token", "create", "--api", &api, "-o", "json"]).json();
        join["join_string"].as_str().unwrap().to_owned()
    }

    /// Makes a join string and puts it where the agent looks for it.
    pub(crate) fn make_join_file(&self) {
        fs::write(self.at("join"), self.join_string()).unwrap();
    }

    /// Waits until the process whose health is told on `port` is ready.
    pub(crate) fn wait(&self, port: &HeldPort) {
        let url = format!("http://{}", port.address());
        let done = run(&["health", "--url", &url, "--wait", "60s", "-o", "json"]);
        assert_eq!(done.json()[0]["status"], "ready");
    }

    pub(crate) fn svid(&self) -> Done {
        let socket = format!("unix://{}", self.text("agent.sock"));
        run(&["svid", "x509", "-o", "json", "--socket", &socket])
    }
}

#[test]
fn a_server_and_an_agent_are_set_up_joined_and_survive_restarts() {
    let (fleet, made) = Fleet::init();
    let made = made.json();
    assert_eq!(
        (made["trust_domain"].as_str(), made["seal_key_made"].as_bool()),
        (Some("fleet.test"), Some(true))
    );
    let mut server = fleet.start_server();
    fleet.make_join_file();
    let mut agent = fleet.start_agent();

    // No entry, no identity; with one, an identity, on a process that never showed a credential.
    fleet.svid().refused("SGWL007");
    fleet.entitle("/a");
    let first = fleet.wait_for_svid();
    assert_eq!(first["svids"][0]["spiffe_id"], "spiffe://fleet.test/a");

    // A signal that would end other programs has both read their settings again and go on.
    server.signal(Signal::HUP);
    agent.signal(Signal::HUP);
    fleet.wait(&fleet.server_metrics);
    fleet.wait(&fleet.agent_metrics);

    // The node's key is a file of its own user; the join string is used up and not needed again.
    let key_modes: Vec<u32> = fs::read_dir(fleet.at("agent"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o077)
        .collect();
    assert!(
        !key_modes.is_empty() && key_modes.iter().all(|mode| *mode == 0),
        "{key_modes:?}"
    );
    fs::remove_file(fleet.at("join")).unwrap();
    assert_eq!(agent.end(Signal::TERM).code(), Some(0));
    assert_eq!(server.end(Signal::TERM).code(), Some(0));
    let mut server = fleet.start_server();
    let mut agent = fleet.start_agent();
    let again = fleet.wait_for_svid();
    assert_eq!(again["svids"][0]["spiffe_id"], "spiffe://fleet.test/a");
    assert_eq!(agent.end(Signal::INT).code(), Some(0));
    assert_eq!(server.end(Signal::INT).code(), Some(0));
}

impl Fleet {
    /// The identity, as soon as the entry has reached the agent: `watch` prints it and each change of it.
    pub(crate) fn wait_for_svid(&self) -> serde_json::Value {
        let socket = format!("unix://{}", self.text("agent.sock"));
        for _ in 0..1_000 {
            let done: Done = signet()
                .args(["svid", "x509", "-o", "json", "--socket", &socket])
                .output()
                .unwrap()
                .into();
            if done.code == Some(0) {
                return done.json();
            }
            assert!(
                done.err.contains("SGWL007") || done.err.contains("SGWL008"),
                "{done:?}"
            );
        }
        panic!("no identity after a thousand attempts");
    }
}

#[test]
fn init_makes_settings_that_check_and_a_recovery_file_for_its_user_alone() {
    let (fleet, made) = Fleet::init();
    let made = made.json();
    let recovery = fleet.at("recovery");
    assert_eq!(made["recovery_file"], text(&recovery));
    assert_eq!(
        fs::metadata(&recovery).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text_of = fs::read_to_string(&recovery).unwrap();
    let hex = text_of
        .lines()
        .find_map(|line| line.strip_prefix("seal-key:"))
        .unwrap();
    let key = fs::read(fleet.at("seal.key")).unwrap();
    let expected: String = key.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, expected, "the recovery file holds the key once more");
    let config = made["config"].as_str().unwrap();
    assert_eq!(
        run(&["config", "check", config, "-o", "json"]).json()["kind"],
        "server"
    );
    assert_eq!(
        run(&["config", "check", &fleet.text("server.toml"), "-o", "json"]).json()["ok"],
        true
    );

    // Without a place for the means of recovery, nothing is made.
    fleet.init_again("unmade", "no/such/recovery").refused("SGCL002");
    assert!(!fleet.at("unmade").exists());
    // Directories above are made.
    let deep = fleet.init_again("var/lib/server", "recovery-3");
    assert_eq!(deep.code, Some(0), "{deep:?}");

    // Nothing that exists is touched.
    fleet.init_again("server", "recovery-2").refused("SGSV001");
    assert!(!fleet.at("recovery-2").exists());
    let kept = fleet.init_again("other", "recovery");
    let line = kept.refused("SGCL002");
    assert!(line.contains("may hold what recovers another server"), "{line}");
    assert!(!Path::new(&fleet.text("other")).exists());
    assert_eq!(fs::read_to_string(&recovery).unwrap(), text_of);
}

#[test]
fn a_server_without_its_seal_key_says_so() {
    let (fleet, _) = Fleet::init();
    fs::rename(fleet.at("seal.key"), fleet.at("elsewhere")).unwrap();
    let done: Done = signet()
        .args(["server", "run", "--config", &fleet.text("server.toml")])
        .env("SIGNET_LOG", "off")
        .output()
        .unwrap()
        .into();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(
        done.err.starts_with("error[SGKY") && done.err.contains("seal.key"),
        "{done:?}"
    );
}

#[test]
fn an_agent_with_nothing_to_join_with_says_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent.sock");
    let state = dir.path().join("state");
    let args = [
        "agent",
        "run",
        "--socket",
        text(&socket),
        "--state-dir",
        text(&state),
    ];
    let quiet = |args: &[&str], join: Option<&str>| -> Done {
        let mut command = signet();
        command.args(args).env("SIGNET_LOG", "off");
        if let Some(join) = join {
            command.env("SIGNET_JOIN", join);
        }
        command.output().unwrap().into()
    };
    let done = quiet(&args, None);
    let line = done.refused("SGAG020");
    assert!(line.contains("signet node join-token create"), "{line}");
    let done = quiet(&args, Some("sgjoin1.AAAA"));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("join string"), "{done:?}");
    let with_file = [args.as_slice(), &["--join-file", "/no/such/file"]].concat();
    quiet(&with_file, None).refused("SGCL001");
    let empty = dir.path().join("join");
    fs::write(&empty, "\n").unwrap();
    let with_file = [args.as_slice(), &["--join-file", text(&empty)]].concat();
    let done = quiet(&with_file, None);
    let line = done.refused("SGCL001");
    assert!(
        line.contains("it is empty") && line.contains("join-token create"),
        "{line}"
    );
}
