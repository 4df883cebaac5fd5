//! When an agent has what was given to it, and when it is without what was taken away.

use super::super::latency::Latencies;
use super::super::run::lock;
use signet_feed::{EntryChange, EntrySet, FeedEntry, NodeState};
use signet_id::{IdPattern, SpiffeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
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
    /// Whether an agent is told of it by `changes`: each is once, because it expects the next change only when all have
    /// this one.
    fn is_seen_by(&self, is_first_state: bool, changes: &[EntryChange]) -> bool {
        let is_it =
            |entry: &Option<Arc<FeedEntry>>| entry.as_ref().is_some_and(|entry| entry.spiffe_id == self.id);
        match self.what {
            What::Comes => changes.iter().any(|c| !is_it(&c.before) && is_it(&c.after)),
            What::Goes if is_first_state => !changes.iter().any(|c| is_it(&c.after)),
            What::Goes => changes.iter().any(|c| is_it(&c.before) && !is_it(&c.after)),
        }
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

    /// An agent that had `before`, or nothing yet, goes on with `after`.
    pub(super) fn follow(&self, before: Option<&NodeState>, after: &NodeState) {
        if lock(&self.gone).is_empty() && lock(&self.push).is_none() {
            return;
        }
        let nothing = EntrySet::default();
        let changes = after
            .entries
            .changes_since(before.map_or(&nothing, |before| &before.entries));
        for change in &changes {
            if let (Some(entry), None) = (&change.before, &change.after) {
                tell(&self.gone, &entry.spiffe_id);
            }
        }
        if let Some(push) = lock(&self.push).as_mut()
            && push.is_seen_by(before.is_none(), &changes)
        {
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

#[cfg(test)]
mod tests {
    use super::*;
    use signet_proto::agent::v1;

    fn entries(paths: &[&str]) -> EntrySet {
        let own = "a.test".parse().unwrap();
        let mut set = EntrySet::default();
        for path in paths {
            let mut id = [0; 16];
            id[..path.len()].copy_from_slice(path.as_bytes());
            let entry = v1::Entry {
                id: id.to_vec().into(),
                spiffe_id: format!("spiffe://a.test/{path}"),
                selectors: vec!["unix:uid:1".to_owned()],
                x509_ttl_s: 60,
                jwt_ttl_s: 60,
                created_at_ms: 1,
                seq: 1,
                ..v1::Entry::default()
            };
            set.put(Arc::new(FeedEntry::from_proto(&entry, &own).unwrap()));
        }
        set
    }

    fn push(what: What) -> Push {
        Push {
            id: "spiffe://a.test/all".parse::<SpiffeId>().unwrap().into(),
            what,
            began: Instant::now(),
            arrived: Latencies::new(),
            left: 1,
            done: None,
        }
    }

    #[test]
    fn an_agent_sees_a_change_once_on_whatever_stream() {
        let (without, with) = (entries(&["own"]), entries(&["own", "all"]));
        let (comes, goes) = (push(What::Comes), push(What::Goes));
        let came = with.changes_since(&without);
        assert!(comes.is_seen_by(false, &came) && !goes.is_seen_by(false, &came));
        let went = without.changes_since(&with);
        assert!(goes.is_seen_by(false, &went) && !comes.is_seen_by(false, &went));
        for changes in [
            with.changes_since(&with),
            entries(&["own", "new"]).changes_since(&without),
        ] {
            assert!(!comes.is_seen_by(false, &changes) && !goes.is_seen_by(false, &changes));
        }
        // A first state is compared with nothing.
        let nothing = EntrySet::default();
        let (first_with, first_without) = (with.changes_since(&nothing), without.changes_since(&nothing));
        assert!(comes.is_seen_by(true, &first_with) && !comes.is_seen_by(true, &first_without));
        assert!(goes.is_seen_by(true, &first_without) && !goes.is_seen_by(true, &first_with));
    }
}
