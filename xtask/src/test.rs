//! `cargo xtask test`: everything that shows that the project works, in phases.

use crate::{Failure, arrows, docs, proto, rules, run, setup, soak, systemd};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

struct Phase {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> Result<(), Failure>,
}

/// In the order in which they run: the quick ones first.
const PHASES: &[Phase] = &[
    Phase {
        name: "setup",
        about: "install what the other phases need",
        run: |_| setup::system(),
    },
    Phase {
        name: "fmt",
        about: "formatting",
        run: |root| run::shown(run::cargo().current_dir(root).args(["fmt", "--all", "--check"])),
    },
    Phase {
        name: "arrows",
        about: "tiers, folders, unsafe code, cryptography",
        run: arrows::check,
    },
    Phase {
        name: "rules",
        about: "docs/rules against the tests",
        run: rules::check,
    },
    Phase {
        name: "proto",
        about: "generated code is fresh",
        run: proto::check,
    },
    Phase {
        name: "clippy",
        about: "lints, warnings denied",
        run: clippy,
    },
    Phase {
        name: "doc",
        about: "documentation builds, warnings denied",
        run: doc,
    },
    Phase {
        name: "tests",
        about: "every test of every crate but the soak",
        run: tests,
    },
    Phase {
        name: "systemd",
        about: "the unit of docs/upgrade.md, and callers in units of the systemd that runs this machine",
        run: systemd,
    },
    Phase {
        name: "interop",
        about: "foreign clients against the built binary",
        run: interop,
    },
    Phase {
        name: "crash",
        about: "crash campaigns with 200 rounds each",
        run: crash,
    },
    Phase {
        name: "soak",
        about: "1,000 streams, 10,000 entries churning, a server that comes and goes, for a minute",
        run: soak::phase,
    },
    Phase {
        name: "docs",
        about: "every command in README.md and docs, as pasted",
        run: docs::run,
    },
];

/// The phases, one a line.
pub(crate) fn list() -> String {
    PHASES
        .iter()
        .map(|p| format!("{:8} {}\n", p.name, p.about))
        .collect()
}

/// Runs the phases named, or all, to the end; fails if one of them did.
pub(crate) fn run(root: &Path, names: &[&str]) -> Result<(), Failure> {
    if let Some(unknown) = names.iter().find(|name| PHASES.iter().all(|p| p.name != **name)) {
        return Err(format!("no phase `{unknown}`; there are:\n{}", list()).into());
    }
    let chosen = PHASES
        .iter()
        .filter(|p| names.is_empty() || p.name == "setup" || names.contains(&p.name));
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for phase in chosen {
        println!("== {}: {}", phase.name, phase.about);
        let start = Instant::now();
        let outcome = (phase.run)(root);
        let seconds = start.elapsed().as_secs_f32();
        let word = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) if error.is::<NotRun>() => error.to_string(),
            Err(error) => {
                eprintln!("{}: {error}", phase.name);
                failed.push(phase.name);
                "FAILED".to_owned()
            }
        };
        println!("== {}: {word} in {seconds:.1} s", phase.name);
        lines.push(format!("{:8} {seconds:7.1} s  {word}", phase.name));
    }
    println!("\n{}", lines.join("\n"));
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")).into())
    }
}

