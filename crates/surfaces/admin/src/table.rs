//! Every route there is, in one place.

use crate::AdminError;
use crate::answer::{Answer, Call};
use crate::routes::{entries, nodes, trust};
use http::Method;
use signet_decision::{Action, Caller};
use std::future::Future;
use std::pin::Pin;

pub(crate) type Handled = Pin<Box<dyn Future<Output = Result<Answer, AdminError>> + Send>>;

/// One route.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; braces stand for one segment, percent-encoded where need be.
    pub path: &'static str,
    /// What it does. The caller's roles must cover it.
    pub action: Action,
    /// The longest body, in bytes.
    pub(crate) body_bytes_max: usize,
    /// Every handler is given the caller who may.
    pub(crate) handler: fn(Caller, Call) -> Handled,
}

impl core::fmt::Debug for Route {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {} ({})", self.method, self.path, self.action.name())
    }
}

/// A body that says little or nothing.
const SMALL: usize = 64 << 10;
/// A body of up to ten thousand entries of usual length.
const BULK: usize = 16 << 20;

macro_rules! route {
    ($method:ident $path:literal $action:expr, $max:ident, $handler:path) => {
        Route {
            method: Method::$method,
            path: $path,
            action: $action,
            body_bytes_max: $max,
            handler: |caller, call| Box::pin($handler(caller, call)),
        }
    };
}

/// The whole API.
pub const ROUTES: &[Route] = &[
    route!(GET "/api/v1/entries" Action::read("entry.list"), SMALL, entries::list),
    route!(POST "/api/v1/entries" Action::change("entry.create"), SMALL, entries::create),
    route!(POST "/api/v1/entries/batch" Action::change("entry.create"), BULK, entries::create_batch),
    route!(GET "/api/v1/entries/{id}" Action::read("entry.show"), SMALL, entries::show),
    route!(PUT "/api/v1/entries/{id}" Action::change("entry.update"), SMALL, entries::update),
    route!(DELETE "/api/v1/entries/{id}" Action::change("entry.delete"), SMALL, entries::delete),
    route!(GET "/api/v1/nodes" Action::read("node.list"), SMALL, nodes::list),
    route!(GET "/api/v1/nodes/{id}" Action::read("node.show"), SMALL, nodes::show),
    route!(POST "/api/v1/nodes/{id}/ban" Action::change("node.ban"), SMALL, nodes::ban),
    route!(DELETE "/api/v1/nodes/{id}" Action::change("node.evict"), SMALL, nodes::evict),
    route!(POST "/api/v1/join-tokens" Action::change("join_token.create"), SMALL, nodes::create_join_token),
    route!(GET "/api/v1/ca" Action::read("ca.show"), SMALL, trust::ca),
    route!(GET "/api/v1/bundle" Action::read("bundle.show"), SMALL, trust::bundle),
    route!(GET "/api/v1/health" Action::read("health.show"), SMALL, trust::health),
];
