use std::time::Duration;

/// Pauses between attempts: doubling from 100 ms to 10 s, each cut by up to a half at random, so that the clients of
/// an agent that restarts do not come back all at once.
#[derive(Debug)]
pub struct Pauses {
    next_ms: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self::new()
    }
}

impl Pauses {
    const FIRST_MS: u32 = 100;
    const LAST_MS: u32 = 10_000;

    /// Begins with the shortest.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next_ms: Self::FIRST_MS,
        }
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next_ms = Self::FIRST_MS;
    }

    /// How long to wait before the next attempt.
    #[expect(
        clippy::should_implement_trait,
        reason = "pauses never end, and are not looped over"
    )]
    pub fn next(&mut self) -> Duration {
        let full = self.next_ms;
        self.next_ms = full.saturating_mul(2).min(Self::LAST_MS);
        // Without randomness the pause is the full one, which is right too.
        let random = signet_crypto::random::<2>().map_or(0, u16::from_be_bytes);
        let cut = u64::from(full / 2) * u64::from(random) / u64::from(u16::MAX);
        Duration::from_millis(u64::from(full) - cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds() {
        let mut pauses = Pauses::new();
        for full in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let pause = pauses.next().as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} for {full}");
        }
        pauses.reset();
        assert!(pauses.next().as_millis() <= 100);
    }
}
