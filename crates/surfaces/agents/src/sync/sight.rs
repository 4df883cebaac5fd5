//! What one node may know, at one place in the log.

use crate::AgentsError;
use crate::agents::Agents;
use signet_crypto::SetHash;
use signet_feed::{Capabilities, Capability, FeedCursor, FeedEntry};
use signet_id::SpiffeId;
use signet_keys::KeyRing;
use signet_registry::{Entry, EntryId, RegistryState};
use signet_store::follow::{FollowError, Followed};
use signet_store::{Cursor, Fold, Seq};
use signet_trust::Bundle;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// What there is to tell a node.
///
/// The same cursor always comes with the same content. So entries and bundle are of one place in the log, and the clock
/// has no say in it: agents know for themselves when an entry ends.
pub(super) struct Sight {
    pub(super) cursor: Cursor,
    pub(super) bundle: Arc<Bundle>,
    pub(super) news: News,
    /// Over all entries of the node.
    pub(super) digest: SetHash,
}

/// The entries of a node, whole or since it heard last.
pub(super) enum News {
    All(Vec<Arc<Entry>>),
    Changed {
        removed: Vec<EntryId>,
        entries: Vec<Arc<Entry>>,
    },
}

/// What a stream's agent can be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// What changed.
    Changes,
    /// Everything, if anything changed; the bundle that it knows has this sequence.
    Whole { bundle: u64 },
}

/// Which entries an agent can be told of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entries {
    All,
    /// Those that are no templates.
    OneIdentity,
}

impl Entries {
    pub(super) const fn for_whom(theirs: Capabilities) -> Self {
        if theirs.has(Capability::IdTemplates) {
            Self::All
        } else {
            Self::OneIdentity
        }
    }

    fn of(self, state: &RegistryState, node: &SpiffeId) -> Vec<Arc<Entry>> {
        state.assigned(node).filter(|entry| self.is_told(entry)).collect()
    }

    fn is_told(self, entry: &Entry) -> bool {
        self == Self::All || entry.spiffe_id.one().is_some()
    }

    fn digest(self, state: &RegistryState, node: &SpiffeId) -> SetHash {
        match self {
            Self::All => state.digest(node),
            Self::OneIdentity => state.digest_without_templates(node),
        }
    }

    /// Whether what changed after `since` can be told as a change.
    fn can_follow(self, state: &RegistryState, node: &SpiffeId, since: &Cursor) -> bool {
        // What was a template once was not told of, and cannot be taken back.
        self == Self::All || state.recent().templates_since(since, node) == Some(false)
    }
}

impl Sight {
    /// What there is for `node` after `since`; everything where that cannot be told.
    pub(super) async fn of(
        agents: &Agents,
        node: &SpiffeId,
        since: Option<Cursor>,
        telling: Telling,
        entries: Entries,
    ) -> Result<Self, AgentsError> {
        let (registry, keys) = (agents.registry.followed(), agents.keys.followed());
        let (mut gathered, mut is_long) = (None::<Gathered>, true);
        loop {
            let bundle = keys.read_at(|ring| bundle(agents, ring)).await?.1?;
            if !reached(registry, Seq(bundle.sequence()), keys).await? {
                continue;
            }
            let known = Telling::Whole {
                bundle: bundle.sequence(),
            };
            let look = |state: &RegistryState| {
                let digest = entries.digest(state, node);
                if let Some(gathered) = &mut gathered {
                    match gathered.bring_up(state, node) {
                        Some(()) => return Ok((News::All(gathered.told(entries)), digest)),
                        // So much changed meanwhile that it would not be known before the next time either.
                        None => is_long = false,
                    }
                }
                let news = since
                    .filter(|since| entries.can_follow(state, node, since))
                    .and_then(|since| News::since(state, node, &since))
                    .filter(|news| telling == Telling::Changes || (telling == known && !news.is_any()));
                match news {
                    Some(news) => Ok((news, digest)),
                    None => match Gathered::new(state, node).filter(|_| is_long) {
                        Some(gathered) => Err(gathered),
                        None => Ok((News::All(entries.of(state, node)), digest)),
                    },
                }
            };
            let (cursor, looked) = registry.read_at(look).await?;
            let (news, digest) = match looked {
                Ok(seen) => seen,
                Err(mut begun) => {
                    while registry.read(|state| begun.read(state)) {
                        tokio::task::yield_now().await;
                    }
                    gathered = Some(begun);
                    continue;
                }
            };
            // If no key changed up to there, the bundle is the one of that place; else both are looked at again.
            if reached(keys, cursor.seq, registry).await?
                && keys.read(KeyRing::sequence).0 == bundle.sequence()
            {
                return Ok(Self {
                    cursor,
                    bundle,
                    news,
                    digest,
                });
            }
        }
    }
}

