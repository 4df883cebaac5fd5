//! The rules of the JOSE core, token-J1 to token-J11, from outside.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot make its token fails the test"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "the helpers index what they have just made"
)]

mod algorithms;
mod claims;
mod confirmation;
mod forms;
mod header;
mod hostile;
mod jwks;
mod kid;
mod oracle;
mod private_jwk;
mod sources;
mod support;
mod typ;
mod wycheproof_vectors;
