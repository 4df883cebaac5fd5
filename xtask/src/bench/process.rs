//! Processes that are measured: how they begin and end, and what the kernel says that they use.

use crate::{Failure, run};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here may take longer to start; what does has failed.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Between two questions whether something is up.
pub(super) const PAUSE: Duration = Duration::from_micros(500);

/// A child that is ended when the value goes.
pub(super) struct Running(pub(super) Child);

impl Running {
    /// Starts `command` with nothing to read and nobody to listen to it.
    pub(super) fn start(command: &mut Command) -> Result<Self, Failure> {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self(started.map_err(|e| format!("start {command:?}: {e}"))?))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// As [`Self::start`], with what it prints to be read.
    pub(super) fn heard(command: &mut Command) -> Result<Self, Failure> {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        Ok(Self(started.map_err(|e| format!("start {command:?}: {e}"))?))
    }

    /// Waits until it ends by itself, and gives what it printed where it succeeded.
    pub(super) fn ended(mut self) -> Result<String, Failure> {
        let mut text = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut text)?;
        }
        let status = self.0.wait()?;
        if status.success() {
            return Ok(text);
        }
        Err(format!("process {} ended with {status}: {text}", self.pid()).into())
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        run::shown(Command::new("kill").arg(self.pid().to_string()))?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; that is an error of `kill` that says nothing new.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `port` on the loopback says that its process is ready.
pub(super) fn await_ready(port: u16) -> Result<(), Failure> {
    let begin = Instant::now();
    while !is_ready(port) {
        if begin.elapsed() > LIMIT {
            return Err(format!("nothing was ready on port {port} within 30 s").into());
        }
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}

/// Waits until the metrics on `port` have `line`.
pub(super) fn await_metric(port: u16, line: &str) -> Result<(), Failure> {
    let begin = Instant::now();
    while !get(port, "/metrics").is_ok_and(|text| text.lines().any(|has| has == line)) {
        if begin.elapsed() > LIMIT {
            return Err(format!("no `{line}` on port {port} within 30 s").into());
        }
        std::thread::park_timeout(10 * PAUSE);
    }
    Ok(())
}

fn is_ready(port: u16) -> bool {
    get(port, "/health/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The whole answer of `port` on the loopback.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Processor time of the threads of a process, to the nanosecond.
pub(super) struct Cpu(HashMap<String, u64>);

impl Cpu {
    pub(super) fn of(pid: u32) -> Result<Self, Failure> {
        let mut threads = HashMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread that ends meanwhile takes its part along.
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let first = text.split_whitespace().next().ok_or("no schedstat")?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), first.parse()?);
        }
        Ok(Self(threads))
    }

    /// All of it.
    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.values().sum())
    }

    /// What was used since `before`, by the threads that are still there.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, nanos)| {
            let had = before.0.get(thread).copied().unwrap_or(0);
            nanos.saturating_sub(had)
        });
        Duration::from_nanos(used.sum())
    }
}

/// Processor time of `pid` in clock ticks, those of threads that have ended included.
pub(super) fn ticks(pid: u32) -> Result<u64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').ok_or("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let used = number(14).zip(number(15)).map(|(user, system)| user + system);
    Ok(used.ok_or("too few fields in stat")?)
}

/// What a process has in memory, in KiB.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// All that is resident.
    pub(super) resident_kib: f64,
    /// What is its own.
    pub(super) own_kib: f64,
}

pub(super) fn memory(pid: u32) -> Result<Memory, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64, Failure> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or_else(|| format!("no {name}"))?.parse()?)
    };
    Ok(Memory {
        resident_kib: field("VmRSS:")?,
        own_kib: field("RssAnon:")?,
    })
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// A private directory that goes with the value.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, Failure> {
        let path = run::captured(Command::new("mktemp").args(["-d", "/tmp/sgbench.XXXXXX"]))?;
        Ok(Self(PathBuf::from(path.trim())))
    }

    pub(super) fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a few files in the system's own place for such.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_took_along_is_not_taken_off_the_others() {
        let threads = |all: &[(&str, u64)]| {
            Cpu(all
                .iter()
                .map(|(name, nanos)| ((*name).to_owned(), *nanos))
                .collect())
        };
        let before = threads(&[("1", 100), ("2", 5_000)]);
        let after = threads(&[("1", 130), ("3", 7)]);
        assert_eq!(after.since(&before), Duration::from_nanos(37));
        assert_eq!(before.total(), Duration::from_nanos(5_100));
    }

    #[test]
    fn this_process_is_counted() {
        let pid = std::process::id();
        assert!(Cpu::of(pid).unwrap().total() > Duration::ZERO);
        ticks(pid).unwrap();
        assert!(memory(pid).unwrap().resident_kib >= memory(pid).unwrap().own_kib);
    }
}
