//! Verification: X.509-SVIDs and JWT-SVIDs checked over a trust view.
//!
//! [`x509::verify_svid`] covers X509-SVID §5. Both kinds of SVID are checked against the bundle of
//! their own trust domain and nothing else; there is no way to hand over "any authority". Time is an argument.
//!
//! Proof of possession is not checked here: for certificates it is the TLS handshake (`signet-tls`).

pub mod jwt;
pub mod x509;

/// This crate's error codes.
pub const REGISTER: &[signet_fault::Entry] = x509::REGISTER;
