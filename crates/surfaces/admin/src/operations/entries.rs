use super::{CURSOR, LIMIT, page};
use crate::operation::{Answer, Body, JSON, Length, Media, Need, Operation, Parameter};
use crate::{patterns, samples, schemas};
use serde_json::json;
use signet_api::ENTRIES_MAX;

const NAME: Parameter = Parameter {
    name: "id",
    about: "The entry's name, given by the server.",
    schema: || schemas::reference("EntryId"),
    example: || json!(samples::ENTRY_ID),
};

/// Where a page of entries begins.
pub(super) const ENTRY_CURSOR: Parameter = Parameter {
    name: "cursor",
    about: CURSOR,
    schema: || schemas::reference("EntryId"),
    example: || json!(samples::ENTRY_ID),
};

/// Whose entries a list holds.
pub(super) const OWNER: Parameter = Parameter {
    name: "owner",
    about: "Only entries that this owner answers for.",
    schema: || json!({"type": "string"}),
    example: || json!(samples::OWNER),
};

const ENTRY: Media = Media {
    media_type: JSON,
    schema: || schemas::reference("Entry"),
    example: samples::entry,
};

/// A list of entries as somebody wants them.
pub(super) const DRAFTS: &[Media] = &[
    Media {
        media_type: JSON,
        schema: || {
            json!({"type": "array", "minItems": 1, "maxItems": ENTRIES_MAX, "uniqueItems": true,
                        "items": schemas::reference("EntryDraft")})
        },
        example: || json!([samples::draft()]),
    },
    Media {
        media_type: "application/x-ndjson",
        schema: || {
            json!({"type": "string",
                        "description": "One `EntryDraft` a line; empty lines are passed over."})
        },
        example: || json!(format!("{}\n", samples::draft())),
    },
    Media {
        media_type: "application/jsonl",
        schema: || json!({"type": "string", "description": "The same as `application/x-ndjson`."}),
        example: || json!(format!("{}\n", samples::draft())),
    },
];

pub(crate) const LIST: Operation = Operation {
    id: "listEntries",
    summary: "List entries",
    description: "Oldest first. Several filters together narrow the list down to what matches all of them.",
    name: None,
    query: &[
        LIMIT,
        ENTRY_CURSOR,
        Parameter {
            name: "spiffe_id",
            about: "Only entries that give this identity, or that are this template.",
            schema: || schemas::reference("IdPattern"),
            example: || json!(samples::SPIFFE_ID),
        },
        Parameter {
            name: "selector",
            about: "Only entries that ask for this; repeat it for several.",
            schema: || json!({"type": "array", "items": patterns::selector()}),
            example: || json!([samples::SELECTOR]),
        },
        OWNER,
    ],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "One page of entries.",
        media: &[Media {
            media_type: JSON,
            schema: || page(&schemas::reference("Entry"), &samples::entry()).0,
            example: || page(&schemas::reference("Entry"), &samples::entry()).1,
        }],
        headers: &[],
    },
    refusals: &[],
};

pub(crate) const CREATE: Operation = Operation {
    id: "createEntry",
    summary: "Create an entry",
    description: "The server gives the id; what is left out gets the server's default.",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("EntryDraft"),
            example: samples::draft,
        }],
    }),
    answer: Answer {
        status: 201,
        about: "The entry as it was made.",
        media: &[ENTRY],
        headers: &["ETag", "Location"],
    },
    refusals: &[
        (400, "SGAD010"),
        (400, "SGAD011"),
        (415, "SGAD009"),
        (422, "SGAD011"),
        (409, "SGRG004"),
        (409, "SGRG005"),
        (422, "SGRG023"),
    ],
};

pub(crate) const CREATE_ALL: Operation = Operation {
    id: "createEntries",
    summary: "Create many entries at once",
    description: "All of them are created, or none: with one bad entry nothing is applied, and every fault of every \
                  entry is told with its line (of JSON lines) or its position (in an array).",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::List,
        media: DRAFTS,
    }),
    answer: Answer {
        status: 201,
        about: "The entries with their ids, in the order of the request.",
        media: &[Media {
            media_type: JSON,
            schema: || {
                json!({"type": "object", "required": ["created"], "properties": {
                    "created": {"type": "array", "maxItems": ENTRIES_MAX, "items": schemas::reference("Entry")}}})
            },
            example: || json!({"created": [samples::entry()]}),
        }],
        headers: &[],
    },
    refusals: &[
        (400, "SGAD010"),
        (400, "SGAD011"),
        (415, "SGAD009"),
        (422, "SGAD011"),
        (409, "SGRG004"),
        (409, "SGRG005"),
        (422, "SGRG002"),
        (422, "SGRG023"),
    ],
};

pub(crate) const SHOW: Operation = Operation {
    id: "showEntry",
    summary: "Show an entry",
    description: "The `etag` of the answer goes into `if-match` of a change.",
    name: Some(NAME),
    query: &[],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "The entry.",
        media: &[ENTRY],
        headers: &["ETag"],
    },
    refusals: &[(404, "SGRG003")],
};

pub(crate) const UPDATE: Operation = Operation {
    id: "updateEntry",
    summary: "Replace an entry",
    description: "The body is the whole entry: what is left out gets the server's default. With `if-match` only the \
                  version that the caller has seen is replaced.",
    name: Some(NAME),
    query: &[],
    conditional: true,
    body: Some(Body {
        need: Need::Required,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("EntryUpdate"),
            example: samples::draft,
        }],
    }),
    answer: Answer {
        status: 200,
        about: "The entry as it is now.",
        media: &[ENTRY],
        headers: &["ETag"],
    },
    refusals: &[
        (400, "SGAD010"),
        (400, "SGAD011"),
        (415, "SGAD009"),
        (422, "SGAD011"),
        (404, "SGRG003"),
        (409, "SGRG004"),
        (409, "SGRG005"),
        (409, "SGRG007"),
        (412, "SGAD014"),
        (422, "SGRG023"),
    ],
};

pub(crate) const DELETE: Operation = Operation {
    id: "deleteEntry",
    summary: "Delete an entry",
    description: "Agents stop serving the identity as soon as they hear of it. With `if-match` only the version that \
                  the caller has seen is deleted.",
    name: Some(NAME),
    query: &[],
    conditional: true,
    body: None,
    answer: Answer {
        status: 204,
        about: "The entry is gone.",
        media: &[],
        headers: &[],
    },
    refusals: &[(404, "SGRG003"), (409, "SGRG007"), (412, "SGAD014")],
};
