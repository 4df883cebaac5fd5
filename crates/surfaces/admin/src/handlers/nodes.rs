use crate::input::{Call, reply, wrong};
use crate::page::{CURSOR_FORM, limit};
use crate::refusal::Refusal;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use signet_api::{BanRequest, NodeView, Page};
use signet_crypto::digest;
use signet_decision::Caller;
use signet_id::SpiffeId;
use signet_registry::{Node, RegistryError};

/// The reason that stands in the record where the caller gave none.
const NO_REASON: &str = "no reason given";

pub(crate) async fn list(_: Caller, call: Call) -> Result<Response, Refusal> {
    let limit = limit(&call.query)?;
    let after = call
        .query
        .parsed("cursor", |text| SpiffeId::parse(text).map_err(|_| CURSOR_FORM))?;
    let nodes = call.shared.deps.registry.read(|state| state.nodes());
    let mut rest = nodes
        .iter()
        .filter(|node| after.as_ref().is_none_or(|after| node.id > *after));
    let items: Vec<_> = rest.by_ref().take(limit).map(|node| view(node)).collect();
    let more = rest.next().is_some();
    let next_cursor = items.last().filter(|_| more).map(|node| node.id.to_string());
    reply(StatusCode::OK, &Page { items, next_cursor })
}

pub(crate) async fn show(_: Caller, call: Call) -> Result<Response, Refusal> {
    let id = node_id(&call)?;
    let found = call.shared.deps.registry.read(|state| state.node(&id).cloned());
    let node = found.ok_or(RegistryError::NodeUnknown { id })?;
    reply(StatusCode::OK, &view(&node))
}

pub(crate) async fn ban(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let id = node_id(&call)?;
    let wish = call.json::<BanRequest>()?;
    let reason = wish.map_or_else(|| NO_REASON.to_owned(), |wish| wish.reason);
    let origin = call.origin(&caller);
    let node = call.shared.deps.registry.ban_node(&id, &reason, origin).await?;
    reply(StatusCode::OK, &view(&node))
}

pub(crate) async fn evict(caller: Caller, call: Call) -> Result<Response, Refusal> {
    let id = node_id(&call)?;
    let origin = call.origin(&caller);
    call.shared.deps.registry.evict_node(&id, origin).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn node_id(call: &Call) -> Result<SpiffeId, Refusal> {
    SpiffeId::parse(call.id()).map_err(|e| wrong("id", &e))
}

fn view(node: &Node) -> NodeView {
    NodeView {
        id: node.id.clone(),
        attestor: node.attestor.clone(),
        join_token: node.join_token.map(|id| id.to_string()),
        key_sha256: digest::hex(&node.public_key_sha256),
        attested_at: node.attested_at,
        serial: node.svid.as_ref().map(|svid| svid.serial.clone()),
        expires_at: node.svid.as_ref().map(|svid| svid.not_after),
        banned: node.banned.is_some(),
        banned_at: node.banned.as_ref().map(|(at, _)| *at),
        ban_reason: node.banned.as_ref().map(|(_, reason)| reason.clone()),
        renewals: node.renewals.count,
        copies: node.renewals.copies,
        copied_at: node.renewals.copied_at,
    }
}
