use crate::{JwtAlgorithm, KeysError, Purpose, X509Algorithm};
use core::time::Duration;
use signet_crypto::KeyKind;
use signet_id::TrustDomain;
use signet_jose::JwsAlgorithm;

/// What keys a trust domain has, and how long each lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysConfig {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The kind of new roots and intermediates. Existing ones stay as they are until they are renewed.
    pub x509: X509Algorithm,
    /// What new keys for tokens, JWT-SVIDs and WIT-SVIDs alike, sign with. Existing ones stay as they are until their time is over.
    pub jwt: JwtAlgorithm,
    /// How long a root's certificate is valid. It signs for half of that, less if it had to wait.
    pub root_life: Duration,
    /// How long an intermediate is valid. It is renewed at half of that.
    pub intermediate_life: Duration,
    /// How long a key for tokens signs.
    pub jwt_active: Duration,
    /// How long a root is published before it signs: as long as a bundle may lie in a cache.
    pub root_gate: Duration,
    /// How long a key for tokens is published before it signs.
    pub jwt_gate: Duration,
    /// The longest life of a leaf: so long an intermediate drains.
    pub leaf_life_max: Duration,
    /// The longest life of a token: so long its key drains.
    pub token_life_max: Duration,
    /// How often readers of the bundle should look for a new one.
    pub refresh_hint: Duration,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// How far clocks of signers and verifiers may be apart: certificates begin so much earlier.
pub(crate) const BACKDATE: Duration = Duration::from_secs(30);

/// How long a key drains after the last of what it signed is over: the largest leeway of a verifier.
const LEEWAY: Duration = Duration::from_secs(60);

/// How long a retired key is remembered.
pub(crate) const RETIRED_KEPT: Duration = Duration::from_secs(30 * 86_400);

impl KeysConfig {
    /// The usual lives: roots 10 years on P-256, intermediates 7 days, keys for tokens (ES256) 24 hours.
    #[must_use]
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            x509: X509Algorithm::default(),
            jwt: JwtAlgorithm::default(),
            root_life: 24 * 3_652 * HOUR,
            intermediate_life: 24 * 7 * HOUR,
            jwt_active: 24 * HOUR,
            root_gate: 24 * HOUR,
            jwt_gate: HOUR,
            leaf_life_max: 6 * HOUR,
            token_life_max: 24 * HOUR,
            refresh_hint: HOUR / 12,
        }
    }

    /// Whether the lives fit one another.
    ///
    /// # Errors
    /// [`KeysError::Setting`].
    pub fn check(&self) -> Result<(), KeysError> {
        let refuse = |setting, why| Err(KeysError::Setting { setting, why });
        if self.intermediate_life < Duration::from_secs(60) {
            return refuse("intermediate life", "is below a minute");
        }
        if self.root_life < self.intermediate_life * 8 {
            return refuse("root life", "is below eight times the intermediates'");
        }
        if self.root_gate * 8 > self.root_life {
            return refuse("root gate", "is above an eighth of the root's life");
        }
        if self.jwt_active < Duration::from_secs(60) || self.jwt_gate * 2 > self.jwt_active {
            return refuse("jwt key life", "is below a minute or below twice its gate");
        }
        if self.refresh_hint.as_secs() == 0 {
            return refuse("refresh hint", "is below a second");
        }
        Ok(())
    }

    /// The kind of a new key.
    pub(crate) fn kind(&self, purpose: Purpose) -> KeyKind {
        match purpose {
            Purpose::X509Root | Purpose::X509Svid => self.x509.kind(),
            Purpose::JwtSvid | Purpose::WitSvid => self.jwt.kind(),
        }
    }

    /// The one algorithm of a new key, where its purpose leaves a choice between several of its kind (token-J2).
    pub(crate) fn jws_algorithm(&self, purpose: Purpose) -> Option<JwsAlgorithm> {
        match purpose {
            Purpose::X509Root | Purpose::X509Svid => None,
            Purpose::JwtSvid | Purpose::WitSvid => Some(self.jwt.jws()),
        }
    }

    pub(crate) fn gate(&self, purpose: Purpose) -> Duration {
        match purpose {
            Purpose::X509Root => self.root_gate,
            Purpose::X509Svid => Duration::ZERO,
            Purpose::JwtSvid | Purpose::WitSvid => self.jwt_gate,
        }
    }

    /// How long a key stays accepted after it signed for the last time.
    pub(crate) fn drain(&self, purpose: Purpose) -> Duration {
        LEEWAY
            + match purpose {
                Purpose::X509Root => self.intermediate_life,
                Purpose::X509Svid => self.leaf_life_max,
                Purpose::JwtSvid | Purpose::WitSvid => self.token_life_max,
            }
    }
}
