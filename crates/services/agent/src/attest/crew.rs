//! Threads for work that may block.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Does work on as many threads as there is work at once. The runtime by itself starts another one each time that a thread
/// has done its work and not yet said that it is free, and each has a stack and a heap of its own, for seconds.
pub(super) struct Crew {
    shared: Arc<Shared>,
    /// How long a thread waits for more.
    linger: Duration,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Threads that have no work, or are about to begin.
    free: usize,
    is_over: bool,
}

/// Does it, and returns what tells of it.
type Work = Box<dyn FnOnce() -> Tell + Send>;
type Tell = Box<dyn FnOnce() + Send>;

impl Crew {
    pub(super) fn new(linger: Duration) -> Self {
        Self {
            shared: Arc::default(),
            linger,
        }
    }

    /// What `work` returns; nothing if it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, done) = oneshot::channel();
        self.give(Box::new(move || {
            let result = work();
            // Whoever asked may be gone.
            Box::new(move || drop(sender.send(result)))
        }));
        done.await.ok()
    }

    fn give(&self, work: Work) {
        let mut state = self.shared.lock();
        state.waiting.push_back(work);
        if state.waiting.len() <= state.free {
            return self.shared.called.notify_one();
        }
        state.free += 1;
        let (shared, linger) = (Arc::clone(&self.shared), self.linger);
        // Ended with the crew, and not waited for.
        drop(tokio::task::spawn_blocking(move || shared.work(linger)));
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.called.notify_all();
    }
}

impl Shared {
    /// The life of one thread.
    fn work(&self, linger: Duration) {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                state.free -= 1;
                drop(state);
                let tell = work();
                // Free before anybody is told, so that who gives the next work finds this thread.
                self.lock().free += 1;
                tell();
                state = self.lock();
                continue;
            }
            let mut is_late = false;
            // Looked at first: nobody is called once it is over.
            if !state.is_over {
                (state, is_late) = match self.called.wait_timeout(state, linger) {
                    Ok((state, waited)) => (state, waited.timed_out()),
                    Err(poisoned) => (poisoned.into_inner().0, true),
                };
            }
            if state.waiting.is_empty() && (is_late || state.is_over) {
                state.free -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: work is done outside of the lock, so that nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn one_thing_after_the_other_takes_one_thread() {
        let crew = Crew::new(LONG);
        let mut threads = HashSet::new();
        for _ in 0..200 {
            threads.insert(crew.run(|| thread::current().id()).await.unwrap());
        }
        assert_eq!(threads.len(), 1);
    }

    #[tokio::test]
    async fn what_is_to_be_done_at_once_is() {
        let crew = Crew::new(LONG);
        // Each goes on only once all have begun.
        let barrier = Arc::new(Barrier::new(3));
        let one = || {
            let barrier = Arc::clone(&barrier);
            crew.run(move || {
                barrier.wait();
                thread::current().id()
            })
        };
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert_eq!(HashSet::from([a, b, c]).len(), 3);
    }

    #[tokio::test]
    async fn work_that_panics_takes_nobody_elses_along() {
        let crew = Crew::new(LONG);
        for _ in 0..3 {
            assert_eq!(crew.run(|| panic!("on purpose")).await, None::<()>);
            assert_eq!(crew.run(|| 7).await, Some(7));
        }
    }

    #[tokio::test]
    async fn threads_end_when_there_is_nothing_to_do_and_begin_again() {
        let crew = Crew::new(Duration::ZERO);
        for n in 0..20 {
            assert_eq!(crew.run(move || n).await, Some(n));
            while crew.shared.lock().free > 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
