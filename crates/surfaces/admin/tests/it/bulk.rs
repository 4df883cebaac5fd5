use crate::{JSON, LINES, World, entry, problem, value};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet_surface_admin::BULK_BYTES_MAX;

const BATCH: &str = "/api/v1/entries/batch";

#[tokio::test]
async fn lists_are_created_whole_and_in_order() {
    let world = World::new().await;
    let array = json!([entry("/a"), entry("/b")]);
    let lines = format!("\u{feff}{}\r\n\n{}", entry("/c"), entry("/d"));
    for (kind, body) in [(JSON, array.to_string()), (LINES, lines)] {
        let reply = world.send(Method::POST, BATCH, &[kind], body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        assert_eq!(value(&reply)["created"].as_array().unwrap().len(), 2);
    }
    let names: Vec<_> = world
        .entries()
        .iter()
        .map(|e| e.spiffe_id.path().to_owned())
        .collect();
    assert_eq!(names, ["/a", "/b", "/c", "/d"]);
    // One list is one commit: the four have two neighbouring pairs of sequence numbers.
    let seqs: Vec<_> = world.entries().iter().map(|e| e.seq.0).collect();
    assert_eq!((seqs[1] - seqs[0], seqs[3] - seqs[2]), (1, 1));
}

#[tokio::test]
async fn every_bad_line_is_told_with_its_number_and_nothing_is_applied() {
    let world = World::new().await;
    let mut with_id = entry("/with-id");
    with_id["id"] = json!("00000000000000000000000000000000");
    let mut long = entry("/long");
    long["x509_ttl"] = json!("7h");
    let lines = [
        entry("/good").to_string(),
        "{\"spiffe_id\": \"spiffe://dev.test/a\", \"selectors\": [".to_owned(),
        String::new(),
        "{\"spiffe_id\": \"spiffe://dev.test/a\", \"selectrs\": []}".to_owned(),
        long.to_string(),
        with_id.to_string(),
        json!({"spiffe_id": "spiffe://other.test/x", "selectors": ["unix:uid:1"], "jwt_ttl": "25h"})
            .to_string(),
        entry("/also-good").to_string(),
        "nonsense".to_owned(),
    ];
    let reply = world.send(Method::POST, BATCH, &[LINES], lines.join("\n")).await;
    let refused = problem(&reply, 400, "SGAD011");
    let found: Vec<_> = refused
        .errors
        .iter()
        .map(|e| (e.fault.line, e.fault.field.as_deref().unwrap_or("-")))
        .collect();
    let mut told = found.clone();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            (2, "-"),
            (4, "selectors"),
            (4, "selectrs"),
            (5, "x509_ttl"),
            (6, "id"),
            (7, "jwt_ttl"),
            (7, "spiffe_id"),
            (9, "-")
        ]
    );
    assert!(
        found.is_sorted_by_key(|(line, _)| *line),
        "in the order of the lines"
    );
    assert!(refused.detail.contains("8 faults") && refused.detail.contains("nothing was applied"));
    assert!(world.entries().is_empty());

    // The same in an array, where the place is the position; and content alone is 422.
    let array = json!([entry("/good"), long, entry("/also-good")]);
    let reply = world.send(Method::POST, BATCH, &[JSON], array.to_string()).await;
    let refused = problem(&reply, 422, "SGAD011");
    assert_eq!(refused.errors[0].fault.line, 2);
    assert!(world.entries().is_empty());
}

#[tokio::test]
async fn what_is_there_already_and_what_stands_twice_is_told_with_its_line() {
    let world = World::new().await;
    let made = world.create(&entry("/a")).await;
    let post = async |lines: String| world.send(Method::POST, BATCH, &[LINES], lines).await;
    let reply = post(format!("\n{}\n\n{}\n", entry("/b"), entry("/a"))).await;
    let refused = problem(&reply, 409, "SGRG004");
    assert_eq!(refused.errors[0].fault.line, 4);
    assert!(
        refused.detail.contains(made["id"].as_str().unwrap()),
        "{}",
        refused.detail
    );
    let reply = post(format!("\n{}\n{}\n{}\n", entry("/b"), entry("/c"), entry("/b"))).await;
    let refused = problem(&reply, 409, "SGRG004");
    assert_eq!(refused.detail, "line 4: says the same as line 2");
    assert_eq!(world.entries().len(), 1);
}

