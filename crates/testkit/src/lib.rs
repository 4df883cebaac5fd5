//! Fakes that behave and a certificate forge, for tests only: a dev-dependency, never part of the binary.
//!
//! [`ManualClock`] and [`TokioClock`] say what time it is; [`forge`] makes certificates, right ones and such as
//! break exactly one rule; [`HookedLog`] gets between a change log and whoever uses it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test code: a failure here is the test's failure"
)]

mod clock;
pub mod forge;
mod log;

pub use clock::{ManualClock, START, TokioClock};
pub use log::HookedLog;
