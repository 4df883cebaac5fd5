use core::time::Duration;
use serde::Deserialize;
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
    /// Claims of foreign trust domains' tokens that `ValidateJWTSVID` passes on besides the registered ones.
    pub allowed_foreign_jwt_claims: Vec<String>,
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
            state_dir: None,
            workload_api: SocketSettings::default(),
            metrics: Some(ListenAddress(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                METRICS_PORT,
            )))),
            site: None,
            attestors: AttestorSettings::default(),
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
    fn all_unknown_keys_are_told() {
        let text = "sevrers = []\n[workload_api]\npaht = \"/x\"\n[attestors.unix]\nsha256_max = 1\n";
        let error = signet_settings::parse::<AgentSettings>(text, "agent.toml").expect_err("refused");
        assert_eq!(error.mistakes().len(), 3, "{error}");
    }
}
