use signet_time::{Clock, UnixTime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// 2027-01-15T08:00:00Z: when tests begin that do not care when.
pub const START: UnixTime = UnixTime::from_secs(1_800_000_000);

/// A clock that stands until it is told to move. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        Self(Arc::new(AtomicU64::new(now.as_millis())))
    }

    /// Sets it, forth or back.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Moves it on.
    pub fn advance(&self, span: Duration) {
        self.set(self.now() + span);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new(START)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that follows tokio's: with the runtime's time paused, timers and this clock move together.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    base: UnixTime,
    began: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows `base` now. Needs a runtime around it.
    #[must_use]
    pub fn new(base: UnixTime) -> Self {
        Self {
            base,
            began: tokio::time::Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new(START)
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UnixTime {
        self.base + self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_and_its_clones_show_one_time() {
        let clock = ManualClock::default();
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.now(), START + Duration::from_secs(5));
        other.set(UnixTime::EPOCH);
        assert_eq!(clock.now(), UnixTime::EPOCH);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tokio_clock_moves_with_the_runtimes() {
        let clock = TokioClock::default();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), START + Duration::from_secs(90));
    }
}
