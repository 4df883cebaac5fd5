use crate::storage;
use core::time::Duration;
use serde::Deserialize;
use signet_id::{SpiffeId, TrustDomain};
use signet_keys::{JwtAlgorithm, SealChoice, X509Algorithm};
use signet_settings::{HostPort, ListenAddress, Report, SettingsError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the state of a server lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory, gone with the process: `signet dev` and tests.
    Memory,
    /// In a directory of the server's own.
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What seals the keys in it, such as `file=/etc/signet/seal.key`.
        seal: String,
    },
    /// In a directory with the seal's key beside the data, made if it is not there: `signet dev --dir`.
    Insecure {
        /// The directory.
        dir: PathBuf,
    },
}

/// What a server needs to start. Made by [`Config::load`] from a file, or by [`Config::dev`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The one trust domain that it serves.
    pub trust_domain: TrustDomain,
    /// Its own name: it is `spiffe://TRUST-DOMAIN/signet/server/NAME`.
    pub name: String,
    /// Where its state lives.
    pub storage: Storage,
    /// Where agents connect; port 0 takes any free one.
    pub agents: SocketAddr,
    /// Metrics and health; none are served without.
    pub metrics: Option<SocketAddr>,
    /// The socket of the administration API.
    pub api_socket: PathBuf,
    /// The group whose members are administrators, beside root and the server's own user.
    pub api_group: Option<String>,
    /// Where join strings send agents, `HOST:PORT`; empty means the address that `agents` got.
    pub advertise: Vec<String>,
    /// The issuer that JWT-SVIDs name.
    pub jwt_issuer: String,
    /// The kind of new X.509 keys.
    pub x509: X509Algorithm,
    /// What new JWT keys sign with.
    pub jwt: JwtAlgorithm,
    /// A constant label of every metric.
    pub site: Option<String>,
}

impl Config {
    /// The agents' port.
    pub const AGENTS_PORT: u16 = 8445;
    /// The port of metrics and health.
    pub const METRICS_PORT: u16 = 8442;
    /// The administration socket of an installed server.
    pub const API_SOCKET: &str = "/run/signet/api.sock";
    /// The issuer of JWT-SVIDs where none is configured.
    pub const JWT_ISSUER: &str = "https://localhost:8443/workload";

    /// A server for one laptop or one test: everything on the loopback at free ports, sockets in `dir`, state in
    /// memory. Fields are changed before the start where that does not fit.
    #[must_use]
    pub fn dev(trust_domain: TrustDomain, dir: &Path) -> Self {
        let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            trust_domain,
            name: "dev".to_owned(),
            storage: Storage::Memory,
            agents: free,
            metrics: Some(free),
            api_socket: dir.join("api.sock"),
            api_group: None,
            advertise: Vec::new(),
            jwt_issuer: Self::JWT_ISSUER.to_owned(),
            x509: X509Algorithm::default(),
            jwt: JwtAlgorithm::default(),
            site: None,
        }
    }

    /// Reads the settings file at `path`.
    ///
    /// # Errors
    /// [`SettingsError`] with every mistake in it.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        signet_settings::load_checked::<File>(path, check).map(File::into_config)
    }

    /// As [`Config::load`], from text that came from `path`.
    ///
    /// # Errors
    /// [`SettingsError`] with every mistake in it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        signet_settings::parse_checked::<File>(text, path, check).map(File::into_config)
    }
}

