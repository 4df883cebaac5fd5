//! Streams that are opened again when the agent closes them, as workloads' libraries do.

use super::super::latency::{Latencies, Summary, millis};
use super::super::run::{Errors, lock};
use serde::Serialize;
use signet_workload::{Endpoint, Pauses, WorkloadClient, WorkloadError, X509Stream};
use std::sync::Mutex;
use std::time::Instant;

/// What was seen of streams that ended and came back.
#[derive(Default)]
pub(super) struct Returns(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    lost: u64,
    told: Errors,
    without: Latencies,
    first_lost: Option<Instant>,
    last_back: Option<Instant>,
}

/// What is reported of them.
#[derive(Serialize)]
pub(super) struct Reopened {
    /// Streams that ended.
    lost: u64,
    /// And had a message again.
    back: u64,
    /// What clients were told while they had none, an attempt at a time.
    told: Errors,
    /// From the end of a stream to the next message.
    without: Option<Summary>,
    /// From the first end to the last return.
    all_back_ms: Option<f64>,
}

impl Returns {
    fn lost(&self) {
        let mut seen = lock(&self.0);
        seen.lost += 1;
        seen.first_lost.get_or_insert_with(Instant::now);
    }

    fn told(&self, ended: &Result<(), WorkloadError>) {
        let told = &mut lock(&self.0).told;
        match ended {
            Ok(()) => told.count("end of the stream"),
            Err(error) => told.add(error),
        }
    }

    fn back(&self, since: Instant) {
        let mut seen = lock(&self.0);
        seen.without.add(since.elapsed());
        seen.last_back = Some(Instant::now());
    }

    pub(super) fn report(&self) -> Reopened {
        let seen = lock(&self.0);
        let took = seen.first_lost.zip(seen.last_back);
        Reopened {
            lost: seen.lost,
            back: seen.without.total(),
            told: seen.told.clone(),
            without: seen.without.summary(),
            all_back_ms: took.map(|(first, last)| millis(last.saturating_duration_since(first))),
        }
    }

    /// Opens a stream anew until it has a message, after one that ended with `ended`.
    pub(super) async fn reopen(
        &self,
        endpoint: &Endpoint,
        mut ended: Result<(), WorkloadError>,
    ) -> (WorkloadClient, X509Stream) {
        let (since, mut pauses) = (Instant::now(), Pauses::new());
        self.lost();
        loop {
            self.told(&ended);
            tokio::time::sleep(pauses.next()).await;
            match open(endpoint).await {
                Ok(opened) => {
                    self.back(since);
                    return opened;
                }
                Err(error) => ended = Err(error),
            }
        }
    }
}

/// A stream on a connection of its own, after its first message.
pub(super) async fn open(endpoint: &Endpoint) -> Result<(WorkloadClient, X509Stream), WorkloadError> {
    let client = WorkloadClient::connect(endpoint).await?;
    let mut stream = client.watch_x509().await?;
    stream.next().await?.ok_or(WorkloadError::Ended)?;
    Ok((client, stream))
}

impl Reopened {
    pub(super) fn shown(&self) -> String {
        let all = self
            .all_back_ms
            .map(|ms| format!(", the last {ms:.0} ms after the first had lost its own"))
            .unwrap_or_default();
        format!(
            "{} of {} streams back{all}; each without one: {}; told: {}",
            self.back,
            self.lost,
            Summary::shown(self.without),
            self.told.shown()
        )
    }
}
