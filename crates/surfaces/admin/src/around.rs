//! What every reply has, whoever made it.

use crate::deps::Shared;
use crate::dispatch::Handled;
use crate::metrics::Class;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, header};
use signet_api::PROBLEM_JSON;
use signet_store::Seq;
use signet_telemetry::RequestId;
use std::sync::Arc;
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static(RequestId::HEADER);
const SEQ: HeaderName = HeaderName::from_static("x-signet-seq");

/// As much as is said of the path of a request whose head is too long, in characters.
const PATH_SHOWN_MAX: usize = 256;

/// The change that an answer reflects, where it is not the registry's.
#[derive(Clone, Copy)]
pub(crate) struct Reflects(pub(crate) Seq);

/// Names the request, and finishes the reply: its headers, and the problem document of a refusal.
pub(crate) async fn around(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let header = request.headers().get(&REQUEST_ID).map(HeaderValue::as_bytes);
    let request_id = RequestId::from_caller(header);
    let mut path = request.uri().path().to_owned();
    let mut response = match signet_net::check_head(&request) {
        Ok(()) => {
            request.extensions_mut().insert(request_id.clone());
            next.run(request).await
        }
        Err(error) => {
            path = path.chars().take(PATH_SHOWN_MAX).collect();
            Refusal::from(error).into_response()
        }
    };
    if response.extensions_mut().remove::<Handled>().is_none() {
        let took = began.elapsed();
        shared.series.observe(Class::Unrouted, response.status(), took);
    }
    let seq = match response.extensions_mut().remove::<Reflects>() {
        Some(Reflects(seq)) => seq,
        None => shared.deps.registry.followed().seq(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        tell(&mut response, refusal, path, &request_id);
    }
    let headers = response.headers_mut();
    headers.insert(SEQ, HeaderValue::from(seq.0));
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    // One reply holds a secret, and none is worth keeping.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn tell(response: &mut Response, refusal: Refusal, path: String, request_id: &RequestId) {
    let mut problem = refusal.problem;
    problem.instance = path;
    problem.request_id = request_id.to_string();
    // A struct of text and numbers always has a JSON form.
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    *response.body_mut() = Body::from(json);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.remove(header::CONTENT_LENGTH);
}
