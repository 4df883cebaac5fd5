//! The processes whose use of the machine is measured: this one, the agent, the server.

use super::latency::tenth;
use crate::{Outcome, api};
use core::time::Duration;
use serde::Serialize;
use signet_sys::usage;
use std::path::Path;
use std::time::Instant;

/// Whose use is measured.
#[derive(Debug, clap::Args)]
pub(super) struct Pids {
    /// The agent's process. Without, it is the one that listens on the socket.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) agent_pid: Option<u32>,
    #[command(flatten)]
    pub(super) server: ServerPid,
}

/// Which server's use is measured.
#[derive(Debug, clap::Args)]
pub(super) struct ServerPid {
    /// The server's process. Without, it is the one that listens on the socket of --api.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) server_pid: Option<u32>,
}

impl ServerPid {
    /// Finds out what is not given.
    async fn find(&self, api: &str) -> Option<u32> {
        match self.server_pid {
            Some(pid) => Some(pid),
            None => listener(api::socket(api).as_deref()).await,
        }
    }

    /// Watches the server without any agent.
    pub(super) async fn watch(&self, api: &str) -> Outcome<Watched> {
        Watched::of(None, self.find(api).await)
    }
}

impl Pids {
    /// Finds out what is not given, and notes what each has used until now.
    pub(super) async fn watch(&self, agent: Option<&Path>, api: &str) -> Outcome<Watched> {
        let agent = match self.agent_pid {
            Some(pid) => Some(pid),
            None => listener(agent).await,
        };
        Watched::of(agent, self.server.find(api).await)
    }
}

/// Who listens on the socket at `path`, as far as the kernel says and this process may know: one in another PID
/// namespace has no number here, and of a socket that was handed on it says who made it, who may be gone.
pub(super) async fn listener(path: Option<&Path>) -> Option<u32> {
    let stream = tokio::net::UnixStream::connect(path?).await.ok()?;
    maker(stream.peer_cred().ok()?.pid()?)
}

fn maker(pid: i32) -> Option<u32> {
    let pid = u32::try_from(pid).ok()?;
    // 1 has made the socket for somebody else.
    (pid > 1 && usage::cpu_time(pid).is_ok()).then_some(pid)
}

struct Process {
    name: &'static str,
    pid: u32,
    before: Duration,
}

impl Process {
    fn of(name: &'static str, pid: u32) -> Outcome<Self> {
        let before = usage::cpu_time(pid)?;
        Ok(Self { name, pid, before })
    }
}

/// What each process had used at the start.
pub(super) struct Watched {
    since: Instant,
    processes: Vec<Process>,
    agent: Option<u32>,
    server: Option<u32>,
}

impl Watched {
    fn of(agent: Option<u32>, server: Option<u32>) -> Outcome<Self> {
        let mut processes = vec![Process::of("client", std::process::id())?];
        match (agent, server) {
            (Some(agent), Some(server)) if agent == server => {
                processes.push(Process::of("agent and server", agent)?);
            }
            _ => {
                for (name, pid) in [("agent", agent), ("server", server)] {
                    processes.extend(pid.map(|pid| Process::of(name, pid)).transpose()?);
                }
            }
        }
        Ok(Self {
            since: Instant::now(),
            processes,
            agent,
            server,
        })
    }

    /// What each has used since, for each of `operations`. A process that has ended meanwhile is left out.
    pub(super) fn used(&self, operations: u64) -> Vec<Used> {
        let elapsed = self.since.elapsed().as_secs_f64();
        let used = self.processes.iter().filter_map(|process| {
            let cpu = usage::cpu_time(process.pid).ok()?.saturating_sub(process.before);
            Some(Used {
                process: process.name,
                pid: process.pid,
                cpu_ms: u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX),
                cpu_us_per_operation: (operations > 0)
                    .then(|| tenth(cpu.as_secs_f64() * 1e6 / operations as f64)),
                percent_of_core: (elapsed > 0.0).then(|| tenth(cpu.as_secs_f64() * 100.0 / elapsed)),
            })
        });
        used.collect()
    }

    /// The agent's own resident memory, in bytes, and its process.
    pub(super) fn agent_memory(&self) -> Option<u64> {
        usage::anonymous_bytes(self.agent?).ok()
    }

    /// The server's memory, and its process.
    pub(super) fn server_memory(&self) -> Option<(u32, ServerMemory)> {
        let pid = self.server?;
        let memory = ServerMemory {
            resident: usage::resident_bytes(pid).ok()?,
            anonymous: usage::anonymous_bytes(pid).ok()?,
        };
        Some((pid, memory))
    }

    /// Whether it is known which process the agent is.
    pub(super) fn agent(&self) -> Option<u32> {
        self.agent
    }
}

/// What a server has in memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ServerMemory {
    /// All of it (`VmRSS`).
    pub(super) resident: u64,
    /// What is its own (`RssAnon`).
    pub(super) anonymous: u64,
}

/// Processor time of one process during the measurement.
#[derive(Debug, Serialize)]
pub(super) struct Used {
    process: &'static str,
    pid: u32,
    cpu_ms: u64,
    cpu_us_per_operation: Option<f64>,
    /// Of the time in which it was watched.
    percent_of_core: Option<f64>,
}

impl Used {
    pub(super) fn facts(used: &[Self]) -> Vec<(String, String)> {
        let fact = |used: &Self| {
            let each = used
                .cpu_us_per_operation
                .map(|us| format!(", {us:.1} us each"))
                .unwrap_or_default();
            let share = used
                .percent_of_core
                .map(|percent| format!(", {percent:.1} % of a core"))
                .unwrap_or_default();
            let value = format!("{} ms{each}{share} (pid {})", used.cpu_ms, used.pid);
            (format!("cpu of {}", used.process), value)
        };
        used.iter().map(fact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_known_by_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        assert_eq!(listener(Some(&path)).await, None);
        assert_eq!(listener(None).await, None);
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert_eq!(listener(Some(&path)).await, Some(std::process::id()));
    }

    #[test]
    fn whoever_made_a_socket_and_is_gone_does_not_listen_on_it() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(maker(pid), Some(std::process::id()));
        for nobody in [0, 1, -1, i32::MAX] {
            assert_eq!(maker(nobody), None, "{nobody}");
        }
    }

    #[tokio::test]
    async fn what_is_one_process_is_counted_once() {
        let pid = Some(std::process::id());
        let pids = Pids {
            agent_pid: pid,
            server: ServerPid { server_pid: pid },
        };
        let watched = pids.watch(None, "unix:///nowhere/api.sock").await.unwrap();
        let used = watched.used(10);
        let names: Vec<_> = used.iter().map(|used| used.process).collect();
        assert_eq!(names, ["client", "agent and server"]);
        assert!(watched.agent_memory().unwrap() > 0);
        let (of, memory) = watched.server_memory().unwrap();
        assert_eq!(Some(of), pid);
        assert!(0 < memory.anonymous && memory.anonymous <= memory.resident);
        assert!(used[0].cpu_us_per_operation.is_some());
        assert!(watched.used(0)[0].cpu_us_per_operation.is_none());
    }

    #[tokio::test]
    async fn a_process_that_does_not_exist_is_refused() {
        let pids = Pids {
            agent_pid: Some(u32::MAX >> 1),
            server: ServerPid { server_pid: None },
        };
        let refused = pids.watch(None, "unix:///nowhere/api.sock").await.err().unwrap();
        assert!(refused.code.starts_with("SGSY"), "{refused:?}");
    }
}
