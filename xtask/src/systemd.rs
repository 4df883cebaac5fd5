//! A machine of its own that systemd runs: namespaces of this one, in which nothing of it is touched. And what is shown in
//! it: that the unit of docs/upgrade.md takes over without a break.

use crate::{Failure, run};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What systemd itself runs there.
pub(crate) const SYSTEMD: &str = "/lib/systemd/systemd";
/// What its units wait for, which need nothing here.
const TARGETS: [&str; 7] = [
    "sysinit.target",
    "basic.target",
    "shutdown.target",
    "network.target",
    "network-online.target",
    "multi-user.target",
    "default.target",
];
const PAGE: &str = "docs/upgrade.md";
const UNIT: &str = "signet-agent@.service";
/// More than an agent gives itself to take over.
const WITHIN: Duration = Duration::from_secs(90);
const MOMENT: Duration = Duration::from_millis(100);

/// Before the process namespace: a control group of its own, in the one hierarchy that has all.
const OUTSIDE: &str = r#"set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$GROUP"
echo $$ > "/sys/fs/cgroup/$GROUP/cgroup.procs"
ip link set lo up
exec unshare --cgroup --pid --fork --kill-child --mount-proc sh -c "$INSIDE"
"#;

/// In it, as process 1. What systemd writes lies in memory.
const INSIDE: &str = r#"set -e
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount --bind /etc /etc
mount -o remount,bind,ro /etc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
exec env -i PATH="$PATH" container=signet SYSTEMD_UNIT_PATH="$UNITS" SYSTEMD_LOG_TARGET=console \
    "$SYSTEMD" --system --unit=multi-user.target
"#;

/// Whether this machine can have another one in it.
pub(crate) fn can_boot() -> Result<bool, Failure> {
    let is_root = run::captured(Command::new("id").arg("-u"))?.trim() == "0";
    Ok(is_root
        && Path::new(SYSTEMD).exists()
        && run::succeeds(Command::new("unshare").args(["--mount", "--pid", "--fork", "true"])))
}

/// A machine that systemd runs, as long as this lives.
struct Machine {
    dir: tempfile::TempDir,
    child: Child,
    /// Process 1 of it, as it is called here.
    init: u32,
}

impl Machine {
    /// Starts one, with the units that every one has, and waits until it runs.
    fn boot() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("sgm").tempdir()?;
        let units = dir.path().join("units");
        std::fs::create_dir(&units)?;
        for target in TARGETS {
            std::fs::write(units.join(target), "[Unit]\nDefaultDependencies=no\n")?;
        }
        let log = std::fs::File::create(dir.path().join("systemd.log"))?;
        let group = dir.path().file_name().ok_or("a directory without a name")?;
        let mut child = Command::new("unshare")
            .args(["--mount", "--uts", "--net", "sh", "-c", OUTSIDE])
            .env("GROUP", group)
            .env("INSIDE", INSIDE)
            .env("UNITS", &units)
            .env("SYSTEMD", SYSTEMD)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let began = Instant::now();
        let init = loop {
            if let Some(ended) = child.try_wait()? {
                return Err(format!("no machine: {ended}: {}", told(dir.path())).into());
            }
            if let Some(init) = only_child(child.id()) {
                break init;
            }
            if began.elapsed() > WITHIN {
                child.kill()?;
                return Err("no process 1".into());
            }
            moment();
        };
        let this = Self { dir, child, init };
        this.until("systemd runs", || {
            let state = this.command(&["systemctl", "is-system-running"]).output()?;
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            Ok(["running", "degraded"].contains(&state.as_str()))
        })?;
        Ok(this)
    }

    /// A command in it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string()])
            .args(["--mount", "--uts", "--net", "--pid", "--"])
            .args(words)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Result<String, Failure> {
        let output = self.command(words).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        Err(format!(
            "{words:?}: {}: {out} {err}\n{}",
            output.status,
            told(self.dir.path())
        )
        .into())
    }

    /// A property of a unit, as systemd has it.
    fn is(&self, unit: &str, property: &str) -> Result<String, Failure> {
        self.run(&["systemctl", "show", "--value", "--property", property, unit])
    }

    fn expect(&self, unit: &str, property: &str, wanted: &str) -> Result<(), Failure> {
        let found = self.is(unit, property)?;
        if found == wanted {
            return Ok(());
        }
        Err(format!(
            "{property} of {unit} is `{found}`, not `{wanted}`\n{}",
            told(self.dir.path())
        )
        .into())
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool, Failure>) -> Result<(), Failure> {
        let began = Instant::now();
        while !holds()? {
            if began.elapsed() > WITHIN {
                return Err(format!("in vain: {what}\n{}", told(self.dir.path())).into());
            }
            moment();
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Whatever runs in it ends with its process 1, which nobody asks.
        let _ = run::succeeds(Command::new("sh").args(["-c", &format!("kill -KILL {}", self.init)]));
        let _ = self.child.wait();
    }
}

