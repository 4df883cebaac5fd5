//! Join tokens and the nodes that used them.

use crate::registry::{ATTEMPTS, entry_key};
use crate::state::{ENTRY, JOIN_TOKEN, NODE, SCHEMA};
use crate::validate::workload_id;
use crate::{
    JoinToken, JoinTokenSecret, Node, NodeSvid, Problem, Registry, RegistryError, RegistryState, Step,
    TokenId, limits,
};
use bytes::Bytes;
use core::time::Duration;
use signet_crypto::PublicKey;
use signet_id::SpiffeId;
use signet_store::{Batch, Change, CommitError, Expect, Origin};
use signet_time::{UnixTime, format_duration, parse_duration};
use std::sync::Arc;

/// A join token as somebody asked for it, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinTokenWish {
    /// How long it may be used, such as `10m`; the default is [`limits::JOIN_TTL_DEFAULT`].
    pub ttl: Option<String>,
    /// The node's identity, outside `/signet/`; the default is `/signet/node/join/ID`.
    pub spiffe_id: Option<String>,
}

impl Registry {
    /// Makes a join token. The secret is shown to whoever asked and is nowhere else.
    ///
    /// # Errors
    /// [`RegistryError::InvalidJoinToken`], [`RegistryError::IdentityOfEntry`], and what a commit can meet.
    pub async fn create_join_token(
        &self,
        wish: &JoinTokenWish,
        origin: Origin,
    ) -> Result<(JoinTokenSecret, Arc<JoinToken>), RegistryError> {
        let (spiffe_id, ttl) = self.checked_wish(wish)?;
        if let Some(id) = spiffe_id
            .clone()
            .filter(|id| self.read(|s| s.is_identity_of_entry(id)))
        {
            return Err(RegistryError::IdentityOfEntry { id });
        }
        let secret = JoinTokenSecret::random().map_err(RegistryError::Crypto)?;
        let hash = secret.hash();
        let token = JoinToken {
            id: TokenId::of_hash(&hash),
            spiffe_id,
            created_at: origin.when,
            expires_at: origin.when + ttl,
            created_by: origin.who.clone(),
            bound: None,
            seq: signet_store::Seq::ZERO,
        };
        let batch = Batch::new(origin)
            .with(put_token(&hash, &token))
            .expecting(Expect::absent(JOIN_TOKEN, token_key(&hash)));
        let shown = |state: &RegistryState| state.token_of_hash(&hash).cloned();
        self.settle(batch, |state| shown(state).is_some()).await?;
        Ok((secret, self.read(shown).unwrap_or_else(|| Arc::new(token))))
    }

    fn checked_wish(&self, wish: &JoinTokenWish) -> Result<(Option<SpiffeId>, Duration), RegistryError> {
        let mut problems = Vec::new();
        let id = wish.spiffe_id.as_deref().and_then(|text| {
            workload_id("spiffe_id", text, self.trust_domain())
                .map_err(|problem| problems.push(problem))
                .ok()
        });
        let ttl = wish
            .ttl
            .as_deref()
            .map_or(Ok(limits::JOIN_TTL_DEFAULT), parse_duration);
        match ttl {
            Ok(ttl)
                if (limits::JOIN_TTL_MIN..=limits::JOIN_TTL_MAX).contains(&ttl) && problems.is_empty() =>
            {
                return Ok((id, ttl));
            }
            Ok(ttl) if (limits::JOIN_TTL_MIN..=limits::JOIN_TTL_MAX).contains(&ttl) => {}
            Ok(ttl) => {
                let [ttl, min, max] = [ttl, limits::JOIN_TTL_MIN, limits::JOIN_TTL_MAX].map(format_duration);
                problems.push(Problem::new(
                    "ttl",
                    format_args!("{ttl} is outside {min} to {max}"),
                ));
            }
            Err(e) => problems.push(Problem::new("ttl", e)),
        }
        Err(RegistryError::InvalidJoinToken(problems))
    }

