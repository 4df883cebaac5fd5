use super::WitSvidError;
use core::time::Duration;
use signet_crypto::digest;
use signet_jose::{
    AlgorithmSet, AudienceRule, Confirmation, IssuerRule, JoseError, KeyHint, KeyMiss, KeyResolver, KidRule,
    Leeway, PrivateJwk, Profile, ResolvedKey, TokenKind, Unsigned, base64url, verify,
};
use signet_time::UnixTime;
use std::collections::{BTreeMap, BTreeSet};

/// The longest that a proof may still be good for when it arrives, leeway not counted.
pub const PROOF_LIFE_MAX: Duration = Duration::from_secs(60);
/// The longest `jti` of a proof.
pub const JTI_BYTES_MAX: usize = 256;

/// How long a proof is good for that [`make_proof`] makes: for one request under way, on clocks that differ a little.
pub const PROOF_LIFE: Duration = Duration::from_secs(30);

/// A workload proof token about the WIT-SVID `token` by its `key`: for one request to `audience`, and good once.
///
/// # Errors
/// [`JoseError::Sign`] where there is no randomness or the key fails.
pub fn make_proof(token: &str, key: &PrivateJwk, audience: &str, now: UnixTime) -> Result<String, JoseError> {
    let jti = signet_crypto::random::<16>().map_err(JoseError::Sign)?;
    let claims = serde_json::json!({
        "aud": audience,
        "exp": (now + PROOF_LIFE).as_secs(),
        "jti": digest::hex(&jti),
        "wth": base64url::encode(&digest::sha256(token.as_bytes())),
    });
    Unsigned::proof(key.algorithm(), "wpt+jwt", &claims)?.sign_with(key.key())
}

/// Checks that `proof` was signed by the key of `confirmation`, for `audience`, about the WIT-SVID of this digest.
pub(super) fn check(
    proof: &str,
    audience: &str,
    confirmation: &Confirmation,
    wit_digest: &[u8; 32],
    seen: &mut SeenProofs,
    now: UnixTime,
) -> Result<(), WitSvidError> {
    if audience.is_empty() {
        return Err(WitSvidError::NoAudience);
    }
    // The key comes out of the WIT-SVID, so the header need not name it.
    let profile = Profile::new(
        TokenKind::Wpt,
        IssuerRule::ByKeys,
        AudienceRule::Only(audience.to_owned()),
    )
    .algorithms(AlgorithmSet::SVID)
    .kid(KidRule::SoleKeyAllowed)
    .leeway(Leeway::OURS);
    let verified = verify(proof, &profile, &Confirmed(confirmation), now).map_err(WitSvidError::Proof)?;
    let text = |name: &'static str| match verified.claims.get(name) {
        None => Err(WitSvidError::Proof(JoseError::ClaimMissing { name })),
        Some(value) => value.as_str().ok_or(WitSvidError::Proof(JoseError::ClaimType {
            name,
            wanted: "a string",
        })),
    };
    for name in ["ath", "tth"] {
        if verified.claims.contains_key(name) {
            return Err(WitSvidError::Proof(JoseError::ClaimForbidden { name }));
        }
    }
    if text("wth")? != base64url::encode(wit_digest) {
        return Err(WitSvidError::ProofOfOther);
    }
    let life = verified.exp.since(now);
    if life > PROOF_LIFE_MAX + Leeway::OURS.duration() {
        return Err(WitSvidError::ProofLife {
            life_s: life.as_secs(),
        });
    }
    let jti = text("jti")?;
    if jti.is_empty() || jti.len() > JTI_BYTES_MAX {
        return Err(WitSvidError::Proof(JoseError::ClaimType {
            name: "jti",
            wanted: "a string of 1 to 256 bytes",
        }));
    }
    // Last of all, so that only a proof that is right in every part takes up room.
    match seen.first_use(confirmation, jti, verified.exp, now) {
        ProofUse::First => Ok(()),
        ProofUse::Repeated => Err(WitSvidError::ProofRepeated),
        ProofUse::NoRoom => Err(WitSvidError::ManyProofs),
    }
}

/// The WIT-SVID's own key, whatever the proof's header names.
struct Confirmed<'a>(&'a Confirmation);

impl KeyResolver for Confirmed<'_> {
    fn resolve(&self, _: &KeyHint<'_>) -> Result<ResolvedKey, KeyMiss> {
        Ok(ResolvedKey {
            key: self.0.jwk().public_key().clone(),
            algorithm: self.0.algorithm(),
        })
    }
}

/// What became of a proof that was offered to [`SeenProofs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofUse {
    /// It was not seen before and is remembered now.
    First,
    /// It was seen before.
    Repeated,
    /// There is no room to remember it, so it must not be taken.
    NoRoom,
}

/// The proofs that were taken and could still be sent again. One for each audience, shared by all who verify for it.
///
/// A proof is forgotten once it has expired; where there is no room, none is taken, for one that is forgotten early
/// could be replayed.
#[derive(Debug)]
pub struct SeenProofs {
    room: usize,
    /// SHA-256 of key and `jti`: what a peer sends takes up the same room however long it is.
    known: BTreeSet<[u8; 32]>,
    by_end: BTreeMap<UnixTime, Vec<[u8; 32]>>,
}

impl SeenProofs {
    /// Remembers at most `room` proofs at a time.
    #[must_use]
    pub const fn new(room: usize) -> Self {
        Self {
            room,
            known: BTreeSet::new(),
            by_end: BTreeMap::new(),
        }
    }

    /// Whether the proof named `jti`, by the key of `confirmation` and good until `exp`, is sent for the first time.
    fn first_use(
        &mut self,
        confirmation: &Confirmation,
        jti: &str,
        exp: UnixTime,
        now: UnixTime,
    ) -> ProofUse {
        self.forget(now);
        let thumbprint = confirmation.jwk().thumbprint();
        let name = digest::sha256(&[&thumbprint[..], jti.as_bytes()].concat());
        if self.known.contains(&name) {
            return ProofUse::Repeated;
        }
        if self.known.len() >= self.room {
            return ProofUse::NoRoom;
        }
        self.known.insert(name);
        // A proof is taken as long as the leeway lets it.
        let end = exp + Leeway::OURS.duration();
        self.by_end.entry(end).or_default().push(name);
        ProofUse::First
    }

    /// Drops what is no longer taken at `now`.
    fn forget(&mut self, now: UnixTime) {
        while let Some(first) = self.by_end.first_entry() {
            if *first.key() > now {
                break;
            }
            for name in first.remove() {
                self.known.remove(&name);
            }
        }
    }
}
