//! Keys, signatures, digests, secrets: the only crate that names the cryptography provider.
//!
//! A [`PublicKey`] is parsed once and verifies many times; a [`LocalKey`] holds a private key in memory; a [`Signer`]
//! is either that or somebody else's key store. Algorithms are values of one closed enum, [`SignatureAlgorithm`], and
//! a key signs or verifies only with those its kind [supports](KeyKind::supports): nothing is chosen by a string that
//! came with a message.
//!
//! Covers SubjectPublicKeyInfo (RFC 5280 §4.1, RFC 5480, RFC 8410, RFC 8017 A.1.1, RFC 9881) and PKCS#8 (RFC 5958).
//! Refused wherever they come from: RSA below 2048 bits or with an exponent below 65537, compressed points, explicit
//! curve parameters, Ed25519 points of small order, anything after the end of a structure. No certificates, no
//! tokens, no TLS types.
//!
//! ```
//! use signet_crypto::{KeyKind, LocalKey, SignatureAlgorithm, SignatureEncoding};
//! let key = LocalKey::generate(KeyKind::P256)?;
//! let (algorithm, encoding) = (SignatureAlgorithm::EcdsaP256Sha256, SignatureEncoding::Fixed);
//! let signature = key.sign(algorithm, encoding, b"message")?;
//! key.public_key().verify(algorithm, encoding, b"message", &signature)?;
//! # Ok::<(), signet_crypto::CryptoError>(())
//! ```

mod algorithm_id;
mod der;
pub mod digest;
mod ed25519;
mod error;
mod kind;
mod local;
mod public;
mod seal;
mod secret;
mod set_hash;
mod signer;

pub use error::{CryptoError, REGISTER};
pub use kind::{KeyKind, SignatureAlgorithm, SignatureEncoding};
pub use local::LocalKey;
pub use public::{Components, PublicKey};
pub use seal::SealingKey;
pub use secret::{Secret, ct_eq};
pub use set_hash::SetHash;
pub use signer::{RemoteSigner, SignFuture, Signer};

/// `N` bytes from the system's generator.
///
/// # Errors
/// [`CryptoError::Random`] where the generator fails.
pub fn random<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CryptoError::Random)?;
    Ok(bytes)
}
