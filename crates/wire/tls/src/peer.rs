use crate::TlsError;
use rustls::{CommonState, ConnectionCommon};
use signet_check::machine::Binding;
use signet_check::x509::{VerifiedX509Svid, danger};
use signet_crypto::PublicKey;
use signet_id::{SpiffeId, TrustDomain};
use signet_x509::Certificate;
use std::fmt;

/// Who a client must prove to be talking to.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRule {
    /// This identity and no other.
    ExactId(SpiffeId),
    /// An identity of the view's own trust domain whose path begins so: `/signet/server/`. Give the slash at the end.
    PathPrefix(String),
    /// Any identity of this trust domain.
    AnyOfTrustDomain(TrustDomain),
}

impl PeerRule {
    /// The servers of one's own trust domain: what agents insist on.
    #[must_use]
    pub fn server() -> Self {
        Self::PathPrefix(SERVER_PREFIX.to_owned())
    }

    pub(crate) fn admits(&self, id: &SpiffeId, own: &TrustDomain) -> bool {
        match self {
            Self::ExactId(wanted) => id == wanted,
            Self::PathPrefix(prefix) => {
                id.trust_domain() == own
                    && id
                        .path()
                        .strip_prefix(prefix.as_str())
                        .is_some_and(|rest| !rest.is_empty())
            }
            Self::AnyOfTrustDomain(domain) => id.trust_domain() == domain,
        }
    }
}

/// Below this path stand the servers of a trust domain.
pub const SERVER_PREFIX: &str = "/signet/server/";

impl fmt::Display for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExactId(id) => write!(f, "`{id}`"),
            Self::PathPrefix(prefix) => write!(f, "an id below `{prefix}` of the own trust domain"),
            Self::AnyOfTrustDomain(domain) => write!(f, "an id of `{domain}`"),
        }
    }
}

/// Who is at the other end of a connection, as its handshake proved.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum PeerIdentity {
    /// An identity, valid when the handshake was.
    Spiffe(VerifiedX509Svid),
    /// Nobody, but the holder of this key: good for `Attest` and nothing else.
    ProofOfPossession(PublicKey),
    /// Nobody.
    None,
}

impl PeerIdentity {
    /// The identity, where there is one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Spiffe(svid) => Some(&svid.id),
            _ => None,
        }
    }
}

/// Who is at the other end of `connection`, whose handshake is complete and whose configuration came from
/// [`crate::ServerTls`] or [`crate::ClientTls`]: their verifiers are what makes the answer true.
///
/// A server's and a client's connection both serve as `connection`.
#[must_use]
pub fn peer_identity(connection: &CommonState) -> PeerIdentity {
    if connection.is_handshaking() {
        return PeerIdentity::None;
    }
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    let Some(Ok(parsed)) = leaf.map(|leaf| Certificate::parse(leaf)) else {
        return PeerIdentity::None;
    };
    if parsed.uri_names().is_empty() {
        return parsed
            .public_key()
            .map_or(PeerIdentity::None, PeerIdentity::ProofOfPossession);
    }
    danger::svid_of_verified_leaf(parsed.der()).map_or(PeerIdentity::None, PeerIdentity::Spiffe)
}

/// What stands for `connection` alone, the same at both of its ends: the channel binding `tls-exporter` (RFC 9266). The
/// handshake must be complete.
///
/// Servers' and clients' connections both serve as `connection`. Only TLS 1.3 makes it unique, and nothing else is
/// spoken here.
///
/// # Errors
/// [`TlsError::Configuration`] before the handshake is complete.
pub fn channel_binding<D>(connection: &ConnectionCommon<D>) -> Result<Binding, TlsError> {
    connection
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .map(Binding)
        .map_err(TlsError::Configuration)
}
