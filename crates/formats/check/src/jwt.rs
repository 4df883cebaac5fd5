//! JWT-SVIDs (JWT-SVID §4).
//!
//! The subject's trust domain chooses the bundle before any key is looked for, and no other bundle is asked. A key
//! that is tainted, or published for something else than JWT-SVIDs, verifies nothing.

#[cfg(test)]
mod tests;

use crate::subject::{Authorities, SubjectError, verify_subject};
use serde_json::{Map, Value};
use signet_fault::{Coded, Entry, remedy_of};
use signet_id::{IdError, SpiffeId, TrustDomain};
use signet_jose::{AudienceRule, IssuerRule, JoseError, Profile, TokenKind};
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::borrow::Cow;

/// A JWT-SVID that was checked. Made only by [`validate_svid`].
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct VerifiedJwtSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// Whom it is for.
    pub audiences: Vec<String>,
    /// When it ends, leeway not counted.
    pub exp: UnixTime,
    /// The key that signed it, by its name in the bundle of the subject's domain.
    pub kid: String,
    /// All claims; `aud` is a list whichever way it was sent.
    pub claims: Map<String, Value>,
}

/// Why a JWT-SVID was refused.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    /// The verifier named no audience of its own.
    #[error("an audience to check for must be given")]
    NoAudience,
    /// `sub` is missing.
    #[error("claim `sub` is missing")]
    NoSubject,
    /// `sub` is not a SPIFFE ID.
    #[error("claim `sub` is not a spiffe id: {0}")]
    Subject(#[source] IdError),
    /// `sub` names a trust domain and not a workload.
    #[error("claim `sub` names the trust domain `{trust_domain}` and no workload in it")]
    SubjectWithoutPath {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// There is no bundle for the subject's trust domain.
    #[error("no bundle for the trust domain `{trust_domain}`")]
    NoBundle {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// The bundle of the subject's trust domain has no such key.
    #[error("the bundle of `{trust_domain}` has no such jwt key")]
    UnknownKey {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// The key is tainted.
    #[error("the jwt key in the bundle of `{trust_domain}` is tainted")]
    Tainted {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// The key is published for another use.
    #[error("the key in the bundle of `{trust_domain}` is not for jwt-svids")]
    Use {
        /// The domain.
        trust_domain: TrustDomain,
    },
    /// Form, header, signature or claims of the token.
    #[error(transparent)]
    Token(#[from] JoseError),
}

/// Checks a JWT-SVID for a receiver known as `audience`.
///
/// Clocks within the verifier's own trust domain may differ by 5 seconds, others by 30.
///
/// # Errors
/// [`JwtSvidError`]: what is wrong with the subject or its bundle, or with the token as such.
pub fn validate_svid(
    token: &str,
    audience: &str,
    view: &TrustView,
    now: UnixTime,
) -> Result<VerifiedJwtSvid, JwtSvidError> {
    if audience.is_empty() {
        return Err(JwtSvidError::NoAudience);
    }
    let profile = Profile::new(
        TokenKind::JwtSvid,
        IssuerRule::ByKeys,
        AudienceRule::Contains(audience.to_owned()),
    );
    let (id, verified) = verify_subject(token, profile, Authorities::Jwt, view, now)?;
    let mut claims = verified.claims;
    let audiences = verified.audiences;
    claims.insert("aud".to_owned(), audiences.clone().into());
    Ok(VerifiedJwtSvid {
        id,
        audiences,
        exp: verified.exp,
        kid: verified.kid.unwrap_or_default(),
        claims,
    })
}

impl From<SubjectError> for JwtSvidError {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Missing => Self::NoSubject,
            SubjectError::NotAnId(error) => Self::Subject(error),
            SubjectError::WithoutPath(trust_domain) => Self::SubjectWithoutPath { trust_domain },
            SubjectError::NoBundle(trust_domain) => Self::NoBundle { trust_domain },
            SubjectError::UnknownKey(trust_domain) => Self::UnknownKey { trust_domain },
            SubjectError::Tainted(trust_domain) => Self::Tainted { trust_domain },
            SubjectError::Use(trust_domain) => Self::Use { trust_domain },
            SubjectError::Token(error) => Self::Token(error),
        }
    }
}

impl Coded for JwtSvidError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoAudience => "SGCK101",
            Self::NoSubject => "SGCK102",
            Self::Subject(_) => "SGCK103",
            Self::SubjectWithoutPath { .. } => "SGCK104",
            Self::NoBundle { .. } => "SGCK105",
            Self::UnknownKey { .. } => "SGCK106",
            Self::Tainted { .. } => "SGCK107",
            Self::Use { .. } => "SGCK108",
            Self::Token(error) => error.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Token(error) => error.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The error codes of this module; those of a token's form are in `signet_jose::REGISTER`.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGCK101",
        "no audience to check a jwt-svid for",
        "name the audience that this service is known by",
    ),
    entry(
        "SGCK102",
        "a jwt-svid has no subject",
        "have the issuer put the workload's SPIFFE ID into `sub`",
    ),
    entry(
        "SGCK103",
        "a jwt-svid's subject is not a SPIFFE ID",
        "have the issuer put the workload's SPIFFE ID into `sub`",
    ),
    entry(
        "SGCK104",
        "a jwt-svid's subject names no workload",
        "register the workload with a SPIFFE ID that has a path",
    ),
    entry(
        "SGCK105",
        "a jwt-svid is of a trust domain that is not trusted here",
        "federate with the trust domain, or ask why a workload from there calls",
    ),
    entry(
        "SGCK106",
        "a jwt-svid is signed with a key that its trust domain's bundle does not have",
        "check that bundles reach this machine; a token signed before a key was retired has to be fetched anew",
    ),
    entry(
        "SGCK107",
        "a jwt-svid is signed with a tainted key",
        "fetch a new jwt-svid: its issuer signs with another key by now",
    ),
    entry(
        "SGCK108",
        "a jwt-svid is signed with a key for another use",
        "have the trust domain publish the key with the use jwt-svid",
    ),
];
