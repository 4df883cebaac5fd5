//! PyPI `pkilint` over every certificate profile, as the real binary issues them.

use crate::scenarios::{ensure, python};
use crate::{Algorithms, Dev, Failure, Fleet, binary, run};
use serde_json::Value;
use signet_x509::{Certificate, pem};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A profile and where its certificate comes from. New profiles are new rows; issuers stand before what they sign.
struct Profile {
    name: &'static str,
    /// PEM text that has it.
    from: fn(&Site) -> Result<String, Failure>,
    /// Which of the text's certificates it is.
    number: usize,
    /// Whether its issuer is one of the profiles above; then the two are linted as a pair too.
    issuer: Issuer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Issuer {
    Above,
    Elsewhere,
}

const PROFILES: [Profile; 7] = [
    Profile {
        name: "root",
        from: |site| read(&site.out.join("bundle.pem")),
        number: 0,
        issuer: Issuer::Elsewhere,
    },
    // One root signs, the other is prepared; which comes first is left to chance.
    Profile {
        name: "other root",
        from: |site| read(&site.out.join("bundle.pem")),
        number: 1,
        issuer: Issuer::Elsewhere,
    },
    Profile {
        name: "intermediate",
        from: |site| read(&site.out.join("svid.pem")),
        number: 1,
        issuer: Issuer::Above,
    },
    Profile {
        name: "leaf",
        from: |site| read(&site.out.join("svid.pem")),
        number: 0,
        issuer: Issuer::Above,
    },
    Profile {
        name: "node",
        from: Site::node,
        number: 0,
        issuer: Issuer::Above,
    },
    Profile {
        name: "server",
        from: |site| shown_by(&site.fleet.agents, "h2"),
        number: 0,
        issuer: Issuer::Above,
    },
    // From `signet dev`, which has authorities of its own.
    Profile {
        name: WEB,
        from: |site| shown_by(site.dev.text("https")?.trim_start_matches("https://"), "http/1.1"),
        number: 0,
        issuer: Issuer::Elsewhere,
    },
];

/// The certificate of the public port: the only one without a SPIFFE ID.
const WEB: &str = "web";

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
    profile: fn(&str) -> bool,
    /// The place in the certificate: between `certificate.tbsCertificate.extensions.N` and this, nothing.
    place: &'static str,
    /// The value, which pkilint quotes at the end of its message.
    value: fn(&str) -> bool,
    /// Why it is none.
    why: &'static str,
}

