//! What a machine signs to show that it has its key.

use super::MachineError;
use signet_crypto::{CryptoError, KeyKind, LocalKey, PublicKey, SignatureAlgorithm, SignatureEncoding};

/// What stands for one TLS connection: keying material that both of its ends export (RFC 9266, RFC 8446 §7.5), and that
/// no other connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

/// The bytes to be signed: that the machine wants the node key `node_key` to be its own, on the connection `binding`.
///
/// It begins as TLS 1.3 begins what a certificate's key signs (RFC 8446 §4.4.3), with words of our own, so that no
/// signature that the key makes for anything else can pass for one of these, nor the other way round.
#[must_use]
pub fn statement(binding: &Binding, node_key: &PublicKey) -> Vec<u8> {
    let mut bytes = vec![b' '; 64];
    bytes.extend_from_slice(CONTEXT);
    bytes.push(0);
    bytes.extend_from_slice(&binding.0);
    bytes.extend_from_slice(&node_key.fingerprint());
    bytes
}

/// Signs the [`statement`] with the machine's key.
///
/// # Errors
/// [`CryptoError::Sign`] where the provider fails.
pub fn sign(key: &LocalKey, binding: &Binding, node_key: &PublicKey) -> Result<Vec<u8>, CryptoError> {
    let algorithm = algorithm(key.public_key().kind());
    key.sign(algorithm, SignatureEncoding::Asn1, &statement(binding, node_key))
}

pub(super) fn check(
    key: &PublicKey,
    signature: &[u8],
    binding: &Binding,
    node_key: &PublicKey,
) -> Result<(), MachineError> {
    let statement = statement(binding, node_key);
    key.verify(
        algorithm(key.kind()),
        SignatureEncoding::Asn1,
        &statement,
        signature,
    )
    .map_err(|_| MachineError::Possession)
}

/// The key decides, so that there is nothing to negotiate; RSA signs as in TLS 1.3.
fn algorithm(kind: KeyKind) -> SignatureAlgorithm {
    match kind {
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => SignatureAlgorithm::RsaPssSha256,
        other => other.default_algorithm(),
    }
}

const CONTEXT: &[u8] = b"signet x509pop, version 1";
