use super::Shared;
use super::caller::Caller;
use super::status::{judge, status};
use crate::AgentError;
use crate::identity::{One, Shown, Sight, Svid, SvidSight};
use crate::metrics::{StreamKind, StreamLabels};
use bytes::Bytes;
use signet_id::SpiffeId;
use signet_sys::Peer;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tonic::Status;
use tracing::info;

/// One open stream: what it shows, and what ends it.
pub(super) struct Watcher {
    kind: StreamKind,
    /// The one identity that was asked for; none: all of them.
    id: Option<SpiffeId>,
    sight: watch::Receiver<Arc<Sight>>,
    /// What was sent last: only what differs is sent.
    sent: Option<Bytes>,
    peer: Peer,
    shared: Arc<Shared>,
    // Held so that the view lives, and is kept up to date, as long as this stream.
    _caller: Arc<Caller>,
    _open: Open,
}

/// What happens next on a stream.
pub(super) enum Step {
    Message(Bytes),
    End(Status),
}

impl Watcher {
    pub(super) fn new(
        kind: StreamKind,
        id: Option<SpiffeId>,
        peer: Peer,
        caller: Arc<Caller>,
        shared: Arc<Shared>,
    ) -> Result<Self, AgentError> {
        let open = Open::new(&shared, kind, &peer)?;
        Ok(Self {
            kind,
            id,
            sight: caller.view.subscribe(),
            sent: None,
            peer,
            shared,
            _caller: caller,
            _open: open,
        })
    }

    /// Waits for the next message or the end.
    pub(super) async fn step(mut self) -> (Option<Self>, Step) {
        match self.next().await {
            Ok(message) => {
                self.sent = Some(message.clone());
                (Some(self), Step::Message(message))
            }
            Err(error) => {
                self.shared.series.refused(judge(&error).1);
                info!(pid = self.peer.pid(), stream = self.kind.as_str(), %error, "stream ends");
                (None, Step::End(status(&error)))
            }
        }
    }

    async fn next(&mut self) -> Result<Bytes, AgentError> {
        loop {
            let shown = show(&self.sight.borrow_and_update(), self.kind, self.id.as_ref())?;
            if let Some(message) = shown
                && self.sent.as_ref().is_none_or(|sent| !same(sent, &message))
            {
                self.peer.still_same().map_err(changed)?;
                return Ok(message);
            }
            tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => return Err(AgentError::Draining),
                ended = self.peer.exited() => {
                    ended?;
                    return Err(changed(signet_sys::PeerChanged::Ended));
                }
                changed = self.sight.changed() => changed.map_err(|_| AgentError::Draining)?,
                () = tokio::time::sleep(self.shared.pace.recheck) => self.peer.still_same().map_err(changed)?,
            }
        }
    }
}

/// The message that `sight` has for streams of `kind`; none yet, or the reason to end them.
pub(super) fn show(
    sight: &Sight,
    kind: StreamKind,
    id: Option<&SpiffeId>,
) -> Result<Option<Bytes>, AgentError> {
    if sight.entries.is_empty() {
        return Err(AgentError::NoIdentity);
    }
    match kind {
        StreamKind::X509Bundles => Ok(Some(sight.bundles.x509.clone())),
        StreamKind::JwtBundles => Ok(Some(sight.bundles.jwt.clone())),
        StreamKind::WitBundles => Ok(Some(sight.bundles.wit.clone())),
        StreamKind::X509Svid => svids(sight, &sight.x509, id),
        StreamKind::WitSvid => svids(sight, &sight.wit, id),
    }
}

fn svids<S: Svid>(
    sight: &Sight,
    svids: &SvidSight<S>,
    id: Option<&SpiffeId>,
) -> Result<Option<Bytes>, AgentError> {
    if let Some(id) = id.filter(|id| sight.entries.iter().all(|entry| entry.spiffe_id != **id)) {
        return Err(AgentError::NotEntitled(id.to_string()));
    }
    let unavailable = || crate::IssueError::Away(format!("no {} could be had", S::NAME)).into();
    let shown: &Shown<S> = match svids {
        SvidSight::Ready(shown) => shown,
        SvidSight::Pending => return Ok(None),
        SvidSight::Unavailable => return Err(unavailable()),
    };
    match id.map(|id| shown.one(id, sight)) {
        None => Ok(Some(shown.message.clone())),
        Some(One::Message(message)) => Ok(Some(message)),
        Some(One::Awaited) => Ok(None),
        Some(One::Unavailable) => Err(unavailable()),
    }
}

