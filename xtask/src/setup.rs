//! Puts on a fresh Debian machine what the phases need beside Rust and a C compiler.

use crate::systemd::SYSTEMD;
use crate::{Failure, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Debian package and how to see that what it brings is there.
struct Tool {
    package: &'static str,
    program: &'static str,
    probe: &'static [&'static str],
}

const TOOLS: &[Tool] = &[
    Tool {
        package: "gcc",
        program: "cc",
        probe: &["--version"],
    },
    Tool {
        package: "libc6-dev",
        program: "sh",
        probe: &["-c", "echo '#include <stdio.h>' | cc -E - -o /dev/null"],
    },
    Tool {
        package: "openssl",
        program: "openssl",
        probe: &["version"],
    },
    Tool {
        package: "iproute2",
        program: "ip",
        probe: &["-V"],
    },
    Tool {
        package: "curl",
        program: "curl",
        probe: &["--version"],
    },
    Tool {
        package: "jq",
        program: "jq",
        probe: &["--version"],
    },
    Tool {
        package: "mount",
        program: "mount",
        probe: &["--version"],
    },
    Tool {
        package: "procps",
        program: "ps",
        probe: &["--version"],
    },
    Tool {
        package: "systemd",
        program: SYSTEMD,
        probe: &["--version"],
    },
    Tool {
        package: "bindfs",
        program: "bindfs",
        probe: &["--version"],
    },
    Tool {
        package: "faketime",
        program: "faketime",
        probe: &["--version"],
    },
    Tool {
        package: "python3-venv",
        program: "python3",
        probe: &["-c", "import venv, ensurepip"],
    },
];

/// Installs the system's packages that are missing and Rust's components.
pub(crate) fn system() -> Result<(), Failure> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|tool| !run::succeeds(Command::new(tool.program).args(tool.probe)))
        .map(|tool| tool.package)
        .collect();
    if !missing.is_empty() {
        apt_get(&missing)?;
    }
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !run::succeeds(run::cargo().args([subcommand, "--version"])) {
            run::shown(Command::new("rustup").args(["component", "add", component]))
                .map_err(|e| format!("`cargo {subcommand}` is missing and could not be installed: {e}"))?;
        }
    }
    Ok(())
}

fn apt_get(packages: &[&str]) -> Result<(), Failure> {
    println!("installing {}", packages.join(" "));
    let is_root = run::captured(Command::new("id").arg("-u"))?.trim() == "0";
    let command = |args: &[&str]| {
        let mut command = if is_root {
            Command::new("apt-get")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "apt-get"]);
            sudo
        };
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let install = ["install", "-y", "--no-install-recommends"];
    let outcome = run::shown(&mut command(&["update"]))
        .and_then(|()| run::shown(&mut command(&[install.as_slice(), packages].concat())));
    outcome.map_err(|e| {
        format!("these packages are needed and could not be installed, do so by hand: {packages:?}: {e}")
            .into()
    })
}

/// A Python interpreter with the packages of the interoperability scenarios, below `target`.
pub(crate) fn python(root: &Path) -> Result<PathBuf, Failure> {
    let venv = root.join("target/xtask/python");
    let interpreter = venv.join("bin/python");
    let list = root.join("tests/interop/python/requirements.txt");
    let wanted = std::fs::read_to_string(&list)?;
    let stamp = venv.join("installed.txt");
    if interpreter.exists() && std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(interpreter);
    }
    run::shown(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run::shown(
        Command::new(&interpreter)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(&list),
    )
    .map_err(|e| {
        format!(
            "the Python packages of {} could not be installed: {e}",
            list.display()
        )
    })?;
    std::fs::write(stamp, wanted)?;
    Ok(interpreter)
}
