//! `signet dev`, from the start to the end, as a user drives it.

use crate::program::{Done, Running, free_port, run, signet, text};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const PORTS: [&str; 8] = [
    "--http-port",
    "0",
    "--mtls-port",
    "0",
    "--agent-port",
    "0",
    "--console-port",
    "0",
];

/// A running `signet dev` on free ports, and what it said.
pub(crate) struct Dev {
    process: Running,
    pub(crate) ready: Value,
}

impl Dev {
    pub(crate) fn start(args: &[&str]) -> Self {
        let all = [
            ["dev", "-o", "json", "--metrics-port", "0"].as_slice(),
            &PORTS,
            args,
        ]
        .concat();
        let mut process = Running::start(&all);
        let line = process.line();
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: `{line}`"));
        Self { process, ready }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("no `{name}` in {}", self.ready))
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        signet()
            .args(args)
            .env("SIGNET_API", self.text("api"))
            .env("SPIFFE_ENDPOINT_SOCKET", self.text("workload_api"))
            .output()
            .unwrap()
            .into()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, ["-o", "json"].as_slice()].concat()).json()
    }

    pub(crate) fn user_id(&self) -> String {
        let name = std::process::Command::new("id").arg("-un").output().unwrap();
        let name = String::from_utf8(name.stdout).unwrap();
        format!("spiffe://{}/dev/{}", self.text("trust_domain"), name.trim())
    }
}

pub(crate) fn uid() -> String {
    let uid = std::process::Command::new("id").arg("-u").output().unwrap();
    String::from_utf8(uid.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_ready_object_has_every_field_and_the_process_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ready.json");
    let mut dev = Dev::start(&["--no-demo", "--ready-file", text(&file)]);
    let fields = [
        "trust_domain",
        "issuer",
        "https",
        "https_mtls",
        "console",
        "metrics",
        "api",
        "workload_api",
        "local_api",
        "root_ca",
        "dir",
        "pid",
        "ready_ms",
    ];
    for field in fields {
        assert!(dev.ready.get(field).is_some(), "{field}: {}", dev.ready);
    }
    for absent in ["https_mtls", "console"] {
        assert!(dev.ready[absent].is_null(), "{absent}");
    }
    assert_eq!(dev.text("trust_domain"), "dev.test");
    let https = dev.text("https").to_owned();
    assert!(https.starts_with("https://localhost:"), "{https}");
    assert_eq!(dev.text("issuer"), format!("{https}/workload"));
    assert!(dev.text("api").starts_with("unix:///") && dev.text("workload_api").starts_with("unix:///"));
    assert_eq!(
        dev.text("local_api"),
        format!("unix://{}/local.sock", dev.text("dir"))
    );
    assert!(dev.ready.get("insecure_seal").is_none());
    assert_eq!(
        serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).unwrap(),
        dev.ready
    );
    assert!(
        fs::read_to_string(dev.text("root_ca"))
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    let home = dev.text("dir").to_owned();
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    let health = run(&["health", "-o", "json", "--url", dev.text("metrics")]);
    assert_eq!(health.json()[0]["status"], "ready");

    assert_eq!(dev.process.end(Signal::TERM).code(), Some(0));
    assert!(!Path::new(&home).exists(), "the private directory is gone");
    assert!(!file.exists(), "what says where to find it is gone");
}

#[test]
fn a_terminal_that_is_closed_leaves_nothing_behind() {
    let mut dev = Dev::start(&["--no-demo"]);
    let home = dev.text("dir").to_owned();
    dev.process.signal(Signal::HUP);
    // Tests run under `nohup` hand that on, and what is started so is to go on.
    if is_hangup_ignored() {
        assert!(dev.run(&["svid", "x509"]).out.contains("spiffe://"));
        dev.process.signal(Signal::TERM);
    }
    assert_eq!(dev.process.ended().code(), Some(0));
    assert!(!Path::new(&home).exists());
}

/// Whether this process, and so each that it starts, was told to ignore SIGHUP: the first bit of the mask.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 1 == 1
}

#[test]
fn ctrl_c_ends_it_as_well() {
    let mut dev = Dev::start(&["--no-demo"]);
    assert_eq!(dev.process.end(Signal::INT).code(), Some(0));
}

