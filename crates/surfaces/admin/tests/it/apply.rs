//! Entries as a list says they should be.

use crate::{JSON, LINES, World, entry, problem, value};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet_decision::Role;
use signet_net::client::Reply;
use signet_store::faulty::{Fault, Op};

const PLAN: &str = "/api/v1/entries/plan";
const APPLY: &str = "/api/v1/entries/apply";

fn lines(entries: &[Value]) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

impl World {
    async fn ask(&self, path: &str, list: &str) -> Reply {
        self.send(Method::POST, path, &[LINES], list).await
    }

    /// The plan for `list`, deletions included.
    async fn planned(&self, list: &str) -> Value {
        let reply = self.ask("/api/v1/entries/plan?prune=true", list).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        value(&reply)
    }

    fn paths(&self) -> Vec<String> {
        self.entries()
            .iter()
            .map(|e| e.spiffe_id.path().to_owned())
            .collect()
    }
}

/// What a client sends to have all of `plan` applied.
fn request(plan: &Value) -> Value {
    let each = |name: &str, of: fn(&Value) -> Value| -> Vec<Value> {
        plan[name].as_array().unwrap().iter().map(of).collect()
    };
    json!({
        "create": each("create", |p| p["entry"].clone()),
        "update": each("update", |p| json!({"seq": p["seq"], "entry": p["entry"]})),
        "delete": each("delete", |p| json!({"seq": p["seq"], "id": p["entry"]["id"]})),
    })
}

