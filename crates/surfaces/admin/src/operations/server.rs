use crate::operation::{Answer, JSON, Media, Operation};
use crate::{samples, schemas};
use serde_json::json;

pub(crate) const SHOW: Operation = Operation {
    id: "showServer",
    summary: "Show what the server is",
    description: "",
    name: None,
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The server.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("Server"),
            example: samples::server,
        }],
        headers: &[],
    },
    refusals: &[],
};

pub(crate) const HEALTH: Operation = Operation {
    id: "showHealth",
    summary: "Show whether the server serves",
    description: "The status is 200 whatever the health is: the answer says it. `/health/ready` on the metrics port \
                  answers by status.",
    name: None,
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The health.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("Health"),
            example: samples::health,
        }],
        headers: &[],
    },
    refusals: &[],
};

pub(crate) const BACKUP: Operation = Operation {
    id: "backUp",
    summary: "Take a backup",
    description: "The state at one change, while the server goes on. Private keys in it are sealed; the key of the seal \
                  is not in it, and neither is the record of what was issued. `signet server restore` takes it.",
    name: None,
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The backup.",
        media: &[Media {
            media_type: signet_store::backup::MEDIA_TYPE,
            schema: || json!({"type": "string", "format": "binary"}),
            example: || json!("signet backup 2\n"),
        }],
        headers: &[],
    },
    refusals: &[],
};

pub(crate) const OPENAPI: Operation = Operation {
    id: "showOpenApi",
    summary: "Show this document",
    description: "",
    name: None,
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "An OpenAPI 3.1 document.",
        media: &[Media {
            media_type: JSON,
            schema: || {
                json!({"type": "object", "required": ["openapi", "info", "paths", "components"],
                    "properties": {"openapi": {"const": crate::openapi::VERSION}}})
            },
            example: || json!({"openapi": crate::openapi::VERSION, "info": {}, "paths": {}, "components": {}}),
        }],
        headers: &[],
    },
    refusals: &[],
};
