//! What foreign clients do with a running Signet.

use crate::{Dev, Failure, Fleet, algorithms, clocks, envoy, foreign, hints, hung, machines, pkilint, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        name: "rust-spiffe-hints",
        run: hints::unique,
    },
    Scenario {
        name: "faketime",
        run: clocks::set,
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
        name: "python-across-upgrades",
        run: python_across_upgrades,
    },
    Scenario {
        name: "python-bound-tokens",
        run: python_bound_tokens,
    },
    Scenario {
        name: "openssl-x509-strict",
        run: openssl_x509_strict,
    },
    Scenario {
        name: "every-algorithm",
        run: algorithms::every_algorithm,
    },
    Scenario {
        name: "python-oidc-discovery",
        run: python_oidc_discovery,
    },
    Scenario {
        name: "openssl-public-port",
        run: openssl_public_port,
    },
    Scenario {
        name: "openssl-x509pop",
        run: machines::of_openssl,
    },
    Scenario {
        name: "envoy",
        run: envoy::across_rotation,
    },
    Scenario {
        name: "envoy-deltas",
        run: envoy::across_rotation_by_deltas,
    },
    Scenario {
        name: "hung-file-system",
        run: hung::executable,
    },
    Scenario {
        name: "foreign-verifiers",
        run: foreign::verifiers,
    },
    Scenario {
        name: "schemathesis",
        run: schemathesis,
    },
    Scenario {
        name: "pkilint",
        run: pkilint::every_profile,
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

/// PyPI `spiffe` and `spiffe-tls`: mutual TLS without a failed call while one agent after the other takes over. No
/// certificate rotates meanwhile: each new one is a new agent's.
fn python_across_upgrades() -> Result<String, Failure> {
    let mut fleet = Fleet::start()?;
    let id = fleet.entitle("/python", "1h")?;
    let mut calling = Command::new(python()?);
    calling.arg(script("across_rotation.py"));
    calling.args([&fleet.workload_api, &id, "2", "90"]);
    let mut calling = calling.stdout(Stdio::piped()).spawn()?;
    let mut upgrades = 0;
    while calling.try_wait()?.is_none() {
        fleet.take_over()?;
        upgrades += 1;
    }
    let output = calling.wait_with_output()?;
    ensure(output.status.success(), || {
        format!("across_rotation.py: {} after {upgrades} upgrades", output.status)
    })?;
    Ok(format!("{} in {upgrades} upgrades", summary(&output.stdout)?))
}

/// PyPI `grpcio`, `PyJWT` and `joserfc`: WIT-SVIDs across a renewal, proven to our own verifier, and worth nothing without
/// their key.
fn python_bound_tokens() -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    let id = fleet.entitle("/bound", "20s")?;
    let output = run(Command::new(python()?)
        .arg(script("bound_tokens.py"))
        .args([&fleet.workload_api, &id])
        .arg(crate::binary()?))?;
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

/// PyPI `PyJWT`: a token leads to discovery and to the key that verifies it, over HTTPS under our root.
fn python_oidc_discovery() -> Result<String, Failure> {
    let dev = Dev::start(&["--no-demo"])?;
    let id = format!("spiffe://{}/dev/{}", dev.text("trust_domain")?, user()?);
    let socket = dev.text("workload_api")?;
    let token = crate::signet_json(
        &crate::binary()?,
        &["svid", "jwt", "--audience", "backend", "--socket", socket],
    )?;
    let token = token
        .pointer("/svids/0/svid")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("no token in {token}"))?;
    let output = run(Command::new(python()?).arg(script("oidc_discovery.py")).args([
        dev.text("https")?,
        dev.text("issuer")?,
        dev.text("root_ca")?,
        &id,
        token,
    ]))?;
    summary(&output.stdout)
}

/// PyPI `schemathesis`: the administration API does what its own OpenAPI document says.
fn schemathesis() -> Result<String, Failure> {
    // The agent ends when its node is banned, which is one of the requests. The server does not.
    let fleet = Fleet::start()?;
    let socket = fleet.api.trim_start_matches("unix://");
    let output = run(Command::new(python()?)
        .arg(script("admin_api.py"))
        .args([socket, "interop.test"])
        .arg(fleet.dir()))?;
    // After all that it still serves.
    crate::signet_json(&crate::binary()?, &["entry", "list", "--api", &fleet.api])?;
    summary(&output.stdout)
}

/// What `openssl s_client` prints of a server that asks for a certificate, whether or not it names authorities.
const ASKED: [&str; 2] = ["Client Certificate Types", "Requested Signature Algorithms"];

/// `openssl s_client`: the public port verifies by name, asks for no certificate, and has nothing weak to offer.
fn openssl_public_port() -> Result<String, Failure> {
    let dev = Dev::start(&["--no-demo"])?;
    let address = dev.text("https")?.trim_start_matches("https://").to_owned();
    let root = dev.text("root_ca")?.to_owned();
    let connect = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &address, "-CAfile", &root])
            .args(["-verify_return_error", "-verify_hostname", "localhost"])
            .args(args)
            .stdin(Stdio::null());
        run(&mut command).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for version in ["-tls1_3", "-tls1_2"] {
        let told = connect(&[version])?;
        ensure(told.contains("No client certificate CA names sent"), || {
            told.clone()
        })?;
        ensure(!ASKED.iter().any(|line| told.contains(line)), || told.clone())?;
        ensure(told.contains("Verification: OK"), || told.clone())?;
    }
    // The agents' port asks, and there the tool says so. It ends the connection then, as no certificate is shown to it:
    // whether the tool sees that before it is done is nothing to judge by.
    let mut asking = Command::new("openssl");
    asking
        .args([
            "s_client",
            "-tls1_3",
            "-alpn",
            "h2",
            "-connect",
            dev.text("agents")?,
        ])
        .stdin(Stdio::null());
    let agents = asking.output().map_err(|e| format!("start {asking:?}: {e}"))?;
    let told = String::from_utf8_lossy(&agents.stdout).into_owned();
    ensure(ASKED.iter().any(|line| told.contains(line)), || told.clone())?;
    let weak = "AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-SHA384:DHE-RSA-AES128-GCM-SHA256";
    for refused in [
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", weak],
    ] {
        ensure(connect(refused).is_err(), || format!("{refused:?} was accepted"))?;
    }
    ensure(
        connect(&["-tls1_3", "-verify_hostname", "other.example"]).is_err(),
        || "another host name was accepted".to_owned(),
    )?;
    Ok("TLS 1.3 and 1.2, no certificate asked for, five weak suites and TLS 1.1 refused".to_owned())
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
