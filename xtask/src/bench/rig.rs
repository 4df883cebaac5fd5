//! A deployment to measure: a server, agents, and the commands that load them, on the loopback alone.

use super::process::{Running, Scratch, await_metric, await_ready, free_port};
use crate::{Failure, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything of one deployment lies.
pub(super) struct Rig {
    binary: PathBuf,
    dir: Scratch,
    agents: u16,
    server_metrics: u16,
    agent_metrics: u16,
}

impl Rig {
    /// Makes a server's directory and settings; starts nothing.
    pub(super) fn init(binary: &Path, args: &[&str]) -> Result<Self, Failure> {
        let rig = Self {
            binary: binary.to_owned(),
            dir: Scratch::new()?,
            agents: free_port()?,
            server_metrics: free_port()?,
            agent_metrics: free_port()?,
        };
        let seal = format!("file={}", rig.at("seal.key"));
        run::captured(
            Command::new(binary)
                .args(["server", "init", "--trust-domain", "bench.test", "--seal", &seal])
                .args(["--dir", &rig.at("data"), "--recovery-out", &rig.at("recovery")])
                .args(args),
        )?;
        let agents = format!("127.0.0.1:{}", rig.agents);
        let settings = format!(
            "trust_domain = \"bench.test\"\ndata_dir = \"{}\"\nseal = \"{seal}\"\nadvertise = [\"{agents}\"]\n[listen]\n\
             https = \"127.0.0.1:0\"\nagents = \"{agents}\"\nmetrics = \"127.0.0.1:{}\"\napi = \"{}\"\n",
            rig.at("data"),
            rig.server_metrics,
            rig.at("api.sock"),
        );
        std::fs::write(rig.at("server.toml"), settings)?;
        Ok(rig)
    }

    pub(super) fn at(&self, name: &str) -> String {
        self.dir.at(name)
    }

    /// Where the Workload API is.
    pub(super) fn socket(&self) -> String {
        format!("unix://{}", self.at("agent.sock"))
    }

    /// Starts the server, and returns once it is ready.
    pub(super) fn server(&self) -> Result<Running, Failure> {
        let server =
            Running::start(
                self.signet()
                    .args(["server", "run", "--config", &self.at("server.toml")]),
            )?;
        await_ready(self.server_metrics)?;
        Ok(server)
    }

    /// Readies a new agent of the node `/node/NAME`, which has its join string and no state.
    pub(super) fn new_agent(&self, name: &str) -> Result<Command, Failure> {
        let id = format!("spiffe://bench.test/node/{name}");
        let made = self.json(&["node", "join-token", "create", "--spiffe-id", &id])?;
        let join = self.at(&format!("join-{name}"));
        let string = made.get("join_string").and_then(Value::as_str);
        std::fs::write(&join, string.ok_or("no join string")?)?;
        let file = self.at(&format!("agent-{name}.toml"));
        let settings = format!(
            "state_dir = \"{}\"\njoin_file = \"{join}\"\nmetrics = \"127.0.0.1:{}\"\n[workload_api]\npath = \"{}\"\n{LIMITS}",
            self.at(&format!("state-{name}")),
            self.agent_metrics,
            self.at("agent.sock"),
        );
        std::fs::write(&file, settings)?;
        let mut command = self.signet();
        command.args(["agent", "run", "--config", &file]);
        Ok(command)
    }

    /// Starts a new agent, and returns once it is ready.
    pub(super) fn agent(&self, name: &str) -> Result<Running, Failure> {
        let agent = Running::start(&mut self.new_agent(name)?)?;
        await_ready(self.agent_metrics)?;
        Ok(agent)
    }

    /// Starts an agent that takes over from the one of [`Self::agent`], and does not wait for it.
    pub(super) fn successor(&self, name: &str) -> Result<Running, Failure> {
        let file = self.at(&format!("agent-{name}.toml"));
        Running::start(
            self.signet()
                .args(["agent", "run", "--take-over", "--config", &file]),
        )
    }

    /// Waits until the agent has so many streams of X.509-SVIDs.
    pub(super) fn await_streams(&self, streams: &str) -> Result<(), Failure> {
        let line = format!("signet_streams{{kind=\"x509_svid\"}} {streams}");
        await_metric(self.agent_metrics, &line)
    }

    /// Entitles all that this user runs to `/w/NAME`.
    pub(super) fn entitle(&self, name: &str) -> Result<(), Failure> {
        let id = format!("spiffe://bench.test/w/{name}");
        let selector = format!("unix:uid:{}", uid()?);
        self.json(&["entry", "create", "--spiffe-id", &id, "--selector", &selector])?;
        Ok(())
    }

    /// Creates an entry of each line.
    pub(super) fn create_all(&self, lines: &[Value]) -> Result<(), Failure> {
        let file = self.at("entries.jsonl");
        for lines in lines.chunks(PER_FILE) {
            let text: Vec<String> = lines.iter().map(Value::to_string).collect();
            std::fs::write(&file, text.join("\n"))?;
            self.json(&["entry", "create", "--file", &file])?;
        }
        Ok(())
    }

    /// What a command of ours prints.
    pub(super) fn json(&self, args: &[&str]) -> Result<Value, Failure> {
        let text = run::captured(self.signet().args(args).args(["-o", "json"]))?;
        Ok(serde_json::from_str(&text).map_err(|e| format!("{args:?} printed `{text}`: {e}"))?)
    }

    /// Starts a command of ours, which prints JSON when it is done.
    pub(super) fn begin(&self, args: &[&str]) -> Result<Running, Failure> {
        Running::heard(self.signet().args(args).args(["-o", "json"]))
    }

    /// Whether a command of ours succeeds.
    pub(super) fn succeeds(&self, args: &[&str]) -> bool {
        run::succeeds(self.signet().args(args))
    }

    fn signet(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("SIGNET_API", format!("unix://{}", self.at("api.sock")))
            .env("SPIFFE_ENDPOINT_SOCKET", self.socket())
            .env_remove("SIGNET_JOIN")
            .env_remove("SIGNET_LOG");
        command
    }
}

pub(super) fn uid() -> Result<String, Failure> {
    Ok(run::captured(Command::new("id").arg("-u"))?.trim().to_owned())
}

/// A number of a report.
pub(super) fn number(report: &Value, pointer: &str) -> Result<f64, Failure> {
    let found = report.pointer(pointer).and_then(Value::as_f64);
    found.ok_or_else(|| format!("no `{pointer}` in {report}").into())
}

/// A part of a report.
pub(super) fn part<'r>(report: &'r Value, name: &str) -> Result<&'r Value, Failure> {
    Ok(report
        .get(name)
        .ok_or_else(|| format!("no `{name}` in {report}"))?)
}

