use crate::documents::Kind;
use crate::metrics::Series;
use crate::{Publisher, answer};
use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use signet_telemetry::Metrics;
use std::sync::Arc;

/// One path and what is published there.
#[derive(Debug)]
pub struct Route {
    /// The path.
    pub path: &'static str,
    pub(crate) kind: Kind,
}

const fn route(path: &'static str, kind: Kind) -> Route {
    Route { path, kind }
}

/// Everything that is published. A path that is not here does not exist.
///
/// An issuer's document stands under the names of both standards, with the same bytes: OpenID Connect appends its
/// well-known name to the issuer's path, RFC 8414 §3.1 puts it in front.
static ROUTES: &[Route] = &[
    route("/.well-known/openid-configuration", Kind::Oauth),
    route("/.well-known/oauth-authorization-server", Kind::Oauth),
    route("/oauth2/jwks", Kind::OauthJwks),
    route("/workload/.well-known/openid-configuration", Kind::Workload),
    route("/.well-known/oauth-authorization-server/workload", Kind::Workload),
    route("/workload/jwks", Kind::WorkloadJwks),
    route("/bundle", Kind::Bundle),
    route("/ca/root.pem", Kind::Roots),
];

/// Every route there is.
#[must_use]
pub fn routes() -> &'static [Route] {
    ROUTES
}

/// What the answers need.
pub(crate) struct Shared {
    pub(crate) publisher: Publisher,
    pub(crate) series: Series,
}

/// The public port over what `publisher` shows.
pub fn router(publisher: Publisher, metrics: &Metrics) -> Router {
    let shared = Arc::new(Shared {
        publisher,
        series: Series::new(metrics),
    });
    let mut router = Router::new();
    for route in ROUTES {
        let shared = Arc::clone(&shared);
        let serve = move |request: Request| {
            let shared = Arc::clone(&shared);
            async move { answer::document(&shared, route.kind, &request) }
        };
        // Every method: what is no method of a document is refused in its words.
        router = router.route(route.path, any(serve));
    }
    router.fallback(move |request: Request| {
        let shared = Arc::clone(&shared);
        async move { answer::absent(&shared, &request) }
    })
}
