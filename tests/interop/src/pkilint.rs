//! PyPI `pkilint` over every certificate profile, as the real binary issues them.

use crate::scenarios::{ensure, python};
use crate::{Algorithms, Dev, Failure, Fleet, binary, run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A profile and where its certificate comes from. New profiles are new rows.
struct Profile {
    name: &'static str,
    /// The certificates of this profile: PEM text, of which the one with this number is taken.
    from: fn(&Site) -> Result<String, Failure>,
    number: usize,
    /// The profile that signs it: the two are linted as a pair.
    issuer: Option<&'static str>,
}

const PROFILES: [Profile; 6] = [
    Profile {
        name: "root",
        from: |site| read(&site.out.join("bundle.pem")),
        number: 0,
        issuer: None,
    },
    Profile {
        name: "intermediate",
        from: |site| read(&site.out.join("svid.pem")),
        number: 1,
        issuer: Some("root"),
    },
    Profile {
        name: "leaf",
        from: |site| read(&site.out.join("svid.pem")),
        number: 0,
        issuer: Some("intermediate"),
    },
    Profile {
        name: "node",
        from: Site::node,
        number: 0,
        issuer: Some("intermediate"),
    },
    Profile {
        name: "server",
        from: |site| shown_by(&site.fleet.agents),
        number: 0,
        issuer: Some("intermediate"),
    },
    // From another server, so that no authority here is its issuer.
    Profile {
        name: "web",
        from: |site| shown_by(site.dev.text("https")?.trim_start_matches("https://")),
        number: 0,
        issuer: None,
    },
];

/// What the authorities of the profiles sign with.
const ALGORITHMS: [Algorithms; 5] = [
    Algorithms::new("p256", "es256", "p256"),
    Algorithms::new("p384", "es256", "p384"),
    Algorithms::new("ed25519", "es256", "ed25519"),
    Algorithms::new("p256", "es256", "rsa2048"),
    Algorithms::new("ml-dsa-65", "es256", "ml-dsa-65"),
];

/// A finding that is let pass, by name and place.
struct FalseAlarm {
    code: &'static str,
    /// The last parts of the place in the certificate; the extension's own number is left out.
    place_ends: &'static str,
    message_begins: &'static str,
    /// Why it is none.
    why: &'static str,
}

const FALSE_ALARMS: [FalseAlarm; 1] = [FalseAlarm {
    code: "pkix.invalid_uri_syntax",
    place_ends: ".extnValue.subjectAltName.0.uniformResourceIdentifier",
    message_begins: "Invalid URI syntax: \"spiffe://interop.test",
    why: "the URI checker beneath pkilint, `validators` 0.22, knows a list of schemes, and `spiffe` is not in it; \
          with `https` in its place the same name is found right",
}];

/// A running server with its agent, what it issued, and `signet dev` for the public port.
struct Site {
    fleet: Fleet,
    dev: Dev,
    out: PathBuf,
}

impl Site {
    fn start(algorithms: Algorithms) -> Result<Self, Failure> {
        let fleet = Fleet::with(algorithms)?;
        fleet.entitle("/pkilint", "1h")?;
        let out = fleet.dir().join("out");
        run(Command::new(binary()?)
            .args(["svid", "x509", "--write"])
            .arg(&out)
            .env("SPIFFE_ENDPOINT_SOCKET", &fleet.workload_api))?;
        let dev = Dev::start(&["--no-demo"])?;
        Ok(Self { fleet, dev, out })
    }

    /// The agent keeps its node's SVID beside its key.
    fn node(&self) -> Result<String, Failure> {
        let kept: Value = serde_json::from_str(&read(&self.fleet.dir().join("agent/node.json"))?)?;
        let texts = kept.as_object().into_iter().flatten();
        texts
            .filter_map(|(_, value)| value.as_str())
            .find(|text| text.starts_with("-----BEGIN CERTIFICATE-----"))
            .map(str::to_owned)
            .ok_or_else(|| format!("no certificates in {kept}").into())
    }
}

/// Lints each profile alone and with its issuer.
///
/// # Errors
/// The findings of severity WARNING and above that nothing explains; an explanation that explains nothing any more.
pub(crate) fn every_profile() -> Result<String, Failure> {
    let mut unexplained = Vec::new();
    let mut used = [0_usize; FALSE_ALARMS.len()];
    for algorithms in ALGORITHMS {
        let site = Site::start(algorithms)?;
        let mut files: Vec<(&str, PathBuf)> = Vec::new();
        for profile in &PROFILES {
            let label = format!(
                "{} {}, key {}",
                profile.name, algorithms.x509, algorithms.svid_key
            );
            let file = write(&site, profile).map_err(|e| format!("{label}: {e}"))?;
            let mut results = lint("lint_pkix_cert", &[&file])?;
            if let Some(issuer) = profile.issuer {
                let found = files.iter().find(|(name, _)| *name == issuer);
                let (_, issuer) = found.ok_or("an issuer stands before what it signs")?;
                results.extend(lint("lint_pkix_signer_signee_cert_chain", &[issuer, &file])?);
            }
            for finding in results {
                match FALSE_ALARMS.iter().position(|alarm| alarm.is(&finding)) {
                    Some(index) => used.iter_mut().skip(index).take(1).for_each(|count| *count += 1),
                    None => unexplained.push(format!("{label}: {finding}")),
                }
            }
            files.push((profile.name, file));
        }
    }
    ensure(unexplained.is_empty(), || unexplained.join("\n"))?;
    let mut explained = Vec::new();
    for (alarm, count) in FALSE_ALARMS.iter().zip(used) {
        let FalseAlarm { code, why, .. } = alarm;
        ensure(count > 0, || {
            format!("the false alarm {code} is not given any more: take it out")
        })?;
        explained.push(format!("{count} times {code}, a false alarm: {why}"));
    }
    Ok(format!(
        "{} profiles under {} sets of algorithms: {}",
        PROFILES.len(),
        ALGORITHMS.len(),
        explained.join("; ")
    ))
}

/// What pkilint found, and where.
#[derive(Debug)]
struct Finding {
    place: String,
    code: String,
    severity: String,
    message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            place,
            code,
            severity,
            message,
        } = self;
        write!(f, "{severity} {code} at {place}: {message}")
    }
}

