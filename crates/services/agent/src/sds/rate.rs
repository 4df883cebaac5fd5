use crate::AgentError;
use core::time::Duration;
use tokio::time::Instant;

/// How fast requests may come on one stream: as many at once as there are tokens, which come back one by one.
pub(super) struct Rate {
    tokens: u32,
    /// Up to when tokens have come back.
    counted_to: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            counted_to: now,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// [`AgentError::SecretPace`] if there is none.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), AgentError> {
        let passed = now.saturating_duration_since(self.counted_to);
        let back = u32::try_from(passed.as_millis() / EVERY.as_millis()).unwrap_or(u32::MAX);
        if back >= BURST - self.tokens {
            self.tokens = BURST;
            self.counted_to = now;
        } else {
            self.tokens += back;
            self.counted_to += EVERY * back;
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(AgentError::SecretPace)?;
        Ok(())
    }
}

/// An Envoy sends one request for each response and each change of what it wants.
const BURST: u32 = 256;
const EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_what_comes_faster_than_tokens_is_not() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..BURST {
            rate.take(start).expect("a burst");
        }
        assert!(matches!(rate.take(start), Err(AgentError::SecretPace)));
        let later = start + EVERY * 2;
        rate.take(later).expect("one came back");
        rate.take(later).expect("and another one");
        assert!(rate.take(later).is_err());
        // Parts of a token are not lost.
        assert!(rate.take(later + EVERY / 2).is_err());
        rate.take(later + EVERY).expect("two halves");
        // No more than a burst is ever saved.
        let much_later = later + EVERY * BURST * 10;
        for _ in 0..BURST {
            rate.take(much_later).expect("a burst");
        }
        assert!(rate.take(much_later).is_err());
    }
}