    /// Registers the node that shows the join token `token` and proved that it holds the private half of `key`.
    ///
    /// The token binds to the first key in the same commit that registers the node, on condition that nobody touched
    /// the token meanwhile: of two keys at the same instant exactly one wins. The same key may come again until the
    /// token expires, and gets the same answer.
    ///
    /// # Errors
    /// [`RegistryError::JoinTokenUnknown`], [`RegistryError::JoinTokenExpired`], [`RegistryError::JoinTokenBound`],
    /// [`RegistryError::NodeBanned`], [`RegistryError::IdentityOfEntry`], and what a commit can meet.
    pub async fn attest_with_token(
        &self,
        token: &str,
        key: &PublicKey,
        now: UnixTime,
    ) -> Result<Arc<Node>, RegistryError> {
        let secret = JoinTokenSecret::parse(token).ok_or(RegistryError::JoinTokenUnknown)?;
        let (hash, key) = (secret.hash(), key.fingerprint());
        let mut unanswered = None;
        for _ in 0..ATTEMPTS {
            let batch = match self.read(|state| self.binding(state, &hash, key, now))? {
                Binding::Done(node) => return Ok(node),
                Binding::Commit(batch) => batch,
            };
            match self.followed().log().commit(*batch).await {
                // The next round finds it done, or says why it is not.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(e @ CommitError::Unknown(_)) => unanswered = Some(e),
                Err(e) => return Err(unanswered.map_or(RegistryError::Commit(e), RegistryError::Unknown)),
            }
            self.catch_up().await?;
        }
        Err(unanswered.map_or(
            RegistryError::Contended { attempts: ATTEMPTS },
            RegistryError::Unknown,
        ))
    }

    /// What is to be done for `key` to be bound to the token, seen from `state`.
    fn binding(
        &self,
        state: &RegistryState,
        hash: &[u8; 32],
        key: [u8; 32],
        now: UnixTime,
    ) -> Result<Binding, RegistryError> {
        let token = state.token_of_hash(hash).ok_or(RegistryError::JoinTokenUnknown)?;
        if now >= token.expires_at {
            let late_s = now.since(token.expires_at).as_secs();
            return Err(RegistryError::JoinTokenExpired { late_s });
        }
        if token.bound.is_some_and(|(first, _)| first != key) {
            return Err(RegistryError::JoinTokenBound);
        }
        let id = token.node_id(self.trust_domain());
        if state.is_identity_of_entry(&id) {
            return Err(RegistryError::IdentityOfEntry { id });
        }
        let known = state.node(&id);
        if known.is_some_and(|node| node.banned.is_some()) {
            return Err(RegistryError::NodeBanned { id });
        }
        if let Some(node) = known.filter(|node| node.join_token == Some(token.id) && token.bound.is_some()) {
            return Ok(Binding::Done(node.clone()));
        }
        let node = Node {
            id: id.clone(),
            public_key_sha256: key,
            attestor: "join".to_owned(),
            join_token: Some(token.id),
            attested_at: now,
            svid: None,
            banned: None,
            renewals: known.map(|node| node.renewals).unwrap_or_default(),
            seq: signet_store::Seq::ZERO,
        };
        let bound = JoinToken {
            bound: token.bound.or(Some((key, now))),
            ..JoinToken::clone(token)
        };
        let why = format!("join token {}", token.id);
        let batch = Batch::new(Origin::new(id.as_str(), why, now))
            .with(put_token(hash, &bound))
            .with(put_node(&node))
            .expecting(Expect::at(JOIN_TOKEN, token_key(hash), token.seq))
            .expecting(Expect {
                kind: NODE,
                key: Node::key(&id),
                seq: known.map(|node| node.seq),
            });
        Ok(Binding::Commit(Box::new(batch)))
    }

