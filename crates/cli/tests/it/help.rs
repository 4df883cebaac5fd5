//! Help texts are read by people and parsed by nobody, yet a change in them is a change to users: it shows here.
//! `SIGNET_BLESS=1` writes the file anew.

use crate::program::{Done, run, signet};
use std::path::Path;

/// Every command that has help of its own.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["dev"],
    &["server"],
    &["server", "init"],
    &["server", "run"],
    &["server", "backup"],
    &["server", "restore"],
    &["agent"],
    &["agent", "run"],
    &["entry"],
    &["entry", "create"],
    &["entry", "list"],
    &["entry", "show"],
    &["entry", "update"],
    &["entry", "delete"],
    &["entry", "apply"],
    &["mint"],
    &["mint", "x509"],
    &["mint", "jwt"],
    &["mint", "wit"],
    &["node"],
    &["node", "join-token"],
    &["node", "join-token", "create"],
    &["node", "list"],
    &["node", "show"],
    &["node", "ban"],
    &["node", "evict"],
    &["svid"],
    &["svid", "x509"],
    &["svid", "jwt"],
    &["svid", "wit"],
    &["svid", "bundle"],
    &["svid", "watch"],
    &["svid", "validate-jwt"],
    &["svid", "validate-wit"],
    &["why"],
    &["bench"],
    &["bench", "svid"],
    &["bench", "stream"],
    &["bench", "entry-churn"],
    &["bench", "fleet"],
    &["bench", "issue"],
    &["health"],
    &["config"],
    &["config", "check"],
    &["completions"],
    &["man"],
];

