//! `cargo xtask soak`: a thousand streams, churning entries and a server that is stopped and started, for a long time.

use crate::{Failure, run};
use std::path::Path;

/// Full length: thirty starts of the server.
const SECONDS: u64 = 600;

/// Runs the soak of `crates/cli/tests/soak` for as long as the words after `soak` say, with what users run: a release
/// build.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    let seconds = match words {
        [] => SECONDS,
        ["--seconds", number] => number
            .parse()
            .map_err(|_| format!("--seconds wants a whole number, not `{number}`"))?,
        other => return Err(format!("soak knows --seconds N alone, not `{}`", other.join(" ")).into()),
    };
    test(root, &["--release"], seconds)
}

/// As a phase of `cargo xtask test`: a minute, with the build that all tests use.
pub(crate) fn phase(root: &Path) -> Result<(), Failure> {
    test(root, &[], 60)
}

fn test(root: &Path, profile: &[&str], seconds: u64) -> Result<(), Failure> {
    run::shown(
        run::cargo()
            .current_dir(root)
            .env("SIGNET_SOAK_SECONDS", seconds.to_string())
            .args(["test", "--locked", "-p", "signet", "--test", "soak"])
            .args(profile)
            .args(["--", "--nocapture"]),
    )
}
