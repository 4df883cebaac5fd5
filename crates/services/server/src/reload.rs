//! New settings for a server that runs.

use crate::{Config, Storage, Web, WebFiles};
use arc_swap::ArcSwap;
use signet_net::CancellationToken;
use signet_settings::{Changes, shown_list};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Gives a running server new settings. Clones share the server.
#[derive(Clone)]
pub struct Reloader(Arc<Shared>);

struct Shared {
    /// What runs: that of the start with what was taken over since. Held while new settings are taken over, so that
    /// two calls do not mix.
    running: Mutex<Config>,
    /// Where agents are sent.
    advertised: ArcSwap<Vec<String>>,
    /// The agents' port as it was opened.
    agents: SocketAddr,
    shutdown: CancellationToken,
}

impl Reloader {
    /// For a server that runs with `config` and whose agents' port is `agents`, until `shutdown`.
    pub(crate) fn new(config: Config, agents: SocketAddr, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            advertised: ArcSwap::from_pointee(advertised(&config, agents)),
            running: Mutex::new(config),
            agents,
            shutdown,
        }))
    }

    /// Takes over what can be changed in a server that runs, which is `advertise`, and says what has to wait.
    ///
    /// `None` while the server stops: nothing is taken over any more.
    #[must_use]
    pub fn take_over(&self, new: Config) -> Option<Changes> {
        let shared = &self.0;
        // INVARIANT: what is done under this lock does not panic half way.
        let mut running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.shutdown.is_cancelled() {
            return None;
        }
        let changes = adopt(&mut running, new);
        let advertised = advertised(&running, shared.agents);
        shared.advertised.store(Arc::new(advertised));
        Some(changes)
    }

    /// Where join strings send agents.
    pub(crate) fn advertised(&self) -> Vec<String> {
        Vec::clone(&self.0.advertised.load())
    }
}

/// Brings `running` up to date with `new` where that can be done.
fn adopt(running: &mut Config, new: Config) -> Changes {
    let mut changes = Changes::default();
    // Taken apart, so that a key that is added has to be thought of here.
    let Config {
        trust_domain,
        name,
        storage,
        agents,
        https,
        web,
        metrics,
        api_socket,
        api_group,
        api_minters_group,
        advertise,
        jwt_issuer,
        x509,
        jwt,
        x509pop,
        site,
    } = new;
    changes.keep("trust_domain", &running.trust_domain, &trust_domain);
    changes.keep("name", &running.name, &name);
    keep_storage(&mut changes, &running.storage, &storage);
    // Where agents are to connect next cannot be advertised before anybody listens there.
    if running.agents == agents {
        let shown = |list: &Vec<String>| shown_list(list);
        changes.take("advertise", &mut running.advertise, advertise, shown);
    } else {
        changes.keep("advertise", &running.advertise, &advertise);
    }
    changes.keep("listen.https", &running.https, &https);
    changes.keep("listen.agents", &running.agents, &agents);
    changes.keep("listen.metrics", &running.metrics, &metrics);
    changes.keep("listen.api", &running.api_socket, &api_socket);
    changes.keep("listen.api_group", &running.api_group, &api_group);
    changes.keep(
        "listen.api_minters_group",
        &running.api_minters_group,
        &api_minters_group,
    );
    keep_web(&mut changes, &running.web, &web);
    changes.keep("svid.jwt_issuer", &running.jwt_issuer, &jwt_issuer);
    changes.keep("svid.x509_alg", &running.x509, &x509);
    changes.keep("svid.jwt_alg", &running.jwt, &jwt);
    changes.keep("attest.x509pop", &running.x509pop, &x509pop);
    changes.keep("metrics.site", &running.site, &site);
    changes
}

fn keep_storage(changes: &mut Changes, running: &Storage, new: &Storage) {
    match (running, new) {
        (Storage::Directory { dir, seal }, Storage::Directory { dir: to, seal: with }) => {
            changes.keep("data_dir", dir, to);
            changes.keep("seal", seal, with);
        }
        // Of `signet dev` and tests, which have no file.
        _ => changes.keep("data_dir", running, new),
    }
}

/// All of it waits: what is published under the URL lies in caches, tokens name it, and the certificate that is shown
/// is renewed by replacing its files.
fn keep_web(changes: &mut Changes, running: &Web, new: &Web) {
    let Web {
        url,
        files,
        spiffe_name,
    } = new;
    let (certificate, key) = web_files(files.as_ref());
    let (shown, with) = web_files(running.files.as_ref());
    changes.keep("web.url", &running.url, url);
    changes.keep("web.certificate", &shown, &certificate);
    changes.keep("web.key", &with, &key);
    changes.keep("web.spiffe_name", &running.spiffe_name, spiffe_name);
}

fn web_files(files: Option<&WebFiles>) -> (Option<&PathBuf>, Option<&PathBuf>) {
    match files {
        Some(WebFiles { certificate, key }) => (Some(certificate), Some(key)),
        None => (None, None),
    }
}