impl FalseAlarm {
    fn is(&self, finding: &Finding) -> bool {
        finding.code == self.code
            && finding.place.ends_with(self.place_ends)
            && finding.message.starts_with(self.message_begins)
    }
}

/// Runs one of pkilint's programs. It ends with the number of its findings, so its status says nothing more.
fn lint(program: &str, files: &[&PathBuf]) -> Result<Vec<Finding>, Failure> {
    let python = python()?;
    let mut command = Command::new(python.with_file_name(program));
    command
        .args(["lint", "-s", "WARNING", "-f", "JSON"])
        .args(files)
        .stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("start {command:?}: {e}"))?;
    let failed = || {
        format!(
            "{command:?}: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|_| failed())?;
    let results = report
        .get("results")
        .and_then(Value::as_array)
        .ok_or_else(failed)?;
    let mut findings = Vec::new();
    for result in results {
        let text = |value: &Value, name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(failed)
        };
        let described = result.get("finding_descriptions").and_then(Value::as_array);
        for description in described.ok_or_else(failed)? {
            findings.push(Finding {
                place: text(result, "node_path")?,
                code: text(description, "code")?,
                severity: text(description, "severity")?,
                message: text(description, "message").unwrap_or_default(),
            });
        }
    }
    // The status counts what is in the report: where it does not, the report is not whole.
    let counted = i32::try_from(findings.len())?;
    ensure(output.status.code() == Some(counted), failed)?;
    Ok(findings)
}

/// Writes the one certificate of a profile into a file of its own.
fn write(site: &Site, profile: &Profile) -> Result<PathBuf, Failure> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = (profile.from)(site)?;
    let certificate = text
        .split_inclusive(END)
        .filter_map(|part| {
            part.find("-----BEGIN CERTIFICATE-----")
                .and_then(|at| part.get(at..))
        })
        .nth(profile.number)
        .ok_or_else(|| format!("certificate {} is not in: {text}", profile.number))?;
    let path = site.out.join(format!("{}.lint.pem", profile.name));
    std::fs::write(&path, certificate)?;
    Ok(path)
}

/// What a port shows in its handshake.
fn shown_by(address: &str) -> Result<String, Failure> {
    // The agents' port ends the connection, as no certificate was shown to it; what it showed was printed by then.
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-showcerts", "-alpn", "h2", "-connect", address])
        .stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("start {command:?}: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| format!("read {}: {e}", path.display()).into())
}
