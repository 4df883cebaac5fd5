//! Random numbers from a seed that a failed test shows.

use std::hash::{BuildHasher as _, RandomState};

/// A generator (xorshift64*): good enough to pick moments.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Seeds it from `SIGNET_CRASH_SEED`, or anew, and prints the seed.
    #[must_use]
    pub fn seeded(what: &str) -> Self {
        let seed = std::env::var("SIGNET_CRASH_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().hash_one(what));
        println!("{what}: SIGNET_CRASH_SEED={seed}");
        Self::from_seed(seed)
    }

    /// Seeds it with `seed`.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.any() >> 16) % bound.max(1)
    }
}
