//! `cargo xtask bench`: programs that print tables. None of them fails because a machine is slow.

mod machine;
mod process;
mod rig;
mod spine;
mod start;
mod table;

use crate::{Failure, run};
use std::path::{Path, PathBuf};

pub(crate) use spine::Options;

/// Measures how long the release build takes from exec to service, and prints the table.
pub(crate) fn start(root: &Path) -> Result<(), Failure> {
    let binary = signet(root)?;
    println!("{}", machine::line(root)?);
    start::table(&binary)
}

/// Measures what the spine costs and how fast it is, and prints the table.
pub(crate) fn spine(root: &Path, options: &Options) -> Result<(), Failure> {
    let binary = signet(root)?;
    run::shown(run::cargo().current_dir(root).args([
        "build",
        "--release",
        "--locked",
        "-p",
        "signet-bench",
    ]))?;
    println!("{}\n", machine::line(root)?);
    spine::tables(root, &binary, options)
}

/// Builds the binary that is measured.
fn signet(root: &Path) -> Result<PathBuf, Failure> {
    run::shown(
        run::cargo()
            .current_dir(root)
            .args(["build", "--release", "--locked", "-p", "signet"]),
    )?;
    Ok(root.join("target/release/signet"))
}
