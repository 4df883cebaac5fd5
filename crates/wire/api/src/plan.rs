//! Entries as a list says they should be: what would change, and the changes themselves.

use crate::EntryDoc;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use signet_id::IdPattern;

/// How a list of entries differs from those that the server holds.
///
/// A line is the entry that says the same: same `spiffe_id`, same `parent_id`, same `selectors` in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPlanView {
    /// Lines that no entry says.
    pub create: Vec<PlannedCreate>,
    /// Lines that an entry says with other details.
    pub update: Vec<PlannedUpdate>,
    /// Lines that an entry says in every detail.
    pub unchanged: Vec<PlannedNothing>,
    /// Entries that no line says; listed where the plan is to prune.
    pub delete: Vec<PlannedDelete>,
    /// How many entries no line says, whether or not they are listed.
    pub unlisted: usize,
}

/// An entry that would be new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCreate {
    /// The line, or the position in an array; from 1.
    pub line: usize,
    /// The entry, defaults filled in; without an id.
    pub entry: EntryDoc,
}

/// An entry that would say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUpdate {
    /// The line, or the position in an array; from 1.
    pub line: usize,
    /// The change that touched the entry last.
    pub seq: u64,
    /// The entry as it would be, with its id.
    pub entry: EntryDoc,
    /// The members that would change.
    pub changes: Vec<MemberChange>,
}

/// An entry that is as its line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedNothing {
    /// The line, or the position in an array; from 1.
    pub line: usize,
    /// The entry's id.
    pub id: String,
    /// The identity that it gives, or its template.
    pub spiffe_id: IdPattern,
}

/// An entry that would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDelete {
    /// The change that touched the entry last.
    pub seq: u64,
    /// The entry, with its id.
    pub entry: EntryDoc,
}

/// One member of an entry that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Its name.
    pub field: String,
    /// What it is.
    pub from: Value,
    /// What it would be.
    pub to: Value,
}

/// Changes of entries that are made together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// New entries, without ids.
    #[serde(default)]
    pub create: Vec<EntryDoc>,
    /// Entries that are to say something else.
    #[serde(default)]
    pub update: Vec<ApplyUpdate>,
    /// Entries that are to go.
    #[serde(default)]
    pub delete: Vec<ApplyDelete>,
}

/// An entry that is to say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyUpdate {
    /// The change that touched the entry last when this was planned. If another one did since, nothing is applied.
    pub seq: u64,
    /// The entry as it is to be, with its id.
    pub entry: EntryDoc,
}

/// An entry that is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyDelete {
    /// The entry's id.
    pub id: String,
    /// The change that touched the entry last when this was planned. If another one did since, nothing is applied.
    pub seq: u64,
    /// It is to go as an orphan, by the rule of so many days: if it is none any more, nothing is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphaned_days: Option<u16>,
}

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntriesApplied {
    /// The new entries with their ids, in the order of the request.
    pub created: Vec<EntryDoc>,
    /// The changed entries, in the order of the request.
    pub updated: Vec<EntryDoc>,
    /// The ids of the deleted entries, in the order of the request.
    pub deleted: Vec<String>,
}

impl EntryPlanView {
    /// Whether applying it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes() == 0
    }

    /// How many entries it would create, change and delete.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.create.len() + self.update.len() + self.delete.len()
    }

    /// The changes that make it so.
    #[must_use]
    pub fn request(&self) -> ApplyRequest {
        let create = self.create.iter().map(|planned| planned.entry.clone());
        let update = self.update.iter().map(|planned| ApplyUpdate {
            seq: planned.seq,
            entry: planned.entry.clone(),
        });
        let delete = self.delete.iter().map(|planned| ApplyDelete {
            id: planned.entry.id.clone().unwrap_or_default(),
            seq: planned.seq,
            orphaned_days: None,
        });
        ApplyRequest {
            create: create.collect(),
            update: update.collect(),
            delete: delete.collect(),
        }
    }
}

impl EntryDoc {
    /// The members in which `to` says something else than this entry, in the order they are written; the id is none.
    #[must_use]
    pub fn differences(&self, to: &Self) -> Vec<MemberChange> {
        // An entry always has a JSON form, so an absent member means that there is no such member.
        let json = |doc: &Self| serde_json::to_value(doc).unwrap_or_default();
        let (one, other) = (json(self), json(to));
        let differing = Self::MEMBERS
            .iter()
            .filter(|member| **member != "id" && one.get(member) != other.get(member));
        differing
            .map(|member| MemberChange {
                field: (*member).to_owned(),
                from: one.get(member).cloned().unwrap_or_default(),
                to: other.get(member).cloned().unwrap_or_default(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use signet_id::Selector;

    fn doc() -> EntryDoc {
        EntryDoc::new(
            IdPattern::parse("spiffe://dev.test/a").unwrap(),
            vec![Selector::parse("unix:uid:1000").unwrap()],
        )
    }

    #[test]
    fn differences_name_the_members_and_both_values() {
        let to = EntryDoc {
            id: Some("0".repeat(32)),
            x509_ttl: Some(Duration::from_secs(60)),
            hint: Some("h".to_owned()),
            ..doc()
        };
        assert_eq!(doc().differences(&doc()), []);
        let json = serde_json::to_value(doc().differences(&to)).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                {"field": "x509_ttl", "from": null, "to": "1m"},
                {"field": "hint", "from": null, "to": "h"},
            ])
        );
    }

    #[test]
    fn the_request_of_a_plan_names_what_it_was_planned_from() {
        let known = EntryDoc {
            id: Some("1".repeat(32)),
            ..doc()
        };
        let plan = EntryPlanView {
            create: vec![PlannedCreate {
                line: 1,
                entry: doc(),
            }],
            update: vec![PlannedUpdate {
                line: 2,
                seq: 7,
                entry: known.clone(),
                changes: Vec::new(),
            }],
            delete: vec![PlannedDelete {
                seq: 9,
                entry: known.clone(),
            }],
            ..EntryPlanView::default()
        };
        assert_eq!((plan.changes(), plan.is_empty()), (3, false));
        let request = plan.request();
        assert_eq!(request.create, [doc()]);
        assert_eq!((request.update[0].seq, &request.update[0].entry), (7, &known));
        assert_eq!((request.delete[0].seq, request.delete[0].id.len()), (9, 32));
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ApplyRequest>(&json).unwrap(), request);
        assert!(serde_json::from_str::<ApplyRequest>("{\"prune\":true}").is_err());
    }
}
