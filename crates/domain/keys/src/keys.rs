use crate::plan::{Wish, plan, usable_from};
use crate::seal::Seal;
use crate::{IssuingKey, KeyRing, KeyState, KeysConfig, KeysError, Purpose};
use signet_crypto::digest;
use signet_record::Recorder;
use signet_store::follow::Followed;
use signet_store::{ChangeLog, CommitError, Origin};
use signet_time::UnixTime;
use signet_trust::Bundle;
use std::sync::Arc;

/// The keys of one trust domain: the log they lie in, sealed, and the ring that is read.
pub struct Keys {
    pub(crate) config: KeysConfig,
    pub(crate) seal: Arc<dyn Seal>,
    pub(crate) recorder: Recorder,
    pub(crate) followed: Followed<KeyRing>,
}

/// Whether to wait until everybody can know the next key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Rotate only to a key that was published for its gate.
    Gated,
    /// Rotate now, to the key that is published, however short.
    Emergency,
}

/// How often one call offers its commit.
const ATTEMPTS: u32 = 8;

impl Keys {
    /// Opens the keys in `log` with `seal`. Makes none: see [`Keys::ensure`].
    ///
    /// # Errors
    /// [`KeysError::WrongSeal`] where they are sealed with another, [`KeysError::Setting`], [`KeysError::Follow`].
    pub async fn open(
        log: Arc<dyn ChangeLog>,
        seal: Arc<dyn Seal>,
        recorder: Recorder,
        config: KeysConfig,
    ) -> Result<Self, KeysError> {
        config.check()?;
        let (domain, of_ring) = (config.trust_domain.clone(), seal.clone());
        let followed = Followed::open(log, move || KeyRing::new(domain.clone(), of_ring.clone()))
            .await
            .map_err(KeysError::Follow)?;
        followed.read(KeyRing::check_seal)?;
        Ok(Self {
            config,
            seal,
            recorder,
            followed,
        })
    }

    /// The ring and its log: to follow it, and to wait for a change.
    #[must_use]
    pub fn followed(&self) -> &Followed<KeyRing> {
        &self.followed
    }

