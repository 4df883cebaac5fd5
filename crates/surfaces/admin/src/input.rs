//! What a request brings along, read strictly and within bounds.

use crate::AdminError;
use crate::deps::Shared;
use crate::operation::Parameter;
use crate::refusal::Refusal;
use axum::body::Body;
use axum::extract::Query;
use axum::response::{IntoResponse as _, Response};
use core::time::Duration;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use signet_decision::{Action, Caller};
use signet_store::{Origin, Seq};
use signet_telemetry::RequestId;
use std::sync::Arc;

/// The longest body of one thing, in bytes: an entry of 64 KiB, written generously.
pub const BODY_BYTES_MAX: usize = 128 << 10;

/// The longest list of entries, in bytes: what one commit takes.
pub const BULK_BYTES_MAX: usize = 16 << 20;

/// How much of a body is taken in and thrown away, so that a caller without a role reads why; and for how long.
const DENIED_BYTES_MAX: usize = 64 << 10;
const DENIED_TIMEOUT: Duration = Duration::from_secs(2);

/// How much of a body that is too long is taken in and thrown away, so that its sender reads why.
const EXCESS_BYTES_MAX: usize = 64 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// One permitted request.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) action: Action,
    pub(crate) request_id: RequestId,
    pub(crate) headers: HeaderMap,
    /// The name in the path, decoded; unchecked.
    pub(crate) id: Option<String>,
    pub(crate) query: Params,
    pub(crate) body: Vec<u8>,
}

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    JsonLines,
}

impl Call {
    /// Who changes something, why and when, as it stands in the change log.
    pub(crate) fn origin(&self, caller: &Caller) -> Origin {
        let why = format!("{} by request {}", self.action.name(), self.request_id);
        Origin::new(caller.identity().to_string(), why, self.shared.deps.clock.now())
    }

    /// The name in the path.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// What the body is written in, as far as it is one of `allowed`; an empty body needs no type.
    pub(crate) fn format(&self, allowed: &[Format]) -> Result<Format, Refusal> {
        let given = self.headers.get(header::CONTENT_TYPE);
        let text = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let format = match essence.as_str() {
            "application/json" => Some(Format::Json),
            "application/x-ndjson" | "application/jsonl" => Some(Format::JsonLines),
            _ => None,
        };
        format.filter(|format| allowed.contains(format)).ok_or_else(|| {
            let wanted = if allowed.contains(&Format::JsonLines) {
                "application/json or application/x-ndjson"
            } else {
                "application/json"
            };
            let given = if text.is_empty() {
                "none".to_owned()
            } else {
                cut(text)
            };
            AdminError::MediaType { given, wanted }.into()
        })
    }

    /// The body as text: JSON is UTF-8.
    pub(crate) fn text(&mut self) -> Result<String, Refusal> {
        String::from_utf8(core::mem::take(&mut self.body)).map_err(|e| {
            let valid = e.utf8_error().valid_up_to();
            let before = e.as_bytes().get(..valid).unwrap_or_default();
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
            let why = "not UTF-8".to_owned();
            AdminError::Malformed { line, column, why }.into()
        })
    }

    /// The body as JSON; `None` where there is no body.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Refusal> {
        if self.body.is_empty() {
            return Ok(None);
        }
        self.format(&[Format::Json])?;
        self.object().map(Some)
    }

    /// The body as JSON, which there must be.
    pub(crate) fn required<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        self.format(&[Format::Json])?;
        self.object()
    }

    fn object<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        let text = self.text()?;
        let start = text.len() - text.trim_ascii_start().len();
        // What serde derives for a struct takes an array of its members as well.
        if text.get(start..).is_some_and(|rest| rest.starts_with('[')) {
            let before = text.get(..start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.bytes().rev().take_while(|b| *b != b'\n').count() + 1;
            let why = "an array where an object is wanted".to_owned();
            return Err(AdminError::Malformed { line, column, why }.into());
        }
        serde_json::from_str(&text).map_err(|e| malformed(&e))
    }

    /// The version that the change is for, if the caller names one. `current` is the version there is.
    pub(crate) fn expected(&self, current: Seq) -> Result<Option<Seq>, Refusal> {
        let malformed = || AdminError::Parameter {
            name: "if-match".to_owned(),
            what: "is neither `*` nor the `etag` of an earlier reply, quotes included".to_owned(),
        };
        let values = self.headers.get_all(header::IF_MATCH);
        let texts: Vec<&str> = values
            .iter()
            .map(|value| value.to_str().map_err(|_| malformed()))
            .collect::<Result<_, _>>()?;
        match texts.as_slice() {
            [] => return Ok(None),
            [only] if only.trim() == "*" => return Ok(None),
            _ => {}
        }
        let wanted = current.0.to_string();
        let mut matches = false;
        for text in texts {
            // All of them are read: a condition with one tag that is none is no condition.
            let tags = entity_tags(text).ok_or_else(malformed)?;
            matches |= tags.iter().any(|tag| !tag.weak && tag.name == wanted);
        }
        if matches {
            Ok(Some(current))
        } else {
            Err(AdminError::Precondition.into())
        }
    }
}

