//! A machine for each page, made of the kernel's namespaces.
//!
//! The page's processes see no others and end with the first of them; their network is a loopback of their own, so
//! that ports are free; and `signet` in `/etc`, `/var/lib` and `/run` is absent and theirs to make. Everything they write is
//! in memory, except below the project's folder.

use super::page::{Page, Place};
use crate::{Failure, run};
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The hidden command that is the first process of a page's machine.
pub(crate) const INSIDE: &str = "docs-inside";

/// Folders in which the product's own, [`PRODUCT`], is hidden.
const SYSTEM: &[&str] = &["/etc", "/var/lib", "/run"];

const PRODUCT: &str = "signet";

/// Says early, and once, where namespaces cannot be had.
pub(crate) fn can_be_made() -> Result<(), Failure> {
    let mut probe = unshare()?;
    probe.args(["sh", "-c", "mount -t tmpfs docs /mnt && ip link set lo up"]);
    run::shown(&mut probe).map_err(|e| {
        format!(
            "pages run in namespaces of their own, and this system does not give them (`unshare` of util-linux, `ip` of \
             iproute2, the permission to make user namespaces, or root): {e}"
        )
        .into()
    })
}

/// A command in namespaces of its own; whoever calls is root there.
fn unshare() -> Result<Command, Failure> {
    let mut command = Command::new("unshare");
    if run::captured(Command::new("id").arg("-u"))?.trim() != "0" {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private", "--net", "--uts", "--pid"]);
    command.args(["--fork", "--kill-child", "--mount-proc", "--"]);
    Ok(command)
}

/// Runs the page `name` in a machine of its own.
pub(crate) fn run_page(root: &Path, name: &str) -> Result<(), Failure> {
    // Not where TMPDIR says: it may lie below one of the folders that are replaced, and sockets want short paths.
    let scratch = PathBuf::from(format!("/tmp/signet-docs-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(|e| format!("make {}: {e}", scratch.display()))?;
    let outcome = run_in(root, name, &scratch);
    // What was written lay on a file system that is gone with the machine.
    std::fs::remove_dir(&scratch).map_err(|e| format!("remove {}: {e}", scratch.display()))?;
    outcome
}

fn run_in(root: &Path, name: &str, scratch: &Path) -> Result<(), Failure> {
    let mut child = unshare()?
        .arg(std::env::current_exe()?)
        .args([INSIDE, name])
        .arg(scratch)
        .current_dir(root)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| format!("start unshare: {e}"))?;
    // Open for as long as this process lives: see `super::inside`.
    let lifeline = child.stdin.take();
    let status = child.wait()?;
    drop(lifeline);
    if status.success() {
        Ok(())
    } else {
        Err(format!("the page ended with {status}").into())
    }
}

/// Refuses where this process is not the first of its namespaces: mounting over /etc would be a disaster there.
pub(crate) fn refuse_outside() -> Result<(), Failure> {
    if std::process::id() == 1 {
        Ok(())
    } else {
        Err(format!("`{INSIDE}` runs as the first process of namespaces made for it").into())
    }
}

/// The inside of a page's machine.
pub(crate) struct Machine {
    /// Where the page's commands run.
    pub(crate) work: PathBuf,
    /// For what the reader does not see.
    pub(crate) hidden: PathBuf,
    /// What the commands find in their environment, and nothing else.
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

impl Machine {
    /// Makes this process's namespaces a new machine; see [`refuse_outside`].
    pub(crate) fn set_up(root: &Path, page: &Page, scratch: &Path) -> Result<Self, Failure> {
        run::shown(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        mount(&["-t", "tmpfs", "-o", "mode=755", "docs"], scratch)?;
        for (at, dir) in SYSTEM.iter().enumerate() {
            let (real, shown) = (
                scratch.join(format!("real{at}")),
                scratch.join(format!("shown{at}")),
            );
            hide_product(Path::new(dir), &real, &shown)?;
        }
        let [home, own, hidden] = ["home", "work", "hidden"].map(|name| scratch.join(name));
        for dir in [&home, &own, &hidden] {
            std::fs::create_dir(dir)?;
        }
        let work = match &page.place {
            Place::Empty => own,
            Place::Clone { empty } => {
                if let Some(empty) = empty.as_ref().map(|dir| root.join(dir)) {
                    std::fs::create_dir_all(&empty)?;
                    mount(&["-t", "tmpfs", "-o", "mode=755", "docs"], &empty)?;
                }
                root.to_path_buf()
            }
        };
        Ok(Self {
            environment: environment(root, page, &home),
            work,
            hidden,
        })
    }

    /// A shell on this machine, to be given more arguments.
    pub(crate) fn bash(&self) -> Command {
        // A job in the background was told to ignore Ctrl-C, and `nohup` says so of a terminal that is closed; what runs
        // in a terminal was not.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT,HUP", "bash", "--noprofile", "--norc"])
            .current_dir(&self.work)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }
}

/// Shows in place of `dir` a folder of links to all that is in it but the product's own.
fn hide_product(dir: &Path, real: &Path, shown: &Path) -> Result<(), Failure> {
    std::fs::create_dir(real)?;
    std::fs::create_dir(shown)?;
    let bind = [OsString::from("--rbind"), dir.into()];
    mount(&bind, real)?;
    for entry in std::fs::read_dir(real)? {
        let name = entry?.file_name();
        if name != PRODUCT {
            symlink(real.join(&name), shown.join(&name))?;
        }
    }
    mount(&[OsString::from("--bind"), shown.into()], dir)
}

fn mount<S: AsRef<std::ffi::OsStr>>(args: &[S], at: &Path) -> Result<(), Failure> {
    run::shown(Command::new("mount").args(args).arg(at))
}

/// That of a user who has just logged in, who has Rust and, but in the clone, where it is what the page is about,
/// `signet` installed.
fn environment(root: &Path, page: &Page, home: &Path) -> Vec<(&'static str, OsString)> {
    let outer = |name| std::env::var_os(name);
    let outer_home = PathBuf::from(outer("HOME").unwrap_or_else(|| "/root".into()));
    let mut path = outer("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    if page.place == Place::Empty {
        let mut with = root.join("target/debug").into_os_string();
        with.push(":");
        with.push(path);
        path = with;
    }
    let mut environment = vec![
        ("HOME", home.into()),
        ("PATH", path),
        ("LANG", "C.UTF-8".into()),
        ("TERM", "dumb".into()),
        ("USER", "root".into()),
        (
            "CARGO_HOME",
            outer("CARGO_HOME").unwrap_or_else(|| outer_home.join(".cargo").into()),
        ),
        (
            "RUSTUP_HOME",
            outer("RUSTUP_HOME").unwrap_or_else(|| outer_home.join(".rustup").into()),
        ),
        ("CARGO_NET_OFFLINE", "true".into()),
    ];
    // What would have cargo build anew if it differed from outside.
    for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_BUILD_JOBS"] {
        environment.extend(outer(name).map(|value| (name, value)));
    }
    environment
}
