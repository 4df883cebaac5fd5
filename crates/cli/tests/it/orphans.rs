//! Entries that nobody needs, and those whose node there is not.

use crate::entries::server;
use crate::program::run;
use serde_json::{Value, json};

/// Makes an entry that is over by now. The server sweeps such entries away from time to time, so it may take another.
fn make_orphan(api: &str) -> Value {
    loop {
        let id = "spiffe://dev.test/over";
        let made = run(&[
            "entry",
            "create",
            "--spiffe-id",
            id,
            "--selector",
            "unix:uid:1",
            "--owner",
            "ops",
            "--expires",
            "1s",
            "--api",
            api,
            "-o",
            "json",
        ])
        .json();
        while run(&["entry", "show", made["id"].as_str().unwrap(), "--api", api]).code == Some(0) {
            let listed = run(&["entry", "list", "--orphaned", "--api", api, "-o", "json"]).json();
            if let Some(first) = listed.as_array().unwrap().first() {
                assert_eq!(
                    (&first["why"], &first["entry"]["id"]),
                    (&json!("expired"), &made["id"])
                );
                return made;
            }
        }
    }
}

#[test]
fn what_nobody_needs_is_listed_and_deleted_after_a_dry_run() {
    let (_dev, api) = server();
    let none = run(&["entry", "list", "--orphaned", "--api", &api]);
    assert!(
        none.out
            .starts_with("no entry is orphaned; uses are known since 20"),
        "{none:?}"
    );
    let none = run(&["entry", "delete", "--orphaned", "--days", "7", "--api", &api]);
    assert!(none.out.starts_with("0 deleted; "), "{none:?}");
    loop {
        let made = make_orphan(&api);
        let id = made["id"].as_str().unwrap();
        let dry = run(&["entry", "delete", "--orphaned", "--dry-run", "--api", &api]);
        let others = [
            "entry",
            "delete",
            "--orphaned",
            "--owner",
            "nobody",
            "--api",
            &api,
            "-o",
            "json",
        ];
        assert_eq!(run(&others).json()["deleted"], json!([]));
        let done = run(&[
            "entry",
            "delete",
            "--orphaned",
            "--owner",
            "ops",
            "--api",
            &api,
            "-o",
            "json",
        ])
        .json();
        run(&["entry", "show", id, "--api", &api]).refused("SGRG003");
        // Where the server's sweep came between, nothing is said of the commands.
        if done["deleted"][0]["entry"]["id"] == id {
            assert!(
                dry.out.contains("expired on 20") && dry.out.ends_with("\n1 to delete\n"),
                "{dry:?}"
            );
            assert_eq!(done["dry_run"], false);
            break;
        }
    }
}

#[test]
fn a_wish_for_orphans_names_nothing_else() {
    for args in [
        [
            "entry",
            "delete",
            "--orphaned",
            "0123456789abcdef0123456789abcdef",
        ]
        .as_slice(),
        &["entry", "delete"],
        &["entry", "delete", "--dry-run", "0123456789abcdef0123456789abcdef"],
        &[
            "entry",
            "delete",
            "--days",
            "3",
            "0123456789abcdef0123456789abcdef",
        ],
        &[
            "entry",
            "delete",
            "--owner",
            "ops",
            "0123456789abcdef0123456789abcdef",
        ],
        &["entry", "delete", "--orphaned", "--days", "0"],
        &["entry", "list", "--days", "3"],
        &[
            "entry",
            "list",
            "--orphaned",
            "--spiffe-id",
            "spiffe://dev.test/a",
        ],
    ] {
        assert_eq!(run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn a_parent_that_is_no_node_is_warned_of() {
    let (_dev, api) = server();
    let create = |path: &str, parent: &str| {
        let id = format!("spiffe://dev.test/{path}");
        run(&[
            "entry",
            "create",
            "--spiffe-id",
            &id,
            "--selector",
            "unix:uid:1",
            "--parent",
            parent,
            "--api",
            &api,
        ])
    };
    let done = create("a", "spiffe://dev.test/rack/7");
    assert_eq!(done.code, Some(0));
    assert!(
        done.err.contains("no node is called `spiffe://dev.test/rack/7`"),
        "{done:?}"
    );
    let nodes = run(&["node", "list", "--api", &api, "-o", "json"]).json();
    let done = create("b", nodes[0]["id"].as_str().unwrap());
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));

    // As many as are not asked for one by one.
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..20)
        .map(|n| {
            let (id, parent) = (
                format!("spiffe://dev.test/{n}"),
                format!("spiffe://dev.test/rack/{n}"),
            );
            format!(
                "{}\n",
                json!({"spiffe_id": id, "parent_id": parent, "selectors": ["unix:uid:1"]})
            )
        })
        .collect();
    std::fs::write(dir.path().join("a.jsonl"), lines).unwrap();
    let done = run(&[
        "entry",
        "apply",
        "--file",
        dir.path().to_str().unwrap(),
        "--api",
        &api,
    ]);
    assert_eq!(done.code, Some(0));
    assert_eq!(done.err.matches("no node is called").count(), 16, "{done:?}");
}
