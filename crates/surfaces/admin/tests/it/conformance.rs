//! Every reply that any test gets is held against the document.

use crate::{schema, text_of};
use http::Method;
use serde_json::Value;
use signet_net::client::Reply;
use signet_surface_admin::{Route, document, routes};
use std::sync::LazyLock;

pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// Checks that `reply` to `method` `path` is one that the document knows.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) {
    let asked = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let Some(route) = routes()
        .iter()
        .find(|route| route.method == *asked && serves(route, path))
    else {
        assert!(
            matches!(reply.status.as_u16(), 403..=405 | 431),
            "{method} {path} has no route, but {}",
            reply.status
        );
        return;
    };
    let operation = &DOCUMENT["paths"][route.path][asked.as_str().to_ascii_lowercase()];
    let shown = format!(
        "{method} {path}: {} {}",
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    let response = &operation["responses"][reply.status.as_str()];
    assert!(response.is_object(), "status without documentation: {shown}");
    for (name, _) in response["headers"].as_object().unwrap() {
        let header = &DOCUMENT["components"]["headers"][name];
        let text = text_of(reply, name);
        let value = match header["schema"]["type"].as_str().unwrap() {
            "integer" => serde_json::from_str(text).unwrap_or(Value::Null),
            _ => Value::from(text),
        };
        let faults = schema::faults(&DOCUMENT, &header["schema"], &value);
        assert!(faults.is_empty(), "{name}: {faults:?}: {shown}");
    }
    let media_type = text_of(reply, "content-type");
    let Some(content) = response.get("content") else {
        assert!(reply.body.is_empty() && media_type.is_empty(), "{shown}");
        return;
    };
    let content = &content[media_type];
    assert!(
        content.is_object(),
        "`{media_type}` without documentation: {shown}"
    );
    if method == Method::HEAD {
        return;
    }
    let value = if media_type.ends_with("json") {
        serde_json::from_slice(&reply.body).unwrap()
    } else {
        Value::from(String::from_utf8_lossy(&reply.body))
    };
    let faults = schema::faults(&DOCUMENT, &content["schema"], &value);
    assert!(faults.is_empty(), "{faults:?}: {shown}");
}

/// Whether `route` is the one that serves `path`.
fn serves(route: &Route, path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let (mut wanted, mut given) = (route.path.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(name))
                if !name.is_empty() && !["batch", "plan", "apply", "orphaned"].contains(&name) => {}
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return false,
        }
    }
}
