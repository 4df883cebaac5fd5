use crate::conformance::DOCUMENT;
use crate::{World, schema};
use serde_json::Value;
use signet_decision::{ActionClass, Role};
use signet_surface_admin::{Need, routes};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_document_is_published_in_docs() {
    let page = format!("{:#}\n", *DOCUMENT);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/openapi.json");
    if std::env::var_os("SIGNET_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == page,
        "docs/openapi.json is not what the routes say; \
         `SIGNET_BLESS=1 cargo test -p signet-surface-admin document` writes it anew"
    );
}

#[tokio::test]
async fn whoever_reads_may_read_the_document() {
    let world = World::with([Role::Auditor]).await;
    assert_eq!(world.shown("/api/v1/openapi.json").await, *DOCUMENT);
}

#[test]
fn the_document_has_every_route_and_nothing_else() {
    let mut told = BTreeSet::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, _) in item.as_object().unwrap() {
            told.insert((path.clone(), method.to_ascii_uppercase()));
        }
    }
    let served: BTreeSet<_> = routes()
        .iter()
        .map(|route| (route.path.to_owned(), route.method.to_string()))
        .collect();
    assert_eq!(told, served);
    for route in routes() {
        let method = route.method.as_str().to_ascii_lowercase();
        let roles = &DOCUMENT["paths"][route.path][method]["x-signet-roles"];
        let expected: &[&str] = match route.action.class() {
            ActionClass::Read => &["administrator", "auditor"],
            ActionClass::Change => &["administrator"],
            ActionClass::Issue => &["administrator", "minter"],
        };
        assert_eq!(roles, &serde_json::json!(expected), "{}", route.path);
    }
}

/// Every object below `value` that has `member`.
fn with<'v>(value: &'v Value, member: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| with(item, member, found)),
        Value::Object(members) => {
            if members.contains_key(member) {
                found.push(value);
            }
            members.values().for_each(|value| with(value, member, found));
        }
        _ => {}
    }
}

#[test]
fn examples_are_what_their_schemas_say_and_references_lead_somewhere() {
    let mut examples = Vec::new();
    with(&DOCUMENT, "example", &mut examples);
    assert!(examples.len() > 100, "{}", examples.len());
    for one in examples {
        let faults = schema::faults(&DOCUMENT, &one["schema"], &one["example"]);
        assert!(faults.is_empty(), "{faults:?}");
    }
    let mut references = Vec::new();
    with(&DOCUMENT, "$ref", &mut references);
    let used: BTreeSet<&str> = references
        .iter()
        .map(|one| one["$ref"].as_str().unwrap().strip_prefix('#').unwrap())
        .collect();
    for reference in &used {
        assert!(DOCUMENT.pointer(reference).is_some(), "{reference}");
    }
    for name in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        let path = format!("/components/schemas/{name}");
        assert!(used.contains(path.as_str()), "nobody refers to {name}");
    }
}

#[tokio::test]
async fn a_body_that_need_not_be_there_is_not_missed_and_one_that_must_is() {
    let world = World::new().await;
    for route in routes() {
        let Some(body) = &route.operation.body else {
            continue;
        };
        let path = route.path.replace("{id}", "spiffe%3A%2F%2Fdev.test%2Fn");
        let path = path.replace(
            "entries/spiffe%3A%2F%2Fdev.test%2Fn",
            "entries/00000000000000000000000000000000",
        );
        let reply = world.send(route.method.clone(), &path, &[], "").await;
        let expected = match body.need {
            Need::Optional => reply.status.is_success() || reply.status == 404,
            Need::Required => matches!(reply.status.as_u16(), 404 | 415),
        };
        assert!(expected, "{}: {}", route.path, reply.status);
    }
}
