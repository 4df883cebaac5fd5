//! A workload whose program lies on a file system that hangs, as a network's does when its server goes: bindfs, stopped.

use crate::fleet::Process;
use crate::scenarios::ensure;
use crate::{Failure, Fleet, binary, run, signet_json};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The workload's stream brings a new identity, and everybody else's do, while nobody can look at its program.
///
/// # Errors
/// The first check that fails.
pub(crate) fn executable() -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    fleet.entitle("/first", "1h")?;
    let disk = Disk::mount(fleet.dir())?;
    // Copied over beforehand: what runs needs no page of it any more that it has not read.
    std::fs::copy(which("curl")?, disk.at("curl"))?;
    let mut workload = Workload::start(&disk, &fleet)?;
    let first = workload.message()?;
    let began = Instant::now();
    let hung = disk.hang()?;
    // Before the second answer the agent looks at the workload again.
    fleet.entitle("/second", "1h")?;
    let second = workload.message()?;
    ensure(second > first, || {
        format!("{second} bytes with two identities, {first} with one")
    })?;
    let others = others(&fleet)?;
    ensure(others == 2, || {
        format!("another workload has {others} identities of 2")
    })?;
    let answered = began.elapsed();
    ensure(hung.hangs()?, || "the file system answered meanwhile".to_owned())?;
    drop(hung);
    drop(workload);
    Ok(format!(
        "messages of {first} and {second} bytes to a workload on it, 2 identities to another, in {:.1} s",
        answered.as_secs_f32()
    ))
}

/// How many identities a process on a disk that works is given.
fn others(fleet: &Fleet) -> Result<usize, Failure> {
    let binary = binary()?;
    let asked = ["svid", "x509", "--socket", &fleet.workload_api];
    let answer = signet_json(&binary, &asked)?;
    let svids = answer.get("svids").and_then(Value::as_array);
    Ok(svids.ok_or_else(|| format!("no svids in {answer}"))?.len())
}

/// A file system that another process serves.
struct Disk {
    mounted: std::path::PathBuf,
    server: Process,
}

impl Disk {
    fn mount(dir: &Path) -> Result<Self, Failure> {
        let (files, mounted) = (dir.join("files"), dir.join("mounted"));
        std::fs::create_dir(&files)?;
        std::fs::create_dir(&mounted)?;
        let before = std::fs::metadata(&mounted)?.dev();
        let mut command = Command::new("bindfs");
        // What is asked of a file goes to that process each time.
        command.args(["-f", "-o", "attr_timeout=0,entry_timeout=0"]);
        let server = Process(command.arg(&files).arg(&mounted).spawn()?);
        while std::fs::metadata(&mounted)?.dev() == before {
            server.lasts().map_err(|error| format!("bindfs: {error}"))?;
        }
        Ok(Self { mounted, server })
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.mounted.join(name)
    }

    /// From now on nothing of it is answered, until what is returned goes.
    fn hang(&self) -> Result<Hung, Failure> {
        let pid = Pid::from_raw(i32::try_from(self.server.0.id())?).ok_or("no process id")?;
        let mut hung = Hung { pid, asking: None };
        kill_process(pid, Signal::STOP)?;
        let mut stat = Command::new("stat");
        stat.arg(self.at("curl")).stdout(Stdio::null());
        hung.asking = Some(stat.spawn()?);
        Ok(hung)
    }
}

/// A file system that hangs, and a process that has asked it something.
struct Hung {
    pid: Pid,
    asking: Option<Child>,
}

impl Hung {
    /// Whether who asked at the beginning still waits.
    fn hangs(&self) -> Result<bool, Failure> {
        let asking = self.asking.as_ref().ok_or("nobody asks")?;
        let wait = format!("/proc/{}/stat", asking.id());
        let stat = std::fs::read_to_string(wait)?;
        // The state stands behind the name, which ends with the last bracket.
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        Ok(state.is_some_and(|state| state != 'Z'))
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::CONT);
        if let Some(asking) = &mut self.asking {
            let _ = asking.wait();
        }
    }
}

/// curl, run from that disk, with a stream of X.509-SVIDs.
struct Workload {
    messages: ChildStdout,
    process: Process,
}

impl Workload {
    fn start(disk: &Disk, fleet: &Fleet) -> Result<Self, Failure> {
        let request = fleet.dir().join("request");
        // No member, not compressed.
        std::fs::write(&request, [0; 5])?;
        let mut curl = Command::new(disk.at("curl"));
        curl.args([
            "--silent",
            "--no-buffer",
            "--http2-prior-knowledge",
            "--request",
            "POST",
        ])
        .args(["--max-time", &WITHIN.as_secs().to_string()])
        .args(["--unix-socket", fleet.agent_socket()])
        .args(["--header", "workload.spiffe.io: true", "--header", "te: trailers"])
        .args(["--header", "content-type: application/grpc"])
        .arg("--data-binary")
        .arg(format!("@{}", request.display()))
        .arg("http://localhost/SpiffeWorkloadAPI/FetchX509SVID");
        let mut curl = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let messages = curl.stdout.take().ok_or("no pipe")?;
        Ok(Self {
            messages,
            process: Process(curl),
        })
    }

    /// How long the next message is.
    fn message(&mut self) -> Result<usize, Failure> {
        let ended = |error| format!("no message within {} s: {error}", WITHIN.as_secs());
        let mut head = [0; 5];
        self.messages.read_exact(&mut head).map_err(ended)?;
        let [_, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        let mut message = vec![0; length];
        self.messages.read_exact(&mut message).map_err(ended)?;
        Ok(length)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.process.0.kill();
    }
}

fn which(program: &str) -> Result<String, Failure> {
    let found = run(Command::new("sh").args(["-c", &format!("command -v {program}")]))?;
    Ok(String::from_utf8(found.stdout)?.trim().to_owned())
}

/// An agent that waits for that disk answers never.
const WITHIN: Duration = Duration::from_secs(30);
