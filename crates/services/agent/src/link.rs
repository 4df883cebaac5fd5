use signet_feed::FeedCursor;
use signet_time::UnixTime;
use std::sync::Arc;
use tokio::sync::watch;

/// How the agent stands with its server, for people who ask. Clones share it.
#[derive(Clone, Default)]
pub struct Link(Arc<watch::Sender<LinkState>>);

/// What is known of the connection to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Whether the server's stream is open and has brought a state.
    pub connected: bool,
    /// Since when it is so; none before the first attempt.
    pub since: Option<UnixTime>,
    /// The server that was spoken to last; empty before the first.
    pub server: String,
    /// Why there is no connection; empty if there is one.
    pub reason: String,
    /// This node; empty before it was connected once.
    pub node: String,
    /// The place in the change log up to which this node was told everything; it may be ahead of what serves workloads
    /// for a moment. `None` before the first state.
    pub heard: Option<FeedCursor>,
    /// When that was said.
    pub heard_at: Option<UnixTime>,
}

impl Link {
    /// The stream of `server` has brought a state to `node`.
    pub fn up(&self, server: &str, node: &str, now: UnixTime) {
        self.0.send_if_modified(|state| {
            if state.connected && state.server == server && state.node == node {
                return false;
            }
            state.connected = true;
            state.since = Some(now);
            server.clone_into(&mut state.server);
            state.reason.clear();
            node.clone_into(&mut state.node);
            true
        });
    }

    /// The server said that this is all there is up to `cursor`.
    pub fn heard(&self, cursor: FeedCursor, now: UnixTime) {
        self.0.send_modify(|state| {
            state.heard = Some(cursor);
            state.heard_at = Some(now);
        });
    }

    /// There is no stream, because of `reason`.
    pub fn down(&self, reason: String, now: UnixTime) {
        self.0.send_modify(|state| {
            if state.connected || state.since.is_none() {
                state.since = Some(now);
            }
            state.connected = false;
            state.reason = reason;
        });
    }

    /// As it is now.
    #[must_use]
    pub fn now(&self) -> LinkState {
        self.0.borrow().clone()
    }

    /// Follows it.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<LinkState> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_since_when_and_why_last() {
        let link = Link::default();
        let at = UnixTime::from_secs;
        assert_eq!(link.now(), LinkState::default());
        link.down("refused".to_owned(), at(1));
        link.down("no answer".to_owned(), at(2));
        let state = link.now();
        assert_eq!((state.connected, state.since), (false, Some(at(1))));
        assert_eq!(state.reason, "no answer", "the newest reason");
        link.up("s:1", "node", at(3));
        link.up("s:1", "node", at(4));
        let state = link.now();
        assert_eq!((state.connected, state.since), (true, Some(at(3))));
        assert_eq!((state.server.as_str(), state.reason.as_str()), ("s:1", ""));
        link.up("s:2", "node", at(5));
        assert_eq!(
            link.now().since,
            Some(at(5)),
            "another server is another connection"
        );
        link.down("ended".to_owned(), at(6));
        let state = link.now();
        assert_eq!((state.since, state.server.as_str()), (Some(at(6)), "s:2"));
    }
}
