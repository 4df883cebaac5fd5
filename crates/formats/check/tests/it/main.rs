//! X.509-SVIDs against the rules of `docs/rules/spiffe.md`, one broken rule at a time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod x509_svid;

#[test]
fn the_register_is_whole() {
    assert_eq!(signet_fault::flaws(&[signet_check::REGISTER]), []);
}
