use crate::packed::{Entries, EntryFilter, Scanned};
use crate::recent::PAST_MAX;
use crate::uses::Uses;
use crate::{ClaimError, Claims, Entry, EntryId, JoinToken, Node, Recent, TokenId};
use bytes::Bytes;
use signet_crypto::{SetHash, digest};
use signet_decision::{Action, Decision, Principal, Request, Resource};
use signet_id::{IdTemplate, Selector, SpiffeId};
use signet_store::{Change, Cursor, Fold, FoldError, Kind, Past, PastWish, Seq, fold};
use signet_time::UnixTime;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Entries.
pub const ENTRY: Kind = Kind(1);
/// Nodes.
pub const NODE: Kind = Kind(2);
/// Join tokens.
pub const JOIN_TOKEN: Kind = Kind(3);
/// When entries were used last.
pub const ENTRY_USES: Kind = Kind(4);
/// Since when that is watched.
pub const USE_WATCH: Kind = Kind(5);
/// All kinds that this crate owns.
pub const KINDS: &[Kind] = &[ENTRY, NODE, JOIN_TOKEN, ENTRY_USES, USE_WATCH];

/// How far what an entry was before a change is looked for, in changes before the ones that are recalled.
const BACK_MAX: usize = 32_768;

/// The version of the form of this crate's records.
pub(crate) const SCHEMA: u16 = 1;

/// The registry at one place in the log.
#[derive(Debug, Default)]
pub struct RegistryState {
    entries: Entries,
    nodes: HashMap<[u8; 32], Arc<Node>>,
    tokens: HashMap<[u8; 32], Arc<JoinToken>>,
    /// What changed last, for those who follow.
    recent: Recent,
    uses: Uses,
    /// The entries that are templates; few, by [`crate::limits::TEMPLATES_MAX`].
    templates: BTreeMap<EntryId, IdTemplate>,
}

