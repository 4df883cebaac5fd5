//! Entries as a list says they should be: the comparison, and its changes in one commit.

use super::entries::{Drafts, document, draft, id_fault, id_given};
use super::orphans;
use crate::input::{Call, Format, malformed, reply, wrong};
use crate::refusal::{Refusal, faults_of};
use axum::response::Response;
use http::StatusCode;
use signet_api::{
    ApplyRequest, ENTRIES_MAX, EntriesApplied, EntryDoc, EntryFault, EntryPlanView, PlannedCreate,
    PlannedDelete, PlannedNothing, PlannedUpdate,
};
use signet_decision::Caller;
use signet_registry::{
    Entry, EntryChanges, EntryDeletion, EntryId, EntryPlan, EntryUpdate, Registry, RegistryError,
    RegistryState,
};
use signet_store::Seq;
use signet_time::UnixTime;
use std::sync::Arc;

/// Whether entries that no line says are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlisted {
    Stay,
    Go,
}

/// Says what would have to change for the entries to be those of the list. Changes nothing.
pub(crate) async fn plan(_: Caller, mut call: Call) -> Result<Response, Refusal> {
    let prune = call.query.parsed("prune", |text| match text {
        "true" => Ok(Unlisted::Go),
        "false" => Ok(Unlisted::Stay),
        _ => Err("it is neither true nor false"),
    })?;
    let unlisted = prune.unwrap_or(Unlisted::Stay);
    let format = call.format(&[Format::Json, Format::JsonLines])?;
    let text = call.text()?;
    let shared = Arc::clone(&call.shared);
    let now = shared.deps.clock.now();
    // Megabytes of JSON are no work for a thread that serves others.
    let planning =
        tokio::task::spawn_blocking(move || planned(&shared.deps.registry, &text, format, unlisted, now));
    let view = planning.await.map_err(|e| Refusal::internal(&e))??;
    reply(StatusCode::OK, &view)
}

fn planned(
    registry: &Registry,
    text: &str,
    format: Format,
    unlisted: Unlisted,
    now: UnixTime,
) -> Result<EntryPlanView, Refusal> {
    let Drafts {
        drafts,
        lines,
        mut faults,
    } = Drafts::read(text, format);
    if !faults.is_empty() {
        // Nothing will come of it, so everything else that is wrong is told as well.
        let bad = registry.problems(&drafts, now);
        faults.extend(bad.iter().flat_map(|entry| faults_of(entry, &lines)));
        return Err(Refusal::faulty("the entries", faults));
    }
    let plan = registry
        .plan(&drafts, now)
        .map_err(|e| Refusal::of_list(e, &lines))?;
    let gone = match unlisted {
        Unlisted::Stay => &[],
        Unlisted::Go => plan.unlisted.as_slice(),
    };
    let given = plan.create.len() + plan.update.len() + gone.len();
    if given > ENTRIES_MAX {
        // It could not be applied in one commit.
        let max = ENTRIES_MAX;
        return Err(RegistryError::Count { given, max }.into());
    }
    // One that somebody else changes meanwhile is left to the next plan: applying this one would be refused.
    let as_planned =
        |state: &RegistryState, it: &EntryDeletion| state.entry(it.id).filter(|e| e.seq == it.seq);
    let gone: Vec<_> = registry.read(|state| gone.iter().filter_map(|it| as_planned(state, it)).collect());
    Ok(view(&plan, &lines, &gone))
}

fn view(plan: &EntryPlan, lines: &[usize], gone: &[Arc<Entry>]) -> EntryPlanView {
    let line = |index: usize| lines.get(index).copied().unwrap_or(0);
    let create = plan.create.iter().map(|(index, entry)| PlannedCreate {
        line: line(*index),
        entry: EntryDoc {
            id: None,
            ..document(entry)
        },
    });
    let update = plan.update.iter().map(|update| PlannedUpdate {
        line: line(update.index),
        seq: update.old.seq.0,
        changes: document(&update.old).differences(&document(&update.new)),
        entry: document(&update.new),
    });
    let unchanged = plan.unchanged.iter().map(|(index, entry)| PlannedNothing {
        line: line(*index),
        id: entry.id.to_string(),
        spiffe_id: entry.spiffe_id.clone(),
    });
    let delete = gone.iter().map(|entry| PlannedDelete {
        seq: entry.seq.0,
        entry: document(entry),
    });
    EntryPlanView {
        create: create.collect(),
        update: update.collect(),
        unchanged: unchanged.collect(),
        delete: delete.collect(),
        unlisted: plan.unlisted.len(),
    }
}

/// Makes all changes of the request in one commit, or none of them.
pub(crate) async fn apply(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    call.format(&[Format::Json])?;
    let text = call.text()?;
    let reading = tokio::task::spawn_blocking(move || {
        let wish: ApplyRequest = serde_json::from_str(&text).map_err(|e| malformed(&e))?;
        changes(&wish)
    });
    let changes = reading.await.map_err(|e| Refusal::internal(&e))??;
    let origin = call.origin(&caller);
    // Places are counted through the new entries, then through the changed ones.
    let places: Vec<usize> = (1..=changes.create.len() + changes.update.len()).collect();
    let applied = call
        .shared
        .deps
        .registry
        .apply(&changes, origin)
        .await
        .map_err(|e| Refusal::of_list(e, &places))?;
    let documents =
        |entries: &[Arc<Entry>]| -> Vec<_> { entries.iter().map(|entry| document(entry)).collect() };
    let done = EntriesApplied {
        created: documents(&applied.created),
        updated: documents(&applied.updated),
        deleted: applied.deleted.iter().map(EntryId::to_string).collect(),
    };
    reply(StatusCode::OK, &done)
}

fn changes(wish: &ApplyRequest) -> Result<EntryChanges, Refusal> {
    let mut faults: Vec<EntryFault> = Vec::new();
    for (index, doc) in wish.create.iter().enumerate() {
        faults.extend(id_given(doc, index + 1));
    }
    let mut update = Vec::with_capacity(wish.update.len());
    for (index, wished) in wish.update.iter().enumerate() {
        match wished.entry.id.as_deref().and_then(EntryId::parse) {
            Some(id) => update.push(EntryUpdate {
                id,
                seq: Seq(wished.seq),
                draft: draft(&wished.entry),
            }),
            None => faults.push(id_fault(wish.create.len() + index + 1, ID_FORM.to_owned())),
        }
    }
    if !faults.is_empty() {
        return Err(Refusal::faulty("the changes", faults));
    }
    let mut delete = Vec::with_capacity(wish.delete.len());
    for wished in &wish.delete {
        let id = EntryId::parse(&wished.id).ok_or_else(|| wrong("delete", &ID_FORM))?;
        let orphaned_days = wished.orphaned_days.map(orphans::within).transpose();
        let orphaned_days = orphaned_days.map_err(|why| wrong("orphaned_days", &why))?;
        delete.push(EntryDeletion {
            id,
            seq: Seq(wished.seq),
            orphaned_days,
        });
    }
    Ok(EntryChanges {
        create: wish.create.iter().map(draft).collect(),
        update,
        delete,
    })
}

const ID_FORM: &str = "the id of an entry is 32 lower-case hexadecimal digits, as the plan gives it";