const FALSE_ALARMS: [FalseAlarm; 2] = [
    FalseAlarm {
        code: "pkix.invalid_uri_syntax",
        profile: |name| name != WEB,
        place: "extnValue.subjectAltName.N.uniformResourceIdentifier",
        value: |uri| uri.strip_prefix("spiffe://").is_some_and(|rest| !rest.is_empty()),
        why: "`validators` 0.22 beneath pkilint knows a list of schemes, and `spiffe` is not in it",
    },
    FalseAlarm {
        code: "pkix.invalid_domain_name_syntax",
        profile: |name| name == WEB,
        place: "extnValue.subjectAltName.N.dNSName",
        value: |name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
        why: "`validators` 0.22 wants two labels, and `localhost` and a host's own name have one (RFC 1034 §3.5)",
    },
];

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
        let mut above: Vec<(Certificate, PathBuf)> = Vec::new();
        for profile in &PROFILES {
            let label = format!(
                "{} {}, key {}",
                profile.name, algorithms.x509, algorithms.svid_key
            );
            let one = one(&site, profile, &above);
            let (certificate, file, findings) = one.map_err(|e| format!("{label}: {e}"))?;
            for finding in findings {
                let explained = FALSE_ALARMS.iter().zip(&mut used);
                match { explained }.find(|(alarm, _)| alarm.is(profile, &finding)) {
                    Some((_, count)) => *count += 1,
                    None => unexplained.push(format!("{label}: {finding}")),
                }
            }
            above.push((certificate, file));
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

/// The certificate of a profile, where it lies, and what is found in it alone and beside its issuer.
fn one(
    site: &Site,
    profile: &Profile,
    above: &[(Certificate, PathBuf)],
) -> Result<(Certificate, PathBuf, Vec<Finding>), Failure> {
    let text = (profile.from)(site)?;
    let certificates = pem::parse_certs(text.as_bytes())?;
    let der = certificates.get(profile.number).ok_or("it is not there")?;
    let certificate = Certificate::parse(der)?;
    let file = site.out.join(format!("lint {}.pem", profile.name));
    std::fs::write(&file, pem::encode_certs(&[der]))?;
    let mut findings = lint("lint_pkix_cert", &[&file])?;
    if profile.issuer == Issuer::Above {
        let signed = |authority: &Certificate| {
            let id = authority.subject_key_id();
            id.is_some() && id == certificate.authority_key_id()
        };
        let issuer = above.iter().find(|(authority, _)| signed(authority));
        let (_, issuer) = issuer.ok_or("its issuer is not among the profiles above")?;
        findings.extend(lint("lint_pkix_signer_signee_cert_chain", &[issuer, &file])?);
    }
    Ok((certificate, file, findings))
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
    fn is(&self, profile: &Profile, finding: &Finding) -> bool {
        // The numbers of the extension and of the name depend on what else is there.
        let place = finding.place.split('.').map(|part| {
            let is_number = part.bytes().all(|b| b.is_ascii_digit());
            if is_number { "N" } else { part }
        });
        let place = place.collect::<Vec<_>>().join(".");
        let value = finding
            .message
            .strip_suffix('"')
            .and_then(|text| text.rsplit_once('"'))
            .map(|(_, value)| value);
        finding.code == self.code
            && (self.profile)(profile.name)
            && place == format!("certificate.tbsCertificate.extensions.N.{}", self.place)
            && value.is_some_and(self.value)
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

/// What a port shows in its handshake to those who speak `protocol`.
fn shown_by(address: &str, protocol: &str) -> Result<String, Failure> {
    // The agents' port ends the connection, as no certificate was shown to it; what it showed was printed by then.
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-showcerts", "-alpn", protocol, "-connect", address])
        .stdin(Stdio::null());
    let output = command.output().map_err(|e| format!("start {command:?}: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| format!("read {}: {e}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, place: &str, message: &str) -> Finding {
        Finding {
            place: place.to_owned(),
            code: code.to_owned(),
            severity: "ERROR".to_owned(),
            message: message.to_owned(),
        }
    }

    fn is(profile: &str, code: &str, place: &str, said: &str) -> bool {
        let profile = PROFILES.iter().find(|p| p.name == profile).unwrap();
        let finding = finding(code, place, said);
        FALSE_ALARMS.iter().any(|alarm| alarm.is(profile, &finding))
    }

    #[test]
    fn one_code_at_one_place_is_let_pass_and_nothing_near_it() {
        const CODE: &str = "pkix.invalid_uri_syntax";
        const PLACE: &str =
            "certificate.tbsCertificate.extensions.1.extnValue.subjectAltName.0.uniformResourceIdentifier";
        const SAID: &str = "Invalid URI syntax: \"spiffe://interop.test/a\"";
        assert!(is("leaf", CODE, PLACE, SAID));
        assert!(!is(WEB, CODE, PLACE, SAID));
        assert!(!is("leaf", "pkix.invalid_time_syntax", PLACE, SAID));
        assert!(!is(
            "leaf",
            CODE,
            &PLACE.replace("subjectAltName", "issuerAltName"),
            SAID
        ));
        assert!(!is(
            "leaf",
            CODE,
            PLACE,
            "Invalid URI syntax: \"https://interop.test/a b\""
        ));
        assert!(!is("leaf", CODE, PLACE, ""));
        let (code, place) = (
            "pkix.invalid_domain_name_syntax",
            PLACE.replace("uniformResourceIdentifier", "dNSName"),
        );
        assert!(is(WEB, code, &place, "Invalid domain name syntax: \"localhost\""));
        assert!(!is(
            "leaf",
            code,
            &place,
            "Invalid domain name syntax: \"localhost\""
        ));
        assert!(!is(
            WEB,
            code,
            &place,
            "Invalid domain name syntax: \"*.localhost\""
        ));
    }
}
