use crate::admitted::sealed::Sealed;
use crate::{Context, IssueError};
use core::time::Duration;
use signet_crypto::{SignatureEncoding, digest};
use signet_id::SpiffeId;
use signet_jose::Unsigned;
use signet_keys::IssuingKey;
use signet_time::UnixTime;

/// A request for a JWT-SVID.
#[derive(Clone, Debug)]
pub struct JwtRequest {
    /// The identity, as the entry has it.
    pub id: SpiffeId,
    /// Whom it is for, as the workload asked.
    pub audiences: Vec<String>,
    /// The audiences that the entry allows; empty means any.
    pub allowed_audiences: Vec<String>,
    /// How long it is to live.
    pub ttl: Duration,
    /// For the record.
    pub context: Context,
}

/// A JWT-SVID as it leaves. A bearer secret: its `Debug` does not show the token.
pub struct JwtSvid {
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

impl core::fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("JwtSvid")
            .field("id", &self.id)
            .field("jti", &self.jti)
            .finish_non_exhaustive()
    }
}

/// A JWT-SVID that lacks only its signature.
pub struct Pending {
    pub(crate) id: SpiffeId,
    pub(crate) expires_at: UnixTime,
    issued_at: UnixTime,
    jti: String,
    unsigned: Unsigned,
}

/// What the token says.
pub(crate) struct Claims<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) id: SpiffeId,
    pub(crate) audiences: &'a [String],
    pub(crate) jti: String,
    pub(crate) issued_at: UnixTime,
    pub(crate) expires_at: UnixTime,
}

/// The exact bytes to be signed. The header holds `alg`, `kid` and `typ` and nothing else (JWT-SVID §2).
pub(crate) fn pending(key: &IssuingKey, claims: &Claims<'_>) -> Result<Pending, IssueError> {
    let algorithm = key.jws_algorithm();
    let body = serde_json::json!({
        "iss": claims.issuer,
        "sub": claims.id.as_str(),
        // Always a list, so that no reader meets two forms.
        "aud": claims.audiences,
        "exp": claims.expires_at.as_secs(),
        "iat": claims.issued_at.as_secs(),
        "jti": claims.jti,
    });
    Ok(Pending {
        unsigned: Unsigned::new(algorithm, key.kid(), Some("JWT"), &body).map_err(IssueError::Jose)?,
        id: claims.id.clone(),
        expires_at: claims.expires_at,
        issued_at: claims.issued_at,
        jti: claims.jti.clone(),
    })
}

/// Signs `unsigned` with `key`: the token, and the SHA-256 of it.
pub(crate) async fn sign(unsigned: Unsigned, key: &IssuingKey) -> Result<(String, [u8; 32]), IssueError> {
    let algorithm = unsigned.algorithm().signature_algorithm();
    let signature = key
        .signer()
        .map_err(IssueError::Keys)?
        .sign(algorithm, SignatureEncoding::Fixed, unsigned.signing_input())
        .await
        .map_err(IssueError::Sign)?;
    let token = unsigned.assemble(&signature);
    let hash = digest::sha256(token.as_bytes());
    Ok((token, hash))
}

impl Sealed for JwtSvid {
    type Pending = Pending;

    async fn sign(pending: Pending, key: &IssuingKey) -> Result<(Self, [u8; 32]), IssueError> {
        let (token, hash) = sign(pending.unsigned, key).await?;
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
