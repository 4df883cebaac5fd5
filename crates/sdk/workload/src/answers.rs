//! What the Workload API answers, as types that have been checked.

use crate::WorkloadError;
use signet_crypto::LocalKey;
use signet_id::{SpiffeId, TrustDomain};
use signet_jose::{Jwk, JwkParams, JwkSet};
use signet_proto::workload as proto;
use signet_trust::{Bundle, JwtAuthority, TrustView, X509Authority};
use signet_x509::{Certificate, Der};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// An X.509-SVID and its key. Cloning shares both.
#[derive(Clone)]
pub struct X509Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The leaf, then the intermediates.
    pub chain: Arc<[Der]>,
    /// The leaf's private key.
    pub key: Arc<LocalKey>,
    /// What the operator means it for; empty if nothing was said.
    pub hint: String,
}

/// Everything that one message of the X.509 stream says; it replaces the message before.
#[derive(Clone)]
pub struct X509Context {
    svids: Vec<X509Svid>,
    view: Arc<TrustView>,
}

/// A JWT-SVID. The token is a secret: whoever holds it is the workload.
#[derive(Clone)]
pub struct JwtSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The token.
    pub token: String,
    /// What the operator means it for; empty if nothing was said.
    pub hint: String,
}

/// A token that the Workload API has found valid.
#[derive(Clone, Debug)]
pub struct ValidJwt {
    /// Whose it is.
    pub id: SpiffeId,
    /// Its claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

/// How many SVIDs or bundles one answer may have.
pub(crate) const ITEMS_MAX: usize = 10_000;

impl X509Context {
    /// All identities; at least one. The first is the default.
    #[must_use]
    pub fn svids(&self) -> &[X509Svid] {
        &self.svids
    }

    /// The identity to use where nothing else is said (SPIFFE_Workload_API §8).
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a context without SVIDs is never made")]
    pub fn default_svid(&self) -> &X509Svid {
        &self.svids[0]
    }

    /// What to verify peers with: the own domain's bundle and the foreign ones. It holds X.509 authorities only.
    #[must_use]
    pub fn view(&self) -> &Arc<TrustView> {
        &self.view
    }

