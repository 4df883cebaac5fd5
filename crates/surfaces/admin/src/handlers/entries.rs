use crate::AdminError;
use crate::input::{Call, Format, reply, wrong};
use crate::page::{CURSOR_FORM, SCAN_STEP, gather, limit};
use crate::refusal::{FAULTS_MAX, Refusal, faults_of};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use signet_api::{
    EntriesCreated, EntryDoc, EntryFault, Page, PlacedEntry, ReadEntries, parse_entry, read_entry_array,
    read_entry_lines,
};
use signet_decision::Caller;
use signet_id::{IdPattern, Selector, SpiffeId, TrustDomain};
use signet_registry::{Entry, EntryFilter, EntryId, EntryProblems, NewEntry, RegistryError};
use signet_store::Seq;
use signet_time::{UnixTime, format_duration};
use std::sync::Arc;

pub(crate) async fn list(_: Caller, call: Call) -> Result<Response, Refusal> {
    let limit = limit(&call.query)?;
    let filter = filter(&call)?;
    let after = call
        .query
        .parsed("cursor", |text| EntryId::parse(text).ok_or(CURSOR_FORM))?;
    let registry = &call.shared.deps.registry;
    let step = |after, most| {
        let step = registry.read(|state| state.scan(after, &filter, SCAN_STEP, most));
        (step.found, step.last)
    };
    let (found, next) = gather(limit, after, step, |entry| entry.id).await;
    let items: Vec<_> = found.iter().map(|entry| document(entry)).collect();
    let next_cursor = next.map(|id| id.to_string());
    reply(StatusCode::OK, &Page { items, next_cursor })
}

fn filter(call: &Call) -> Result<EntryFilter, Refusal> {
    Ok(EntryFilter {
        spiffe_id: call.query.parsed("spiffe_id", IdPattern::parse)?,
        selectors: call.query.all_parsed("selector", Selector::parse)?,
        owner: call.query.one("owner").map(str::to_owned),
    })
}

pub(crate) async fn show(_: Caller, call: Call) -> Result<Response, Refusal> {
    let entry = existing(&call)?;
    one(StatusCode::OK, &entry)
}

pub(crate) async fn create(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let doc = read_one(&mut call)?;
    if let Some(fault) = id_given(&doc, 0) {
        return Err(Refusal::faulty("the entry", vec![fault]));
    }
    let origin = call.origin(&caller);
    let made = call.shared.deps.registry.create(&[draft(&doc)], origin).await?;
    let entry = made.first().ok_or(AdminError::Internal)?;
    let mut response = one(StatusCode::CREATED, entry)?;
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/entries/{}", entry.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn create_all(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let shared = Arc::clone(&call.shared);
    let format = call.format(&[Format::Json, Format::JsonLines])?;
    let text = call.text()?;
    let origin = call.origin(&caller);
    let (own, now) = (shared.deps.registry.trust_domain().clone(), origin.when);
    // Megabytes of JSON are no work for a thread that serves others.
    let reading = tokio::task::spawn_blocking(move || drafts_of(&text, format, &own, now));
    let (drafts, lines) = reading.await.map_err(|e| Refusal::internal(&e))??;
    let made = shared
        .deps
        .registry
        .create(&drafts, origin)
        .await
        .map_err(|e| Refusal::of_list(e, &lines))?;
    let created = made.iter().map(|entry| document(entry)).collect();
    reply(StatusCode::CREATED, &EntriesCreated { created })
}

/// A list of entries that was read, and what of it could not be.
pub(super) struct Drafts {
    pub(super) drafts: Vec<NewEntry>,
    /// Where each of them stood.
    pub(super) lines: Vec<usize>,
    pub(super) faults: Vec<EntryFault>,
}

impl Drafts {
    pub(super) fn read(text: &str, format: Format) -> Self {
        let ReadEntries { entries, mut faults } = match format {
            Format::Json => read_entry_array(text),
            Format::JsonLines => read_entry_lines(text),
        };
        faults.extend(
            entries
                .iter()
                .filter_map(|placed| id_given(&placed.doc, placed.line)),
        );
        Self {
            drafts: entries.iter().map(|placed| draft(&placed.doc)).collect(),
            lines: entries.iter().map(|placed: &PlacedEntry| placed.line).collect(),
            faults,
        }
    }
}

