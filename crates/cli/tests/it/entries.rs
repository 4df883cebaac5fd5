//! Files of entries: all of their lines or none, and every mistake at once.

use crate::program::{Done, Running, run, signet, text};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

/// A running server, and where it is.
pub(crate) fn server() -> (Running, String) {
    let ports = ["--http-port", "0", "--agent-port", "0", "--metrics-port", "0"];
    let mut dev = Running::start(&[["dev", "-o", "json", "--no-demo"].as_slice(), &ports].concat());
    let ready: Value = serde_json::from_str(&dev.line()).unwrap();
    let api = ready["api"].as_str().unwrap().to_owned();
    (dev, api)
}

fn create(file: &Path, api: &str) -> Done {
    run(&["entry", "create", "--file", text(file), "--api", api])
}

fn count(api: &str) -> usize {
    let all = run(&["entry", "list", "--api", api, "-o", "json"]).json();
    all.as_array().unwrap().len()
}

#[test]
fn mistakes_of_form_and_of_content_are_told_at_once_line_by_line() {
    let (_dev, api) = server();
    let before = count(&api);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("entries.jsonl");
    let lines = [
        r#"{"spiffe_id": "spiffe://dev.test/a", "selectors": ["unix:uid:1"]}"#,
        r#"{"spiffe_id": "http://dev.test/a", "selectors": ["unix:uid:1"]}"#,
        "",
        r#"{"spiffe_id": "spiffe://dev.test/a", "selektors": []}"#,
        "not json",
        r#"{"spiffe_id": "spiffe://other.test/a", "selectors": ["unix:uid:1"]}"#,
        r#"{"spiffe_id": "spiffe://dev.test/signet/a", "selectors": ["unix:uid:1"]}"#,
        r#"{"spiffe_id": "spiffe://dev.test/b", "selectors": []}"#,
        r#"{"spiffe_id": "spiffe://dev.test/c", "selectors": ["unix:uid:1"], "x509_ttl": "30h"}"#,
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let done = create(&file, &api);
    let told = done.refused("SGCL012");
    let (first, below) = told.split_once('\n').unwrap();
    assert!(
        first.contains(text(&file)) && first.contains("nothing was created"),
        "{first}"
    );
    for fault in [
        "  line 2, column 15, `spiffe_id`: ",
        "  line 4, ",
        "  line 5, column ",
        "  line 6, `spiffe_id`: ",
        "  line 7, `spiffe_id`: ",
        "  line 8, `selectors`: ",
        "  line 9, `x509_ttl`: 30h is outside ",
    ] {
        assert!(
            below.lines().any(|line| line.starts_with(fault)),
            "{fault}: {told}"
        );
    }
    assert!(!below.lines().any(|line| line.starts_with("  line 1")), "{told}");
    assert_eq!(count(&api), before, "nothing was applied");

    // Fifty of them stay readable: each has a line.
    let bad = "{\"spiffe_id\": \"spiffe://other.test/a\", \"selectors\": [\"unix:uid:1\"]}\n".repeat(50);
    fs::write(&file, bad).unwrap();
    let done = create(&file, &api);
    assert_eq!(done.refused("SGCL012").lines().count(), 51);
    assert!(done.err.contains("\n  line 50, `spiffe_id`: "), "{done:?}");

    // One is told in the line itself, and once.
    fs::write(&file, lines[5]).unwrap();
    let done = create(&file, &api);
    let told = done.refused("SGCL012");
    assert_eq!(
        (told.lines().count(), told.matches("`spiffe_id`").count()),
        (1, 1),
        "{told}"
    );
    fs::write(&file, [lines[0].as_bytes(), b"\n{\"hint\": \"\xff\"}"].concat()).unwrap();
    let done = create(&file, &api);
    assert!(
        done.refused("SGCL012").contains("line 2, column 11: not UTF-8"),
        "{done:?}"
    );
    assert_eq!(count(&api), before);

    // The same line again is the server's word, not a mistake of form.
    fs::write(&file, lines[0]).unwrap();
    assert_eq!(create(&file, &api).code, Some(0));
    create(&file, &api).refused("SGRG004");
}

#[test]
fn one_fault_of_an_entry_is_said_once() {
    let (_dev, api) = server();
    let entry = [
        "entry",
        "create",
        "--api",
        &api,
        "--spiffe-id",
        "spiffe://dev.test/a",
    ];
    let ttl = ["--selector", "unix:uid:1", "--x509-ttl", "30h"];
    let done = run(&[entry.as_slice(), &ttl].concat());
    let line = done.refused("SGAD011");
    assert_eq!(
        (line.matches("30h").count(), line.lines().count()),
        (1, 1),
        "{line}"
    );
}

#[test]
fn entries_come_from_standard_input_too() {
    let (_dev, api) = server();
    let before = count(&api);
    let mut child = signet()
        .args(["entry", "create", "--file", "-", "--api", &api])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for n in 0..3 {
        let doc = json!({"spiffe_id": format!("spiffe://dev.test/{n}"), "selectors": ["unix:uid:1"]});
        writeln!(input, "{doc}").unwrap();
    }
    drop(input);
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!(
        (done.code, done.out.trim()),
        (Some(0), "created 3 entries"),
        "{done:?}"
    );
    assert_eq!(count(&api), before + 3);
}

#[test]
fn a_list_says_where_entries_hold_once_that_differs() {
    let (_dev, api) = server();
    let create = |more: &[&str]| {
        let words = [
            "entry",
            "create",
            "--spiffe-id",
            "spiffe://dev.test/a",
            "--selector",
            "unix:uid:1",
        ];
        let made = run(&[words.as_slice(), &["--api", &api], more].concat());
        assert_eq!(made.code, Some(0), "{made:?}");
    };
    let list = || {
        run(&[
            "entry",
            "list",
            "--api",
            &api,
            "--spiffe-id",
            "spiffe://dev.test/a",
        ])
        .out
    };
    create(&[]);
    let head = |text: &str| text.lines().next().unwrap().to_owned();
    assert!(head(&list()).ends_with("  SELECTORS"), "{}", list());
    create(&["--parent", "spiffe://dev.test/signet/node/join/aa"]);
    let text = list();
    assert!(head(&text).ends_with("  ON"), "{text}");
    let ends: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split("  ").last())
        .collect();
    assert_eq!(
        ends,
        ["every node", "spiffe://dev.test/signet/node/join/aa"],
        "{text}"
    );
}