    pub(crate) fn read(answer: proto::X509svidResponse) -> Result<Self, WorkloadError> {
        let many = answer.svids.len().max(answer.federated_bundles.len());
        if answer.svids.is_empty() || many > ITEMS_MAX {
            return Err(WorkloadError::malformed(
                "svids",
                format!("has {} items", answer.svids.len()),
            ));
        }
        let mut own = BTreeMap::new();
        let mut svids = Vec::with_capacity(answer.svids.len());
        for svid in answer.svids {
            let id =
                SpiffeId::parse(&svid.spiffe_id).map_err(|e| WorkloadError::malformed("spiffe_id", e))?;
            own.insert(id.trust_domain().clone(), svid.bundle);
            svids.push(read_x509_svid(
                id,
                &svid.x509_svid,
                &svid.x509_svid_key,
                svid.hint,
            )?);
        }
        let first = svids.first().map(|svid| svid.id.trust_domain().clone());
        let mut view = TrustView::new(first.ok_or_else(|| WorkloadError::malformed("svids", "is empty"))?);
        for (trust_domain, der) in own {
            view = view.with_bundle(x509_bundle(trust_domain, &der)?);
        }
        for (trust_domain, der) in by_domain(answer.federated_bundles)? {
            if view.bundle(&trust_domain).is_none() {
                view = view.with_bundle(x509_bundle(trust_domain, &der)?);
            }
        }
        Ok(Self {
            svids,
            view: Arc::new(view),
        })
    }
}

fn read_x509_svid(id: SpiffeId, chain: &[u8], key: &[u8], hint: String) -> Result<X509Svid, WorkloadError> {
    let chain =
        split_der(chain).ok_or_else(|| WorkloadError::malformed("x509_svid", "is not concatenated DER"))?;
    let leaf = chain
        .first()
        .ok_or_else(|| WorkloadError::malformed("x509_svid", "is empty"))?;
    let leaf = Certificate::parse(leaf).map_err(|e| WorkloadError::malformed("x509_svid", e))?;
    let [name] = leaf.uri_names() else {
        return Err(WorkloadError::malformed(
            "x509_svid",
            "does not name exactly one URI",
        ));
    };
    if *name != id.as_str() {
        return Err(WorkloadError::malformed(
            "x509_svid",
            format!("is for `{name}` and not for `{id}`"),
        ));
    }
    let key = LocalKey::from_pkcs8(key).map_err(|e| WorkloadError::malformed("x509_svid_key", e))?;
    if key.public_key().spki_der() != leaf.spki_der() {
        return Err(WorkloadError::malformed(
            "x509_svid_key",
            "is not the certificate's key",
        ));
    }
    Ok(X509Svid {
        id,
        chain: chain.into(),
        key: Arc::new(key),
        hint,
    })
}

pub(crate) fn read_x509_bundles(answer: proto::X509BundlesResponse) -> Result<Vec<Bundle>, WorkloadError> {
    by_domain(answer.bundles)?
        .into_iter()
        .map(|(trust_domain, der)| x509_bundle(trust_domain, &der))
        .collect()
}

pub(crate) fn read_jwt_svid(svid: proto::Jwtsvid) -> Result<JwtSvid, WorkloadError> {
    let id = SpiffeId::parse(&svid.spiffe_id).map_err(|e| WorkloadError::malformed("spiffe_id", e))?;
    if svid.svid.is_empty() {
        return Err(WorkloadError::malformed("svid", "is empty"));
    }
    Ok(JwtSvid {
        id,
        token: svid.svid,
        hint: svid.hint,
    })
}

pub(crate) fn read_jwt_bundles(answer: proto::JwtBundlesResponse) -> Result<Vec<Bundle>, WorkloadError> {
    let bundle = |(trust_domain, json): (TrustDomain, Vec<u8>)| {
        let keys = JwkSet::parse(&json).map_err(|e| WorkloadError::malformed("bundles", e))?;
        let authorities = keys.iter().map(jwt_authority).collect::<Result<_, _>>()?;
        Bundle::new(trust_domain, 0, None, Vec::new(), authorities)
            .map_err(|e| WorkloadError::malformed("bundles", e))
    };
    by_domain(answer.bundles)?.into_iter().map(bundle).collect()
}

fn jwt_authority(jwk: &Jwk) -> Result<JwtAuthority, WorkloadError> {
    let (kid, jwk) = with_use(jwk, "jwt-svid")?;
    Ok(JwtAuthority {
        kid,
        jwk,
        tainted: false,
    })
}

/// A key of a bundle of keys for one `use_`, with its name. Its use is known from where it came, and some endpoints leave
/// it out.
pub(crate) fn with_use(jwk: &Jwk, use_: &str) -> Result<(String, Jwk), WorkloadError> {
    let kid = jwk
        .kid()
        .ok_or_else(|| WorkloadError::malformed("bundles", "has a key without kid"))?
        .to_owned();
    let jwk = match jwk.use_() {
        Some(_) => jwk.clone(),
        None => {
            let params = JwkParams {
                kid: Some(kid.clone()),
                alg: jwk.alg(),
                use_: Some(use_.to_owned()),
            };
            Jwk::from_public_key(jwk.public_key(), params)
                .map_err(|e| WorkloadError::malformed("bundles", e))?
        }
    };
    Ok((kid, jwk))
}

pub(crate) fn read_valid_jwt(answer: proto::ValidateJwtsvidResponse) -> Result<ValidJwt, WorkloadError> {
    let id = SpiffeId::parse(&answer.spiffe_id).map_err(|e| WorkloadError::malformed("spiffe_id", e))?;
    let claims = answer
        .claims
        .ok_or_else(|| WorkloadError::malformed("claims", "is missing"))?;
    let claims = claims
        .fields
        .into_iter()
        .map(|(name, value)| (name, json(value)))
        .collect();
    Ok(ValidJwt { id, claims })
}

fn json(value: prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    use serde_json::Value;
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(b)) => b.into(),
        Some(Kind::StringValue(s)) => s.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(object)) => Value::Object(
            object
                .fields
                .into_iter()
                .map(|(name, value)| (name, json(value)))
                .collect(),
        ),
        Some(Kind::NumberValue(n)) => whole(n).map_or_else(|| n.into(), Value::from),
    }
}

