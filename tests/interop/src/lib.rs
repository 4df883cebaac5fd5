//! Starts the built `signet` binary for foreign clients, and ends it again.
//!
//! [`Dev`] is `signet dev`; [`Fleet`] is a server and an agent as processes of their own, joined by a join string.
//! Both live in private directories and end with the value.

mod algorithms;
mod clocks;
mod envoy;
mod fleet;
mod foreign;
mod go;
mod hints;
mod hung;
mod machines;
mod pkilint;
pub mod scenarios;
mod spoilt;

pub use fleet::{Algorithms, Dev, Fleet};

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What went wrong, for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the binary under test lies: `SIGNET_BIN`, else beside this program in the target directory.
///
/// # Errors
/// Names the place where it should be and the command that puts it there.
pub fn binary() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("SIGNET_BIN") {
        return Ok(path.into());
    }
    let me = std::env::current_exe()?;
    let found = me
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("signet"))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        format!(
            "no `signet` near {}: run `cargo build -p signet` first",
            me.display()
        )
        .into()
    })
}

/// Runs `command` to its end and gives its output.
///
/// # Errors
/// What it wrote, where it could not start or did not succeed.
pub fn run(command: &mut Command) -> Result<Output, Failure> {
    let output = command.output().map_err(|e| format!("start {command:?}: {e}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
    .into())
}

/// Runs the binary with `args` and reads the one JSON document that it prints.
///
/// # Errors
/// As [`run`]; also where the output is not one JSON document.
pub fn signet_json(binary: &Path, args: &[&str]) -> Result<serde_json::Value, Failure> {
    let output = run(Command::new(binary).args(args).args(["-o", "json"]))?;
    serde_json::from_slice(&output.stdout).map_err(|e| {
        format!(
            "{args:?} printed no JSON document: {e}: {}",
            String::from_utf8_lossy(&output.stdout)
        )
        .into()
    })
}
