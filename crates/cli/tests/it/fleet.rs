//! A server and an agent as processes of their own.

use crate::ports::HeldPort;
use crate::program::{Done, Running, run, signet, text};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where everything of one fleet lies.
pub(crate) struct Fleet {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) https: HeldPort,
    pub(crate) agents: HeldPort,
    pub(crate) server_metrics: HeldPort,
    pub(crate) agent_metrics: HeldPort,
}

/// What the processes log that are launched.
pub(crate) const SERVER_LOG: &str = "server.log";
pub(crate) const AGENT_LOG: &str = "agent.log";

impl Drop for Fleet {
    /// A test that fails shows what the processes logged last.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for name in [SERVER_LOG, AGENT_LOG] {
            if let Ok(log) = fs::read_to_string(self.at(name)) {
                let last: Vec<_> = log.lines().rev().take(40).collect();
                eprintln!("the end of {name}:");
                last.iter().rev().for_each(|line| eprintln!("  {line}"));
            }
        }
    }
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

    pub(crate) fn init_again(&self, dir: &str, recovery: &str) -> Done {
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

    /// Starts the server by `command`, without waiting for it; what it logs goes on in one file.
    pub(crate) fn launch_server(&self, command: Command) -> Running {
        Running::logging(command, &self.at(SERVER_LOG))
    }

    /// As [`Self::launch_server`], for the agent.
    pub(crate) fn launch_agent(&self, command: Command) -> Running {
        Running::logging(command, &self.at(AGENT_LOG))
    }

    /// Starts a server and an agent that joins it, each by a command that may have been changed.
    pub(crate) fn launch_both(&self, change: fn(Command) -> Command) -> (Running, Running) {
        let server = self.launch_server(change(self.server()));
        self.wait(&self.server_metrics);
        self.make_join_file();
        let agent = self.launch_agent(change(self.agent()));
        self.wait(&self.agent_metrics);
        (server, agent)
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

    /// Waits until the agent has so many streams of X.509-SVIDs.
    pub(crate) fn wait_for_streams(&self, streams: u32) {
        let wanted = format!("signet_streams{{kind=\"x509_svid\"}} {streams}");
        let until = Instant::now() + Duration::from_secs(60);
        while !self.agent_metrics_text().lines().any(|line| line == wanted) {
            assert!(
                Instant::now() < until,
                "no `{wanted}`: {}",
                self.agent_metrics_text()
            );
            std::thread::yield_now();
        }
    }

    /// The agent's metrics; nothing while none answers.
    fn agent_metrics_text(&self) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.agent_metrics.address())?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        ask().unwrap_or_default()
    }

    pub(crate) fn svid(&self) -> Done {
        let socket = format!("unix://{}", self.text("agent.sock"));
        run(&["svid", "x509", "-o", "json", "--socket", &socket])
    }

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
