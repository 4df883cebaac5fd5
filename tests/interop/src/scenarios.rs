//! What foreign clients do with a running Signet.

use crate::{Dev, Failure, Fleet, algorithms, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One scenario: its name and what it does. The text it returns is shown beside the name.
pub struct Scenario {
    /// As given on the command line.
    pub name: &'static str,
    /// What runs.
    pub run: fn() -> Result<String, Failure>,
}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "rust-spiffe",
        run: rust_spiffe,
    },
    Scenario {
        name: "python-five-calls",
        run: python_five_calls,
    },
    Scenario {
        name: "python-across-rotation",
        run: python_across_rotation,
    },
    Scenario {
        name: "openssl-x509-strict",
        run: openssl_x509_strict,
    },
    Scenario {
        name: "every-algorithm",
        run: algorithms::every_algorithm,
    },
];

/// The crate `spiffe`: context, bundles, tokens, validation, and sources that see a rotation.
///
/// # Errors
/// The first check that fails.
pub fn rust_spiffe() -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    let id = fleet.entitle("/rust", "20s")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(rust_client(&fleet.workload_api, &id))
}

async fn rust_client(endpoint: &str, id: &str) -> Result<String, Failure> {
    let client = spiffe::WorkloadApiClient::connect_to(endpoint).await?;
    let context = client.fetch_x509_context().await?;
    let svid = context.default_svid().ok_or("no default SVID")?;
    ensure(svid.spiffe_id().to_string() == id, || {
        format!("default SVID is {}", svid.spiffe_id())
    })?;
    let domain = svid.spiffe_id().trust_domain().clone();
    ensure(client.fetch_x509_bundles().await?.get(&domain).is_some(), || {
        "own X.509 bundle".to_owned()
    })?;
    ensure(client.fetch_jwt_bundles().await?.get(&domain).is_some(), || {
        "own JWT bundle".to_owned()
    })?;
    let token = client.fetch_jwt_token(["backend"], None).await?;
    let valid = client.validate_jwt_token("backend", &token).await?;
    ensure(valid.spiffe_id().to_string() == id, || {
        format!("validated as {}", valid.spiffe_id())
    })?;
    ensure(client.validate_jwt_token("other", &token).await.is_err(), || {
        "another audience was accepted".to_owned()
    })?;

    let source = spiffe::X509Source::builder().endpoint(endpoint).build().await?;
    let jwt = spiffe::JwtSource::builder().endpoint(endpoint).build().await?;
    let mut updates = source.updated();
    let leaf = |source: &spiffe::X509Source| -> Result<Vec<u8>, Failure> {
        Ok(source.svid()?.leaf().as_bytes().to_vec())
    };
    let mut seen = vec![leaf(&source)?];
    while seen.len() < 3 {
        updates.changed().await?;
        let now = leaf(&source)?;
        if !seen.contains(&now) {
            seen.push(now);
            jwt.fetch_jwt_svid(["rotation"]).await?;
        }
    }
    Ok(format!("{} certificates, each with a token", seen.len()))
}

/// PyPI `spiffe` against `signet dev`: all five calls.
fn python_five_calls() -> Result<String, Failure> {
    let dev = Dev::start(&["--no-demo"])?;
    let endpoint = dev.text("workload_api")?;
    let id = format!("spiffe://{}/dev/{}", dev.text("trust_domain")?, user()?);
    let output = run(Command::new(python()?)
        .arg(script("five_calls.py"))
        .args([endpoint, &id]))?;
    summary(&output.stdout)
}

/// PyPI `spiffe` and `spiffe-tls`: mutual TLS without a failed call while 20-second certificates rotate.
fn python_across_rotation() -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    let id = fleet.entitle("/python", "20s")?;
    let output = run(Command::new(python()?).arg(script("across_rotation.py")).args([
        &fleet.workload_api,
        &id,
        "2",
        "90",
    ]))?;
    summary(&output.stdout)
}

/// `openssl verify -x509_strict` over what `svid x509 --write` leaves, and its refusal without the intermediate.
fn openssl_x509_strict() -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    fleet.entitle("/openssl", "1h")?;
    let out = fleet.dir().join("out");
    run(Command::new(crate::binary()?)
        .args(["svid", "x509", "--write"])
        .arg(&out)
        .env("SPIFFE_ENDPOINT_SOCKET", &fleet.workload_api))?;
    let (chain, bundle) = (out.join("svid.pem"), out.join("bundle.pem"));
    run(&mut openssl_verify(&chain, &bundle, Some(&chain)))?;
    ensure(run(&mut openssl_verify(&chain, &bundle, None)).is_err(), || {
        "a chain without its intermediate was accepted".to_owned()
    })?;
    let version = run(Command::new("openssl").arg("version"))?;
    Ok(String::from_utf8_lossy(&version.stdout).trim().to_owned())
}

/// `openssl verify` of the first certificate in `chain`, with those in `untrusted` between it and `bundle`.
pub(crate) fn openssl_verify(chain: &Path, bundle: &Path, untrusted: Option<&Path>) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"])
        .arg(bundle);
    if let Some(untrusted) = untrusted {
        command.arg("-untrusted").arg(untrusted);
    }
    command.arg(chain);
    command
}

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(what().into()) }
}

/// The interpreter with the packages of `python/requirements.txt`.
pub(crate) fn python() -> Result<PathBuf, Failure> {
    std::env::var_os("SIGNET_INTEROP_PYTHON")
        .map(PathBuf::from)
        .ok_or_else(|| "SIGNET_INTEROP_PYTHON is not set: run this through `cargo xtask test interop`".into())
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

fn user() -> Result<String, Failure> {
    Ok(String::from_utf8(run(Command::new("id").arg("-un"))?.stdout)?
        .trim()
        .to_owned())
}

pub(crate) fn summary(stdout: &[u8]) -> Result<String, Failure> {
    let last = String::from_utf8_lossy(stdout)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    Ok(serde_json::from_str::<Value>(&last).map(|v| v.to_string())?)
}
