use crate::error::bounded;
use crate::limits::{BUNDLES_MAX, ENTRIES_MAX, TEXT_BYTES_MAX};
use crate::{FeedCursor, FeedEntry, FeedError, PeerHello, bundle_from_proto};
use core::time::Duration;
use signet_id::TrustDomain;
use signet_proto::agent::v1::{self, sync_response::Message};
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::collections::HashSet;
use std::sync::Arc;

/// All that a node knows, checked.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// As of when.
    pub cursor: FeedCursor,
    /// The own domain's bundle, always, and those of foreign ones.
    pub trust: TrustView,
    /// What may be given here, oldest first.
    pub entries: Vec<Arc<FeedEntry>>,
    /// The issuer that JWT-SVIDs name.
    pub jwt_issuer: String,
}

/// What a message meant.
#[derive(Clone, Debug)]
pub enum Event {
    /// The server's first message.
    Hello(PeerHello),
    /// Replaces what was known before.
    State(Arc<NodeState>),
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
    reached: Option<FeedCursor>,
}

/// The longest pause that a server can ask for: a number of theirs must not silence a node.
const PAUSE_MAX: Duration = Duration::from_secs(300);

impl Replica {
    /// For a node of the trust domain `own`.
    #[must_use]
    pub fn new(own: TrustDomain) -> Self {
        Self {
            own,
            greeted: false,
            reached: None,
        }
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
        match message {
            Message::Hello(_) if self.greeted => Err(FeedError::Order {
                what: "a second hello",
            }),
            Message::Hello(hello) => {
                let peer = PeerHello::read(hello)?;
                self.greeted = true;
                Ok(Event::Hello(peer))
            }
            _ if !self.greeted => Err(FeedError::Order {
                what: "a message before the hello",
            }),
            Message::Snapshot(snapshot) => {
                let state = self.state(snapshot, now)?;
                self.reached = Some(state.cursor);
                Ok(Event::State(Arc::new(state)))
            }
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

    fn state(&self, snapshot: &v1::Snapshot, now: UnixTime) -> Result<NodeState, FeedError> {
        let cursor = snapshot.cursor.as_ref().and_then(FeedCursor::from_proto);
        let cursor = cursor.ok_or(FeedError::Malformed { what: "the cursor" })?;
        if self
            .reached
            .is_some_and(|old| old.epoch == cursor.epoch && old.seq > cursor.seq)
        {
            return Err(FeedError::Order {
                what: "a snapshot older than the last",
            });
        }
        bounded("bundles", snapshot.bundles.len(), BUNDLES_MAX)?;
        bounded("entries", snapshot.entries.len(), ENTRIES_MAX)?;
        bounded("bytes of the issuer", snapshot.jwt_issuer.len(), TEXT_BYTES_MAX)?;
        let trust = self.trust(&snapshot.bundles, now)?;
        let mut ids = HashSet::with_capacity(snapshot.entries.len());
        let mut entries = Vec::with_capacity(snapshot.entries.len());
        for entry in &snapshot.entries {
            let entry = FeedEntry::from_proto(entry, &self.own)?;
            if !ids.insert(entry.id) {
                return Err(FeedError::Twice { what: "an entry" });
            }
            entries.push(Arc::new(entry));
        }
        Ok(NodeState {
            cursor,
            trust,
            entries,
            jwt_issuer: snapshot.jwt_issuer.clone(),
        })
    }

    fn trust(&self, bundles: &[v1::Bundle], now: UnixTime) -> Result<TrustView, FeedError> {
        let mut view = TrustView::new(self.own.clone()).received(now);
        for bundle in bundles {
            let read = bundle_from_proto(bundle)?;
            // A foreign bundle that passed for ours would vouch for our own identities.
            if bundle.own != (read.trust_domain() == &self.own) {
                return Err(FeedError::OwnBundle {
                    own: self.own.clone(),
                });
            }
            if view.bundle(read.trust_domain()).is_some() {
                return Err(FeedError::Twice { what: "a bundle" });
            }
            view = view.with_bundle(read);
        }
        if view.own_bundle().is_none() {
            return Err(FeedError::OwnBundle {
                own: self.own.clone(),
            });
        }
        Ok(view)
    }
}
