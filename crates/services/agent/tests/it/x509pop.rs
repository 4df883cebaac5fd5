//! Joining by a machine certificate.

use crate::site::Site;
use crate::upstream::fetched;
use crate::world::entry;
use signet_agent::{AgentError, AgentSettings, X509PopSettings};
use signet_check::machine::MachineTrust;
use signet_crypto::KeyKind;
use signet_fault::Coded as _;
use signet_testkit::forge::{Authority, Leaf, Recipe};
use signet_time::Clock as _;
use signet_x509::{Der, pem};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A site that takes the machines of an authority, and one of them.
struct Plant {
    site: Site,
    ca: Authority,
}

impl Plant {
    async fn new() -> Self {
        let site = Site::new(vec![entry(1, "/a")]).await;
        let ca = Authority::root_from(Recipe::ca("machines").uris(&[]), KeyKind::P256);
        let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).expect("authority");
        *site.control.machines.lock().expect("lock") = Some(trust);
        let plant = Self { site, ca };
        plant.write(
            "root.pem",
            core::slice::from_ref(&plant.site.control.server.domain.root.certificate),
        );
        plant.give(&plant.ca.leaf_from(Recipe::web("pump.example")));
        plant
    }

    fn at(&self, name: &str) -> PathBuf {
        self.site.folder.path().join(name)
    }

    fn write(&self, name: &str, certificates: &[Der]) {
        fs::write(self.at(name), pem::encode_certs(certificates)).expect("write");
    }

    /// Gives the machine this certificate.
    fn give(&self, leaf: &Leaf) {
        self.write("machine.pem", core::slice::from_ref(&leaf.certificate));
        let key = pem::encode_key(&leaf.key.to_pkcs8().expect("key"));
        fs::write(self.at("machine.key"), key.expose()).expect("write");
        fs::set_permissions(self.at("machine.key"), fs::Permissions::from_mode(0o640)).expect("chmod");
    }

    fn settings(&self) -> AgentSettings {
        AgentSettings {
            servers: vec![self.site.address.to_string().parse().expect("address")],
            state_dir: Some(self.site.state_dir()),
            x509pop: Some(X509PopSettings {
                trust_domain: "a.test".parse().expect("domain"),
                root: self.at("root.pem"),
                certificate: self.at("machine.pem"),
                key: self.at("machine.key"),
            }),
            ..self.site.settings()
        }
    }

    /// Why an agent that starts with `settings` ends.
    async fn ends(&self, settings: AgentSettings) -> AgentError {
        match self.site.agent(settings, None).await {
            Ok(handle) => handle.wait().await.expect_err("it cannot join"),
            Err(error) => error,
        }
    }

    fn attested(&self) -> usize {
        self.site.control.attested.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_machine_joins_without_a_join_string_and_keeps_its_identity() {
    let plant = Plant::new().await;
    let handle = plant.site.agent(plant.settings(), None).await.expect("start");
    handle.ready().await.expect("ready");
    assert_eq!(fetched(&handle).await.expect("fetch"), ["spiffe://a.test/a"]);
    drop(handle);
    // The next start needs neither certificate nor key.
    fs::remove_file(plant.at("machine.key")).expect("remove");
    let mut settings = plant.settings();
    settings.workload_api.path = plant.at("again.sock");
    let handle = plant.site.agent(settings, None).await.expect("start");
    handle.ready().await.expect("ready");
    assert_eq!(plant.attested(), 1);
}

#[tokio::test]
async fn an_evicted_machine_joins_anew_with_the_certificate_that_it_has_by_then() {
    let mut plant = Plant::new().await;
    let handle = plant.site.agent(plant.settings(), None).await.expect("start");
    handle.ready().await.expect("ready");
    let renewed = plant.ca.leaf_from(Recipe::web("pump.example").serial(77));
    plant.give(&renewed);
    plant.site.control.evicted.store(true, Ordering::SeqCst);
    plant.site.stop().await;
    plant.site.start().await;
    let mut applied = plant.site.control.applied.subscribe();
    applied.mark_unchanged();
    applied.changed().await.expect("it is back");
    assert_eq!(plant.attested(), 2);
}

#[tokio::test]
async fn a_refused_certificate_ends_the_agent_with_the_servers_reason() {
    let plant = Plant::new().await;
    let now = plant.site.control.clock.now();
    let hour = Duration::from_secs(3600);
    let old = Recipe::web("pump.example").valid(now - hour * 2, now - hour);
    plant.give(&plant.ca.leaf_from(old));
    let error = plant.ends(plant.settings()).await;
    assert_eq!(error.code(), "SGAG022");
    assert!(error.to_string().contains("[SGCK311]"), "{error}");
    assert!(error.remedy().contains("machine certificate"));
    assert_eq!(plant.attested(), 0);
}

#[tokio::test]
async fn a_server_with_another_root_learns_nothing() {
    let plant = Plant::new().await;
    plant.write("root.pem", &[Authority::root("a.test").certificate]);
    let error = plant.ends(plant.settings()).await;
    assert_eq!(error.code(), "SGAG023", "{error}");
    assert_eq!(plant.attested(), 0);
}

#[tokio::test]
async fn what_cannot_work_is_told_by_name() {
    let plant = Plant::new().await;
    let ends = |settings| plant.ends(settings);
    let no_servers = AgentSettings {
        servers: Vec::new(),
        ..plant.settings()
    };
    assert_eq!(ends(no_servers).await.code(), "SGAG042");

    let key = fs::read(plant.at("machine.key")).expect("read");
    let sec1 = String::from_utf8(key.clone())
        .expect("text")
        .replace("PRIVATE", "EC PRIVATE");
    fs::write(plant.at("machine.key"), sec1).expect("write");
    assert_eq!(ends(plant.settings()).await.code(), "SGAG041", "not PKCS #8");
    let other = plant.ca.leaf_from(Recipe::web("other.example"));
    fs::write(
        plant.at("machine.key"),
        pem::encode_key(&other.key.to_pkcs8().expect("key")).expose(),
    )
    .expect("write");
    let error = ends(plant.settings()).await;
    assert_eq!(error.code(), "SGAG041");
    assert!(error.to_string().contains("machine's certificate"), "{error}");
    fs::write(plant.at("machine.key"), &key).expect("write");
    fs::set_permissions(plant.at("machine.key"), fs::Permissions::from_mode(0o644)).expect("chmod");
    assert_eq!(
        ends(plant.settings()).await.code(),
        "SGAG040",
        "everybody may read it"
    );
    fs::set_permissions(plant.at("machine.key"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::write(plant.at("machine.pem"), "nothing").expect("write");
    assert_eq!(ends(plant.settings()).await.code(), "SGAG041");
    fs::remove_file(plant.at("root.pem")).expect("remove");
    assert_eq!(ends(plant.settings()).await.code(), "SGAG040");
    assert_eq!(plant.attested(), 0);
}
