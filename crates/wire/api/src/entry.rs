use core::time::Duration;
use serde::{Deserialize, Serialize};
use signet_id::{IdPattern, Selector, SpiffeId, TrustDomain};
use signet_time::UnixTime;

/// An entry as JSON: who may have which name.
///
/// A reply holds every member. In a request only `spiffe_id` and `selectors` are needed; a member that does not
/// exist is refused, so that a misspelt wish is not silently dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryDoc {
    /// 32 hexadecimal digits, given by the server.
    #[serde(default)]
    pub id: Option<String>,
    /// The name that is given, or a template of names.
    pub spiffe_id: IdPattern,
    /// The node it is given on; null means every node.
    #[serde(default)]
    pub parent_id: Option<SpiffeId>,
    /// What must all be true of a process.
    pub selectors: Vec<Selector>,
    /// Life of an X.509-SVID; null in a request means the server's default.
    #[serde(default, with = "crate::span::optional")]
    pub x509_ttl: Option<Duration>,
    /// Life of a JWT-SVID; null in a request means the server's default.
    #[serde(default, with = "crate::span::optional")]
    pub jwt_ttl: Option<Duration>,
    /// DNS names for the certificate.
    #[serde(default)]
    pub dns_names: Vec<String>,
    /// What the workload is told to use this identity for.
    #[serde(default)]
    pub hint: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Foreign trust domains whose bundles the workload gets.
    #[serde(default)]
    pub federates_with: Vec<TrustDomain>,
    /// The only audiences its JWT-SVIDs may name; empty means any.
    #[serde(default)]
    pub jwt_audiences: Vec<String>,
    /// When the entry ends; null means never.
    #[serde(default)]
    pub expires_at: Option<UnixTime>,
}

impl EntryDoc {
    /// The members, as they are written; also the list that a misspelt one is compared with.
    pub(crate) const MEMBERS: [&'static str; 12] = [
        "id",
        "spiffe_id",
        "parent_id",
        "selectors",
        "x509_ttl",
        "jwt_ttl",
        "dns_names",
        "hint",
        "owner",
        "federates_with",
        "jwt_audiences",
        "expires_at",
    ];

    /// An entry that gives `spiffe_id` to what shows all of `selectors`, everything else by default.
    #[must_use]
    pub fn new(spiffe_id: impl Into<IdPattern>, selectors: Vec<Selector>) -> Self {
        Self {
            id: None,
            spiffe_id: spiffe_id.into(),
            parent_id: None,
            selectors,
            x509_ttl: None,
            jwt_ttl: None,
            dns_names: Vec::new(),
            hint: None,
            owner: None,
            federates_with: Vec::new(),
            jwt_audiences: Vec::new(),
            expires_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_holds_every_member_as_the_contract_names_it() {
        let mut doc = EntryDoc::new(
            SpiffeId::parse("spiffe://dev.test/a").unwrap(),
            vec![Selector::parse("unix:uid:1000").unwrap()],
        );
        doc.x509_ttl = Some(Duration::from_secs(3600));
        doc.expires_at = Some(UnixTime::EPOCH);
        let json = serde_json::to_value(&doc).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "id": null, "spiffe_id": "spiffe://dev.test/a", "parent_id": null, "selectors": ["unix:uid:1000"],
                "x509_ttl": "1h", "jwt_ttl": null, "dns_names": [], "hint": null, "owner": null,
                "federates_with": [], "jwt_audiences": [], "expires_at": "1970-01-01T00:00:00Z"
            })
        );
        let members: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert!(EntryDoc::MEMBERS.iter().all(|m| members.iter().any(|k| k == m)));
        assert_eq!(serde_json::from_value::<EntryDoc>(json).unwrap(), doc);
    }

    #[test]
    fn members_that_do_not_exist_are_refused() {
        let bad = r#"{"spiffe_id":"spiffe://dev.test/a","selectors":[],"ttl":"1h"}"#;
        assert!(serde_json::from_str::<EntryDoc>(bad).is_err());
    }
}
