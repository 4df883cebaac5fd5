use crate::{Entry, EntryId, JoinToken, Node, TokenId};
use bytes::Bytes;
use signet_crypto::digest;
use signet_decision::{Action, Decision, Principal, Request, Resource};
use signet_id::{Selector, SpiffeId};
use signet_store::{Change, Fold, FoldError, Kind, Seq, fold};
use signet_time::UnixTime;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Entries.
pub const ENTRY: Kind = Kind(1);
/// Nodes.
pub const NODE: Kind = Kind(2);
/// Join tokens.
pub const JOIN_TOKEN: Kind = Kind(3);
/// All kinds that this crate owns.
pub const KINDS: &[Kind] = &[ENTRY, NODE, JOIN_TOKEN];

/// The version of the form of this crate's records.
pub(crate) const SCHEMA: u16 = 1;

/// The registry at one place in the log.
#[derive(Debug, Default)]
pub struct RegistryState {
    /// By id, which is by age.
    entries: BTreeMap<EntryId, Arc<Entry>>,
    /// The entries of one node, or of every node.
    by_parent: HashMap<Option<SpiffeId>, BTreeSet<EntryId>>,
    /// How many entries give an identity.
    identities: HashMap<SpiffeId, usize>,
    /// What an entry says, and which entry says it.
    sayings: HashMap<Saying, EntryId>,
    nodes: HashMap<[u8; 32], Arc<Node>>,
    tokens: HashMap<[u8; 32], Arc<JoinToken>>,
}

/// Whether somebody may be given a credential, and by which entry.
#[derive(Clone, Debug)]
pub struct Entitlement {
    /// The decision, allowed or not.
    pub decision: Decision,
    /// The entry, where it allows.
    pub entry: Option<Arc<Entry>>,
}

/// A digest of identity, parent and selectors: two entries with the same would be one entry twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saying([u8; 16]);

impl Saying {
    pub(crate) fn of(entry: &Entry) -> Self {
        let mut hash = digest::Sha256::new();
        let parent = entry.parent_id.as_ref().map_or("", SpiffeId::as_str);
        let selectors = entry.selectors.iter().map(Selector::as_str);
        for part in [entry.spiffe_id.as_str(), parent].into_iter().chain(selectors) {
            // No part holds a line feed, so the digest is of one reading only.
            hash.update(part.as_bytes());
            hash.update(b"\n");
        }
        let hash = hash.finish();
        let (head, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self(*head)
    }
}

impl RegistryState {
    /// All entries, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The entries after `after`, oldest first: how lists are paged.
    pub fn entries_after(&self, after: Option<EntryId>) -> impl Iterator<Item = &Arc<Entry>> {
        use core::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries
            .range((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
    }

    /// One entry.
    #[must_use]
    pub fn entry(&self, id: EntryId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    /// All nodes, by identity.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<_> = self.nodes.values().cloned().collect();
        nodes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        nodes
    }

    /// One node.
    #[must_use]
    pub fn node(&self, id: &SpiffeId) -> Option<&Arc<Node>> {
        self.nodes.get(Node::key(id).as_ref())
    }

    /// All join tokens, oldest first.
    #[must_use]
    pub fn join_tokens(&self) -> Vec<Arc<JoinToken>> {
        let mut tokens: Vec<_> = self.tokens.values().cloned().collect();
        tokens.sort_unstable_by_key(|token| (token.created_at, token.id));
        tokens
    }

    /// One join token, by its public name.
    #[must_use]
    pub fn join_token(&self, id: TokenId) -> Option<&Arc<JoinToken>> {
        self.tokens.values().find(|token| token.id == id)
    }

    pub(crate) fn token_of_hash(&self, hash: &[u8; 32]) -> Option<&Arc<JoinToken>> {
        self.tokens.get(hash)
    }

    pub(crate) fn token_hashes(&self) -> impl Iterator<Item = (&[u8; 32], &Arc<JoinToken>)> {
        self.tokens.iter()
    }

    pub(crate) fn said_by(&self, saying: &Saying) -> Option<EntryId> {
        self.sayings.get(saying).copied()
    }

    /// Whether an entry gives `id`.
    pub(crate) fn is_identity_of_entry(&self, id: &SpiffeId) -> bool {
        self.identities.contains_key(id)
    }

    /// The identities that are nodes', or will be once an open join token is used.
    pub(crate) fn identities_of_nodes(&self, now: UnixTime) -> HashSet<&SpiffeId> {
        let open = self.tokens.values().filter(|token| now < token.expires_at);
        let promised = open.filter_map(|token| token.spiffe_id.as_ref());
        self.nodes.values().map(|node| &node.id).chain(promised).collect()
    }

    /// Whether `id` is a node's, or will be once an open join token is used.
    #[must_use]
    pub fn is_identity_of_node(&self, id: &SpiffeId, now: UnixTime) -> bool {
        self.identities_of_nodes(now).contains(id)
    }

    /// The entries that name the node `node` or every node, oldest first, those that are over and not yet removed
    /// among them: what the log holds, whatever the clock says.
    pub fn assigned(&self, node: &SpiffeId) -> impl Iterator<Item = &Arc<Entry>> {
        let of = |parent: &Option<SpiffeId>| self.by_parent.get(parent).into_iter().flatten();
        let mut ids: Vec<_> = of(&None).chain(of(&Some(node.clone()))).copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.entries.get(&id))
    }

    /// The entries that the node `node` may serve at `now`, oldest first: the order is the same for every caller
    /// and every server, so the first identity of a workload stays the first.
    #[must_use]
    pub fn authorized(&self, node: &SpiffeId, now: UnixTime) -> Vec<Arc<Entry>> {
        self.assigned(node)
            .filter(|entry| entry.is_live_at(now))
            .cloned()
            .collect()
    }

    /// Decides whether the node `node` may obtain what `action` names for a workload of entry `id`.
    #[must_use]
    pub fn entitlement(&self, node: &SpiffeId, id: EntryId, action: Action, now: UnixTime) -> Entitlement {
        let request = |resource| Request::new(Principal::Spiffe(node.clone()), action, resource);
        let deny = |resource, needed: &str| Entitlement {
            decision: Decision::deny(request(resource), vec![needed.to_owned()]),
            entry: None,
        };
        // An entry that the node may not have is answered like one that is not there.
        let Some(entry) = self.entries.get(&id) else {
            return deny(Resource::one("entry", id.to_string()), "an entry of that name");
        };
        let resource = Resource::identity(&entry.spiffe_id);
        if let Some(why) = self.node_obstacle(node) {
            return deny(resource, why);
        }
        if entry.parent_id.as_ref().is_some_and(|parent| parent != node) {
            return deny(resource, "the entry's parent is this node, or every node");
        }
        if !entry.is_live_at(now) {
            return deny(resource, "a later end of the entry");
        }
        if entry.spiffe_id.is_reserved() || self.node(&entry.spiffe_id).is_some() {
            return deny(resource, "an identity that is no node's and not below /signet");
        }
        let because = format!("entry {id} gives it to workloads of this node");
        Entitlement {
            decision: Decision::allow(request(resource), "entries", because),
            entry: Some(entry.clone()),
        }
    }

    /// Decides whether the node `node` may obtain what `action` names for itself.
    pub fn node_entitlement(&self, node: &SpiffeId, action: Action) -> Decision {
        let request = Request::new(Principal::Spiffe(node.clone()), action, Resource::identity(node));
        match self.node_obstacle(node) {
            Some(needed) => Decision::deny(request, vec![needed.to_owned()]),
            None => Decision::allow(request, "nodes", "the node is registered and not banned"),
        }
    }

    /// What would have to be otherwise for `node` to be served.
    fn node_obstacle(&self, node: &SpiffeId) -> Option<&'static str> {
        match self.node(node) {
            None => Some("the node proves itself first"),
            Some(known) if known.banned.is_some() => Some("the node is not banned"),
            // Two writers may have raced; then neither gets the identity.
            Some(_) if self.is_identity_of_entry(node) => Some("no entry gives the node's identity"),
            Some(_) => None,
        }
    }

