//! The campaigns. `SIGNET_CRASH_ROUNDS` says how many rounds a campaign of kills has (20 if unset),
//! `SIGNET_CRASH_SEED` repeats one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod crash_disk;
mod crash_errors;
mod crash_failpoints;
mod crash_kill;
mod run;
