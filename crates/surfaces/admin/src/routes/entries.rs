use crate::AdminError;
use crate::answer::{Answer, Call};
use crate::page::window;
use http::StatusCode;
use signet_api::{EntriesCreated, EntryDoc, PlacedEntry, parse_entry, parse_entry_array, parse_entry_lines};
use signet_decision::Caller;
use signet_id::{Selector, SpiffeId, TrustDomain};
use signet_registry::{Entry, EntryId, NewEntry, RegistryError};
use signet_time::format_duration;
use std::sync::Arc;

/// `?spiffe_id=`, `?selector=` and `?owner=` narrow the list down.
pub(crate) async fn list(_: Caller, call: Call) -> Result<Answer, AdminError> {
    let (mut spiffe_id, mut selector, mut owner) = (None, None, None);
    let window = window(&call, EntryId::parse, |name, value| {
        let wrong = |what: String| AdminError::Parameter {
            name: name.to_owned(),
            what,
        };
        match name {
            "spiffe_id" => spiffe_id = Some(SpiffeId::parse(value).map_err(|e| wrong(e.to_string()))?),
            "selector" => selector = Some(Selector::parse(value).map_err(|e| wrong(e.to_string()))?),
            "owner" => owner = Some(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let fits = |entry: &Entry| {
        spiffe_id.as_ref().is_none_or(|id| *id == entry.spiffe_id)
            && selector
                .as_ref()
                .is_none_or(|wanted| entry.selectors.contains(wanted))
            && owner.as_ref().is_none_or(|wanted| *wanted == entry.owner)
    };
    let page = call.admin.registry.read(|state| {
        let entries = state.entries_after(window.after).filter(|entry| fits(entry));
        window.page(entries.cloned(), |entry| entry.id.to_string(), |entry| doc(entry))
    });
    Answer::json(StatusCode::OK, &page)
}

pub(crate) async fn show(_: Caller, call: Call) -> Result<Answer, AdminError> {
    let id = call.entry_id()?;
    let found = call.admin.registry.read(|state| state.entry(id).cloned());
    let entry = found.ok_or(RegistryError::EntryUnknown { id })?;
    shown(StatusCode::OK, &entry)
}

pub(crate) async fn create(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    call.media_type("application/json", &["application/json"])?;
    let doc = parse_entry(call.text()?).map_err(AdminError::Entries)?;
    let draft = draft_of_new(&doc)?;
    let origin = call.origin(&caller);
    let created = call.admin.registry.create(&[draft], origin).await?;
    let entry = created.first().ok_or(AdminError::Answer)?;
    shown(StatusCode::CREATED, entry)
}

/// All of them or none.
pub(crate) async fn create_batch(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    let takes = "application/json (an array) or application/jsonl";
    let known = ["application/json", "application/jsonl", "application/x-ndjson"];
    let placed = match call.media_type(takes, &known)? {
        "application/json" => parse_entry_array(call.text()?),
        _ => parse_entry_lines(call.text()?),
    };
    let placed = placed.map_err(AdminError::Entries)?;
    let drafts = placed
        .iter()
        .map(|entry| draft_of_new(&entry.doc))
        .collect::<Result<Vec<_>, _>>()?;
    let origin = call.origin(&caller);
    let lines = |placed: &[PlacedEntry]| placed.iter().map(|entry| entry.line).collect();
    let created = call
        .admin
        .registry
        .create(&drafts, origin)
        .await
        .map_err(|source| AdminError::Placed {
            source,
            lines: lines(&placed),
        })?;
    let created = EntriesCreated {
        created: created.iter().map(|entry| doc(entry)).collect(),
    };
    Answer::json(StatusCode::CREATED, &created)
}

/// Replaces the whole entry. `If-Match` with an earlier `etag` makes sure that nobody else changed it meanwhile.
pub(crate) async fn update(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    let id = call.entry_id()?;
    call.media_type("application/json", &["application/json"])?;
    let wanted = parse_entry(call.text()?).map_err(AdminError::Entries)?;
    if wanted.id.as_ref().is_some_and(|named| *named != id.to_string()) {
        return Err(AdminError::Body {
            what: "`id` names another entry than the path".to_owned(),
        });
    }
    let (expected, origin) = (call.if_match()?, call.origin(&caller));
    let entry = call
        .admin
        .registry
        .update(id, &draft(&wanted), expected, origin)
        .await?;
    shown(StatusCode::OK, &entry)
}

pub(crate) async fn delete(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    let (id, expected, origin) = (call.entry_id()?, call.if_match()?, call.origin(&caller));
    call.admin.registry.delete(id, expected, origin).await?;
    Ok(Answer::nothing())
}

fn shown(status: StatusCode, entry: &Arc<Entry>) -> Result<Answer, AdminError> {
    Ok(Answer::json(status, &doc(entry))?.tagged(entry.seq))
}

/// The names of new entries are ours to give: two servers' lists would collide otherwise.
fn draft_of_new(doc: &EntryDoc) -> Result<NewEntry, AdminError> {
    if doc.id.is_some() {
        return Err(AdminError::Body {
            what: "`id` is given by the server: leave it out, or update the entry of that name".to_owned(),
        });
    }
    Ok(draft(doc))
}

fn draft(doc: &EntryDoc) -> NewEntry {
    NewEntry {
        spiffe_id: doc.spiffe_id.to_string(),
        parent_id: doc.parent_id.as_ref().map(SpiffeId::to_string),
        selectors: doc.selectors.iter().map(Selector::to_string).collect(),
        x509_ttl: doc.x509_ttl.map(format_duration),
        jwt_ttl: doc.jwt_ttl.map(format_duration),
        dns_names: doc.dns_names.clone(),
        hint: doc.hint.clone().unwrap_or_default(),
        owner: doc.owner.clone().unwrap_or_default(),
        federates_with: doc.federates_with.iter().map(TrustDomain::to_string).collect(),
        jwt_audiences: doc.jwt_audiences.clone(),
        expires_at: doc.expires_at.map(|at| at.to_string()),
    }
}

fn doc(entry: &Entry) -> EntryDoc {
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    EntryDoc {
        id: Some(entry.id.to_string()),
        spiffe_id: entry.spiffe_id.clone(),
        parent_id: entry.parent_id.clone(),
        selectors: entry.selectors.clone(),
        x509_ttl: Some(entry.x509_ttl),
        jwt_ttl: Some(entry.jwt_ttl),
        dns_names: entry.dns_names.clone(),
        hint: said(&entry.hint),
        owner: said(&entry.owner),
        federates_with: entry.federates_with.clone(),
        jwt_audiences: entry.jwt_audiences.clone(),
        expires_at: entry.expires_at,
    }
}
