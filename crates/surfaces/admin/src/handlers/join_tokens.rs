use crate::input::{Call, reply};
use crate::refusal::Refusal;
use axum::response::Response;
use http::StatusCode;
use signet_api::{JoinString, JoinTokenReply, JoinTokenRequest};
use signet_crypto::{Secret, digest};
use signet_decision::Caller;
use signet_id::SpiffeId;
use signet_keys::{KeyState, Keys, Purpose};
use signet_registry::JoinTokenWish;
use signet_time::format_duration;

/// Makes a join token. The answer is the only place where it is ever seen.
pub(crate) async fn create(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let wish: JoinTokenRequest = call.json()?.unwrap_or_default();
    let wish = JoinTokenWish {
        ttl: wish.ttl.map(format_duration),
        spiffe_id: wish.spiffe_id.as_ref().map(SpiffeId::to_string),
    };
    let origin = call.origin(&caller);
    let deps = &call.shared.deps;
    let (secret, token) = deps.registry.create_join_token(&wish, origin).await?;
    let join = JoinString {
        trust_domain: deps.registry.trust_domain().clone(),
        servers: deps.advertised.clone(),
        root_hashes: root_hashes(&deps.keys),
        token: Secret::new(secret.expose().into_bytes()),
    };
    let reply_doc = JoinTokenReply {
        join: join.encode().map_err(|e| Refusal::internal(&e))?,
        expires_at: token.expires_at,
        spiffe_id: token.node_id(deps.registry.trust_domain()),
    };
    reply(StatusCode::CREATED, &reply_doc)
}

/// SHA-256 of each root that a new node may meet: the active and the prepared ones that were not called off.
fn root_hashes(keys: &Keys) -> Vec<[u8; 32]> {
    keys.published(Purpose::X509Root)
        .iter()
        .filter(|key| key.state() < KeyState::Draining && !key.is_tainted())
        .filter_map(|key| key.certificate().map(|der| digest::sha256(der)))
        .collect()
}