    /// The node `id`, which proved itself by a machine certificate, with the public key `key` from now on. `why` names
    /// the certificate, for the log.
    ///
    /// The certificate proves the same node again and again: with the same key nothing changes; with another one, as
    /// after a node lost its state, what was issued to the earlier one is void. A banned node stays out. An evicted one
    /// is forgotten as any other and may prove itself anew.
    ///
    /// # Errors
    /// [`RegistryError::NodeBanned`]; [`RegistryError::IdentityOfEntry`] and [`RegistryError::IdentityOfNode`] where the
    /// identity is somebody else's; what a commit can meet.
    pub async fn attest_with_certificate(
        &self,
        id: &SpiffeId,
        key: &PublicKey,
        why: &str,
        now: UnixTime,
    ) -> Result<Arc<Node>, RegistryError> {
        let key = key.fingerprint();
        for _ in 0..ATTEMPTS {
            let known = self.read(|state| certified(state, id))?;
            if let Some(node) = known.clone().filter(|node| node.public_key_sha256 == key) {
                return Ok(node);
            }
            let node = Node {
                id: id.clone(),
                public_key_sha256: key,
                attestor: X509POP.to_owned(),
                join_token: None,
                attested_at: now,
                svid: None,
                banned: None,
                renewals: known.as_ref().map(|node| node.renewals).unwrap_or_default(),
                seq: signet_store::Seq::ZERO,
            };
            let batch = Batch::new(Origin::new(id.as_str(), why, now))
                .with(put_node(&node))
                .expecting(Expect {
                    kind: NODE,
                    key: Node::key(id),
                    seq: known.map(|node| node.seq),
                });
            let landed = |state: &RegistryState| {
                let found = state.node(id);
                found.is_some_and(|found| found.public_key_sha256 == key && found.attested_at == now)
            };
            match self.settle(batch, landed).await {
                // The next round finds it done, or says why it is not.
                Ok(()) | Err(RegistryError::Changed) => {}
                Err(e) => return Err(e),
            }
        }
        Err(RegistryError::Contended { attempts: ATTEMPTS })
    }

    /// The node `id`, if `key`, of which the caller proved that it holds the private half, is its newest.
    ///
    /// This is how a node comes back whose SVID opens no door any more. It changes nothing: the node remains as it
    /// attested itself, and what it may have is decided as for everybody.
    ///
    /// # Errors
    /// [`RegistryError::NodeKeyUnknown`] for a node that is unknown as for one with another key;
    /// [`RegistryError::NodeBanned`], said to the holder of the key alone.
    pub fn attest_with_key(&self, id: &SpiffeId, key: &PublicKey) -> Result<Arc<Node>, RegistryError> {
        let key = key.fingerprint();
        let node = self.read(|state| state.node(id).cloned());
        match node.filter(|node| node.public_key_sha256 == key) {
            None => Err(RegistryError::NodeKeyUnknown { id: id.clone() }),
            Some(node) if node.banned.is_some() => Err(RegistryError::NodeBanned { id: id.clone() }),
            Some(node) => Ok(node),
        }
    }

    /// Remembers the newest SVID of a node and the key it was issued for, on condition that the node is still the
    /// one that attested itself at `issue.attested_at`: what was begun for a node that was evicted meanwhile, and joined
    /// with another key, changes nothing of the new one.
    ///
    /// # Errors
    /// [`RegistryError::NodeUnknown`], [`RegistryError::NodeKeyUnknown`] if it attested itself anew,
    /// [`RegistryError::NodeBanned`], [`RegistryError::Changed`], and what a commit can meet.
    pub async fn record_node_svid(
        &self,
        id: &SpiffeId,
        issue: NodeIssue<'_>,
        now: UnixTime,
    ) -> Result<Arc<Node>, RegistryError> {
        let public_key_sha256 = issue.key.fingerprint();
        let epoch = self
            .read(|state| state.recent().place())
            .map(|place| place.epoch)
            .unwrap_or_default();
        let change = |node: &Node| {
            if node.banned.is_some() {
                return Err(RegistryError::NodeBanned { id: id.clone() });
            }
            if node.attested_at != issue.attested_at {
                return Err(RegistryError::NodeKeyUnknown { id: id.clone() });
            }
            Ok(Node {
                public_key_sha256,
                svid: Some(issue.svid.clone()),
                renewals: node.renewals.after(issue.step, epoch, now),
                ..node.clone()
            })
        };
        self.change_node(id, Origin::new(id.as_str(), "node svid issued", now), change)
            .await
    }