#[tokio::test]
async fn lists_that_are_none_are_refused() {
    let world = World::new().await;
    for (kind, body, status, code) in [
        (JSON, "[]", 422, "SGRG002"),
        (LINES, "\n \n", 422, "SGRG002"),
        (LINES, "", 422, "SGRG002"),
        (JSON, "", 400, "SGAD010"),
        (JSON, "{}", 400, "SGAD010"),
        (JSON, "[{}", 400, "SGAD010"),
        (("content-type", "text/csv"), "a,b", 415, "SGAD009"),
    ] {
        let reply = world.send(Method::POST, BATCH, &[kind], body).await;
        problem(&reply, status, code);
    }
    let reply = world.send(Method::POST, BATCH, &[], "[]").await;
    let refused = problem(&reply, 415, "SGAD009");
    assert!(
        refused.detail.contains("application/x-ndjson"),
        "{}",
        refused.detail
    );
    let lines = format!("{}\n{}\u{1}\n", entry("/a"), entry("/b"));
    let reply = world.send(Method::POST, BATCH, &[LINES], lines).await;
    let refused = problem(&reply, 400, "SGAD010");
    assert_eq!(refused.errors[0].fault.line, 2);
    let mut bytes = format!("{}\n{{\"spiffe_id", entry("/a")).into_bytes();
    bytes.extend([0xff, 0xfe]);
    let reply = world.send(Method::POST, BATCH, &[LINES], bytes).await;
    let refused = problem(&reply, 400, "SGAD010");
    assert!(
        refused.detail.contains("line 2, column 12: not UTF-8"),
        "{}",
        refused.detail
    );
}

#[tokio::test]
async fn a_list_that_is_wrong_all_over_gets_a_bounded_answer() {
    let world = World::new().await;
    let bad = "{\"spiffe_id\":7}\n".repeat(5_000);
    let reply = world.send(Method::POST, BATCH, &[LINES], bad).await;
    let refused = problem(&reply, 422, "SGAD011");
    assert_eq!(refused.errors.len(), 1_000);
    let wrong: String = (0..3_000)
        .map(|n| {
            format!(
                "{}\n",
                json!({"spiffe_id": format!("spiffe://x.test/{n}"), "selectors": []})
            )
        })
        .collect();
    let reply = world.send(Method::POST, BATCH, &[LINES], wrong).await;
    let refused = problem(&reply, 422, "SGAD011");
    assert_eq!(refused.errors.len(), 1_000);
}

#[tokio::test]
async fn lists_end_at_ten_thousand_and_at_their_bytes() {
    let world = World::new().await;
    let lines: String = (0..10_001)
        .map(|n| format!("{}\n", entry(&format!("/{n}"))))
        .collect();
    let reply = world.send(Method::POST, BATCH, &[LINES], lines).await;
    let refused = problem(&reply, 400, "SGAD010");
    assert_eq!(refused.errors[0].fault.line, 10_001);
    // More than is read: its sender reads why, though it was not looked at.
    let reply = world
        .send(Method::POST, BATCH, &[LINES], vec![b' '; BULK_BYTES_MAX + 1])
        .await;
    let refused = problem(&reply, 413, "SGAD006");
    assert!(refused.detail.contains("16777216"), "{}", refused.detail);
    let reply = world
        .send(Method::POST, BATCH, &[LINES], vec![b'\n'; BULK_BYTES_MAX])
        .await;
    problem(&reply, 422, "SGRG002");
    assert!(world.entries().is_empty());
    assert_eq!(
        value(&world.get("/api/v1/entries").await)["items"],
        Value::Array(Vec::new())
    );
}
