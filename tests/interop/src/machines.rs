//! Machines whose certificates OpenSSL makes join as nodes.

use crate::scenarios::ensure;
use crate::{Failure, Fleet, binary, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// How OpenSSL makes the keys of machines, and what comes of them.
const KEYS: [(&str, &[&str]); 4] = [
    ("p256", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("rsa2048", &["-newkey", "rsa:2048"]),
    ("ed25519", &["-newkey", "ed25519"]),
];

/// What a manufacturer puts into a machine's certificate.
const MACHINE: [&str; 3] = [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=clientAuth",
];
const AUTHORITY: [&str; 2] = [
    "basicConstraints=critical,CA:TRUE",
    "keyUsage=critical,keyCertSign",
];

/// Machines with keys of several kinds, some of them below an intermediate, join and are the nodes that OpenSSL's
/// fingerprints name; others do not.
///
/// # Errors
/// The first check that fails.
pub(crate) fn of_openssl() -> Result<String, Failure> {
    let fleet = Fleet::with_more(|dir| {
        certify(dir, "ca", KEYS[0].1, None, &AUTHORITY)?;
        Ok(format!(
            "\n[attest.x509pop]\nca = [\"{}\"]\n",
            dir.join("ca.pem").display()
        ))
    })?;
    let dir = fleet.dir();
    fleet.entitle("/machines", "1h")?;
    run(Command::new(binary()?)
        .args(["svid", "x509", "--write"])
        .arg(dir.join("roots"))
        .env("SPIFFE_ENDPOINT_SOCKET", &fleet.workload_api))?;
    certify(dir, "between", KEYS[0].1, Some("ca"), &AUTHORITY)?;

    let mut nodes = Vec::new();
    for (number, (name, key)) in KEYS.into_iter().enumerate() {
        let issuer = if number % 2 == 0 { "ca" } else { "between" };
        certify(dir, name, key, Some(issuer), &MACHINE)?;
        if issuer == "between" {
            let chain = [
                std::fs::read(dir.join(format!("{name}.pem")))?,
                std::fs::read(dir.join("between.pem"))?,
            ];
            std::fs::write(dir.join(format!("{name}.pem")), chain.concat())?;
        }
        let _agent = fleet.agent(name, &settings(dir, name))?;
        let id = format!(
            "spiffe://interop.test/signet/node/x509pop/{}",
            fingerprint(dir, name)?
        );
        let known = fleet.administer(&["node", "list"])?;
        ensure(known.to_string().contains(&id), || {
            format!("no node {id} in {known}")
        })?;
        nodes.push(id);
    }

    // Banned, the machine stays out, with a node key of its own, too.
    let banned = nodes.first().ok_or("no node")?;
    fleet.administer(&["node", "ban", banned])?;
    let mut refusals = vec![(
        "banned",
        fleet.refused_agent("banned", &settings(dir, KEYS[0].0))?,
        "SGRG009",
    )];
    let server = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth",
    ];
    certify(dir, "server", KEYS[0].1, Some("ca"), &server)?;
    refusals.push((
        "server",
        fleet.refused_agent("server", &settings(dir, "server"))?,
        "SGCK314",
    ));
    certify(dir, "other-ca", KEYS[0].1, None, &AUTHORITY)?;
    certify(dir, "stranger", KEYS[0].1, Some("other-ca"), &MACHINE)?;
    refusals.push((
        "stranger",
        fleet.refused_agent("stranger", &settings(dir, "stranger"))?,
        "SGCK313",
    ));
    std::fs::copy(dir.join("p384.key"), dir.join("stranger.key"))?;
    refusals.push((
        "swapped",
        fleet.refused_agent("swapped", &settings(dir, "stranger"))?,
        "SGAG041",
    ));
    for (who, said, code) in &refusals {
        ensure(said.contains(code), || {
            format!("{who} was to be refused by {code}: {said}")
        })?;
    }
    Ok(Value::from(format!(
        "{} machines joined, {} did not",
        nodes.len(),
        refusals.len()
    ))
    .to_string())
}

/// Makes `NAME.pem` and `NAME.key`, signed by `issuer` or by itself.
fn certify(
    dir: &Path,
    name: &str,
    key: &[&str],
    issuer: Option<&str>,
    extensions: &[&str],
) -> Result<(), Failure> {
    let at = |file: String| dir.join(file);
    let mut command = Command::new("openssl");
    command
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/O=Plant/CN={name}"),
        ])
        .args(key)
        .arg("-keyout")
        .arg(at(format!("{name}.key")))
        .arg("-out")
        .arg(at(format!("{name}.pem")));
    if let Some(issuer) = issuer {
        command
            .arg("-CA")
            .arg(at(format!("{issuer}.pem")))
            .arg("-CAkey")
            .arg(at(format!("{issuer}.key")));
    }
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    // The distribution's own settings would add extensions of an authority.
    std::fs::write(
        at("openssl.cnf".to_owned()),
        "[req]\ndistinguished_name = dn\n[dn]\n",
    )?;
    command.arg("-config").arg(at("openssl.cnf".to_owned()));
    run(&mut command).map(drop)
}

/// SHA-256 of the certificate, as OpenSSL tells it.
fn fingerprint(dir: &Path, name: &str) -> Result<String, Failure> {
    let told = run(Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(dir.join(format!("{name}.pem"))))?;
    let told = String::from_utf8(told.stdout)?;
    let (_, hex) = told.trim().split_once('=').ok_or("no fingerprint")?;
    Ok(hex.replace(':', "").to_lowercase())
}

fn settings(dir: &Path, name: &str) -> String {
    format!(
        "[x509pop]\ntrust_domain = \"interop.test\"\nroot = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        dir.join("roots/bundle.pem").display(),
        dir.join(format!("{name}.pem")).display(),
        dir.join(format!("{name}.key")).display(),
    )
}
