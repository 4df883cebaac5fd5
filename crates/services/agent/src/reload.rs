//! New settings for an agent that runs.

use crate::AgentSettings;
use crate::sds::SdsSettings;
use crate::settings::{
    AttestorSettings, LimitSettings, LocalApiSettings, SocketSettings, SvidKey, SvidSettings, UnixSettings,
};
use arc_swap::ArcSwap;
use signet_net::CancellationToken;
use signet_settings::{ByteSize, Changes, HostPort, shown_list};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The settings that may change while an agent runs, as they are now. Clones share them.
#[derive(Clone)]
pub struct Live(Arc<ArcSwap<Now>>);

/// In the form in which they are used.
struct Now {
    servers: Arc<Vec<String>>,
    svid_key: SvidKey,
    foreign_claims: Arc<HashSet<String>>,
    sha256_bytes_max: ByteSize,
    sds: Arc<SdsSettings>,
    limits: LimitSettings,
}

impl Now {
    fn of(settings: &AgentSettings) -> Self {
        Self {
            servers: Arc::new(settings.servers.iter().map(HostPort::to_string).collect()),
            svid_key: settings.svid.key,
            foreign_claims: Arc::new(settings.allowed_foreign_jwt_claims.iter().cloned().collect()),
            sha256_bytes_max: settings.attestors.unix.sha256_bytes_max,
            sds: Arc::new(settings.sds.clone()),
            limits: settings.limits,
        }
    }
}

impl Live {
    /// As `settings` say.
    #[must_use]
    pub fn new(settings: &AgentSettings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Now::of(settings))))
    }

    /// Servers to call next, in this order of preference; empty: those that came with the identity or join string.
    pub(crate) fn servers(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.0.load().servers)
    }

    /// The kind of the next key of an X.509-SVID.
    pub(crate) fn svid_key(&self) -> SvidKey {
        self.0.load().svid_key
    }

    /// Claims of foreign domains' tokens that are passed on besides the registered ones.
    pub(crate) fn foreign_claims(&self) -> Arc<HashSet<String>> {
        Arc::clone(&self.0.load().foreign_claims)
    }

    /// What one process may have.
    pub(crate) fn limits(&self) -> LimitSettings {
        self.0.load().limits
    }

    /// What JWT-SVIDs in memory may take, in bytes.
    pub(crate) fn jwt_cache_bytes_max(&self) -> u64 {
        self.limits().jwt_cache_bytes_max.0
    }

    /// The largest executable that is hashed, in bytes; 0: none is.
    pub(crate) fn sha256_bytes_max(&self) -> u64 {
        self.0.load().sha256_bytes_max.0
    }

    /// The names of secrets that are no SPIFFE IDs, and who validates.
    pub(crate) fn sds(&self) -> Arc<SdsSettings> {
        Arc::clone(&self.0.load().sds)
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new(&AgentSettings::default())
    }
}

/// Gives a running agent new settings. Clones share the agent.
#[derive(Clone)]
pub struct Reloader(Arc<Shared>);

struct Shared {
    /// What runs: that of the start with what was taken over since. Held while new settings are taken over, so that
    /// two calls do not mix.
    running: Mutex<AgentSettings>,
    live: Live,
    shutdown: CancellationToken,
}

impl Reloader {
    /// For an agent that runs with `settings`, of which it looks at `live` again and again, until `shutdown`.
    pub(crate) fn new(settings: AgentSettings, live: Live, shutdown: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            running: Mutex::new(settings),
            live,
            shutdown,
        }))
    }

    /// Takes over what can be changed in an agent that runs, and says what has to wait.
    ///
    /// `servers` count from the next connection on, `svid.key` from the next key, `allowed_foreign_jwt_claims` from
    /// the next token, `attestors.unix.sha256_bytes_max` from the next caller that connects, `sds` from the next stream
    /// of secrets, `limits` from the next call. What was made or found
    /// out before stays as it is. `None` while the agent stops: nothing is taken over any more.
    #[must_use]
    pub fn take_over(&self, new: AgentSettings) -> Option<Changes> {
        let shared = &self.0;
        // INVARIANT: what is done under this lock does not panic half way.
        let mut running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.shutdown.is_cancelled() {
            return None;
        }
        let changes = adopt(&mut running, new);
        shared.live.0.store(Arc::new(Now::of(&running)));
        Some(changes)
    }
}

