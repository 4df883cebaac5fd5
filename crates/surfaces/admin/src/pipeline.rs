//! What happens before and after every handler.

use crate::answer::{Answer, Call};
use crate::table::{ROUTES, Route};
use crate::{Admin, AdminError};
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use core::time::Duration;
use http::{HeaderName, HeaderValue, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use signet_api::PROBLEM_JSON;
use signet_decision::{ActionClass, Caller, Resource};
use signet_fault::{Coded as _, chain};
use signet_telemetry::RequestId;
use std::sync::Arc;
use tracing::{debug, error, info};

const SEQ: HeaderName = HeaderName::from_static("x-signet-seq");
const REQUEST_ID: HeaderName = HeaderName::from_static(RequestId::HEADER);

/// From the head of a request to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The service of the whole API. It expects the listener to say in the extensions who calls.
pub fn router(admin: Arc<Admin>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let admin = Arc::clone(&admin);
        let handler = move |request: Request| run(Arc::clone(&admin), Some(route), request);
        // The table holds only methods that have a filter; a test walks it.
        if let Ok(filter) = MethodFilter::try_from(route.method.clone()) {
            router = router.route(route.path, on(filter, handler));
        }
    }
    let absent = Arc::clone(&admin);
    router
        .method_not_allowed_fallback(move |request: Request| {
            refuse(Arc::clone(&admin), request, |method, path| AdminError::Method {
                method,
                path,
            })
        })
        .fallback(move |request: Request| {
            refuse(Arc::clone(&absent), request, |_, path| AdminError::NoRoute {
                path,
            })
        })
}

/// Answers what no route answers, to operators; everybody else learns only that they are none.
async fn refuse(
    admin: Arc<Admin>,
    request: Request,
    with: impl FnOnce(String, String) -> AdminError,
) -> Response {
    let request_id = request_id(&request);
    let path: String = request.uri().path().chars().take(128).collect();
    let error = match admin.identify.caller(request.extensions()) {
        Ok(_) => with(request.method().to_string(), path.clone()),
        Err(error) => error,
    };
    finish(&admin, None, &request_id, &path, None, Err(error))
}

async fn run(admin: Arc<Admin>, route: Option<&'static Route>, request: Request) -> Response {
    let request_id = request_id(&request);
    let path = request.uri().path().to_owned();
    let caller = admin.identify.caller(request.extensions());
    let who = caller.as_ref().ok().cloned();
    let outcome = match (caller, route) {
        (Ok(caller), Some(route)) => handle(&admin, route, caller, request_id.clone(), request).await,
        (Ok(_), None) => Err(AdminError::NoRoute { path: path.clone() }),
        (Err(error), _) => Err(error),
    };
    finish(&admin, route, &request_id, &path, who.as_ref(), outcome)
}

async fn handle(
    admin: &Arc<Admin>,
    route: &'static Route,
    caller: Caller,
    request_id: RequestId,
    request: Request,
) -> Result<Answer, AdminError> {
    // Before the body: who may not do it does not make us read anything either.
    let decision = caller.may(route.action, Resource::all(kind_of(route)));
    if decision.permit().is_err() {
        return Err(AdminError::NotAllowed {
            action: route.action.name(),
            who: caller.identity().to_string(),
            needs: decision.would_allow().join(" or "),
        });
    }
    let (mut parts, body) = request.into_parts();
    let segments = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| AdminError::Parameter {
            name: "path".to_owned(),
            what: "is not UTF-8".to_owned(),
        })?;
    let segments = segments
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let query = axum::extract::Query::try_from_uri(&parts.uri)
        .map_err(|e| AdminError::Parameter {
            name: "query".to_owned(),
            what: e.to_string(),
        })?
        .0;
    let call = Call {
        admin: Arc::clone(admin),
        action: route.action,
        request_id,
        segments,
        query,
        headers: parts.headers,
        body: read_body(body, route.body_bytes_max).await?,
    };
    (route.handler)(caller, call).await
}

async fn read_body(body: Body, max: usize) -> Result<Bytes, AdminError> {
    let whole = Limited::new(body, max).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(AdminError::BodyLength { max }),
        Ok(Err(_)) => Err(AdminError::BodyBroken),
        Err(_) => Err(AdminError::BodySlow {
            seconds: BODY_TIMEOUT.as_secs(),
        }),
    }
}

/// Turns an outcome into an answer, and says in the log what happened.
fn finish(
    admin: &Admin,
    route: Option<&Route>,
    request_id: &RequestId,
    path: &str,
    caller: Option<&Caller>,
    outcome: Result<Answer, AdminError>,
) -> Response {
    let action = route.map_or("none", |route| route.action.name());
    let who = caller
        .map(|caller| caller.identity().to_string())
        .unwrap_or_default();
    let answer = match outcome {
        Ok(answer) => {
            let status = answer.status.as_u16();
            match route.map(|route| route.action.class()) {
                Some(ActionClass::Change | ActionClass::Issue) => {
                    info!(%request_id, action, caller = who, status, "administration request");
                }
                _ => debug!(%request_id, action, caller = who, status, "administration request"),
            }
            answer
        }
        Err(failure) => {
            let mut problem = failure.problem();
            let (code, status) = (failure.code(), problem.status);
            if status >= 500 {
                error!(%request_id, action, caller = who, status, code, error = chain(&failure), "administration request failed");
            } else {
                info!(%request_id, action, caller = who, status, code, error = chain(&failure), "administration request refused");
            }
            problem.instance = path.chars().take(256).collect();
            problem.request_id = request_id.to_string();
            Answer {
                status: failure.status().0,
                // A problem is strings and numbers, which always have a JSON form.
                body: serde_json::to_vec(&problem).unwrap_or_default().into(),
                headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))],
            }
        }
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.extend(answer.headers);
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(SEQ, HeaderValue::from(admin.registry.followed().seq().0));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn request_id(request: &Request) -> RequestId {
    RequestId::from_caller(request.headers().get(REQUEST_ID).map(HeaderValue::as_bytes))
}

/// The kind of thing that a route is about: what stands before the dot in its action.
fn kind_of(route: &Route) -> &'static str {
    let name = route.action.name();
    name.split_once('.').map_or(name, |(kind, _)| kind)
}
