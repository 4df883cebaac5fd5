use crate::UnixTime;
use core::time::Duration;
use std::time::Instant;

/// Tells a clock that was set from one that runs: beside a clock that nobody can set, one that runs moves as far.
///
/// Who waits until a point in time sleeps a while that was right when it began. When the clock is set meanwhile, it is
/// not, and nothing wakes the sleeper; so it looks at both clocks in between, which costs less than a microsecond.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    shown: UnixTime,
    at: Instant,
}

impl Steps {
    /// How often to look: as long as what the clock ended by being set is still in use.
    pub const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// Begins with a clock that shows `shown` at `at`.
    #[must_use]
    pub const fn new(shown: UnixTime, at: Instant) -> Self {
        Self { shown, at }
    }

    /// Whether the clock, which shows `shown` at `at`, was set since the last look.
    pub fn is_step(&mut self, shown: UnixTime, at: Instant) -> bool {
        let before = core::mem::replace(self, Self::new(shown, at));
        let would_show = before.shown + at.saturating_duration_since(before.at);
        shown.since(would_show).max(would_show.since(shown)) > STEP_MIN
    }
}

/// Nothing lives so short that less would matter, and a clock that is slewed moves a thousandth of that between two looks.
const STEP_MIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_clock_that_runs_takes_no_step_however_late_the_look_is() {
        let (shown, at) = (UnixTime::from_secs(1_000_000), Instant::now());
        let mut steps = Steps::new(shown, at);
        for late in [SECOND, Duration::ZERO, HOUR, SECOND] {
            let Steps { shown, at } = steps;
            assert!(!steps.is_step(shown + late, at + late));
        }
        // Slewed by what a time daemon may, or read a moment after the other clock.
        let Steps { shown, at } = steps;
        assert!(!steps.is_step(shown + SECOND + SECOND / 2, at + SECOND));
        let Steps { shown, at } = steps;
        assert!(!steps.is_step(shown, at + SECOND));
    }

    #[test]
    fn a_clock_that_is_set_takes_one_step_forth_or_back() {
        let (shown, at) = (UnixTime::from_secs(1_000_000), Instant::now());
        for set_to in [shown + HOUR, shown - HOUR, shown + 4 * SECOND, UnixTime::EPOCH] {
            let mut steps = Steps::new(shown, at);
            assert!(steps.is_step(set_to, at + SECOND), "{set_to}");
            assert!(!steps.is_step(set_to + SECOND, at + 2 * SECOND), "{set_to}: once");
        }
    }
}
