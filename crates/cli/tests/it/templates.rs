//! An entry that gives each user of a node an identity of their own, from the command to the certificate.

use crate::program::{Running, run};
use serde_json::Value;

fn dev() -> (Running, Value) {
    let ports = ["--http-port", "0", "--agent-port", "0", "--metrics-port", "0"];
    let mut dev = Running::start(&[["dev", "-o", "json", "--no-demo"].as_slice(), &ports].concat());
    let ready = serde_json::from_str(&dev.line()).unwrap();
    (dev, ready)
}

#[test]
fn a_template_is_written_shown_served_and_explained() {
    let (_dev, ready) = dev();
    let (api, socket) = (
        ready["api"].as_str().unwrap(),
        ready["workload_api"].as_str().unwrap(),
    );
    let uid = signet_sys::process::uid();
    let selector = format!("unix:uid:{uid}");
    let create = |id: &str| {
        run(&[
            "entry",
            "create",
            "--spiffe-id",
            id,
            "--selector",
            &selector,
            "--api",
            api,
            "-o",
            "json",
        ])
    };
    let told = create("spiffe://dev.test/user/{unix.uid}");
    let told = told.refused("SGAD011");
    assert!(told.contains("only stands below `{node.id}`"), "{told}");
    let template = "spiffe://dev.test/host/{node.id}/uid/{unix.uid}";
    let made = create(template).json();
    assert_eq!(made["spiffe_id"], template);
    create(template).refused("SGRG004");
    let listed = run(&[
        "entry",
        "list",
        "--spiffe-id",
        template,
        "--api",
        api,
        "-o",
        "json",
    ])
    .json();
    assert_eq!(listed[0]["id"], made["id"]);
    let listed = run(&["entry", "list", "--api", api]);
    assert!(listed.out.contains(template), "{listed:?}");

    // The agent hears of it in a moment.
    let node = run(&["node", "list", "--api", api, "-o", "json"]).json();
    let node = node[0]["id"].as_str().unwrap();
    let digits = signet_crypto::digest::hex(&signet_crypto::digest::sha256(node.as_bytes()));
    let given = format!("spiffe://dev.test/host/{}/uid/{uid}", &digits[..32]);
    let shown = loop {
        let done = run(&[
            "svid",
            "jwt",
            "--audience",
            "a",
            "--spiffe-id",
            &given,
            "--socket",
            socket,
            "-o",
            "json",
        ]);
        if done.code == Some(0) {
            break done.json();
        }
    };
    assert!(shown.to_string().contains(&given), "{shown}");
    let x509 = run(&["svid", "x509", "--socket", socket]);
    assert!(x509.out.contains(&given), "{x509:?}");
    let local = ready["local_api"].as_str().unwrap();
    let why = run(&[
        "why",
        "--pid",
        &std::process::id().to_string(),
        "--socket",
        local,
        "-o",
        "json",
    ])
    .json();
    let nearest = why["entries"]["nearest"].as_array().unwrap();
    let entry = nearest.iter().find(|entry| entry["id"] == made["id"]).unwrap();
    assert_eq!(
        (&entry["spiffe_id"], &entry["matches"]),
        (&Value::from(given), &Value::from(true))
    );
    let filled = format!("spiffe://dev.test/host/{}/uid/{{unix.uid}}", &digits[..32]);
    assert_eq!(entry["id_template"], Value::from(filled));
}
