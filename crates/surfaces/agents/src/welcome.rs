//! What a connection gets by what its handshake proved: a node a place for as long as its SVID lasts, anybody else a moment.

use crate::agents::Agents;
use crate::gate::SYNC;
use crate::peer::NodePeer;
use core::hash::BuildHasher as _;
use core::time::Duration;
use http::Extensions;
use signet_net::{ConnectionAge, Guest, Member};
use signet_tls::{PeerIdentity, TlsError, channel_binding, peer_identity};

/// What a peer gets that is no node which may be served: enough to attest over a slow line, or to be told why not.
const STRANGER: Guest = Guest {
    age: Duration::from_secs(60),
    unused: Duration::from_secs(10),
    streams_max: 1,
    window_bytes: 65_535,
};

impl Agents {
    /// What is known of `connection`, for [`signet_net::serve_tls`].
    ///
    /// # Errors
    /// [`TlsError::Configuration`] before the handshake is complete.
    pub fn identify(&self, connection: &rustls::ServerConnection) -> Result<Extensions, TlsError> {
        let peer = peer_identity(connection);
        let is_proof = peer.spiffe_id().is_none();
        let mut extensions = self.welcome(peer);
        if is_proof {
            // What a machine that attests binds its proof to.
            extensions.insert(channel_binding(connection)?);
        }
        Ok(extensions)
    }

    /// What `peer` gets. An identity alone is not enough to stay: each workload of the trust domain has one.
    #[must_use]
    pub fn welcome(&self, peer: PeerIdentity) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(peer);
        match NodePeer::of(&extensions, self, SYNC) {
            Ok(node) => {
                // Hashed under a key that nobody knows, so that no node takes the places of another of its choice.
                extensions.insert(Member(self.member_keys.hash_one(&node.id)));
                // Whoever renewed has connected anew by then.
                extensions.insert(ConnectionAge(node.not_after.since(self.clock.now())));
            }
            Err(_) => {
                extensions.insert(STRANGER);
            }
        }
        extensions
    }
}
