//! What the document says of a request is what is taken, and what it forbids is refused: asked of the API itself.

use crate::conformance::DOCUMENT;
use crate::{World, entry, escaped, schema};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many examples that each strategy yields good and bad ones; the generator is the same each time.
const EXAMPLES: usize = 60;

fn examples(strategy: &str) -> BTreeSet<String> {
    let mut runner = TestRunner::deterministic();
    let mut next = || strategy.new_tree(&mut runner).unwrap().current();
    (0..EXAMPLES).map(|_| next()).collect()
}

fn is_valid(name: &str, value: &Value) -> bool {
    let schema = json!({"$ref": format!("#/components/schemas/{name}")});
    schema::faults(&DOCUMENT, &schema, value).is_empty()
}

/// Asks with each of `values` as the member `member`, and holds the answer against the schema.
async fn compare(member: &str, values: impl IntoIterator<Item = Value>) -> [usize; 2] {
    let world = World::new().await;
    let mut seen = [0, 0];
    for value in values {
        let mut draft = entry("/a");
        draft[member] = value;
        let valid = is_valid("EntryDraft", &draft);
        let reply = world.post("/api/v1/entries", &draft).await;
        let taken = matches!(reply.status.as_u16(), 201 | 409);
        assert_eq!(taken, valid, "{draft}: {}", String::from_utf8_lossy(&reply.body));
        seen[usize::from(taken)] += 1;
    }
    seen
}

#[tokio::test]
async fn text_members_are_taken_as_the_document_says() {
    for (member, strategy) in [
        (
            "spiffe_id",
            "spiffe://dev\\.test(/(signet|signets|\\.{1,4}|[a-zA.]{0,3}|[ %é])){0,3}",
        ),
        (
            "parent_id",
            "(spiffe|http)://dev\\.test(/(signet|\\.{1,4}|[a-z_.]{0,3})){0,2}",
        ),
        ("x509_ttl", "0{0,2}[0-9]{0,5}(ms|s|m|h|d|w)?"),
        ("jwt_ttl", "[0-9]{1,4}(s|m|h|d)"),
        ("hint", "[a-zé\u{0}-\u{20}\u{7f}-\u{a1}]{0,3}"),
        ("owner", "[a-z\u{1b}]{0,5}"),
        (
            "expires_at",
            "(2026|2999|1969|99999)-0[1-9]-[12][0-9]T12:00:00(\\.[0-9]{0,3})?(Z|\\+00:00|z)?",
        ),
    ] {
        let values = examples(strategy).into_iter();
        let values = values.filter(|text| member != "expires_at" || !text.starts_with("2026"));
        let [refused, taken] = compare(member, values.map(Value::from)).await;
        assert!(refused > 1 && taken > 1, "{member}: {refused} {taken}");
    }
}

#[tokio::test]
async fn list_members_are_taken_as_the_document_says() {
    for (member, strategy) in [
        (
            "selectors",
            "unix:(uid|supplementary_gid):(0|[0-9]{1,3}|42949672[0-9]{2}|[+]1)",
        ),
        ("selectors", "unix:(path|user|group|shell):[/.a\u{1}]{0,5}"),
        ("selectors", "unix:sha256:([0-9a-f]{63,65}|[0-9A-F]{64})"),
        (
            "selectors",
            "systemd:(unit|user-unit):[a@.\\\\-]{0,3}\\.(service|timer|swap)",
        ),
        ("selectors", "systemd:slice:(a{249,250}|[a.-]{1,4}|a@)\\.slice"),
        ("selectors", "[a-zA_-]{0,2}(:|::)?[a-zé\u{85} ]{0,2}"),
        ("dns_names", "[a-z0-9.-]{1,5}"),
        ("dns_names", "[a-z]{1,3}\\.([a-z0-9-]{62,64}|[0-9]{1,3}|A|1e)"),
        ("federates_with", "[a-z0-9._A/-]{0,3}"),
        ("jwt_audiences", "[a-z\u{0}\u{9f}é]{0,3}"),
    ] {
        let values = examples(strategy).into_iter().map(|text| json!([text]));
        let [refused, taken] = compare(member, values).await;
        assert!(refused > 1 && taken > 1, "{member} {strategy}: {refused} {taken}");
    }
}

#[tokio::test]
async fn bounds_are_those_of_the_document() {
    let many =
        |count: usize, text: &dyn Fn(usize) -> String| Value::from((0..count).map(text).collect::<Vec<_>>());
    let mut all = Vec::new();
    for count in [0, 1, 16, 17, 32, 33] {
        all.push(("selectors", many(count, &|n| format!("unix:uid:{n}"))));
        all.push(("dns_names", many(count, &|n| format!("a{n}"))));
        all.push(("federates_with", many(count, &|n| format!("a{n}.test"))));
        all.push(("jwt_audiences", many(count, &|n| format!("a{n}"))));
    }
    for length in [253, 254, 256, 257, 512, 513, 1_024, 1_025] {
        let text = "a".repeat(length);
        all.push(("hint", json!(text)));
        all.push(("owner", json!(text)));
        all.push(("jwt_audiences", json!([text])));
        let name = vec!["a"; length].join(".");
        all.push(("dns_names", json!([name.get(..length).unwrap()])));
    }
    for member in ["selectors", "dns_names", "federates_with", "jwt_audiences"] {
        all.push((member, json!(["unix:uid:1", "unix:uid:1"])));
        all.push((member, json!(["a.test", "a.test"])));
        all.push((member, Value::Null));
    }
    for odd in [
        json!(null),
        json!(1),
        json!(true),
        json!([]),
        json!({}),
        json!("0"),
        json!([1]),
        json!([null]),
    ] {
        for member in [
            "id",
            "spiffe_id",
            "parent_id",
            "selectors",
            "x509_ttl",
            "dns_names",
            "hint",
            "expires_at",
            "unknown",
        ] {
            all.push((member, odd.clone()));
        }
    }
    for (member, value) in all {
        compare(member, [value]).await;
    }
}

#[tokio::test]
async fn names_and_wishes_are_taken_as_the_document_says() {
    let world = World::new().await;
    for id in examples("(spiffe://)?[a-z.A]{0,3}(/(\\.{1,4}|[a-zA._-]{0,3}|é)){0,2}") {
        let reply = world
            .get(&format!("/api/v1/entries?spiffe_id={}", escaped(&id)))
            .await;
        assert_eq!(reply.status == 200, is_valid("SpiffeId", &json!(id)), "{id}");
    }
    for ttl in examples("[0-9]{1,6}(ms|s|m|h|d)") {
        let wish = json!({"ttl": ttl});
        let reply = world.post("/api/v1/join-tokens", &wish).await;
        assert_eq!(reply.status == 201, is_valid("JoinTokenRequest", &wish), "{ttl}");
    }
    for odd in [
        json!([]),
        json!({}),
        json!({"tll": "5m"}),
        json!({"ttl": 5}),
        json!({"ttl": null}),
    ] {
        let reply = world.post("/api/v1/join-tokens", &odd).await;
        assert_eq!(reply.status == 201, is_valid("JoinTokenRequest", &odd), "{odd}");
    }
}
