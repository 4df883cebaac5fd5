//! Time as an argument.
//!
//! [`UnixTime`] is a point in time with millisecond resolution, [`Clock`] is where it comes from. Only the
//! command line makes a clock that reads the wall; everything else is handed one, so that a test can say what
//! time it is. Durations are [`core::time::Duration`]; [`parse_duration`] and [`format_duration`] give them the
//! written form that users see (`90s`, `5m`, `1h`, `30d`).

mod day;
mod duration;
mod steps;
mod unix;

pub use day::Day;
pub use duration::{DURATION_UNITS, DurationError, format_duration, parse_duration};
pub use steps::Steps;
pub use unix::{TimeError, UnixTime};

use std::sync::Arc;

/// Where the time comes from. Shared by everything that must agree on it.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> UnixTime;
}

/// A clock that many hold.
pub type SharedClock = Arc<dyn Clock>;

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> UnixTime {
        (**self).now()
    }
}
