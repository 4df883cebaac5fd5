//! Who is told that something changed: the streams of the nodes that it concerns, and no others.

use crate::agents::Agents;
use signet_id::SpiffeId;
use signet_keys::KeyRing;
use signet_registry::RegistryState;
use signet_store::Cursor;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Streams of one node at once. One is usual, two while an agent takes over from another, one more for each connection
/// that was lost and not missed yet, and one for a second machine with the node's key, which is served until a person says
/// which is to go.
pub(crate) const NODE_STREAMS_MAX: usize = 4;

/// Where streams register. One task looks at what changed, [`run`], and wakes those that it concerns.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    running: bool,
    /// Up to this place everybody was told.
    done: Option<Cursor>,
    /// The sequence of the bundle that everybody was told of.
    bundle: u64,
    bells: HashMap<SpiffeId, Vec<Arc<Bell>>>,
}

#[derive(Default)]
struct Bell {
    rung: Notify,
    /// The place before the first change that this stream was told of and did not look at. However many changes follow,
    /// this is all that is kept for a stream that is slow.
    since: Mutex<Option<Cursor>>,
    /// Set once newer streams of the node took its place.
    is_replaced: AtomicBool,
    replaced: Notify,
}

/// A stream's place at the desk; given back when dropped.
pub(crate) struct Seat {
    desk: Arc<Desk>,
    node: SpiffeId,
    bell: Arc<Bell>,
}

impl Desk {
    /// A place for a stream of `node`, which is told of every change after this. Whether the desk needs its task.
    ///
    /// Of more than [`NODE_STREAMS_MAX`] the oldest ends: a node that comes back is served although the connection that it
    /// lost is not missed yet.
    pub(crate) fn register(self: &Arc<Self>, node: &SpiffeId) -> (Seat, bool) {
        let bell = Arc::new(Bell::default());
        let mut inner = lock(&self.0);
        let bells = inner.bells.entry(node.clone()).or_default();
        bells.push(Arc::clone(&bell));
        if bells.len() > NODE_STREAMS_MAX {
            bells.remove(0).replace();
        }
        let seat = Seat {
            desk: Arc::clone(self),
            node: node.clone(),
            bell,
        };
        (seat, !core::mem::replace(&mut inner.running, true))
    }

    /// Wakes the streams that are concerned by what changed up to `state`, or by another bundle. How many.
    pub(crate) fn dispatch(&self, state: &RegistryState, bundle: u64) -> usize {
        let mut inner = lock(&self.0);
        let Some(place) = state.recent().place() else {
            return 0;
        };
        let before = inner.done.replace(place);
        let other_bundle = core::mem::replace(&mut inner.bundle, bundle) != bundle;
        let nodes = match before.and_then(|before| concerned(state, &before)) {
            Some(nodes) if !other_bundle => nodes,
            // What changed since cannot be told, or concerns everybody.
            _ => None,
        };
        let Some(nodes) = nodes else {
            let all = inner.bells.values().flatten();
            return all.map(|bell| bell.ring(before)).count();
        };
        let bells = nodes.iter().filter_map(|node| inner.bells.get(node)).flatten();
        bells.map(|bell| bell.ring(before)).count()
    }
}

/// The nodes that are concerned by what changed after `before`: `Some(None)` for all, `None` where it cannot be told.
#[expect(clippy::option_option, reason = "not to be told is not the same as everybody")]
fn concerned(state: &RegistryState, before: &Cursor) -> Option<Option<HashSet<SpiffeId>>> {
    let mut nodes = HashSet::new();
    for touch in state.recent().touches_since(before)? {
        let Some(node) = &touch.node else {
            return Some(None);
        };
        nodes.insert(node.clone());
        // A node whose identity an entry gives is not served any more.
        let Some(entry) = touch.entry.and_then(|id| state.entry(id)) else {
            continue;
        };
        match entry.spiffe_id.one() {
            Some(id) => drop(nodes.insert(id.clone())),
            // Which ones a template could give, nobody can list.
            None => return Some(None),
        }
    }
    Some(Some(nodes))
}

impl Bell {
    fn ring(&self, before: Option<Cursor>) {
        let mut since = lock(&self.since);
        if since.is_none() {
            *since = before;
        }
        drop(since);
        self.rung.notify_one();
    }

    fn replace(&self) {
        self.is_replaced.store(true, Ordering::Release);
        self.replaced.notify_waiters();
    }
}

impl Seat {
    /// Returns once something changed that was not looked at.
    pub(crate) async fn rung(&self) {
        self.bell.rung.notified().await;
    }

    /// Returns once newer streams of the node took this one's place.
    pub(crate) async fn replaced(&self) {
        // Listening before looking: a replacement in between is not missed.
        let replaced = self.bell.replaced.notified();
        if !self.is_replaced() {
            replaced.await;
        }
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.bell.is_replaced.load(Ordering::Acquire)
    }

    /// A place up to which nothing changed for this stream since it looked last; `None` if there is no telling.
    pub(crate) fn take(&self) -> Option<Cursor> {
        // Under the desk's lock, so that what it has dispatched was heard here.
        let inner = lock(&self.desk.0);
        lock(&self.bell.since).take().or(inner.done)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = lock(&self.desk.0);
        if let Some(bells) = inner.bells.get_mut(&self.node) {
            bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
            if bells.is_empty() {
                inner.bells.remove(&self.node);
            }
        }
    }
}