/// What a process used for each operation, in microseconds.
pub(super) fn cpu_us(part: &Value, process: &str) -> Result<f64, Failure> {
    of_process(part, process, "cpu_us_per_operation")
}

/// A figure of one process that was watched.
pub(super) fn of_process(part: &Value, process: &str, figure: &str) -> Result<f64, Failure> {
    let all = part
        .get("cpu")
        .and_then(Value::as_array)
        .ok_or("no processor time")?;
    let is_it = |used: &&Value| used.get("process").and_then(Value::as_str) == Some(process);
    let used = all.iter().find(is_it).and_then(|used| used.get(figure)?.as_f64());
    used.ok_or_else(|| format!("no `{figure}` of {process}").into())
}

/// p50 and p99 of a summary, as text.
pub(super) fn latency(report: &Value, pointer: &str) -> Result<String, Failure> {
    let at = |name: &str| number(report, &format!("{pointer}/{name}"));
    Ok(format!(
        "p50 {:.2} ms, p99 {:.2} ms",
        at("p50_ms")?,
        at("p99_ms")?
    ))
}

/// One process is all workloads here; a limit for one would be what is measured.
const LIMITS: &str = "[limits]\nprocess_streams_max = 100000\nprocess_calls_per_s_max = 1000000\nprocess_signing_max = 10000\n";

/// Entries of one file.
const PER_FILE: usize = 8_000;
