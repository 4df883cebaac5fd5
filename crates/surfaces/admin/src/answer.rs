use crate::{Admin, AdminError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use signet_decision::{Action, Caller};
use signet_id::SpiffeId;
use signet_registry::EntryId;
use signet_store::{Origin, Seq};
use signet_telemetry::RequestId;
use std::sync::Arc;

/// A request that was let through, as its handler sees it.
pub(crate) struct Call {
    pub(crate) admin: Arc<Admin>,
    pub(crate) action: Action,
    pub(crate) request_id: RequestId,
    /// What the path's braces stand for, decoded.
    pub(crate) segments: Vec<(String, String)>,
    /// The query, decoded, in its order.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a handler answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// `value` as JSON.
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, AdminError> {
        Ok(Self {
            status,
            body: serde_json::to_vec(value).map_err(|_| AdminError::Answer)?.into(),
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        })
    }

    /// Done, and nothing to say.
    pub(crate) fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Bytes::new(),
            headers: Vec::new(),
        }
    }

    /// With the version that an `If-Match` may name.
    pub(crate) fn tagged(mut self, seq: Seq) -> Self {
        if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", seq.0)) {
            self.headers.push((header::ETAG, value));
        }
        self
    }
}

impl Call {
    /// Who changes something, what for and when, as the change log keeps it.
    pub(crate) fn origin(&self, caller: &Caller) -> Origin {
        let why = format!("{} {}", self.action.name(), self.request_id);
        Origin::new(caller.identity().to_string(), why, self.admin.clock.now())
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, AdminError> {
        self.media_type("application/json", &["application/json"])?;
        serde_json::from_slice(&self.body).map_err(|e| AdminError::Body { what: e.to_string() })
    }

    /// The body as text; JSON is UTF-8.
    pub(crate) fn text(&self) -> Result<&str, AdminError> {
        core::str::from_utf8(&self.body).map_err(|e| AdminError::Body {
            what: format!("not UTF-8 at byte {}", e.valid_up_to()),
        })
    }

    /// Which of `known` the body is; without a word about it, the first.
    pub(crate) fn media_type(
        &self,
        takes: &'static str,
        known: &[&'static str],
    ) -> Result<&'static str, AdminError> {
        let said = match self.headers.get(header::CONTENT_TYPE) {
            None => return Ok(known.first().copied().unwrap_or_default()),
            Some(said) => String::from_utf8_lossy(said.as_bytes()).into_owned(),
        };
        let essence = said.split(';').next().unwrap_or_default().trim_ascii();
        known
            .iter()
            .find(|kind| essence.eq_ignore_ascii_case(kind))
            .copied()
            .ok_or_else(|| AdminError::MediaType {
                found: said.chars().take(64).collect(),
                takes,
            })
    }

    /// The version that the caller has seen, where they say so.
    pub(crate) fn if_match(&self) -> Result<Option<Seq>, AdminError> {
        let Some(tag) = self.headers.get(header::IF_MATCH) else {
            return Ok(None);
        };
        let number = tag
            .to_str()
            .ok()
            .and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
        let seq = number.and_then(|number| number.parse().ok()).map(Seq);
        seq.map(Some).ok_or_else(|| AdminError::Parameter {
            name: "If-Match".to_owned(),
            what: "is not the `etag` of an earlier answer".to_owned(),
        })
    }

    pub(crate) fn entry_id(&self) -> Result<EntryId, AdminError> {
        EntryId::parse(self.segment("id")).ok_or_else(|| AdminError::Parameter {
            name: "id".to_owned(),
            what: "is not the name of an entry: 32 lower-case hexadecimal digits".to_owned(),
        })
    }

    pub(crate) fn spiffe_id(&self) -> Result<SpiffeId, AdminError> {
        SpiffeId::parse(self.segment("id")).map_err(|e| AdminError::Parameter {
            name: "id".to_owned(),
            what: e.to_string(),
        })
    }

    fn segment(&self, name: &str) -> &str {
        let found = self.segments.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}
