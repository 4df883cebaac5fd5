//! The agent on a real socket with real callers; the server behind it is a fake that signs with keys of its own.
//! Tests named `spiffe_N_…` show rule N of `docs/rules/`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so"
)]

mod away;
mod callers;
mod clock;
mod deltas;
mod endpoint;
mod handover;
mod helper;
mod jwt;
mod limits;
mod news;
mod reload;
mod renewal;
mod resets;
mod sds;
mod site;
mod streams;
mod svids;
mod systemd;
mod templates;
mod tokens;
mod upstream;
mod why;
mod wit;
mod world;
mod x509pop;
