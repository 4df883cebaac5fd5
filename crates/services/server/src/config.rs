use crate::storage;
use core::time::Duration;
use serde::Deserialize;
use signet_id::{SpiffeId, TrustDomain};
use signet_keys::{JwtAlgorithm, SealChoice, X509Algorithm};
use signet_settings::{HostPort, ListenAddress, Report, SettingsError};
use signet_surface_agents::{NodeTemplate, TemplateError};
use signet_surface_publish::{PublicUrl, UrlError};
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
    /// The public port; port 0 takes any free one.
    pub https: SocketAddr,
    /// How it is reached and what it shows.
    pub web: Web,
    /// Metrics and health; none are served without.
    pub metrics: Option<SocketAddr>,
    /// The socket of the administration API.
    pub api_socket: PathBuf,
    /// The group whose members are administrators, beside root and the server's own user.
    pub api_group: Option<String>,
    /// The group whose members may mint, and nothing else.
    pub api_minters_group: Option<String>,
    /// Where join strings send agents, `HOST:PORT`; empty means the address that `agents` got.
    pub advertise: Vec<String>,
    /// The issuer that JWT-SVIDs are to name. It can only be the one that the public port has discovery for, which is
    /// the default: anything else is refused at the start.
    pub jwt_issuer: Option<String>,
    /// The kind of new X.509 keys.
    pub x509: X509Algorithm,
    /// What new JWT keys sign with.
    pub jwt: JwtAlgorithm,
    /// Whose machines may join by their certificates; nobody's without.
    pub x509pop: Option<Machines>,
    /// A constant label of every metric.
    pub site: Option<String>,
}

/// The machines that may join by their certificates, and what their nodes are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machines {
    /// PEM files with the certificates of their authorities.
    pub ca: Vec<PathBuf>,
    /// The path of their nodes.
    pub path: NodeTemplate,
}

/// How the public port is reached from outside, and what it shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where relying parties reach it; without, `https://localhost:PORT`.
    pub url: Option<PublicUrl>,
    /// The files of its certificate chain and key; without, a certificate of our own authority is shown.
    pub files: Option<WebFiles>,
    /// A host name whose clients are shown the server's SVID instead: the bundle endpoint by `https_spiffe`.
    pub spiffe_name: Option<String>,
}

