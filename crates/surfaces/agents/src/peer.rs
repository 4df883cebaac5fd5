//! Who is at the other end, as far as a call needs it.

use crate::AgentsError;
use crate::agents::Agents;
use signet_crypto::PublicKey;
use signet_decision::{Action, Verdict};
use signet_id::SpiffeId;
use signet_time::UnixTime;
use signet_tls::PeerIdentity;
use signet_x509::Certificate;
use tonic::Extensions;

/// A node whose SVID was shown, still good.
#[derive(Clone, Debug)]
pub(crate) struct NodePeer {
    pub(crate) id: SpiffeId,
    /// The end of the SVID that this connection was opened with.
    pub(crate) not_after: UnixTime,
    /// The begin of that SVID.
    not_before: UnixTime,
    /// Since when the node is who it is: when it last proved itself.
    pub(crate) attested_at: UnixTime,
}

/// The key that a connection proved to hold, and nothing more.
pub(crate) fn proof(extensions: &Extensions) -> Result<&PublicKey, AgentsError> {
    match extensions.get::<PeerIdentity>() {
        Some(PeerIdentity::ProofOfPossession(key)) => Ok(key),
        Some(PeerIdentity::Spiffe(_)) => Err(AgentsError::NotAProof),
        _ => Err(AgentsError::NoIdentity),
    }
}

impl NodePeer {
    /// The node behind a connection, and that it may do `action` now.
    pub(crate) fn of(extensions: &Extensions, agents: &Agents, action: Action) -> Result<Self, AgentsError> {
        let svid = match extensions.get::<PeerIdentity>() {
            Some(PeerIdentity::Spiffe(svid)) => svid,
            Some(PeerIdentity::ProofOfPossession(_)) => return Err(AgentsError::OnlyAttest),
            _ => return Err(AgentsError::NoIdentity),
        };
        let leaf = Certificate::parse(&svid.leaf).map_err(AgentsError::Certificate)?;
        let mut peer = Self {
            id: svid.id.clone(),
            not_after: svid.not_after,
            not_before: leaf.not_before(),
            attested_at: UnixTime::EPOCH,
        };
        peer.attested_at = peer.admitted(agents, action)?;
        Ok(peer)
    }

    /// The node that was let in, and that it may still do `action`: its message may have taken its time.
    pub(crate) fn admitted_at_gate(
        extensions: &Extensions,
        agents: &Agents,
        action: Action,
    ) -> Result<Self, AgentsError> {
        let mut peer = extensions.get::<Self>().ok_or(AgentsError::NoIdentity)?.clone();
        peer.attested_at = peer.admitted(agents, action)?;
        Ok(peer)
    }

    /// Whether the node may do `action` now. A connection outlives what its handshake proved, so each call asks.
    pub(crate) fn check(&self, agents: &Agents, action: Action) -> Result<(), AgentsError> {
        self.admitted(agents, action).map(drop)
    }

    /// When the node last proved itself, if it may do `action` now.
    fn admitted(&self, agents: &Agents, action: Action) -> Result<UnixTime, AgentsError> {
        let now = agents.clock.now();
        if now >= self.not_after {
            let late_s = now.since(self.not_after).as_secs();
            return Err(AgentsError::SvidExpired { late_s });
        }
        let (decision, attested_at) = agents.registry.read(|state| {
            let attested_at = state.node(&self.id).map(|node| node.attested_at);
            (state.node_entitlement(&self.id, action), attested_at)
        });
        let attested_at = match (decision.verdict(), attested_at) {
            (Verdict::Allow, Some(at)) => at,
            _ => {
                let needs = decision.would_allow().join(" and ");
                return Err(AgentsError::NotAdmitted { needs });
            }
        };
        // An SVID that the node got before it was evicted, or before its name went to another key, is void.
        if self.not_before + signet_authority::limits::BACKDATE < attested_at.floor_secs() {
            return Err(AgentsError::SvidSuperseded);
        }
        Ok(attested_at)
    }
}
