//! WIT-SVIDs (WIT-SVID §4, incubating).
//!
//! A WIT-SVID alone says nothing about who sent it. [`validate_svid`] therefore gives an [`UnprovenWit`], which names
//! nobody; only [`UnprovenWit::prove`] turns it, with a workload proof token by the key in `cnf`, into an identity.
//! [`carried`] finds both in the headers of an HTTP request, and refuses a WIT-SVID that is sent as bearer token.
//! The subject's trust domain chooses the bundle, and in it only keys published for WIT-SVIDs verify anything.

mod carrier;
mod error;
mod proof;
#[cfg(test)]
mod tests;

pub use carrier::{Carried, PROOF_HEADER, TOKEN_HEADER, carried};
pub use error::{REGISTER, WitSvidError};
pub use proof::{JTI_BYTES_MAX, PROOF_LIFE, PROOF_LIFE_MAX, ProofUse, SeenProofs, make_proof};

use crate::subject::{Authorities, leeway, verify_subject};
use core::fmt;
use serde_json::{Map, Value};
use signet_crypto::digest;
use signet_id::SpiffeId;
use signet_jose::{Confirmation, Leeway, Profile, Verified};
use signet_time::UnixTime;
use signet_trust::TrustView;

/// A WIT-SVID whose form, signature and claims are right, and of which nobody has shown yet that it is theirs.
///
/// It tells neither subject nor claims, so that nothing can be decided by it (WIT-SVID §4, §7.1).
#[must_use = "a wit-svid names nobody before its key is proven"]
pub struct UnprovenWit {
    id: SpiffeId,
    verified: Verified,
    confirmation: Confirmation,
    leeway: Leeway,
    /// SHA-256 of the token as it was sent.
    digest: [u8; 32],
}

/// A WIT-SVID that was checked and whose sender holds its key. Made only by [`UnprovenWit::prove`].
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct VerifiedWitSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// When it ends, leeway not counted.
    pub exp: UnixTime,
    /// The key that signed it, by its name in the bundle of the subject's domain.
    pub kid: String,
    /// The workload's own key, which was proven.
    pub confirmation: Confirmation,
    /// All claims. A `jti` among them may be that of many tokens and says nothing about replay (WIT-SVID §3.3).
    pub claims: Map<String, Value>,
}

/// Checks a WIT-SVID, all but whether its sender may use it.
///
/// Clocks within the verifier's own trust domain may differ by 5 seconds, others by 30.
///
/// # Errors
/// [`WitSvidError`]: what is wrong with the subject or its bundle, or with the token as such.
pub fn validate_svid(token: &str, view: &TrustView, now: UnixTime) -> Result<UnprovenWit, WitSvidError> {
    let (id, verified) = verify_subject(token, Profile::wit_svid(), Authorities::Wit, view, now)?;
    let confirmation = Confirmation::read(&verified.claims)?;
    Ok(UnprovenWit {
        leeway: leeway(&id, view),
        id,
        verified,
        confirmation,
        digest: digest::sha256(token.as_bytes()),
    })
}

impl UnprovenWit {
    /// Makes it an identity: `proof` is a workload proof token that the WIT-SVID's key signed for `audience`, about
    /// this very token, at most [`PROOF_LIFE_MAX`] long, and never seen before.
    ///
    /// Proofs that bind an access token or a transaction token too (`ath`, `tth`) are refused: neither is looked at
    /// here.
    ///
    /// # Errors
    /// [`WitSvidError::NoAudience`], [`WitSvidError::Proof`] and those after it; [`WitSvidError::Token`] where the
    /// WIT-SVID has expired meanwhile.
    pub fn prove(
        self,
        proof: &str,
        audience: &str,
        seen: &mut SeenProofs,
        now: UnixTime,
    ) -> Result<VerifiedWitSvid, WitSvidError> {
        self.verified.check_at(self.leeway, now)?;
        proof::check(proof, audience, &self.confirmation, &self.digest, seen, now)?;
        Ok(VerifiedWitSvid {
            id: self.id,
            exp: self.verified.exp,
            kid: self.verified.kid.unwrap_or_default(),
            confirmation: self.confirmation,
            claims: self.verified.claims,
        })
    }
}

impl fmt::Debug for UnprovenWit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnprovenWit").finish_non_exhaustive()
    }
}
