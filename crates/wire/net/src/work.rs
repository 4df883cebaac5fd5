//! What goes on on one connection.

use core::time::Duration;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::Notify;

/// Bytes of the HTTP/2 preface (RFC 9113 §3.4). A peer that sent fewer has not begun.
const PREFACE_BYTES: u64 = 24;

/// How long a connection on which nothing is in flight, and nothing moves towards the peer, may take to end once it was
/// asked to. Its peer has been told by then; one that hangs cannot confirm, and is not waited for.
const LINGER: Duration = Duration::from_millis(500);

/// What was read and asked on a connection, and what is still being answered.
#[derive(Debug, Default)]
pub(crate) struct Work {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// Requests since the beginning.
    asked: AtomicU64,
    in_flight: AtomicUsize,
    ended: Notify,
}

/// A request that is being answered, until this goes.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Work>);

impl Work {
    pub(crate) fn read(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Whether the peer has begun to speak HTTP/2.
    pub(crate) fn has_begun(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0 || self.bytes_read.load(Ordering::Relaxed) >= PREFACE_BYTES
    }

    /// Resolves when something was asked. Only for the task that serves the connection, which asks while it is polled: so it
    /// is awake when there is something to see, and nobody need be woken.
    pub(crate) async fn asked(&self) {
        core::future::poll_fn(|_| match self.asked.load(Ordering::Relaxed) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// Resolves when nothing was asked for `limit`, and nothing is being answered. Bytes that ask nothing do not count.
    pub(crate) async fn unused(&self, limit: Duration) {
        loop {
            let ended = self.ended.notified();
            if self.in_flight.load(Ordering::Acquire) > 0 {
                ended.await;
                continue;
            }
            let asked = self.asked.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            let again = self.asked.load(Ordering::Relaxed) != asked;
            if self.in_flight.load(Ordering::Acquire) == 0 && !again {
                return;
            }
        }
    }

    /// Resolves when nothing has been in flight for [`LINGER`], and the peer has taken nothing of what was handed over
    /// before: one that reads slowly gets all of its answer, one that does not read is not waited for.
    pub(crate) async fn idle(&self) {
        loop {
            // Listening before looking: an end in between is not missed.
            let ended = self.ended.notified();
            if self.in_flight.load(Ordering::Acquire) > 0 {
                ended.await;
                continue;
            }
            let written = self.bytes_written.load(Ordering::Relaxed);
            tokio::time::sleep(LINGER).await;
            let moved = self.bytes_written.load(Ordering::Relaxed) != written;
            if self.in_flight.load(Ordering::Acquire) == 0 && !moved {
                return;
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

pin_project_lite::pin_project! {
    /// The body of an answer, which is in flight until the last of it is handed over.
    pub(crate) struct Answering<B> {
        #[pin]
        body: B,
        in_flight: Option<InFlight>,
    }
}

impl<B> Answering<B> {
    pub(crate) fn new(body: B, in_flight: InFlight) -> Self {
        Self {
            body,
            in_flight: Some(in_flight),
        }
    }
}

impl<B: Body> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if frame.is_none() {
            *this.in_flight = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_nothing_has_been_in_flight_for_a_while() {
        let work = Arc::new(Work::default());
        work.idle().await;
        let (first, second) = (work.begin(), work.begin());
        let waiting = {
            let work = Arc::clone(&work);
            tokio::spawn(async move { work.idle().await })
        };
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(first);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished(), "one is still being answered");
        drop(second);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_still_takes_its_answer_is_waited_for() {
        let work = Arc::new(Work::default());
        let waiting = {
            let work = Arc::clone(&work);
            tokio::spawn(async move { work.idle().await })
        };
        for _ in 0..10 {
            tokio::time::sleep(LINGER * 9 / 10).await;
            assert!(!waiting.is_finished());
            work.wrote(1);
        }
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_unused_from_its_last_answer_on_and_not_by_what_else_it_sends() {
        const LIMIT: Duration = Duration::from_secs(10);
        let work = Arc::new(Work::default());
        let waiting = {
            let work = Arc::clone(&work);
            tokio::spawn(async move { work.unused(LIMIT).await })
        };
        tokio::time::sleep(LIMIT / 2).await;
        let long = work.begin();
        tokio::time::sleep(LIMIT * 3).await;
        drop(long);
        tokio::time::sleep(LIMIT / 2).await;
        drop(work.begin());
        tokio::time::sleep(LIMIT * 3 / 4).await;
        assert!(!waiting.is_finished(), "it was used meanwhile");
        let begun = tokio::time::Instant::now();
        while !waiting.is_finished() {
            work.read(1);
            tokio::time::sleep(LIMIT / 20).await;
        }
        assert!(begun.elapsed() <= LIMIT * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_within_the_linger_is_waited_for() {
        let work = Arc::new(Work::default());
        let waiting = {
            let work = Arc::clone(&work);
            tokio::spawn(async move { work.idle().await })
        };
        tokio::time::sleep(LINGER / 2).await;
        let late = work.begin();
        tokio::time::sleep(LINGER * 10).await;
        assert!(!waiting.is_finished());
        drop(late);
        waiting.await.unwrap();
    }
}
