use crate::AdminError;
use crate::answer::{Answer, Call};
use crate::page::window;
use crate::routes::trust::root_hashes;
use http::StatusCode;
use signet_api::{BanRequest, JoinString, JoinTokenReply, JoinTokenRequest, NodeView};
use signet_crypto::{Secret, digest};
use signet_decision::Caller;
use signet_id::SpiffeId;
use signet_registry::{JoinTokenWish, Node, RegistryError};
use signet_time::format_duration;

pub(crate) async fn list(_: Caller, call: Call) -> Result<Answer, AdminError> {
    let window = window(&call, |text| SpiffeId::parse(text).ok(), |_, _| Ok(false))?;
    let nodes = call.admin.registry.read(|state| state.nodes());
    let from = nodes
        .into_iter()
        .filter(|node| window.after.as_ref().is_none_or(|after| node.id > *after));
    let page = window.page(from, |node| node.id.to_string(), |node| view(node));
    Answer::json(StatusCode::OK, &page)
}

pub(crate) async fn show(_: Caller, call: Call) -> Result<Answer, AdminError> {
    let id = call.spiffe_id()?;
    let found = call.admin.registry.read(|state| state.node(&id).cloned());
    let node = found.ok_or(RegistryError::NodeUnknown { id })?;
    Answer::json(StatusCode::OK, &view(&node))
}

/// A body with the reason is welcome and may be left out.
pub(crate) async fn ban(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    let id = call.spiffe_id()?;
    let reason = if call.body.is_empty() {
        format!("banned by {}", caller.identity())
    } else {
        call.json::<BanRequest>()?.reason
    };
    let origin = call.origin(&caller);
    let node = call.admin.registry.ban_node(&id, &reason, origin).await?;
    Answer::json(StatusCode::OK, &view(&node))
}

pub(crate) async fn evict(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    let (id, origin) = (call.spiffe_id()?, call.origin(&caller));
    call.admin.registry.evict_node(&id, origin).await?;
    Ok(Answer::nothing())
}

/// The join string is in this answer and nowhere else.
pub(crate) async fn create_join_token(caller: Caller, call: Call) -> Result<Answer, AdminError> {
    let request: JoinTokenRequest = if call.body.is_empty() {
        JoinTokenRequest::default()
    } else {
        call.json()?
    };
    let wish = JoinTokenWish {
        ttl: request.ttl.map(format_duration),
        spiffe_id: request.spiffe_id.as_ref().map(SpiffeId::to_string),
    };
    let origin = call.origin(&caller);
    let registry = &call.admin.registry;
    let (secret, token) = registry.create_join_token(&wish, origin).await?;
    let join = JoinString {
        trust_domain: registry.trust_domain().clone(),
        servers: call.admin.servers.clone(),
        root_hashes: root_hashes(&call.admin.keys),
        token: Secret::new(secret.expose().into_bytes()),
    };
    let reply = JoinTokenReply {
        join: join.encode().map_err(AdminError::Join)?,
        expires_at: token.expires_at,
        spiffe_id: token.node_id(registry.trust_domain()),
    };
    Answer::json(StatusCode::CREATED, &reply)
}

fn view(node: &Node) -> NodeView {
    let (banned_at, ban_reason) = node.banned.clone().unzip();
    let (serial, expires_at) = node
        .svid
        .clone()
        .map(|svid| (svid.serial, svid.not_after))
        .unzip();
    NodeView {
        id: node.id.clone(),
        attestor: node.attestor.clone(),
        join_token: node.join_token.map(|id| id.to_string()),
        key_sha256: digest::hex(&node.public_key_sha256),
        attested_at: node.attested_at,
        serial,
        expires_at,
        banned: banned_at.is_some(),
        banned_at,
        ban_reason,
    }
}
