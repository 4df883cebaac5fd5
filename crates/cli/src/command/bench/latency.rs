//! How long things took.

use core::time::Duration;
use serde::Serialize;

/// Durations, counted in buckets whose width is below 1/128 of what they hold: its size does not grow with the number of
/// samples. The largest one is kept as it is.
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max_ns: 0,
        }
    }

    pub(super) fn add(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count += 1;
        }
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all that `other` has.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many were added.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The smallest duration that at least `permille` of 1000 do not exceed, to the upper end of its bucket; `None` where
    /// there are no samples.
    pub(super) fn quantile(&self, permille: u64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let wanted = u128::from(self.total) * u128::from(permille.min(1000));
        let rank = wanted.div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (n, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return Some(Duration::from_nanos(bucket_end(n).min(self.max_ns)));
            }
        }
        Some(Duration::from_nanos(self.max_ns))
    }

    pub(super) fn summary(&self) -> Option<Summary> {
        Some(Summary {
            p50_ms: millis(self.quantile(500)?),
            p99_ms: millis(self.quantile(990)?),
            max_ms: millis(Duration::from_nanos(self.max_ns)),
        })
    }
}

/// What is shown of durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Summary {
    pub(super) fn shown(summary: Option<Self>) -> String {
        summary.map_or_else(String::new, |s| {
            format!(
                "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
                s.p50_ms, s.p99_ms, s.max_ms
            )
        })
    }
}

/// As milliseconds, to a thousandth.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// To a tenth.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// So many buckets for each power of two; a power of two itself.
const PARTS: u64 = 128;
const PARTS_LOG2: u32 = PARTS.trailing_zeros();
/// Below `PARTS` each nanosecond has its bucket, above it each power of two has `PARTS`.
const BUCKETS: usize = (PARTS * (64 - PARTS_LOG2 as u64 + 1)) as usize;

fn bucket(ns: u64) -> usize {
    let shift = ns.checked_ilog2().unwrap_or(0).saturating_sub(PARTS_LOG2);
    let n = u64::from(shift) * PARTS + (ns >> shift);
    usize::try_from(n).unwrap_or(BUCKETS)
}

/// The largest number of nanoseconds that falls into bucket `n`.
fn bucket_end(n: usize) -> u64 {
    let n = n as u64;
    let shift = (n / PARTS).saturating_sub(1);
    let part = u128::from(n - shift * PARTS);
    let end = ((part + 1) << shift) - 1;
    u64::try_from(end).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_one_bucket_and_lies_near_its_end() {
        let mut last = None;
        let powers = (0..64).flat_map(|n| [1_u64 << n, (1_u64 << n) - 1, (1_u64 << n) + (1 << n) / 3]);
        let mut all: Vec<u64> = (0..1000).chain(powers).chain([u64::MAX]).collect();
        all.sort_unstable();
        for ns in all {
            let n = bucket(ns);
            assert!(n < BUCKETS, "{ns}");
            assert!(last <= Some(n), "order is kept at {ns}");
            last = Some(n);
            let end = bucket_end(n);
            assert!(end >= ns && end - ns <= ns / PARTS, "{ns} is shown as {end}");
            assert_eq!(bucket(end), n);
        }
        assert_eq!(last, Some(BUCKETS - 1), "no bucket is for nothing");
    }

    #[test]
    fn percentiles_of_one_to_a_thousand() {
        let mut latencies = Latencies::new();
        // In no order that would help.
        for n in 0..1000_u64 {
            latencies.add(Duration::from_nanos((n * 617) % 1000 + 1));
        }
        assert_eq!(latencies.total(), 1000);
        for (permille, exact) in [(1, 1), (500, 500), (990, 990), (1000, 1000)] {
            let found = latencies.quantile(permille).unwrap().as_nanos();
            assert!(
                (exact..=exact + exact / 128).contains(&found),
                "{permille}: {found}"
            );
        }
        assert_eq!(
            latencies.quantile(1000).unwrap().as_nanos(),
            1000,
            "the largest is exact"
        );
    }

    #[test]
    fn one_outlier_is_the_maximum_and_no_percentile() {
        let mut latencies = Latencies::new();
        for _ in 0..199 {
            latencies.add(Duration::from_micros(100));
        }
        latencies.add(Duration::from_secs(3));
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.max_ms, 3000.0);
        assert!(summary.p50_ms >= 0.1 && summary.p99_ms < 0.101, "{summary:?}");
    }

    #[test]
    fn nothing_has_no_percentiles() {
        let latencies = Latencies::new();
        assert_eq!((latencies.quantile(500), latencies.summary()), (None, None));
        assert_eq!(Summary::shown(None), "");
    }
}