/// The drafts in `text` and their lines; or every fault of every line, of form and of content.
fn drafts_of(
    text: &str,
    format: Format,
    own: &TrustDomain,
    now: UnixTime,
) -> Result<(Vec<NewEntry>, Vec<usize>), Refusal> {
    let Drafts {
        drafts,
        lines,
        mut faults,
    } = Drafts::read(text, format);
    if faults.is_empty() {
        return Ok((drafts, lines));
    }
    // Nothing will be applied, so the lines that can be read are checked here: all that is wrong is told at once.
    for (index, draft) in drafts.iter().enumerate() {
        if faults.len() >= FAULTS_MAX {
            break;
        }
        if let Err(problems) = draft.check(own, now) {
            faults.extend(faults_of(&EntryProblems { index, problems }, &lines));
        }
    }
    Err(Refusal::faulty("the entries", faults))
}

pub(crate) async fn update(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let old = existing(&call)?;
    let expected = call.expected(old.seq)?;
    let doc = read_one(&mut call)?;
    if doc.id.as_ref().is_some_and(|id| *id != old.id.to_string()) {
        let message = format!("is the id of another entry than `{}`", old.id);
        return Err(Refusal::faulty("the entry", vec![id_fault(0, message)]));
    }
    let origin = call.origin(&caller);
    let registry = &call.shared.deps.registry;
    let entry = registry
        .update(old.id, &draft(&doc), expected, origin)
        .await
        .map_err(|e| raced(e, expected))?;
    one(StatusCode::OK, &entry)
}

pub(crate) async fn delete(caller: Caller, call: Call) -> Result<Response, Refusal> {
    let old = existing(&call)?;
    let expected = call.expected(old.seq)?;
    let origin = call.origin(&caller);
    call.shared
        .deps
        .registry
        .delete(old.id, expected, origin)
        .await
        .map_err(|e| raced(e, expected))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Somebody was faster: the caller's condition does not hold any more, if there was one.
fn raced(error: RegistryError, expected: Option<Seq>) -> Refusal {
    match error {
        RegistryError::Changed if expected.is_some() => AdminError::Precondition.into(),
        error => error.into(),
    }
}

fn existing(call: &Call) -> Result<Arc<Entry>, Refusal> {
    let id = EntryId::parse(call.id())
        .ok_or_else(|| wrong("id", &"the name of an entry is 32 lower-case hexadecimal digits"))?;
    let found = call.shared.deps.registry.read(|state| state.entry(id));
    found.ok_or_else(|| RegistryError::EntryUnknown { id }.into())
}

fn read_one(call: &mut Call) -> Result<EntryDoc, Refusal> {
    call.format(&[Format::Json])?;
    let text = call.text()?;
    parse_entry(&text).map_err(|faults| Refusal::faulty("the entry", faults))
}

/// The fault of a new entry that brings an id along.
pub(super) fn id_given(doc: &EntryDoc, line: usize) -> Option<EntryFault> {
    let message = "is given by the server, leave it out".to_owned();
    doc.id.as_ref().map(|_| id_fault(line, message))
}

pub(super) fn id_fault(line: usize, message: String) -> EntryFault {
    EntryFault {
        line,
        column: None,
        field: Some("id".to_owned()),
        same_as: None,
        message,
    }
}

/// A reply of one entry, with its version.
fn one(status: StatusCode, entry: &Entry) -> Result<Response, Refusal> {
    let mut response = reply(status, &document(entry))?;
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", entry.seq.0)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

pub(super) fn document(entry: &Entry) -> EntryDoc {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    EntryDoc {
        id: Some(entry.id.to_string()),
        spiffe_id: entry.spiffe_id.clone(),
        parent_id: entry.parent_id.clone(),
        selectors: entry.selectors.clone(),
        x509_ttl: Some(entry.x509_ttl),
        jwt_ttl: Some(entry.jwt_ttl),
        dns_names: entry.dns_names.clone(),
        hint: text(&entry.hint),
        owner: text(&entry.owner),
        federates_with: entry.federates_with.clone(),
        jwt_audiences: entry.jwt_audiences.clone(),
        expires_at: entry.expires_at,
    }
}

pub(super) fn draft(doc: &EntryDoc) -> NewEntry {
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