/// A certificate chain, leaf first, and its key; both PEM. Read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Config {
    /// The public port.
    pub const HTTPS_PORT: u16 = 8443;
    /// The agents' port.
    pub const AGENTS_PORT: u16 = 8445;
    /// The port of metrics and health.
    pub const METRICS_PORT: u16 = 8442;
    /// The administration socket of an installed server.
    pub const API_SOCKET: &str = "/run/signet/api.sock";

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
            https: free,
            web: Web::default(),
            metrics: Some(free),
            api_socket: dir.join("api.sock"),
            api_group: None,
            api_minters_group: None,
            advertise: Vec::new(),
            jwt_issuer: None,
            x509: X509Algorithm::default(),
            jwt: JwtAlgorithm::default(),
            x509pop: None,
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
    web: WebTable,
    #[serde(default)]
    svid: Svid,
    #[serde(default)]
    attest: AttestTable,
    #[serde(default)]
    metrics: MetricsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listen {
    https: Option<ListenAddress>,
    agents: Option<ListenAddress>,
    metrics: Option<ListenAddress>,
    api: Option<PathBuf>,
    api_group: Option<String>,
    api_minters_group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebTable {
    url: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    spiffe_name: Option<String>,
}

impl WebTable {
    fn url(&self) -> Option<Result<PublicUrl, UrlError>> {
        self.url.as_deref().map(PublicUrl::parse)
    }

    fn into_web(self) -> Web {
        Web {
            // The check refused every other one before.
            url: self.url().and_then(Result::ok),
            files: match (self.certificate, self.key) {
                (Some(certificate), Some(key)) => Some(WebFiles { certificate, key }),
                _ => None,
            },
            spiffe_name: self.spiffe_name,
        }
    }
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
struct AttestTable {
    x509pop: Option<X509PopTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct X509PopTable {
    ca: Vec<PathBuf>,
    path: Option<String>,
}

impl X509PopTable {
    fn path(&self) -> Result<NodeTemplate, TemplateError> {
        self.path
            .as_deref()
            .map_or(Ok(NodeTemplate::default()), NodeTemplate::parse)
    }

    fn into_machines(self) -> Machines {
        Machines {
            // The check refused every other one before.
            path: self.path().unwrap_or_default(),
            ca: self.ca,
        }
    }
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
            https: listen.https.map_or(any(Config::HTTPS_PORT), |a| a.0),
            web: self.web.into_web(),
            metrics: Some(listen.metrics.map_or(loopback(Config::METRICS_PORT), |a| a.0)),
            api_socket: listen.api.unwrap_or_else(|| PathBuf::from(Config::API_SOCKET)),
            api_group: listen.api_group,
            api_minters_group: listen.api_minters_group,
            advertise: self.advertise.iter().map(HostPort::to_string).collect(),
            jwt_issuer: self.svid.jwt_issuer,
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
            x509pop: self.attest.x509pop.map(X509PopTable::into_machines),
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
    let https = file.listen.https.map_or(Config::HTTPS_PORT, |a| a.0.port());
    for (other, port) in [("agents", agents), ("metrics", metrics)] {
        if https != 0 && https == port {
            report.at(
                "listen.https",
                format!("has the port of `listen.{other}`, {port}"),
            );
        }
    }
    check_web(file, https, report);
    if let Some(machines) = &file.attest.x509pop {
        check_machines(machines, report);
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

fn check_web(file: &File, https: u16, report: &mut Report<'_>) {
    let web = &file.web;
    let url = match web.url() {
        None => (https != 0).then(|| PublicUrl::localhost(https)),
        Some(Ok(url)) => Some(url),
        Some(Err(error)) => return report.at("web.url", error.to_string()),
    };
    match (&web.certificate, &web.key) {
        (Some(_), None) => report.at("web.certificate", "needs `web.key`, the file of its private key"),
        (None, Some(_)) => report.at(
            "web.key",
            "needs `web.certificate`, the file of its certificate chain",
        ),
        (Some(_), Some(_)) if web.url.is_none() => report.at(
            "web.certificate",
            "needs `web.url`, the https://HOST that it is for and that documents name",
        ),
        _ => {}
    }
    for (key, path) in [("web.certificate", &web.certificate), ("web.key", &web.key)] {
        if path.as_ref().is_some_and(|path| !path.is_absolute()) {
            report.at(key, "is not a whole path, beginning with `/`");
        }
    }
    if let Some(name) = &web.spiffe_name {
        if !signet_x509::is_dns_name(name) {
            report.at("web.spiffe_name", "is no DNS name");
        } else if url.as_ref().and_then(PublicUrl::dns_name) == Some(name) {
            report.at(
                "web.spiffe_name",
                "is the host of `web.url`, whose clients want the web certificate: give it a name of its own",
            );
        }
    }
    if let Some(issuer) = &file.svid.jwt_issuer {
        let served = url.map(|url| url.workload_issuer());
        if served.as_deref() != Some(issuer.as_str()) {
            let served = served
                .unwrap_or_else(|| "https://localhost:PORT/workload, at a port not known yet".to_owned());
            report.at("svid.jwt_issuer", other_issuer(issuer, &served));
        }
    }
}

fn check_machines(machines: &X509PopTable, report: &mut Report<'_>) {
    if !(1..=CA_FILES_MAX).contains(&machines.ca.len()) {
        report.at(
            "attest.x509pop.ca",
            format!("names 1 to {CA_FILES_MAX} files with the authorities of machines"),
        );
    }
    if machines.ca.iter().any(|path| !path.is_absolute()) {
        report.at(
            "attest.x509pop.ca",
            "has a path that is not whole, beginning with `/`",
        );
    }
    if let Err(error) = machines.path() {
        report.at("attest.x509pop.path", error.to_string());
    }
}

/// Why tokens may not name `issuer` where there is discovery for `served`.
pub(crate) fn other_issuer(issuer: &str, served: &str) -> String {
    format!(
        "would put `{issuer}` into tokens, but discovery and keys are served for `{served}`, so that relying parties \
         would refuse every token: leave it out, or set `web.url` so that both are the same"
    )
}

/// How many addresses a join string holds.
const ADVERTISE_MAX: usize = 16;

/// How many files with authorities of machines are read.
const CA_FILES_MAX: usize = 16;
