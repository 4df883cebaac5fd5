//! Credentials on an administrator's word.

use crate::entries::server;
use crate::program::{Done, run, text};
use serde_json::Value;
use signet_crypto::LocalKey;
use signet_time::UnixTime;
use signet_x509::{Certificate, pem};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

const ID: &str = "spiffe://dev.test/ci/smoke";

fn mint(api: &str, kind: &str, flags: &[&str]) -> Done {
    let args = [
        "mint",
        kind,
        "--api",
        api,
        "--spiffe-id",
        ID,
        "--reason",
        "smoke test",
    ];
    run(&[args.as_slice(), flags].concat())
}

/// The leaf and the key, which must belong together.
#[track_caller]
fn fits(chain: &str, key: &str) -> Certificate {
    let chain = pem::parse_certs(chain.as_bytes()).unwrap();
    let leaf = Certificate::parse(&chain[0]).unwrap();
    let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = LocalKey::from_pkcs8(&decoded(&body)).unwrap();
    assert_eq!(leaf.public_key().unwrap(), *key.public_key());
    leaf
}

/// What `text` is in base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other}"),
    };
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        (bits, count) = (bits << 6 | u32::from(value(byte)), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is checked is checked by the binary, by the system's clock"
)]
fn now() -> UnixTime {
    let now = SystemTime::now();
    UnixTime::EPOCH + now.duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_certificate_is_written_with_its_key_and_nothing_is_replaced_unasked() {
    let (_dev, api) = server();
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("svid");
    let write = ["--write", text(&place), "--ttl", "10m", "--dns", "ci.internal"];
    let done = mint(&api, "x509", &[write.as_slice(), &["-o", "json"]].concat()).json();
    assert_eq!(done["spiffe_id"], ID);
    assert_eq!(
        done.get("x509_svid_key"),
        None,
        "the key is in its file and nowhere else"
    );
    let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
    let leaf = fits(&read("svid.pem"), &read("svid.key"));
    assert_eq!(
        leaf.serial_hex().trim_start_matches('0'),
        done["serial"].as_str().unwrap().trim_start_matches('0')
    );
    assert_eq!(
        (mode(&place.join("svid.key")), mode(&place.join("svid.pem"))),
        (0o600, 0o644)
    );
    assert!(pem::parse_certs(read("bundle.pem").as_bytes()).is_ok());

    let before = read("svid.key");
    let done = mint(&api, "x509", &write);
    let told = done.refused("SGCL002");
    assert!(told.contains("svid.pem") && told.contains("--force"), "{told}");
    assert_eq!(read("svid.key"), before);
    let done = mint(&api, "x509", &[write.as_slice(), &["--force"]].concat());
    assert!(done.code == Some(0) && done.out.contains("svid.key"), "{done:?}");
    assert!(!done.out.contains("PRIVATE KEY"), "{done:?}");
    assert_ne!(read("svid.key"), before);
    fits(&read("svid.pem"), &read("svid.key"));

    // Without a directory, both go to standard output.
    let done = mint(&api, "x509", &[]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let (key, chain) = done
        .out
        .split_at(done.out.find("-----BEGIN CERTIFICATE").unwrap());
    fits(chain, key);
    let json = mint(&api, "x509", &["-o", "json"]).json();
    fits(
        json["x509_svid"].as_str().unwrap(),
        json["x509_svid_key"].as_str().unwrap(),
    );
}

#[test]
fn a_token_is_taken_by_those_who_check_tokens() {
    use crate::program::Running;
    let ports = ["--http-port", "0", "--agent-port", "0", "--metrics-port", "0"];
    let mut dev = Running::start(&[["dev", "-o", "json", "--no-demo"].as_slice(), &ports].concat());
    let ready: Value = serde_json::from_str(&dev.line()).unwrap();
    let (api, socket) = (
        ready["api"].as_str().unwrap(),
        ready["workload_api"].as_str().unwrap(),
    );
    let done = mint(api, "jwt", &["--audience", "billing", "--audience", "orders"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let check = |audience: &str| {
        run(&[
            "svid",
            "validate-jwt",
            "--socket",
            socket,
            "--audience",
            audience,
            done.out.trim(),
        ])
    };
    assert!(check("orders").out.contains(ID), "{:?}", check("orders"));
    assert_eq!(check("other").code, Some(1));
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("svid");
    let done = mint(api, "jwt", &["--audience", "billing", "--write", text(&place)]);
    assert!(done.code == Some(0) && !done.out.contains("eyJ"), "{done:?}");
    assert_eq!(mode(&place.join("svid.jwt")), 0o600);
    assert_eq!(
        fs::read_to_string(place.join("svid.jwt"))
            .unwrap()
            .split('.')
            .count(),
        3
    );
    mint(api, "jwt", &["--audience", "billing", "--write", text(&place)]).refused("SGCL002");
}

#[test]
fn spiffe_75_a_minted_wit_svid_is_proven_by_the_key_made_here_or_that_of_a_request_alone() {
    use crate::program::Running;
    use signet_crypto::KeyKind;
    use signet_jose::PrivateJwk;
    use signet_x509::make_csr;
    let ports = ["--http-port", "0", "--agent-port", "0", "--metrics-port", "0"];
    let mut dev = Running::start(&[["dev", "-o", "json", "--no-demo"].as_slice(), &ports].concat());
    let ready: Value = serde_json::from_str(&dev.line()).unwrap();
    let (api, socket) = (
        ready["api"].as_str().unwrap(),
        ready["workload_api"].as_str().unwrap(),
    );
    let proven = |token: &str, key: &PrivateJwk| {
        let proof = signet_check::wit::make_proof(token, key, "https://orders.example", now()).unwrap();
        run(&[
            "svid",
            "validate-wit",
            "--socket",
            socket,
            "--audience",
            "https://orders.example",
            token,
            &proof,
        ])
    };
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("svid");
    let write = ["--write", text(&place)];
    let done = mint(api, "wit", &[write.as_slice(), &["-o", "json"]].concat()).json();
    assert_eq!(done["spiffe_id"], ID);
    assert_eq!(
        (mode(&place.join("svid.jwk")), mode(&place.join("svid.wit"))),
        (0o600, 0o644)
    );
    let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
    let key = PrivateJwk::parse(read("svid.jwk").as_bytes()).unwrap();
    let checked = proven(&read("svid.wit"), &key);
    assert!(checked.out.contains(ID), "{checked:?}");
    mint(api, "wit", &write).refused("SGCL002");
    let done = mint(api, "wit", &[write.as_slice(), &["--force"]].concat());
    assert!(done.code == Some(0) && done.out.contains("svid.jwk"), "{done:?}");
    assert!(
        !done.out.contains("\"d\""),
        "the key is in its file and nowhere else"
    );

    // A key that this command never had.
    let own = LocalKey::generate(KeyKind::P384).unwrap();
    let csr = dir.path().join("csr.pem");
    fs::write(&csr, pem::encode_csr(&make_csr(&own, None, &[]).unwrap())).unwrap();
    let done = mint(api, "wit", &["--csr", text(&csr)]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let own = PrivateJwk::new(own, signet_jose::JwsAlgorithm::Es384).unwrap();
    let checked = proven(done.out.trim(), &own);
    assert!(checked.out.contains(ID), "{checked:?}");
    assert_eq!(
        proven(done.out.trim(), &key).code,
        Some(1),
        "another key proves nothing"
    );
    fs::write(&csr, "nonsense").unwrap();
    mint(api, "wit", &["--csr", text(&csr)]).refused("SGXC015");
}

#[test]
fn what_is_not_minted_is_refused_before_anything_is_written() {
    let (_dev, api) = server();
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("svid");
    for (id, reason, code) in [
        ("spiffe://dev.test/signet/server/x", "why", "SGAU004"),
        ("spiffe://other.test/a", "why", "SGAU002"),
        ("spiffe://dev.test/a", " ", "SGAU019"),
    ] {
        let args = [
            "mint",
            "x509",
            "--api",
            &api,
            "--spiffe-id",
            id,
            "--reason",
            reason,
        ];
        run(&[args.as_slice(), &["--write", text(&place)]].concat()).refused(code);
    }
    mint(&api, "x509", &["--ttl", "7h", "--write", text(&place)]).refused("SGAU008");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
}
