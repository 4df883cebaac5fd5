//! What the public port shows of itself: the files of `[web]`, or a certificate of our own authority.

use crate::config::{Web, WebFiles};
use crate::identity::{LOOK_EVERY, Renewal, Shown};
use crate::{Config, ServerError};
use signet_authority::{Authority, Context, TlsServerRequest};
use signet_crypto::{KeyKind, LocalKey, Secret, digest};
use signet_fault::chain;
use signet_keys::{Keys, Purpose};
use signet_surface_publish::PublicUrl;
use signet_time::SharedClock;
use signet_tls::LiveIdentity;
use signet_x509::{Certificate, Csr, is_dns_name, make_csr};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tracing::{info, warn};

/// The certificate of the public port and what keeps it fresh.
pub(crate) struct WebIdentity {
    pub(crate) live: Arc<LiveIdentity>,
    source: Source,
    clock: SharedClock,
}

/// Where it comes from.
enum Source {
    Files {
        files: WebFiles,
        /// What clients look for in it.
        host: String,
    },
    Own(Box<Own>),
}

/// Our own authority, and the names that it is asked for.
struct Own {
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    authority: Authority,
    keys: Arc<Keys>,
}

/// The longest file that is read as a certificate chain or key, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The base of every URL that the public port tells, once its port is known.
pub(crate) fn public_url(web: &Web, https: SocketAddr) -> PublicUrl {
    web.url
        .clone()
        .unwrap_or_else(|| PublicUrl::localhost(https.port()))
}

/// The issuer of JWT-SVIDs at `url`.
///
/// # Errors
/// [`ServerError::Issuer`] where the settings want another.
pub(crate) fn jwt_issuer(config: &Config, url: &PublicUrl) -> Result<String, ServerError> {
    let served = url.workload_issuer();
    match &config.jwt_issuer {
        Some(configured) if *configured != served => Err(ServerError::Issuer {
            configured: configured.clone(),
            served,
        }),
        _ => Ok(served),
    }
}

impl WebIdentity {
    pub(crate) fn new(
        config: &Config,
        url: &PublicUrl,
        authority: &Authority,
        keys: &Arc<Keys>,
        clock: &SharedClock,
    ) -> Self {
        let source = match &config.web.files {
            Some(files) => Source::Files {
                files: files.clone(),
                host: url.host(),
            },
            None => {
                let (dns_names, ip_addresses) = names(url, config.https.ip(), signet_sys::names::host());
                Source::Own(Box::new(Own {
                    dns_names,
                    ip_addresses,
                    authority: authority.clone(),
                    keys: Arc::clone(keys),
                }))
            }
        };
        Self {
            live: Arc::new(LiveIdentity::none()),
            source,
            clock: Arc::clone(clock),
        }
    }

    /// Shows the first one.
    ///
    /// # Errors
    /// Where the files cannot be used, or nothing can be issued.
    pub(crate) async fn begin(&self) -> Result<(), ServerError> {
        match &self.source {
            Source::Files { files, host } => self.load(&read_files(files).await?, host),
            Source::Own(own) => self.issue(own).await.map(drop),
        }
    }

    /// Renews it, or reads the files again when they change, for ever.
    pub(crate) async fn keep(self) {
        match &self.source {
            Source::Own(own) => {
                let what = "the certificate of the public port";
                let mut renewal = Renewal::new(&own.keys, what, own.shown(&self.live));
                loop {
                    renewal.due(&own.keys, &self.clock).await;
                    renewal.done(self.issue(own).await, self.clock.now());
                }
            }
            Source::Files { files, host } => self.follow(files, host).await,
        }
    }

    async fn follow(&self, files: &WebFiles, host: &str) {
        let mut seen = read_files(files).await.ok().map(|read| read.hash());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let read = match read_files(files).await {
                Ok(read) => read,
                Err(error) => {
                    warn!(
                        error = chain(&error),
                        "the public port's certificate stays as it was"
                    );
                    continue;
                }
            };
            if seen == Some(read.hash()) {
                continue;
            }
            match self.load(&read, host) {
                Ok(()) => {
                    info!("the public port shows a new certificate");
                    seen = Some(read.hash());
                }
                // Two files are replaced one after the other: the next look may find them fit.
                Err(error) => warn!(
                    error = chain(&error),
                    "the public port's certificate stays as it was"
                ),
            }
        }
    }

    fn load(&self, read: &Read, host: &str) -> Result<(), ServerError> {
        let task = "use the files in [web]";
        self.live
            .set_pem(&read.certificate, read.key.expose())
            .map_err(ServerError::part(task))?;
        let leaf = self
            .live
            .chain()
            .first()
            .and_then(|der| Certificate::parse(der).ok());
        if let Some(leaf) = leaf
            && !(leaf.not_before()..=leaf.not_after()).contains(&self.clock.now())
        {
            let (from, to) = (leaf.not_before(), leaf.not_after());
            warn!(%from, %to, "the public port's certificate is not valid now");
        }
        if !self.live.is_for(host) {
            warn!(
                host,
                "the public port's certificate is not for the host of web.url"
            );
        }
        Ok(())
    }

    async fn issue(&self, own: &Own) -> Result<Shown, ServerError> {
        let task = "issue the certificate of the public port";
        let issuer = own
            .keys
            .active(Purpose::X509Svid)
            .map_err(ServerError::part(task))?;
        let key = LocalKey::generate(KeyKind::P256).map_err(ServerError::part(task))?;
        let csr = make_csr(&key, None, &[]).map_err(ServerError::part(task))?;
        let request = TlsServerRequest {
            dns_names: own.dns_names.clone(),
            ip_addresses: own.ip_addresses.clone(),
            ttl: own.keys.config().leaf_life_max,
            csr: Csr::parse(&csr).map_err(ServerError::part(task))?,
            context: Context::default(),
        };
        let decision = request.own_decision();
        let issued = own
            .authority
            .issue_tls_server(request, &decision, self.clock.now())
            .await
            .map_err(ServerError::part(task))?;
        let shown = Shown::new(issued.not_before, issued.not_after, issuer.kid());
        self.live
            .set(issued.chain, &key)
            .map_err(ServerError::part(task))?;
        Ok(shown)
    }
}

