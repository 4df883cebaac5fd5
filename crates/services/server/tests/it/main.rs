//! Whole servers: made, started, used and stopped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agents;
mod algorithms;
mod backup;
mod config;
mod directory;
mod life;
mod public;
mod reload;
mod world;
