//! Peers are real processes here. A helper process is this very binary, started again to run the one test named
//! `helper::entry`, with its task in the environment.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

mod helper;
mod peer;