/// Has `one` take in the change at `seq`, which `other` has taken in. `false` where the log does not hold it any more,
/// because an older one was put in its place: then `other` has gone back as well, and what was seen there is not so.
async fn reached<A, B>(one: &Followed<A>, seq: Seq, other: &Followed<B>) -> Result<bool, FollowError>
where
    A: Fold + Send + Sync + 'static,
    B: Fold + Send + Sync + 'static,
{
    while one.seq() < seq {
        // Nobody waits for a change that may never come.
        if one.catch_up().await? < seq && other.catch_up().await? < seq {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The entries of a node with very many, read some at a time: whoever writes waits for no more than that. What changed
/// meanwhile is looked at once more, so that in the end all of them are as they are at one place in the log.
struct Gathered {
    /// What changed after this is not known yet.
    at: Cursor,
    /// Those that are still to be read, the next one last.
    names: Vec<EntryId>,
    entries: BTreeMap<EntryId, Arc<Entry>>,
}

/// So many entries are read at once.
const AT_ONCE_MAX: usize = 1_024;

impl Gathered {
    /// `None` for a node whose entries can be read at once.
    fn new(state: &RegistryState, node: &SpiffeId) -> Option<Self> {
        let at = state.recent().place()?;
        let mut names = state.assigned_names(node);
        if names.len() <= AT_ONCE_MAX {
            return None;
        }
        names.reverse();
        Some(Self {
            at,
            names,
            entries: BTreeMap::new(),
        })
    }

    /// Reads some more; whether there was anything to read.
    fn read(&mut self, state: &RegistryState) -> bool {
        let from = self.names.len().saturating_sub(AT_ONCE_MAX);
        let some = self.names.split_off(from);
        let is_any = !some.is_empty();
        let found = some.into_iter().filter_map(|id| state.entry(id));
        self.entries.extend(found.map(|entry| (entry.id, entry)));
        is_any
    }

    /// Takes in what changed meanwhile; `None` where that cannot be told.
    fn bring_up(&mut self, state: &RegistryState, node: &SpiffeId) -> Option<()> {
        for id in state.recent().entries_since(&self.at, node)?.into_keys() {
            match state.entry(id).filter(|entry| is_for(entry, node)) {
                Some(entry) => drop(self.entries.insert(id, entry)),
                None => drop(self.entries.remove(&id)),
            }
        }
        self.at = state.recent().place()?;
        Some(())
    }

    fn told(&self, entries: Entries) -> Vec<Arc<Entry>> {
        let all = self.entries.values();
        all.filter(|entry| entries.is_told(entry)).cloned().collect()
    }
}

fn is_for(entry: &Entry, node: &SpiffeId) -> bool {
    entry.parent_id.as_ref().is_none_or(|parent| parent == node)
}

impl News {
    fn since(state: &RegistryState, node: &SpiffeId, since: &Cursor) -> Option<Self> {
        let (mut removed, mut entries) = (Vec::new(), Vec::new());
        for (id, had) in state.recent().entries_since(since, node)? {
            let entry = state.entry(id);
            match entry.filter(|entry| is_for(entry, node)) {
                Some(entry) => entries.push(entry),
                None if had => removed.push(id),
                // It came and went.
                None => {}
            }
        }
        Some(Self::Changed { removed, entries })
    }

    /// Whether it says anything.
    pub(super) fn is_any(&self) -> bool {
        match self {
            Self::All(_) => true,
            Self::Changed { removed, entries } => !removed.is_empty() || !entries.is_empty(),
        }
    }
}

/// The bundle of the ring, made once for all streams.
fn bundle(agents: &Agents, ring: &KeyRing) -> Result<Arc<Bundle>, AgentsError> {
    let mut made = agents.bundle.lock().unwrap_or_else(PoisonError::into_inner);
    match &*made {
        Some(bundle) if bundle.sequence() == ring.sequence().0 => Ok(Arc::clone(bundle)),
        _ => {
            let bundle = Arc::new(ring.bundle()?);
            *made = Some(Arc::clone(&bundle));
            Ok(bundle)
        }
    }
}

pub(super) fn feed_cursor(cursor: Cursor) -> FeedCursor {
    FeedCursor {
        epoch: cursor.epoch,
        seq: cursor.seq.0,
        chain: cursor.chain,
    }
}

pub(crate) fn store_cursor(cursor: FeedCursor) -> Cursor {
    Cursor {
        epoch: cursor.epoch,
        seq: Seq(cursor.seq),
        chain: cursor.chain,
    }
}

/// What an agent on `node` is told of `entry`.
pub(super) fn feed_entry(entry: &Entry, node: &SpiffeId) -> FeedEntry {
    FeedEntry {
        id: *entry.id.as_bytes(),
        spiffe_id: entry.pattern_on(node),
        selectors: entry.selectors.clone(),
        x509_ttl: entry.x509_ttl,
        jwt_ttl: entry.jwt_ttl,
        dns_names: entry.dns_names.clone(),
        hint: entry.hint.clone(),
        federates_with: entry.federates_with.clone(),
        jwt_audiences: entry.jwt_audiences.clone(),
        expires_at: entry.expires_at,
        created_at: entry.created_at,
        seq: entry.seq.0,
        expansion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use signet_feed::{Changes, Event, NodeState, PeerHello, Producer, Replica, hello};
    use signet_id::TrustDomain;
    use signet_registry::{NewEntry, Registry};
    use signet_store::Origin;
    use signet_store::memory::MemoryLog;
    use signet_time::UnixTime;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    /// What happens next.
    #[derive(Clone, Debug)]
    enum Step {
        Create(Option<u8>),
        /// Gives an entry to another node, or to every node.
        Move(usize, Option<u8>),
        Delete(usize),
        /// The agent is sent what it misses.
        Tell,
        /// It is sent that, and the connection breaks before it arrives.
        Lose,
        /// The connection breaks, and another server takes over.
        Reconnect,
        /// The same, in the middle of a snapshot.
        Cut(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let node = || prop::option::of(0_u8..2);
        prop_oneof![
            4 => node().prop_map(Step::Create),
            3 => (any::<usize>(), node()).prop_map(|(which, node)| Step::Move(which, node)),
            3 => any::<usize>().prop_map(Step::Delete),
            4 => Just(Step::Tell),
            1 => Just(Step::Lose),
            2 => Just(Step::Reconnect),
            1 => (0_usize..3).prop_map(Step::Cut),
        ]
    }

    fn node(number: u8) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://a.test/signet/node/join/{number}")).unwrap()
    }

    /// Two servers on one log, and the agent of node 0.
    struct World {
        servers: [Registry; 2],
        serving: usize,
        made: usize,
        producer: Producer,
        bundle: Arc<Bundle>,
        theirs: Capabilities,
        replica: Replica,
        /// What the server takes the agent for.
        sent: Option<FeedCursor>,
        deltas: usize,
    }

    impl World {
        async fn new() -> Self {
            let own = TrustDomain::parse("a.test").unwrap();
            let log = MemoryLog::new();
            let open = || Registry::open(Arc::new(log.clone()), own.clone());
            let mut world = Self {
                servers: [open().await.unwrap(), open().await.unwrap()],
                serving: 0,
                made: 0,
                producer: Producer::new(own.clone(), "test", "https://a.test"),
                bundle: Arc::new(Bundle::new(own.clone(), 1, None, Vec::new(), Vec::new()).unwrap()),
                theirs: PeerHello::read(&hello("test", NOW)).unwrap().capabilities,
                replica: Replica::new(own),
                sent: None,
                deltas: 0,
            };
            world.connect(None);
            world
        }

        fn connect(&mut self, held: Option<Arc<NodeState>>) {
            let own = self.servers[0].trust_domain().clone();
            self.sent = held.as_ref().map(|held| held.cursor);
            self.replica = held.map_or_else(
                || Replica::new(own.clone()),
                |held| Replica::resuming(own.clone(), held),
            );
            self.replica.read(&self.producer.hello(NOW), NOW).unwrap();
        }

        async fn change(&mut self, step: &Step) {
            let registry = &self.servers[self.made % 2];
            registry.followed().catch_up().await.unwrap();
            let origin = Origin::new("test", "test", NOW);
            let all: Vec<_> = registry.read(|state| state.entries().collect());
            let pick = |which: usize| all.get(which % all.len().max(1)).cloned();
            match *step {
                Step::Create(parent) => {
                    let draft = NewEntry {
                        spiffe_id: format!("spiffe://a.test/w/{}", self.made),
                        parent_id: parent.map(|number| node(number).to_string()),
                        selectors: vec!["unix:uid:1".into()],
                        ..NewEntry::default()
                    };
                    registry.create(&[draft], origin).await.unwrap();
                }
                Step::Move(which, parent) => {
                    if let Some(entry) = pick(which) {
                        let draft = NewEntry {
                            parent_id: parent.map(|number| node(number).to_string()),
                            ..NewEntry::from(&*entry)
                        };
                        registry.update(entry.id, &draft, None, origin).await.unwrap();
                    }
                }
                Step::Delete(which) => {
                    if let Some(entry) = pick(which) {
                        registry.delete(entry.id, None, origin).await.unwrap();
                    }
                }
                _ => return,
            }
            self.made += 1;
        }

        /// What the server says to bring the agent to where it is.
        async fn messages(&mut self) -> (FeedCursor, Vec<signet_proto::agent::v1::SyncResponse>) {
            let followed = self.servers[self.serving].followed();
            followed.catch_up().await.unwrap();
            let sent = self.sent;
            let look = |state: &RegistryState| {
                let since = sent.and_then(|sent| News::since(state, &node(0), &store_cursor(sent)));
                since.unwrap_or_else(|| News::All(state.assigned(&node(0)).collect()))
            };
            let (cursor, news) = followed.read_at(look).await.unwrap();
            let to = feed_cursor(cursor);
            let messages = match news {
                News::All(entries) => {
                    let entries = entries
                        .iter()
                        .map(|entry| feed_entry(entry, &node(0)))
                        .collect::<Vec<_>>();
                    let bundles = [Arc::clone(&self.bundle)];
                    self.producer.chunks(to, &bundles, entries, self.theirs).collect()
                }
                News::Changed { removed, entries } => {
                    self.deltas += 1;
                    let changes = Changes {
                        removed: removed.iter().map(|id| *id.as_bytes()).collect(),
                        entries: entries.iter().map(|entry| feed_entry(entry, &node(0))).collect(),
                        ..Changes::default()
                    };
                    vec![
                        self.producer
                            .delta(sent.unwrap(), to, &changes, self.theirs)
                            .unwrap(),
                    ]
                }
            };
            (to, messages)
        }

        async fn tell(&mut self) {
            let (to, messages) = self.messages().await;
            for message in messages {
                self.replica.read(&message, NOW).unwrap();
            }
            self.sent = Some(to);
            let registry = &self.servers[self.serving];
            let state = Arc::clone(self.replica.state().unwrap());
            registry.read(|truth| {
                let held: Vec<_> = state.entries.iter().map(|entry| (**entry).clone()).collect();
                let wanted: Vec<_> = truth
                    .assigned(&node(0))
                    .map(|entry| feed_entry(&entry, &node(0)))
                    .collect();
                assert_eq!(held, wanted);
                assert_eq!(state.entries.digest(), truth.digest(&node(0)));
                let digest = truth.digest(&node(0));
                let beat =
                    self.producer
                        .heartbeat(to, Some(&digest), core::time::Duration::from_secs(1), NOW);
                assert!(matches!(self.replica.read(&beat, NOW), Ok(Event::Alive { .. })));
            });
        }

        async fn take(&mut self, step: Step) {
            match step {
                Step::Create(_) | Step::Move(..) | Step::Delete(_) => self.change(&step).await,
                Step::Tell => self.tell().await,
                Step::Lose => {
                    self.messages().await;
                    self.connect(self.replica.state().cloned());
                }
                Step::Reconnect => {
                    self.serving = 1 - self.serving;
                    self.connect(self.replica.state().cloned());
                }
                Step::Cut(pieces) => {
                    self.sent = None;
                    let (_, messages) = self.messages().await;
                    let held = self.replica.state().cloned();
                    for message in messages.iter().take(pieces.min(messages.len() - 1)) {
                        self.replica.read(message, NOW).unwrap();
                    }
                    self.connect(held);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Whatever changes, and whatever is lost on the way, an agent that was told holds what its node may serve.
        #[test]
        fn an_agent_comes_to_hold_what_its_node_may_serve(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut world = World::new().await;
                for step in steps {
                    world.take(step).await;
                }
                world.tell().await;
            });
        }
    }

    /// Entries that many nodes, or one, have; some are changed while the others are read.
    #[tokio::test]
    async fn what_changes_while_a_long_list_is_read_is_in_it_as_it_is_in_the_end() {
        let mut world = World::new().await;
        let origin = Origin::new("test", "test", NOW);
        let registry = || Registry::open(Arc::new(MemoryLog::new()), TrustDomain::parse("a.test").unwrap());
        world.servers[0] = registry().await.unwrap();
        let registry = &world.servers[0];
        let draft = |number: usize, parent: Option<u8>| NewEntry {
            spiffe_id: format!("spiffe://a.test/w/{number}"),
            parent_id: parent.map(|number| node(number).to_string()),
            selectors: vec!["unix:uid:1".into()],
            ..NewEntry::default()
        };
        let few: Vec<_> = (0..AT_ONCE_MAX).map(|n| draft(n, Some(0))).collect();
        registry.create(&few, origin.clone()).await.unwrap();
        assert!(
            registry.read(|state| Gathered::new(state, &node(0))).is_none(),
            "read at once"
        );
        let more: Vec<_> = (AT_ONCE_MAX..4 * AT_ONCE_MAX)
            .map(|n| draft(n, [None, Some(0), Some(1)][n % 3]))
            .collect();
        let made = registry.create(&more, origin.clone()).await.unwrap();
        let mut gathered = registry.read(|state| Gathered::new(state, &node(0))).unwrap();
        let mut looks = 0;
        while registry.read(|state| gathered.read(state)) {
            // One that goes, one that comes here, one that goes elsewhere, one that says something else, and a new one.
            let at = 300 * looks;
            let of = |offset: usize| (at + offset..).map(|n| &made[n]);
            let on = |parent: Option<u8>| {
                move |entry: &&&Arc<Entry>| {
                    entry.parent_id == parent.map(node) && registry.read(|state| state.has_entry(entry.id))
                }
            };
            let gone = of(0).find(|entry| on(None)(&entry)).unwrap();
            registry.delete(gone.id, None, origin.clone()).await.unwrap();
            for (entry, parent) in [
                (of(50).find(|entry| on(Some(1))(&entry)).unwrap(), Some(0)),
                (of(100).find(|entry| on(Some(0))(&entry)).unwrap(), Some(1)),
                (of(150).find(|entry| on(Some(0))(&entry)).unwrap(), Some(0)),
            ] {
                let changed = NewEntry {
                    hint: format!("{looks}"),
                    parent_id: parent.map(|number| node(number).to_string()),
                    ..NewEntry::from(&**entry)
                };
                registry
                    .update(entry.id, &changed, None, origin.clone())
                    .await
                    .unwrap();
            }
            registry
                .create(&[draft(10_000 + looks, None)], origin.clone())
                .await
                .unwrap();
            looks += 1;
        }
        assert!(looks >= 3, "{looks}");
        registry.read(|state| {
            assert_ne!(gathered.told(Entries::All), Entries::All.of(state, &node(0)));
            gathered.bring_up(state, &node(0)).unwrap();
            assert_eq!(gathered.told(Entries::All), Entries::All.of(state, &node(0)));
            assert_eq!(Some(gathered.at), state.recent().place());
        });
    }

    /// The property above would hold, too, of a server that sends snapshots only.
    #[tokio::test]
    async fn another_server_goes_on_with_what_changed() {
        let mut world = World::new().await;
        world.take(Step::Create(Some(0))).await;
        world.take(Step::Tell).await;
        assert_eq!(world.deltas, 0);
        for step in [
            Step::Create(None),
            Step::Reconnect,
            Step::Tell,
            Step::Delete(0),
            Step::Lose,
            Step::Tell,
        ] {
            world.take(step).await;
        }
        assert_eq!(world.deltas, 3, "one of them was lost");
    }
}
