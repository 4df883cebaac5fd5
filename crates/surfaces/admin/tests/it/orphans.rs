use crate::{World, entry, problem};
use core::time::Duration;
use serde_json::{Value, json};
use signet_testkit::START;
use signet_time::Day;

const DAY: Duration = Duration::from_secs(86_400);

const ORPHANED: &str = "/api/v1/entries/orphaned";

fn whys(list: &Value) -> Vec<(&str, &str)> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            (
                item["entry"]["spiffe_id"].as_str().unwrap(),
                item["why"].as_str().unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn entries_that_nobody_needs_are_listed_with_the_reason_and_the_last_use() {
    let world = World::new().await;
    let mut used = entry("/used");
    used["owner"] = json!("ops");
    let used = world.create(&used).await;
    world.create(&entry("/never")).await;
    let mut over = entry("/over");
    over["expires_at"] = json!((START + DAY).to_string());
    world.create(&over).await;
    let mut gone = entry("/gone");
    gone["parent_id"] = json!("spiffe://dev.test/rack/9");
    world.create(&gone).await;
    let nothing = world.shown(ORPHANED).await;
    assert_eq!(
        nothing,
        json!({"items": [], "next_cursor": null, "watched_since": null, "days": 30})
    );

    let id = used["id"].as_str().unwrap();
    let used_id = world.entries()[0].id;
    assert_eq!(used_id.to_string(), id);
    for day in 0..=40 {
        if day == 3 {
            world.registry.note_use(used_id, START + DAY * day);
        }
        world.registry.write_uses(START + DAY * day).await.unwrap();
    }
    world.clock.set(START + DAY * 40);
    let list = world.shown(ORPHANED).await;
    assert_eq!(
        whys(&list),
        [
            ("spiffe://dev.test/used", "unused"),
            ("spiffe://dev.test/never", "never_used"),
            ("spiffe://dev.test/over", "expired"),
            ("spiffe://dev.test/gone", "node_unknown"),
        ]
    );
    let day = |number: u32| Day::of(START + DAY * number).to_string();
    let first = &list["items"][0];
    assert_eq!(
        (&first["last_used"], &first["since"]),
        (&json!(day(3)), &json!(day(3)))
    );
    assert_eq!(
        first["entry"],
        world.shown(&format!("/api/v1/entries/{id}")).await
    );
    assert_eq!(list["items"][1]["last_used"], Value::Null);
    assert_eq!(list["items"][2]["since"], json!(day(1)));
    assert_eq!(list["watched_since"], json!(day(0)));

    assert_eq!(whys(&world.shown(&format!("{ORPHANED}?days=37")).await).len(), 3);
    assert_eq!(
        whys(&world.shown(&format!("{ORPHANED}?owner=ops")).await).len(),
        1
    );
    let page = world.shown(&format!("{ORPHANED}?limit=3")).await;
    let rest = format!(
        "{ORPHANED}?limit=3&cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    assert_eq!(
        whys(&world.shown(&rest).await),
        [("spiffe://dev.test/gone", "node_unknown")]
    );

    // What is listed can be deleted as it was listed.
    let delete: Vec<Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!({"id": item["entry"]["id"], "seq": item["seq"], "orphaned_days": list["days"]}))
        .collect();
    // One that is used meanwhile stays, and all others with it.
    let never = world.entries()[1].id;
    world.registry.note_use(never, START + DAY * 40);
    let refused = world
        .post("/api/v1/entries/apply", &json!({"delete": delete}))
        .await;
    problem(&refused, 409, "SGRG025");
    assert_eq!(world.entries().len(), 4);
    let mut delete = delete;
    delete.retain(|item| item["id"] != json!(never.to_string()));
    let applied = world
        .post("/api/v1/entries/apply", &json!({"delete": delete}))
        .await;
    assert_eq!(applied.status, 200);
    assert_eq!(world.entries().len(), 1);
    for days in [0, 3_651] {
        let bad = json!({"delete": [{"id": never.to_string(), "seq": 1, "orphaned_days": days}]});
        problem(&world.post("/api/v1/entries/apply", &bad).await, 400, "SGAD012");
    }
}

#[tokio::test]
async fn a_wish_that_is_none_is_refused() {
    let world = World::new().await;
    for query in [
        "days=0",
        "days=3651",
        "days=x",
        "days=%2B1",
        "days=1&days=2",
        "day=1",
        "cursor=x",
        "limit=0",
    ] {
        problem(&world.get(&format!("{ORPHANED}?{query}")).await, 400, "SGAD012");
    }
}
