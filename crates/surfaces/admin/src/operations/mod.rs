//! The documentation of the routes, a file for each file of handlers.

pub(crate) mod apply;
pub(crate) mod entries;
pub(crate) mod join_tokens;
pub(crate) mod mint;
pub(crate) mod nodes;
pub(crate) mod orphans;
pub(crate) mod server;
pub(crate) mod trust;

use crate::operation::Parameter;
use serde_json::{Value, json};
use signet_api::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};

/// How a list is paged: how much.
const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "How many items the page holds at most.",
    schema: || json!({"type": "integer", "minimum": 1, "maximum": LIST_LIMIT_MAX, "default": LIST_LIMIT_DEFAULT}),
    example: || json!(LIST_LIMIT_DEFAULT),
};

/// What a cursor is told to be.
const CURSOR: &str = "The `next_cursor` of the page before; the first page without it.";

/// A page of what `items` describes.
fn page(items: &Value, example: &Value) -> (Value, Value) {
    let schema = json!({
        "type": "object",
        "required": ["items", "next_cursor"],
        "properties": {
            "items": {"type": "array", "maxItems": LIST_LIMIT_MAX, "items": items,
                "description": "The items, in a stable order."},
            "next_cursor": {"type": ["string", "null"],
                "description": "Where the next page begins; null on the last."},
        },
    });
    (schema, json!({"items": [example], "next_cursor": null}))
}