#[test]
fn help_texts_are_as_published() {
    let mut text = String::new();
    for command in COMMANDS {
        let done = run(&[command, ["-h"].as_slice()].concat());
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
        text.push_str(&format!(
            "$ signet {}\n{}\n",
            [command, ["-h"].as_slice()].concat().join(" "),
            done.out
        ));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/help.txt");
    if std::env::var_os("SIGNET_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == published,
        "help differs from {}; SIGNET_BLESS=1 writes it anew:\n{text}",
        path.display()
    );
}

#[test]
fn every_command_is_listed_here() {
    // A command that is added without its help being looked at would escape the file above.
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut found = Vec::new();
    while let Some(command) = open.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = run(&[words.as_slice(), ["-h"].as_slice()].concat()).out;
        let listed = help.split("Commands:\n").nth(1).unwrap_or_default();
        for line in listed.lines().take_while(|line| !line.is_empty()) {
            let name = line.trim().split(' ').next().unwrap().to_owned();
            if name != "help" && line.starts_with("  ") && !line.starts_with("   ") {
                open.push([command.as_slice(), &[name]].concat());
            }
        }
        found.push(command);
    }
    found.sort();
    let mut listed: Vec<Vec<String>> = COMMANDS
        .iter()
        .map(|c| c.iter().map(|w| (*w).to_owned()).collect())
        .collect();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = run(&["completions", shell]);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
        assert!(
            done.out.contains("join-token") && done.out.contains("validate-jwt"),
            "{shell}"
        );
    }
    assert_eq!(run(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn every_command_has_a_manual_page_that_names_its_flags() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("share/man/man1");
    let done = run(&["man", place.to_str().unwrap(), "-o", "json"]);
    let mut expected: Vec<String> = COMMANDS
        .iter()
        .map(|command| format!("{}.1", [["signet"].as_slice(), command].concat().join("-")))
        .collect();
    expected.sort();
    assert_eq!(done.json()["pages"], serde_json::json!(expected));
    let mut found: Vec<String> = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, expected);
    for command in COMMANDS {
        let name = [["signet"].as_slice(), command].concat().join("-");
        let page = std::fs::read_to_string(place.join(format!("{name}.1"))).unwrap();
        assert!(
            page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}"
        );
        // Roff writes a hyphen of a flag as `\\-`.
        let plain = page.replace('\\', "");
        assert!(plain.contains(&name), "{name}: {page}");
        let help = run(&[command, ["-h"].as_slice()].concat()).out;
        let flags = help.split_whitespace().filter(|word| {
            word.starts_with("--")
                && word.len() > 2
                && word[2..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        let usual = ["--api", "--output", "--help", "--version"];
        for flag in flags.filter(|flag| !usual.contains(flag)) {
            assert!(plain.contains(flag), "{name} {flag}");
        }
    }
    // Written again, over what is there.
    let again = run(&["man", place.to_str().unwrap()]);
    assert!(
        again.code == Some(0) && again.out.contains("manual pages"),
        "{again:?}"
    );
    run(&["man", "/dev/null/x"]).refused("SGCL002");
}

#[test]
fn version_and_wrong_usage_have_their_exit_codes() {
    let version = run(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert_eq!(version.out, format!("signet {}\n", env!("CARGO_PKG_VERSION")));
    for args in [
        ["entry", "create"].as_slice(),
        &["entry", "create", "--spiffe-id", "spiffe://a/b"],
        &[
            "entry",
            "create",
            "--spiffe-id",
            "http://a/b",
            "--selector",
            "unix:uid:1",
        ],
        &[
            "entry",
            "create",
            "--spiffe-id",
            "spiffe://a/b",
            "--selector",
            "unix",
        ],
        &["entry", "create", "--file", "a", "--hint", "x"],
        &["entry", "show"],
        &["entry", "list", "-o", "yaml"],
        &["entry", "apply"],
        &["mint", "x509", "--spiffe-id", "spiffe://a/b"],
        &["mint", "jwt", "--spiffe-id", "spiffe://a/b", "--reason", "x"],
        &["mint", "wit", "--spiffe-id", "spiffe://a/b", "--reason", "x"],
        &[
            "mint",
            "x509",
            "--spiffe-id",
            "spiffe://a/b",
            "--reason",
            "x",
            "--force",
        ],
        &["node", "join-token", "create", "--ttl", "10"],
        &["svid", "jwt"],
        &["svid", "validate-wit", "--audience", "a", "x"],
        &["svid", "x509", "--socket", "agent.sock"],
        &["--api", "/run/api.sock", "node", "list"],
        &["health", "--url", "localhost"],
        &["dev", "--http-port", "70000"],
        &["server", "init", "--dir", "a"],
        &["frobnicate"],
        &[],
    ] {
        let done = run(args);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(2), ""),
            "{args:?}: {done:?}"
        );
        assert!(!done.err.is_empty(), "{args:?}");
    }
}

#[test]
fn a_variable_that_is_set_does_not_show_as_a_required_flag() {
    let mut told = 0;
    for command in COMMANDS {
        // Of a flag that does not exist every command complains, and of what it requires only some.
        for mistake in [&[][..], &["--frobnicate"]] {
            let args = [*command, mistake].concat();
            // Where nothing is required the bare command does its work instead of complaining.
            if mistake.is_empty() && !requires(command) {
                continue;
            }
            let mut with = signet();
            with.args(&args)
                .env("SIGNET_API", "unix:///nowhere/api.sock")
                .env("SPIFFE_ENDPOINT_SOCKET", "unix:///nowhere/agent.sock");
            let with = Done::from(with.output().unwrap());
            assert_eq!(with.code, Some(2), "{args:?}");
            assert_eq!(with.err, run(&args).err, "{args:?}");
            assert!(
                !with.err.contains("--api") && !with.err.contains("--socket"),
                "{with:?}"
            );
            told += 1;
        }
    }
    assert!(told > COMMANDS.len() + 5, "{told}");
    // Help says which variables there are.
    let mut help = signet();
    help.args(["svid", "jwt", "-h"]).env("SIGNET_API", "unix:///a");
    let help = Done::from(help.output().unwrap());
    assert!(
        help.out.contains("[env: SIGNET_API]") && help.out.contains("[env: SPIFFE_ENDPOINT_SOCKET]"),
        "{help:?}"
    );
}

/// Whether `command` has arguments that must be given.
fn requires(command: &[&str]) -> bool {
    let help = run(&[command, ["-h"].as_slice()].concat()).out;
    let usage = help.lines().find(|line| line.starts_with("Usage:")).unwrap();
    usage.contains('<') && !usage.contains("<COMMAND>")
}
