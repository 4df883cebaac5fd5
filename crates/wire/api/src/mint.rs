//! Credentials on the word of an operator.

use core::time::Duration;
use serde::{Deserialize, Serialize};
use signet_id::SpiffeId;
use signet_time::UnixTime;

/// A wish for an X.509-SVID of any identity of the trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintX509Request {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The certificate request as PEM. Nothing but its key is taken from it, and the server never sees the private one.
    pub csr: String,
    /// DNS names for the certificate.
    #[serde(default)]
    pub dns_names: Vec<String>,
    /// How long it is to live; the server's default where null.
    #[serde(default, with = "crate::span::optional")]
    pub ttl: Option<Duration>,
    /// What it is for. It stands in the record.
    pub reason: String,
}

/// A minted X.509-SVID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintX509Reply {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The serial number in hexadecimal digits, as the record has it.
    pub serial: String,
    /// From when on it is valid.
    pub not_before: UnixTime,
    /// Until when it is valid.
    pub not_after: UnixTime,
    /// The leaf, then the intermediates, as PEM.
    pub x509_svid: String,
    /// The roots as PEM.
    pub bundle: String,
}

/// A wish for a JWT-SVID of any identity of the trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintJwtRequest {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// Whom it is for; at least one.
    pub audience: Vec<String>,
    /// How long it is to live; the server's default where null.
    #[serde(default, with = "crate::span::optional")]
    pub ttl: Option<Duration>,
    /// What it is for. It stands in the record.
    pub reason: String,
}

/// A minted JWT-SVID. A bearer secret: its `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintJwtReply {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The `jti`, as the record has it.
    pub jti: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// The token in compact form.
    pub svid: String,
}

impl core::fmt::Debug for MintJwtReply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MintJwtReply")
            .field("spiffe_id", &self.spiffe_id)
            .field("jti", &self.jti)
            .finish_non_exhaustive()
    }
}

/// A wish for a WIT-SVID of any identity of the trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MintWitRequest {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The certificate request as PEM. Nothing but its key is taken from it, which the token is bound to; the server
    /// never sees the private one.
    pub csr: String,
    /// How long it is to live; the server's default where null.
    #[serde(default, with = "crate::span::optional")]
    pub ttl: Option<Duration>,
    /// What it is for. It stands in the record.
    pub reason: String,
}

/// A minted WIT-SVID. Worth nothing without the key that it is bound to, yet its `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintWitReply {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The `jti`, as the record has it.
    pub jti: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// The token in compact form.
    pub svid: String,
}

impl core::fmt::Debug for MintWitReply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MintWitReply")
            .field("spiffe_id", &self.spiffe_id)
            .field("jti", &self.jti)
            .finish_non_exhaustive()
    }
}