/// Brings `running` up to date with `new` where that can be done.
fn adopt(running: &mut AgentSettings, new: AgentSettings) -> Changes {
    let mut changes = Changes::default();
    // Taken apart, so that a key that is added has to be thought of here.
    let AgentSettings {
        servers,
        join_file,
        x509pop,
        bootstrap_anchor,
        state_dir,
        workload_api: SocketSettings { path },
        local_api: LocalApiSettings { path: local_path },
        metrics,
        site,
        attestors: AttestorSettings {
            unix: UnixSettings { sha256_bytes_max },
        },
        svid: SvidSettings { key },
        sds,
        limits,
        allowed_foreign_jwt_claims,
    } = new;
    changes.take("servers", &mut running.servers, servers, |list| shown_list(list));
    changes.keep("join_file", &running.join_file, &join_file);
    changes.keep("x509pop", &running.x509pop, &x509pop);
    changes.keep("bootstrap_anchor", &running.bootstrap_anchor, &bootstrap_anchor);
    changes.keep("state_dir", &running.state_dir, &state_dir);
    changes.keep("workload_api.path", &running.workload_api.path, &path);
    changes.keep("local_api.path", &running.local_api.path, &local_path);
    changes.keep("metrics", &running.metrics, &metrics);
    changes.keep("site", &running.site, &site);
    let unix = &mut running.attestors.unix;
    changes.take(
        "attestors.unix.sha256_bytes_max",
        &mut unix.sha256_bytes_max,
        sha256_bytes_max,
        |size| size.0.to_string(),
    );
    changes.take("svid.key", &mut running.svid.key, key, |key| {
        key.kind().as_str().to_owned()
    });
    take_limits(&mut changes, &mut running.limits, limits);
    changes.take(
        "allowed_foreign_jwt_claims",
        &mut running.allowed_foreign_jwt_claims,
        allowed_foreign_jwt_claims,
        |list| shown_list(list),
    );
    adopt_sds(&mut running.sds, sds, &mut changes);
    changes
}

fn adopt_sds(running: &mut SdsSettings, new: SdsSettings, changes: &mut Changes) {
    let SdsSettings {
        default_svid_name,
        default_bundle_name,
        default_all_bundles_name,
        disable_spiffe_cert_validation,
    } = new;
    for (key, old, new) in [
        (
            "sds.default_svid_name",
            &mut running.default_svid_name,
            default_svid_name,
        ),
        (
            "sds.default_bundle_name",
            &mut running.default_bundle_name,
            default_bundle_name,
        ),
        (
            "sds.default_all_bundles_name",
            &mut running.default_all_bundles_name,
            default_all_bundles_name,
        ),
    ] {
        changes.take(key, old, new, String::clone);
    }
    changes.take(
        "sds.disable_spiffe_cert_validation",
        &mut running.disable_spiffe_cert_validation,
        disable_spiffe_cert_validation,
        bool::to_string,
    );
}

