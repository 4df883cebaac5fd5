//! What the WIT methods answer, as types that have been checked.

use crate::WorkloadError;
use crate::answers::{ITEMS_MAX, by_domain, with_use};
use signet_check::wit::{PROOF_HEADER, TOKEN_HEADER, make_proof};
use signet_id::{SpiffeId, TrustDomain};
use signet_jose::{JwkSet, PrivateJwk};
use signet_proto::workload as proto;
use signet_time::UnixTime;
use signet_trust::{Bundle, WitAuthority};
use std::sync::Arc;

/// A WIT-SVID and its key (incubating). The token alone is worth nothing; with each request goes a proof of the key.
/// Cloning shares the key.
#[derive(Clone)]
pub struct WitSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The token.
    pub token: String,
    /// The key that it is bound to.
    pub key: Arc<PrivateJwk>,
    /// What the operator means it for; empty if nothing was said.
    pub hint: String,
}

impl WitSvid {
    /// A proof of possession for one request to `audience`, by which that service knows itself. It serves once, and for
    /// half a minute.
    ///
    /// # Errors
    /// [`WorkloadError::Proof`] where the key fails.
    pub fn proof(&self, audience: &str, now: UnixTime) -> Result<String, WorkloadError> {
        make_proof(&self.token, &self.key, audience, now).map_err(|e| WorkloadError::Proof {
            reason: signet_fault::chain(&e),
        })
    }

