//! Regenerates the checked-in protobuf code, or checks that it is fresh.

use crate::Failure;
use std::path::{Path, PathBuf};

/// One generated module: where its `.proto` files lie and where the code goes.
struct Unit {
    include: &'static str,
    files: &'static [&'static str],
    out: &'static str,
    /// Whether services are generated beside the messages.
    services: bool,
}

const UNITS: &[Unit] = &[
    Unit {
        include: "crates/wire/proto/proto",
        files: &["workload.proto"],
        out: "crates/wire/proto/src/generated/workload",
        services: true,
    },
    Unit {
        include: "crates/wire/proto/proto",
        files: &["agent.proto"],
        out: "crates/wire/proto/src/generated/agent",
        services: true,
    },
    Unit {
        include: "crates/wire/proto/proto",
        files: &["local.proto"],
        out: "crates/wire/proto/src/generated/local",
        services: true,
    },
    Unit {
        include: "crates/wire/proto/proto",
        files: &[
            "envoy/service/secret/v3/sds.proto",
            "envoy/extensions/transport_sockets/tls/v3/secret.proto",
            "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto",
        ],
        out: "crates/wire/proto/src/generated/envoy",
        services: true,
    },
    Unit {
        include: "crates/domain/registry/proto",
        files: &["registry.proto"],
        out: "crates/domain/registry/src/generated",
        services: false,
    },
    Unit {
        include: "crates/domain/keys/proto",
        files: &["keys.proto"],
        out: "crates/domain/keys/src/generated",
        services: false,
    },
    Unit {
        include: "crates/domain/record/proto",
        files: &["record.proto"],
        out: "crates/domain/record/src/generated",
        services: false,
    },
];

/// Writes all generated code below `root`.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    for unit in UNITS.iter().filter(|u| root.join(u.include).is_dir()) {
        let out = root.join(unit.out);
        std::fs::create_dir_all(&out)?;
        generate(root, unit, &out)?;
        println!("{}", unit.out);
    }
    Ok(())
}

/// Fails where the checked-in code is not what generating gives.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let scratch = root.join("target/xtask/proto");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    let stale = stale(root, &scratch)?;
    if stale.is_empty() {
        Ok(())
    } else {
        Err(format!("stale, run `cargo xtask proto`: {stale:?}").into())
    }
}

/// Compares the checked-in code below `root` with what generating gives.
///
/// Returns the files that differ.
pub(crate) fn stale(root: &Path, scratch: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut stale = Vec::new();
    for (n, unit) in UNITS
        .iter()
        .enumerate()
        .filter(|(_, u)| root.join(u.include).is_dir())
    {
        let fresh = scratch.join(n.to_string());
        std::fs::create_dir_all(&fresh)?;
        generate(root, unit, &fresh)?;
        for file in std::fs::read_dir(&fresh)? {
            let file = file?;
            let kept = root.join(unit.out).join(file.file_name());
            if std::fs::read(&kept).ok() != Some(std::fs::read(file.path())?) {
                stale.push(kept);
            }
        }
    }
    Ok(stale)
}

fn generate(root: &Path, unit: &Unit, out: &Path) -> Result<(), Failure> {
    let descriptors = protox::compile(unit.files, [root.join(unit.include)])?;
    if unit.services {
        // What server reflection serves.
        std::fs::write(
            out.join("descriptor.bin"),
            prost::Message::encode_to_vec(&descriptors),
        )?;
    }
    tonic_prost_build::configure()
        .out_dir(out)
        .build_client(unit.services)
        .build_server(unit.services)
        .bytes(".")
        .codec_path("crate::codec::Small")
        .compile_fds(descriptors)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_code_is_fresh() {
        let scratch = tempfile::tempdir().unwrap();
        let stale = super::stale(&crate::root(), scratch.path()).unwrap();
        assert!(stale.is_empty(), "run `cargo xtask proto`: {stale:?}");
    }
}
