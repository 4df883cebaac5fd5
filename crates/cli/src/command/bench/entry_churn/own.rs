//! Entries that give this process an identity, and what its stream shows of them.

use super::super::made::{Made, selector, spiffe_id};
use crate::Outcome;
use crate::error::CliError;
use core::future::Future;
use core::time::Duration;
use signet_api::EntryDoc;
use signet_id::{IdPattern, Selector, SpiffeId};
use signet_time::UnixTime;
use signet_workload::{WorkloadClient, WorkloadError, X509Context, X509Stream};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// The entries that give this process an identity.
pub(super) struct Own {
    below: SpiffeId,
    selectors: Vec<Selector>,
    expires_at: UnixTime,
}

impl Own {
    /// For this program run by this user: the fewest that selectors can name.
    pub(super) fn of_this_process(below: &SpiffeId, expires_at: UnixTime) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(|source| CliError::Read {
            path: "/proc/self/exe".into(),
            source,
        })?;
        Ok(Self {
            below: below.clone(),
            selectors: vec![
                selector(&format!("unix:uid:{}", signet_sys::process::uid()))?,
                selector(&format!("unix:path:{}", program.display()))?,
            ],
            expires_at,
        })
    }

    pub(super) fn entry(&self, name: &str) -> Outcome<EntryDoc> {
        let id = spiffe_id(&format!("{}/own/{name}", self.below))?;
        let mut entry = EntryDoc::new(id, self.selectors.clone());
        // Also where this process is killed, nobody keeps the identity.
        entry.expires_at = Some(self.expires_at);
        Ok(entry)
    }

    /// Whether `id` is one that such an entry gives.
    pub(super) fn is_ours(&self, id: &SpiffeId) -> bool {
        let ours = id.as_str().strip_prefix(self.below.as_str());
        ours.is_some_and(|rest| rest.starts_with("/own/"))
    }

    /// Creates `entry`, and opens a stream once it has arrived: the stream of a process without any identity ends. Gives
    /// the entry's id, too; `None` where `stop` came first.
    pub(super) async fn open(
        entry: &EntryDoc,
        client: &WorkloadClient,
        made: &mut Made,
        stop: &CancellationToken,
    ) -> Outcome<Option<(String, X509Stream)>> {
        let id = made.create(entry).await?;
        let until = Instant::now() + SEEN_WITHIN;
        let mut stream = loop {
            match client.watch_x509().await {
                Ok(stream) => break stream,
                // The entry is on its way.
                Err(WorkloadError::NoIdentity { .. }) if Instant::now() < until && !stop.is_cancelled() => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(WorkloadError::NoIdentity { .. }) if stop.is_cancelled() => return Ok(None),
                Err(WorkloadError::NoIdentity { .. }) => return Err(unseen().into()),
                Err(error) => return Err(error.into()),
            }
        };
        let there = seen(&mut stream, stop.clone(), |context| {
            has(context, &entry.spiffe_id)
        })
        .await?;
        Ok(there.map(|_| (id, stream)))
    }
}

/// Makes a change and waits for what is seen of it. The change is always waited for, so that it is known what was made;
/// what is to be seen is not, where the change failed or nobody waits any more.
pub(super) async fn both<T, Seen: Future<Output = Outcome<Option<Instant>>>>(
    stop: &CancellationToken,
    change: impl Future<Output = Outcome<T>>,
    see: impl FnOnce(CancellationToken) -> Seen,
) -> Outcome<(T, Option<Instant>)> {
    let failed = stop.child_token();
    let change = async {
        let changed = change.await;
        if changed.is_err() {
            failed.cancel();
        }
        changed
    };
    let (changed, seen) = tokio::join!(change, see(failed.clone()));
    Ok((changed?, seen?))
}

/// When a message came that is as `wanted`; `None` where `stop` came first.
pub(super) async fn seen(
    stream: &mut X509Stream,
    stop: CancellationToken,
    wanted: impl Fn(&X509Context) -> bool,
) -> Outcome<Option<Instant>> {
    let message = async {
        loop {
            let context = stream.next().await?.ok_or(WorkloadError::Ended)?;
            let at = Instant::now();
            if wanted(&context) {
                return Ok(at);
            }
        }
    };
    in_time(stop, message).await
}

/// When the stream ended because the process has no identity any more (`PermissionDenied`); `None` where `stop` came
/// first.
pub(super) async fn refused(stream: &mut X509Stream, stop: CancellationToken) -> Outcome<Option<Instant>> {
    let end = async {
        loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Err(WorkloadError::Ended.into()),
                Err(WorkloadError::NoIdentity { .. }) => return Ok(Instant::now()),
                Err(error) => return Err(error.into()),
            }
        }
    };
    in_time(stop, end).await
}

async fn in_time(
    stop: CancellationToken,
    event: impl Future<Output = Outcome<Instant>>,
) -> Outcome<Option<Instant>> {
    tokio::select! {
        seen = tokio::time::timeout(SEEN_WITHIN, event) => match seen {
            Ok(seen) => seen.map(Some),
            Err(_) => Err(unseen().into()),
        },
        () = stop.cancelled() => Ok(None),
    }
}

fn unseen() -> CliError {
    CliError::Slow {
        what: "a change did not reach the stream of this process".to_owned(),
        seconds: SEEN_WITHIN.as_secs(),
    }
}

pub(super) fn has(context: &X509Context, id: &IdPattern) -> bool {
    context.svids().iter().any(|svid| svid.id == *id)
}

/// Above the time after which a request is given up, so that what was asked for is known when nobody waits any more.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
/// Before the first identity there is no stream to wait on.
const ASK_AGAIN: Duration = Duration::from_millis(20);
