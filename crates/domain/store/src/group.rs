//! The queue before a backend's one writer: callers put work in, the writer takes all that has gathered, so that one
//! flush serves many.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue of work, each piece with a size in bytes.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    /// Rung when work arrives or the queue closes.
    bell: Condvar,
    items_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

/// Why work was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As much is waiting as may wait.
    Full,
    /// The writer is gone.
    Closed,
}

impl<T> Queue<T> {
    /// A queue for up to `items_max` pieces and `bytes_max` bytes; one piece may be larger if it waits alone.
    #[must_use]
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                closed: false,
            }),
            bell: Condvar::new(),
            items_max,
            bytes_max,
        }
    }

    /// Puts `item` at the end.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn push(&self, item: T, bytes: usize) -> Result<(), Refused> {
        let pushed = self.put(&mut self.lock(), item, bytes);
        if pushed.is_ok() {
            self.bell.notify_one();
        }
        pushed
    }

    /// Puts each of `items`, with its size in bytes, at the end, before the writer sees the first of them; what came of
    /// each, in their order.
    pub fn push_all(&self, items: impl IntoIterator<Item = (T, usize)>) -> Vec<Result<(), Refused>> {
        let mut state = self.lock();
        let pushed: Vec<_> = items
            .into_iter()
            .map(|(item, bytes)| self.put(&mut state, item, bytes))
            .collect();
        drop(state);
        if pushed.iter().any(Result::is_ok) {
            self.bell.notify_one();
        }
        pushed
    }

    fn put(&self, state: &mut State<T>, item: T, bytes: usize) -> Result<(), Refused> {
        if state.closed {
            return Err(Refused::Closed);
        }
        let would_be = state.bytes.saturating_add(bytes);
        if !state.items.is_empty() && (state.items.len() >= self.items_max || would_be > self.bytes_max) {
            return Err(Refused::Full);
        }
        state.bytes = would_be;
        state.items.push_back((item, bytes));
        Ok(())
    }

    /// Waits for work, and takes what has gathered: at most `items` pieces of at most `bytes` together, at least one.
    /// `None` once the queue is closed and empty.
    pub fn take(&self, items: usize, bytes: usize) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::with_capacity(state.items.len().min(items));
        let mut size = 0_usize;
        while let Some((_, next)) = state.items.front() {
            size = size.saturating_add(*next);
            if !taken.is_empty() && (taken.len() >= items || size > bytes) {
                break;
            }
            if let Some((item, bytes)) = state.items.pop_front() {
                state.bytes = state.bytes.saturating_sub(bytes);
                taken.push(item);
            }
        }
        Some(taken)
    }

    /// Refuses all further work. What is in the queue can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a queue when dropped, and drops what is still in it. The thread that takes from a queue holds one, so that
/// callers are refused instead of waiting should it panic.
#[derive(Debug)]
pub struct CloseOnDrop<T>(pub Arc<Queue<T>>);

impl<T> Drop for CloseOnDrop<T> {
    fn drop(&mut self) {
        self.0.close();
        while let Some(left) = self.0.take(usize::MAX, usize::MAX) {
            drop(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_but_for_one_that_waits_alone() {
        let queue = Queue::new(2, 10);
        assert_eq!(queue.push("large", 11), Ok(()));
        assert_eq!(queue.push("b", 1), Err(Refused::Full));
        assert_eq!(queue.take(9, 1), Some(vec!["large"]));
        assert_eq!(queue.push("a", 1), Ok(()));
        assert_eq!(queue.push("b", 9), Ok(()));
        assert_eq!(queue.push("c", 0), Err(Refused::Full));
        assert_eq!(queue.take(9, 9), Some(vec!["a"]));
        assert_eq!(queue.push("c", 1), Ok(()));
        assert_eq!(queue.take(1, 100), Some(vec!["b"]));
        queue.close();
        assert_eq!(queue.push("d", 0), Err(Refused::Closed));
        assert_eq!(queue.take(1, 100), Some(vec!["c"]));
        assert_eq!(queue.take(1, 100), None);
    }

    #[test]
    fn of_many_at_once_each_is_bounded_by_what_stands_before_it() {
        let queue = Queue::new(3, 10);
        let pushed = queue.push_all([("a", 6), ("large", 5), ("b", 4), ("c", 0), ("over", 0)]);
        let full = Err(Refused::Full);
        assert_eq!(pushed, [Ok(()), full, Ok(()), Ok(()), full]);
        assert_eq!(queue.take(9, 100), Some(vec!["a", "b", "c"]));
        queue.close();
        assert_eq!(queue.push_all([("d", 1)]), [Err(Refused::Closed)]);
        assert_eq!(queue.take(9, 100), None);
    }

    #[test]
    fn a_waiting_writer_wakes() {
        let queue = Queue::new(3, 10);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut all = Vec::new();
                while let Some(taken) = queue.take(2, 10) {
                    all.extend(taken);
                }
                all
            });
            queue.push(1, 1).unwrap();
            assert_eq!(queue.push_all([(2, 1), (3, 0)]), [Ok(()), Ok(())]);
            queue.close();
            assert_eq!(writer.join().unwrap(), [1, 2, 3]);
        });
    }
}
