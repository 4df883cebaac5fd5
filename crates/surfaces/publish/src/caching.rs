use core::time::Duration;
use signet_keys::KeysConfig;

/// How long a public document may lie in a cache: the one rule for all of them.
///
/// A key waits, published and unused, for its gate before it signs. A copy of the document from before the key is used
/// no longer than `max_age` and then, while a new one is fetched, for `stale`; together that is less than half of the
/// shortest gate, so whoever keeps to it knows every key before its first signature, even if one fetch fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// For how long a copy is fresh.
    pub max_age: Duration,
    /// For how long it may be used after that, while a new one is fetched (RFC 5861 §3).
    pub stale: Duration,
}

impl CachePolicy {
    /// The policy where readers are told to look every `refresh_hint`, and a new key waits for `gate`.
    #[must_use]
    pub fn new(refresh_hint: Duration, gate: Duration) -> Self {
        let max_age = Duration::from_secs(refresh_hint.min(gate / 3).as_secs());
        let stale = Duration::from_secs((max_age / 5).as_secs());
        Self { max_age, stale }
    }

    /// The policy that follows from the settings of the keys. Intermediates have no gate: they travel with what they
    /// signed.
    #[must_use]
    pub fn of(config: &KeysConfig) -> Self {
        Self::new(config.refresh_hint, config.root_gate.min(config.jwt_gate))
    }

    /// The longest age at which a reader that keeps to it uses a copy.
    #[must_use]
    pub fn age_max(self) -> Duration {
        self.max_age + self.stale
    }

    /// The value of `cache-control`.
    pub(crate) fn header(self) -> String {
        format!(
            "public, max-age={}, stale-while-revalidate={}",
            self.max_age.as_secs(),
            self.stale.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn token_k2_the_usual_settings_give_five_minutes_and_one() {
        let config = KeysConfig::new("dev.test".parse().unwrap());
        let header = CachePolicy::of(&config).header();
        assert_eq!(header, "public, max-age=300, stale-while-revalidate=60");
    }

    #[test]
    fn token_k1_a_key_waits_for_twice_the_age_of_a_copy_and_for_ten_minutes() {
        let config = KeysConfig::new("dev.test".parse().unwrap());
        let policy = CachePolicy::of(&config);
        for gate in [config.jwt_gate, config.root_gate] {
            assert!(gate >= (policy.max_age * 2).max(Duration::from_secs(600)));
        }
    }

    proptest! {
        #[test]
        fn token_k1_no_copy_is_used_longer_than_half_the_gate(hint in 0_u64..1 << 40, gate in 0_u64..1 << 40) {
            let (hint, gate) = (Duration::from_millis(hint), Duration::from_millis(gate));
            let policy = CachePolicy::new(hint, gate);
            prop_assert!(policy.age_max() * 2 <= gate);
            prop_assert!(policy.max_age <= hint);
        }
    }
}
