//! The binary as users and scripts meet it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assumption is a failed test"
)]

mod dev;
mod entries;
mod errors;
mod fleet;
mod help;
mod program;
mod register;
mod reload;