    fn put_entry(&mut self, entry: Entry) {
        let id = entry.id;
        self.remove_entry(id);
        self.by_parent
            .entry(entry.parent_id.clone())
            .or_default()
            .insert(id);
        *self.identities.entry(entry.spiffe_id.clone()).or_default() += 1;
        self.sayings.insert(Saying::of(&entry), id);
        self.entries.insert(id, Arc::new(entry));
    }

    fn remove_entry(&mut self, id: EntryId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        if let Some(ids) = self.by_parent.get_mut(&entry.parent_id) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_parent.remove(&entry.parent_id);
            }
        }
        if let Some(count) = self.identities.get_mut(&entry.spiffe_id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.identities.remove(&entry.spiffe_id);
            }
        }
        let saying = Saying::of(&entry);
        if self.sayings.get(&saying) == Some(&id) {
            self.sayings.remove(&saying);
        }
    }

    fn put(&mut self, kind: Kind, key: &Bytes, seq: Seq, body: &[u8]) -> Option<()> {
        let hash = || key.as_ref().try_into().ok();
        match kind {
            ENTRY => self.put_entry(Entry::from_body(key, seq, body)?),
            NODE => {
                let node = Node::from_body(key, seq, body)?;
                self.nodes.insert(hash()?, Arc::new(node));
            }
            _ => {
                let token = JoinToken::from_body(key, seq, body)?;
                self.tokens.insert(hash()?, Arc::new(token));
            }
        }
        Some(())
    }

    fn remove(&mut self, kind: Kind, key: &[u8]) -> Option<()> {
        match kind {
            ENTRY => self.remove_entry(EntryId::from_slice(key)?),
            NODE => {
                self.nodes.remove::<[u8; 32]>(key.try_into().ok()?);
            }
            _ => {
                self.tokens.remove::<[u8; 32]>(key.try_into().ok()?);
            }
        }
        Some(())
    }
}

impl Fold for RegistryState {
    fn owns(&self, kind: Kind) -> bool {
        KINDS.contains(&kind)
    }

    fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError> {
        if change.schema != SCHEMA {
            if change.must_understand {
                return Err(fold::not_understood(seq, change));
            }
            return Ok(());
        }
        let done = match &change.body {
            Some(body) => self.put(change.kind, &change.key, seq, body),
            None => self.remove(change.kind, &change.key),
        };
        done.ok_or_else(|| fold::malformed(seq, change, "not a record of this kind"))
    }
}