impl Own {
    fn shown(&self, live: &LiveIdentity) -> Option<Shown> {
        let leaf = Certificate::parse(live.chain().first()?).ok()?;
        let issuer = self.keys.active(Purpose::X509Svid).ok()?;
        Some(Shown::new(leaf.not_before(), leaf.not_after(), issuer.kid()))
    }
}

/// The names of a certificate of our own: those of this machine, and that in the URL.
fn names(url: &PublicUrl, listen: IpAddr, host: Option<String>) -> (Vec<String>, Vec<IpAddr>) {
    let mut dns_names = vec!["localhost".to_owned()];
    let more = url.dns_name().map(str::to_owned).into_iter().chain(host);
    for name in more.map(|name| name.to_ascii_lowercase()) {
        if is_dns_name(&name) && !dns_names.contains(&name) {
            dns_names.push(name);
        }
    }
    let mut ip_addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    let listen = (!listen.is_unspecified()).then_some(listen);
    for address in url.address().into_iter().chain(listen) {
        if !ip_addresses.contains(&address) {
            ip_addresses.push(address);
        }
    }
    (dns_names, ip_addresses)
}

/// The two files as they were found.
struct Read {
    certificate: Vec<u8>,
    key: Secret,
}

impl Read {
    /// Of both, to see whether they changed; says nothing about the key.
    fn hash(&self) -> [u8; 32] {
        let both = [
            digest::sha256(&self.certificate),
            digest::sha256(self.key.expose()),
        ];
        digest::sha256(&both.concat())
    }
}

async fn read_files(files: &WebFiles) -> Result<Read, ServerError> {
    let (certificate, key) = (files.certificate.clone(), files.key.clone());
    let read = move || {
        Ok(Read {
            certificate: read_file(&certificate)?,
            key: Secret::new(read_file(&key)?),
        })
    };
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or(Err(ServerError::Task { task: "web" }))
}

fn read_file(path: &Path) -> Result<Vec<u8>, ServerError> {
    let unreadable = |source| ServerError::WebFile {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(std::io::Error::other("it is longer than 1 MiB")));
    }
    std::fs::read(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet_testkit::START;
    use signet_testkit::forge::{Authority, Leaf, Recipe};
    use signet_x509::pem;

    #[test]
    fn our_own_certificate_names_this_machine_and_the_url() {
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let local: IpAddr = Ipv4Addr::LOCALHOST.into();
        let url = PublicUrl::localhost(8443);
        let host = || Some("Host1".to_owned());
        assert_eq!(
            names(&url, any, host()),
            (vec!["localhost".to_owned(), "host1".to_owned()], vec![local])
        );
        let url = PublicUrl::parse("https://id.example.org").unwrap();
        let address = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(
            names(&url, address, None),
            (
                vec!["localhost".to_owned(), "id.example.org".to_owned()],
                vec![local, address]
            )
        );
        let odd = names(&PublicUrl::localhost(1), local, Some("not a name".to_owned()));
        assert_eq!(odd, (vec!["localhost".to_owned()], vec![local]));
    }

    struct At(signet_time::UnixTime);

    impl signet_time::Clock for At {
        fn now(&self) -> signet_time::UnixTime {
            self.0
        }
    }

    fn write(files: &WebFiles, leaf: &Leaf) {
        let key = pem::encode_key(&leaf.key.to_pkcs8().unwrap());
        std::fs::write(&files.key, key.expose()).unwrap();
        let certificate = pem::encode_certs(&[&leaf.certificate]);
        std::fs::write(&files.certificate, certificate).unwrap();
    }

    /// Time stands still but for the pauses between two looks, which pass at once.
    #[tokio::test(start_paused = true)]
    async fn files_that_were_replaced_are_shown_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = WebFiles {
            certificate: dir.path().join("web.pem"),
            key: dir.path().join("web.key"),
        };
        let root = Authority::root("web.test");
        let leaf = || root.leaf_from(Recipe::web("id.web.test"));
        let (first, second) = (leaf(), leaf());
        write(&files, &first);
        let web = WebIdentity {
            live: Arc::new(LiveIdentity::none()),
            source: Source::Files {
                files: files.clone(),
                host: "id.web.test".to_owned(),
            },
            clock: Arc::new(At(START)),
        };
        web.begin().await.unwrap();
        let live = Arc::clone(&web.live);
        assert_eq!(live.chain()[0], first.certificate);
        let keeping = tokio::spawn(web.keep());
        let look = async || tokio::time::sleep(LOOK_EVERY * 2).await;
        // A key without its certificate, a file that is gone, and one that is none: what was shown stays.
        let key = pem::encode_key(&second.key.to_pkcs8().unwrap());
        std::fs::write(&files.key, key.expose()).unwrap();
        look().await;
        assert_eq!(live.chain()[0], first.certificate);
        std::fs::remove_file(&files.certificate).unwrap();
        look().await;
        std::fs::write(&files.certificate, "no certificate").unwrap();
        look().await;
        assert_eq!(live.chain()[0], first.certificate);
        write(&files, &second);
        look().await;
        assert_eq!(live.chain()[0], second.certificate);
        keeping.abort();
    }
}
