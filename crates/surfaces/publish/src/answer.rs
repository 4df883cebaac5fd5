//! One answer: which document, whether the reader has it already, and what every answer carries.

use crate::PublishError;
use crate::documents::{Document, Kind};
use crate::metrics::Outcome;
use crate::routes::Shared;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use signet_api::{PROBLEM_JSON, Problem};
use signet_fault::Coded as _;
use signet_telemetry::RequestId;
use tracing::debug;

const REQUEST_ID: HeaderName = HeaderName::from_static(RequestId::HEADER);
const SEQ: HeaderName = HeaderName::from_static("x-signet-seq");

/// What can be done with a document.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// How long a browser may remember that, in seconds.
const PREFLIGHT_S: HeaderValue = HeaderValue::from_static("86400");

/// The longest text of a caller that stands in an answer.
const SHOWN_BYTES_MAX: usize = 64;

pub(crate) fn document(shared: &Shared, kind: Kind, request: &Request) -> Response {
    let documents = shared.publisher.shown();
    let Some(document) = documents.of(kind) else {
        return absent(shared, request);
    };
    let id = request_id(request);
    let mut response = if let Err(error) = signet_net::check_head(request) {
        refuse(shared, kind, request, &id, &error.into())
    } else if !request.body().is_end_stream() {
        refuse(shared, kind, request, &id, &PublishError::Body)
    } else {
        match *request.method() {
            Method::GET | Method::HEAD => {
                let mut response = if is_known(request.headers(), &document.etag) {
                    shared.series.count(kind, Outcome::NotModified);
                    unchanged()
                } else {
                    shared.series.count(kind, Outcome::Ok);
                    whole(document)
                };
                let headers = response.headers_mut();
                headers.insert(header::ETAG, document.etag.clone());
                headers.insert(header::CACHE_CONTROL, documents.cache_control.clone());
                response
            }
            Method::OPTIONS => {
                shared.series.count(kind, Outcome::Ok);
                preflight()
            }
            _ => {
                let method = cut(request.method().as_str());
                let mut response = refuse(shared, kind, request, &id, &PublishError::Method { method });
                response.headers_mut().insert(header::ALLOW, METHODS);
                response
            }
        }
    };
    // Anybody may read these, so any page may: no cookie and no address opens more.
    let headers = response.headers_mut();
    let anybody = HeaderValue::from_static("*");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
    let exposed = HeaderValue::from_static("etag");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    finish(response, &id, documents.sequence)
}

pub(crate) fn absent(shared: &Shared, request: &Request) -> Response {
    let id = request_id(request);
    let error = match signet_net::check_head(request) {
        Ok(()) => PublishError::NoRoute,
        Err(error) => error.into(),
    };
    let response = refuse(shared, Kind::Absent, request, &id, &error);
    finish(response, &id, shared.publisher.shown().sequence)
}

fn whole(document: &Document) -> Response {
    // Shared, not copied. To HEAD the router sends the same head, and no body.
    let mut response = Response::new(Body::from(document.body.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, document.media_type.clone());
    response
}

fn unchanged() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// What a browser asks before a page may send `if-none-match`.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    let conditional = HeaderValue::from_static("if-none-match");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, conditional);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S);
    response
}

/// Whether the reader has what `etag` names (RFC 9110 §13.1.2): compared weakly, `*` is any.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}

fn refuse(shared: &Shared, kind: Kind, request: &Request, id: &RequestId, error: &PublishError) -> Response {
    shared.series.count(kind, Outcome::Invalid);
    let (status, title) = match error {
        PublishError::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "no such method"),
        PublishError::Body => (StatusCode::PAYLOAD_TOO_LARGE, "body not wanted"),
        PublishError::Head(_) => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "path and headers too long",
        ),
        _ => (StatusCode::NOT_FOUND, "nothing here"),
    };
    let mut problem = Problem::of(status.as_u16(), title, error);
    problem.instance = cut(request.uri().path());
    problem.request_id = id.to_string();
    debug!(
        status = status.as_u16(),
        code = error.code(),
        "public request refused"
    );
    // A struct of text and numbers always has a JSON form.
    let json = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(error, PublishError::Body) {
        // The body is not read, so nothing after it can be.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn finish(mut response: Response, id: &RequestId, sequence: u64) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(SEQ, HeaderValue::from(sequence));
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

fn request_id(request: &Request) -> RequestId {
    RequestId::from_caller(request.headers().get(&REQUEST_ID).map(HeaderValue::as_bytes))
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_BYTES_MAX).collect()
}
