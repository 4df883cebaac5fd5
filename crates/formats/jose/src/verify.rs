use crate::claims::{Registered, check_window};
use crate::compact::{HeaderJwk, Parts, split_unverified};
use crate::error::shown;
use crate::{JoseError, JwsAlgorithm, KeyHint, KeyResolver, KidRule, Leeway, Profile};
use serde_json::{Map, Value};
use signet_crypto::{CryptoError, SignatureEncoding};
use signet_time::UnixTime;

/// A token that met its profile. Made only by [`verify`].
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Verified {
    /// The header's `kid`.
    pub kid: Option<String>,
    /// The algorithm that the signature was checked with.
    pub algorithm: JwsAlgorithm,
    /// The header's `typ`, as it was sent.
    pub typ: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`, as a list.
    pub audiences: Vec<String>,
    /// `exp`.
    pub exp: UnixTime,
    /// `iat`.
    pub iat: Option<UnixTime>,
    /// `nbf`.
    pub nbf: Option<UnixTime>,
    /// All claims, the registered ones included.
    pub claims: Map<String, Value>,
}

impl Verified {
    /// Checks the times once more, with less leeway or at a later time: for a verifier that learns only from the
    /// token how far to trust its issuer's clock, or that keeps what it verified.
    ///
    /// # Errors
    /// [`JoseError::Expired`] and [`JoseError::Early`].
    pub fn check_at(&self, leeway: Leeway, now: UnixTime) -> Result<(), JoseError> {
        check_window(self.exp, self.nbf, self.iat, leeway, now)
    }
}

/// Checks `token` against `profile` with a key out of `keys`.
///
/// In this order: size and form, header, algorithm and `typ`, key, signature, then claims. So what an error tells
/// about claims is told only about tokens that were really signed by a known key.
///
/// # Errors
/// [`JoseError`], one variant for each rule.
pub fn verify(
    token: &str,
    profile: &Profile,
    keys: &dyn KeyResolver,
    now: UnixTime,
) -> Result<Verified, JoseError> {
    let header_jwk = if profile.takes_header_jwk() {
        HeaderJwk::Taken
    } else {
        HeaderJwk::Refused
    };
    let Parts {
        header,
        payload,
        signing_input,
        signature,
    } = split_unverified(token, profile.bytes_max(), header_jwk)?;
    let algorithm = JwsAlgorithm::parse(&header.alg)
        .filter(|algorithm| profile.algorithms.contains(*algorithm))
        .ok_or_else(|| JoseError::Algorithm {
            found: shown(&header.alg),
        })?;
    if !profile.kind.typ().takes(header.typ.as_deref()) {
        return Err(JoseError::Typ {
            found: shown(header.typ.as_deref().unwrap_or_default()),
        });
    }
    if header.kid.is_none() && profile.kid == KidRule::Required {
        return Err(JoseError::KidMissing);
    }
    let registered = Registered::read(&payload)?;
    let hint = KeyHint {
        kid: header.kid.as_deref(),
        algorithm,
        issuer: registered.issuer,
        subject: registered.subject,
        header_jwk: header.jwk.as_ref(),
    };
    let resolved = keys.resolve(&hint)?;
    if !resolved.algorithm.is_same_as(algorithm) {
        return Err(JoseError::KeyAlgorithm {
            header: algorithm,
            key: resolved.algorithm,
        });
    }
    resolved
        .key
        .verify(
            algorithm.signature_algorithm(),
            SignatureEncoding::Fixed,
            signing_input.as_bytes(),
            &signature,
        )
        .map_err(|error| match error {
            CryptoError::Mismatch { kind, .. } => JoseError::KeyAlgorithm {
                header: algorithm,
                key: JwsAlgorithm::for_key(kind),
            },
            _ => JoseError::Signature,
        })?;
    let exp = registered.check(profile, now)?;
    let owned = |text: &&str| (*text).to_owned();
    Ok(Verified {
        algorithm,
        subject: registered.subject.map(str::to_owned),
        audiences: registered.audiences.iter().flatten().map(owned).collect(),
        exp,
        iat: registered.iat,
        nbf: registered.nbf,
        kid: header.kid,
        typ: header.typ,
        claims: payload,
    })
}
