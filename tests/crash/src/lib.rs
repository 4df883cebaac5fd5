//! Crash campaigns over the two stores: what was acknowledged is there after any crash.
//!
//! A child process ([`child`]) writes to a store with concurrent writers and acknowledges each change on its standard
//! output. It is killed at random moments, aborted at failpoints, or run under `interpose/interpose.c`, which records
//! every file operation in order. From that record [`disk`] makes the disk that a power failure would have left at any
//! moment: with nothing that was not synced, or with any part of it. After each crash [`verify`] opens what is left and
//! compares it with the acknowledgements.
//!
//! Test code: it panics where a campaign cannot go on.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a campaign ends where it cannot go on"
)]

pub mod acks;
pub mod child;
pub mod dice;
pub mod disk;
pub mod log;
pub mod verify;
pub mod workload;
