use crate::{Failure, binary, run, signet_json};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A child that is asked to end, then made to, when the value goes.
pub(crate) struct Process(pub(crate) Child);

/// How long a child may take to end itself: more than the 10 seconds that Signet promises.
const END_WITHIN: Timespec = Timespec {
    tv_sec: 15,
    tv_nsec: 0,
};

/// More than an agent that takes over gives itself, and than the drain of the one before it.
const TAKEN_OVER_WITHIN: Timespec = Timespec {
    tv_sec: 90,
    tv_nsec: 0,
};

/// How long to wait before looking again at something that a child does.
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

impl Process {
    /// Waits a moment, in which it must not end.
    ///
    /// # Errors
    /// Where it has ended.
    pub(crate) fn lasts(&self) -> Result<(), Failure> {
        match poll(&mut [PollFd::new(&self.handle()?, PollFlags::IN)], Some(&MOMENT))? {
            0 => Ok(()),
            _ => Err("it has ended".into()),
        }
    }

    fn handle(&self) -> Result<OwnedFd, Failure> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).ok_or("no process id")?;
        Ok(pidfd_open(pid, PidfdFlags::empty())?)
    }

    /// Sends SIGTERM and waits for the end, so that the child takes its private directory with it.
    ///
    /// # Errors
    /// Where it did not end, or was not there to be asked.
    fn ask(&mut self) -> Result<(), Failure> {
        let process = self.handle()?;
        pidfd_send_signal(&process, Signal::TERM)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&END_WITHIN))? {
            0 => Err("SIGTERM did not end it".into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.ask() {
            eprintln!("process {} is killed: {error}", self.0.id());
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// A running `signet dev`.
pub struct Dev {
    /// What it printed when it was ready.
    pub ready: Value,
    _process: Process,
}

impl Dev {
    /// Starts `signet dev` on free ports with `args` and waits for its JSON object.
    ///
    /// # Errors
    /// Where it ends before it is ready, or prints something else.
    pub fn start(args: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(binary()?);
        command.args([
            "dev",
            "-o",
            "json",
            "--http-port",
            "0",
            "--mtls-port",
            "0",
            "--agent-port",
            "0",
        ]);
        command
            .args(["--console-port", "0", "--metrics-port", "0"])
            .args(args);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready = serde_json::from_str(&line).map_err(|e| format!("`signet dev` printed `{line}`: {e}"))?;
        Ok(Self {
            ready,
            _process: process,
        })
    }

    /// A member of the ready object that is text.
    ///
    /// # Errors
    /// Where it is missing or null.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.ready
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("no `{name}` in {}", self.ready).into())
    }
}

/// What a [`Fleet`] signs with, in the words of its settings.
#[derive(Clone, Copy, Debug)]
pub struct Algorithms {
    /// Certificates: `--x509-alg`.
    pub x509: &'static str,
    /// Tokens: `--jwt-alg`.
    pub jwt: &'static str,
    /// The keys of workloads: `svid.key` of the agent.
    pub svid_key: &'static str,
}

impl Algorithms {
    /// These.
    pub const fn new(x509: &'static str, jwt: &'static str, svid_key: &'static str) -> Self {
        Self { x509, jwt, svid_key }
    }
}

/// A server and an agent, each a process, with their state in one private directory.
pub struct Fleet {
    /// Where the Workload API is: `unix:///…`.
    pub workload_api: String,
    /// Where administrators are served: `unix:///…`.
    pub api: String,
    /// Where the server takes agents: `HOST:PORT`.
    pub agents: String,
    binary: PathBuf,
    dir: tempfile::TempDir,
    agent: Process,
    server: Process,
}

impl Fleet {
    /// Makes a server of the trust domain `interop.test`, joins an agent to it and waits for both.
    ///
    /// # Errors
    /// Whatever any of the steps says.
    pub fn start() -> Result<Self, Failure> {
        Self::with(Algorithms::new("p256", "es256", "p256"))
    }

    /// As [`Fleet::start`], with other algorithms.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn with(algorithms: Algorithms) -> Result<Self, Failure> {
        Self::made(algorithms, |_| Ok(String::new()), |_, _, _| Ok(()))
    }

    /// As [`Fleet::start`], with what `more` makes in the private directory, and adds to the server's settings.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub fn with_more(more: impl FnOnce(&Path) -> Result<String, Failure>) -> Result<Self, Failure> {
        Self::made(Algorithms::new("p256", "es256", "p256"), more, |_, _, _| Ok(()))
    }

    /// As [`Fleet::start`], with `around` done to the commands for `init`, `server` and `agent`, which it is told with the
    /// private directory.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub(crate) fn with_around(
        around: impl Fn(&mut Command, &Path, &str) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        Self::made(
            Algorithms::new("p256", "es256", "p256"),
            |_| Ok(String::new()),
            around,
        )
    }

    fn made(
        algorithms: Algorithms,
        more: impl FnOnce(&Path) -> Result<String, Failure>,
        around: impl Fn(&mut Command, &Path, &str) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let Algorithms { x509, jwt, svid_key } = algorithms;
        let binary = binary()?;
        let dir = tempfile::Builder::new().prefix("sg").tempdir()?;
        let at = |name: &str| dir.path().join(name);
        let text = |path: &Path| path.display().to_string();
        let state = at("server");
        let seal = format!("file={}", text(&at("seal.key")));
        let mut init = command(&binary, &["server", "init", "--trust-domain", "interop.test"]);
        init.args(["--dir", &text(&state), "--seal", &seal])
            .args(["--x509-alg", x509, "--jwt-alg", jwt])
            .args(["--recovery-out", &text(&at("recovery"))]);
        around(&mut init, dir.path(), "init")?;
        run(&mut init)?;
        let (agent_port, server_metrics, agent_metrics) = (free_port()?, free_port()?, free_port()?);
        let api = format!("unix://{}", text(&at("api.sock")));
        let server_toml = format!(
            r#"trust_domain = "interop.test"
data_dir = "{state}"
seal = "{seal}"

[listen]
https = "127.0.0.1:0"
agents = "127.0.0.1:{agent_port}"
metrics = "127.0.0.1:{server_metrics}"
api = "{socket}"

[svid]
x509_alg = "{x509}"
jwt_alg = "{jwt}"
{more}"#,
            more = more(dir.path())?,
            state = text(&state),
            socket = text(&at("api.sock")),
        );
        std::fs::write(at("server.toml"), server_toml)?;
        let run_as = |name: &str| {
            let config = text(&at(&format!("{name}.toml")));
            let mut command = command(&binary, &[name, "run", "--config", &config]);
            around(&mut command, dir.path(), name)?;
            Ok::<_, Failure>(Process(command.spawn()?))
        };
        let server = run_as("server")?;
        wait_healthy(&binary, server_metrics)?;
        let token = signet_json(&binary, &["node", "join-token", "create", "--api", &api])?;
        let join = token
            .get("join_string")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("no join string in {token}"))?;
        std::fs::write(at("join"), join)?;
        let socket = text(&at("agent.sock"));
        let agent_toml = format!(
            r#"join_file = "{join}"
state_dir = "{state}"
metrics = "127.0.0.1:{agent_metrics}"

[workload_api]
path = "{socket}"

[svid]
key = "{svid_key}"
"#,
            state = text(&at("agent")),
            join = text(&at("join")),
        );
        std::fs::write(at("agent.toml"), agent_toml)?;
        let agent = run_as("agent")?;
        wait_healthy(&binary, agent_metrics)?;
        Ok(Self {
            workload_api: format!("unix://{socket}"),
            api,
            agents: format!("127.0.0.1:{agent_port}"),
            binary,
            dir,
            agent,
            server,
        })
    }

    /// Has a new agent take over from the one that runs, and returns when that one has ended.
    ///
    /// # Errors
    /// Where it did not end, or not well.
    pub fn take_over(&mut self) -> Result<(), Failure> {
        let file = self.dir.path().join("agent.toml").display().to_string();
        let new = spawn(&self.binary, &["agent", "run", "--take-over", "--config", &file])?;
        let mut old = core::mem::replace(&mut self.agent, new);
        if poll(
            &mut [PollFd::new(&old.handle()?, PollFlags::IN)],
            Some(&TAKEN_OVER_WITHIN),
        )? == 0
        {
            return Err("no other agent has taken over".into());
        }
        match old.0.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("the agent that was taken over from: {status}").into()),
        }
    }

    /// Waits a moment, in which neither process must end.
    ///
    /// # Errors
    /// Which of them has ended.
    pub(crate) fn lasts(&self) -> Result<(), Failure> {
        for (name, process) in [("server", &self.server), ("agent", &self.agent)] {
            process.lasts().map_err(|error| format!("the {name}: {error}"))?;
        }
        Ok(())
    }

    /// The path of the socket of the Workload API.
    #[must_use]
    pub fn agent_socket(&self) -> &str {
        self.workload_api.trim_start_matches("unix://")
    }

    /// Gives every process of this user the identity `path`, with certificates that live `x509_ttl`.
    ///
    /// # Errors
    /// What the command says.
    pub fn entitle(&self, path: &str, x509_ttl: &str) -> Result<String, Failure> {
        self.entitle_with(path, x509_ttl, &[])?;
        Ok(format!("spiffe://interop.test{path}"))
    }

    /// As [`Fleet::entitle`], with more said of the entry; the entry as it was made.
    ///
    /// # Errors
    /// What the command says.
    pub fn entitle_with(&self, path: &str, x509_ttl: &str, more: &[&str]) -> Result<Value, Failure> {
        let id = format!("spiffe://interop.test{path}");
        let selector = format!("unix:uid:{}", uid(self.dir.path())?);
        let create = ["entry", "create", "--spiffe-id", &id, "--selector", &selector];
        self.administer(&[create.as_slice(), &["--x509-ttl", x509_ttl], more].concat())
    }

    /// Another agent, named `name`, whose settings begin with `settings`; it has joined when this returns, and ends with
    /// the value.
    ///
    /// # Errors
    /// Where it does not join.
    pub fn agent(&self, name: &str, settings: &str) -> Result<impl Drop + use<>, Failure> {
        let (file, metrics) = self.agent_file(name, settings)?;
        let agent = spawn(&self.binary, &["agent", "run", "--config", &file])?;
        wait_healthy(&self.binary, metrics)?;
        Ok(agent)
    }

    /// What an agent with these settings says when it ends by itself.
    ///
    /// # Errors
    /// Where it ends without an error.
    pub fn refused_agent(&self, name: &str, settings: &str) -> Result<String, Failure> {
        let (file, _) = self.agent_file(name, settings)?;
        match run(Command::new(&self.binary).args(["agent", "run", "--config", &file])) {
            Ok(_) => Err(format!("agent `{name}` ended without an error").into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    fn agent_file(&self, name: &str, settings: &str) -> Result<(String, u16), Failure> {
        let (metrics, dir) = (free_port()?, self.dir());
        let text = format!(
            "metrics = \"127.0.0.1:{metrics}\"\nservers = [\"{}\"]\nstate_dir = \"{}\"\n{settings}\n[workload_api]\npath = \"{}\"\n",
            self.agents,
            dir.join(format!("{name}.state")).display(),
            dir.join(format!("{name}.sock")).display(),
        );
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, text)?;
        Ok((file.display().to_string(), metrics))
    }

    /// Runs a command of the administrator and reads its JSON.
    ///
    /// # Errors
    /// What the command says.
    pub fn administer(&self, args: &[&str]) -> Result<Value, Failure> {
        signet_json(&self.binary, &[args, &["--api", &self.api]].concat())
    }

    /// The private directory, for what a scenario writes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Who owns what we make: the uid that the agent will see.
fn uid(ours: &Path) -> Result<u32, Failure> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(ours)?.uid())
}

fn command(binary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn spawn(binary: &Path, args: &[&str]) -> Result<Process, Failure> {
    Ok(Process(command(binary, args).spawn()?))
}

/// A port that was free a moment ago. Another program could take it first; the start then fails and says so.
fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// Asks until the process on `port` says that it is ready; the command itself waits.
fn wait_healthy(binary: &Path, port: u16) -> Result<(), Failure> {
    let url = format!("http://127.0.0.1:{port}");
    run(Command::new(binary).args(["health", "--url", &url, "--wait", "20s"]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    /// A child that says `ready`, then does what `script` says.
    fn child(script: &str) -> Process {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Process(child)
    }

    #[test]
    fn a_child_that_is_dropped_cleans_up_after_itself() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let script = format!(
            "tail -f /dev/null & trap \"kill $!; rmdir {}; exit\" TERM; echo ready; wait",
            home.display()
        );
        drop(child(&script));
        assert!(!home.exists());
    }

    #[test]
    fn a_child_that_has_ended_is_not_asked() {
        let mut process = child("echo ready; kill -KILL $$");
        assert_eq!(process.0.wait().unwrap().signal(), Some(9));
        drop(process);
    }
}
