use crate::deps::Shared;
use crate::handlers::{apply, entries, join_tokens, mint, nodes, server, trust};
use crate::input::Call;
use crate::refusal::Refusal;
use crate::{AdminError, BODY_BYTES_MAX, BULK_BYTES_MAX, Deps, around, dispatch};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use core::future::Future;
use core::pin::Pin;
use http::Method;
use signet_decision::{Action, Caller};
use std::sync::Arc;

/// One thing that the API can do.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{id}` stands for one name, percent-encoded.
    pub path: &'static str,
    /// What is decided about before anything else happens.
    pub action: Action,
    /// The query parameters that there are.
    pub query: &'static [&'static str],
    /// The longest body, in bytes.
    pub body_bytes_max: usize,
    pub(crate) serve: Serve,
}

/// A handler: nobody gets past the decision without a caller.
pub(crate) type Serve = fn(Caller, Call) -> Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send>>;

macro_rules! route {
    ($method:ident $path:literal $action:expr, $query:expr, $max:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            action: $action,
            query: &$query,
            body_bytes_max: $max,
            serve: |caller, call| Box::pin($handler(caller, call)),
        }
    };
}

/// What a list can be narrowed down to, and how it is paged.
const LIST: [&str; 5] = ["limit", "cursor", "spiffe_id", "selector", "owner"];
/// How a list is paged.
const PAGE: [&str; 2] = ["limit", "cursor"];

/// Every route there is. A route that is not here does not exist.
static ROUTES: &[Route] = &[
    route!(GET "/api/v1/entries" Action::read("entry.list"), LIST, 0, entries::list),
    route!(POST "/api/v1/entries" Action::change("entry.create"), [], BODY_BYTES_MAX, entries::create),
    route!(POST "/api/v1/entries/batch" Action::change("entry.create"), [], BULK_BYTES_MAX, entries::create_all),
    // Reads: the list to compare with is too long for a query.
    route!(POST "/api/v1/entries/plan" Action::read("entry.plan"), ["prune"], BULK_BYTES_MAX, apply::plan),
    route!(POST "/api/v1/entries/apply" Action::change("entry.apply"), [], BULK_BYTES_MAX, apply::apply),
    route!(GET "/api/v1/entries/{id}" Action::read("entry.show"), [], 0, entries::show),
    route!(PUT "/api/v1/entries/{id}" Action::change("entry.update"), [], BODY_BYTES_MAX, entries::update),
    route!(DELETE "/api/v1/entries/{id}" Action::change("entry.delete"), [], 0, entries::delete),
    route!(GET "/api/v1/nodes" Action::read("node.list"), PAGE, 0, nodes::list),
    route!(GET "/api/v1/nodes/{id}" Action::read("node.show"), [], 0, nodes::show),
    route!(POST "/api/v1/nodes/{id}/ban" Action::change("node.ban"), [], BODY_BYTES_MAX, nodes::ban),
    route!(DELETE "/api/v1/nodes/{id}" Action::change("node.evict"), [], 0, nodes::evict),
    route!(POST "/api/v1/join-tokens" Action::change("join_token.create"), [], BODY_BYTES_MAX, join_tokens::create),
    route!(POST "/api/v1/mint/x509" Action::MINT_X509_SVID, [], BODY_BYTES_MAX, mint::x509),
    route!(POST "/api/v1/mint/jwt" Action::MINT_JWT_SVID, [], BODY_BYTES_MAX, mint::jwt),
    route!(GET "/api/v1/bundle" Action::read("bundle.show"), ["format"], 0, trust::bundle),
    route!(GET "/api/v1/ca" Action::read("ca.show"), [], 0, trust::ca),
    route!(GET "/api/v1/server" Action::read("server.show"), [], 0, server::show),
    route!(GET "/api/v1/health" Action::read("health.show"), [], 0, server::health),
];

/// Every route there is.
#[must_use]
pub fn routes() -> &'static [Route] {
    ROUTES
}

/// The API over `deps`. The listener must say in each request's extensions who calls, as `signet_net` does.
pub fn router(deps: Deps) -> Router {
    let shared = Arc::new(Shared::new(deps));
    let mut router = Router::new();
    for route in ROUTES {
        let serve = move |State(shared): State<Arc<Shared>>, request: Request| {
            dispatch::dispatch(route, shared, request)
        };
        // The table holds only methods that have a filter: a test walks it.
        if let Ok(method) = MethodFilter::try_from(route.method.clone()) {
            router = router.route(route.path, on(method, serve));
        }
    }
    router
        .fallback(|State(shared): State<Arc<Shared>>, request: Request| {
            dispatch::unrouted(shared, request, |_| AdminError::NoRoute)
        })
        .method_not_allowed_fallback(|State(shared): State<Arc<Shared>>, request: Request| {
            dispatch::unrouted(shared, request, |method| AdminError::Method { method })
        })
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&shared),
            around::around,
        ))
        .with_state(shared)
}
