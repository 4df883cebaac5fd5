use crate::{JSON, World, entry, escaped, problem, text_of, value};
use core::time::Duration;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet_store::{ChangeLog as _, Tail};
use signet_testkit::START;
use std::collections::BTreeSet;

fn id(entry: &Value) -> &str {
    entry["id"].as_str().unwrap()
}

#[tokio::test]
async fn an_entry_is_created_shown_changed_and_deleted() {
    let world = World::new().await;
    let wish = json!({
        "spiffe_id": "spiffe://dev.test/billing", "selectors": ["unix:uid:1000", "unix:gid:7"],
        "x509_ttl": "20s", "hint": "main", "owner": "ops", "dns_names": ["billing.local"],
        "jwt_audiences": ["a"], "expires_at": "2030-01-01T00:00:00Z",
    });
    let reply = world.post("/api/v1/entries", &wish).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let made = value(&reply);
    let path = format!("/api/v1/entries/{}", id(&made));
    assert_eq!(text_of(&reply, "location"), path);
    assert_eq!(
        made,
        json!({
            "id": id(&made), "spiffe_id": "spiffe://dev.test/billing", "parent_id": null,
            "selectors": ["unix:gid:7", "unix:uid:1000"], "x509_ttl": "20s", "jwt_ttl": "5m",
            "dns_names": ["billing.local"], "hint": "main", "owner": "ops", "federates_with": [],
            "jwt_audiences": ["a"], "expires_at": "2030-01-01T00:00:00Z",
        })
    );
    assert_eq!(world.shown(&path).await, made);

    // What is shown can be sent back, changed.
    let mut changed = made.clone();
    changed["hint"] = Value::Null;
    changed["owner"] = json!("others");
    let reply = world.send(Method::PUT, &path, &[JSON], changed.to_string()).await;
    assert_eq!((reply.status, value(&reply)), (StatusCode::OK, changed.clone()));
    assert_eq!(world.shown(&path).await, changed);

    let reply = world.send(Method::DELETE, &path, &[], "").await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::NO_CONTENT, 0));
    problem(&world.get(&path).await, 404, "SGRG003");
    let again = world.send(Method::DELETE, &path, &[], "").await;
    problem(&again, 404, "SGRG003");
    let put = world.send(Method::PUT, &path, &[JSON], changed.to_string()).await;
    problem(&put, 404, "SGRG003");
}

#[tokio::test]
async fn a_change_says_who_made_it_and_which_change_the_answer_reflects() {
    let world = World::new().await;
    let before = world.log.load().await.unwrap().cursor;
    let headers = [JSON, ("x-request-id", "ticket-4711")];
    let body = entry("/a").to_string();
    let reply = world.send(Method::POST, "/api/v1/entries", &headers, body).await;
    assert_eq!(text_of(&reply, "x-request-id"), "ticket-4711");
    let seq: u64 = text_of(&reply, "x-signet-seq").parse().unwrap();
    assert_eq!(world.entries()[0].seq.0, seq);
    assert_eq!(text_of(&reply, "etag"), format!("\"{seq}\""));
    let Tail::Changes(changes) = world.log.tail(before, 10).await.unwrap() else {
        panic!("the log was there before");
    };
    assert_eq!(changes.len(), 1);
    assert!(
        changes[0].origin.who.starts_with("local:uid:"),
        "{}",
        changes[0].origin.who
    );
    assert_eq!(changes[0].origin.why, "entry.create by request ticket-4711");
    assert_eq!(changes[0].origin.when, START);
    // Not well-formed: another is made, and nothing of it comes back.
    let reply = world
        .send(Method::GET, "/api/v1/ca", &[("x-request-id", "a b\"")], "")
        .await;
    assert_eq!(text_of(&reply, "x-request-id").len(), 32);
}

