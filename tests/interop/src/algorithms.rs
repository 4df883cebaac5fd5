//! Chains and tokens of every algorithm, judged by OpenSSL, by Python and by Go.

use crate::go;
use crate::scenarios::{ensure, openssl_verify, python, script, summary};
use crate::{Algorithms, Failure, Fleet, binary, run, spoilt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every algorithm of certificates and of tokens, and keys of other kinds than the authority's.
const FLEETS: [Algorithms; 8] = [
    Algorithms::new("p256", "es256", "p256"),
    Algorithms::new("p384", "es384", "rsa2048"),
    Algorithms::new("p384", "es384", "p384"),
    Algorithms::new("ed25519", "rs256", "ed25519"),
    Algorithms::new("ml-dsa-44", "rs256-3072", "ml-dsa-44"),
    Algorithms::new("ml-dsa-65", "es256", "p256"),
    Algorithms::new("ml-dsa-65", "ps256", "ml-dsa-65"),
    Algorithms::new("ml-dsa-87", "ps256-3072", "ml-dsa-87"),
];

/// A server and an agent for each combination; what they issue goes to each judge, and so does the same, spoilt.
///
/// # Errors
/// The first judge that refuses what is right or takes what is spoilt, with what it said.
pub(crate) fn every_algorithm() -> Result<String, Failure> {
    let go = go::build("chains")?;
    let mut verdicts = Vec::new();
    for algorithms in FLEETS {
        let Algorithms { x509, jwt, svid_key } = algorithms;
        let verdict = one(algorithms, &go).map_err(|e| format!("{x509} {jwt} {svid_key}: {e}"))?;
        verdicts.push(format!("\n    {x509}, {jwt}, keys {svid_key}: {verdict}"));
    }
    Ok(verdicts.concat())
}

/// Whom all the chains and tokens here are for.
const PATH: &str = "/algorithms";

fn one(algorithms: Algorithms, go: &Path) -> Result<String, Failure> {
    let fleet = Fleet::with(algorithms)?;
    let id = fleet.entitle(PATH, "1h")?;
    let out = fleet.dir().join("out");
    let svid = |args: &[&str]| {
        let mut command = Command::new(binary()?);
        command
            .arg("svid")
            .args(args)
            .env("SPIFFE_ENDPOINT_SOCKET", &fleet.workload_api);
        Ok::<_, Failure>(run(&mut command)?.stdout)
    };
    svid(&["x509", "--write", &out.display().to_string()])?;
    std::fs::write(out.join("token"), svid(&["jwt", "--audience", "interop"])?)?;
    std::fs::write(out.join("jwks.json"), jwks(&svid(&["bundle", "-o", "json"])?)?)?;

    let spoilt = spoilt::write(&out, PATH)?;

    let openssl = openssl(&out, &spoilt, algorithms)?;
    let named = algorithms
        .jwt
        .split('-')
        .next()
        .unwrap_or_default()
        .to_uppercase();
    let judged = run(Command::new(python()?)
        .arg(script("chains.py"))
        .arg(&out)
        .args([&id, &named]))?;
    let python = summary(&judged.stdout)?;
    // The path builder of `cryptography` takes the algorithms of the web: those it must have taken.
    let is_of_web = OF_THE_WEB.contains(&algorithms.x509) && OF_THE_WEB.contains(&algorithms.svid_key);
    ensure(!is_of_web || python.contains("path of"), || {
        format!("no path was built: {python}")
    })?;
    let judged = run(Command::new(go).arg(&out).args([&fleet.agents, &id]))?;
    Ok(format!("{openssl} {python} {}", summary(&judged.stdout)?))
}

/// What `cryptography` builds paths of, as it holds to the rules for the public web.
const OF_THE_WEB: [&str; 3] = ["p256", "p384", "rsa2048"];

/// The keys of tokens in what `svid bundle` prints: there is one trust domain here.
fn jwks(bundles: &[u8]) -> Result<Vec<u8>, Failure> {
    let bundles: serde_json::Value = serde_json::from_slice(bundles)?;
    let jwks = bundles.pointer("/bundles/0/jwks").ok_or("no key set")?;
    Ok(serde_json::to_vec(jwks)?)
}

/// OpenSSL takes what it knows the algorithms of; one that does not know ML-DSA must say no to it.
fn openssl(out: &Path, spoilt: &[PathBuf], algorithms: Algorithms) -> Result<String, Failure> {
    let (chain, bundle) = (out.join("svid.pem"), out.join("bundle.pem"));
    let known = run(Command::new("openssl").args(["list", "-public-key-algorithms"]))?;
    let knows_ml_dsa = String::from_utf8_lossy(&known.stdout).contains("ML-DSA");
    let verdict = run(&mut openssl_verify(&chain, &bundle, Some(&chain)));
    for chain in spoilt {
        ensure(
            run(&mut openssl_verify(chain, &bundle, Some(chain))).is_err(),
            || format!("openssl took {}", chain.display()),
        )?;
    }
    if knows_ml_dsa || !algorithms.x509.starts_with("ml-dsa") {
        verdict?;
        return Ok("openssl: OK".to_owned());
    }
    ensure(verdict.is_err(), || {
        "openssl verified a signature that it does not know".to_owned()
    })?;
    Ok("openssl: does not know ML-DSA".to_owned())
}
