//! How the server is, and saying so on the metrics port.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use signet_api::HealthView;
use signet_net::CancellationToken;
use signet_registry::Registry;
use signet_telemetry::Metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks a part that cannot report by itself what is wrong with it.
pub(crate) type Probe = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// How the server is. Ready unless somebody said otherwise.
pub(crate) struct Health {
    registry: Arc<Registry>,
    leaving: CancellationToken,
    probes: Vec<Probe>,
    failing: Mutex<BTreeMap<&'static str, String>>,
}

/// The software's version, as peers and people are told.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Health {
    pub(crate) fn new(registry: Arc<Registry>, leaving: CancellationToken, probes: Vec<Probe>) -> Self {
        Self {
            registry,
            leaving,
            probes,
            failing: Mutex::default(),
        }
    }

    /// `part` does not do its work, because of `why`.
    pub(crate) fn fail(&self, part: &'static str, why: String) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.insert(part, why);
    }

    /// `part` does its work again.
    pub(crate) fn recover(&self, part: &'static str) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.remove(part);
    }

    /// How the server is now.
    pub(crate) fn now(&self) -> signet_surface_admin::Health {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let told = failing.iter().map(|(part, why)| format!("{part}: {why}"));
        let reasons: Vec<String> = told
            .chain(self.probes.iter().filter_map(|probe| probe()))
            .collect();
        let status = if self.leaving.is_cancelled() {
            "draining"
        } else if reasons.is_empty() {
            "ready"
        } else {
            "failing"
        };
        signet_surface_admin::Health { status, reasons }
    }

    fn view(&self) -> HealthView {
        let signet_surface_admin::Health { status, reasons } = self.now();
        HealthView {
            status: status.to_owned(),
            reasons,
            trust_domain: self.registry.trust_domain().clone(),
            version: VERSION.to_owned(),
            seq: self.registry.followed().seq().0,
        }
    }
}

/// `/metrics`, `/health/live`, `/health/ready`.
pub(crate) fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .with_state(health)
        .route(
            "/metrics",
            get(move || async move {
                let kind = HeaderValue::from_static(signet_telemetry::CONTENT_TYPE);
                ([(header::CONTENT_TYPE, kind)], metrics.text())
            }),
        )
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let view = health.view();
    let status = if view.status == "ready" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let json = HeaderValue::from_static("application/json");
    // Strings and numbers always have a JSON form.
    let body = serde_json::to_vec(&view).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, json)], body)
}
