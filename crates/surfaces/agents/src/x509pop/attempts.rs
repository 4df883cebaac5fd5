use core::time::Duration;
use signet_time::UnixTime;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many attempts there may be, all together and from each network.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: Bucket,
    by_network: HashMap<u64, Bucket>,
}

/// A bucket that attempts fill and time drains.
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Attempts in it, in thousandths.
    level: u64,
    at: UnixTime,
}

/// How large a bucket is and how fast it drains.
#[derive(Clone, Copy)]
struct Pace {
    burst: u64,
    per_second: u64,
}

impl Attempts {
    /// Counts an attempt from `network` at `now`.
    ///
    /// # Errors
    /// After how many seconds there is room again.
    pub(crate) fn take(&self, network: u64, now: UnixTime) -> Result<(), u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.by_network.len() >= NETWORKS_MAX && !counts.by_network.contains_key(&network) {
            counts
                .by_network
                .retain(|_, bucket| bucket.level_at(now, OF_NETWORK) > 0);
        }
        // Those for which there is no place share one.
        let has_place = counts.by_network.len() < NETWORKS_MAX || counts.by_network.contains_key(&network);
        let network = if has_place { network } else { OTHERS };
        // The network first: one that has had its share takes nothing of the others'.
        counts
            .by_network
            .entry(network)
            .or_default()
            .take(now, OF_NETWORK)?;
        counts.all.take(now, OF_ALL)
    }
}

impl Bucket {
    fn level_at(&self, now: UnixTime, pace: Pace) -> u64 {
        let passed_ms = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.level
            .saturating_sub(passed_ms.saturating_mul(pace.per_second))
    }

    fn take(&mut self, now: UnixTime, pace: Pace) -> Result<(), u64> {
        // A clock that was set back drains from there on.
        self.at = self.at.min(now);
        let filled = self.level_at(now, pace) + THOUSAND;
        if filled > pace.burst * THOUSAND {
            let over = Duration::from_millis((filled - pace.burst * THOUSAND).div_ceil(pace.per_second));
            return Err(over.as_secs() + 1);
        }
        *self = Self {
            level: filled,
            at: now,
        };
        Ok(())
    }
}

const THOUSAND: u64 = 1000;
/// A site behind one address may start as many machines at once; the others come a second later each.
const OF_NETWORK: Pace = Pace {
    burst: 64,
    per_second: 1,
};
/// At most half a millisecond of signatures each.
const OF_ALL: Pace = Pace {
    burst: 512,
    per_second: 128,
};
/// Networks that are told apart, besides those whose share is whole again.
const NETWORKS_MAX: usize = 4096;
/// No network has this number: it would be that of the last IPv6 addresses, which are multicast.
const OTHERS: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use signet_testkit::START;

    const SECOND: Duration = Duration::from_secs(1);

    fn taken(attempts: &Attempts, network: u64, now: UnixTime) -> usize {
        (0..10_000)
            .take_while(|_| attempts.take(network, now).is_ok())
            .count()
    }

    #[test]
    fn each_network_has_its_share_and_it_comes_back_with_time() {
        let attempts = Attempts::default();
        assert_eq!(taken(&attempts, 1, START), 64);
        assert_eq!(attempts.take(1, START), Err(2));
        assert_eq!(taken(&attempts, 2, START), 64, "another one's is its own");
        assert_eq!(taken(&attempts, 1, START + SECOND), 1);
        assert_eq!(taken(&attempts, 1, START + SECOND * 1000), 64, "and never more");
        assert_eq!(
            taken(&attempts, 1, START),
            0,
            "a clock that is set back gives nothing"
        );
    }

    #[test]
    fn all_together_have_a_bound() {
        let attempts = Attempts::default();
        let all: usize = (0..20).map(|network| taken(&attempts, network, START)).sum();
        assert_eq!(all, 512);
        let all: usize = (20..40)
            .map(|network| taken(&attempts, network, START + SECOND))
            .sum();
        assert_eq!(all, 128);
    }

    #[test]
    fn networks_beyond_the_bound_share_one_place_until_others_are_free() {
        let attempts = Attempts::default();
        // As fast as all together may.
        for network in 0..NETWORKS_MAX as u64 {
            let at = START + Duration::from_millis(network * 8);
            assert_eq!(attempts.take(network, at), Ok(()));
        }
        let at = START + Duration::from_millis(NETWORKS_MAX as u64 * 8);
        let held = |attempts: &Attempts| attempts.0.lock().unwrap().by_network.len();
        assert!(held(&attempts) <= NETWORKS_MAX + 1);
        assert_eq!(attempts.take(1 << 40, at), Ok(()));
        assert!(held(&attempts) < NETWORKS_MAX, "those that drained are forgotten");
    }
}
