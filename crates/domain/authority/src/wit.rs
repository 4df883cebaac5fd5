use crate::admitted::sealed::Sealed;
use crate::{Context, IssueError, jwt};
use core::time::Duration;
use signet_id::SpiffeId;
use signet_jose::{Confirmation, JwsAlgorithm, Unsigned};
use signet_keys::IssuingKey;
use signet_time::UnixTime;
use signet_x509::Csr;

/// A request for a WIT-SVID.
#[derive(Clone, Debug)]
pub struct WitRequest {
    /// The identity, as the entry has it, or as an operator named it.
    pub id: SpiffeId,
    /// How long it is to live.
    pub ttl: Duration,
    /// The request that proves possession of the workload's key, which the token is bound to. Nothing but the key is
    /// taken from it.
    pub csr: Csr,
    /// For the record.
    pub context: Context,
}

/// A WIT-SVID as it leaves. Worth nothing without the workload's key, yet its `Debug` does not show the token.
pub struct WitSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The token in compact form.
    pub token: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// `jti`.
    pub jti: String,
}

impl core::fmt::Debug for WitSvid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WitSvid")
            .field("id", &self.id)
            .field("jti", &self.jti)
            .finish_non_exhaustive()
    }
}

/// A WIT-SVID that lacks only its signature.
pub struct Pending {
    pub(crate) id: SpiffeId,
    pub(crate) expires_at: UnixTime,
    issued_at: UnixTime,
    jti: String,
    unsigned: Unsigned,
}

/// What the token says.
pub(crate) struct Claims {
    pub(crate) id: SpiffeId,
    pub(crate) confirmation: Confirmation,
    pub(crate) jti: String,
    pub(crate) issued_at: UnixTime,
    pub(crate) expires_at: UnixTime,
}

/// The key of `csr` as one that a WIT-SVID can be bound to, with the usual algorithm of its kind (WIT-SVID §3).
pub(crate) fn confirmation(csr: &Csr) -> Result<Confirmation, IssueError> {
    let kind = csr.public_key.kind();
    Confirmation::new(&csr.public_key, JwsAlgorithm::for_key(kind))
        .map_err(|_| IssueError::WitKey { kind: kind.as_str() })
}

/// The exact bytes to be signed. The header holds `alg`, `kid` and `typ` and nothing else (WIT-SVID §2).
///
/// There is no `aud`, which a WIT-SVID must not have (§3.8), and no `iss`: the issuer of JWT-SVIDs is one that OpenID
/// Connect discovers, and whoever found a key set for WIT-SVIDs that way might take them for bearer tokens (§3.7).
pub(crate) fn pending(key: &IssuingKey, claims: Claims) -> Result<Pending, IssueError> {
    let body = serde_json::json!({
        "sub": claims.id.as_str(),
        "exp": claims.expires_at.as_secs(),
        "iat": claims.issued_at.as_secs(),
        "jti": claims.jti,
        (Confirmation::CLAIM): claims.confirmation.to_value(),
    });
    let unsigned = Unsigned::new(key.jws_algorithm(), key.kid(), Some("wit+jwt"), &body);
    Ok(Pending {
        unsigned: unsigned.map_err(IssueError::Jose)?,
        id: claims.id,
        expires_at: claims.expires_at,
        issued_at: claims.issued_at,
        jti: claims.jti,
    })
}

impl Sealed for WitSvid {
    type Pending = Pending;

    async fn sign(pending: Pending, key: &IssuingKey) -> Result<(Self, [u8; 32]), IssueError> {
        let (token, hash) = jwt::sign(pending.unsigned, key).await?;
        let svid = Self {
            id: pending.id,
            token,
            issued_at: pending.issued_at,
            expires_at: pending.expires_at,
            jti: pending.jti,
        };
        Ok((svid, hash))
    }
}
