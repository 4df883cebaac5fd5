use crate::BackupStream;
use crate::around::Reflects;
use crate::input::{Call, reply};
use crate::openapi;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use core::pin::Pin;
use core::task::{Context, Poll};
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use signet_api::{HealthView, ServerView};
use signet_decision::Caller;
use signet_store::StoreError;
use signet_store::backup::MEDIA_TYPE;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

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

pub(crate) async fn backup(_: Caller, call: Call) -> Result<Response, Refusal> {
    let shared = &call.shared;
    // While it is read the database keeps all that is written meanwhile beside it: few may do so at once.
    let turn = Arc::clone(&shared.bulk).acquire_owned().await;
    let turn = turn.map_err(|e| Refusal::internal(&e))?;
    let BackupStream { seq, chunks } = (shared.deps.backup)().await.map_err(|e| Refusal::internal(&e))?;
    let mut response = Body::new(Taken { chunks, _turn: turn }).into_response();
    let media = HeaderValue::from_static(MEDIA_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response.extensions_mut().insert(Reflects(seq));
    Ok(response)
}

/// A backup as the body of an answer. One that fails half way breaks the connection, so that nobody takes it for whole.
struct Taken {
    chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
    _turn: OwnedSemaphorePermit,
}

impl http_body::Body for Taken {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.chunks.poll_recv(context).map_ok(Frame::data)
    }
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
