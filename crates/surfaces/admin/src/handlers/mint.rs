//! Credentials for identities that an operator names. They take the way of all others: admit, sign, release.

use super::trust::x509_pem;
use crate::input::{Call, reply};
use crate::refusal::Refusal;
use axum::response::Response;
use http::StatusCode;
use signet_api::{
    MintJwtReply, MintJwtRequest, MintWitReply, MintWitRequest, MintX509Reply, MintX509Request,
};
use signet_authority::{Context, JwtRequest, Profile, WitRequest, X509Request};
use signet_decision::{Action, Caller, Decision, Resource};
use signet_id::SpiffeId;
use signet_registry::{NewEntry, RegistryError, limits};
use signet_time::UnixTime;
use signet_x509::{Csr, pem};
use tracing::info;

pub(crate) async fn x509(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let wish: MintX509Request = call.required()?;
    let (decision, context, now) = begin(
        &caller,
        &call,
        Action::MINT_X509_SVID,
        &wish.spiffe_id,
        wish.reason,
    )?;
    let ttl = wish.ttl.unwrap_or(limits::X509_TTL_DEFAULT);
    check_names(&call, &wish.spiffe_id, &wish.dns_names, now)?;
    let request = X509Request {
        id: wish.spiffe_id,
        dns_names: wish.dns_names,
        ttl,
        csr: csr(&wish.csr)?,
        context,
    };
    let deps = &call.shared.deps;
    let svid = deps
        .authority
        .issue_x509(request, Profile::Minted, &decision, now)
        .await?;
    let serial = svid.serial.to_string();
    told(&decision, &serial, svid.not_after);
    let view = MintX509Reply {
        spiffe_id: svid.id,
        serial,
        not_before: svid.not_before,
        not_after: svid.not_after,
        x509_svid: pem::encode_certs(&svid.chain),
        bundle: x509_pem(&deps.keys.bundle()?),
    };
    reply(StatusCode::CREATED, &view)
}

pub(crate) async fn jwt(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let wish: MintJwtRequest = call.required()?;
    let (decision, context, now) = begin(
        &caller,
        &call,
        Action::MINT_JWT_SVID,
        &wish.spiffe_id,
        wish.reason,
    )?;
    let request = JwtRequest {
        id: wish.spiffe_id,
        audiences: wish.audience,
        allowed_audiences: Vec::new(),
        ttl: wish.ttl.unwrap_or(limits::JWT_TTL_DEFAULT),
        context,
    };
    let svid = call
        .shared
        .deps
        .authority
        .issue_jwt(request, &decision, now)
        .await?;
    told(&decision, &svid.jti, svid.expires_at);
    let view = MintJwtReply {
        spiffe_id: svid.id,
        jti: svid.jti,
        issued_at: svid.issued_at,
        expires_at: svid.expires_at,
        svid: svid.token,
    };
    reply(StatusCode::CREATED, &view)
}

pub(crate) async fn wit(caller: Caller, mut call: Call) -> Result<Response, Refusal> {
    let wish: MintWitRequest = call.required()?;
    let (decision, context, now) = begin(
        &caller,
        &call,
        Action::MINT_WIT_SVID,
        &wish.spiffe_id,
        wish.reason,
    )?;
    let request = WitRequest {
        id: wish.spiffe_id,
        ttl: wish.ttl.unwrap_or(limits::X509_TTL_DEFAULT),
        csr: csr(&wish.csr)?,
        context,
    };
    let svid = call
        .shared
        .deps
        .authority
        .issue_wit(request, &decision, now)
        .await?;
    told(&decision, &svid.jti, svid.expires_at);
    let view = MintWitReply {
        spiffe_id: svid.id,
        jti: svid.jti,
        issued_at: svid.issued_at,
        expires_at: svid.expires_at,
        svid: svid.token,
    };
    reply(StatusCode::CREATED, &view)
}

/// The certificate request, which proves its key.
fn csr(text: &str) -> Result<Csr, Refusal> {
    let der = pem::parse_csr(text.as_bytes()).map_err(|e| Refusal::of_mint("csr", &e))?;
    Csr::parse(&der).map_err(|e| Refusal::of_mint("csr", &e))
}

/// The decision about this very identity, and what goes into the record.
fn begin(
    caller: &Caller,
    call: &Call,
    action: Action,
    id: &SpiffeId,
    reason: String,
) -> Result<(Decision, Context, UnixTime), Refusal> {
    let deps = &call.shared.deps;
    let now = deps.clock.now();
    let context = Context {
        entry_id: None,
        state_seq: deps.registry.followed().seq(),
        request_id: call.request_id.to_string(),
        reason,
    };
    // Whoever had a node's identity could pass for one of our own processes.
    if deps.registry.read(|state| state.is_identity_of_node(id, now)) {
        let id = id.clone();
        return Err(RegistryError::IdentityOfNode { id }.into());
    }
    Ok((caller.may(action, Resource::identity(id)), context, now))
}

/// DNS names are held to what an entry may have: the certificate would show them alike.
fn check_names(call: &Call, id: &SpiffeId, dns_names: &[String], now: UnixTime) -> Result<(), Refusal> {
    let entry = NewEntry {
        spiffe_id: id.to_string(),
        selectors: vec!["unix:uid:0".to_owned()],
        dns_names: dns_names.to_vec(),
        ..NewEntry::default()
    };
    match entry.check(call.shared.deps.registry.trust_domain(), now) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let problems = problems.into_iter().filter(|p| p.field.starts_with("dns_names"));
            let problems: Vec<_> = problems.collect();
            if problems.is_empty() {
                // The identity itself is refused by whoever issues, in its own words.
                return Ok(());
            }
            let bad = signet_registry::EntryProblems { index: 0, problems };
            Err(RegistryError::InvalidEntries(vec![bad]).into())
        }
    }
}

/// Says in the log what the record says, where operators look first.
fn told(decision: &Decision, identifier: &str, until: UnixTime) {
    let request = decision.request();
    let (who, action, resource) = (&request.principal, request.action.name(), &request.resource);
    info!(%who, action, %resource, identifier, %until, "credential minted");
}
