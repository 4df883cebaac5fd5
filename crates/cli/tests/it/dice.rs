//! Random numbers from a seed that is printed; the campaigns on the stores take theirs in the same way.

use std::hash::{BuildHasher as _, RandomState};

/// A generator (xorshift64*): good enough to pick moments.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeds it from `SIGNET_CRASH_SEED`, or anew, and prints the seed.
    pub(crate) fn seeded(what: &str) -> Self {
        let seed = std::env::var("SIGNET_CRASH_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(what));
        println!("{what}: SIGNET_CRASH_SEED={seed}");
        // Zero would stay zero.
        Self(seed | 1)
    }

    /// Another generator, for a task of its own.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.any() | 1)
    }

    fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.any() >> 16) % bound.max(1)
    }
}
