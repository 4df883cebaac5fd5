//! Entries that nobody needs any more.

use super::entries::document;
use crate::input::{Call, reply};
use crate::page::{CURSOR_FORM, SCAN_STEP, gather, limit};
use crate::refusal::Refusal;
use axum::response::Response;
use http::StatusCode;
use signet_api::{ORPHAN_DAYS_DEFAULT, ORPHAN_DAYS_MAX, OrphanView, OrphansView};
use signet_decision::Caller;
use signet_registry::{EntryId, Orphan, OrphanRule};

pub(crate) async fn list(_: Caller, call: Call) -> Result<Response, Refusal> {
    let limit = limit(&call.query)?;
    let rule = OrphanRule {
        days: call.query.parsed("days", days)?.unwrap_or(ORPHAN_DAYS_DEFAULT),
        owner: call.query.one("owner").map(str::to_owned),
        now: call.shared.deps.clock.now(),
    };
    let after = call
        .query
        .parsed("cursor", |text| EntryId::parse(text).ok_or(CURSOR_FORM))?;
    let registry = &call.shared.deps.registry;
    let step = |after, most| {
        let step = registry.orphans(after, &rule, SCAN_STEP, most);
        (step.found, step.last)
    };
    let (found, next) = gather(limit, after, step, |orphan| orphan.entry.id).await;
    let page = OrphansView {
        next_cursor: next.map(|id| id.to_string()),
        items: found.iter().map(view).collect(),
        watched_since: registry.watched_since(),
        days: rule.days,
    };
    reply(StatusCode::OK, &page)
}

fn view(orphan: &Orphan) -> OrphanView {
    OrphanView {
        entry: document(&orphan.entry),
        seq: orphan.entry.seq.0,
        why: orphan.why.as_str().to_owned(),
        since: orphan.since,
        last_used: orphan.last_used,
    }
}

fn days(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    within(text.parse().ok().filter(|_| digits).unwrap_or(0))
}

/// So many days, if a rule may have them.
pub(super) fn within(days: u16) -> Result<u16, String> {
    let allowed = 1..=ORPHAN_DAYS_MAX;
    let is_allowed = allowed.contains(&days);
    is_allowed
        .then_some(days)
        .ok_or_else(|| format!("it is not a number from 1 to {ORPHAN_DAYS_MAX}"))
}
