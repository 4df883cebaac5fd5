use crate::input::{Call, reply};
use crate::refusal::Refusal;
use axum::response::Response;
use http::StatusCode;
use signet_api::{JoinString, JoinTokenReply, JoinTokenRequest};
use signet_crypto::Secret;
use signet_decision::Caller;
use signet_id::SpiffeId;
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
        servers: (deps.advertised)(),
        root_hashes: deps.keys.root_hashes(),
        token: Secret::new(secret.expose().into_bytes()),
    };
    let reply_doc = JoinTokenReply {
        join: join.encode().map_err(|e| Refusal::internal(&e))?,
        expires_at: token.expires_at,
        spiffe_id: token.node_id(deps.registry.trust_domain()),
    };
    reply(StatusCode::CREATED, &reply_doc)
}
