//! `cargo xtask bench`: programs that print tables. None of them fails because a machine is slow.

use crate::{Failure, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often each thing is started.
const ROUNDS: usize = 11;

/// Between two questions whether a server is healthy.
const PAUSE: Duration = Duration::from_micros(500);

/// Nothing here may take longer; a start that does has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// A child that is ended when the value goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; that is an error of `kill` that says nothing new.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one start cost.
struct Sample {
    wall: Duration,
    /// Processor time of the process until it was up.
    cpu: Duration,
    /// Resident memory when it was up, in KiB.
    rss_kib: u64,
}

/// Measures how long the release build takes from exec to service, and prints the table.
pub(crate) fn start(root: &Path) -> Result<(), Failure> {
    run::shown(
        run::cargo()
            .current_dir(root)
            .args(["build", "--release", "--locked", "-p", "signet"]),
    )?;
    let binary = root.join("target/release/signet");
    println!("{}", machine(root)?);
    println!(
        "\n| start, release build, {ROUNDS} rounds | median ms | min | max | CPU ms | RSS MiB | to hold |"
    );
    println!("|---|---|---|---|---|---|---|");
    // Interleaved, so that a busy moment of the machine does not hit one of them alone.
    let (mut dev, mut server) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        dev.push(start_dev(&binary)?);
        server.push(start_server(&binary)?);
    }
    row("`signet dev`: exec to first SVID fetched", dev, "< 500 ms");
    row("`signet server run`: exec to healthy", server, "< 150 ms");
    Ok(())
}

/// Exec to the line that says that the first SVID can be fetched.
fn start_dev(binary: &Path) -> Result<Sample, Failure> {
    let begin = Instant::now();
    let mut child = Command::new(binary)
        .args([
            "dev",
            "-o",
            "json",
            "--http-port",
            "0",
            "--mtls-port",
            "0",
            "--agent-port",
            "0",
        ])
        .args(["--console-port", "0", "--metrics-port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    let child = Running(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let wall = begin.elapsed();
    if !line.starts_with('{') {
        return Err(format!("`signet dev` printed `{line}`").into());
    }
    sample(&child, wall)
}

/// Exec to the first 200 from `/health/ready`, on a directory that `server init` has made.
fn start_server(binary: &Path) -> Result<Sample, Failure> {
    let dir = Scratch::new()?;
    let at = |name: &str| dir.0.join(name).display().to_string();
    let seal = format!("file={}", at("seal.key"));
    run::captured(
        Command::new(binary)
            .args(["server", "init", "--trust-domain", "bench.test"])
            .args([
                "--dir",
                &at("data"),
                "--seal",
                &seal,
                "--recovery-out",
                &at("recovery"),
            ]),
    )?;
    let (agents, metrics) = (free_port()?, free_port()?);
    let text = format!(
        "trust_domain = \"bench.test\"\ndata_dir = \"{}\"\nseal = \"{seal}\"\n[listen]\nhttps = \"127.0.0.1:0\"\nagents = \"127.0.0.1:{agents}\"\nmetrics = \"127.0.0.1:{metrics}\"\napi = \"{}\"\n",
        at("data"),
        at("api.sock"),
    );
    std::fs::write(at("server.toml"), text)?;
    let begin = Instant::now();
    let child = Command::new(binary)
        .args(["server", "run", "--config", &at("server.toml")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Running)?;
    while !is_healthy(metrics) {
        if begin.elapsed() > LIMIT {
            return Err("`signet server run` was not healthy within 30 s".into());
        }
        std::thread::park_timeout(PAUSE);
    }
    sample(&child, begin.elapsed())
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn sample(child: &Running, wall: Duration) -> Result<Sample, Failure> {
    let pid = child.0.id();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos = stat
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .ok_or("no schedstat")?;
    // `schedstat` of a process is that of its first thread; the others stand in `task`.
    let others: u64 = std::fs::read_dir(format!("/proc/{pid}/task"))?
        .flatten()
        .filter(|task| task.file_name().to_str() != Some(&pid.to_string()))
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss_kib = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .ok_or("no VmRSS")?;
    Ok(Sample {
        wall,
        cpu: Duration::from_nanos(nanos) + Duration::from_nanos(others),
        rss_kib,
    })
}

fn row(name: &str, mut samples: Vec<Sample>, hold: &str) {
    samples.sort_by_key(|s| s.wall);
    let ms = |d: Duration| format!("{:.0}", d.as_secs_f64() * 1e3);
    let (Some(first), Some(last), Some(middle)) =
        (samples.first(), samples.last(), samples.get(samples.len() / 2))
    else {
        return;
    };
    println!(
        "| {name} | {} | {} | {} | {} | {:.1} | {hold} |",
        ms(middle.wall),
        ms(first.wall),
        ms(last.wall),
        ms(middle.cpu),
        f64::from(u32::try_from(middle.rss_kib).unwrap_or(u32::MAX)) / 1024.0
    );
}

/// The commit, the processor and the load before the start: what a figure is worth nothing without.
fn machine(root: &Path) -> Result<String, Failure> {
    let commit = run::captured(
        Command::new("git")
            .current_dir(root)
            .args(["describe", "--always", "--dirty"]),
    )?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().next().unwrap_or("?");
    Ok(format!(
        "commit {}, {cores} x {model}, load before the start {load}",
        commit.trim()
    ))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// A private directory that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = run::captured(Command::new("mktemp").args(["-d", "/tmp/sgbench.XXXXXX"]))?;
        Ok(Self(PathBuf::from(path.trim())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a few files in the system's own place for such.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
