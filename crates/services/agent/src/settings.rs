use core::time::Duration;
use serde::Deserialize;
use signet_crypto::KeyKind;
use signet_id::TrustDomain;
use signet_settings::{ByteSize, HostPort, ListenAddress};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// `agent.toml`. Everything has a default; what the join string names need not be said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSettings {
    /// Servers to call, in this order of preference. Empty: those of the join string.
    pub servers: Vec<HostPort>,
    /// A file with a join string. A node that has an identity in `state_dir` does not need it.
    pub join_file: Option<PathBuf>,
    /// A machine certificate to join with where there is no join string.
    pub x509pop: Option<X509PopSettings>,
    /// Where the node's key and identity are kept. None: in memory only, and each start joins anew.
    pub state_dir: Option<PathBuf>,
    /// The SPIFFE Workload API.
    pub workload_api: SocketSettings,
    /// `/metrics`, `/health/live`, `/health/ready`. None: not served.
    pub metrics: Option<ListenAddress>,
    /// A constant label on every metric.
    pub site: Option<String>,
    /// How callers are told apart.
    pub attestors: AttestorSettings,
    /// What the agent makes for workloads.
    pub svid: SvidSettings,
    /// Claims of foreign trust domains' tokens that `ValidateJWTSVID` passes on besides the registered ones.
    pub allowed_foreign_jwt_claims: Vec<String>,
}

/// A certificate of this machine, from an authority that the server's operator named. `servers` says where to show it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct X509PopSettings {
    /// The servers' trust domain.
    pub trust_domain: TrustDomain,
    /// A PEM file with the roots that the servers may have, for the first contact.
    pub root: PathBuf,
    /// A PEM file with the machine's certificate and, behind it, those that lead to its authority.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// A UNIX socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketSettings {
    /// Its path.
    pub path: PathBuf,
}

/// The attestors' settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestorSettings {
    /// Of local processes.
    pub unix: UnixSettings,
}

/// Settings of the attestor `unix`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnixSettings {
    /// The largest executable that is hashed for `unix:sha256`; 0 hashes none.
    pub sha256_bytes_max: ByteSize,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            join_file: None,
            x509pop: None,
            state_dir: None,
            workload_api: SocketSettings::default(),
            metrics: Some(ListenAddress(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                METRICS_PORT,
            )))),
            site: None,
            attestors: AttestorSettings::default(),
            svid: SvidSettings::default(),
            allowed_foreign_jwt_claims: Vec::new(),
        }
    }
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/run/signet/agent.sock"),
        }
    }
}

impl Default for UnixSettings {
    fn default() -> Self {
        Self {
            sha256_bytes_max: ByteSize(256 << 20),
        }
    }
}

/// Where an agent shows its metrics and health unless told otherwise.
pub const METRICS_PORT: u16 = 8452;

/// Settings of the SVIDs of workloads.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SvidSettings {
    /// The kind of the keys of X.509-SVIDs. It has nothing to do with what the server signs with.
    pub key: SvidKey,
}

/// The kinds of key that an agent makes for X.509-SVIDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SvidKey {
    /// ECDSA on P-256. Every program has it.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits: for programs that know nothing else. Each takes tens of milliseconds to make.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// ML-DSA-44.
    #[serde(rename = "ml-dsa-44")]
    MlDsa44,
    /// ML-DSA-65.
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
    /// ML-DSA-87.
    #[serde(rename = "ml-dsa-87")]
    MlDsa87,
}

impl SvidKey {
    pub(crate) const fn kind(self) -> KeyKind {
        match self {
            Self::P256 => KeyKind::P256,
            Self::P384 => KeyKind::P384,
            Self::Ed25519 => KeyKind::Ed25519,
            Self::Rsa2048 => KeyKind::Rsa2048,
            Self::Rsa3072 => KeyKind::Rsa3072,
            Self::MlDsa44 => KeyKind::MlDsa44,
            Self::MlDsa65 => KeyKind::MlDsa65,
            Self::MlDsa87 => KeyKind::MlDsa87,
        }
    }
}

/// How an agent behaves in time. Not in any file: tests turn these, users have no reason to.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often a quiet stream looks whether its caller is still the same program.
    pub recheck: Duration,
    /// The first pause after a failure; each further failure doubles it.
    pub retry_min: Duration,
    /// The longest pause between two attempts.
    pub retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            recheck: Duration::from_secs(10),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let settings: AgentSettings = signet_settings::parse("", "agent.toml").expect("parse");
        assert_eq!(
            settings.workload_api.path,
            PathBuf::from("/run/signet/agent.sock")
        );
        assert_eq!(settings.metrics.map(|m| m.0.port()), Some(8452));
        assert_eq!(settings.attestors.unix.sha256_bytes_max.0, 268_435_456);
    }

    #[test]
    fn the_kind_of_an_svids_key_is_read_by_its_name_and_nothing_else() {
        let parse = |name: &str| {
            let text = format!("[svid]\nkey = \"{name}\"");
            signet_settings::parse::<AgentSettings>(&text, "agent.toml")
        };
        for kind in KeyKind::ALL {
            let read = parse(kind.as_str()).map(|settings| settings.svid.key.kind());
            if matches!(kind, KeyKind::P521 | KeyKind::Rsa4096) {
                assert!(read.is_err(), "{kind:?} is verified, and not made");
            } else {
                assert_eq!(read.expect("a name"), kind);
            }
        }
        let error = parse("mldsa65").expect_err("no name").to_string();
        assert!(error.contains("line 2") && error.contains("ml-dsa-65"), "{error}");
    }

    #[test]
    fn all_unknown_keys_are_told() {
        let text = "sevrers = []\n[workload_api]\npaht = \"/x\"\n[attestors.unix]\nsha256_max = 1\n";
        let error = signet_settings::parse::<AgentSettings>(text, "agent.toml").expect_err("refused");
        assert_eq!(error.mistakes().len(), 3, "{error}");
    }
}
