use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Ways to read a token without checking it, and where each may stand.
const RAW: [(&str, &[&str]); 5] = [
    (
        concat!("split", "_unverified"),
        &["formats/jose/src/compact.rs", "formats/jose/src/verify.rs"],
    ),
    (concat!("compact", "::Parts"), &["formats/jose/src/verify.rs"]),
    (concat!("insecure", "_decode"), &[]),
    (concat!("insecure", "_disable_signature_validation"), &[]),
    (concat!("jsonwebtoken", "::decode_header"), &[]),
];

#[test]
fn token_j1_nothing_calls_the_raw_parser_outside_its_module() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let mut files = Vec::new();
    for folder in ["crates", "tests", "xtask"] {
        rust_files(&workspace.join(folder), &mut files);
    }
    let mut calls = 0;
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (name, allowed) in RAW {
            if text.contains(name) {
                let may = allowed.iter().any(|place| path.ends_with(place));
                assert!(may, "{} reads tokens with `{name}`", path.display());
                calls += 1;
            }
        }
    }
    assert!(calls >= 2, "the parser itself was found");
}

/// What the crate offers: the raw parser's module is private and nothing public returns its parts.
#[test]
fn token_j1_no_public_function_decodes_without_a_profile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(root.join("lib.rs")).unwrap();
    assert!(lib.contains("\nmod compact;") && !lib.contains("pub use compact"));
    let compact = fs::read_to_string(root.join("compact.rs")).unwrap();
    for line in compact.lines().map(str::trim_start) {
        assert!(!line.starts_with("pub "), "{line}");
    }
}
