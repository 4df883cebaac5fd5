use crate::cursor::digest_from_proto;
use crate::error::bounded;
use crate::limits::{ENTRIES_MAX, TEXT_BYTES_MAX};
use crate::staging::{Bundles, Staging};
use crate::{EntrySet, FeedCursor, FeedEntry, FeedError, PeerHello};
use core::time::Duration;
use signet_id::TrustDomain;
use signet_proto::agent::v1::{self, sync_response::Message};
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::collections::HashSet;
use std::sync::Arc;

/// All that a node knows, checked. Clones share what they have in common.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// As of when.
    pub cursor: FeedCursor,
    /// The own domain's bundle, always, and those of foreign ones.
    pub trust: TrustView,
    /// What may be given here.
    pub entries: EntrySet,
    /// The issuer that JWT-SVIDs name.
    pub jwt_issuer: String,
}

/// What a message meant.
#[derive(Clone, Debug)]
pub enum Event {
    /// The server's first message.
    Hello(PeerHello),
    /// A piece of a snapshot. What was known before goes on until the last one.
    Piece,
    /// Replaces what was known before.
    State(Arc<NodeState>),
    /// The server is there, and nothing changed for this node up to the cursor of [`Replica::state`].
    Alive {
        /// The server's clock as it spoke.
        now: UnixTime,
        /// The next such message comes within this time.
        interval: Duration,
    },
    /// What is known is not what the server says that it sent: ask for a snapshot with [`crate::resync`].
    Drift {
        /// How many entries are known.
        held: u64,
        /// How many there should be.
        told: u64,
    },
    /// The stream ends for a planned reason.
    GoingAway {
        /// Why, for people.
        reason: String,
        /// How long to stay away, at most five minutes.
        retry_after: Duration,
    },
}

/// Reads the server's side of one stream. Make a new one for each stream.
#[derive(Debug)]
pub struct Replica {
    own: TrustDomain,
    greeted: bool,
    /// What is known, from this stream or one before it.
    state: Option<Arc<NodeState>>,
    /// How far this stream has come.
    reached: Option<FeedCursor>,
    /// A snapshot of which pieces are missing.
    staging: Option<Staging>,
}

/// The longest pause that a server can ask for: a number of theirs must not silence a node.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The longest time between two heartbeats.
const INTERVAL_MAX: Duration = Duration::from_secs(300);

impl Replica {
    /// For a node of the trust domain `own` that knows nothing yet.
    #[must_use]
    pub fn new(own: TrustDomain) -> Self {
        Self {
            own,
            greeted: false,
            state: None,
            reached: None,
            staging: None,
        }
    }

    /// The same for a node that knows `state` from a stream before this one, and named its cursor in the hello.
    #[must_use]
    pub fn resuming(own: TrustDomain, state: Arc<NodeState>) -> Self {
        Self {
            state: Some(state),
            ..Self::new(own)
        }
    }

    /// What is known. After an error it is what was known before.
    #[must_use]
    pub fn state(&self) -> Option<&Arc<NodeState>> {
        self.state.as_ref()
    }