    /// Looks at the ring as it is now.
    pub fn read<R>(&self, look: impl FnOnce(&KeyRing) -> R) -> R {
        self.followed.read(look)
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &KeysConfig {
        &self.config
    }

    /// The key that signs for `purpose`.
    ///
    /// # Errors
    /// [`KeysError::NoActive`].
    pub fn active(&self, purpose: Purpose) -> Result<Arc<IssuingKey>, KeysError> {
        self.read(|ring| ring.active(purpose).cloned())
    }

    /// The keys that verifiers are to know for `purpose`, oldest first.
    #[must_use]
    pub fn published(&self, purpose: Purpose) -> Vec<Arc<IssuingKey>> {
        self.read(|ring| ring.published(purpose).cloned().collect())
    }

    /// As [`KeyRing::bundle`], of the ring as it is now.
    ///
    /// # Errors
    /// [`KeysError::Publish`].
    pub fn bundle(&self) -> Result<Bundle, KeysError> {
        self.read(KeyRing::bundle)
    }

    /// SHA-256 of each root certificate that a new node may meet, for join strings: of the active and the prepared
    /// roots that were not called off.
    #[must_use]
    pub fn root_hashes(&self) -> Vec<[u8; 32]> {
        let roots = self.published(Purpose::X509Root);
        roots
            .iter()
            .filter(|key| key.state() < KeyState::Draining && !key.is_tainted())
            .filter_map(|key| key.certificate().map(|der| digest::sha256(der)))
            .collect()
    }

    /// Makes what keys are missing: for a new trust domain an active key for each purpose and a prepared one for each
    /// that is published, in one commit. Of several servers that start at once, one makes them and all find them.
    ///
    /// # Errors
    /// As [`Keys::maintain`].
    pub async fn ensure(&self, now: UnixTime) -> Result<usize, KeysError> {
        self.run(Wish::Upkeep, Origin::new("system", "keys that were missing", now))
            .await
    }

    /// Does what the time demands: renews intermediates at half their life, moves keys on, makes the next ones.
    /// Returns how many keys changed. To be called once a minute or so, by any number of servers.
    ///
    /// # Errors
    /// Where keys cannot be made, sealed, recorded or committed; nothing has changed then, or everything.
    pub async fn maintain(&self, now: UnixTime) -> Result<usize, KeysError> {
        self.run(Wish::Upkeep, Origin::new("system", "upkeep of keys", now))
            .await
    }

    /// Makes the prepared key of `purpose` the active one, and prepares another.
    ///
    /// # Errors
    /// [`KeysError::TooEarly`] where `urgency` is [`Urgency::Gated`]; else as [`Keys::maintain`].
    pub async fn rotate(
        &self,
        purpose: Purpose,
        urgency: Urgency,
        origin: Origin,
    ) -> Result<usize, KeysError> {
        let emergency = urgency == Urgency::Emergency;
        let from = self.read(|ring| usable_from(ring, &self.config, purpose));
        if let Some(from) = from.filter(|from| !emergency && origin.when < *from) {
            return Err(KeysError::TooEarly { purpose, from });
        }
        self.run(Wish::Rotate { purpose, emergency }, origin).await
    }

    /// Marks a key: what it signed is not to be believed. If it is active, the published next key takes over in the
    /// same commit. Verifiers of ours refuse what it signed from the next bundle on, an intermediate's included.
    ///
    /// # Errors
    /// [`KeysError::KeyUnknown`], [`KeysError::State`] where it is retired; else as [`Keys::maintain`].
    pub async fn taint(&self, kid: &str, origin: Origin) -> Result<usize, KeysError> {
        self.check_live(kid)?;
        self.run(Wish::Taint { kid }, origin).await
    }

    /// Retires a key at once: it leaves the bundle, and nothing that it signed is accepted any more. If it is active,
    /// the published next key takes over in the same commit.
    ///
    /// An intermediate is in no bundle that others read: verifiers that are not ours go on accepting what it signed
    /// until it ends. Against them only revoking its root helps.
    ///
    /// # Errors
    /// As [`Keys::taint`].
    pub async fn revoke(&self, kid: &str, origin: Origin) -> Result<usize, KeysError> {
        self.check_live(kid)?;
        self.run(Wish::Revoke { kid }, origin).await
    }

    fn check_live(&self, kid: &str) -> Result<(), KeysError> {
        let state = self.read(|ring| ring.key(kid).map(|key| key.state()));
        let kid = kid.to_owned();
        match state {
            None => Err(KeysError::KeyUnknown { kid }),
            Some(state @ KeyState::Retired) => Err(KeysError::State { kid, state }),
            Some(_) => Ok(()),
        }
    }

    /// Plans and commits until there is nothing left to do. Each commit expects the keys as they were planned for, so
    /// a plan lands once at most, and never on top of another.
    async fn run(&self, wish: Wish<'_>, origin: Origin) -> Result<usize, KeysError> {
        let mut unanswered = None;
        for _ in 0..ATTEMPTS {
            self.read(KeyRing::check_seal)?;
            let (before, steps) =
                self.read(|ring| (ring.meta_seq(), plan(ring, &self.config, origin.when, wish)));
            if steps.is_empty() {
                return Ok(0);
            }
            let batch = self.batch(&steps, before, origin.clone()).await?;
            let outcome = self.followed.log().commit(batch).await;
            if !matches!(
                outcome,
                Err(CommitError::Unavailable(_) | CommitError::Invalid(_))
            ) {
                self.followed.catch_up().await.map_err(KeysError::Follow)?;
            }
            match outcome {
                Ok(_) => return Ok(steps.len()),
                Err(CommitError::Conflict { .. }) if matches!(wish, Wish::Rotate { .. }) => {
                    // Somebody moved the keys: rotating on top of that would be one rotation too many.
                    return Err(KeysError::Contended { attempts: 1 });
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(e @ CommitError::Unknown(_)) => {
                    let landed = self.read(|ring| ring.meta_seq() != before);
                    if landed && matches!(wish, Wish::Rotate { .. }) {
                        return Ok(steps.len());
                    }
                    unanswered = Some(e);
                }
                Err(e) => return Err(unanswered.map_or(KeysError::Commit(e), KeysError::Unknown)),
            }
        }
        Err(unanswered.map_or(KeysError::Contended { attempts: ATTEMPTS }, KeysError::Unknown))
    }
}