/// The unit of docs/upgrade.md: two instances of it take turns, one that dies comes back, and one that was taken over from
/// does not.
pub(crate) fn upgrade(root: &Path, binary: &Path) -> Result<(), Failure> {
    let machine = Machine::boot()?;
    let dir = machine.dir.path().to_owned();
    let at = |name: &str| dir.join(name).display().to_string();
    let signet = binary.display().to_string();
    let unit = unit(root)?;
    let unit = replaced(&unit, "/usr/local/bin/signet", &signet)?;
    let unit = replaced(&unit, "/etc/signet/agent.toml", &at("agent.toml"))?;
    let file = dir.join("units").join(UNIT);
    std::fs::write(&file, unit)?;
    let verified = machine
        .command(&["systemd-analyze", "verify", &file.display().to_string()])
        .output()?;
    if !verified.status.success() || !verified.stderr.is_empty() {
        return Err(format!(
            "systemd-analyze verify: {}",
            String::from_utf8_lossy(&verified.stderr)
        )
        .into());
    }
    machine.run(&["systemctl", "daemon-reload"])?;

    machine.run(&[
        "systemd-run",
        "--quiet",
        "--unit",
        "signet-dev",
        &signet,
        "dev",
        "--dir",
        &at("dev"),
        "--no-demo",
    ])?;
    let api = format!("unix://{}", at("dev/api.sock"));
    machine.until("a join string", || {
        let made = machine.run(&[&signet, "node", "join-token", "create", "--api", &api]);
        let Ok(join) = made else { return Ok(false) };
        std::fs::write(dir.join("join"), join)?;
        Ok(true)
    })?;
    std::fs::write(
        dir.join("agent.toml"),
        format!(
            "state_dir = \"/var/lib/signet/agent\"\njoin_file = \"{}\"\nmetrics = \"127.0.0.1:8453\"\n\n[workload_api]\npath = \"/run/signet/agent.sock\"\n",
            at("join")
        ),
    )?;
    let served = || -> Result<(), Failure> {
        let socket = "unix:///run/signet/agent.sock";
        machine
            .run(&[&signet, "svid", "x509", "--socket", socket])
            .map(drop)
    };
    let (a, b) = ("signet-agent@a", "signet-agent@b");
    // The first one has nothing to take over, and is ready before it has heard from its server.
    machine.run(&["systemctl", "start", a])?;
    machine.expect(a, "ActiveState", "active")?;
    machine.until("the first SVID", || Ok(served().is_ok()))?;
    // `start` returns when it serves; the other one drains by then.
    for (old, new) in [(a, b), (b, a), (a, b)] {
        machine.run(&["systemctl", "start", new])?;
        machine.expect(new, "ActiveState", "active")?;
        served()?;
        machine.until("the one before ends", || {
            Ok(machine.is(old, "ActiveState")? == "inactive")
        })?;
        machine.expect(old, "Result", "success")?;
        machine.expect(old, "NRestarts", "0")?;
        served()?;
    }
    machine.run(&["systemctl", "reload", b])?;
    machine.expect(b, "ActiveState", "active")?;
    served()?;
    // One that dies comes back; the one that it took over from does not.
    machine.run(&["systemctl", "kill", "--kill-who", "main", "--signal", "KILL", b])?;
    machine.until("it comes back", || {
        Ok(machine.is(b, "NRestarts")? == "1" && machine.is(b, "ActiveState")? == "active")
    })?;
    served()?;
    machine.expect(a, "ActiveState", "inactive")?;
    machine.run(&["systemctl", "stop", b])?;
    machine.expect(b, "Result", "success")?;
    println!("{UNIT} of {PAGE}: three upgrades, a reload, a death");
    Ok(())
}

/// The unit that the page shows.
fn unit(root: &Path) -> Result<String, Failure> {
    let page = std::fs::read_to_string(root.join(PAGE))?;
    let start = format!("`/etc/systemd/system/{UNIT}`:\n\n```text\n");
    let unit = page
        .split_once(&start)
        .and_then(|(_, rest)| rest.split_once("```"));
    let (unit, _) = unit.ok_or_else(|| format!("{PAGE} does not show {UNIT}"))?;
    Ok(unit.to_owned())
}

fn replaced(text: &str, old: &str, new: &str) -> Result<String, Failure> {
    if text.contains(old) {
        return Ok(text.replace(old, new));
    }
    Err(format!("{UNIT} of {PAGE} has no `{old}` any more").into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "systemd is looked at from outside; each wait ends with what is waited for, or a limit"
)]
fn moment() {
    std::thread::sleep(MOMENT);
}

/// What systemd and its units wrote.
fn told(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("systemd.log")).unwrap_or_default()
}

fn only_child(parent: u32) -> Option<u32> {
    let path: PathBuf = format!("/proc/{parent}/task/{parent}/children").into();
    let children = std::fs::read_to_string(path).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
