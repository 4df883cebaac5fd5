//! The stream of what one node may know.

pub(crate) mod desk;
mod sight;

use crate::AgentsError;
use crate::agents::Agents;
use crate::metrics::MessageKind;
use crate::peer::NodePeer;
use core::time::Duration;
use desk::{NODE_STREAMS_MAX, Seat};
pub(crate) use sight::store_cursor;
use sight::{Entries, News, Sight, Telling, feed_cursor, feed_entry};
use signet_feed::{Capabilities, Capability, Changes, FeedCursor, FeedError, PeerHello};
use signet_net::Hangup;
use signet_proto::agent::v1::{self, sync_request::Message};
use signet_registry::{Entry, EntryId, RegistryState};
use signet_store::Cursor;
use signet_telemetry::RequestId;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

/// What `Sync` answers with.
pub(crate) type Messages = ReceiverStream<Result<v1::SyncResponse, Status>>;

/// Messages that wait for a slow reader. Changes coalesce before they are sent, so few are ever under way.
const WAITING_MAX: usize = 2;

/// From the begin of a stream to the agent's first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a stream ends whose node has opened others.
const REPLACED: AgentsError = AgentsError::StreamReplaced {
    max: NODE_STREAMS_MAX,
};

/// How long an agent is asked to stay away from a server that stops.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long the farewell may wait for a reader before the stream is cut.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves one stream in a task of its own, which ends when its reader is gone.
pub(crate) fn start(
    agents: Agents,
    node: NodePeer,
    incoming: Streaming<v1::SyncRequest>,
    hangup: Option<Hangup>,
    request_id: RequestId,
) -> Messages {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let streams = agents.streams.clone();
    // Before the first look: what changes after it wakes the stream.
    let (seat, first) = agents.desk.register(&node.id);
    if first {
        streams.spawn(desk::run(agents.clone()));
    }
    streams.spawn(async move {
        let _counted = agents.series.stream();
        let mut stream = Stream {
            agents,
            node,
            incoming: Some(incoming),
            sender,
            seat,
            theirs: Capabilities::default(),
            sent: None,
            digest_at: Instant::now(),
            resync_at: Instant::now(),
        };
        info!(%request_id, node = %stream.node.id, "agent connected");
        let ended = stream.run().await;
        info!(%request_id, node = %stream.node.id, "agent disconnected");
        if let Err(error) = ended {
            let stopping = matches!(error, AgentsError::Stopping);
            if stopping && stream.theirs.has(Capability::GoingAway) {
                let goodbye = stream.agents.producer.going_away("the server stops", RETRY_AFTER);
                stream.farewell(Ok(goodbye)).await;
            }
            stream
                .farewell(Err(error.status(&request_id, &stream.agents.series)))
                .await;
            if let (AgentsError::StreamReplaced { .. }, Some(hangup)) = (error, hangup) {
                // What was sent is kept until it is read; whoever does not read must not keep much so.
                let read = tokio::time::timeout(FAREWELL_TIMEOUT, stream.sender.closed()).await;
                if read.is_err() {
                    hangup.hang_up();
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

struct Stream {
    agents: Agents,
    node: NodePeer,
    /// Until the agent closes its side.
    incoming: Option<Streaming<v1::SyncRequest>>,
    sender: mpsc::Sender<Result<v1::SyncResponse, Status>>,
    seat: Seat,
    /// What the agent named.
    theirs: Capabilities,
    /// What the agent has; `None` if it has nothing to build on.
    sent: Option<Sent>,
    /// The next heartbeat from then on carries a digest.
    digest_at: Instant,
    /// The agent may ask for everything anew from then on.
    resync_at: Instant,
}

/// What an agent was sent.
struct Sent {
    cursor: FeedCursor,
    /// The sequence of the bundle; 0 where the bundle is to be sent again in any case.
    bundle: u64,
}

/// Why a stream looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It begins, and the agent is to hear something.
    First,
    /// It was woken.
    Woken,
    /// It is time for a heartbeat.
    Beat,
}

/// What to send.
enum Choice {
    Nothing,
    Snapshot(Vec<Arc<Entry>>),
    Delta(Box<v1::SyncResponse>),
    /// What changed is more than one message may hold.
    TooMuch,
}

/// The reader is gone; there is nobody to tell.
struct Gone;

impl Stream {
    /// Runs until the reader is gone (`Ok`) or must be told why not further.
    async fn run(&mut self) -> Result<(), AgentsError> {
        let peer = self.greet().await?;
        self.theirs = peer.capabilities;
        let now = self.agents.clock.now();
        self.agents.series.skewed(peer.now, now);
        if let Some(held) = &peer.holds {
            self.agents.check_place(&self.node.id, held).await;
        }
        if self
            .send(self.agents.producer.hello_to(&peer, now))
            .await
            .is_err()
        {
            return Ok(());
        }
        let deltas = self.theirs.has(Capability::Delta);
        self.sent = peer
            .holds
            .filter(|_| deltas)
            .map(|cursor| Sent { cursor, bundle: 0 });
        let mut look = Some(Look::First);
        // The first one comes at once: it says how often the others do.
        let mut beat_at = Instant::now();
        loop {
            self.node.check_sync(&self.agents)?;
            if let Some(look) = look
                && self.show(look).await?.is_err()
            {
                return Ok(());
            }
            if look == Some(Look::Beat) {
                beat_at = Instant::now() + self.agents.pace.heartbeat;
            }
            let ends = self.node.not_after.since(self.agents.clock.now());
            look = tokio::select! {
                biased;
                () = self.agents.shutdown.cancelled() => return Err(AgentsError::Stopping),
                () = self.sender.closed() => return Ok(()),
                () = self.seat.replaced() => return Err(REPLACED),
                () = self.seat.rung() => Some(Look::Woken),
                () = tokio::time::sleep_until(beat_at), if self.theirs.has(Capability::Heartbeat) => Some(Look::Beat),
                // The next round finds the SVID over.
                () = tokio::time::sleep(ends) => None,
                heard = heard(&mut self.incoming) => self.take(heard)?,
            };
        }
    }

    async fn greet(&mut self) -> Result<PeerHello, AgentsError> {
        let shutdown = self.agents.shutdown.clone();
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(AgentsError::Stopping),
            () = self.seat.replaced() => return Err(REPLACED),
            first = tokio::time::timeout(HELLO_TIMEOUT, heard(&mut self.incoming)) => {
                first.map_err(|_| AgentsError::NoHello)?
            }
        };
        match first {
            Heard::Message(Message::Hello(hello)) => Ok(PeerHello::read(&hello)?),
            _ => Err(AgentsError::NoHello),
        }
    }

    /// Takes in what the agent said after its first message.
    fn take(&mut self, heard: Heard) -> Result<Option<Look>, AgentsError> {
        match heard {
            Heard::Message(Message::Applied(applied)) => {
                debug!(node = %self.node.id, seq = applied.seq, "state serves workloads");
                Ok(None)
            }
            Heard::Message(Message::Resync(_)) => {
                let now = Instant::now();
                if now < self.resync_at {
                    return Err(AgentsError::ManyResyncs);
                }
                self.resync_at = now + self.agents.pace.heartbeat;
                let sent = self.sent.as_ref().map(|sent| sent.cursor.seq);
                warn!(node = %self.node.id, ?sent, "the agent holds something else than it was sent, sending all anew");
                self.agents.series.resynced();
                self.sent = None;
                Ok(Some(Look::First))
            }
            Heard::Message(Message::Hello(_)) => Err(AgentsError::Feed(FeedError::Order {
                what: "a second hello",
            })),
            Heard::Nothing => Err(AgentsError::Feed(FeedError::Malformed { what: "a message" })),
            // An agent that has nothing more to say may still listen.
            Heard::End => {
                self.incoming = None;
                Ok(None)
            }
        }
    }

    /// Sends what the agent does not know yet.
    async fn show(&mut self, look: Look) -> Result<Result<(), Gone>, AgentsError> {
        let mut since = self.since(look);
        let told = Entries::for_whom(self.theirs);
        let sight = loop {
            let sight = Sight::of(&self.agents, &self.node.id, since, self.telling(), told).await?;
            let sent = match self.choose(look, &sight) {
                Choice::Nothing => break sight,
                Choice::Snapshot(entries) => {
                    self.agents.series.sent(MessageKind::Snapshot);
                    self.snapshot(&sight, entries).await
                }
                Choice::Delta(delta) => {
                    self.agents.series.sent(MessageKind::Delta);
                    self.send(*delta).await
                }
                Choice::TooMuch => {
                    since = None;
                    continue;
                }
            };
            self.sent = Some(Sent {
                cursor: feed_cursor(sight.cursor),
                bundle: sight.bundle.sequence(),
            });
            if sent.is_err() {
                return Ok(sent);
            }
            break sight;
        };
        if look == Look::Beat {
            return Ok(self.beat(&sight).await);
        }
        Ok(Ok(()))
    }

    /// What to send, so that the agent knows what `sight` shows.
    fn choose(&self, look: Look, sight: &Sight) -> Choice {
        let (removed, entries) = match &sight.news {
            News::All(entries) => return Choice::Snapshot(entries.clone()),
            News::Changed { removed, entries } => (removed, entries),
        };
        let Some(sent) = self.sent.as_ref().filter(|_| self.telling() == Telling::Changes) else {
            return Choice::Nothing;
        };
        let other_bundle = sent.bundle != sight.bundle.sequence();
        if look != Look::First && !sight.news.is_any() && !other_bundle {
            return Choice::Nothing;
        }
        match self.delta(sent, sight, removed, entries) {
            Some(delta) => Choice::Delta(Box::new(delta)),
            None => Choice::TooMuch,
        }
    }

    /// What the agent can be told.
    fn telling(&self) -> Telling {
        if self.theirs.has(Capability::Delta) {
            Telling::Changes
        } else {
            let bundle = self.sent.as_ref().map_or(0, |sent| sent.bundle);
            Telling::Whole { bundle }
        }
    }

    /// The place from which on the agent is told; `None` if it is told everything.
    fn since(&self, look: Look) -> Option<Cursor> {
        let untouched = self.seat.take();
        let sent = store_cursor(self.sent.as_ref()?.cursor);
        match untouched {
            // Where the agent has been quiet for long, the desk knows that it has missed nothing.
            Some(place) if look != Look::First && self.is_later(&place, &sent) => Some(place),
            _ => Some(sent),
        }
    }

    fn is_later(&self, place: &Cursor, sent: &Cursor) -> bool {
        if place.epoch == sent.epoch {
            return place.seq > sent.seq;
        }
        // One of the two is of an epoch that is over.
        let recent = |state: &RegistryState| state.recent().touches_since(sent).is_none();
        self.agents.registry.read(recent)
    }

    fn delta(
        &self,
        sent: &Sent,
        sight: &Sight,
        removed: &[EntryId],
        entries: &[Arc<Entry>],
    ) -> Option<v1::SyncResponse> {
        let mut changes = Changes {
            removed: removed.iter().map(|id| *id.as_bytes()).collect(),
            entries: entries
                .iter()
                .map(|entry| feed_entry(entry, &self.node.id))
                .collect(),
            ..Changes::default()
        };
        if sent.bundle != sight.bundle.sequence() {
            changes.bundles.push(Arc::clone(&sight.bundle));
        }
        let to = feed_cursor(sight.cursor);
        self.agents.producer.delta(sent.cursor, to, &changes, self.theirs)
    }

    async fn snapshot(&self, sight: &Sight, entries: Vec<Arc<Entry>>) -> Result<(), Gone> {
        let (producer, cursor) = (&self.agents.producer, feed_cursor(sight.cursor));
        let bundles = [Arc::clone(&sight.bundle)];
        let entries = entries.into_iter().map(|entry| feed_entry(&entry, &self.node.id));
        if !self.theirs.has(Capability::Chunks) {
            let whole = producer.snapshot(cursor, &bundles, entries, self.theirs);
            return self.send(whole).await;
        }
        for chunk in producer.chunks(cursor, &bundles, entries, self.theirs) {
            self.send(chunk).await?;
            if self.agents.shutdown.is_cancelled() || self.seat.is_replaced() {
                break;
            }
        }
        Ok(())
    }

    /// Says that the server is there, and up to which place the agent knows everything.
    async fn beat(&mut self, sight: &Sight) -> Result<(), Gone> {
        let pace = self.agents.pace;
        let digest = (Instant::now() >= self.digest_at).then_some(&sight.digest);
        if digest.is_some() {
            self.digest_at = Instant::now() + pace.digest;
        }
        let cursor = feed_cursor(sight.cursor);
        if let Some(sent) = &mut self.sent {
            sent.cursor = cursor;
        }
        let now = self.agents.clock.now();
        let beat = self
            .agents
            .producer
            .heartbeat(cursor, digest, pace.heartbeat, now);
        self.agents.series.sent(MessageKind::Heartbeat);
        self.send(beat).await
    }

    /// Waits for the reader to take it. What changes meanwhile is looked at once afterwards.
    async fn send(&self, response: v1::SyncResponse) -> Result<(), Gone> {
        tokio::select! {
            biased;
            sent = self.sender.send(Ok(response)) => sent.map_err(|_| Gone),
            // The loop finds out why, and says so if the reader still reads.
            () = self.agents.shutdown.cancelled() => Ok(()),
            () = self.seat.replaced() => Ok(()),
        }
    }

    async fn farewell(&self, last: Result<v1::SyncResponse, Status>) {
        // A reader that does not take even this is cut by the listener's drain.
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, self.sender.send(last)).await;
    }
}

/// What came from the agent.
enum Heard {
    Message(Message),
    /// A message with nothing in it.
    Nothing,
    End,
}

async fn heard(incoming: &mut Option<Streaming<v1::SyncRequest>>) -> Heard {
    let Some(stream) = incoming else {
        return core::future::pending().await;
    };
    match stream.message().await {
        Ok(Some(request)) => request.message.map_or(Heard::Nothing, Heard::Message),
        // A broken stream is noticed by its other half, too.
        Ok(None) | Err(_) => Heard::End,
    }
}
