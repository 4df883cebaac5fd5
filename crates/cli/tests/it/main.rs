//! The binary as users and scripts meet it.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assumption is a failed test"
)]

mod apply;
mod crash_server;
mod dev;
mod entries;
mod errors;
mod fleet;
mod help;
mod mint;
mod ports;
mod program;
mod register;
mod reload;
mod stop;
