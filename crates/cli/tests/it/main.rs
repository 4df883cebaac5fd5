//! The binary as users and scripts meet it.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assumption is a failed test"
)]

mod apply;
mod backup;
mod bench;
mod campaign;
mod crash_agent;
mod crash_server;
mod dev;
mod dice;
mod entries;
mod errors;
mod fleet;
mod help;
mod mint;
mod orphans;
mod ports;
mod program;
mod register;
mod reload;
mod setup;
mod stop;
mod takeover;
mod templates;
mod why;
