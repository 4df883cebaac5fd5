//! The stream of what one node may know.

use crate::AgentsError;
use crate::agents::Agents;
use crate::peer::NodePeer;
use core::time::Duration;
use signet_feed::{Capabilities, Capability, FeedCursor, FeedEntry, FeedError, PeerHello};
use signet_keys::KeyRing;
use signet_proto::agent::v1::{self, sync_request::Message};
use signet_registry::{Entry, RegistryState};
use signet_store::Cursor;
use signet_telemetry::RequestId;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, info};

/// What `Sync` answers with.
pub(crate) type Snapshots = ReceiverStream<Result<v1::SyncResponse, Status>>;

/// Messages that wait for a slow reader. Snapshots coalesce before they are made, so few are ever under way.
const WAITING_MAX: usize = 2;

/// From the begin of a stream to the agent's first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an agent is asked to stay away from a server that stops.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long the farewell may wait for a reader before the stream is cut.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves one stream in a task of its own, which ends when its reader is gone.
pub(crate) fn start(
    agents: Agents,
    node: NodePeer,
    incoming: Streaming<v1::SyncRequest>,
    request_id: RequestId,
) -> Snapshots {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let streams = agents.streams.clone();
    streams.spawn(async move {
        let _counted = agents.series.stream();
        let mut stream = Stream {
            agents,
            node,
            incoming: Some(incoming),
            sender,
            shown: None,
            theirs: Capabilities::default(),
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
    /// What the agent was sent last.
    shown: Option<Shown>,
    /// What the agent named.
    theirs: Capabilities,
}

/// What makes one snapshot differ from another, beside its place in the log.
#[derive(PartialEq, Eq)]
struct Shown {
    bundle: u64,
    entries: Vec<([u8; 16], u64)>,
}

/// The reader is gone; there is nobody to tell.
struct Gone;

impl Stream {
    /// Runs until the reader is gone (`Ok`) or must be told why not further.
    async fn run(&mut self) -> Result<(), AgentsError> {
        let theirs = self.greet().await?;
        self.theirs = theirs.capabilities;
        let now = self.agents.clock.now();
        self.agents.series.skewed(theirs.now, now);
        if self.send(self.agents.producer.hello(now)).await.is_err() {
            return Ok(());
        }
        // Both before the first look: what changes after it wakes us.
        let mut registry = self.agents.registry.followed().applied();
        let mut keys = self.agents.keys.followed().applied();
        loop {
            registry.mark_unchanged();
            keys.mark_unchanged();
            self.node.check_sync(&self.agents)?;
            if self.show().await?.is_err() {
                return Ok(());
            }
            let ends = self.node.not_after.since(self.agents.clock.now());
            tokio::select! {
                biased;
                () = self.agents.shutdown.cancelled() => return Err(AgentsError::Stopping),
                () = self.sender.closed() => return Ok(()),
                changed = registry.changed() => changed.map_err(|_| AgentsError::Stopping)?,
                changed = keys.changed() => changed.map_err(|_| AgentsError::Stopping)?,
                // The next round finds the SVID over.
                () = tokio::time::sleep(ends) => {}
                heard = heard(&mut self.incoming) => self.take(heard)?,
            }
        }
    }

    async fn greet(&mut self) -> Result<PeerHello, AgentsError> {
        let shutdown = self.agents.shutdown.clone();
        let first = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(AgentsError::Stopping),
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
    fn take(&mut self, heard: Heard) -> Result<(), AgentsError> {
        match heard {
            Heard::Message(Message::Applied(applied)) => {
                debug!(node = %self.node.id, seq = applied.seq, "snapshot serves workloads");
                Ok(())
            }
            Heard::Message(Message::Hello(_)) => Err(AgentsError::Feed(FeedError::Order {
                what: "a second hello",
            })),
            Heard::Nothing => Err(AgentsError::Feed(FeedError::Malformed { what: "a message" })),
            // An agent that has nothing more to say may still listen.
            Heard::End => {
                self.incoming = None;
                Ok(())
            }
        }
    }

    /// Sends what the node may know now, unless that is what it was sent last.
    ///
    /// The same cursor always comes with the same content. So both folds are read at one place in the log, and the
    /// clock has no say in it: agents know for themselves when an entry ends.
    async fn show(&mut self) -> Result<Result<(), Gone>, AgentsError> {
        let agents = &self.agents;
        let (registry, keys) = (agents.registry.followed(), agents.keys.followed());
        let (keys_at, bundle) = keys.read_at(KeyRing::bundle).await?;
        let assigned = |state: &RegistryState| state.assigned(&self.node.id).cloned().collect();
        let (cursor, entries): (_, Vec<Arc<Entry>>) = registry.read_at(assigned).await?;
        if cursor.seq != keys_at.seq {
            // One is behind. That it moves is news, so the next round looks again.
            registry.wait_applied(keys_at.seq).await?;
            keys.wait_applied(cursor.seq).await?;
            return Ok(Ok(()));
        }
        let bundle = Arc::new(bundle?);
        let shown = Shown {
            bundle: bundle.sequence(),
            entries: entries
                .iter()
                .map(|entry| (*entry.id.as_bytes(), entry.seq.0))
                .collect(),
        };
        if self.shown.as_ref() == Some(&shown) {
            return Ok(Ok(()));
        }
        self.shown = Some(shown);
        let entries = entries.iter().map(|entry| feed_entry(entry));
        let cursor = feed_cursor(cursor);
        let snapshot = agents.producer.snapshot(cursor, &[bundle], entries, self.theirs);
        Ok(self.send(snapshot).await)
    }

    /// Waits for the reader to take it. What changes meanwhile is looked at once afterwards.
    async fn send(&self, response: v1::SyncResponse) -> Result<(), Gone> {
        tokio::select! {
            biased;
            sent = self.sender.send(Ok(response)) => sent.map_err(|_| Gone),
            // The loop finds out why, and says so if the reader still reads.
            () = self.agents.shutdown.cancelled() => Ok(()),
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

fn feed_cursor(cursor: Cursor) -> FeedCursor {
    FeedCursor {
        epoch: cursor.epoch,
        seq: cursor.seq.0,
        chain: cursor.chain,
    }
}

fn feed_entry(entry: &Entry) -> FeedEntry {
    FeedEntry {
        id: *entry.id.as_bytes(),
        spiffe_id: entry.spiffe_id.clone(),
        selectors: entry.selectors.clone(),
        x509_ttl: entry.x509_ttl,
        jwt_ttl: entry.jwt_ttl,
        dns_names: entry.dns_names.clone(),
        hint: entry.hint.clone(),
        federates_with: entry.federates_with.clone(),
        jwt_audiences: entry.jwt_audiences.clone(),
        expires_at: entry.expires_at,
        created_at: entry.created_at,
        seq: entry.seq.0,
    }
}
