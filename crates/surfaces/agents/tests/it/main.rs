//! The agent protocol over real TLS on the loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod attest;
mod issue;
mod node;
mod sync;
mod world;
mod x509pop;