fn take_limits(changes: &mut Changes, running: &mut LimitSettings, new: LimitSettings) {
    let LimitSettings {
        process_streams_max,
        process_calls_per_s_max,
        process_requests_max,
        process_signing_max,
        jwt_cache_bytes_max,
    } = new;
    for (key, running, new) in [
        (
            "limits.process_streams_max",
            &mut running.process_streams_max,
            process_streams_max,
        ),
        (
            "limits.process_calls_per_s_max",
            &mut running.process_calls_per_s_max,
            process_calls_per_s_max,
        ),
        (
            "limits.process_requests_max",
            &mut running.process_requests_max,
            process_requests_max,
        ),
        (
            "limits.process_signing_max",
            &mut running.process_signing_max,
            process_signing_max,
        ),
    ] {
        changes.take(key, running, new, |max| max.to_string());
    }
    changes.take(
        "limits.jwt_cache_bytes_max",
        &mut running.jwt_cache_bytes_max,
        jwt_cache_bytes_max,
        |max| max.0.to_string(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
servers = ["a.example.org:8445"]
join_file = "/etc/signet/join"
state_dir = "/var/lib/signet/agent"
metrics = "127.0.0.1:8452"
site = "lab"
allowed_foreign_jwt_claims = ["role"]
[workload_api]
path = "/run/signet/agent.sock"
[local_api]
path = "/run/signet/local.sock"
[attestors.unix]
sha256_bytes_max = "1MiB"
[svid]
key = "p256"
[sds]
default_svid_name = "mine"
disable_spiffe_cert_validation = false
[limits]
process_streams_max = 1001
process_calls_per_s_max = 1002
process_signing_max = 1003
jwt_cache_bytes_max = 1004
"#;

    fn settings(text: &str) -> AgentSettings {
        signet_settings::parse(text, "agent.toml").expect("settings")
    }

    fn reloader() -> Reloader {
        let settings = settings(FILE);
        let live = Live::new(&settings);
        Reloader::new(settings, live, CancellationToken::new())
    }

    #[test]
    fn what_is_looked_at_again_is_taken_over_at_once() {
        let reloader = reloader();
        let live = reloader.0.live.clone();
        for (from, to, key, old, new) in [
            (
                "[\"a.example.org:8445\"]",
                "[\"b.example.org:8445\", \"[::1]:1\"]",
                "servers",
                "[\"a.example.org:8445\"]",
                "[\"b.example.org:8445\", \"[::1]:1\"]",
            ),
            ("\"p256\"", "\"ml-dsa-65\"", "svid.key", "p256", "ml-dsa-65"),
            (
                "[\"role\"]",
                "[]",
                "allowed_foreign_jwt_claims",
                "[\"role\"]",
                "[]",
            ),
            (
                "1MiB",
                "2MiB",
                "attestors.unix.sha256_bytes_max",
                "1048576",
                "2097152",
            ),
            ("\"mine\"", "\"other\"", "sds.default_svid_name", "mine", "other"),
            (
                "validation = false",
                "validation = true",
                "sds.disable_spiffe_cert_validation",
                "false",
                "true",
            ),
            ("1001", "11", "limits.process_streams_max", "1001", "11"),
            ("1002", "12", "limits.process_calls_per_s_max", "1002", "12"),
            ("1003", "13", "limits.process_signing_max", "1003", "13"),
            ("1004", "\"1KiB\"", "limits.jwt_cache_bytes_max", "1004", "1024"),
        ] {
            let changes = reloader
                .take_over(settings(&FILE.replace(from, to)))
                .expect("running");
            let [taken] = changes.taken() else {
                panic!("{changes:?}")
            };
            assert_eq!(
                (taken.key, taken.old.as_str(), taken.new.as_str()),
                (key, old, new)
            );
            assert_eq!(changes.waiting(), [""; 0]);
            let seen = match key {
                "servers" => shown_list(&*live.servers()),
                "svid.key" => live.svid_key().kind().as_str().to_owned(),
                "allowed_foreign_jwt_claims" => shown_list(&*live.foreign_claims()),
                "sds.default_svid_name" => live.sds().default_svid_name.clone(),
                "sds.disable_spiffe_cert_validation" => live.sds().disable_spiffe_cert_validation.to_string(),
                "limits.process_streams_max" => live.limits().process_streams_max.to_string(),
                "limits.process_calls_per_s_max" => live.limits().process_calls_per_s_max.to_string(),
                "limits.process_signing_max" => live.limits().process_signing_max.to_string(),
                "limits.jwt_cache_bytes_max" => live.jwt_cache_bytes_max().to_string(),
                _ => live.sha256_bytes_max().to_string(),
            };
            assert_eq!(seen, new, "{key}");
            // And back again.
            let back = reloader.take_over(settings(FILE)).expect("running");
            assert_eq!((back.taken().len(), back.waiting().len()), (1, 0), "{key}");
        }
    }

    #[test]
    fn every_other_key_waits_for_the_next_start_and_is_named_until_then() {
        let reloader = reloader();
        for (from, to, key) in [
            ("join_file = \"/etc/signet/join\"", "", "join_file"),
            ("/var/lib", "/srv", "state_dir"),
            ("8452", "9452", "metrics"),
            ("\"lab\"", "\"field\"", "site"),
            ("/run/signet/agent.sock", "/run/agent.sock", "workload_api.path"),
            ("/run/signet/local.sock", "/run/local.sock", "local_api.path"),
        ] {
            assert!(FILE.contains(from), "{from}");
            for _ in 0..2 {
                let new = settings(&FILE.replace(from, to));
                let changes = reloader.take_over(new).expect("running");
                assert_eq!((changes.taken(), changes.waiting()), (&[][..], &[key][..]));
            }
        }
        assert!(reloader.take_over(settings(FILE)).expect("running").is_empty());
    }

    #[test]
    fn an_agent_that_stops_takes_nothing_over() {
        let reloader = reloader();
        reloader.0.shutdown.cancel();
        let new = settings(&FILE.replace("a.example.org", "b.example.org"));
        assert_eq!(reloader.take_over(new), None);
        assert_eq!(*reloader.0.live.servers(), ["a.example.org:8445"]);
    }
}
