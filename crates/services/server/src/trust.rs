//! What the keys say, in the forms that other parts need.

use signet_crypto::digest;
use signet_keys::{Keys, Purpose};
use signet_x509::Der;

/// The root certificates that are published.
pub(crate) fn roots(keys: &Keys) -> Vec<Der> {
    let roots = keys.published(Purpose::X509Root);
    roots
        .iter()
        .filter_map(|key| key.certificate().cloned())
        .collect()
}

/// SHA-256 of each root that is published, for join strings.
pub(crate) fn root_hashes(keys: &Keys) -> Vec<[u8; 32]> {
    roots(keys).iter().map(|root| digest::sha256(root)).collect()
}
