//! What others do with the files of the negative corpus, held against docs/rules/foreign-verifiers.md.

mod openssl;
mod table;
mod webpki;

use crate::scenarios::{ensure, python, script};
use crate::{Failure, go, run};
use serde::Deserialize;
use signet_corpus::{Case, Kind, Manifest, folder};
use signet_id::TrustDomain;
use signet_trust::Bundle;
use signet_x509::Der;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A foreign program or library and what it made of the files that it reads.
#[derive(Debug, Deserialize)]
pub(crate) struct Judge {
    /// What stands above its column.
    column: String,
    /// Its name and version.
    tool: String,
    /// By file: nothing where it was taken, else what was said.
    verdicts: BTreeMap<String, Option<String>>,
}

/// Set by `cargo xtask foreign --write`: the table is written instead of compared.
const WRITE: &str = "SIGNET_BLESS";

/// Every judge over every file that it reads.
///
/// # Errors
/// A judge that could not run, one that refuses what is right, or a table that is not the one checked in.
pub(crate) fn verifiers() -> Result<String, Failure> {
    let manifest = Manifest::read()?;
    let mut judges = vec![openssl::judge(&manifest)?];
    judges.extend(elsewhere(Command::new(go::build("corpus")?).arg(folder()))?);
    judges.extend(elsewhere(
        Command::new(python()?).arg(script("corpus.py")).arg(folder()),
    )?);
    judges.push(webpki::judge(&manifest)?);
    for judge in &judges {
        complete(judge, &manifest)?;
    }
    let interpreter = run(Command::new(python()?).arg("--version"))?;
    let interpreter = String::from_utf8_lossy(&interpreter.stdout).trim().to_owned();
    let found = table::render(&manifest, &judges, &interpreter);
    let path = document();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, found)?;
        return Ok(format!("wrote {}", path.display()));
    }
    let kept = std::fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
    let changes = table::changes(&kept, &found);
    ensure(changes.is_empty(), || {
        format!(
            "{} says otherwise (`cargo xtask foreign --write` writes it anew):\n{}",
            path.display(),
            changes.join("\n")
        )
    })?;
    let verdicts: usize = judges.iter().map(|judge| judge.verdicts.len()).sum();
    Ok(format!(
        "{verdicts} verdicts of {} judges, as written down",
        judges.len()
    ))
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules/foreign-verifiers.md")
}

/// The judges that a program prints.
fn elsewhere(command: &mut Command) -> Result<Vec<Judge>, Failure> {
    Ok(serde_json::from_slice(&run(command)?.stdout)?)
}

/// A judge has a verdict on each file of a kind that it reads, and takes the usual right ones: else its refusals would
/// say nothing. Others are at a bound that a judge may set lower; the table says so.
fn complete(judge: &Judge, manifest: &Manifest) -> Result<(), Failure> {
    let reads = |kind: Kind| {
        let mut files = manifest.cases.iter().filter(|case| case.kind == kind);
        files.any(|case| judge.verdicts.contains_key(&case.file))
    };
    for case in manifest.cases.iter().filter(|case| reads(case.kind)) {
        let Some(verdict) = judge.verdicts.get(&case.file) else {
            return Err(format!("{} says nothing of {}", judge.tool, case.file).into());
        };
        if let (true, Some(said)) = (TAKEN_BY_ALL.contains(&&*case.file), verdict) {
            return Err(format!("{} refuses {}: {said}", judge.tool, case.file).into());
        }
    }
    Ok(())
}

/// The right files that most broken ones are like.
const TAKEN_BY_ALL: [&str; 8] = [
    "right_chain.der",
    "right_chain_of_another_domain.der",
    "right_chain_of_former_root.der",
    "right_chain_of_three.der",
    "right_request.der",
    "right_token.txt",
    "right_token_es256.txt",
    "right_token_of_another_domain.txt",
];

/// The roots of all the case's bundles: others have one pool for everybody.
fn roots(case: &Case) -> Result<Vec<Der>, Failure> {
    let mut roots = Vec::new();
    for (domain, file) in &case.bundles {
        let bundle = Bundle::parse_spiffe(TrustDomain::parse(domain)?, &std::fs::read(folder().join(file))?)?;
        roots.extend(
            bundle
                .x509()
                .iter()
                .map(|authority| authority.certificate.clone()),
        );
    }
    Ok(roots)
}