    /// Reads the next message, which came at `now`. After an error the stream is of no more use; what was known
    /// before stays as it was.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn read(&mut self, response: &v1::SyncResponse, now: UnixTime) -> Result<Event, FeedError> {
        let message = response
            .message
            .as_ref()
            .ok_or(FeedError::Malformed { what: "a message" })?;
        if !self.greeted && !matches!(message, Message::Hello(_)) {
            return Err(FeedError::Order {
                what: "a message before the hello",
            });
        }
        if self.staging.is_some() && !matches!(message, Message::Chunk(_) | Message::GoingAway(_)) {
            return Err(FeedError::Order {
                what: "a message between the pieces of a snapshot",
            });
        }
        match message {
            Message::Hello(_) if self.greeted => Err(FeedError::Order {
                what: "a second hello",
            }),
            Message::Hello(hello) => {
                let peer = PeerHello::read(hello)?;
                self.greeted = true;
                Ok(Event::Hello(peer))
            }
            Message::Snapshot(snapshot) => {
                let mut staging = self.stage(now);
                staging.take(&snapshot.bundles, &snapshot.entries)?;
                let cursor = snapshot.cursor.as_ref();
                let state = staging.end(cursor, &snapshot.jwt_issuer, None)?;
                self.replace(state)
            }
            Message::Chunk(chunk) => self.piece(chunk, now),
            Message::Delta(delta) => {
                let state = self.apply(delta, now)?;
                self.replace(state)
            }
            Message::Heartbeat(heartbeat) => self.heartbeat(heartbeat, now),
            Message::GoingAway(away) => Ok(Event::GoingAway {
                reason: away
                    .reason
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(256)
                    .collect(),
                retry_after: Duration::from_millis(away.retry_after_ms).min(PAUSE_MAX),
            }),
        }
    }

    fn stage(&self, now: UnixTime) -> Staging {
        let known = self.state.as_ref().map(|state| state.entries.clone());
        Staging::new(&self.own, known.unwrap_or_default(), now)
    }

    fn replace(&mut self, state: NodeState) -> Result<Event, FeedError> {
        let cursor = state.cursor;
        if self
            .reached
            .is_some_and(|old| old.epoch == cursor.epoch && old.seq > cursor.seq)
        {
            return Err(FeedError::Order {
                what: "a state older than the last",
            });
        }
        self.reached = Some(cursor);
        let state = Arc::new(state);
        self.state = Some(Arc::clone(&state));
        Ok(Event::State(state))
    }

    fn piece(&mut self, chunk: &v1::SnapshotChunk, now: UnixTime) -> Result<Event, FeedError> {
        let mut staging = match self.staging.take() {
            Some(staging) => staging,
            None => self.stage(now),
        };
        staging.piece(chunk)?;
        let Some(end) = &chunk.end else {
            self.staging = Some(staging);
            return Ok(Event::Piece);
        };
        let digest = end.digest.as_ref();
        let digest = digest.ok_or(FeedError::Malformed { what: "the digest" })?;
        let digest = digest_from_proto(digest)?;
        let state = staging.end(end.cursor.as_ref(), &end.jwt_issuer, Some(digest))?;
        self.replace(state)
    }

    /// The state that `delta` makes of the one that is known, which stays as it is.
    fn apply(&self, delta: &v1::Delta, now: UnixTime) -> Result<NodeState, FeedError> {
        let from = FeedCursor::demanded(delta.from.as_ref())?;
        let to = FeedCursor::demanded(delta.to.as_ref())?;
        let held = self.state.as_ref().filter(|state| state.cursor == from);
        let held = held.ok_or(FeedError::Place {
            from: from.seq,
            held: self.state.as_ref().map(|state| state.cursor.seq),
        })?;
        if to.epoch != from.epoch || to.seq < from.seq || (to.seq == from.seq && to != from) {
            return Err(FeedError::Order {
                what: "a delta that does not lead on",
            });
        }
        let mut state = NodeState::clone(held);
        state.cursor = to;
        state.trust = self.trust(delta, held, now)?;
        entries(delta, &from, &to, &self.own, &mut state.entries)?;
        if !delta.jwt_issuer.is_empty() {
            bounded("bytes of the issuer", delta.jwt_issuer.len(), TEXT_BYTES_MAX)?;
            state.jwt_issuer.clone_from(&delta.jwt_issuer);
        }
        Ok(state)
    }

    fn trust(&self, delta: &v1::Delta, held: &NodeState, now: UnixTime) -> Result<TrustView, FeedError> {
        let mut bundles = Bundles::new(&self.own, now);
        bundles.take(&delta.bundles)?;
        let changed = bundles.into_view();
        let mut view = held.trust.clone().received(now);
        for name in &delta.bundles_removed {
            let domain = TrustDomain::parse(name).map_err(|source| FeedError::Id {
                what: "the domain of a bundle that is gone",
                source,
            })?;
            if domain == self.own {
                return Err(FeedError::OwnBundle { own: domain });
            }
            if changed.bundle(&domain).is_some() {
                return Err(FeedError::Twice { what: "a bundle" });
            }
            if view.bundle(&domain).is_none() {
                return Err(FeedError::Unknown { what: "a bundle" });
            }
            view = view.without(&domain);
        }
        for bundle in changed.bundles() {
            let known = view.bundle(bundle.trust_domain());
            if known.is_some_and(|known| known.sequence() > bundle.sequence()) {
                return Err(FeedError::Order {
                    what: "a bundle older than the one that is known",
                });
            }
            view = view.with_bundle(Arc::clone(bundle));
        }
        bounded("bundles", view.bundles().len(), crate::BUNDLES_MAX)?;
        Ok(view)
    }

    fn heartbeat(&mut self, heartbeat: &v1::Heartbeat, now: UnixTime) -> Result<Event, FeedError> {
        let cursor = FeedCursor::demanded(heartbeat.cursor.as_ref())?;
        let interval = Duration::from_millis(heartbeat.interval_ms).min(INTERVAL_MAX);
        if interval.is_zero() {
            return Err(FeedError::Malformed {
                what: "the time to the next heartbeat",
            });
        }
        let digest = heartbeat.digest.as_ref().map(digest_from_proto).transpose()?;
        // The stream begins with a state, or with what changed since the one that was named.
        let held = self.state.as_ref().filter(|_| self.reached.is_some());
        let held = held.ok_or(FeedError::Order {
            what: "a heartbeat before a state",
        })?;
        let before = held.cursor;
        let leads_on = cursor.epoch == before.epoch && cursor.seq > before.seq;
        if !leads_on && cursor != before {
            return Err(FeedError::Place {
                from: cursor.seq,
                held: Some(before.seq),
            });
        }
        if let Some(told) = digest {
            let ours = held.entries.digest();
            if ours != told {
                return Ok(Event::Drift {
                    held: ours.count(),
                    told: told.count(),
                });
            }
        }
        let mut state = NodeState::clone(held);
        state.cursor = cursor;
        state.trust = state.trust.received(now);
        self.reached = Some(cursor);
        self.state = Some(Arc::new(state));
        Ok(Event::Alive {
            now: UnixTime::from_millis(heartbeat.now_ms),
            interval,
        })
    }
}

