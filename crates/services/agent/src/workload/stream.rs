use super::Shared;
use super::body::Stepping;
use super::caller;
use super::limits::Place;
use super::status::{judge, status};
use crate::AgentError;
use crate::identity::{Message, One, Shown, Sight, Svid, SvidSight, View, X509Svid};
use crate::metrics::{Limit, Series, StreamKind, StreamLabels};
use bytes::Bytes;
use signet_id::SpiffeId;
use signet_sys::Peer;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;
use tracing::info;

/// One open stream: what it shows, and what ends it.
pub(super) struct Watcher {
    kind: StreamKind,
    /// The one identity that was asked for; none: all of them.
    id: Option<Box<SpiffeId>>,
    /// What was sent last: only what differs is sent.
    sent: Option<Message>,
    /// From where on it is still to be sent.
    rest: Option<usize>,
    watched: Watched,
}

/// A caller with a stream open: what it sees, and that it is still who opened it.
pub(crate) struct Watched {
    kind: StreamKind,
    sight: watch::Receiver<Arc<Sight>>,
    peer: Peer,
    shared: Arc<Shared>,
    view: Arc<View>,
    _open: Open,
}

/// What happens next on a stream.
pub(crate) enum Step {
    /// A message, or a part of one that is sent in several.
    Message(Bytes),
    End(Status),
}

impl Watcher {
    pub(super) fn new(
        kind: StreamKind,
        id: Option<SpiffeId>,
        peer: Peer,
        view: Arc<View>,
        shared: Arc<Shared>,
    ) -> Result<Self, AgentError> {
        Ok(Self {
            kind,
            id: id.map(Box::new),
            sent: None,
            rest: None,
            watched: Watched::new(kind, peer, view, shared)?,
        })
    }

    /// The next message or the end, once there is one. What is awaited stands in one piece of memory, since a node may have
    /// thousands of these.
    pub(super) fn stepping(self) -> Stepping {
        Stepping::new(self.step())
    }

    /// A block and no function: those keep room for their arguments twice.
    #[expect(
        clippy::manual_async_fn,
        reason = "an asynchronous function takes more memory for as long as a stream waits"
    )]
    fn step(mut self) -> impl Future<Output = (Option<Stepping>, Step)> + Send {
        async move {
            let from = match self.rest {
                Some(from) => from,
                None => match self.next().await {
                    Ok(message) => {
                        self.sent = Some(message);
                        0
                    }
                    Err(error) => return (None, self.watched.end(&error)),
                },
            };
            let part = self.sent.as_ref().map(|sent| sent.part(from));
            let (part, rest) = part.unwrap_or_default();
            self.rest = rest;
            (Some(self.stepping()), Step::Message(part))
        }
    }

    async fn next(&mut self) -> Result<Message, AgentError> {
        loop {
            let shown = show(&self.watched.look(), self.kind, self.id.as_deref())?;
            if let Some(message) = shown
                && self.sent.as_ref().is_none_or(|sent| !sent.is_same(&message))
            {
                match self.sent {
                    // A part of the call, in which the process was looked at; a push is not.
                    None => self.watched.answers_caller()?,
                    Some(_) => self.watched.still_same()?,
                }
                return Ok(message);
            }
            self.watched.stirred().await?;
        }
    }
}

impl Watched {
    pub(crate) fn new(
        kind: StreamKind,
        peer: Peer,
        view: Arc<View>,
        shared: Arc<Shared>,
    ) -> Result<Self, AgentError> {
        let open = Open::new(&shared, kind, &peer)?;
        Ok(Self {
            kind,
            sight: view.subscribe(),
            peer,
            shared,
            // Held so that the view lives, and is kept up to date, as long as this stream.
            view,
            _open: open,
        })
    }

    /// What is to be seen now.
    pub(crate) fn look(&mut self) -> Arc<Sight> {
        Arc::clone(&self.sight.borrow_and_update())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.peer.pid()
    }

    pub(crate) fn series(&self) -> &Series {
        &self.shared.series
    }

    /// Has X.509-SVIDs made for this caller from now on.
    pub(crate) fn want_x509(&self) {
        self.shared.identities.want::<X509Svid>(&self.view);
    }

    /// Before anything is sent: it goes to the process that connected and to no other.
    pub(crate) fn still_same(&self) -> Result<(), AgentError> {
        self.peer.still_same().map_err(changed)
    }

    /// The same before the answer to a call: what the process was a moment ago, when it called, is enough.
    fn answers_caller(&self) -> Result<(), AgentError> {
        caller::still_same(&self.shared, &self.peer)
    }

    /// Waits until there may be something else to see.
    ///
    /// # Errors
    /// The reason to end the stream.
    pub(crate) async fn stirred(&mut self) -> Result<(), AgentError> {
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Err(AgentError::Draining),
            ended = self.peer.exited() => {
                ended?;
                Err(changed(signet_sys::PeerChanged::Ended))
            }
            changed = self.sight.changed() => changed.map_err(|_| AgentError::Draining),
            () = tokio::time::sleep(self.shared.pace.recheck) => self.peer.still_same().map_err(changed),
        }
    }

    /// Ends the stream for a reason.
    pub(crate) fn end(&self, error: &AgentError) -> Step {
        self.shared.series.refused(self.kind.surface(), judge(error).1);
        info!(pid = self.peer.pid(), stream = self.kind.as_str(), %error, "stream ends");
        Step::End(status(error))
    }
}

/// The message that `sight` has for streams of `kind`; none yet, or the reason to end them.
pub(super) fn show(
    sight: &Sight,
    kind: StreamKind,
    id: Option<&SpiffeId>,
) -> Result<Option<Message>, AgentError> {
    let whole = |message: &Bytes| Ok(Some(Message::Whole(message.clone())));
    if sight.entries.is_empty() {
        return Err(AgentError::NoIdentity);
    }
    match kind {
        StreamKind::X509Bundles => whole(&sight.bundles.x509),
        StreamKind::JwtBundles => whole(&sight.bundles.jwt),
        StreamKind::WitBundles => whole(&sight.bundles.wit),
        StreamKind::X509Svid => svids(sight, &sight.x509, id),
        StreamKind::WitSvid => svids(sight, &sight.wit, id),
        // Those have requests of their own, and are not shown here.
        StreamKind::Secrets => Err(AgentError::Unimplemented),
    }
}

fn svids<S: Svid>(
    sight: &Sight,
    svids: &SvidSight<S>,
    id: Option<&SpiffeId>,
) -> Result<Option<Message>, AgentError> {
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

fn changed(changed: signet_sys::PeerChanged) -> AgentError {
    AgentError::Peer(changed.into())
}

/// An open stream, counted.
struct Open {
    _place: Place,
    shared: Arc<Shared>,
    labels: StreamLabels,
}

impl Open {
    fn new(shared: &Arc<Shared>, kind: StreamKind, peer: &Peer) -> Result<Self, AgentError> {
        let place = shared.place(peer, Limit::Streams)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// Each open stream holds one of these for as long as it is open.
    #[test]
    fn what_a_stream_waits_with_stays_small() {
        let (step, next, stirred) = (of(Watcher::step), of(Watcher::next), of(Watched::stirred));
        let state = size_of::<Watcher>();
        assert!(
            step <= 800,
            "{step} B, of them {state} B of state, {next} B of a loop, {stirred} B of waiting"
        );
    }
}
