//! Handshakes in memory: no socket, no task, no clock but the test's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod chains;
mod join;
mod mutual;
mod proof;
mod rig;
mod web;