fn clippy(root: &Path) -> Result<(), Failure> {
    run::shown(run::cargo().current_dir(root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc(root: &Path) -> Result<(), Failure> {
    run::shown(
        run::cargo()
            .current_dir(root)
            .env("RUSTDOCFLAGS", "-D warnings")
            .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"]),
    )
}

fn tests(root: &Path) -> Result<(), Failure> {
    let command = |args: &[&str]| {
        let mut command = run::cargo();
        // What this system cannot do fails, instead of being left out with a line that nobody reads.
        command
            .current_dir(root)
            .env("SIGNET_TEST_EVERYTHING", "1")
            .args(args)
            .args(["--workspace", "--locked"]);
        command
    };
    if !has_nextest() {
        return run::shown(command(&["test"]).args(["--", "--skip", SOAK]));
    }
    let filter = format!("not test(/^{SOAK}/)");
    run::shown(&mut command(&[
        "nextest",
        "run",
        "--no-fail-fast",
        "--status-level",
        "slow",
        "-E",
        &filter,
    ]))?;
    // nextest leaves the examples in documentation to cargo.
    run::shown(&mut command(&["test", "--doc", "--quiet"]))
}

/// What this machine cannot show, however it is set up: told in the summary, and no failure.
#[derive(Debug)]
struct NotRun(&'static str);

impl std::fmt::Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NOT RUN: {}", self.0)
    }
}

impl std::error::Error for NotRun {}

/// The unit of docs/upgrade.md in a machine that is made for it, and callers in units of the systemd that runs this one: it
/// takes a message bus, which the other one does not have.
fn systemd(root: &Path) -> Result<(), Failure> {
    let can_boot = systemd::can_boot()?;
    if can_boot {
        run::shown(
            run::cargo()
                .current_dir(root)
                .args(["build", "--locked", "-p", "signet"]),
        )?;
        systemd::upgrade(root, &root.join("target/debug/signet"))?;
    }
    if !Path::new("/run/systemd/system").exists() {
        let why = if can_boot {
            "callers in units, for PID 1 is not systemd"
        } else {
            "PID 1 is not systemd, and none can be had without root that may unshare"
        };
        return Err(NotRun(why).into());
    }
    run::shown(
        run::cargo()
            .current_dir(root)
            .env("SIGNET_TEST_SYSTEMD", "1")
            .args([
                "test",
                "--locked",
                "-p",
                "signet-agent",
                "--test",
                "it",
                "systemd::live_",
            ]),
    )
}

fn interop(root: &Path) -> Result<(), Failure> {
    scenarios(root, &[], &[])
}

/// Runs the scenarios named, or all, with more in their environment.
pub(crate) fn scenarios(root: &Path, names: &[&str], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let python = setup::python(root)?;
    run::shown(run::cargo().current_dir(root).args([
        "build",
        "--locked",
        "-p",
        "signet",
        "-p",
        "signet-interop",
    ]))?;
    run::shown(
        Command::new(root.join("target/debug/signet-interop"))
            .args(names)
            .envs(environment.iter().copied())
            .env("SIGNET_INTEROP_PYTHON", python)
            .env("SIGNET_BIN", root.join("target/debug/signet")),
    )
}

/// The campaigns of `tests/crash` and every test with `crash` in its name, with the number of rounds of a campaign.
/// That on the whole server takes minutes and says how far it is, so it runs by itself and is shown.
fn crash(root: &Path) -> Result<(), Failure> {
    let command = |args: &[&str]| {
        let mut command = run::cargo();
        command
            .current_dir(root)
            .env("SIGNET_CRASH_ROUNDS", ROUNDS)
            .args(args);
        command
    };
    if has_nextest() {
        let filter = format!("(package(signet-crash) or test(/crash/)) and not test(/{SERVER}/)");
        run::shown(&mut command(&[
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "-E",
            &filter,
        ]))?;
    } else {
        run::shown(&mut command(&["test", "--locked", "-p", "signet-crash"]))?;
        run::shown(&mut command(&[
            "test",
            "--workspace",
            "--locked",
            "--exclude",
            "signet-crash",
            "--",
            "crash",
            "--skip",
            SERVER,
        ]))?;
    }
    run::shown(&mut command(&[
        "test",
        "--locked",
        "-p",
        "signet",
        "--test",
        "it",
        SERVER,
        "--",
        "--nocapture",
    ]))
}

/// What the name of the soak begins with, which has a phase of its own.
const SOAK: &str = "soak_of";

/// The module of the campaign on the whole server.
const SERVER: &str = "crash_server";

/// How often each campaign crashes what it tests.
const ROUNDS: &str = "200";

fn has_nextest() -> bool {
    run::succeeds(run::cargo().args(["nextest", "--version"]))
}
