//! Examples of what the API says. A test reads each of them as the type that it is an example of.

use serde_json::{Value, json};

pub(crate) const ENTRY_ID: &str = "019a3d2f5c000001a1b2c3d4e5f60718";
pub(crate) const SPIFFE_ID: &str = "spiffe://dev.test/billing";
pub(crate) const NODE_ID: &str = "spiffe://dev.test/signet/node/join/4f1c0a2b9d8e7f60";
pub(crate) const SELECTOR: &str = "unix:uid:1000";
pub(crate) const OWNER: &str = "team-billing";
pub(crate) const REASON: &str = "disk stolen";
pub(crate) const PEM: &str = "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n";
pub(crate) const CSR: &str = "-----BEGIN CERTIFICATE REQUEST-----\n...\n-----END CERTIFICATE REQUEST-----\n";
const TRUST_DOMAIN: &str = "dev.test";
const TIME: &str = "2026-03-01T12:00:00Z";
const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a new entry says.
pub(crate) fn draft() -> Value {
    json!({"spiffe_id": SPIFFE_ID, "selectors": [SELECTOR], "x509_ttl": "1h", "owner": OWNER})
}

/// An entry as a reply holds it.
pub(crate) fn entry() -> Value {
    json!({
        "id": ENTRY_ID, "spiffe_id": SPIFFE_ID, "parent_id": null, "selectors": [SELECTOR],
        "x509_ttl": "1h", "jwt_ttl": "5m", "dns_names": ["billing.internal"], "hint": "internal", "owner": OWNER,
        "federates_with": ["partner.test"], "jwt_audiences": [], "expires_at": null,
    })
}

/// A comparison of the entries with a list.
pub(crate) fn entry_plan() -> Value {
    let from_to = json!({"field": "hint", "from": null, "to": "internal"});
    json!({
        "create": [], "update": [{"line": 1, "seq": 7, "entry": entry(), "changes": [from_to]}],
        "unchanged": [{"line": 2, "id": ENTRY_ID, "spiffe_id": SPIFFE_ID}], "delete": [], "unlisted": 0,
    })
}

/// A page of entries that nobody needs.
pub(crate) fn orphans() -> Value {
    let orphan = json!({
        "entry": entry(), "seq": 7, "why": "unused", "since": "2026-01-20", "last_used": "2026-01-20",
    });
    json!({"items": [orphan], "next_cursor": null, "watched_since": "2025-11-03", "days": 30})
}

/// A minted certificate.
pub(crate) fn minted_x509() -> Value {
    json!({
        "spiffe_id": SPIFFE_ID, "serial": "5d0ce8a1", "not_before": TIME, "not_after": "2026-03-01T12:10:00Z",
        "x509_svid": PEM, "bundle": PEM,
    })
}

/// A minted token.
pub(crate) fn minted_jwt() -> Value {
    json!({
        "spiffe_id": SPIFFE_ID, "jti": "5d0ce8a1", "issued_at": TIME, "expires_at": "2026-03-01T12:05:00Z",
        "svid": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln",
    })
}

/// A minted token that is bound to a key.
pub(crate) fn minted_wit() -> Value {
    json!({
        "spiffe_id": SPIFFE_ID, "jti": "5d0ce8a1", "issued_at": TIME, "expires_at": "2026-03-01T13:00:00Z",
        "svid": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln",
    })
}

/// A node.
pub(crate) fn node() -> Value {
    json!({
        "id": NODE_ID, "attestor": "join", "join_token": "4f1c0a2b9d8e7f60", "key_sha256": SHA256,
        "attested_at": TIME, "serial": "5d0ce8a1", "expires_at": "2026-03-01T13:00:00Z",
        "banned": false, "banned_at": null, "ban_reason": null,
        "renewals": 3, "copies": 0, "copied_at": null,
    })
}

/// A join token as it is shown once.
pub(crate) fn join_token() -> Value {
    json!({"join": "sgjoin1.eyJ0cnVzdF9kb21haW4iOi...", "expires_at": TIME, "spiffe_id": NODE_ID})
}

/// The bundle in all forms.
pub(crate) fn bundle() -> Value {
    json!({
        "trust_domain": TRUST_DOMAIN, "sequence": 3, "x509_pem": PEM,
        "spiffe": {"keys": [], "spiffe_sequence": 3}, "jwks": {"keys": []},
    })
}

/// The keys of a trust domain.
pub(crate) fn ca() -> Value {
    json!({
        "trust_domain": TRUST_DOMAIN, "sequence": 3, "keys": [{
            "kid": "9f86d081884c7d65", "purpose": "x509-root", "state": "active", "tainted": false,
            "key_kind": "p256", "not_after": "2036-03-01T12:00:00Z", "certificate_sha256": SHA256,
        }],
    })
}

/// A server.
pub(crate) fn server() -> Value {
    json!({
        "trust_domain": TRUST_DOMAIN, "version": "0.1.0", "jwt_issuer": "https://localhost:8443/workload",
        "agents": ["127.0.0.1:8445"], "time": TIME,
    })
}

/// Its health.
pub(crate) fn health() -> Value {
    json!({"status": "ready", "reasons": [], "trust_domain": TRUST_DOMAIN, "version": "0.1.0", "seq": 12})
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use signet_api::{BundleView, CaView, EntryDoc, HealthView, JoinTokenReply, NodeView, Page, ServerView};

    #[track_caller]
    fn is<T: Serialize + DeserializeOwned>(sample: Value) {
        let read: T = serde_json::from_value(sample.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), sample);
    }

    #[test]
    fn the_samples_are_what_the_types_write() {
        is::<EntryDoc>(entry());
        is::<NodeView>(node());
        is::<JoinTokenReply>(join_token());
        is::<BundleView>(bundle());
        is::<CaView>(ca());
        is::<ServerView>(server());
        is::<HealthView>(health());
        is::<Page<EntryDoc>>(json!({"items": [entry()], "next_cursor": ENTRY_ID}));
        serde_json::from_value::<EntryDoc>(draft()).unwrap();
    }
}
