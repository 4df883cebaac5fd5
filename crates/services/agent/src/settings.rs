use crate::metrics::Limit;
use crate::sds::SdsSettings;
use core::num::NonZeroU32;
use core::time::Duration;
use serde::Deserialize;
use signet_crypto::KeyKind;
use signet_id::TrustDomain;
use signet_settings::{ByteSize, HostPort, ListenAddress};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

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
    /// A PEM file with roots that the servers may have when what the node holds vouches for none of theirs, because they
    /// were replaced while it was away. Read each time that it is needed.
    pub bootstrap_anchor: Option<PathBuf>,
    /// Where the node's key and identity are kept. None: in memory only, and each start joins anew.
    pub state_dir: Option<PathBuf>,
    /// The SPIFFE Workload API.
    pub workload_api: SocketSettings,
    /// What programs of the node ask beside the Workload API.
    pub local_api: LocalApiSettings,
    /// `/metrics`, `/health/live`, `/health/ready`. None: not served.
    pub metrics: Option<ListenAddress>,
    /// A constant label on every metric.
    pub site: Option<String>,
    /// How callers are told apart.
    pub attestors: AttestorSettings,
    /// What the agent makes for workloads.
    pub svid: SvidSettings,
    /// What Envoys are given.
    pub sds: SdsSettings,
    /// What one process may have of the Workload API.
    pub limits: LimitSettings,
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

/// The socket of the local API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalApiSettings {
    /// Its path. None: that of [`local_socket_beside`] the Workload API's.
    pub path: Option<PathBuf>,
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

impl AgentSettings {
    /// Where the local API is served.
    #[must_use]
    pub fn local_socket(&self) -> PathBuf {
        match &self.local_api.path {
            Some(path) => path.clone(),
            None => local_socket_beside(&self.workload_api.path),
        }
    }
}

/// Where the local API of the agent is whose Workload API is at `workload_api`: `local.sock` beside `agent.sock`, and
/// `NAME.local.sock` beside any other `NAME.sock`, since two agents may share a directory.
#[must_use]
pub fn local_socket_beside(workload_api: &Path) -> PathBuf {
    match workload_api.file_stem() {
        Some(stem) if stem != "agent" => {
            let mut name = stem.to_owned();
            name.push(".local.sock");
            workload_api.with_file_name(name)
        }
        _ => workload_api.with_file_name("local.sock"),
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            join_file: None,
            x509pop: None,
            bootstrap_anchor: None,
            state_dir: None,
            workload_api: SocketSettings::default(),
            local_api: LocalApiSettings::default(),
            metrics: Some(ListenAddress(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                METRICS_PORT,
            )))),
            site: None,
            attestors: AttestorSettings::default(),
            svid: SvidSettings::default(),
            sds: SdsSettings::default(),
            limits: LimitSettings::default(),
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

/// What one process may have of the Workload API and of secrets. All processes of a user together may have 4 times as much, and all of
/// the node 64 times: for more than that the agent answers with ResourceExhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Open streams. A program needs five at most.
    pub process_streams_max: NonZeroU32,
    /// Calls in a second; as many may come at once after a quiet second.
    pub process_calls_per_s_max: NonZeroU32,
    /// Requests that have begun to arrive. One message is one packet or two, so hardly any is ever seen half way.
    pub process_requests_max: NonZeroU32,
    /// Tokens that the server is being asked for. What is in memory does not count.
    pub process_signing_max: NonZeroU32,
    /// What the JWT-SVIDs in memory may take together; those of one entry a sixteenth of it. Beyond that the ones that
    /// were used least recently make room. 0: none is kept.
    pub jwt_cache_bytes_max: ByteSize,
}

impl LimitSettings {
    pub(crate) fn process_max(&self, limit: Limit) -> u64 {
        let max = match limit {
            Limit::Streams => self.process_streams_max,
            Limit::Calls => self.process_calls_per_s_max,
            Limit::Requests => self.process_requests_max,
            Limit::Signing => self.process_signing_max,
        };
        u64::from(max.get())
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        const STREAMS: NonZeroU32 = NonZeroU32::new(1_000).expect("positive");
        const CALLS: NonZeroU32 = NonZeroU32::new(5_000).expect("positive");
        const REQUESTS: NonZeroU32 = NonZeroU32::new(256).expect("positive");
        const SIGNING: NonZeroU32 = NonZeroU32::new(64).expect("positive");
        Self {
            process_streams_max: STREAMS,
            process_calls_per_s_max: CALLS,
            process_requests_max: REQUESTS,
            process_signing_max: SIGNING,
            jwt_cache_bytes_max: ByteSize(16 << 20),
        }
    }
}

/// How an agent behaves in time. Not in any file: tests turn these, users have no reason to.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often a quiet stream looks whether its caller is still the same program.
    pub recheck: Duration,
    /// How often everything that is held is looked over, though nothing is due.
    pub look: Duration,
    /// The first pause after a failure; each further failure doubles it.
    pub retry_min: Duration,
    /// The longest pause between two attempts.
    pub retry_max: Duration,
    /// How often a server is taken to send heartbeats before it has said so. One that is silent for three times as long
    /// is left.
    pub heartbeat: Duration,
    /// How long an agent that takes over from another one may take until it is ready.
    pub take_over: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            recheck: Duration::from_secs(10),
            look: Duration::from_secs(30),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
            heartbeat: Duration::from_secs(20),
            take_over: Duration::from_secs(60),
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
        assert_eq!(settings.local_socket(), PathBuf::from("/run/signet/local.sock"));
        assert_eq!(settings.metrics.map(|m| m.0.port()), Some(8452));
        assert_eq!(settings.attestors.unix.sha256_bytes_max.0, 268_435_456);
    }

    #[test]
    fn agents_that_share_a_directory_have_a_local_socket_each() {
        let beside = |path: &str| local_socket_beside(Path::new(path)).display().to_string();
        assert_eq!(beside("/run/signet/agent.sock"), "/run/signet/local.sock");
        assert_eq!(beside("/run/signet/b.sock"), "/run/signet/b.local.sock");
        assert_eq!(beside("b"), "b.local.sock");
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
    fn a_limit_of_nothing_or_of_another_name_is_refused() {
        for line in [
            "process_streams_max = 0",
            "process_requests_max = 0",
            "process_signing_max = -1",
            "user_streams_max = 9",
        ] {
            let text = format!("[limits]\n{line}");
            let read = signet_settings::parse::<AgentSettings>(&text, "agent.toml");
            assert!(read.expect_err(line).to_string().contains("line 2"), "{line}");
        }
    }

    #[test]
    fn all_unknown_keys_are_told() {
        let text = "sevrers = []\n[workload_api]\npaht = \"/x\"\n[attestors.unix]\nsha256_max = 1\n";
        let error = signet_settings::parse::<AgentSettings>(text, "agent.toml").expect_err("refused");
        assert_eq!(error.mistakes().len(), 3, "{error}");
    }
}
