//! The way that every routed request takes: who, whether, and only then what.

use crate::deps::Shared;
use crate::input::{Call, cut};
use crate::metrics::Class;
use crate::operation::Length;
use crate::refusal::Refusal;
use crate::roles::{self, Roles};
use crate::{AdminError, Route, input};
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use http::Extensions;
use signet_decision::{ActionClass, Caller, Resource};
use signet_telemetry::RequestId;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{debug, error, info};

/// Marks replies of routes that exist.
#[derive(Clone, Copy)]
pub(crate) struct Handled;

/// Refuses what no route serves; whoever is no operator learns only that.
pub(crate) async fn unrouted(
    shared: Arc<Shared>,
    request: Request,
    why: impl FnOnce(String) -> AdminError,
) -> Response {
    let refusal = match roles::caller(&*shared.deps.roles, request.extensions()) {
        Ok(_) => why(cut(request.method().as_str())),
        Err(error) => error,
    };
    input::discard_denied(request.into_body()).await;
    Refusal::from(refusal).into_response()
}

pub(crate) async fn dispatch(route: &'static Route, shared: Arc<Shared>, request: Request) -> Response {
    let began = Instant::now();
    let serving = serve(route, Arc::clone(&shared), request);
    match route.action.class() {
        ActionClass::Read => serving.await,
        // A change that was begun is finished and logged, whether or not the caller waits for it.
        ActionClass::Change | ActionClass::Issue => match tokio::spawn(serving).await {
            Ok(response) => response,
            Err(failed) => {
                error!(action = route.action.name(), error = %failed, "administration request broke down");
                let mut response = Refusal::internal(&failed).into_response();
                shared
                    .series
                    .observe(Class::Change, response.status(), began.elapsed());
                response.extensions_mut().insert(Handled);
                response
            }
        },
    }
}

async fn serve(route: &'static Route, shared: Arc<Shared>, request: Request) -> Response {
    let began = Instant::now();
    let mut trace = Trace::new(route, request.extensions());
    let result = decide_and_serve(route, &shared, request, &mut trace).await;
    let mut response = match result {
        Ok(response) => {
            trace.done(response.status().as_u16());
            response
        }
        Err(refusal) => {
            trace.refused(&refusal);
            refusal.into_response()
        }
    };
    let class = Class::of(route.action.class());
    shared.series.observe(class, response.status(), began.elapsed());
    response.extensions_mut().insert(Handled);
    response
}

async fn decide_and_serve(
    route: &'static Route,
    shared: &Arc<Shared>,
    request: Request,
    trace: &mut Trace,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let id = path_id(&mut parts).await;
    let kind = route.kind();
    let resource = match &id {
        Ok(Some(id)) => Resource::one(kind, id.clone()),
        Ok(None) | Err(_) => Resource::all(kind),
    };
    trace.resource = cut(&resource.to_string());
    let caller = match permitted(&*shared.deps.roles, route, &parts.extensions, resource, trace) {
        Ok(caller) => caller,
        Err(refused) => {
            input::discard_denied(body).await;
            return Err(refused.into());
        }
    };
    let _turn = match route.length() {
        None | Some(Length::One) => None,
        // Held until the answer is ready: that many large bodies are in memory at once and no more.
        Some(Length::List) => Some(shared.bulk.acquire().await.map_err(|e| Refusal::internal(&e))?),
    };
    // Before anything else is said: whoever closes on a sender takes away the answer as well.
    let body = input::read(body, route.body_bytes_max()).await?;
    let call = Call {
        shared: Arc::clone(shared),
        request_id: trace.request_id.clone(),
        action: route.action,
        headers: parts.headers,
        id: id?,
        query: input::query(&parts.uri, route.operation.query)?,
        body,
    };
    (route.serve)(caller, call).await
}

/// The caller, if they may do exactly this to exactly this.
fn permitted(
    roles: &dyn Roles,
    route: &Route,
    extensions: &Extensions,
    resource: Resource,
    trace: &mut Trace,
) -> Result<Caller, AdminError> {
    let caller = roles::caller(roles, extensions)?;
    trace.who = caller.identity().to_string();
    let decision = caller.may(route.action, resource.clone());
    match decision.permit_for(route.action, &resource) {
        Ok(_) => Ok(caller),
        Err(_) => Err(AdminError::NotAllowed {
            action: route.action.name(),
            who: trace.who.clone(),
            needs: decision.would_allow().join(" or "),
        }),
    }
}

/// The name in the path, decoded.
async fn path_id(parts: &mut http::request::Parts) -> Result<Option<String>, AdminError> {
    let malformed = |_| AdminError::Parameter {
        name: "id".to_owned(),
        what: "is not UTF-8".to_owned(),
    };
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(malformed)?;
    Ok(params.iter().next().map(|(_, id)| id.to_owned()))
}

/// What the log says of a request.
struct Trace {
    route: &'static Route,
    request_id: RequestId,
    who: String,
    /// Safe to show: it may be what a caller wrote, and was taken through `cut`.
    resource: String,
}

impl Trace {
    fn new(route: &'static Route, extensions: &Extensions) -> Self {
        let request_id = extensions.get::<RequestId>().cloned();
        Self {
            route,
            request_id: request_id.unwrap_or_else(RequestId::generate),
            who: "unknown".to_owned(),
            resource: String::new(),
        }
    }

    fn done(&self, status: u16) {
        let (who, request_id, resource) = (&self.who, &self.request_id, &self.resource);
        let action = self.route.action.name();
        match self.route.action.class() {
            ActionClass::Read => {
                debug!(%who, action, %resource, %request_id, status, "administration request")
            }
            ActionClass::Change | ActionClass::Issue => {
                info!(%who, action, %resource, %request_id, status, "administration request");
            }
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let (who, request_id, resource) = (&self.who, &self.request_id, &self.resource);
        let (action, remedy) = (self.route.action.name(), &refusal.problem.remedy);
        let (status, code) = (refusal.problem.status, &refusal.problem.code);
        match &refusal.cause {
            Some(cause) => {
                error!(%who, action, %resource, %request_id, status, %code, %cause, "administration request failed");
            }
            None if status == 403 => {
                let detail = &refusal.problem.detail;
                info!(%who, action, %resource, %request_id, status, %code, detail, remedy, "administration request denied");
            }
            None => {
                info!(%who, action, %resource, %request_id, status, %code, "administration request refused")
            }
        }
    }
}