/// The settings file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    trust_domain: TrustDomain,
    #[serde(default = "default_name")]
    name: String,
    data_dir: PathBuf,
    seal: String,
    #[serde(default)]
    advertise: Vec<HostPort>,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    svid: Svid,
    #[serde(default)]
    metrics: MetricsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    agents: Option<ListenAddress>,
    metrics: Option<ListenAddress>,
    api: Option<PathBuf>,
    api_group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Svid {
    jwt_issuer: Option<String>,
    x509_alg: Option<String>,
    jwt_alg: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsTable {
    site: Option<String>,
}

fn default_name() -> String {
    "main".to_owned()
}

impl File {
    fn into_config(self) -> Config {
        let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let listen = self.listen;
        Config {
            trust_domain: self.trust_domain,
            name: self.name,
            storage: Storage::Directory {
                dir: self.data_dir,
                seal: self.seal,
            },
            agents: listen.agents.map_or(any(Config::AGENTS_PORT), |a| a.0),
            metrics: Some(listen.metrics.map_or(loopback(Config::METRICS_PORT), |a| a.0)),
            api_socket: listen.api.unwrap_or_else(|| PathBuf::from(Config::API_SOCKET)),
            api_group: listen.api_group,
            advertise: self.advertise.iter().map(HostPort::to_string).collect(),
            jwt_issuer: self
                .svid
                .jwt_issuer
                .unwrap_or_else(|| Config::JWT_ISSUER.to_owned()),
            // The check refused every other name before.
            x509: self
                .svid
                .x509_alg
                .as_deref()
                .and_then(X509Algorithm::parse)
                .unwrap_or_default(),
            jwt: self
                .svid
                .jwt_alg
                .as_deref()
                .and_then(JwtAlgorithm::parse)
                .unwrap_or_default(),
            site: self.metrics.site,
        }
    }
}

/// How long a stop may take, from the signal to the end of the process.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(10);

fn check(file: &File, report: &mut Report<'_>) {
    if !SpiffeId::is_segment(&file.name) {
        report.at("name", "is one path segment: letters, digits, `.`, `-` and `_`");
    }
    if !file.data_dir.is_absolute() {
        report.at("data_dir", "is not a whole path, beginning with `/`");
    }
    match signet_keys::parse_seal(&file.seal) {
        Err(error) => report.at("seal", error.to_string()),
        Ok(SealChoice::File(key)) if !key.is_absolute() => {
            report.at("seal", "the key's path is not a whole path, beginning with `/`");
        }
        // Whoever copies the directory must not get the key with it.
        Ok(SealChoice::File(key)) if storage::is_inside(&key, &file.data_dir) => {
            report.at(
                "seal",
                "the key lies inside `data_dir`, beside what it seals: keep it elsewhere",
            );
        }
        Ok(_) => {}
    }
    if file.advertise.len() > ADVERTISE_MAX {
        report.at("advertise", format!("has more than {ADVERTISE_MAX} addresses"));
    }
    let agents = file.listen.agents.map_or(Config::AGENTS_PORT, |a| a.0.port());
    let metrics = file.listen.metrics.map_or(Config::METRICS_PORT, |a| a.0.port());
    if agents != 0 && agents == metrics {
        report.at(
            "listen.metrics",
            format!("has the port of `listen.agents`, {agents}"),
        );
    }
    let everywhere = file.listen.agents.is_none_or(|a| a.0.ip().is_unspecified());
    if file.advertise.is_empty() && everywhere {
        report.at(
            "advertise",
            "is needed where `listen.agents` is every address: the HOST:PORT that agents connect to",
        );
    }
    if let Some(path) = &file.listen.api {
        if !path.is_absolute() {
            report.at("listen.api", "is not a whole path, beginning with `/`");
        } else if path.as_os_str().len() > signet_net::SOCKET_PATH_BYTES_MAX {
            let max = signet_net::SOCKET_PATH_BYTES_MAX;
            report.at("listen.api", format!("a socket's path has at most {max} bytes"));
        }
    }
    if let Some(issuer) = &file.svid.jwt_issuer
        && !is_issuer(issuer)
    {
        report.at(
            "svid.jwt_issuer",
            "is an https URL of at most 512 bytes without query and fragment",
        );
    }
    if let Some(name) = &file.svid.x509_alg
        && X509Algorithm::parse(name).is_none()
    {
        report.at(
            "svid.x509_alg",
            format!("`{name}` is not {}", X509Algorithm::NAMES),
        );
    }
    if let Some(name) = &file.svid.jwt_alg
        && JwtAlgorithm::parse(name).is_none()
    {
        report.at("svid.jwt_alg", format!("`{name}` is not {}", JwtAlgorithm::NAMES));
    }
}

fn is_issuer(text: &str) -> bool {
    text.len() <= 512
        && text
            .strip_prefix("https://")
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'@'))
}

/// How many addresses a join string holds.
const ADVERTISE_MAX: usize = 16;
