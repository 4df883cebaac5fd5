//! Entries that change one by one, each seen on a stream of this process.

use super::super::latency::{Latencies, Summary};
use super::super::made::Made;
use super::super::run::Progress;
use super::super::watched::Used;
use super::own::{Own, both, has, refused, seen};
use crate::Outcome;
use crate::error::CliError;
use serde::Serialize;
use signet_id::IdPattern;
use signet_workload::{WorkloadClient, X509Stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Entries created and deleted one by one.
#[derive(Default, Serialize)]
pub(super) struct Changes {
    pub(super) made: u64,
    /// From sending the request to the identity on this process's stream; nothing where there is no stream before it.
    pub(super) created_to_stream: Option<Summary>,
    /// From sending the request to a message without the identity, or to the stream's end where it was the last one.
    pub(super) deleted_to_stream: Option<Summary>,
    /// For each created and deleted entry together.
    pub(super) cpu: Vec<Used>,
}

/// What takes part in each change.
pub(super) struct Changing<'a> {
    pub(super) own: &'a Own,
    pub(super) client: &'a WorkloadClient,
    pub(super) made: &'a mut Made,
    pub(super) stop: &'a CancellationToken,
    /// How many are made.
    pub(super) times: u32,
}

impl Changing<'_> {
    /// Creates an entry, sees it on a stream, deletes it, sees it gone; again and again. Another one stays throughout.
    pub(super) async fn beside_another(mut self) -> Outcome<Changes> {
        let base = self.own.entry("base")?;
        let opened = Own::open(&base, self.client, self.made, self.stop).await?;
        let Some((_, mut stream)) = opened else {
            return Ok(Changes::default());
        };
        let (count, _progress) = self.progress();
        let (mut there, mut gone) = (Latencies::new(), Latencies::new());
        for n in 0..self.times {
            let entry = self.own.entry(&n.to_string())?;
            let started = Instant::now();
            let (id, at) = Box::pin(both(self.stop, self.made.create(&entry), |stop| {
                seen(&mut stream, stop, |context| has(context, &entry.spiffe_id))
            }))
            .await?;
            let Some(at) = at else { break };
            there.add(at - started);
            let lost = self.take_away(&id, &mut stream, &entry.spiffe_id).await?;
            let Some((started, at)) = lost else { break };
            gone.add(at - started);
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Changes {
            made: gone.total(),
            created_to_stream: there.summary(),
            deleted_to_stream: gone.summary(),
            cpu: Vec::new(),
        })
    }

    async fn take_away(
        &mut self,
        id: &str,
        stream: &mut X509Stream,
        spiffe_id: &IdPattern,
    ) -> Outcome<Option<(Instant, Instant)>> {
        let started = Instant::now();
        let ((), at) = Box::pin(both(self.stop, self.made.delete(id), |stop| {
            seen(stream, stop, |context| !has(context, spiffe_id))
        }))
        .await?;
        Ok(at.map(|at| (started, at)))
    }

    /// Creates an entry, opens a stream, deletes the entry, sees the stream end with `PermissionDenied`; again and again.
    pub(super) async fn of_the_last(self) -> Outcome<Changes> {
        let (count, _progress) = self.progress();
        let mut gone = Latencies::new();
        for n in 0..self.times {
            let entry = self.own.entry(&n.to_string())?;
            let opened = Own::open(&entry, self.client, self.made, self.stop).await?;
            let Some((id, mut stream)) = opened else { break };
            self.is_alone().await?;
            let started = Instant::now();
            let ((), at) = Box::pin(both(self.stop, self.made.delete(&id), |stop| {
                refused(&mut stream, stop)
            }))
            .await?;
            let Some(at) = at else { break };
            gone.add(at - started);
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Changes {
            made: gone.total(),
            deleted_to_stream: gone.summary(),
            ..Changes::default()
        })
    }

    /// The stream of a process that keeps another identity would not end.
    async fn is_alone(&self) -> Outcome {
        let context = self.client.fetch_x509().await?;
        let other = context
            .svids()
            .iter()
            .find(|svid| !self.own.is_ours(&svid.id))
            .map(|svid| svid.id.to_string());
        match other {
            Some(id) => Err(CliError::NotAlone { id }.into()),
            None => Ok(()),
        }
    }

    fn progress(&self) -> (Arc<AtomicU64>, Progress) {
        let count = Arc::new(AtomicU64::new(0));
        let (all, shown) = (self.times, Arc::clone(&count));
        let progress =
            Progress::show(move || format!("{} of {all} changes made", shown.load(Ordering::Relaxed)));
        (count, progress)
    }
}
