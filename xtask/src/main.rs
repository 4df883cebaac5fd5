//! The project's own chores.

mod proto;

use std::path::{Path, PathBuf};

fn main() -> Result<(), proto::Failure> {
    let root = root();
    match std::env::args().nth(1).as_deref() {
        Some("proto") => proto::write(&root),
        _ => Err("usage: cargo xtask proto".into()),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
