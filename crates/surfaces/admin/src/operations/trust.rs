use crate::operation::{Answer, JSON, Media, Operation, Parameter};
use crate::{samples, schemas};
use serde_json::json;

pub(crate) const BUNDLE: Operation = Operation {
    id: "showBundle",
    summary: "Show the trust bundle",
    description: "Without `format` all forms in one document; with it that form alone, in its own media type.",
    name: None,
    query: &[Parameter {
        name: "format",
        about: "One form alone.",
        schema: || json!({"type": "string", "enum": crate::handlers::trust::formats()}),
        example: || json!("spiffe"),
    }],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The bundle. `format=spiffe` is a SPIFFE bundle document as `application/json`.",
        media: &[
            Media {
                media_type: JSON,
                schema: || json!({"anyOf": [schemas::reference("Bundle"), schemas::reference("JwkSet")]}),
                example: samples::bundle,
            },
            Media {
                media_type: "application/jwk-set+json",
                schema: || schemas::reference("JwkSet"),
                example: || json!({"keys": []}),
            },
            Media {
                media_type: "application/x-pem-file",
                schema: || json!({"type": "string", "description": "The root certificates."}),
                example: || json!(samples::PEM),
            },
        ],
        headers: &[],
    },
    refusals: &[],
};

pub(crate) const CA: Operation = Operation {
    id: "showCa",
    summary: "Show the keys that the trust domain signs with",
    description: "Grouped by purpose, oldest first; never the private ones.",
    name: None,
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The keys.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("Ca"),
            example: samples::ca,
        }],
        headers: &[],
    },
    refusals: &[],
};
