//! How much one node may ask at once: whoever took one over must not keep the server from all the others.

use crate::AgentsError;
use bytes::Bytes;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use http_body::{Body, Frame, SizeHint};
use signet_id::SpiffeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What each node has under way. Only nodes that were let in are counted.
#[derive(Default)]
pub(crate) struct Shares(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    nodes: HashMap<SpiffeId, Share>,
    /// With so many nodes, those are forgotten of which nothing is left to remember.
    look_at: usize,
}

/// One node's.
#[derive(Default)]
struct Share {
    calls: usize,
    /// When all streams that it opened are forgotten; each adds [`STREAM_INTERVAL`].
    drained_at: Option<Instant>,
}

/// One call of a node, until its answer is taken.
pub(crate) struct Call {
    shares: Arc<Shares>,
    node: SpiffeId,
}

impl Shares {
    /// A place for one more call of `node`.
    ///
    /// # Errors
    /// [`AgentsError::ManyCalls`].
    pub(crate) fn call(self: &Arc<Self>, node: &SpiffeId) -> Result<Call, AgentsError> {
        let mut inner = self.lock();
        let share = inner.of(node);
        if share.calls >= CALLS_MAX {
            return Err(AgentsError::ManyCalls { max: CALLS_MAX });
        }
        share.calls += 1;
        Ok(Call {
            shares: Arc::clone(self),
            node: node.clone(),
        })
    }

    /// Counts a stream that `node` opens: it may begin with all that the node may know.
    ///
    /// # Errors
    /// [`AgentsError::ManyStreams`].
    pub(crate) fn stream(&self, node: &SpiffeId) -> Result<(), AgentsError> {
        let now = Instant::now();
        let mut inner = self.lock();
        let share = inner.of(node);
        let drained_at = share.drained_at.map_or(now, |at| at.max(now)) + STREAM_INTERVAL;
        let over = drained_at.saturating_duration_since(now + STREAM_INTERVAL * STREAMS_BURST);
        if !over.is_zero() {
            return Err(AgentsError::ManyStreams {
                retry_s: over.as_secs() + 1,
            });
        }
        share.drained_at = Some(drained_at);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // INVARIANT: nothing under this lock panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn of(&mut self, node: &SpiffeId) -> &mut Share {
        if self.nodes.len() >= self.look_at {
            let now = Instant::now();
            self.nodes
                .retain(|_, share| share.calls > 0 || share.drained_at.is_some_and(|at| at > now));
            self.look_at = (self.nodes.len() * 2).max(LOOK_MIN);
        }
        self.nodes.entry(node.clone()).or_default()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(share) = self.shares.lock().nodes.get_mut(&self.node) {
            share.calls -= 1;
        }
    }
}

/// The answer to a call, which counts as under way until the last of it is taken. It is handed over in pieces: what is
/// handed over at once is kept for a peer that does not read, however much it is.
pub(crate) struct Answer {
    body: tonic::body::Body,
    rest: Bytes,
    _call: Call,
}

impl Answer {
    pub(crate) fn new(body: tonic::body::Body, call: Call) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            _call: call,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// An agent has one call for signatures under way and at times one for its own; twice that while another takes over.
pub(crate) const CALLS_MAX: usize = 16;
/// An agent opens a stream when it starts, when the one before broke, and with each new SVID.
const STREAMS_BURST: u32 = 16;
const STREAM_INTERVAL: Duration = Duration::from_secs(1);
/// As much as one frame of HTTP/2 carries.
const PIECE_BYTES: usize = 16 << 10;
/// Fewer nodes are not worth a look.
const LOOK_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Full};

    fn node(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://a.test/{name}")).unwrap()
    }

    #[test]
    fn a_node_has_its_calls_and_another_its_own() {
        let shares = Arc::new(Shares::default());
        let mut calls: Vec<_> = (0..CALLS_MAX).map(|_| shares.call(&node("a")).unwrap()).collect();
        assert!(matches!(
            shares.call(&node("a")),
            Err(AgentsError::ManyCalls { .. })
        ));
        let other = shares.call(&node("b"));
        assert!(other.is_ok());
        calls.pop();
        calls.push(shares.call(&node("a")).unwrap());
        assert!(shares.call(&node("a")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn streams_come_back_one_by_one() {
        let shares = Shares::default();
        let opened = |name: &str| {
            (0..1_000)
                .take_while(|_| shares.stream(&node(name)).is_ok())
                .count()
        };
        assert_eq!(opened("a"), 16);
        assert_eq!(opened("b"), 16);
        assert!(matches!(
            shares.stream(&node("a")),
            Err(AgentsError::ManyStreams { retry_s: 2 })
        ));
        tokio::time::advance(STREAM_INTERVAL * 3).await;
        assert_eq!(opened("a"), 3);
        tokio::time::advance(STREAM_INTERVAL * 1_000).await;
        assert_eq!(opened("a"), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_of_which_nothing_is_left_is_forgotten() {
        let shares = Arc::new(Shares::default());
        let held = shares.call(&node("held")).unwrap();
        for n in 0..10_000 {
            shares.stream(&node(&n.to_string())).unwrap();
            tokio::time::advance(STREAM_INTERVAL * 2).await;
        }
        let inner = shares.lock();
        assert!(inner.nodes.len() <= LOOK_MIN, "{}", inner.nodes.len());
        assert_eq!(inner.nodes[&node("held")].calls, 1);
        drop(inner);
        drop(held);
    }

    #[tokio::test]
    async fn an_answer_goes_out_whole_in_pieces_and_counts_until_it_is_taken() {
        let shares = Arc::new(Shares::default());
        let sent: Bytes = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let body = tonic::body::Body::new(Full::new(sent.clone()));
        let mut answer = Answer::new(body, shares.call(&node("a")).unwrap());
        assert_eq!(answer.size_hint().exact(), Some(400_000));
        let mut taken = Vec::new();
        while let Some(frame) = answer.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE_BYTES);
            taken.extend_from_slice(&data);
            assert_eq!(answer.size_hint().exact(), Some(400_000 - taken.len() as u64));
        }
        assert!(taken == sent);
        assert_eq!(shares.lock().nodes[&node("a")].calls, 1);
        drop(answer);
        assert_eq!(shares.lock().nodes[&node("a")].calls, 0);
    }
}
