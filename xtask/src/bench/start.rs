//! How long the release build takes from exec to service.

use super::process::{Cpu, Running, memory};
use super::rig::Rig;
use crate::Failure;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each thing is started.
const ROUNDS: usize = 11;

/// What one start cost.
struct Sample {
    wall: Duration,
    /// Processor time of the process until it was up.
    cpu: Duration,
    /// Resident memory when it was up, in KiB.
    rss_kib: f64,
}

/// Starts everything so many times, and prints the table.
pub(super) fn table(binary: &Path) -> Result<(), Failure> {
    println!(
        "\n| start, release build, {ROUNDS} rounds | median ms | min | max | CPU ms | RSS MiB | to hold |"
    );
    println!("|---|---|---|---|---|---|---|");
    // Interleaved, so that a busy moment of the machine does not hit one of them alone.
    let (mut dev, mut server) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        dev.push(start_dev(binary)?);
        server.push(start_server(binary)?);
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
    let rig = Rig::init(binary, &[])?;
    let begin = Instant::now();
    let child = rig.server()?;
    sample(&child, begin.elapsed())
}

fn sample(child: &Running, wall: Duration) -> Result<Sample, Failure> {
    Ok(Sample {
        wall,
        cpu: Cpu::of(child.pid())?.total(),
        rss_kib: memory(child.pid())?.resident_kib,
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
        middle.rss_kib / 1024.0
    );
}
