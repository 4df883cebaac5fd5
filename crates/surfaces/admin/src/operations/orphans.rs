use super::LIMIT;
use super::entries::{ENTRY_CURSOR, OWNER};
use crate::operation::{Answer, JSON, Media, Operation, Parameter};
use crate::{patterns, samples, schemas};
use serde_json::json;
use signet_api::ORPHAN_DAYS_DEFAULT;

pub(crate) const LIST: Operation = Operation {
    id: "listOrphanedEntries",
    summary: "List entries that nobody needs any more",
    description: "Oldest first: those whose end is past, and those that nothing was signed for in so many whole days. \
                  Days before the server watched do not count. To delete them, name each with its `seq` and \
                  `orphaned_days` to `applyEntries`.",
    name: None,
    query: &[
        LIMIT,
        ENTRY_CURSOR,
        Parameter {
            name: "days",
            about: "After how many whole days without use an entry counts as orphaned.",
            schema: || patterns::with(patterns::orphan_days(), "default", json!(ORPHAN_DAYS_DEFAULT)),
            example: || json!(ORPHAN_DAYS_DEFAULT),
        },
        OWNER,
    ],
    conditional: false,
    body: None,
    answer: Answer {
        status: 200,
        about: "One page of entries, each with why it is there.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("Orphans"),
            example: samples::orphans,
        }],
        headers: &[],
    },
    refusals: &[],
};