/// Whether somebody may be given a credential, and by which entry.
#[derive(Clone, Debug)]
pub struct Entitlement {
    /// The decision, allowed or not.
    pub decision: Decision,
    /// The entry, where it allows.
    pub entry: Option<Arc<Entry>>,
    /// The identity that it gives, where it allows.
    pub spiffe_id: Option<SpiffeId>,
    /// What is wrong with what the agent said, where that is why it denies.
    pub claim: Option<ClaimError>,
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
    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// All entries, oldest first, each rebuilt when its turn comes.
    pub fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        self.entries_after(None)
    }

    /// The entries after `after`, oldest first: how lists are paged.
    pub fn entries_after(&self, after: Option<EntryId>) -> impl Iterator<Item = Arc<Entry>> {
        self.entries.after(after).map(Arc::new)
    }

    /// Searches among the entries after `after`: looks at `steps` of them at most and stops where `most` are found.
    #[must_use]
    pub fn scan(&self, after: Option<EntryId>, filter: &EntryFilter, steps: usize, most: usize) -> Scanned {
        self.entries.scan(after, filter, steps, most)
    }

    /// One entry, rebuilt.
    #[must_use]
    pub fn entry(&self, id: EntryId) -> Option<Arc<Entry>> {
        self.entries.get(id).map(Arc::new)
    }

    /// Whether the entry `id` is there.
    #[must_use]
    pub fn has_entry(&self, id: EntryId) -> bool {
        self.entries.contains(id)
    }

    /// The entries that a workload with `facts` matches, on whatever node, oldest first.
    #[must_use]
    pub fn matching(&self, facts: &[Selector]) -> Vec<EntryId> {
        self.entries.matching(facts)
    }

    /// Name and last change of every entry, oldest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = (EntryId, Seq)> {
        self.entries.names()
    }

    /// Name and last change of the entries that are over at `now`, oldest first.
    pub(crate) fn entries_over(&self, now: UnixTime) -> Vec<(EntryId, Seq)> {
        self.entries.over(now)
    }

    /// The hash over the entries that `node` may serve: their ids and last changes.
    #[must_use]
    pub fn digest(&self, node: &SpiffeId) -> SetHash {
        self.entries.digest(node)
    }

    /// What changed last.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// When entries were used last, as far as that is written.
    pub(crate) fn uses(&self) -> &Uses {
        &self.uses
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

    /// The entry that says what `entry` says: same identity, same parent, same selectors.
    pub(crate) fn said_by(&self, entry: &Entry) -> Option<EntryId> {
        self.entries.said_by(entry)
    }

    /// Whether an entry gives `id`.
    pub(crate) fn is_identity_of_entry(&self, id: &SpiffeId) -> bool {
        self.entries.is_given(id) || self.templates.values().any(|template| template.could_give(id))
    }

    /// How many entries are templates.
    pub(crate) fn template_count(&self) -> usize {
        self.templates.len()
    }

    /// Whether the entry `id` is a template.
    pub(crate) fn is_template(&self, id: EntryId) -> bool {
        self.templates.contains_key(&id)
    }

    /// The hash over the entries of `node` without those that are templates: what agents hold that know of none.
    #[must_use]
    pub fn digest_without_templates(&self, node: &SpiffeId) -> SetHash {
        let mut digest = self.digest(node);
        let of_node = |entry: &Arc<Entry>| entry.parent_id.as_ref().is_none_or(|parent| parent == node);
        let templates = self.templates.keys().filter_map(|id| self.entry(*id));
        for entry in templates.filter(of_node) {
            digest.remove(entry.id.as_bytes(), entry.seq.0);
        }
        digest
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
    pub fn assigned(&self, node: &SpiffeId) -> impl Iterator<Item = Arc<Entry>> {
        self.entries.assigned(node).map(Arc::new)
    }

    /// The names of what [`assigned`](Self::assigned) gives, in the same order.
    #[must_use]
    pub fn assigned_names(&self, node: &SpiffeId) -> Vec<EntryId> {
        self.entries.assigned_names(node)
    }

    /// The entries that the node `node` may serve at `now`, oldest first: the order is the same for every caller
    /// and every server, so the first identity of a workload stays the first.
    #[must_use]
    pub fn authorized(&self, node: &SpiffeId, now: UnixTime) -> Vec<Arc<Entry>> {
        self.assigned(node)
            .filter(|entry| entry.is_live_at(now))
            .collect()
    }

    /// Decides whether the node `node` may obtain what `action` names for a workload of entry `id`, of which the node's
    /// agent says `claims`.
    #[must_use]
    pub fn entitlement(
        &self,
        node: &SpiffeId,
        id: EntryId,
        claims: &Claims,
        action: Action,
        now: UnixTime,
    ) -> Entitlement {
        let request = |resource| Request::new(Principal::Spiffe(node.clone()), action, resource);
        let deny = |resource, needed: &str| Entitlement {
            decision: Decision::deny(request(resource), vec![needed.to_owned()]),
            entry: None,
            spiffe_id: None,
            claim: None,
        };
        let unnamed = || Resource::one("entry", id.to_string());
        // An entry that the node may not have is answered like one that is not there.
        let Some(entry) = self.entry(id) else {
            return deny(unnamed(), "an entry of that name");
        };
        // Only what this node's facts give is ever named.
        let given = entry.identity_on(node, claims);
        let resource = given.as_ref().map_or_else(|_| unnamed(), Resource::identity);
        if let Some(why) = self.node_obstacle(node) {
            return deny(resource, why);
        }
        if entry.parent_id.as_ref().is_some_and(|parent| parent != node) {
            return deny(resource, "the entry's parent is this node, or every node");
        }
        if !entry.is_live_at(now) {
            return deny(resource, "a later end of the entry");
        }
        let spiffe_id = match given {
            Ok(id) => id,
            Err(error) => {
                return Entitlement {
                    claim: Some(error.clone()),
                    ..deny(resource, &error.to_string())
                };
            }
        };
        if spiffe_id.is_reserved() || self.node(&spiffe_id).is_some() {
            return deny(resource, "an identity that is no node's and not below /signet");
        }
        let because = match entry.spiffe_id.template() {
            None => format!("entry {id} gives it to workloads of this node"),
            Some(template) => format!("entry {id} gives it to workloads of this node by `{template}`"),
        };
        Entitlement {
            decision: Decision::allow(request(resource), "entries", because),
            entry: Some(entry),
            spiffe_id: Some(spiffe_id),
            claim: None,
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

    fn put_entry(&mut self, entry: &Entry) -> Option<()> {
        self.recent.put(self.entries.get(entry.id).as_ref(), entry);
        self.remove_entry(entry.id);
        if let Some(template) = entry.spiffe_id.template() {
            self.templates.insert(entry.id, template.clone());
        }
        self.entries.insert(entry)
    }

    fn remove_entry(&mut self, id: EntryId) {
        self.entries.remove(id);
        self.templates.remove(&id);
    }

    fn put(&mut self, kind: Kind, key: &Bytes, seq: Seq, body: &[u8]) -> Option<()> {
        let hash = || key.as_ref().try_into().ok();
        match kind {
            ENTRY => self.put_entry(&Entry::from_body(key, seq, body)?)?,
            NODE => {
                let node = Node::from_body(key, seq, body)?;
                self.recent.node(seq, &node.id);
                self.nodes.insert(hash()?, Arc::new(node));
            }
            ENTRY_USES => self.uses.put(key, seq, body)?,
            USE_WATCH => self.uses.put_watch(seq, body)?,
            _ => {
                let token = JoinToken::from_body(key, seq, body)?;
                self.tokens.insert(hash()?, Arc::new(token));
            }
        }
        Some(())
    }

    fn remove(&mut self, kind: Kind, key: &[u8], seq: Seq) -> Option<()> {
        match kind {
            ENTRY => {
                let id = EntryId::from_slice(key)?;
                if let Some(entry) = self.entries.get(id) {
                    self.recent.removed(seq, &entry);
                }
                self.remove_entry(id);
            }
            NODE => {
                if let Some(node) = self.nodes.remove::<[u8; 32]>(key.try_into().ok()?) {
                    self.recent.node(seq, &node.id);
                }
            }
            ENTRY_USES => self.uses.remove(key)?,
            USE_WATCH => self.uses.remove_watch(),
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

    /// Entries, nodes and tokens are each kept under their own keys, and none is looked at for another's sake.
    fn takes_any_order(&self) -> bool {
        true
    }

    fn expect(&mut self, rows: usize) {
        self.entries.reserve(rows);
    }

    fn past(&self) -> Option<PastWish> {
        Some(PastWish {
            changes_max: PAST_MAX,
            kind: ENTRY,
            back_max: BACK_MAX,
        })
    }

    fn recall(&mut self, past: &Past) -> Result<(), FoldError> {
        self.recent.recall(past);
        Ok(())
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
            None => self.remove(change.kind, &change.key, seq),
        };
        done.ok_or_else(|| fold::malformed(seq, change, "not a record of this kind"))
    }

    fn reached(&mut self, place: &Cursor) {
        self.recent.reached(place);
    }
}
