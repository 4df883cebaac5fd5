//! The OpenAPI 3.1 document, made of the table of routes and nothing else.

use crate::operation::{Body, Media, Need, Operation, Parameter};
use crate::patterns::with;
use crate::{Route, routes, schemas};
use http::StatusCode;
use serde_json::{Map, Value, json};
use signet_api::PROBLEM_JSON;
use signet_decision::{ActionClass, Caller, Principal, Resource, Role, Verdict};
use signet_fault::remedy_of;
use signet_telemetry::RequestId;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The version of OpenAPI.
pub(crate) const VERSION: &str = "3.1.0";

/// Refusals that every route can give: who calls, what they sent along, and our own failures.
const ALWAYS: [(u16, &str); 9] = [
    (400, "SGAD007"),
    (400, "SGAD012"),
    (403, "SGAD001"),
    (403, "SGAD002"),
    (403, "SGAD003"),
    (408, "SGAD008"),
    (413, "SGAD006"),
    (431, "SGNE020"),
    (500, "SGAD013"),
];

/// Refusals of every change: what becomes of a commit.
const CHANGE: [(u16, &str); 6] = [
    (409, "SGRG015"),
    (413, "SGRG016"),
    (503, "SGRG016"),
    (504, "SGRG016"),
    (504, "SGRG017"),
    (504, "SGRG018"),
];

/// Refusals of everything that issues: what the authority, its keys or the record say, or what reads a request.
const ISSUE: [(u16, &[signet_fault::Entry]); 6] = [
    (403, signet_authority::REGISTER),
    (422, signet_authority::REGISTER),
    (422, signet_x509::REGISTER),
    (503, signet_authority::REGISTER),
    (503, signet_keys::REGISTER),
    (503, signet_record::REGISTER),
];

/// The document as it is served.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    &TEXT
}

/// The OpenAPI document of this API. It says nothing of one server: it is the same for all of this version.
#[must_use]
pub fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let method = route.method.as_str().to_ascii_lowercase();
        paths
            .entry(route.path)
            .or_default()
            .insert(method, operation(route));
    }
    json!({
        "openapi": VERSION,
        "info": {
            "title": "Signet administration API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that this document came from, on `api.sock`."}],
        "paths": paths,
        "components": {"schemas": schemas::all(), "headers": headers()},
    })
}

const DESCRIPTION: &str = "Entries, nodes, join tokens, keys and health of a Signet server, over HTTP/1.1 on the UNIX \
socket `api.sock`. Who calls is what the kernel says of the process at the other end; no header or token plays a part. \
`x-signet-roles` names the roles that a route is open to.\n\nA request may name itself with `x-request-id`. Every reply \
carries `x-request-id` and `x-signet-seq`. Every refusal is a problem document (RFC 9457) with a stable `code`; members \
may be added to replies. A parameter or a member of a request that is not known is refused. A method that a path does \
not have is 405 (SGAD005), a path that does not exist 404 (SGAD004).";

fn operation(route: &Route) -> Value {
    let what = route.operation;
    let mut parameters: Vec<Value> = what.name.iter().map(|name| parameter("path", name)).collect();
    parameters.extend(what.query.iter().map(|one| parameter("query", one)));
    if what.conditional {
        parameters.push(json!({
            "name": "if-match", "in": "header",
            "description": "The `etag` of an earlier answer, or several, or `*`: the change is made to that version alone.",
            "schema": {"type": "string", "pattern": IF_MATCH},
            "example": "\"12\"",
        }));
    }
    let mut shown = json!({
        "operationId": what.id,
        "summary": what.summary,
        "tags": [route.kind()],
        "x-signet-action": route.action.name(),
        "x-signet-roles": roles(route),
        "parameters": parameters,
        "responses": responses(route),
    });
    if !what.description.is_empty() {
        shown = with(shown, "description", json!(what.description));
    }
    if let Some(body) = &what.body {
        shown = with(shown, "requestBody", request_body(body));
    }
    shown
}

/// `*`, or entity tags (RFC 9110 §8.8.3) with commas between them.
const IF_MATCH: &str = r#"^(?:\*|(?:W/)?"[!#-~]*"(?: *, *(?:W/)?"[!#-~]*")*)$"#;

const ROLES: [Role; 3] = [Role::Administrator, Role::Auditor, Role::Minter];

/// The roles that the route is open to, by the decision that is made when it is called.
fn roles(route: &Route) -> Vec<&'static str> {
    ROLES
        .into_iter()
        .filter(|role| {
            let caller = Caller::new(Principal::Local { uid: 0 }, [*role]);
            let decision = caller.may(route.action, Resource::all(route.kind()));
            decision.verdict() == Verdict::Allow
        })
        .map(Role::as_str)
        .collect()
}

fn parameter(place: &str, parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name, "in": place, "required": place == "path", "description": parameter.about,
        "schema": (parameter.schema)(), "example": (parameter.example)(),
    })
}

fn request_body(body: &Body) -> Value {
    let length = body.length.bytes_max();
    json!({
        "required": body.need == Need::Required,
        "description": format!("At most {length} bytes."),
        "content": content(body.media),
    })
}

fn content(media: &[Media]) -> Value {
    let each = media.iter().map(|one| {
        let content = json!({"schema": (one.schema)(), "example": (one.example)()});
        (one.media_type.to_owned(), content)
    });
    Value::Object(each.collect())
}

