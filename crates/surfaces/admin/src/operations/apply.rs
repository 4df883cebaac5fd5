use super::entries::DRAFTS;
use crate::operation::{Answer, Body, JSON, Length, Media, Need, Operation, Parameter};
use crate::{samples, schemas};
use serde_json::json;

pub(crate) const PLAN: Operation = Operation {
    id: "planEntries",
    summary: "Compare entries with a list",
    description: "Says what would have to change for the entries to be those of the list, and changes nothing. A line \
                  is the entry with the same identity, parent and selectors.",
    name: None,
    query: &[Parameter {
        name: "prune",
        about: "Whether entries that no line says are to go.",
        schema: || json!({"type": "boolean", "default": false}),
        example: || json!(false),
    }],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::List,
        media: DRAFTS,
    }),
    answer: Answer {
        status: 200,
        about: "What would change.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("EntryPlan"),
            example: samples::entry_plan,
        }],
        headers: &[],
    },
    refusals: &[
        (400, "SGAD010"),
        (400, "SGAD011"),
        (409, "SGRG004"),
        (409, "SGRG005"),
        (415, "SGAD009"),
        (422, "SGAD011"),
        (422, "SGRG002"),
    ],
};

pub(crate) const APPLY: Operation = Operation {
    id: "applyEntries",
    summary: "Make many changes of entries at once",
    description: "All of them are made, or none: where an entry was touched after it was planned, nothing is applied.",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::List,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("ApplyRequest"),
            example: || json!({"create": [samples::draft()], "update": [], "delete": []}),
        }],
    }),
    answer: Answer {
        status: 200,
        about: "What was made, changed and deleted, in the order of the request.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("EntriesApplied"),
            example: || json!({"created": [samples::entry()], "updated": [], "deleted": [samples::ENTRY_ID]}),
        }],
        headers: &[],
    },
    refusals: &[
        (400, "SGAD010"),
        (400, "SGAD011"),
        (400, "SGAD007"),
        (404, "SGRG003"),
        (409, "SGRG004"),
        (409, "SGRG005"),
        (409, "SGRG007"),
        (409, "SGRG021"),
        (409, "SGRG025"),
        (415, "SGAD009"),
        (422, "SGAD011"),
        (422, "SGRG002"),
        (422, "SGRG022"),
        (422, "SGRG023"),
    ],
};
