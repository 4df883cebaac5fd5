//! What every backend must do, as test code: call [`change_log()`] and [`journal()`] from a backend's tests.
//!
//! `open` opens the store of a name: a fresh one at first, the same one again after every handle on it was dropped.
//! The suites panic at the first promise that is not kept. They need a tokio runtime around them and no time driver.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a suite ends at the first promise that is not kept"
)]

mod change_log;
mod faults;
mod journal;
pub mod model;
mod support;

pub use change_log::change_log;
pub use faults::{change_log_faults, journal_faults};
pub use journal::journal;
pub use support::{KIND, batch, origin, read_all, verified_tail};
