//! Messages of the Workload API, encoded once for all streams that show them.

use super::svid::Held;
use super::wit::WitSvid;
use bytes::Bytes;
use prost::Message as _;
use signet_crypto::Secret;
use signet_feed::FeedEntry;
use signet_id::TrustDomain;
use signet_proto::workload::{
    JwtBundlesResponse, WitBundlesResponse, Witsvid, WitsvidResponse, X509BundlesResponse, X509svidResponse,
};
use signet_trust::TrustView;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The bundles that a group of callers may use, and the messages made of them.
pub(crate) struct Bundles {
    /// The own domain and those federated with.
    pub(crate) trust: Arc<TrustView>,
    /// The message of `FetchX509Bundles`.
    pub(crate) x509: Bytes,
    /// The message of `FetchJWTBundles`.
    pub(crate) jwt: Bytes,
    /// The message of `FetchWITBundles`.
    pub(crate) wit: Bytes,
    /// The own domain's authorities, as they stand beside each SVID.
    pub(super) own_der: Bytes,
    /// Those of the others, as a message of X.509-SVIDs ends with them.
    pub(super) federated: Bytes,
}

impl Bundles {
    /// Of the own domain of `all` and of `federation`.
    pub(crate) fn new(all: &TrustView, federation: &BTreeSet<TrustDomain>) -> Self {
        let mut trust = TrustView::new(all.own().clone()).received(all.received_at());
        let mut federated_der = HashMap::new();
        let (mut jwt, mut wit) = (HashMap::new(), HashMap::new());
        let mut own_der = Bytes::new();
        for domain in core::iter::once(all.own()).chain(federation) {
            let Some(bundle) = all.bundle(domain) else {
                continue;
            };
            let der = Bytes::from(bundle.x509_concat_der());
            jwt.insert(domain.id(), Bytes::from(bundle.to_jwks_json()));
            // JSON of our own making.
            let set = String::from_utf8(bundle.to_wit_jwks_json()).unwrap_or_default();
            wit.insert(domain.id(), set);
            if domain == all.own() {
                own_der = der;
            } else {
                federated_der.insert(domain.id(), der);
            }
            trust = trust.with_bundle(Arc::clone(bundle));
        }
        let mut bundles = federated_der.clone();
        let federated = X509svidResponse {
            federated_bundles: federated_der,
            ..X509svidResponse::default()
        };
        bundles.insert(all.own().id(), own_der.clone());
        Self {
            trust: Arc::new(trust),
            x509: frame(&X509BundlesResponse {
                crl: Vec::new(),
                bundles,
            }),
            jwt: frame(&JwtBundlesResponse { bundles: jwt }),
            wit: frame(&WitBundlesResponse { bundles: wit }),
            own_der,
            federated: federated.encode_to_vec().into(),
        }
    }
}

#[cfg(test)]
impl Bundles {
    /// With bytes in the place of the own authorities, and beside them those domains.
    pub(super) fn for_tests(own: &[u8], federated: &[&str]) -> Self {
        let all = TrustView::new("a.test".parse().expect("domain"));
        let federated_bundles = federated
            .iter()
            .map(|domain| (format!("spiffe://{domain}"), Bytes::from(vec![3; 700])));
        let federated = X509svidResponse {
            federated_bundles: federated_bundles.collect(),
            ..X509svidResponse::default()
        };
        Self {
            own_der: Bytes::copy_from_slice(own),
            federated: federated.encode_to_vec().into(),
            ..Self::new(&all, &BTreeSet::new())
        }
    }
}

/// Whether both hold the same authorities for the same trust domains. Each snapshot brings new ones, most often
/// equal to the old; messages cannot be compared, because maps are encoded in any order.
pub(super) fn same_authorities(one: &TrustView, other: &TrustView) -> bool {
    one.bundles().len() == other.bundles().len()
        && one.bundles().zip(other.bundles()).all(|(a, b)| {
            a.trust_domain() == b.trust_domain()
                && a.x509() == b.x509()
                && a.jwt() == b.jwt()
                && a.wit() == b.wit()
        })
}

/// The message of `FetchWITSVID`.
pub(super) fn wit_svids(svids: &[Held<WitSvid>]) -> Bytes {
    let message = WitsvidResponse {
        svids: svids
            .iter()
            .map(|held| Witsvid {
                spiffe_id: held.svid.id.as_str().to_owned(),
                wit_svid: held.svid.token.clone(),
                // JSON of our own making.
                wit_svid_key: String::from_utf8(held.svid.key.expose().to_vec()).unwrap_or_default(),
                hint: held.hint.clone(),
            })
            .collect(),
    };
    let frame = frame(&message);
    // The message's own copies of the keys are wiped, too.
    for svid in message.svids {
        drop(Secret::new(svid.wit_svid_key.into_bytes()));
    }
    frame
}

/// The hint of `entry`, unless an entry before it, which is an older one, had the same: then it is empty, for hints are
/// unique in a message. No identity is withheld for want of a hint.
pub(crate) fn unique_hint<'e>(seen: &mut HashSet<&'e str>, entry: &'e FeedEntry) -> String {
    if !entry.hint.is_empty() && seen.insert(&entry.hint) {
        entry.hint.clone()
    } else {
        String::new()
    }
}

/// `message` as gRPC sends it: not compressed, its length, its bytes. Wiped when the last holder lets go, because
/// there may be keys in it.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    // Of the exact size, so that growing leaves no copy behind.
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.extend_from_slice(&prefix(length));
    // A vector never runs out of room.
    let _ = message.encode(&mut bytes);
    wiped(bytes)
}

/// What stands before a message of this length: not compressed, the length.
pub(super) fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// Shared bytes that are zeroed when the last holder lets go.
pub(crate) fn wiped(bytes: Vec<u8>) -> Bytes {
    struct Owner(Secret);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.expose()
        }
    }
    Bytes::from_owner(Owner(Secret::new(bytes)))
}

/// One byte that says whether the message is compressed, four of its length (gRPC over HTTP/2).
pub(super) const PREFIX_BYTES: usize = 5;
