use crate::operation::{Answer, Body, JSON, Length, Media, Need, Operation};
use crate::{samples, schemas};
use serde_json::json;

pub(crate) const CREATE: Operation = Operation {
    id: "createJoinToken",
    summary: "Make a join string",
    description: "The join string is a secret until it is used, and is shown in this answer only.",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Optional,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("JoinTokenRequest"),
            example: || json!({"ttl": "10m", "spiffe_id": null}),
        }],
    }),
    answer: Answer {
        status: 201,
        about: "The join string, this once.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("JoinToken"),
            example: samples::join_token,
        }],
        headers: &[],
    },
    refusals: &[
        (400, "SGAD010"),
        (409, "SGRG005"),
        (409, "SGRG006"),
        (415, "SGAD009"),
        (422, "SGRG013"),
    ],
};
