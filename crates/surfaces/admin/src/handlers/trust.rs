use crate::around::Reflects;
use crate::input::{Call, reply};
use crate::refusal::Refusal;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use signet_api::{AuthorityView, BundleView, CaView};
use signet_crypto::digest;
use signet_decision::Caller;
use signet_keys::{IssuingKey, Purpose};
use signet_trust::Bundle;
use signet_x509::{Der, pem};

/// The forms of a bundle.
#[derive(Clone, Copy)]
enum Form {
    /// All of them in one document of our own.
    All,
    Spiffe,
    Jwks,
    Pem,
}

impl Form {
    /// Those that can be asked for alone.
    const NAMED: [(&'static str, Self); 3] =
        [("spiffe", Self::Spiffe), ("jwks", Self::Jwks), ("pem", Self::Pem)];
}

/// The names of the forms that can be asked for alone.
pub(crate) fn formats() -> [&'static str; 3] {
    Form::NAMED.map(|(name, _)| name)
}

pub(crate) async fn bundle(_: Caller, call: Call) -> Result<Response, Refusal> {
    let form = call.query.parsed("format", |text| {
        let named = Form::NAMED.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, form)| *form)
            .ok_or_else(|| format!("it is not one of {}", formats().join(", ")))
    })?;
    let keys = &call.shared.deps.keys;
    // Read before the bundle: the answer may be newer than it says, never older.
    let seq = keys.followed().seq();
    let bundle = keys.bundle()?;
    let mut response = match form.unwrap_or(Form::All) {
        Form::All => reply(StatusCode::OK, &view(&bundle)?)?,
        Form::Spiffe => raw(spiffe(&bundle)?, "application/json"),
        Form::Jwks => raw(bundle.to_jwks_json(), "application/jwk-set+json"),
        Form::Pem => raw(x509_pem(&bundle).into_bytes(), "application/x-pem-file"),
    };
    response.extensions_mut().insert(Reflects(seq));
    Ok(response)
}

pub(crate) async fn ca(_: Caller, call: Call) -> Result<Response, Refusal> {
    let keys = &call.shared.deps.keys;
    let seq = keys.followed().seq();
    let view = keys.read(|ring| CaView {
        trust_domain: ring.trust_domain().clone(),
        sequence: ring.sequence().0,
        keys: Purpose::ALL
            .iter()
            .flat_map(|purpose| ring.keys().iter().filter(|key| key.purpose() == *purpose))
            .map(|key| authority(key))
            .collect(),
    });
    let mut response = reply(StatusCode::OK, &view)?;
    response.extensions_mut().insert(Reflects(seq));
    Ok(response)
}

fn authority(key: &IssuingKey) -> AuthorityView {
    AuthorityView {
        kid: key.kid().to_owned(),
        purpose: key.purpose().as_str().to_owned(),
        state: key.state().as_str().to_owned(),
        tainted: key.is_tainted(),
        key_kind: key.public_key().kind().as_str().to_owned(),
        not_after: key.not_after(),
        certificate_sha256: key.certificate().map(|der| digest::hex(&digest::sha256(der))),
    }
}

fn view(bundle: &Bundle) -> Result<BundleView, Refusal> {
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|e| Refusal::internal(&e));
    Ok(BundleView {
        trust_domain: bundle.trust_domain().clone(),
        sequence: bundle.sequence(),
        x509_pem: x509_pem(bundle),
        spiffe: json(&spiffe(bundle)?)?,
        jwks: json(&bundle.to_jwks_json())?,
    })
}

fn spiffe(bundle: &Bundle) -> Result<Vec<u8>, Refusal> {
    bundle.to_spiffe_json().map_err(|e| Refusal::internal(&e))
}

/// The roots that may be relied on: PEM has no word for one that was called off.
pub(super) fn x509_pem(bundle: &Bundle) -> String {
    let sound = bundle.x509().iter().filter(|authority| !authority.tainted);
    let roots: Vec<&Der> = sound.map(|authority| &authority.certificate).collect();
    pem::encode_certs(&roots)
}

fn raw(bytes: Vec<u8>, media_type: &'static str) -> Response {
    let mut response = bytes.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
