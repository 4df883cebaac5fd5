use crate::{CachePolicy, PublicUrl, PublishError, discovery};
use bytes::Bytes;
use http::HeaderValue;
use signet_crypto::digest;
use signet_trust::Bundle;
use signet_x509::{Der, pem};

/// One document, as every reader gets it.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) media_type: HeaderValue,
    /// Strong: two documents with one tag have the same bytes (RFC 9110 §8.8.3).
    pub(crate) etag: HeaderValue,
    pub(crate) body: Bytes,
}

/// All of them, of one state of trust.
#[derive(Debug)]
pub(crate) struct Documents {
    /// The change of trust that they reflect.
    pub(crate) sequence: u64,
    pub(crate) cache_control: HeaderValue,
    oauth: Document,
    oauth_jwks: Document,
    workload: Document,
    workload_jwks: Document,
    bundle: Document,
    roots: Document,
}

signet_telemetry::label! {
    /// Which document.
    pub(crate) enum Kind {
        Oauth = "oauth",
        OauthJwks = "oauth_jwks",
        Workload = "workload",
        WorkloadJwks = "workload_jwks",
        Bundle = "bundle",
        Roots = "roots",
        Absent = "none",
    }
}

const JSON: &str = "application/json";
const JWK_SET: &str = "application/jwk-set+json";
const PEM: &str = "application/x-pem-file";

impl Documents {
    /// Encodes them all. Every one is made from `bundle`, so no two of them ever disagree.
    pub(crate) fn encode(
        url: &PublicUrl,
        bundle: &Bundle,
        policy: CachePolicy,
    ) -> Result<Self, PublishError> {
        let spiffe = bundle.to_spiffe_json().map_err(PublishError::Bundle)?;
        Ok(Self {
            sequence: bundle.sequence(),
            // Digits and fixed words.
            cache_control: HeaderValue::from_str(&policy.header())
                .unwrap_or(HeaderValue::from_static("no-cache")),
            oauth: Document::new(JSON, discovery::oauth(url)),
            oauth_jwks: Document::new(JWK_SET, discovery::oauth_jwks()),
            workload: Document::new(JSON, discovery::workload(url, bundle)),
            workload_jwks: Document::new(JWK_SET, bundle.to_oidc_jwks_json()),
            bundle: Document::new(JSON, spiffe),
            roots: Document::new(PEM, roots(bundle).into_bytes()),
        })
    }

    pub(crate) fn of(&self, kind: Kind) -> Option<&Document> {
        match kind {
            Kind::Oauth => Some(&self.oauth),
            Kind::OauthJwks => Some(&self.oauth_jwks),
            Kind::Workload => Some(&self.workload),
            Kind::WorkloadJwks => Some(&self.workload_jwks),
            Kind::Bundle => Some(&self.bundle),
            Kind::Roots => Some(&self.roots),
            Kind::Absent => None,
        }
    }
}

impl Document {
    fn new(media_type: &'static str, body: Vec<u8>) -> Self {
        let hash = digest::hex(&digest::sha256(&body));
        Self {
            media_type: HeaderValue::from_static(media_type),
            // Hexadecimal digits between quotation marks.
            etag: HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\"")),
            body: body.into(),
        }
    }
}

/// The roots that may be relied on: PEM has no word for one that was called off.
fn roots(bundle: &Bundle) -> String {
    let sound = bundle.x509().iter().filter(|authority| !authority.tainted);
    let roots: Vec<&Der> = sound.map(|authority| &authority.certificate).collect();
    pem::encode_certs(&roots)
}
