//! The two unary methods.

use super::{Shared, caller};
use crate::identity::{Sight, unique_hint};
use crate::metrics::Limit;
use crate::{AgentError, IssueError};
use futures_util::future::join_all;
use prost_types::{ListValue, Struct, Value, value::Kind};
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_proto::workload::{
    Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use signet_sys::Peer;
use std::collections::HashSet;
use std::sync::Arc;

/// `FetchJWTSVID` (Workload API §6.2.1).
pub(super) async fn fetch(
    shared: &Shared,
    peer: &Peer,
    request: JwtsvidRequest,
) -> Result<JwtsvidResponse, AgentError> {
    check_audiences(&request.audience)?;
    let wanted = wanted(&request.spiffe_id)?;
    let sight = sight(shared, peer).await?;
    let mut hints = HashSet::new();
    let entries: Vec<(&Arc<FeedEntry>, String)> = sight
        .entries
        .iter()
        .map(|entry| (entry, unique_hint(&mut hints, entry)))
        .filter(|(entry, _)| wanted.as_ref().is_none_or(|id| *id == entry.spiffe_id))
        // One identity was asked for: the oldest of the entries that give it answers.
        .take(if wanted.is_some() { 1 } else { usize::MAX })
        .collect();
    if entries.is_empty() {
        return Err(AgentError::NotEntitled(request.spiffe_id));
    }
    let tokens = entries.into_iter().map(|(entry, hint)| {
        let audience = &request.audience;
        async move {
            let token = shared
                .identities
                .jwt(entry, audience, || shared.place(peer, Limit::Signing))
                .await?;
            Ok::<_, AgentError>(Jwtsvid {
                spiffe_id: entry.spiffe_id.as_str().to_owned(),
                svid: token.token.clone(),
                hint,
            })
        }
    });
    // One call for more identities than its process may have signed at once is answered, a few at a time.
    let signing_max = usize::try_from(shared.live.limits().process_signing_max.get()).unwrap_or(usize::MAX);
    let mut tokens: Vec<_> = tokens.collect();
    let (mut svids, mut refused) = (Vec::with_capacity(tokens.len()), None);
    while !tokens.is_empty() {
        let few = tokens.len().min(SIGNING_PER_CALL_MAX).min(signing_max);
        for token in join_all(tokens.drain(..few)).await {
            match token {
                Ok(svid) => svids.push(svid),
                // What the server refuses for one identity, as for that of an entry it has just dropped, withholds no
                // other.
                Err(error @ AgentError::Issue(IssueError::Refused { retry: false, .. })) => {
                    refused = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
    }
    match refused {
        Some(error) if svids.is_empty() => Err(error),
        _ => Ok(JwtsvidResponse { svids }),
    }
}

/// The identity that a request names; none where it names none, which means all.
pub(super) fn wanted(spiffe_id: &str) -> Result<Option<SpiffeId>, AgentError> {
    match spiffe_id {
        "" => Ok(None),
        id => SpiffeId::parse(id).map(Some).map_err(AgentError::SpiffeId),
    }
}

/// `ValidateJWTSVID` (Workload API §6.2.3).
pub(super) async fn validate(
    shared: &Shared,
    peer: &Peer,
    request: ValidateJwtsvidRequest,
) -> Result<ValidateJwtsvidResponse, AgentError> {
    if request.audience.is_empty() {
        return Err(AgentError::Audience("it is missing"));
    }
    if request.svid.is_empty() {
        return Err(AgentError::TokenMissing);
    }
    let sight = sight(shared, peer).await?;
    let trust = &sight.bundles.trust;
    let verified =
        signet_check::jwt::validate_svid(&request.svid, &request.audience, trust, shared.clock.now())?;
    let passed_on = shared.live.foreign_claims();
    let is_own = verified.id.trust_domain() == trust.own();
    let claims = verified
        .claims
        .into_iter()
        .filter(|(name, _)| is_own || REGISTERED.contains(&name.as_str()) || passed_on.contains(name))
        .map(|(name, value)| (name, to_proto(value)))
        .collect();
    Ok(ValidateJwtsvidResponse {
        spiffe_id: verified.id.as_str().to_owned(),
        claims: Some(Struct { fields: claims }),
    })
}

async fn sight(shared: &Shared, peer: &Peer) -> Result<Arc<Sight>, AgentError> {
    let view = caller::of(shared, peer).await?;
    let sight = view.now();
    if sight.entries.is_empty() {
        return Err(AgentError::NoIdentity);
    }
    Ok(sight)
}

fn check_audiences(audiences: &[String]) -> Result<(), AgentError> {
    if audiences.is_empty() {
        return Err(AgentError::Audience("it is missing"));
    }
    if audiences.len() > AUDIENCES_MAX {
        return Err(AgentError::Audience("there are more than 16"));
    }
    if audiences.iter().any(String::is_empty) {
        return Err(AgentError::Audience("one is empty"));
    }
    if audiences
        .iter()
        .any(|audience| audience.len() > AUDIENCE_BYTES_MAX)
    {
        return Err(AgentError::Audience("one is longer than 512 bytes"));
    }
    Ok(())
}

/// JSON as protobuf has it. Its depth was bounded when the token was read.
fn to_proto(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(bool) => Kind::BoolValue(bool),
        // Protobuf's only number: whole ones beyond 2^53 lose their last digits.
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(to_proto).collect(),
        }),
        serde_json::Value::Object(map) => Kind::StructValue(Struct {
            fields: map
                .into_iter()
                .map(|(name, value)| (name, to_proto(value)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

/// What is passed on of foreign domains' tokens (RFC 7519 §4.1): the rest means whatever its issuer likes.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// So that some calls of a process with many identities go on side by side.
const SIGNING_PER_CALL_MAX: usize = 16;
const AUDIENCES_MAX: usize = 16;
const AUDIENCE_BYTES_MAX: usize = 512;
