//! `/metrics`, `/health/live`, `/health/ready` for whoever watches the node.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use signet_telemetry::{CONTENT_TYPE, Metrics};
use std::sync::Arc;

/// How the agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ready`, or in one word why not: `starting`, `draining`.
    pub status: &'static str,
    /// What is wrong, if anything is. An agent that serves from memory is ready all the same.
    pub reasons: Vec<&'static str>,
    /// The software's version.
    pub version: &'static str,
    /// The change whose state is served.
    pub seq: Option<u64>,
}

impl Health {
    fn code(&self) -> StatusCode {
        if self.status == "ready" {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Where the answers come from.
pub(crate) struct Source {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Box<dyn Fn() -> Health + Send + Sync>,
}

pub(crate) fn router(source: Arc<Source>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/health/ready", get(ready))
        .with_state(source)
}

async fn metrics(State(source): State<Arc<Source>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], source.metrics.text()).into_response()
}

async fn ready(State(source): State<Arc<Source>>) -> Response {
    let health = (source.health)();
    (health.code(), Json(health)).into_response()
}