/// An entity tag (RFC 9110 §8.8.3). A weak one names no version here (§13.1.1).
#[derive(Debug, PartialEq, Eq)]
struct EntityTag<'a> {
    weak: bool,
    name: &'a str,
}

/// The entity tags in a list; `None` where something else stands in it. Empty elements are passed over (RFC 9110
/// §5.6.1.2), and a comma may stand within a tag.
fn entity_tags(text: &str) -> Option<Vec<EntityTag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (name, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !name.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        tags.push(EntityTag { weak, name });
        let after = after.trim_start_matches([' ', '\t']);
        if !(after.is_empty() || after.starts_with(',')) {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(tags)
}

/// The whole of `body`, at most `max` bytes of it.
pub(crate) async fn read(mut body: Body, max: usize) -> Result<Vec<u8>, AdminError> {
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|bytes| bytes <= max) {
        let reading = Limited::new(&mut body, max).collect();
        match tokio::time::timeout(BODY_TIMEOUT, reading).await {
            Ok(Ok(read)) => return Ok(read.to_bytes().into()),
            Ok(Err(e)) if e.is::<LengthLimitError>() => {}
            Ok(Err(_)) => return Err(AdminError::BodyBroken),
            Err(_) => {
                let seconds = BODY_TIMEOUT.as_secs();
                return Err(AdminError::BodySlow { seconds });
            }
        }
    }
    discard(body, EXCESS_BYTES_MAX, BODY_TIMEOUT).await;
    Err(AdminError::BodyLength { max })
}

/// Takes in a little of the body of somebody who may do nothing, so that they read why.
pub(crate) async fn discard_denied(body: Body) {
    discard(body, DENIED_BYTES_MAX, DENIED_TIMEOUT).await;
}

/// Takes in at most `max` bytes of `body` within `limit`. Whether it ended or was given up, the answer is the same.
async fn discard(mut body: Body, max: usize, limit: Duration) {
    let reading = async {
        let mut seen = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            seen = seen.saturating_add(frame.data_ref().map_or(0, bytes::Bytes::len));
            if seen > max {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limit, reading).await;
}

/// Query parameters that the route knows.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

/// Reads the query; only `known` parameters, each once, but `selector`.
pub(crate) fn query(uri: &Uri, known: &[Parameter]) -> Result<Params, Refusal> {
    let refuse = |name: &str, what: String| {
        Refusal::from(AdminError::Parameter {
            name: cut(name),
            what,
        })
    };
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| refuse("?", "is not followed by name=value&name=value".to_owned()))?;
    for (n, (name, _)) in pairs.iter().enumerate() {
        if !known.iter().any(|parameter| parameter.name == name) {
            let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
            let known = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            return Err(refuse(name, format!("is not known here, there are: {known}")));
        }
        if name != "selector" && pairs.iter().take(n).any(|(earlier, _)| earlier == name) {
            return Err(refuse(name, "stands twice".to_owned()));
        }
    }
    Ok(Params(pairs))
}

impl Params {
    /// The parameter `name`.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Each value of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The parameter `name`, read by `parse`.
    pub(crate) fn parsed<T, E: core::fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Refusal> {
        self.one(name)
            .map(|text| parse(text).map_err(|e| wrong(name, &e)))
            .transpose()
    }

    /// Each value of `name`, read by `parse`.
    pub(crate) fn all_parsed<T, E: core::fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Refusal> {
        self.all(name)
            .map(|text| parse(text).map_err(|e| wrong(name, &e)))
            .collect()
    }
}

/// The refusal of a body that is not the JSON that is wanted.
pub(crate) fn malformed(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let why = plain(error);
    AdminError::Malformed { line, column, why }.into()
}

/// The refusal of a value of `name`.
pub(crate) fn wrong(name: &str, why: &dyn core::fmt::Display) -> Refusal {
    let (name, what) = (name.to_owned(), format!("cannot be read: {why}"));
    AdminError::Parameter { name, what }.into()
}

/// A reply of `value` as JSON.
pub(crate) fn reply(status: StatusCode, value: &impl Serialize) -> Result<Response, Refusal> {
    let json = serde_json::to_vec(value).map_err(|e| Refusal::internal(&e))?;
    let mut response = (status, json).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What a caller wrote, cut to a length that fits into a line.
pub(crate) fn cut(text: &str) -> String {
    signet_fault::shown(text, 128)
}

/// The message without serde's own ` at line 1 column 9`: the answer says the place itself.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_read_as_rfc_9110_writes_them() {
        let tag = |weak, name| EntityTag { weak, name };
        for (text, tags) in [
            ("\"1\"", vec![tag(false, "1")]),
            ("\"\"", vec![tag(false, "")]),
            ("W/\"a,b\" ,\t\"1\"", vec![tag(true, "a,b"), tag(false, "1")]),
            (", ,\"1\",,", vec![tag(false, "1")]),
            ("", vec![]),
        ] {
            assert_eq!(entity_tags(text), Some(tags), "{text}");
        }
        for bad in [
            "1",
            "\"1",
            "\"1\" \"2\"",
            "w/\"1\"",
            "W/1",
            "*, \"1\"",
            "\"a b\"",
            "\"1\"x",
        ] {
            assert_eq!(entity_tags(bad), None, "{bad}");
        }
    }
}
