//! The program `openssl`.

use super::{Judge, roots};
use crate::{Failure, run};
use signet_corpus::{Case, Kind, Manifest, certificates, folder};
use signet_x509::pem;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

pub(super) fn judge(manifest: &Manifest) -> Result<Judge, Failure> {
    let dir = tempfile::tempdir()?;
    let mut verdicts = BTreeMap::new();
    for case in &manifest.cases {
        let verdict = match case.kind {
            Kind::Chain => chain(case, dir.path())?,
            Kind::Request => request(case)?,
            _ => continue,
        };
        verdicts.insert(case.file.clone(), verdict);
    }
    let version = run(Command::new("openssl").arg("version"))?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let words: Vec<&str> = version.split_whitespace().take(2).collect();
    Ok(Judge {
        column: "OpenSSL".to_owned(),
        tool: words.join(" "),
        verdicts,
    })
}

fn chain(case: &Case, dir: &Path) -> Result<Option<String>, Failure> {
    let (chain, bundle) = (dir.join("chain.pem"), dir.join("roots.pem"));
    std::fs::write(&chain, pem::encode_certs(&certificates(&case.bytes()?)?))?;
    std::fs::write(&bundle, pem::encode_certs(&roots(case)?))?;
    let output = output(
        Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslclient"])
            .args(["-no-CApath", "-no-CAstore"])
            .args(["-attime", &case.now.as_secs().to_string()])
            .arg("-CAfile")
            .arg(&bundle)
            .arg("-untrusted")
            .arg(&chain)
            .arg(&chain),
    )?;
    let said = text(&output);
    if output.status.success() {
        return Ok(None);
    }
    // `error 10 at 0 depth lookup: certificate has expired`; what cannot be read has no such line.
    let reason = said.lines().find_map(|line| line.split_once(" depth lookup: "));
    Ok(Some(
        reason.map_or("could not be read", |(_, why)| why).to_owned(),
    ))
}

/// Verifies the request's own signature. Version 3.0 says that it did not and still ends with success.
fn request(case: &Case) -> Result<Option<String>, Failure> {
    let output = output(
        Command::new("openssl")
            .args(["req", "-inform", "DER", "-verify", "-noout", "-in"])
            .arg(folder().join(&case.file)),
    )?;
    let said = text(&output);
    if said.contains("verify OK") {
        return Ok(None);
    }
    Ok(Some(
        said.lines().next().unwrap_or("could not be read").to_owned(),
    ))
}

fn output(command: &mut Command) -> Result<Output, Failure> {
    command
        .output()
        .map_err(|e| format!("start {command:?}: {e}").into())
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}
