use super::{CURSOR, LIMIT, page};
use crate::operation::{Answer, Body, JSON, Length, Media, Need, Operation, Parameter};
use crate::{samples, schemas};
use serde_json::json;

const NAME: Parameter = Parameter {
    name: "id",
    about: "The node's SPIFFE ID, percent-encoded.",
    schema: || schemas::reference("SpiffeId"),
    example: || json!(samples::NODE_ID),
};

const NODE: Media = Media {
    media_type: JSON,
    schema: || schemas::reference("Node"),
    example: samples::node,
};

pub(crate) const LIST: Operation = Operation {
    id: "listNodes",
    summary: "List nodes",
    description: "Every node that proved itself, in the order of their SPIFFE IDs.",
    name: None,
    query: &[
        LIMIT,
        Parameter {
            name: "cursor",
            about: CURSOR,
            schema: || schemas::reference("SpiffeId"),
            example: || json!(samples::NODE_ID),
        },
    ],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "One page of nodes.",
        media: &[Media {
            media_type: JSON,
            schema: || page(&schemas::reference("Node"), &samples::node()).0,
            example: || page(&schemas::reference("Node"), &samples::node()).1,
        }],
        headers: &[],
    },
    refusals: &[],
};

pub(crate) const SHOW: Operation = Operation {
    id: "showNode",
    summary: "Show a node",
    description: "",
    name: Some(NAME),
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The node.",
        media: &[NODE],
        headers: &[],
    },
    refusals: &[(404, "SGRG008")],
};

pub(crate) const BAN: Operation = Operation {
    id: "banNode",
    summary: "Bar a node",
    description: "The node gets nothing any more, until its record is removed.",
    name: Some(NAME),
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Optional,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("BanRequest"),
            example: || json!({"reason": samples::REASON}),
        }],
    }),
    answer: Answer {
        status: 200,
        about: "The node as it is now.",
        media: &[NODE],
        headers: &[],
    },
    refusals: &[
        (400, "SGAD010"),
        (404, "SGRG008"),
        (409, "SGRG007"),
        (415, "SGAD009"),
        (422, "SGRG014"),
    ],
};

pub(crate) const EVICT: Operation = Operation {
    id: "evictNode",
    summary: "Remove a node's record",
    description: "The node has to join again, with a new join string.",
    name: Some(NAME),
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 204,
        about: "The record is gone.",
        media: &[],
        headers: &[],
    },
    refusals: &[(404, "SGRG008"), (409, "SGRG007")],
};
