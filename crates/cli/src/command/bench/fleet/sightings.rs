//! When an agent has what was given to it, and when it is without what was taken away.

use super::super::latency::Latencies;
use super::super::run::lock;
use signet_feed::{EntryChange, NodeState};
use signet_id::{IdPattern, SpiffeId};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;
use tokio::sync::oneshot;

/// Who waits for what, by the identity that it is about.
#[derive(Default)]
pub(super) struct Sightings {
    here: Waiting,
    gone: Waiting,
    push: Mutex<Option<Push>>,
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Comes,
    Goes,
}

/// A change that all agents are told of.
struct Push {
    id: IdPattern,
    what: What,
    began: Instant,
    arrived: Latencies,
    /// Agents that were not told yet.
    left: u32,
    done: Option<oneshot::Sender<()>>,
}

impl Push {
    fn is_seen_in(&self, change: &EntryChange) -> bool {
        let (there, not_there) = match self.what {
            What::Comes => (&change.after, &change.before),
            What::Goes => (&change.before, &change.after),
        };
        not_there.is_none() && there.as_ref().is_some_and(|entry| entry.spiffe_id == self.id)
    }
}

type Waiting = Mutex<HashMap<IdPattern, oneshot::Sender<Instant>>>;

impl Sightings {
    /// Gives the moment in which a certificate for `id` is in an agent's hands.
    pub(super) fn await_here(&self, id: &IdPattern) -> oneshot::Receiver<Instant> {
        wait(&self.here, id)
    }

    /// Gives the moment in which an agent has dropped the entry for `id`.
    pub(super) fn await_gone(&self, id: &IdPattern) -> oneshot::Receiver<Instant> {
        wait(&self.gone, id)
    }

    /// From now on the arrival of a change at `agents` agents is timed; gives when it has arrived at all of them.
    pub(super) fn expect_everywhere(&self, id: &IdPattern, what: What, agents: u32) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        *lock(&self.push) = Some(Push {
            id: id.clone(),
            what,
            began: Instant::now(),
            arrived: Latencies::new(),
            left: agents,
            done: Some(done),
        });
        receiver
    }

    /// How long it took to each agent that was told, and how many were not.
    pub(super) fn arrived(&self) -> (Latencies, u32) {
        let push = lock(&self.push).take();
        push.map_or_else(|| (Latencies::new(), 0), |push| (push.arrived, push.left))
    }

    /// An agent has a certificate for `id`.
    pub(super) fn here(&self, id: &SpiffeId) {
        tell(&self.here, &id.clone().into());
    }

    /// An agent that had `before` goes on with `after`.
    pub(super) fn follow(&self, before: Option<&NodeState>, after: &NodeState) {
        let Some(before) = before else { return };
        if lock(&self.gone).is_empty() && lock(&self.push).is_none() {
            return;
        }
        for change in after.entries.changes_since(&before.entries) {
            if let (Some(entry), None) = (&change.before, &change.after) {
                tell(&self.gone, &entry.spiffe_id);
            }
            if let Some(push) = lock(&self.push).as_mut().filter(|push| push.is_seen_in(&change)) {
                push.arrived.add(push.began.elapsed());
                push.left = push.left.saturating_sub(1);
                if push.left == 0
                    && let Some(done) = push.done.take()
                {
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                }
            }
        }
    }
}

fn wait(waiting: &Waiting, id: &IdPattern) -> oneshot::Receiver<Instant> {
    let (sender, receiver) = oneshot::channel();
    lock(waiting).insert(id.clone(), sender);
    receiver
}

fn tell(waiting: &Waiting, id: &IdPattern) {
    if let Some(sender) = lock(waiting).remove(id) {
        // Nobody may be waiting any more.
        let _ = sender.send(Instant::now());
    }
}