    /// Bans a node: it gets nothing more and may not join again, until it is evicted. What it holds stays valid
    /// until it expires.
    ///
    /// # Errors
    /// [`RegistryError::NodeUnknown`], [`RegistryError::Reason`], and what a commit can meet.
    pub async fn ban_node(
        &self,
        id: &SpiffeId,
        reason: &str,
        origin: Origin,
    ) -> Result<Arc<Node>, RegistryError> {
        let max = limits::REASON_BYTES_MAX;
        if !(1..=max).contains(&reason.len()) {
            return Err(RegistryError::Reason { max });
        }
        let banned = Some((origin.when, reason.to_owned()));
        let change = |node: &Node| {
            Ok(Node {
                banned: node.banned.clone().or_else(|| banned.clone()),
                ..node.clone()
            })
        };
        self.change_node(id, origin, change).await
    }

    /// Forgets a node, banned or not, and the join tokens that it used: it comes back only with a new one.
    ///
    /// # Errors
    /// [`RegistryError::NodeUnknown`], [`RegistryError::Changed`], and what a commit can meet.
    pub async fn evict_node(&self, id: &SpiffeId, origin: Origin) -> Result<(), RegistryError> {
        let node = self.known_node(id)?;
        let mut batch = Batch::new(origin)
            .with(Change::delete(NODE, SCHEMA, Node::key(id)))
            .expecting(Expect::at(NODE, Node::key(id), node.seq));
        // Every one, not the newest alone: an older token for the same identity is as good until it expires. A token
        // that binds at the same instant writes the node too, so that one of the two commits finds it changed.
        self.read(|state| {
            let used = state
                .token_hashes()
                .filter(|(_, token)| token.bound.is_some() && token.node_id(self.trust_domain()) == *id);
            for (hash, token) in used {
                let key = token_key(hash);
                batch
                    .changes
                    .push(Change::delete(JOIN_TOKEN, SCHEMA, key.clone()));
                batch.expect.push(Expect::at(JOIN_TOKEN, key, token.seq));
            }
        });
        self.settle(batch, |state| state.node(id).is_none()).await
    }

    fn known_node(&self, id: &SpiffeId) -> Result<Arc<Node>, RegistryError> {
        self.read(|state| state.node(id).cloned())
            .ok_or_else(|| RegistryError::NodeUnknown { id: id.clone() })
    }

    async fn change_node(
        &self,
        id: &SpiffeId,
        origin: Origin,
        change: impl Fn(&Node) -> Result<Node, RegistryError>,
    ) -> Result<Arc<Node>, RegistryError> {
        for _ in 0..ATTEMPTS {
            let old = self.known_node(id)?;
            let new = change(&old)?;
            let batch = Batch::new(origin.clone())
                .with(put_node(&new))
                .expecting(Expect::at(NODE, Node::key(id), old.seq));
            let landed = |state: &RegistryState| {
                state.node(id).is_some_and(|now| {
                    Node {
                        seq: now.seq,
                        ..new.clone()
                    } == **now
                })
            };
            match self.settle(batch, landed).await {
                Ok(()) => return self.known_node(id),
                Err(RegistryError::Changed) => {}
                Err(e) => return Err(e),
            }
        }
        Err(RegistryError::Contended { attempts: ATTEMPTS })
    }

