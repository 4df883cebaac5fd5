//! The agent protocol over real TLS on the loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod attest;
mod gate;
mod issue;
mod liar;
mod news;
mod node;
mod rollback;
mod sync;
mod templates;
mod world;
mod x509pop;
