//! Certificate requests, good and bad, and what a node signs for itself.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod csr;
mod node;

#[test]
fn the_register_is_whole() {
    assert_eq!(signet_fault::flaws(&[signet_x509::REGISTER]), []);
}
