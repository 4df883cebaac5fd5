//! Who signs next: the nodes one after another, however much each of them asks for.
//!
//! What is wished for costs the processor and nothing else until it is recorded, so that a call which came first would
//! keep all others waiting to its last wish, and a node with many calls would get many times what one with a single
//! call gets. Therefore a few wishes are a turn, and no more turns are taken at once than there are processors. Where
//! several nodes wait, each of them has one turn in a round; where one node asks alone, it has all of them.

use crate::shares::CALLS_MAX;
use signet_id::SpiffeId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Hands out turns.
pub(crate) struct Turns(Mutex<Inner>);

struct Inner {
    /// How many turns may be taken besides those that are.
    free: usize,
    /// The nodes that wait, in the order in which they are next. Each stands here once, and has somebody in `waiting`.
    round: VecDeque<SpiffeId>,
    waiting: HashMap<SpiffeId, VecDeque<oneshot::Sender<Turn>>>,
}

/// A turn, until it is dropped. Empty where it was passed on already.
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// `places` turns at once.
    pub(crate) fn new(places: usize) -> Self {
        Self(Mutex::new(Inner {
            free: places,
            round: VecDeque::new(),
            waiting: HashMap::new(),
        }))
    }

    /// As many turns at once as there are processors.
    pub(crate) fn by_processors() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// A turn for `node`, once it is its turn. Whoever stops waiting is passed over.
    pub(crate) async fn take(self: &Arc<Self>, node: &SpiffeId) -> Turn {
        let waiting = {
            let mut inner = self.lock();
            // Nobody waits while a place is free.
            if let Some(left) = inner.free.checked_sub(1) {
                inner.free = left;
                return Turn(Some(Arc::clone(self)));
            }
            inner.enqueue(node)
        };
        // Nobody drops a sender that is waited for; at the worst this turn counts for nothing.
        waiting.await.unwrap_or(Turn(None))
    }

    /// Gives a turn that is over to whoever is next.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let Some(next) = self.lock().next() else { return };
            match next.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // It stopped waiting this very moment.
                Err(mut turn) => turn.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // INVARIANT: nothing under this lock panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enqueue(&mut self, node: &SpiffeId) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        if let Some(waiting) = self.waiting.get_mut(node) {
            // Calls that were called off must not pile up here: those that are under way have a bound.
            if waiting.len() >= CALLS_MAX {
                waiting.retain(|waiting| !waiting.is_closed());
            }
            waiting.push_back(sender);
        } else {
            self.waiting.insert(node.clone(), VecDeque::from([sender]));
            self.round.push_back(node.clone());
        }
        receiver
    }

    /// Who is next; with nobody there, the place is free.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(node) = self.round.pop_front() {
            let Some(waiting) = self.waiting.get_mut(&node) else {
                continue;
            };
            let next = core::iter::from_fn(|| waiting.pop_front()).find(|waiting| !waiting.is_closed());
            if waiting.is_empty() {
                self.waiting.remove(&node);
            } else {
                self.round.push_back(node);
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

impl Turn {
    /// Ends this turn of `node` and waits for its next. The thread is given up meanwhile: what brings the wishes of
    /// other nodes here needs it as well.
    pub(crate) async fn again(self, node: &SpiffeId) -> Self {
        tokio::task::yield_now().await;
        self.handed_on(node).await
    }

    async fn handed_on(self, node: &SpiffeId) -> Self {
        let Some(turns) = self.0.clone() else {
            return self;
        };
        let waiting = {
            let mut inner = turns.lock();
            if inner.round.is_empty() {
                return self;
            }
            // Before the place is given up, or whoever gets it would be in this node's way in the next round, too.
            inner.enqueue(node)
        };
        drop(self);
        waiting.await.unwrap_or(Self(None))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::future::Future;
    use core::pin::{Pin, pin};
    use core::task::{Context, Poll, Waker};

    type Waiting = Pin<Box<dyn Future<Output = Turn>>>;

    fn node(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://a.test/{name}")).unwrap()
    }

    fn polled<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// One more call of `name` that waits.
    fn waits(turns: &Arc<Turns>, name: &str) -> Waiting {
        let (turns, node) = (Arc::clone(turns), node(name));
        let mut waiting: Waiting = Box::pin(async move { turns.take(&node).await });
        assert!(polled(waiting.as_mut()).is_none(), "{name} does not wait");
        waiting
    }

    /// Which of `calls` has got a turn; it goes on to its next one.
    fn next(calls: &mut [(&'static str, Waiting)]) -> &'static str {
        let mut got = calls
            .iter_mut()
            .filter_map(|(name, waiting)| Some((*name, polled(waiting.as_mut())?, waiting)));
        let (name, turn, waiting) = got.next().expect("somebody's turn");
        let node = node(name);
        *waiting = Box::pin(async move { turn.handed_on(&node).await });
        assert!(polled(waiting.as_mut()).is_none(), "others are before {name}");
        name
    }

    #[test]
    fn a_node_with_many_calls_has_one_turn_in_a_round_as_one_with_a_single_call() {
        let turns = Arc::new(Turns::new(1));
        let held = polled(pin!(turns.take(&node("greedy")))).expect("nobody is before it");
        let mut calls: Vec<_> = (0..CALLS_MAX)
            .map(|_| ("greedy", waits(&turns, "greedy")))
            .collect();
        calls.push(("a", waits(&turns, "a")));
        calls.push(("b", waits(&turns, "b")));
        drop(held);
        let order: Vec<_> = (0..300).map(|_| next(&mut calls)).collect();
        for round in order.chunks(3) {
            assert_eq!(round, ["greedy", "a", "b"]);
        }
    }

    #[test]
    fn whoever_comes_late_waits_for_one_turn_of_each_other_node() {
        let turns = Arc::new(Turns::new(1));
        let held = polled(pin!(turns.take(&node("greedy")))).unwrap();
        let mut calls: Vec<_> = (0..CALLS_MAX)
            .map(|_| ("greedy", waits(&turns, "greedy")))
            .collect();
        calls.push(("a", waits(&turns, "a")));
        drop(held);
        for _ in 0..7 {
            next(&mut calls);
        }
        calls.push(("late", waits(&turns, "late")));
        let order: Vec<_> = (0..3).map(|_| next(&mut calls)).collect();
        assert!(order.contains(&"late"), "{order:?}");
    }

    #[test]
    fn a_node_that_asks_alone_has_every_place() {
        let turns = Arc::new(Turns::new(3));
        let held: Vec<_> = (0..3)
            .map(|_| polled(pin!(turns.take(&node("a")))).expect("a free place"))
            .collect();
        let mut waiting = waits(&turns, "a");
        drop(held);
        let turn = polled(waiting.as_mut()).expect("a turn");
        // And keeps them, as long as nobody else waits.
        drop(polled(pin!(turn.handed_on(&node("a")))).expect("the same turn"));
        let inner = turns.lock();
        assert_eq!(inner.free, 3);
        assert!(inner.round.is_empty() && inner.waiting.is_empty());
    }

    #[test]
    fn a_turn_goes_past_whoever_stopped_waiting_before_it_or_with_it() {
        let turns = Arc::new(Turns::new(1));
        let held = polled(pin!(turns.take(&node("a")))).unwrap();
        let (gone, given) = (waits(&turns, "a"), waits(&turns, "b"));
        let mut last = waits(&turns, "c");
        drop(gone);
        // It is b's now, which goes away before it looks.
        drop(held);
        assert!(polled(last.as_mut()).is_none());
        drop(given);
        drop(polled(last.as_mut()).expect("c's turn"));
        assert_eq!(turns.lock().free, 1);
    }

    #[test]
    fn calls_that_were_called_off_do_not_pile_up() {
        let turns = Arc::new(Turns::new(1));
        let held = polled(pin!(turns.take(&node("a")))).unwrap();
        let mut kept = waits(&turns, "b");
        for _ in 0..1_000 {
            drop(waits(&turns, "b"));
        }
        assert!(turns.lock().waiting[&node("b")].len() <= CALLS_MAX);
        drop(held);
        assert!(polled(kept.as_mut()).is_some());
    }
}