/// Takes the entries of `delta` into `known`.
fn entries(
    delta: &v1::Delta,
    from: &FeedCursor,
    to: &FeedCursor,
    own: &TrustDomain,
    known: &mut EntrySet,
) -> Result<(), FeedError> {
    bounded("entries", delta.entries.len(), ENTRIES_MAX)?;
    bounded("entries that are gone", delta.removed.len(), ENTRIES_MAX)?;
    let mut ids = HashSet::with_capacity(delta.entries.len() + delta.removed.len());
    for id in &delta.removed {
        let id = id.as_ref().try_into();
        let id: [u8; 16] = id.map_err(|_| FeedError::Malformed {
            what: "an entry's id",
        })?;
        if !ids.insert(id) {
            return Err(FeedError::Twice { what: "an entry" });
        }
        if known.remove(&id).is_none() {
            return Err(FeedError::Unknown { what: "an entry" });
        }
    }
    for entry in &delta.entries {
        let entry = FeedEntry::from_proto(entry, own)?;
        if !ids.insert(entry.id) {
            return Err(FeedError::Twice { what: "an entry" });
        }
        if entry.seq <= from.seq || entry.seq > to.seq {
            return Err(FeedError::Malformed {
                what: "the place of an entry's change",
            });
        }
        known.put(Arc::new(entry));
    }
    bounded("entries", known.len(), ENTRIES_MAX)
}
