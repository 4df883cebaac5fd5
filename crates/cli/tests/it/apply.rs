//! A folder of entries, applied.

use crate::entries::server;
use crate::program::{Done, run, text};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

fn apply(dir: &Path, api: &str, flags: &[&str]) -> Done {
    let args = ["entry", "apply", "--file", text(dir), "--api", api];
    run(&[args.as_slice(), flags].concat())
}

/// Every entry of the server, without what the server gives.
fn said(api: &str) -> Vec<(String, Value)> {
    let all = run(&["entry", "list", "--api", api, "-o", "json"]).json();
    let each = all.as_array().unwrap().iter();
    let mut said: Vec<_> = each
        .map(|e| (e["spiffe_id"].as_str().unwrap().to_owned(), e["hint"].clone()))
        .collect();
    said.sort_by(|a, b| a.0.cmp(&b.0));
    said
}

fn ids(api: &str) -> Vec<String> {
    said(api).into_iter().map(|(id, _)| id).collect()
}

fn line(name: &str, hint: &str) -> String {
    let entry =
        json!({"spiffe_id": format!("spiffe://dev.test/{name}"), "selectors": ["unix:uid:1"], "hint": hint});
    format!("{entry}\n")
}

#[test]
fn a_folder_is_shown_applied_and_found_done_the_second_time() {
    let (_dev, api) = server();
    // What `dev` itself made is no business of this test's.
    let own = ids(&api);
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put("a.jsonl", &[line("a", ""), line("b", "old")].concat());
    put("README.md", "# notes");
    let stays = format!(
        "{} entries are not in `{}`; --prune would delete",
        own.len(),
        text(dir.path())
    );
    let stays = stays.replace("1 entries are", "1 entry is");

    let done = apply(dir.path(), &api, &["--dry-run"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(
        done.out
            .contains("create  spiffe://dev.test/a unix:uid:1  (a.jsonl line 1)\n"),
        "{done:?}"
    );
    assert!(
        done.out
            .contains("\n2 to create, 0 to update, 0 to delete, 0 unchanged\n"),
        "{done:?}"
    );
    assert!(done.out.contains(&stays), "{done:?}");
    assert_eq!(ids(&api), own, "a dry run changes nothing");

    let done = apply(dir.path(), &api, &["-o", "json"]).json();
    assert_eq!((&done["changes"], &done["dry_run"]), (&json!(2), &json!(false)));
    assert_eq!(done["create"][1]["file"], "a.jsonl");
    assert_eq!(done["create"][1]["line"], 2);
    assert_eq!(done["create"][1]["entry"]["id"].as_str().unwrap().len(), 32);
    let before = run(&["entry", "list", "--api", &api, "-o", "json"]).out;
    let again = apply(dir.path(), &api, &["-o", "json"]).json();
    assert_eq!(again["changes"], 0);
    assert_eq!(again["unchanged"].as_array().unwrap().len(), 2);
    assert_eq!(run(&["entry", "list", "--api", &api, "-o", "json"]).out, before);

    // A line that moves to another file and says something else is an update, and its entry keeps its id.
    put("a.jsonl", &line("a", ""));
    put("b.jsonl", &format!("\n{}{}", line("c", ""), line("b", "new")));
    let done = apply(dir.path(), &api, &[]);
    assert!(
        done.out
            .contains("update  spiffe://dev.test/b unix:uid:1  (b.jsonl line 3)\n"),
        "{done:?}"
    );
    assert!(
        done.out.contains("        hint: \"old\" -> \"new\"\n"),
        "{done:?}"
    );
    assert!(
        done.out
            .contains("\n1 created, 1 updated, 0 deleted, 1 unchanged\n"),
        "{done:?}"
    );

    // What leaves the folder stays, until it is asked for.
    fs::remove_file(dir.path().join("a.jsonl")).unwrap();
    let kept = apply(dir.path(), &api, &["-o", "json"]).json();
    assert_eq!((&kept["changes"], &kept["delete"]), (&json!(0), &json!([])));
    assert_eq!(kept["unlisted"], own.len() + 1);
    let planned = apply(dir.path(), &api, &["--prune", "--dry-run", "-o", "json"]).json();
    assert_eq!(planned["changes"], own.len() + 1);
    assert_eq!(ids(&api).len(), own.len() + 3);
    let done = apply(dir.path(), &api, &["--prune"]);
    assert!(
        done.out.contains("delete  spiffe://dev.test/a unix:uid:1\n"),
        "{done:?}"
    );
    assert_eq!(
        said(&api),
        [
            ("spiffe://dev.test/b".to_owned(), json!("new")),
            ("spiffe://dev.test/c".to_owned(), json!(null))
        ]
    );
    assert_eq!(
        apply(dir.path(), &api, &["--prune", "-o", "json"]).json()["changes"],
        0
    );
}

#[test]
fn every_mistake_of_every_file_is_told_and_nothing_is_applied() {
    let (_dev, api) = server();
    let before = ids(&api);
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    put(
        "a.jsonl",
        [line("a", ""), "not json\n".to_owned()].concat().as_bytes(),
    );
    put(
        "b.jsonl",
        [b"\n\xff\n".as_slice(), line("a", "again").as_bytes()]
            .concat()
            .as_slice(),
    );
    put(
        "c.jsonl",
        br#"{"spiffe_id": "http://dev.test/a", "selectors": ["unix:uid:1"]}"#,
    );
    put(
        "d.jsonl",
        br#"{"spiffe_id": "spiffe://dev.test/d", "selectors": ["unix:uid:1"], "x509_ttl": "30h"}"#,
    );
    put("e.json", line("e", "").as_bytes());
    std::os::unix::fs::symlink(dir.path().join("a.jsonl"), dir.path().join("f.jsonl")).unwrap();
    for flags in [&["--prune"][..], &["--prune", "--dry-run"]] {
        let done = apply(dir.path(), &api, flags);
        let told = done.refused("SGCL012");
        for fault in [
            "  `a.jsonl` line 2, column ",
            "  `b.jsonl` line 2, column 1: not UTF-8",
            "  `b.jsonl` line 3, `spiffe_id`: says the same as `a.jsonl` line 1: ",
            "  `c.jsonl` line 1, column 15, `spiffe_id`: ",
            "  `d.jsonl` line 1, `x509_ttl`: 30h is outside ",
            "  `e.json` is not read: ",
            "  `f.jsonl`: is a symbolic link",
        ] {
            assert!(
                told.lines().any(|line| line.starts_with(fault)),
                "{fault}: {told}"
            );
        }
        assert_eq!(told.lines().count(), 8, "{told}");
        assert!(
            told.contains("7 mistakes") && told.contains("nothing was applied"),
            "{told}"
        );
    }
    assert_eq!(ids(&api), before);
    // An empty folder is taken for a slip: with --prune it would end every identity there is.
    let empty = tempfile::tempdir().unwrap();
    let done = apply(empty.path(), &api, &["--prune"]);
    assert!(
        done.refused("SGCL012")
            .contains("there is no entry in any *.jsonl"),
        "{done:?}"
    );
    apply(&empty.path().join("absent"), &api, &[]).refused("SGCL001");
    assert_eq!(ids(&api), before);
}

#[test]
fn whoever_changes_an_entry_between_plan_and_application_wins() {
    let (_dev, api) = server();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), line("a", "first")).unwrap();
    let made = apply(dir.path(), &api, &["-o", "json"]).json();
    let id = made["create"][0]["entry"]["id"].as_str().unwrap().to_owned();
    fs::write(
        dir.path().join("a.jsonl"),
        [line("a", "ours"), line("b", "")].concat(),
    )
    .unwrap();
    // Stands before the server, and lets somebody else in between the two requests of the command.
    let socket = dir
        .path()
        .join("..")
        .join(format!("between-{}.sock", std::process::id()));
    let between = UnixListener::bind(&socket).unwrap();
    let (server, own) = (api.trim_start_matches("unix://").to_owned(), api.clone());
    let passing = std::thread::spawn(move || {
        for wanted in ["POST /api/v1/entries/plan", "POST /api/v1/entries/apply"] {
            let (client, _) = between.accept().unwrap();
            let mut begin = vec![0; wanted.len()];
            (&client).read_exact(&mut begin).unwrap();
            assert_eq!(String::from_utf8(begin.clone()).unwrap(), wanted);
            if wanted.ends_with("apply") {
                let done = run(&["entry", "update", &id, "--hint", "theirs", "--api", &own]);
                assert_eq!(done.code, Some(0), "{done:?}");
            }
            pass(client, UnixStream::connect(&server).unwrap(), &begin);
        }
    });
    let done = apply(dir.path(), &format!("unix://{}", text(&socket)), &[]);
    passing.join().unwrap();
    fs::remove_file(&socket).unwrap();
    let told = done.refused("SGRG021");
    assert!(
        told.contains("nothing was applied") && told.contains("run the command again"),
        "{told}"
    );
    let hints: Vec<_> = said(&api)
        .into_iter()
        .filter(|(id, _)| id.ends_with("/a") || id.ends_with("/b"))
        .collect();
    assert_eq!(hints, [("spiffe://dev.test/a".to_owned(), json!("theirs"))]);
    assert_eq!(apply(dir.path(), &api, &["-o", "json"]).json()["changes"], 2);
}

/// Carries a connection whose first bytes were read already, both ways to its end.
fn pass(client: UnixStream, server: UnixStream, begin: &[u8]) {
    (&server).write_all(begin).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    up.join().unwrap();
}