    /// Commits a change that changes nothing: to find out whether the log takes changes.
    ///
    /// # Errors
    /// [`RegistryError::Commit`].
    pub async fn try_write(&self, now: UnixTime) -> Result<(), RegistryError> {
        // No token has this hash.
        let key = Bytes::from_static(&[0; 32]);
        let batch = Batch::new(Origin::new("system", "whether changes are taken", now))
            .with(Change::delete(JOIN_TOKEN, SCHEMA, key));
        let taken = self.followed().log().commit(batch).await;
        taken.map(drop).map_err(RegistryError::Commit)
    }

    /// Removes what is over at `now`: expired entries and join tokens, and nodes that had no valid SVID for
    /// [`NODE_KEPT`]; banned ones stay. At most one commit; returns how many records went.
    ///
    /// # Errors
    /// What a commit can meet. [`RegistryError::Changed`] means that somebody was faster: the next sweep has another
    /// look.
    pub async fn sweep(&self, now: UnixTime) -> Result<usize, RegistryError> {
        let mut batch = Batch::new(Origin::new("system", "expired", now));
        self.read(|state| {
            let entries = state.entries_over(now).into_iter();
            let tokens = state.token_hashes().filter(|(_, token)| now >= token.expires_at);
            let nodes = state.nodes();
            let nodes = nodes.iter().filter(|node| is_gone(node, now));
            let gone = entries
                .map(|(id, seq)| (ENTRY, entry_key(id), seq))
                .chain(tokens.map(|(hash, token)| (JOIN_TOKEN, token_key(hash), token.seq)))
                .chain(nodes.map(|node| (NODE, Node::key(&node.id), node.seq)));
            for (kind, key, seq) in gone.take(limits::ENTRIES_PER_COMMIT_MAX) {
                batch.changes.push(Change::delete(kind, SCHEMA, key.clone()));
                batch.expect.push(Expect::at(kind, key, seq));
            }
        });
        let count = batch.changes.len();
        if count > 0 {
            // Whether an unanswered sweep landed is for the next one to see.
            self.settle(batch, |_| false).await?;
        }
        Ok(count)
    }
}

/// An SVID that is on its way to a node.
#[derive(Clone, Debug)]
pub struct NodeIssue<'a> {
    /// When the node that it is for attested itself.
    pub attested_at: UnixTime,
    /// What the certificate is for.
    pub key: &'a PublicKey,
    /// What is remembered of it.
    pub svid: NodeSvid,
    /// How it follows on the one before.
    pub step: Step,
}

/// How long a node is remembered after its last SVID ended.
pub const NODE_KEPT: Duration = Duration::from_secs(30 * 86_400);

fn is_gone(node: &Node, now: UnixTime) -> bool {
    let end = node.svid.as_ref().map_or(node.attested_at, |svid| svid.not_after);
    node.banned.is_none() && now >= end + NODE_KEPT
}

enum Binding {
    Done(Arc<Node>),
    Commit(Box<Batch>),
}

/// The node that a machine certificate proved to be `id` before, if that may be.
fn certified(state: &RegistryState, id: &SpiffeId) -> Result<Option<Arc<Node>>, RegistryError> {
    if state.is_identity_of_entry(id) {
        return Err(RegistryError::IdentityOfEntry { id: id.clone() });
    }
    match state.node(id) {
        Some(node) if node.banned.is_some() => Err(RegistryError::NodeBanned { id: id.clone() }),
        Some(node) if node.attestor != X509POP => Err(RegistryError::IdentityOfNode { id: id.clone() }),
        known => Ok(known.cloned()),
    }
}

/// What nodes are attested by that proved themselves with a machine certificate.
const X509POP: &str = "x509pop";

fn token_key(hash: &[u8; 32]) -> Bytes {
    Bytes::copy_from_slice(hash)
}

fn put_token(hash: &[u8; 32], token: &JoinToken) -> Change {
    Change::put(JOIN_TOKEN, SCHEMA, token_key(hash), token.to_body())
}

fn put_node(node: &Node) -> Change {
    Change::put(NODE, SCHEMA, Node::key(&node.id), node.to_body())
}
