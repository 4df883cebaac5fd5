//! Runs the built binary.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The binary with nothing of our own environment that it would read.
pub(crate) fn signet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    for name in [
        "SIGNET_API",
        "SIGNET_JOIN",
        "SIGNET_LOG",
        "SIGNET_LOG_FORMAT",
        "SPIFFE_ENDPOINT_SOCKET",
        "COLUMNS",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// Standard output as the one JSON document that it must be, after success.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Asserts a refusal with `code` and nothing on standard output, and gives its one line: of several mistakes,
    /// each has an indented line below it.
    pub(crate) fn refused(&self, code: &str) -> &str {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{self:?}");
        assert!(self.err.starts_with(&format!("error[{code}]: ")), "{self:?}");
        let below = self.err.trim_end().lines().skip(1);
        assert!(below.into_iter().all(|line| line.starts_with("  ")), "{self:?}");
        self.err.trim_end()
    }
}

/// Runs the binary with `args` to its end.
pub(crate) fn run(args: &[&str]) -> Done {
    signet().args(args).output().unwrap().into()
}

/// A running process of ours; told to end if the test ends without doing so.
pub(crate) struct Running {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = signet();
        command.args(args);
        Self::of(command)
    }

    /// Starts `command`.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out }
    }

    /// As [`Running::start`], with what it logs.
    pub(crate) fn start_logged(args: &[&str]) -> (Self, Log) {
        let mut command = signet();
        command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        (Self { child, out: None }, log)
    }

    /// Starts `command`, with what it logs at the end of the file `log`.
    pub(crate) fn logging(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.stderr(Stdio::from(log));
        Self::of(command)
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal).unwrap();
    }

    /// Waits until it has a handler of its own for `signal`.
    pub(crate) fn await_caught(&mut self, signal: Signal) {
        let status = format!("/proc/{}/status", self.pid());
        let bit = 1_u64 << (signal.as_raw() - 1);
        loop {
            let status = std::fs::read_to_string(&status).unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            // One that has ended shows no mask, or an empty one.
            let mask = mask.map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
            if mask.unwrap_or_default() & bit != 0 {
                return;
            }
            assert!(self.is_alive(), "it ended before it caught {signal:?}");
            std::thread::yield_now();
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a crash would: nothing of it runs any more when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it had ended by itself: {status}");
    }

    /// Sends SIGTERM and asserts that it ends by itself within `limit`, with success. Returns how long it took.
    pub(crate) fn stop_within(&mut self, limit: Duration) -> Duration {
        let since = Instant::now();
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        self.signal(Signal::TERM);
        let limit = Timespec::try_from(limit).unwrap();
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).unwrap();
        if ended == 0 {
            self.kill();
            panic!("SIGTERM did not end it within {limit:?}");
        }
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{status} after {:?}", since.elapsed());
        since.elapsed()
    }

    /// Sends `signal` and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be asked.
        if matches!(self.child.try_wait(), Ok(None)) {
            // Asked first, so that it takes its private directory with it; one that was made to pause has to hear it.
            let asked = send(&self.child, Signal::TERM).and_then(|()| send(&self.child, Signal::CONT));
            if asked.is_err() {
                // Better a directory left behind than a test that waits for ever.
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}

/// What a process logs, line by line.
pub(crate) struct Log {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Log {
    fn follow(stderr: ChildStderr) -> Self {
        let (sender, lines) = mpsc::channel();
        // Ends with the process, whose end of the pipe is the only one.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line with `part` in it.
    pub(crate) fn wait(&mut self, part: &str) -> String {
        let until = Instant::now() + LINE_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("`{part}` was not logged within {LINE_WITHIN:?}: {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// All that a process logged which has ended.
    pub(crate) fn whole(mut self) -> Vec<String> {
        self.seen.extend(self.lines.iter());
        self.seen
    }
}

/// Far above what it takes, on a machine that has much else to do.
const LINE_WITHIN: Duration = Duration::from_secs(60);

/// Sends `signal` to a child of ours. A small system has no program that does.
fn send(child: &Child, signal: Signal) -> std::io::Result<()> {
    Ok(kill_process(Pid::from_child(child), signal)?)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
