//! What JWT-SVIDs and WIT-SVIDs have in common: the subject's trust domain chooses the bundle before any key is looked
//! for, and no other bundle is asked.

use core::cell::Cell;
use signet_id::{IdError, SpiffeId, TrustDomain};
use signet_jose::{
    JoseError, Jwk, KeyHint, KeyMiss, KeyResolver, Leeway, Profile, ResolvedKey, Verified, verify,
};
use signet_time::UnixTime;
use signet_trust::{Bundle, TrustView};

/// Which authorities of a bundle verify a token. Never more than one kind (JWT-SVID §6.1, WIT-SVID §6.1).
#[derive(Clone, Copy)]
pub(crate) enum Authorities {
    Jwt,
    Wit,
}

/// Why a token has no verified subject. Each kind of SVID has a public error for each of these.
pub(crate) enum SubjectError {
    Missing,
    NotAnId(IdError),
    WithoutPath(TrustDomain),
    NoBundle(TrustDomain),
    UnknownKey(TrustDomain),
    Tainted(TrustDomain),
    Use(TrustDomain),
    Token(JoseError),
}

/// Checks `token` against `profile` with the subject's own bundle: whose it says it is, and all that it says.
///
/// Clocks within the verifier's own trust domain may differ by 5 seconds, others by 30.
pub(crate) fn verify_subject(
    token: &str,
    profile: Profile,
    authorities: Authorities,
    view: &TrustView,
    now: UnixTime,
) -> Result<(SpiffeId, Verified), SubjectError> {
    let keys = SubjectsBundle {
        view,
        authorities,
        outcome: Cell::new(Outcome::Unasked),
    };
    let verified = verify(token, &profile.leeway(Leeway::FOREIGN), &keys, now);
    let (verified, id) = match (verified, keys.outcome.into_inner()) {
        (Err(JoseError::Key(_)), Outcome::Refused(error)) => return Err(error),
        (Err(error), _) => return Err(SubjectError::Token(error)),
        (Ok(verified), Outcome::Found(id)) => (verified, id),
        // A token verifies only with a key, and there is none before the subject is known.
        (Ok(_), _) => return Err(SubjectError::Missing),
    };
    verified
        .check_at(leeway(&id, view), now)
        .map_err(SubjectError::Token)?;
    Ok((id, verified))
}

/// How far the clock of the issuer of `id` may differ.
pub(crate) fn leeway(id: &SpiffeId, view: &TrustView) -> Leeway {
    if id.trust_domain() == view.own() {
        Leeway::OURS
    } else {
        Leeway::FOREIGN
    }
}

impl Authorities {
    /// What a JWK must say of its use. Case matters.
    const fn use_(self) -> &'static str {
        match self {
            Self::Jwt => "jwt-svid",
            Self::Wit => "wit-svid",
        }
    }

    /// The key named `kid`, and whether it is tainted.
    fn find<'b>(self, bundle: &'b Bundle, kid: Option<&str>) -> Option<(&'b Jwk, bool)> {
        match self {
            Self::Jwt => {
                let key = bundle.jwt().iter().find(|key| Some(key.kid.as_str()) == kid)?;
                Some((&key.jwk, key.tainted))
            }
            Self::Wit => {
                let key = bundle.wit().iter().find(|key| Some(key.kid.as_str()) == kid)?;
                Some((&key.jwk, key.tainted))
            }
        }
    }
}

/// Finds keys in the bundle of the subject's trust domain. Remembers whom it looked for, or why it refused.
struct SubjectsBundle<'a> {
    view: &'a TrustView,
    authorities: Authorities,
    outcome: Cell<Outcome>,
}

#[derive(Default)]
enum Outcome {
    #[default]
    Unasked,
    Found(SpiffeId),
    Refused(SubjectError),
}

impl SubjectsBundle<'_> {
    fn find(&self, hint: &KeyHint<'_>) -> Result<(SpiffeId, ResolvedKey), SubjectError> {
        let subject = hint.subject.ok_or(SubjectError::Missing)?;
        let id = SpiffeId::parse(subject).map_err(SubjectError::NotAnId)?;
        let trust_domain = || id.trust_domain().clone();
        if !id.has_path() {
            return Err(SubjectError::WithoutPath(trust_domain()));
        }
        let bundle = self.view.bundle(id.trust_domain());
        let bundle = bundle.ok_or_else(|| SubjectError::NoBundle(trust_domain()))?;
        // A token without `kid` never comes this far: the profile requires one.
        let (jwk, tainted) = self
            .authorities
            .find(bundle, hint.kid)
            .ok_or_else(|| SubjectError::UnknownKey(trust_domain()))?;
        if tainted {
            return Err(SubjectError::Tainted(trust_domain()));
        }
        if jwk.use_() != Some(self.authorities.use_()) {
            return Err(SubjectError::Use(trust_domain()));
        }
        let key = ResolvedKey {
            key: jwk.public_key().clone(),
            algorithm: jwk.algorithm_for(hint.algorithm),
        };
        Ok((id, key))
    }
}

impl KeyResolver for SubjectsBundle<'_> {
    fn resolve(&self, hint: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss> {
        match self.find(hint) {
            Ok((id, key)) => {
                self.outcome.set(Outcome::Found(id));
                Ok(key)
            }
            Err(error) => {
                self.outcome.set(Outcome::Refused(error));
                Err(KeyMiss::NoKey)
            }
        }
    }
}