/// Messages are shared, so the same message is most often the same memory.
fn same(one: &Bytes, other: &Bytes) -> bool {
    let is_shared = core::ptr::eq(one.as_ptr(), other.as_ptr()) && one.len() == other.len();
    is_shared || one == other
}

fn changed(changed: signet_sys::PeerChanged) -> AgentError {
    AgentError::Peer(changed.into())
}

/// Counts open streams, all together and by process.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    all: usize,
    by_process: HashMap<Process, usize>,
}

/// Number and start time: a process, even when its number is used again.
type Process = (u32, u64);

/// One open stream's place; dropping gives it back.
struct Place {
    streams: Streams,
    process: Process,
}

impl Streams {
    /// A place, if there is one for this process.
    fn take(&self, process: Process) -> Result<Place, AgentError> {
        let mut counts = self.lock();
        let of_process = counts.by_process.get(&process).copied().unwrap_or(0);
        if counts.all >= STREAMS_MAX || of_process >= STREAMS_PER_PROCESS_MAX {
            return Err(AgentError::Busy);
        }
        counts.all += 1;
        *counts.by_process.entry(process).or_default() += 1;
        Ok(Place {
            streams: self.clone(),
            process,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.streams.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Entry::Occupied(mut of_process) = counts.by_process.entry(self.process) {
            *of_process.get_mut() -= 1;
            if *of_process.get() == 0 {
                of_process.remove();
            }
        }
    }
}

/// An open stream, counted.
struct Open {
    _place: Place,
    shared: Arc<Shared>,
    labels: StreamLabels,
}

impl Open {
    fn new(shared: &Arc<Shared>, kind: StreamKind, peer: &Peer) -> Result<Self, AgentError> {
        let place = shared.streams.take((peer.pid(), peer.start_time()))?;
        let labels = StreamLabels { kind };
        shared.series.streams.get_or_create(&labels).inc();
        Ok(Self {
            _place: place,
            shared: Arc::clone(shared),
            labels,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.series.streams.get_or_create(&self.labels).dec();
    }
}

/// About 25 KiB each where each has its own connection.
const STREAMS_MAX: usize = 65_536;
/// One process needs five. More than this is a leak, and must not take the others' places.
const STREAMS_PER_PROCESS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_11_one_process_cannot_take_the_streams_of_all() {
        let streams = Streams::default();
        let mut greedy: Vec<_> = (0..STREAMS_PER_PROCESS_MAX)
            .map(|_| streams.take((1, 1)).expect("place"))
            .collect();
        assert!(matches!(streams.take((1, 1)), Err(AgentError::Busy)));
        assert_eq!(
            judge(&AgentError::Busy).0,
            tonic::Code::Unavailable,
            "load is shed as the standard says"
        );
        // The same number, another process; and another number.
        let others = [
            streams.take((1, 2)).expect("place"),
            streams.take((2, 1)).expect("place"),
        ];
        greedy.pop();
        streams.take((1, 1)).expect("given back");
        drop((greedy, others));
        let counts = streams.lock();
        assert_eq!((counts.all, counts.by_process.len()), (0, 0));
    }

    #[test]
    fn all_streams_together_are_bounded() {
        let streams = Streams::default();
        let processes = u32::try_from(STREAMS_MAX / STREAMS_PER_PROCESS_MAX).expect("few");
        let taken: Vec<_> = (0..processes)
            .flat_map(|pid| core::iter::repeat_n(pid, STREAMS_PER_PROCESS_MAX))
            .map(|pid| streams.take((pid, 1)).expect("place"))
            .collect();
        assert!(matches!(streams.take((processes, 1)), Err(AgentError::Busy)));
        drop(taken);
    }
}