/// Struct has no whole numbers; those that a double holds exactly are given back as what they were.
#[expect(
    clippy::cast_possible_truncation,
    reason = "within 2^53 and without fraction, the cast is exact"
)]
fn whole(n: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (n.fract() == 0.0 && n.abs() < EXACT_MAX).then_some(n as i64)
}

fn x509_bundle(trust_domain: TrustDomain, der: &[u8]) -> Result<Bundle, WorkloadError> {
    let certificates =
        split_der(der).ok_or_else(|| WorkloadError::malformed("bundle", "is not concatenated DER"))?;
    let authorities = certificates
        .into_iter()
        .map(|certificate| X509Authority {
            certificate,
            tainted: false,
        })
        .collect();
    Bundle::new(trust_domain, 0, None, authorities, Vec::new())
        .map_err(|e| WorkloadError::malformed("bundle", e))
}

pub(crate) fn by_domain<V: Into<Vec<u8>>>(
    bundles: HashMap<String, V>,
) -> Result<BTreeMap<TrustDomain, Vec<u8>>, WorkloadError> {
    if bundles.len() > ITEMS_MAX {
        return Err(WorkloadError::malformed(
            "bundles",
            format!("has {} items", bundles.len()),
        ));
    }
    bundles
        .into_iter()
        .map(|(id, bytes)| {
            let trust_domain =
                TrustDomain::parse_id(&id).map_err(|e| WorkloadError::malformed("bundles", e))?;
            Ok((trust_domain, bytes.into()))
        })
        .collect()
}

/// Cuts DER values that stand one after another; `None` where the bytes do not end with one.
fn split_der(mut bytes: &[u8]) -> Option<Vec<Der>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, rest) = bytes.split_at_checked(der_len(bytes)?)?;
        values.push(Der::from(value.to_vec()));
        bytes = rest;
    }
    Some(values)
}

/// The length of the SEQUENCE that `bytes` begin with, head included.
fn der_len(bytes: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    match *bytes {
        [SEQUENCE, len @ 0..=0x7f, ..] => Some(usize::from(len) + 2),
        [SEQUENCE, 0x81, len, ..] => Some(usize::from(len) + 3),
        [SEQUENCE, 0x82, a, b, ..] => Some(usize::from(u16::from_be_bytes([a, b])) + 4),
        [SEQUENCE, 0x83, a, b, c, ..] => usize::try_from(u32::from_be_bytes([0, a, b, c]))
            .ok()
            .map(|len| len + 5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_values_are_cut_where_they_end() {
        let short = [0x30, 1, 7];
        let long = [[0x30, 0x82, 1, 0].as_slice(), &[9; 256]].concat();
        let both = [short.as_slice(), &long].concat();
        let parts = split_der(&both).unwrap();
        assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [3, 260]);
        assert_eq!(split_der(&[]), Some(Vec::new()));
        for bad in [
            &both[..200],
            &[0x31, 0],
            &[0x30],
            &[0x30, 0x84, 0, 0, 0, 0],
            &[0x30, 0x80, 0, 0],
        ] {
            assert_eq!(split_der(bad), None);
        }
    }

    #[test]
    fn an_answer_without_what_the_standard_demands_is_malformed() {
        let field = |result: Result<X509Context, WorkloadError>| match result.err() {
            Some(WorkloadError::Malformed { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            field(X509Context::read(proto::X509svidResponse::default())),
            "svids"
        );
        let svid = |spiffe_id: &str, chain: &'static [u8]| proto::X509svidResponse {
            svids: vec![proto::X509svid {
                spiffe_id: spiffe_id.into(),
                x509_svid: chain.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(field(X509Context::read(svid("spiffe://", b""))), "spiffe_id");
        assert_eq!(field(X509Context::read(svid("spiffe://td/a", b""))), "x509_svid");
        assert_eq!(
            field(X509Context::read(svid("spiffe://td/a", b"-----BEGIN"))),
            "x509_svid"
        );
    }

    #[test]
    fn numbers_of_claims_come_back_as_they_were() {
        let number = |n| prost_types::Value {
            kind: Some(prost_types::value::Kind::NumberValue(n)),
        };
        assert_eq!(json(number(1_700_000_000.0)), serde_json::json!(1_700_000_000));
        assert_eq!(json(number(0.5)), serde_json::json!(0.5));
    }
}
