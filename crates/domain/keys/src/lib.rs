//! The keys of a trust domain: made once, sealed, kept in the change log, and moved through their lives.
//!
//! [`Keys`] holds the log and the [`KeyRing`] that follows it. Each [`Purpose`] has its own keys, and each key goes
//! `prepared` (published, unused) → `active` → `draining` (accepted, unused) → `retired`. The first key of a purpose
//! is active at once; one prepared root and one prepared key for each kind of token are always published beside it, so that not even an
//! emergency needs a key that nobody has seen. Time gates keep a key from signing before everybody can know it, and
//! from leaving before the last of what it signed is over.
//!
//! * Roots live 10 years and sign intermediates; a root is replaced at half its life.
//! * Intermediates live 7 days, sign X.509-SVIDs and are renewed at half their life, with a new key. They travel with
//!   what they signed, so none needs to be prepared.
//! * Keys for tokens, one set for JWT-SVIDs and another for WIT-SVIDs, sign for 24 hours, each with the one algorithm
//!   that it was made for: ES256 unless set otherwise. A domain from before WIT-SVIDs gets its keys for them with the
//!   next upkeep.
//!
//! Private keys are sealed ([`Seal`]) under AES-256-GCM, bound to trust domain, purpose and name; any server that
//! holds the seal opens them again after a crash. Every change of keys expects the one before it, so servers that act
//! at once do not make two of anything. CA certificates are recorded like everything that is issued.
//!
//! Deliberately not here: key stores outside (PKCS#11, TPM, KMS), other seals, keys for OAuth and SSH.

mod algorithm;
mod bundle;
mod commit;
mod config;
mod error;
mod keys;
mod plan;
mod proof;
mod purpose;
mod ring;
mod seal;

/// The records as they lie in the change log.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    unused_qualifications,
    rust_2018_idioms,
    clippy::allow_attributes,
    reason = "generated"
)]
mod records {
    include!("generated/signet.keys.v1.rs");
}

pub use algorithm::{JwtAlgorithm, X509Algorithm};
pub use config::KeysConfig;
pub use error::{KeysError, REGISTER};
pub use keys::{Keys, Urgency};
pub use proof::{check_proof, prove};
pub use purpose::{KeyState, Purpose};
pub use ring::{BUNDLE_META, IssuingKey, KEY_STATE, KINDS, KeyRing, SEAL_CHECK, SEALED_KEY, Times};
pub use seal::{FileSeal, MemorySeal, Seal, SealChoice, SealFileFault, parse_seal};
