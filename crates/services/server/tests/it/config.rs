use signet_fault::Coded as _;
use signet_keys::{JwtAlgorithm, X509Algorithm};
use signet_server::{Config, Storage, Web};
use signet_surface_agents::NodeTemplate;
use std::path::Path;

const WHOLE: &str = r#"
trust_domain = "example.org"
name = "one"
data_dir = "/var/lib/signet"
seal = "file=/etc/signet/seal.key"
advertise = ["signet.example.org:8445"]

[listen]
https = "0.0.0.0:8443"
agents = "0.0.0.0:8445"
metrics = "127.0.0.1:8442"
api = "/run/signet/api.sock"
api_group = "signet"
api_minters_group = "ci"

[web]
url = "https://signet.example.org"
certificate = "/etc/signet/web.pem"
key = "/etc/signet/web.key"
spiffe_name = "spiffe.example.org"

[svid]
x509_alg = "ed25519"
jwt_alg = "ps256-3072"
jwt_issuer = "https://signet.example.org/workload"

[attest.x509pop]
ca = ["/etc/signet/machines.pem"]
path = "/signet/node/x509pop/{public_key}"

[metrics]
site = "lab"
"#;

fn mistakes(text: &str) -> String {
    let error = Config::parse(text, Path::new("server.toml")).unwrap_err();
    assert!(error.code().starts_with("SGSE"));
    error.to_string()
}

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(WHOLE, Path::new("server.toml")).unwrap();
    assert_eq!(config.x509, X509Algorithm::Ed25519);
    assert_eq!(config.jwt, JwtAlgorithm::Ps256With3072);
    assert_eq!(config.advertise, ["signet.example.org:8445"]);
    assert_eq!((config.agents.port(), config.https.port()), (8445, 8443));
    assert_eq!(config.web.url.unwrap().as_str(), "https://signet.example.org");
    let files = config.web.files.unwrap();
    assert_eq!(files.certificate, Path::new("/etc/signet/web.pem"));
    assert_eq!(files.key, Path::new("/etc/signet/web.key"));
    assert_eq!(config.web.spiffe_name.as_deref(), Some("spiffe.example.org"));
    assert_eq!(config.api_group.as_deref(), Some("signet"));
    assert_eq!(config.api_minters_group.as_deref(), Some("ci"));
    let issuer = "https://signet.example.org/workload";
    assert_eq!(config.jwt_issuer.as_deref(), Some(issuer));
    assert_eq!(config.site.as_deref(), Some("lab"));
    let machines = config.x509pop.unwrap();
    assert_eq!(machines.ca, [Path::new("/etc/signet/machines.pem")]);
    let path = NodeTemplate::parse("/signet/node/x509pop/{public_key}").unwrap();
    assert_eq!(machines.path, path);
    let Storage::Directory { dir, seal } = config.storage else {
        panic!("another storage");
    };
    assert_eq!(
        (dir.to_str(), seal.as_str()),
        (Some("/var/lib/signet"), "file=/etc/signet/seal.key")
    );
}

#[test]
fn little_is_needed() {
    let least = "trust_domain = \"a\"\ndata_dir = \"/d\"\nseal = \"file=/k\"\nadvertise = [\"a:1\"]";
    let config = Config::parse(least, Path::new("server.toml")).unwrap();
    assert_eq!(config.metrics, Some("127.0.0.1:8442".parse().unwrap()));
    assert_eq!(config.api_socket, Path::new(Config::API_SOCKET));
    assert_eq!(
        (config.x509, config.jwt),
        (X509Algorithm::P256, JwtAlgorithm::Es256)
    );
    assert_eq!(config.https, "0.0.0.0:8443".parse().unwrap());
    assert_eq!((config.jwt_issuer, config.web), (None, Web::default()));
    assert_eq!(config.x509pop, None, "no machines unless somebody says whose");
    let machines = format!("{least}\n[attest.x509pop]\nca = [\"/m.pem\"]");
    let machines = Config::parse(&machines, Path::new("server.toml"))
        .unwrap()
        .x509pop;
    assert_eq!(machines.unwrap().path, NodeTemplate::default());
}

#[test]
fn all_mistakes_are_told_at_once_with_their_lines() {
    let told = mistakes(
        r#"trust_domian = "example.org"
name = "a/b"
data_dir = "relative"
seal = "tpm"

[listen]
agents = "8445"
metrcis = "127.0.0.1:8442"
"#,
    );
    for part in [
        "line 1: unknown key `trust_domian`, did you mean `trust_domain`?",
        "`trust_domain`",
        "line 7",
        "line 8",
        "did you mean `metrics`?",
    ] {
        assert!(told.contains(part), "expected `{part}` in:\n{told}");
    }
}

