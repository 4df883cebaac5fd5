//! What the issuers say of themselves (RFC 8414 §3.2, OpenID Connect Discovery §3).

use crate::PublicUrl;
use serde_json::json;
use signet_trust::Bundle;
use std::collections::BTreeSet;

/// The issuer of access tokens. It has no keys and no grants yet, and says so: left out, both lists would mean their
/// defaults, the authorization code and implicit grants.
pub(crate) fn oauth(url: &PublicUrl) -> Vec<u8> {
    let document = json!({
        "issuer": url.as_str(),
        "jwks_uri": format!("{url}/oauth2/jwks"),
        "response_types_supported": [],
        "grant_types_supported": [],
    });
    document.to_string().into_bytes()
}

/// The key set of that issuer: keys of access tokens alone, of which there are none yet.
pub(crate) fn oauth_jwks() -> Vec<u8> {
    json!({ "keys": [] }).to_string().into_bytes()
}

/// The issuer of JWT-SVIDs, in the few words that relying parties of workloads ask for: nothing can be requested from
/// it, its keys verify tokens that workloads bring.
pub(crate) fn workload(url: &PublicUrl, bundle: &Bundle) -> Vec<u8> {
    let keys = bundle.jwt().iter();
    let algorithms: BTreeSet<_> = keys
        .filter_map(|key| key.jwk.alg())
        .map(|algorithm| algorithm.as_str())
        .collect();
    let document = json!({
        "issuer": url.workload_issuer(),
        "jwks_uri": format!("{url}/workload/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "jti"],
    });
    document.to_string().into_bytes()
}
