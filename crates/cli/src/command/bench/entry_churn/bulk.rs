//! Entries created in bulk.

use super::super::latency::{millis, tenth};
use super::super::made::{Made, nobody};
use super::super::run::Progress;
use super::super::watched::Used;
use crate::Outcome;
use core::time::Duration;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Entries created in bulk.
#[derive(Default, Serialize)]
pub(super) struct Bulk {
    pub(super) created: u32,
    pub(super) per_request: u32,
    pub(super) seconds: f64,
    pub(super) per_second: Option<f64>,
    /// The same for each tenth of them, first to last: of a server that slows down as it fills, they fall.
    pub(super) per_second_by_tenth: Vec<f64>,
    pub(super) cpu: Vec<Used>,
}

/// Creates `entries` that match nobody, `batch` in a request.
pub(super) async fn fill(
    entries: u32,
    batch: u32,
    made: &mut Made,
    stop: &CancellationToken,
) -> Outcome<Bulk> {
    let count = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&count);
    let _progress =
        Progress::show(move || format!("{} of {entries} entries created", shown.load(Ordering::Relaxed)));
    let per_request = batch.min(entries.div_ceil(10)).max(1);
    let mut tenths = Tenths::of(entries);
    let mut created = 0;
    let started = Instant::now();
    while created < entries && !stop.is_cancelled() {
        let until = (created + per_request).min(entries);
        let below = made.below().clone();
        let wanted = (created..until).map(|n| nobody(&below, &format!("bulk/{n}")));
        let wanted = wanted.collect::<Outcome<Vec<_>>>()?;
        let request = Instant::now();
        made.create_all(wanted).await?;
        tenths.add(created, until, request.elapsed());
        created = until;
        count.store(created.into(), Ordering::Relaxed);
    }
    let took = started.elapsed();
    Ok(Bulk {
        created,
        per_request,
        seconds: millis(took) / 1000.0,
        per_second: (created > 0).then(|| tenth(f64::from(created) / took.as_secs_f64())),
        per_second_by_tenth: tenths.per_second(),
        cpu: Vec::new(),
    })
}

/// How long each tenth of the entries took.
struct Tenths {
    entries: u32,
    took: [Duration; 10],
    created: [u32; 10],
}

impl Tenths {
    fn of(entries: u32) -> Self {
        Self {
            entries,
            took: [Duration::ZERO; 10],
            created: [0; 10],
        }
    }

    /// Entries `from..until` took so long. They count in the tenth in which they begin.
    fn add(&mut self, from: u32, until: u32, took: Duration) {
        let n = u64::from(from) * 10 / u64::from(self.entries.max(1));
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if let (Some(sum), Some(created)) = (self.took.get_mut(n), self.created.get_mut(n)) {
            *sum += took;
            *created += until - from;
        }
    }

    /// Those of the tenths in which there was something.
    fn per_second(&self) -> Vec<f64> {
        let each = self.took.iter().zip(self.created);
        each.filter(|(_, created)| *created > 0)
            .map(|(took, created)| tenth(f64::from(created) / took.as_secs_f64().max(1e-9)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_has_its_own_rate() {
        let mut tenths = Tenths::of(100);
        for n in 0..10 {
            tenths.add(n * 10, n * 10 + 10, Duration::from_secs(u64::from(n) + 1));
        }
        let rates = tenths.per_second();
        assert_eq!(rates.len(), 10);
        assert_eq!((rates[0], rates[4], rates[9]), (10.0, 2.0, 1.0));
    }

    #[test]
    fn a_tenth_without_entries_has_none() {
        let mut tenths = Tenths::of(3);
        for n in 0..3 {
            tenths.add(n, n + 1, Duration::from_millis(500));
        }
        assert_eq!(tenths.per_second(), [2.0, 2.0, 2.0]);
        assert!(Tenths::of(0).per_second().is_empty());
    }
}
