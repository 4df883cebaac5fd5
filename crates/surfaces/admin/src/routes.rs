use crate::deps::Shared;
use crate::handlers::{apply, entries, join_tokens, mint, nodes, orphans, server, trust};
use crate::input::Call;
use crate::operation::{Length, Operation};
use crate::refusal::Refusal;
use crate::{AdminError, Deps, around, dispatch, operations};
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
    /// What is written down of it.
    pub operation: &'static Operation,
    pub(crate) serve: Serve,
}

impl Route {
    /// The longest body, in bytes; 0 where none is taken.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        self.length().map_or(0, Length::bytes_max)
    }

    pub(crate) fn length(&self) -> Option<Length> {
        self.operation.body.as_ref().map(|body| body.length)
    }

    /// The kind of thing that it is about: what stands before the dot in its action.
    pub(crate) fn kind(&self) -> &'static str {
        let name = self.action.name();
        name.split_once('.').map_or(name, |(kind, _)| kind)
    }
}

/// A handler: nobody gets past the decision without a caller.
pub(crate) type Serve = fn(Caller, Call) -> Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send>>;

macro_rules! route {
    ($method:ident $path:literal $action:expr, $operation:expr, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            action: $action,
            operation: &$operation,
            serve: |caller, call| Box::pin($handler(caller, call)),
        }
    };
}

/// Every route there is. A route that is not here does not exist.
static ROUTES: &[Route] = &[
    route!(GET "/api/v1/entries" Action::read("entry.list"), operations::entries::LIST, entries::list),
    route!(POST "/api/v1/entries" Action::change("entry.create"), operations::entries::CREATE, entries::create),
    route!(POST "/api/v1/entries/batch" Action::change("entry.create"), operations::entries::CREATE_ALL, entries::create_all),
    // Reads: the list to compare with is too long for a query.
    route!(POST "/api/v1/entries/plan" Action::read("entry.plan"), operations::apply::PLAN, apply::plan),
    route!(POST "/api/v1/entries/apply" Action::change("entry.apply"), operations::apply::APPLY, apply::apply),
    route!(GET "/api/v1/entries/orphaned" Action::read("entry.list"), operations::orphans::LIST, orphans::list),
    route!(GET "/api/v1/entries/{id}" Action::read("entry.show"), operations::entries::SHOW, entries::show),
    route!(PUT "/api/v1/entries/{id}" Action::change("entry.update"), operations::entries::UPDATE, entries::update),
    route!(DELETE "/api/v1/entries/{id}" Action::change("entry.delete"), operations::entries::DELETE, entries::delete),
    route!(GET "/api/v1/nodes" Action::read("node.list"), operations::nodes::LIST, nodes::list),
    route!(GET "/api/v1/nodes/{id}" Action::read("node.show"), operations::nodes::SHOW, nodes::show),
    route!(POST "/api/v1/nodes/{id}/ban" Action::change("node.ban"), operations::nodes::BAN, nodes::ban),
    route!(DELETE "/api/v1/nodes/{id}" Action::change("node.evict"), operations::nodes::EVICT, nodes::evict),
    route!(POST "/api/v1/join-tokens" Action::change("join_token.create"), operations::join_tokens::CREATE, join_tokens::create),
    route!(POST "/api/v1/mint/x509" Action::MINT_X509_SVID, operations::mint::X509, mint::x509),
    route!(POST "/api/v1/mint/jwt" Action::MINT_JWT_SVID, operations::mint::JWT, mint::jwt),
    route!(POST "/api/v1/mint/wit" Action::MINT_WIT_SVID, operations::mint::WIT, mint::wit),
    route!(GET "/api/v1/bundle" Action::read("bundle.show"), operations::trust::BUNDLE, trust::bundle),
    route!(GET "/api/v1/ca" Action::read("ca.show"), operations::trust::CA, trust::ca),
    route!(GET "/api/v1/server" Action::read("server.show"), operations::server::SHOW, server::show),
    // Open to those alone who may change: it holds everything.
    route!(POST "/api/v1/backup" Action::change("server.backup"), operations::server::BACKUP, server::backup),
    route!(GET "/api/v1/health" Action::read("health.show"), operations::server::HEALTH, server::health),
    route!(GET "/api/v1/openapi.json" Action::read("openapi.show"), operations::server::OPENAPI, server::openapi),
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