    /// The two HTTP headers of one request to `audience`, names and values: the token, and a proof that serves once.
    /// Never send the token in `authorization` (WIT-SVID §5).
    ///
    /// # Errors
    /// As [`WitSvid::proof`].
    pub fn headers(
        &self,
        audience: &str,
        now: UnixTime,
    ) -> Result<[(&'static str, String); 2], WorkloadError> {
        Ok([
            (TOKEN_HEADER, self.token.clone()),
            (PROOF_HEADER, self.proof(audience, now)?),
        ])
    }
}

impl core::fmt::Debug for WitSvid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WitSvid")
            .field("id", &self.id)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

/// Reads one message of the stream: at least one identity.
pub(crate) fn read_wit_svids(answer: proto::WitsvidResponse) -> Result<Vec<WitSvid>, WorkloadError> {
    let count = answer.svids.len();
    if !(1..=ITEMS_MAX).contains(&count) {
        return Err(WorkloadError::malformed("svids", format!("has {count} items")));
    }
    answer.svids.into_iter().map(read_wit_svid).collect()
}

fn read_wit_svid(svid: proto::Witsvid) -> Result<WitSvid, WorkloadError> {
    // Wiped once it is read, or refused.
    let key = signet_crypto::Secret::new(svid.wit_svid_key.into_bytes());
    let id = SpiffeId::parse(&svid.spiffe_id).map_err(|e| WorkloadError::malformed("spiffe_id", e))?;
    if svid.wit_svid.is_empty() {
        return Err(WorkloadError::malformed("wit_svid", "is empty"));
    }
    let key = PrivateJwk::parse(key.expose()).map_err(|e| WorkloadError::malformed("wit_svid_key", e))?;
    Ok(WitSvid {
        id,
        token: svid.wit_svid,
        key: Arc::new(key),
        hint: svid.hint,
    })
}

pub(crate) fn read_wit_bundles(answer: proto::WitBundlesResponse) -> Result<Vec<Bundle>, WorkloadError> {
    let malformed = |e: &dyn core::fmt::Display| WorkloadError::malformed("bundles", e);
    let bundle = |(trust_domain, json): (TrustDomain, Vec<u8>)| {
        let keys = JwkSet::parse(&json).map_err(|e| malformed(&e))?;
        let authorities = keys
            .iter()
            .map(|jwk| {
                let (kid, jwk) = with_use(jwk, "wit-svid")?;
                Ok(WitAuthority {
                    kid,
                    jwk,
                    tainted: false,
                })
            })
            .collect::<Result<_, WorkloadError>>()?;
        Bundle::new(trust_domain, 0, None, Vec::new(), Vec::new())
            .and_then(|bundle| bundle.with_wit(authorities))
            .map_err(|e| malformed(&e))
    };
    by_domain(answer.bundles)?.into_iter().map(bundle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet_crypto::{KeyKind, LocalKey};
    use signet_jose::JwsAlgorithm;

    fn key() -> String {
        let key = LocalKey::generate(KeyKind::P256).unwrap();
        let text = PrivateJwk::new(key, JwsAlgorithm::Es256)
            .unwrap()
            .to_text()
            .unwrap();
        String::from_utf8(text.expose().to_vec()).unwrap()
    }

    fn svid() -> proto::Witsvid {
        proto::Witsvid {
            spiffe_id: "spiffe://td/a".into(),
            wit_svid: "a.b.c".into(),
            wit_svid_key: key(),
            hint: "h".into(),
        }
    }

    fn read(svid: proto::Witsvid) -> Result<Vec<WitSvid>, WorkloadError> {
        read_wit_svids(proto::WitsvidResponse { svids: vec![svid] })
    }

    #[test]
    fn spiffe_25_an_answer_without_what_the_standard_demands_is_malformed() {
        let good = read(svid()).unwrap();
        assert_eq!(
            (good[0].id.as_str(), good[0].hint.as_str()),
            ("spiffe://td/a", "h")
        );
        let field = |result: Result<Vec<WitSvid>, WorkloadError>| match result {
            Err(WorkloadError::Malformed { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(read_wit_svids(proto::WitsvidResponse::default())), "svids");
        for (change, expected) in [
            ((|s| s.spiffe_id.clear()) as fn(&mut proto::Witsvid), "spiffe_id"),
            (|s| s.wit_svid.clear(), "wit_svid"),
            (|s| s.wit_svid_key.clear(), "wit_svid_key"),
            (
                |s| s.wit_svid_key = s.wit_svid_key.replace("\"d\"", "\"e\""),
                "wit_svid_key",
            ),
        ] {
            let mut broken = svid();
            change(&mut broken);
            assert_eq!(field(read(broken)), expected);
        }
    }

    #[test]
    fn neither_token_nor_key_is_shown() {
        let svid = read(svid()).unwrap().remove(0);
        let shown = format!("{svid:?}");
        assert!(!shown.contains("a.b.c") && shown.contains("spiffe://td/a"));
    }

    #[test]
    fn spiffe_78_bundles_hold_keys_for_wit_svids_alone() {
        let public = PrivateJwk::parse(key().as_bytes()).unwrap().to_public().unwrap();
        let set = |use_: Option<&str>| {
            let mut jwk = public.to_value();
            let map = jwk.as_object_mut().unwrap();
            map.insert("kid".into(), "k".into());
            if let Some(use_) = use_ {
                map.insert("use".into(), use_.into());
            }
            let text = serde_json::json!({ "keys": [jwk] }).to_string();
            read_wit_bundles(proto::WitBundlesResponse {
                bundles: [("spiffe://td".to_owned(), text)].into(),
            })
        };
        for use_ in [Some("wit-svid"), None] {
            let bundles = set(use_).unwrap();
            assert_eq!((bundles[0].wit().len(), bundles[0].jwt().len()), (1, 0));
            assert_eq!(bundles[0].wit()[0].jwk.use_(), Some("wit-svid"));
        }
        // Another use stays what it says, and verifiers refuse it.
        assert_eq!(
            set(Some("jwt-svid")).unwrap()[0].wit()[0].jwk.use_(),
            Some("jwt-svid")
        );
        let unnamed = serde_json::json!({ "keys": [public.to_value()] }).to_string();
        let refused = read_wit_bundles(proto::WitBundlesResponse {
            bundles: [("spiffe://td".to_owned(), unnamed)].into(),
        });
        assert!(matches!(
            refused,
            Err(WorkloadError::Malformed { field: "bundles", .. })
        ));
    }
}