/// Wakes streams until the server stops.
pub(crate) async fn run(agents: Agents) {
    let (registry, keys) = (agents.registry.followed(), agents.keys.followed());
    let (mut registry_moved, mut keys_moved) = (registry.applied(), keys.applied());
    loop {
        registry_moved.mark_unchanged();
        keys_moved.mark_unchanged();
        let bundle = keys.read(KeyRing::sequence).0;
        let woken = registry.read(|state| agents.desk.dispatch(state, bundle));
        agents.series.woke(woken);
        let moved = tokio::select! {
            () = agents.shutdown.cancelled() => return,
            moved = registry_moved.changed() => moved,
            moved = keys_moved.changed() => moved,
        };
        if moved.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: nothing under these locks panics half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet_id::TrustDomain;
    use signet_registry::{NewEntry, Registry};
    use signet_store::Origin;
    use signet_store::memory::MemoryLog;
    use signet_time::UnixTime;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    struct World {
        registry: Registry,
        desk: Arc<Desk>,
        made: std::cell::Cell<u32>,
    }

    impl World {
        async fn new() -> Self {
            let own = TrustDomain::parse("a.test").unwrap();
            let world = Self {
                registry: Registry::open(Arc::new(MemoryLog::new()), own).await.unwrap(),
                desk: Arc::default(),
                made: std::cell::Cell::new(0),
            };
            world.dispatch(1);
            world
        }

        fn dispatch(&self, bundle: u64) -> usize {
            self.registry.read(|state| self.desk.dispatch(state, bundle))
        }

        async fn entry(&self, parent: Option<&SpiffeId>) {
            let number = self.made.replace(self.made.get() + 1);
            let draft = NewEntry {
                spiffe_id: format!("spiffe://a.test/w/{number}"),
                parent_id: parent.map(SpiffeId::to_string),
                selectors: vec!["unix:uid:1".into()],
                ..NewEntry::default()
            };
            let origin = Origin::new("test", "test", NOW);
            self.registry.create(&[draft], origin).await.unwrap();
        }
    }

    fn node(number: usize) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://a.test/signet/node/join/{number}")).unwrap()
    }

    async fn is_rung(seat: &Seat) -> bool {
        tokio::select! {
            biased;
            () = seat.rung() => true,
            () = core::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn of_5000_streams_the_one_is_woken_whose_node_is_touched() {
        let world = World::new().await;
        let seats: Vec<_> = (0..5_000).map(|n| world.desk.register(&node(n)).0).collect();
        world.entry(Some(&node(7))).await;
        assert_eq!(world.dispatch(1), 1);
        let mut rung = Vec::new();
        for (number, seat) in seats.iter().enumerate() {
            if is_rung(seat).await {
                rung.push(number);
            }
        }
        assert_eq!(rung, [7]);
        assert_eq!(world.dispatch(1), 0, "once");
        world.entry(None).await;
        assert_eq!(world.dispatch(1), 5_000, "an entry for every node");
        assert_eq!(world.dispatch(2), 5_000, "another bundle");
        world.entry(Some(&node(9_999))).await;
        assert_eq!(world.dispatch(2), 0, "a node without a stream");
        drop(seats);
        assert!(lock(&world.desk.0).bells.is_empty());
    }

    #[tokio::test]
    async fn of_the_streams_of_one_node_the_oldest_goes_and_the_others_are_woken() {
        let world = World::new().await;
        let is_replaced = async |seat: &Seat| {
            tokio::select! {
                biased;
                () = seat.replaced() => true,
                () = core::future::ready(()) => false,
            }
        };
        let mut seats: Vec<_> = (0..NODE_STREAMS_MAX)
            .map(|_| world.desk.register(&node(1)).0)
            .collect();
        let other = world.desk.register(&node(2)).0;
        assert!(!is_replaced(&seats[0]).await);
        seats.push(world.desk.register(&node(1)).0);
        assert!(is_replaced(&seats[0]).await && is_replaced(&seats[0]).await);
        for seat in seats[1..].iter().chain([&other]) {
            assert!(!is_replaced(seat).await);
        }
        world.entry(Some(&node(1))).await;
        assert_eq!(world.dispatch(1), NODE_STREAMS_MAX);
        // Its going takes nobody else's place.
        seats.remove(0);
        assert_eq!(lock(&world.desk.0).bells[&node(1)].len(), NODE_STREAMS_MAX);
        seats.pop();
        seats.push(world.desk.register(&node(1)).0);
        for seat in &seats {
            assert!(!is_replaced(seat).await);
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_slow_is_told_of_the_first_change_that_it_missed() {
        let world = World::new().await;
        let (seat, first) = world.desk.register(&node(1));
        assert!(first && !world.desk.register(&node(2)).1);
        let at = || world.registry.read(|state| state.recent().place());
        let before = at();
        for _ in 0..3 {
            world.entry(Some(&node(1))).await;
            world.dispatch(1);
        }
        assert_eq!(seat.take(), before);
        // It has looked; others' changes move its place on.
        world.entry(Some(&node(2))).await;
        world.dispatch(1);
        assert_eq!(seat.take(), at());
        assert!(
            is_rung(&seat).await && !is_rung(&seat).await,
            "three changes wake it once"
        );
    }
}
