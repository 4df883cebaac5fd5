use crate::input::{Call, reply};
use crate::openapi;
use crate::refusal::Refusal;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use signet_api::{HealthView, ServerView};
use signet_decision::Caller;

/// The version of the software; the workspace has one.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) async fn show(_: Caller, call: Call) -> Result<Response, Refusal> {
    let deps = &call.shared.deps;
    let view = ServerView {
        trust_domain: deps.registry.trust_domain().clone(),
        version: VERSION.to_owned(),
        jwt_issuer: deps.jwt_issuer.clone(),
        agents: (deps.advertised)(),
        time: deps.clock.now(),
    };
    reply(StatusCode::OK, &view)
}

pub(crate) async fn openapi(_: Caller, _: Call) -> Result<Response, Refusal> {
    let mut response = openapi::text().into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

pub(crate) async fn health(_: Caller, call: Call) -> Result<Response, Refusal> {
    let deps = &call.shared.deps;
    let health = (deps.health)();
    let view = HealthView {
        status: health.status.to_owned(),
        reasons: health.reasons,
        trust_domain: deps.registry.trust_domain().clone(),
        version: VERSION.to_owned(),
        seq: deps.registry.followed().seq().0,
    };
    reply(StatusCode::OK, &view)
}