fn responses(route: &Route) -> Value {
    let mut all = Map::new();
    all.insert(route.operation.answer.status.to_string(), answer(route.operation));
    let mut refusals: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for (status, code) in refusals_of(route) {
        refusals.entry(status).or_default().push(code);
    }
    for (status, mut codes) in refusals {
        codes.sort_unstable();
        codes.dedup();
        all.insert(status.to_string(), refusal(status, &codes));
    }
    Value::Object(all)
}

/// Every refusal that the route can give.
fn refusals_of(route: &Route) -> impl Iterator<Item = (u16, &'static str)> {
    let change = match route.action.class() {
        ActionClass::Read => &[][..],
        ActionClass::Change | ActionClass::Issue => &CHANGE[..],
    };
    let own = route.operation.refusals;
    let issue = if route.action.class() == ActionClass::Issue {
        &ISSUE[..]
    } else {
        &[]
    };
    let issue = issue
        .iter()
        .flat_map(|(status, register)| register.iter().map(|entry| (*status, entry.code)));
    // What nobody with a role is refused is no refusal of the role.
    let open = roles(route).len() == ROLES.len();
    let always = ALWAYS
        .iter()
        .filter(move |(_, code)| !(open && *code == "SGAD003"));
    always.chain(change).chain(own).copied().chain(issue)
}

fn answer(what: &Operation) -> Value {
    let answer = &what.answer;
    let mut headers = reply_headers();
    for name in answer.headers {
        headers.insert((*name).to_owned(), header_reference(name));
    }
    let mut shown = json!({"description": answer.about, "headers": headers});
    if !answer.media.is_empty() {
        shown = with(shown, "content", content(answer.media));
    }
    shown
}

fn refusal(status: u16, codes: &[&str]) -> Value {
    let title = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let meanings: Vec<String> = codes
        .iter()
        .map(|code| format!("`{code}`: {}", meaning(code)))
        .collect();
    let mut headers = reply_headers();
    if status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
        headers.insert("Retry-After".to_owned(), header_reference("Retry-After"));
    }
    let example = codes.first().map(|code| {
        json!({
            "type": format!("urn:signet:error:{code}"), "title": title.to_ascii_lowercase(), "status": status,
            "detail": meaning(code), "instance": "/api/v1/entries", "code": code, "remedy": remedy(code),
            "request_id": "req-1",
        })
    });
    json!({
        "description": format!("{title}. {}.", meanings.join("; ")),
        "headers": headers,
        "content": {PROBLEM_JSON: {
            "schema": {"allOf": [
                schemas::reference("Problem"),
                {"properties": {"status": {"const": status}, "code": {"enum": codes}}},
            ]},
            "example": example,
        }},
    })
}

const REGISTERS: [&[signet_fault::Entry]; 7] = [
    crate::REGISTER,
    signet_net::REGISTER,
    signet_registry::REGISTER,
    signet_authority::REGISTER,
    signet_keys::REGISTER,
    signet_record::REGISTER,
    signet_x509::REGISTER,
];

/// What the register says that `code` means; a test sees to it that it says something.
fn meaning(code: &str) -> &'static str {
    let mut all = REGISTERS.iter().flat_map(|register| register.iter());
    all.find(|entry| entry.code == code)
        .map_or("", |entry| entry.meaning)
}

fn remedy(code: &str) -> String {
    let texts = REGISTERS.iter().map(|register| remedy_of(register, code));
    texts.collect()
}

fn header_reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// The headers of every reply.
fn reply_headers() -> Map<String, Value> {
    ["x-request-id", "x-signet-seq"]
        .into_iter()
        .map(|name| (name.to_owned(), header_reference(name)))
        .collect()
}

fn headers() -> Value {
    let request_id = format!("^[A-Za-z0-9._-]{{1,{}}}$", RequestId::BYTES_MAX);
    json!({
        "x-request-id": {
            "description": "The request's id: the caller's, if well-formed, else a new one.", "required": true,
            "schema": {"type": "string", "pattern": request_id},
        },
        "x-signet-seq": {
            "description": "The change that the answer reflects.", "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
        "ETag": {
            "description": "The version of the entry, for `if-match`.", "required": true,
            "schema": {"type": "string", "pattern": "^\"[0-9]+\"$"},
        },
        "Location": {
            "description": "The path of what was made.", "required": true,
            "schema": {"type": "string", "pattern": "^/api/v1/"},
        },
        "Retry-After": {
            "description": "After how many seconds to try again.", "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_of_the_document_means_something() {
        for route in routes() {
            for (status, code) in refusals_of(route) {
                assert!(!meaning(code).is_empty(), "{code}");
                assert!((400..600).contains(&status), "{code}");
            }
        }
    }

    #[test]
    fn every_route_has_a_name_of_its_own_and_says_what_it_takes() {
        let mut ids = BTreeSet::new();
        for route in routes() {
            let what = route.operation;
            assert!(ids.insert(what.id), "{} twice", what.id);
            assert!(!what.summary.is_empty() && !what.answer.about.is_empty());
            assert_eq!(what.name.is_some(), route.path.contains('{'), "{}", route.path);
            assert!(!roles(route).is_empty(), "{}", route.path);
        }
    }
}