/// Where agents are sent. An address that means every interface means this machine to an agent.
fn advertised(config: &Config, agents: SocketAddr) -> Vec<String> {
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    let ip = match agents.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    vec![SocketAddr::new(ip, agents.port()).to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const FILE: &str = r#"
trust_domain = "example.org"
name = "one"
data_dir = "/var/lib/signet"
seal = "file=/etc/signet/seal.key"
advertise = ["a.example.org:8445"]
[listen]
https = "127.0.0.1:8443"
agents = "127.0.0.1:8445"
metrics = "127.0.0.1:8442"
api = "/run/signet/api.sock"
api_group = "signet"
api_minters_group = "ci"
[web]
url = "https://id.example.org"
certificate = "/etc/signet/web.pem"
key = "/etc/signet/web.key"
spiffe_name = "spiffe.example.org"
[svid]
x509_alg = "ed25519"
jwt_alg = "es384"
jwt_issuer = "https://id.example.org/workload"
[attest.x509pop]
ca = ["/etc/signet/machines.pem"]

[metrics]
site = "lab"
"#;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("server.toml")).unwrap()
    }

    fn reloader(text: &str) -> Reloader {
        let agents = SocketAddr::from(([127, 0, 0, 1], 8445));
        Reloader::new(config(text), agents, CancellationToken::new())
    }

    #[test]
    fn advertised_addresses_are_taken_over_at_once() {
        let reloader = reloader(FILE);
        assert_eq!(reloader.advertised(), ["a.example.org:8445"]);
        let moved = FILE.replace(
            "[\"a.example.org:8445\"]",
            "[\"b.example.org:8445\", \"c.example.org:1\"]",
        );
        let changes = reloader.take_over(config(&moved)).unwrap();
        assert_eq!(reloader.advertised(), ["b.example.org:8445", "c.example.org:1"]);
        let [taken] = changes.taken() else {
            panic!("{changes:?}")
        };
        assert_eq!(
            (taken.key, taken.old.as_str(), taken.new.as_str()),
            (
                "advertise",
                "[\"a.example.org:8445\"]",
                "[\"b.example.org:8445\", \"c.example.org:1\"]"
            )
        );
        assert_eq!(changes.waiting(), [""; 0]);
        assert!(reloader.take_over(config(&moved)).unwrap().is_empty());
        // Without any, it is the port that was opened.
        let none = FILE.replace("advertise = [\"a.example.org:8445\"]", "");
        assert_eq!(reloader.take_over(config(&none)).unwrap().taken().len(), 1);
        assert_eq!(reloader.advertised(), ["127.0.0.1:8445"]);
    }

    #[test]
    fn addresses_are_not_advertised_before_the_server_listens_where_they_lead() {
        let reloader = reloader(FILE);
        let moved = FILE
            .replace("a.example.org:8445", "a.example.org:9445")
            .replace("agents = \"127.0.0.1:8445\"", "agents = \"127.0.0.1:9445\"");
        let changes = reloader.take_over(config(&moved)).unwrap();
        assert_eq!(changes.taken(), []);
        assert_eq!(changes.waiting(), ["advertise", "listen.agents"]);
        assert_eq!(reloader.advertised(), ["a.example.org:8445"]);
    }

    #[test]
    fn every_other_key_waits_for_the_next_start_and_is_named_until_then() {
        let reloader = reloader(FILE);
        let web = "url = \"https://id.example.org\"\ncertificate = \"/etc/signet/web.pem\"\nkey = \"/etc/signet/web.key\"\n";
        for (from, to, waiting) in [
            ("\"example.org\"", "\"example.net\"", &["trust_domain"][..]),
            ("\"one\"", "\"two\"", &["name"]),
            ("/var/lib/signet\"", "/srv/signet\"", &["data_dir"]),
            ("seal.key", "other.key", &["seal"]),
            ("127.0.0.1:8443", "127.0.0.1:9443", &["listen.https"]),
            (
                "agents = \"127.0.0.1:8445\"",
                "agents = \"127.0.0.1:9445\"",
                &["listen.agents"],
            ),
            ("127.0.0.1:8442", "127.0.0.1:9442", &["listen.metrics"]),
            ("/run/signet/api.sock", "/run/api.sock", &["listen.api"]),
            ("api_group = \"signet\"", "", &["listen.api_group"]),
            ("\"ci\"", "\"release\"", &["listen.api_minters_group"]),
            (
                "id.example.org",
                "pki.example.org",
                &["web.url", "svid.jwt_issuer"],
            ),
            ("web.pem", "new.pem", &["web.certificate"]),
            ("web.key", "new.key", &["web.key"]),
            (
                "spiffe_name = \"spiffe",
                "spiffe_name = \"bundle",
                &["web.spiffe_name"],
            ),
            ("ed25519", "p256", &["svid.x509_alg"]),
            ("es384", "es256", &["svid.jwt_alg"]),
            (
                "jwt_issuer = \"https://id.example.org/workload\"",
                "",
                &["svid.jwt_issuer"],
            ),
            ("\"lab\"", "\"field\"", &["metrics.site"]),
            ("machines.pem", "others.pem", &["attest.x509pop"]),
            // What is left out is changed too.
            (
                &format!(
                    "{web}spiffe_name = \"spiffe.example.org\"\n[svid]\nx509_alg = \"ed25519\"\njwt_alg = \"es384\"\njwt_issuer = \"https://id.example.org/workload\""
                ),
                "[svid]\nx509_alg = \"ed25519\"\njwt_alg = \"es384\"",
                &[
                    "web.url",
                    "web.certificate",
                    "web.key",
                    "web.spiffe_name",
                    "svid.jwt_issuer",
                ],
            ),
        ] {
            assert!(FILE.contains(from), "{from}");
            let new = config(&FILE.replace(from, to));
            for _ in 0..2 {
                let changes = reloader.take_over(new.clone()).unwrap();
                assert_eq!((changes.taken(), changes.waiting()), (&[][..], waiting), "{to}");
            }
        }
        // Nothing of it was kept.
        assert!(reloader.take_over(config(FILE)).unwrap().is_empty());
    }

    #[test]
    fn a_server_that_stops_takes_nothing_over() {
        let reloader = reloader(FILE);
        reloader.0.shutdown.cancel();
        let moved = FILE.replace("a.example.org", "b.example.org");
        assert_eq!(reloader.take_over(config(&moved)), None);
        assert_eq!(reloader.advertised(), ["a.example.org:8445"]);
    }
}