#[tokio::test]
async fn if_match_changes_only_what_the_caller_has_seen() {
    let world = World::new().await;
    let reply = world.post("/api/v1/entries", &entry("/a")).await;
    let (made, first) = (value(&reply), text_of(&reply, "etag").to_owned());
    let path = format!("/api/v1/entries/{}", id(&made));
    let put = async |tag: &str, hint: &str| {
        let mut doc = made.clone();
        doc["hint"] = json!(hint);
        let headers = [JSON, ("if-match", tag)];
        world.send(Method::PUT, &path, &headers, doc.to_string()).await
    };
    let reply = put(&first, "one").await;
    assert_eq!(reply.status, StatusCode::OK);
    let second = text_of(&reply, "etag").to_owned();
    assert_ne!(first, second);
    problem(&put(&first, "two").await, 412, "SGAD014");
    // A weak tag names no version (RFC 9110 §13.1.1).
    problem(&put(&format!("W/{second}"), "two").await, 412, "SGAD014");
    for bad in ["17", "\"17", "*, \"17\"", "\"a\"b\""] {
        problem(&put(bad, "two").await, 400, "SGAD012");
    }
    // A condition that names no version holds for none (RFC 9110 §5.6.1.2); a comma may stand within a tag.
    for none in ["", ",", "\"a,b\""] {
        problem(&put(none, "two").await, 412, "SGAD014");
    }
    assert_eq!(world.shown(&path).await["hint"], "one");
    assert_eq!(
        put(&format!("{first}, {second}"), "three").await.status,
        StatusCode::OK
    );
    assert_eq!(put("*", "four").await.status, StatusCode::OK);
    let stale = world
        .send(Method::DELETE, &path, &[("if-match", &second)], "")
        .await;
    problem(&stale, 412, "SGAD014");
    let now = text_of(&world.get(&path).await, "etag").to_owned();
    let gone = world.send(Method::DELETE, &path, &[("if-match", &now)], "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn lists_are_narrowed_down() {
    let world = World::new().await;
    for (path, selectors, owner) in [
        ("/a", json!(["unix:uid:1"]), "x"),
        ("/a", json!(["unix:uid:1", "unix:gid:2"]), "y"),
        ("/b", json!(["unix:gid:2"]), "x y&z"),
    ] {
        let id = format!("spiffe://dev.test{path}");
        world
            .create(&json!({"spiffe_id": id, "selectors": selectors, "owner": owner}))
            .await;
    }
    for (query, count) in [
        (String::new(), 3),
        (format!("spiffe_id={}", escaped("spiffe://dev.test/a")), 2),
        ("selector=unix:gid:2".to_owned(), 2),
        ("selector=unix:gid:2&selector=unix:uid:1".to_owned(), 1),
        ("owner=x".to_owned(), 1),
        (format!("owner={}", escaped("x y&z")), 1),
        ("owner=x+y%26z".to_owned(), 1),
        ("owner=".to_owned(), 0),
        (format!("owner=y&spiffe_id={}", escaped("spiffe://dev.test/b")), 0),
    ] {
        let page = world.shown(&format!("/api/v1/entries?{query}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(page["next_cursor"], Value::Null);
    }
}

#[tokio::test]
async fn pages_hold_every_entry_once_whatever_happens_between_them() {
    let world = World::new().await;
    let lines: String = (0..2_500)
        .map(|n| format!("{}\n", entry(&format!("/n/{n}"))))
        .collect();
    let reply = world
        .send(Method::POST, "/api/v1/entries/batch", &[crate::LINES], lines)
        .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    for (limit, pages) in [("", 25), ("limit=1000", 3), ("limit=2500", 0), ("limit=1250", 0)] {
        if pages == 0 {
            problem(
                &world.get(&format!("/api/v1/entries?{limit}")).await,
                400,
                "SGAD012",
            );
            continue;
        }
        let (mut seen, mut count, mut cursor) = (BTreeSet::new(), 0, String::new());
        loop {
            let page = world.shown(&format!("/api/v1/entries?{limit}{cursor}")).await;
            count += 1;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 1_000);
            for item in items {
                assert!(seen.insert(item["id"].as_str().unwrap().to_owned()), "twice");
            }
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((seen.len(), count), (2_500, pages), "{limit}");
    }
    // The entry that a cursor names is gone: the next page begins behind where it stood.
    let first = world.shown("/api/v1/entries?limit=10").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    world
        .send(Method::DELETE, &format!("/api/v1/entries/{cursor}"), &[], "")
        .await;
    world.clock.advance(Duration::from_secs(1));
    world.create(&entry("/late")).await;
    let next = world
        .shown(&format!("/api/v1/entries?limit=10&cursor={cursor}"))
        .await;
    assert_eq!(next["items"][0]["spiffe_id"], "spiffe://dev.test/n/10");
    assert_eq!(next["items"].as_array().unwrap().len(), 10);
    // A filter that fits few looks further than one page.
    let query = format!("limit=1&spiffe_id={}", escaped("spiffe://dev.test/late"));
    let found = world.shown(&format!("/api/v1/entries?{query}")).await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["next_cursor"], Value::Null);
}

#[tokio::test]
async fn what_an_entry_may_not_say_is_told_field_by_field() {
    let world = World::new().await;
    let bad = json!({
        "spiffe_id": "spiffe://other.test/a", "selectors": [], "x509_ttl": "7h", "jwt_ttl": "1s",
        "dns_names": ["no spaces"], "hint": "h".repeat(1025),
    });
    let refused = problem(&world.post("/api/v1/entries", &bad).await, 422, "SGAD011");
    let fields: Vec<_> = refused
        .errors
        .iter()
        .filter_map(|e| e.fault.field.clone())
        .collect();
    for field in [
        "spiffe_id",
        "selectors",
        "x509_ttl",
        "jwt_ttl",
        "dns_names[0]",
        "hint",
    ] {
        assert!(fields.iter().any(|found| found == field), "{field}: {fields:?}");
    }
    assert!(
        refused.errors.iter().all(|e| e.fault.line == 0),
        "one entry has no lines"
    );
    // One fault is told in the problem's own line.
    let mut long = entry("/a");
    long["x509_ttl"] = json!("7h");
    let refused = problem(&world.post("/api/v1/entries", &long).await, 422, "SGAD011");
    assert!(refused.detail.starts_with("`x509_ttl`: "), "{}", refused.detail);
    let mut named = entry("/a");
    named["id"] = json!("00000000000000000000000000000000");
    let refused = problem(&world.post("/api/v1/entries", &named).await, 422, "SGAD011");
    assert_eq!(refused.detail, "`id`: is given by the server, leave it out");
    assert!(world.entries().is_empty());
}

#[tokio::test]
async fn conflicts_name_what_is_in_the_way() {
    let world = World::new().await;
    let made = world.create(&entry("/a")).await;
    let refused = problem(&world.post("/api/v1/entries", &entry("/a")).await, 409, "SGRG004");
    assert!(refused.detail.contains(id(&made)), "{}", refused.detail);
    let other = world.create(&entry("/b")).await;
    let path = format!("/api/v1/entries/{}", id(&other));
    let same = world
        .send(Method::PUT, &path, &[JSON], entry("/a").to_string())
        .await;
    problem(&same, 409, "SGRG004");
    let swapped = world.send(Method::PUT, &path, &[JSON], made.to_string()).await;
    let refused = problem(&swapped, 422, "SGAD011");
    assert!(refused.detail.starts_with("`id`: "), "{}", refused.detail);
    assert_eq!(world.shown(&path).await, other);
}

#[tokio::test]
async fn an_entry_may_be_a_template_that_is_bound_to_its_node() {
    let world = World::new().await;
    let template = "/host/{node.id}/user/{unix.user}";
    let made = world.create(&entry(template)).await;
    assert_eq!(made["spiffe_id"], format!("spiffe://dev.test{template}"));
    let path = format!("/api/v1/entries/{}", id(&made));
    assert_eq!(world.shown(&path).await, made);
    let filter = escaped(made["spiffe_id"].as_str().unwrap());
    let listed = world.shown(&format!("/api/v1/entries?spiffe_id={filter}")).await;
    assert_eq!(listed["items"], json!([made]));
    let none = world
        .shown("/api/v1/entries?spiffe_id=spiffe://dev.test/host/a/user/b")
        .await;
    assert_eq!(none["items"], json!([]), "what it could give is no entry");
    for bad in [
        "/user/{unix.user}",
        "/host/{node.name}/{unix.user}",
        "/{node.id}",
        "/signet/{node.id}",
        "/host/{node.id}/{unix.path}",
        "/host/{node.id}/x-{unix.uid}",
    ] {
        let reply = world.post("/api/v1/entries", &entry(bad)).await;
        let faults = problem(&reply, 422, "SGAD011").errors;
        assert_eq!(faults[0].fault.field.as_deref(), Some("spiffe_id"), "{bad}");
        // The document says so, too.
        let draft = &crate::conformance::DOCUMENT["components"]["schemas"]["EntryDraft"];
        assert!(
            !crate::schema::faults(&crate::conformance::DOCUMENT, draft, &entry(bad)).is_empty(),
            "{bad}"
        );
    }
    let draft = &crate::conformance::DOCUMENT["components"]["schemas"]["EntryDraft"];
    assert_eq!(
        crate::schema::faults(&crate::conformance::DOCUMENT, draft, &entry(template)),
        [""; 0]
    );
}
