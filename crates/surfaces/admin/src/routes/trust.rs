use crate::AdminError;
use crate::answer::{Answer, Call};
use http::StatusCode;
use signet_api::{AuthorityView, BundleView, CaView};
use signet_crypto::digest;
use signet_decision::Caller;
use signet_keys::{IssuingKey, Keys, Purpose};
use signet_x509::{Der, pem};

/// The keys of the trust domain and where each stands.
pub(crate) async fn ca(_: Caller, call: Call) -> Result<Answer, AdminError> {
    let view = call.admin.keys.read(|ring| CaView {
        trust_domain: ring.trust_domain().clone(),
        sequence: ring.sequence().0,
        keys: Purpose::ALL
            .iter()
            .flat_map(|purpose| ring.keys().iter().filter(move |key| key.purpose() == *purpose))
            .map(|key| authority(key))
            .collect(),
    });
    Answer::json(StatusCode::OK, &view)
}

/// The trust bundle in the forms that others read.
pub(crate) async fn bundle(_: Caller, call: Call) -> Result<Answer, AdminError> {
    let bundle = call.admin.keys.bundle()?;
    let json = |text: Vec<u8>| serde_json::from_slice(&text).map_err(|_| AdminError::Answer);
    let roots: Vec<Der> = bundle
        .x509()
        .iter()
        .map(|root| root.certificate.clone())
        .collect();
    let view = BundleView {
        trust_domain: bundle.trust_domain().clone(),
        sequence: bundle.sequence(),
        x509_pem: pem::encode_certs(&roots),
        spiffe: json(bundle.to_spiffe_json().map_err(AdminError::Trust)?)?,
        jwks: json(bundle.to_jwks_json())?,
    };
    Answer::json(StatusCode::OK, &view)
}

pub(crate) async fn health(_: Caller, call: Call) -> Result<Answer, AdminError> {
    Answer::json(StatusCode::OK, &(call.admin.health)())
}

/// SHA-256 of each root that is published, for join strings.
pub(crate) fn root_hashes(keys: &Keys) -> Vec<[u8; 32]> {
    let roots = keys.published(Purpose::X509Root);
    let certificates = roots.iter().filter_map(|key| key.certificate());
    certificates.map(|root| digest::sha256(root)).collect()
}

fn authority(key: &IssuingKey) -> AuthorityView {
    AuthorityView {
        kid: key.kid().to_owned(),
        purpose: key.purpose().to_string(),
        state: key.state().as_str().to_owned(),
        tainted: key.is_tainted(),
        key_kind: key.public_key().kind().as_str().to_owned(),
        not_after: key.not_after(),
        certificate_sha256: key.certificate().map(|der| digest::hex(&digest::sha256(der))),
    }
}