#[test]
fn values_that_cannot_be_together_are_told() {
    for (change, part) in [
        (("\"one\"", "\"a/b\""), "one path segment"),
        (("/var/lib/signet", "var/lib"), "whole path"),
        (("file=/etc/signet/seal.key", "tpm"), "does not exist yet"),
        (("file=/etc/signet/seal.key", "file=seal.key"), "whole path"),
        (
            ("file=/etc/signet/seal.key", "file=/var/lib/signet/k"),
            "inside `data_dir`",
        ),
        (("127.0.0.1:8442", "127.0.0.1:8445"), "port of `listen.agents`"),
        (("[\"signet.example.org:8445\"]", "[]"), "is needed where"),
        (
            ("ed25519", "rsa2048"),
            "`rsa2048` is not p256, p384, ed25519, ml-dsa-44",
        ),
        (("ps256-3072", "eddsa"), "`eddsa` is not es256, es384, rs256"),
        (("0.0.0.0:8443", "0.0.0.0:8445"), "port of `listen.agents`"),
        (("0.0.0.0:8443", "0.0.0.0:8442"), "port of `listen.metrics`"),
        (
            ("https://signet.example.org\"", "http://signet.example.org\""),
            "does not begin with `https://`",
        ),
        (
            ("https://signet.example.org\"", "https://signet.example.org/x\""),
            "is more than",
        ),
        (("key = \"/etc/signet/web.key\"", ""), "needs `web.key`"),
        (
            ("certificate = \"/etc/signet/web.pem\"", ""),
            "needs `web.certificate`",
        ),
        (("url = \"https://signet.example.org\"", ""), "needs `web.url`"),
        (
            ("/etc/signet/web.pem", "web.pem"),
            "`web.certificate`: is not a whole path",
        ),
        (("spiffe.example.org", "*.example.org"), "is no DNS name"),
        (
            ("\"spiffe.example.org\"", "\"signet.example.org\""),
            "give it a name of its own",
        ),
        (
            ("[\"/etc/signet/machines.pem\"]", "[]"),
            "`attest.x509pop.ca`: names 1 to 16 files",
        ),
        (
            ("/etc/signet/machines.pem", "machines.pem"),
            "`attest.x509pop.ca`: has a path",
        ),
        (
            ("{public_key}", "all"),
            "`attest.x509pop.path`: holds neither `{fingerprint}` nor",
        ),
        (("ca = [\"/etc/signet/machines.pem\"]", ""), "`ca`"),
        (
            ("/run/signet/api.sock", &format!("/{}", "x".repeat(107))),
            "at most 107 bytes",
        ),
    ] {
        let told = mistakes(&WHOLE.replace(change.0, change.1));
        assert!(told.contains(part), "expected `{part}` in:\n{told}");
    }
}

/// A token whose issuer has no discovery is refused by everybody.
#[test]
fn an_issuer_of_tokens_that_is_not_served_is_a_mistake() {
    for (change, served) in [
        (
            ("example.org/workload", "example.org/other"),
            "https://signet.example.org/workload",
        ),
        (
            ("example.org/workload", "example.org/workload/"),
            "https://signet.example.org/workload",
        ),
        (
            ("https://signet.example.org\"", "https://id.example.org\""),
            "https://id.example.org/workload",
        ),
        (
            ("example.org/workload", "example.org/Workload"),
            "https://signet.example.org/workload",
        ),
    ] {
        let told = mistakes(&WHOLE.replace(change.0, change.1));
        assert!(
            told.contains("`svid.jwt_issuer`") && told.contains(served),
            "{told}"
        );
        assert!(
            told.contains("relying parties would refuse every token"),
            "{told}"
        );
    }
    const ISSUER: &str = "https://localhost:8443/workload";
    let least = "trust_domain = \"a\"\ndata_dir = \"/d\"\nseal = \"file=/k\"\nadvertise = [\"a:1\"]\n";
    let with = |port: u16, issuer: &str| {
        format!("{least}[listen]\nhttps = \"127.0.0.1:{port}\"\n[svid]\njwt_issuer = \"{issuer}\"\n")
    };
    let fits = with(8443, ISSUER);
    Config::parse(&fits, Path::new("server.toml")).unwrap();
    assert!(mistakes(&with(9443, ISSUER)).contains("https://localhost:9443/workload"));
    // A port that nobody knows beforehand cannot be named.
    assert!(mistakes(&with(0, ISSUER)).contains("a port not known yet"));
}

#[test]
fn the_seals_key_is_found_inside_data_dir_by_whatever_way_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("data/sub")).unwrap();
    std::fs::create_dir(root.join("keys")).unwrap();
    std::os::unix::fs::symlink(root.join("data"), root.join("alias")).unwrap();
    std::os::unix::fs::symlink(root.join("data/sub"), root.join("keys/deep")).unwrap();
    let with = |data: &str, key: &str| {
        WHOLE
            .replace("/var/lib/signet", root.join(data).to_str().unwrap())
            .replace("/etc/signet/seal.key", root.join(key).to_str().unwrap())
    };
    for (data, key) in [
        ("data", "data/k"),
        ("data", "keys/../data/k"),
        ("data", "alias/k"),
        ("alias", "data/k"),
        ("data", "keys/deep/k"),
        ("data", "keys/deep/../k"),
        ("data/../data", "data/sub/not/yet/k"),
        ("absent", "absent/k"),
        ("absent", "absent/../keys/../absent/k"),
    ] {
        let told = mistakes(&with(data, key));
        assert!(told.contains("inside `data_dir`"), "{data} {key}:\n{told}");
    }
    for (data, key) in [
        ("data", "keys/k"),
        ("data", "data/../keys/k"),
        ("data", "database/k"),
        ("data/sub", "alias/k"),
    ] {
        Config::parse(&with(data, key), Path::new("server.toml")).unwrap();
    }
}