#[test]
fn the_user_gets_an_identity_a_token_and_files() {
    let dev = Dev::start(&["--no-demo", "--trust-domain", "laptop.test"]);
    let id = dev.user_id();
    assert_eq!(dev.text("trust_domain"), "laptop.test");
    let svids = dev.json(&["svid", "x509"]);
    assert_eq!(svids["svids"][0]["spiffe_id"], id.as_str());
    assert!(
        svids.to_string().find("PRIVATE KEY").is_none(),
        "keys are written by --write alone"
    );

    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let written = dev.json(&["svid", "x509", "--write", text(&out)]);
    assert_eq!(written["svids"][0]["written"]["key"], text(&out.join("svid.key")));
    let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("svid.key"), mode("svid.pem"), mode("bundle.pem")),
        (0o600, 0o644, 0o644)
    );
    let bundle = fs::read_to_string(out.join("bundle.pem")).unwrap();
    assert!(
        fs::read_to_string(dev.text("root_ca"))
            .unwrap()
            .contains(bundle.trim())
    );
    assert!(
        fs::read_to_string(out.join("svid.key"))
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );

    let token = dev.run(&["svid", "jwt", "--audience", "a", "--audience", "b"]);
    assert_eq!((token.code, token.out.lines().count()), (Some(0), 1));
    let token = token.out.trim();
    let valid = dev.json(&["svid", "validate-jwt", "--audience", "b", token]);
    assert_eq!(
        (valid["spiffe_id"].as_str(), &valid["claims"]["aud"]),
        (Some(id.as_str()), &serde_json::json!(["a", "b"]))
    );
    dev.run(&["svid", "validate-jwt", "--audience", "c", token])
        .refused("SGWL009");
    dev.run(&[
        "svid",
        "jwt",
        "--audience",
        "a",
        "--spiffe-id",
        "spiffe://laptop.test/other",
    ])
    .refused("SGWL007");

    // A token that is bound to a key: with the proof an identity, without it nothing.
    let audience = "https://orders.laptop.test";
    let shown = dev.json(&["svid", "wit", "--audience", audience]);
    let shown = &shown["svids"][0];
    assert_eq!(shown["spiffe_id"], id.as_str());
    assert!(shown.get("wit_svid_key").is_none() && shown.get("written").is_none());
    let (wit, proof) = (
        shown["wit_svid"].as_str().unwrap(),
        shown["proof"].as_str().unwrap(),
    );
    let valid = dev.json(&["svid", "validate-wit", "--audience", audience, wit, proof]);
    assert_eq!(valid["spiffe_id"], id.as_str());
    assert!(valid["claims"].get("iss").is_none() && valid["claims"].get("aud").is_none());
    let refused = |audience: &str, wit: &str, proof: &str| {
        dev.run(&["svid", "validate-wit", "--audience", audience, wit, proof])
    };
    refused("https://other", wit, proof).refused("SGCK209");
    refused(audience, wit, wit).refused("SGCK209");
    dev.run(&["svid", "validate-jwt", "--audience", audience, wit])
        .refused("SGWL009");
    let headers = dev.run(&["svid", "wit", "--audience", audience]).out;
    let names: Vec<_> = headers
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(names, ["workload-identity-token", "workload-proof-token"]);
    assert_eq!(dev.run(&["svid", "wit"]).out.trim(), wit);
    dev.run(&["svid", "wit", "--write", text(&out)]);
    assert_eq!((mode("svid.jwk"), mode("svid.wit")), (0o600, 0o644));
    assert_eq!(fs::read_to_string(out.join("svid.wit")).unwrap(), wit);
    dev.run(&["svid", "wit", "--spiffe-id", "spiffe://laptop.test/other"])
        .refused("SGWL007");

    let bundles = dev.json(&["svid", "bundle"]);
    assert_eq!(
        bundles["bundles"][0]["wit_jwks"]["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(bundles["bundles"][0]["trust_domain"], "laptop.test");
    assert!(
        !bundles["bundles"][0]["jwks"]["keys"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let pem = dev.run(&["svid", "bundle"]).out;
    assert!(
        pem.starts_with("# laptop.test\n-----BEGIN CERTIFICATE-----"),
        "{pem}"
    );
}

#[test]
fn entries_are_created_listed_changed_and_deleted() {
    let dev = Dev::start(&["--no-demo"]);
    let selector = format!("unix:uid:{}", uid());
    let made = dev.json(&[
        "entry",
        "create",
        "--spiffe-id",
        "spiffe://dev.test/shop",
        "--selector",
        &selector,
        "--x509-ttl",
        "30m",
        "--hint",
        "shop",
        "--dns",
        "shop.local",
        "--expires",
        "30d",
    ]);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        (made["x509_ttl"].as_str(), made["hint"].as_str()),
        (Some("30m"), Some("shop"))
    );
    assert!(made["expires_at"].is_string() && made["parent_id"].is_null());
    assert_eq!(dev.json(&["entry", "show", id]), made);
    let listed = dev.json(&["entry", "list", "--spiffe-id", "spiffe://dev.test/shop"]);
    assert_eq!(listed, serde_json::json!([made]));
    assert_eq!(dev.json(&["entry", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(
        dev.json(&["entry", "list", "--owner", "nobody"]),
        serde_json::json!([])
    );

    let changed = dev.json(&[
        "entry",
        "update",
        id,
        "--hint",
        "",
        "--expires",
        "never",
        "--owner",
        "team-a",
    ]);
    assert!(changed["hint"].is_null() && changed["expires_at"].is_null());
    assert_eq!(
        (changed["owner"].as_str(), changed["x509_ttl"].as_str()),
        (Some("team-a"), Some("30m"))
    );
    assert_eq!(
        dev.json(&["entry", "list", "--owner", "team-a"])
            .as_array()
            .unwrap()
            .len(),
        1
    );

    assert_eq!(
        dev.json(&["entry", "delete", id]),
        serde_json::json!({"deleted": id})
    );
    for args in [["entry", "show", id], ["entry", "delete", id]] {
        let done = dev.run(&args);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(
            done.err.starts_with("error[SG") && done.err.contains(id),
            "{done:?}"
        );
    }
    let foreign = [
        "entry",
        "create",
        "--spiffe-id",
        "spiffe://other.test/a",
        "--selector",
        &selector,
    ];
    let done = dev.run(&foreign);
    assert_eq!(
        (done.code, done.err.trim_end().lines().count()),
        (Some(1), 1),
        "{done:?}"
    );
    assert!(
        done.err.contains("other.test") || done.err.contains("trust domain"),
        "{done:?}"
    );
}

#[test]
fn selectors_that_can_never_match_are_refused_and_unknown_kinds_warned_of() {
    let dev = Dev::start(&["--no-demo"]);
    let create = |selector: &str| {
        dev.run(&[
            "entry",
            "create",
            "--spiffe-id",
            "spiffe://dev.test/a",
            "--selector",
            selector,
        ])
    };
    for selector in ["unix:uid", "unix:uuid:7", "unix:path:bin/x", "unix:sha256:ABC"] {
        let done = create(selector);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(
            done.err.contains(selector) && done.err.contains("can never match"),
            "{done:?}"
        );
    }
    let done = create("k8s:ns:billing");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.err.starts_with("warning: ") && done.err.contains("`k8s`"),
        "{done:?}"
    );
    assert_eq!(create("unix:uid:7").err, "");
}

#[test]
fn a_file_of_entries_is_created_whole_or_not_at_all() {
    let dev = Dev::start(&["--no-demo"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("entries.jsonl");
    let line = |n: usize, domain: &str| {
        format!("{{\"spiffe_id\": \"spiffe://{domain}/bulk/{n}\", \"selectors\": [\"unix:uid:{n}\"]}}\n")
    };
    // Well-formed lines that the server refuses: it names them too.
    let bad: String = (1..=5)
        .map(|n| line(n, if n % 2 == 0 { "other.test" } else { "dev.test" }))
        .collect();
    fs::write(&file, bad).unwrap();
    let done = dev.run(&["entry", "create", "--file", text(&file)]);
    assert_eq!(done.code, Some(1), "{done:?}");
    for part in ["line 2", "line 4"] {
        assert!(done.err.contains(part), "{part}: {done:?}");
    }
    assert_eq!(
        dev.json(&["entry", "list"]).as_array().unwrap().len(),
        1,
        "nothing was applied"
    );
    fs::write(&file, (1..=250).map(|n| line(n, "dev.test")).collect::<String>()).unwrap();
    let made = dev.json(&["entry", "create", "--file", text(&file)]);
    assert_eq!(made.as_array().unwrap().len(), 250);
    assert_eq!(dev.json(&["entry", "list"]).as_array().unwrap().len(), 251);
    let text_form = dev.run(&["entry", "list"]).out;
    assert_eq!(text_form.lines().count(), 252);
}

#[test]
fn nodes_are_listed_and_join_strings_made() {
    let dev = Dev::start(&["--no-demo"]);
    let nodes = dev.json(&["node", "list"]);
    let id = nodes[0]["id"].as_str().unwrap();
    assert!(id.starts_with("spiffe://dev.test/signet/node/"), "{id}");
    assert_eq!(dev.json(&["node", "show", id]), nodes[0]);
    let made = dev.json(&[
        "node",
        "join-token",
        "create",
        "--ttl",
        "1m",
        "--spiffe-id",
        "spiffe://dev.test/node/b",
    ]);
    assert!(made["join_string"].as_str().unwrap().starts_with("sgjoin1."));
    assert_eq!(made["spiffe_id"], "spiffe://dev.test/node/b");
    let plain = dev.run(&["node", "join-token", "create"]);
    assert!(
        plain.out.starts_with("sgjoin1.") && plain.out.lines().count() == 1,
        "{plain:?}"
    );
    let done = dev.run(&["node", "show", "spiffe://dev.test/node/none"]);
    assert_eq!(done.code, Some(1));
    let banned = dev.json(&["node", "ban", id, "--reason", "disk stolen"]);
    assert_eq!(banned["outcome"], "banned");
    let shown = dev.json(&["node", "show", id]);
    assert_eq!(
        (&shown["banned"], &shown["ban_reason"]),
        (&json!(true), &json!("disk stolen"))
    );
    // Banned once, it stays so for the reason that it was; without one there is nothing to add.
    assert_eq!(dev.json(&["node", "ban", id])["outcome"], "banned");
    let told = dev.run(&["node", "show", id]).out;
    let because = told.lines().find(|line| line.starts_with("because "));
    assert!(
        because.is_some_and(|line| line.ends_with(" disk stolen")),
        "{told}"
    );
}

#[test]
fn the_demo_calls_and_renews_and_the_users_own_identity_stays_the_default() {
    let all = [["dev", "--metrics-port", "0"].as_slice(), &PORTS].concat();
    let mut dev = Running::start(&all);
    let mut seen = String::new();
    let wanted = [
        "ready in",
        "frontend called backend",
        "frontend renewed",
        "backend renewed",
    ];
    while !wanted.iter().all(|part| seen.contains(part)) {
        let line = dev.line();
        assert!(!line.is_empty(), "ended after: {seen}");
        seen.push_str(&line);
    }
    assert!(
        seen.contains("backend said: hello spiffe://dev.test/demo/frontend"),
        "{seen}"
    );
    assert!(
        seen.contains(" 0 failed") && !seen.contains(" 1 failed"),
        "{seen}"
    );
    let export = seen
        .lines()
        .find(|line| line.trim().starts_with("export "))
        .unwrap();
    let socket = export
        .split("SPIFFE_ENDPOINT_SOCKET=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let svids = run(&["svid", "x509", "-o", "json", "--socket", socket]).json();
    let first = svids["svids"][0]["spiffe_id"].as_str().unwrap();
    assert!(first.starts_with("spiffe://dev.test/dev/"), "{first}");
    assert_eq!(dev.end(Signal::TERM).code(), Some(0));
}

#[test]
fn with_a_directory_the_state_and_the_roots_stay() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let mut first = Dev::start(&["--no-demo", "--dir", text(&home)]);
    assert_eq!(first.ready["insecure_seal"], true);
    let roots = fs::read(first.text("root_ca")).unwrap();
    first.json(&[
        "entry",
        "create",
        "--spiffe-id",
        "spiffe://dev.test/kept",
        "--selector",
        "unix:uid:4000000123",
    ]);
    assert_eq!(first.process.end(Signal::TERM).code(), Some(0));

    // Two at once would write to one state.
    let second = Dev::start(&["--no-demo", "--dir", text(&home)]);
    assert_eq!(fs::read(second.text("root_ca")).unwrap(), roots);
    assert_eq!(
        second.json(&["entry", "list"]).as_array().unwrap().len(),
        2,
        "the user's and the kept one"
    );
    let rival = run(&[
        "dev",
        "--no-demo",
        "--http-port",
        "0",
        "--agent-port",
        "0",
        "--metrics-port",
        "0",
        "--dir",
        text(&home),
    ]);
    assert_eq!((rival.code, rival.out.as_str()), (Some(1), ""), "{rival:?}");
    assert!(rival.err.starts_with("error[SG"), "{rival:?}");
    drop(second);

    // A server for others does not run on a seal whose key lies beside the data.
    let config = dir.path().join("server.toml");
    let key = dir.path().join("k");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = format!(
        "trust_domain = \"dev.test\"\ndata_dir = \"{}\"\nseal = \"file={}\"\nadvertise = [\"127.0.0.1:{}\"]\n\
         [listen]\nhttps = \"127.0.0.1:0\"\nagents = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\napi = \"{}\"\n",
        text(&home.join("server")),
        text(&key),
        free_port(),
        text(&dir.path().join("api.sock")),
    );
    fs::write(&config, settings).unwrap();
    let done: Done = signet()
        .args(["server", "run", "--config", text(&config)])
        .env("SIGNET_LOG", "off")
        .output()
        .unwrap()
        .into();
    done.refused("SGSV011");
}
