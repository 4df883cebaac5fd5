//! Makes the corpus anew, holds it against what is checked in, and has Signet judge it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod bundles;
mod chains;
mod collection;
mod difference;
mod fresh;
mod keys;
mod requests;
mod tokens;
mod verdicts;