#[tokio::test]
async fn a_plan_names_lines_and_differences_and_its_application_leaves_nothing_to_do() {
    let world = World::new().await;
    world.create(&entry("/same")).await;
    let changed = world.create(&entry("/changed")).await;
    let gone = world.create(&entry("/gone")).await;
    let mut wish = entry("/changed");
    wish["x509_ttl"] = json!("30m");
    wish["hint"] = json!("internal");
    let list = format!("\n{}", lines(&[entry("/new"), entry("/same"), wish]));

    let before = world.registry.followed().seq();
    let plan = world.planned(&list).await;
    assert_eq!(world.registry.followed().seq(), before, "a plan changes nothing");
    assert_eq!(plan["create"][0]["line"], 2);
    assert_eq!(plan["create"][0]["entry"]["spiffe_id"], "spiffe://dev.test/new");
    assert_eq!(plan["create"][0]["entry"]["id"], Value::Null);
    assert_eq!(plan["unchanged"][0]["line"], 3);
    assert_eq!(plan["update"][0]["line"], 4);
    assert_eq!(plan["update"][0]["entry"]["id"], changed["id"]);
    assert_eq!(
        plan["update"][0]["changes"],
        json!([
            {"field": "x509_ttl", "from": "1h", "to": "30m"},
            {"field": "hint", "from": null, "to": "internal"},
        ])
    );
    assert_eq!(plan["delete"][0]["entry"]["id"], gone["id"]);
    assert_eq!(plan["unlisted"], 1);
    // Unless it is asked to prune, a plan only counts what no line says.
    for path in [PLAN, "/api/v1/entries/plan?prune=false"] {
        let kept = value(&world.ask(path, &list).await);
        assert_eq!((&kept["delete"], &kept["unlisted"]), (&json!([]), &json!(1)));
    }
    // An array is planned alike.
    let array = json!([entry("/new")]).to_string();
    let reply = world.send(Method::POST, PLAN, &[JSON], array).await;
    assert_eq!(value(&reply)["create"][0]["line"], 1);

    let reply = world.post(APPLY, &request(&plan)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let done = value(&reply);
    assert_eq!(done["created"][0]["id"].as_str().unwrap().len(), 32);
    assert_eq!(done["updated"][0]["hint"], "internal");
    assert_eq!(done["deleted"], json!([gone["id"]]));
    assert_eq!(world.paths(), ["/same", "/changed", "/new"]);
    let plan = world.planned(&list).await;
    assert_eq!(
        (&plan["create"], &plan["update"], &plan["delete"]),
        (&json!([]), &json!([]), &json!([]))
    );
    assert_eq!(plan["unchanged"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn every_fault_of_a_list_is_told_with_its_line() {
    let world = World::new().await;
    let mut with_id = entry("/id");
    with_id["id"] = json!("00000000000000000000000000000000");
    let mut long = entry("/long");
    long["x509_ttl"] = json!("7h");
    let list = [
        entry("/a").to_string(),
        "nonsense".to_owned(),
        with_id.to_string(),
        long.to_string(),
        entry("/a").to_string(),
        json!({"spiffe_id": "http://a/b", "selectors": ["unix:uid:1"]}).to_string(),
    ];
    let refused = problem(&world.ask(PLAN, &list.join("\n")).await, 400, "SGAD011");
    let told: Vec<_> = refused
        .errors
        .iter()
        .map(|e| (e.fault.line, e.fault.field.as_deref(), e.fault.same_as))
        .collect();
    assert_eq!(
        told,
        [
            (2, None, None),
            (3, Some("id"), None),
            (4, Some("x509_ttl"), None),
            (5, Some("spiffe_id"), Some(1)),
            (6, Some("spiffe_id"), None),
        ]
    );
    assert_eq!(refused.errors[3].fault.message, "says the same as line 1");
    assert_eq!(refused.errors[4].fault.column, Some(41));
    // Content alone is told the same way.
    let refused = problem(
        &world.ask(PLAN, &lines(&[long, entry("/a")])).await,
        422,
        "SGAD011",
    );
    assert_eq!(refused.errors[0].fault.line, 1);
    let twice = lines(&[entry("/a"), entry("/a")]);
    problem(&world.ask(PLAN, &twice).await, 422, "SGAD011");
    problem(&world.ask(PLAN, "\n").await, 422, "SGRG002");
    problem(
        &world.ask("/api/v1/entries/plan?prune=yes", &twice).await,
        400,
        "SGAD012",
    );
    assert!(world.paths().is_empty());
}

#[tokio::test]
async fn what_changed_since_the_plan_keeps_all_of_it_from_being_applied() {
    for change in ["update", "delete", "create"] {
        let world = World::new().await;
        let made = world.create(&entry("/a")).await;
        let path = format!("/api/v1/entries/{}", made["id"].as_str().unwrap());
        let mut wish = entry("/a");
        wish["hint"] = json!("ours");
        let plan = world.planned(&lines(&[entry("/new"), wish])).await;
        let code = match change {
            "update" => {
                let mut theirs = entry("/a");
                theirs["hint"] = json!("theirs");
                world.send(Method::PUT, &path, &[JSON], theirs.to_string()).await;
                "SGRG021"
            }
            "delete" => {
                world.send(Method::DELETE, &path, &[], "").await;
                "SGRG021"
            }
            _ => {
                world.create(&entry("/new")).await;
                "SGRG004"
            }
        };
        let before = world.registry.followed().seq();
        let refused = problem(&world.post(APPLY, &request(&plan)).await, 409, code);
        if code == "SGRG021" {
            assert!(
                refused.detail.contains(made["id"].as_str().unwrap()),
                "{}",
                refused.detail
            );
            assert!(
                refused.detail.contains("nothing was applied"),
                "{}",
                refused.detail
            );
        }
        assert_eq!(world.registry.followed().seq(), before, "{change}");
    }
}

#[tokio::test]
async fn changes_that_are_none_are_refused() {
    let world = World::new().await;
    let made = world.create(&entry("/a")).await;
    let mut known = entry("/b");
    known["id"] = made["id"].clone();
    let seq = world.registry.followed().seq().0;
    let gone = json!({"id": made["id"], "seq": seq});
    let update = json!({"entry": known, "seq": seq});
    for (body, status, code) in [
        (json!({}), 422, "SGRG002"),
        (json!({"delete": [{"id": "x", "seq": 1}]}), 400, "SGAD012"),
        (
            json!({"update": [{"entry": entry("/b"), "seq": 1}]}),
            422,
            "SGAD011",
        ),
        (json!({"create": [known]}), 422, "SGAD011"),
        (json!({"create": [entry("/signet/x")]}), 422, "SGAD011"),
        (json!({"prune": true}), 400, "SGAD010"),
        (json!({"update": [update], "delete": [gone]}), 422, "SGRG022"),
        (json!({"delete": [gone, gone]}), 422, "SGRG022"),
        (
            json!({"delete": [{"id": made["id"], "seq": seq + 1}]}),
            409,
            "SGRG021",
        ),
        (
            json!({"create": [entry("/b")], "update": [update]}),
            409,
            "SGRG004",
        ),
    ] {
        problem(&world.post(APPLY, &body).await, status, code);
    }
    problem(
        &world.send(Method::POST, APPLY, &[JSON], "").await,
        400,
        "SGAD010",
    );
    problem(
        &world.send(Method::POST, APPLY, &[LINES], "{}").await,
        415,
        "SGAD009",
    );
    assert_eq!(world.paths(), ["/a"]);
    assert_eq!(world.registry.followed().seq().0, seq);
}

#[tokio::test]
async fn a_store_that_fails_leaves_all_or_nothing() {
    for fault in Fault::ALL {
        let world = World::new().await;
        world.create(&entry("/old")).await;
        let plan = world.planned(&lines(&[entry("/a"), entry("/b")])).await;
        world.log.plan(Op::Commit, 1, fault);
        let reply = world.post(APPLY, &request(&plan)).await;
        if fault == Fault::Refused {
            problem(&reply, 503, "SGRG016");
            assert_eq!(world.paths(), ["/old"]);
        } else {
            assert_eq!(reply.status, StatusCode::OK, "{fault:?}: {reply:?}");
            assert_eq!(world.paths(), ["/a", "/b"]);
        }
    }
}

#[tokio::test]
async fn a_reader_may_plan_and_not_apply() {
    let world = World::with([Role::Auditor]).await;
    let plan = world.planned(&lines(&[entry("/a")])).await;
    let refused = problem(&world.post(APPLY, &request(&plan)).await, 403, "SGAD003");
    assert!(refused.detail.contains("entry.apply"), "{}", refused.detail);
    assert!(world.paths().is_empty());
}

#[tokio::test]
async fn ten_thousand_changes_are_applied_at_once_and_more_are_refused_in_the_plan() {
    let world = World::new().await;
    let many =
        |from: usize, to: usize| -> Vec<Value> { (from..to).map(|n| entry(&format!("/{n}"))).collect() };
    let plan = world.planned(&lines(&many(0, 10_000))).await;
    let reply = world.post(APPLY, &request(&plan)).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(world.entries().len(), 10_000);
    // Ten thousand deletions and one new entry would be two commits.
    let reply = world
        .ask("/api/v1/entries/plan?prune=true", &lines(&many(10_000, 10_001)))
        .await;
    let refused = problem(&reply, 422, "SGRG002");
    assert!(refused.detail.contains("10001"), "{}", refused.detail);
}
