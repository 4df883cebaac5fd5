use crate::config::BACKDATE;
use crate::plan::{Step, Wish, plan, usable_from};
use crate::ring::{
    BUNDLE_META, KEY_STATE, META_KEY, SCHEMA, SEAL_CHECK, SEAL_KEY, SEAL_TEXT, SEALED_KEY, check_aad,
    key_aad, kid_of,
};
use crate::seal::Seal;
use crate::{IssuingKey, KeyRing, KeyState, KeysConfig, KeysError, Purpose, Times, bundle, records};
use bytes::Bytes;
use prost::Message;
use signet_crypto::{LocalKey, SignatureEncoding, Signer};
use signet_record::{CredentialKind, IssueRecord, Recorder, Unrecorded};
use signet_store::follow::Followed;
use signet_store::{Batch, Change, ChangeLog, CommitError, Expect, Origin};
use signet_time::UnixTime;
use signet_trust::Bundle;
use signet_x509::{CaCert, CaKind, Der, IssuerCert, Serial};
use std::sync::Arc;

/// The keys of one trust domain: the log they lie in, sealed, and the ring that is read.
pub struct Keys {
    config: KeysConfig,
    seal: Arc<dyn Seal>,
    recorder: Recorder,
    followed: Followed<KeyRing>,
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

    /// The bundle of the own trust domain: every root and JWT key that is prepared, active or draining.
    ///
    /// # Errors
    /// [`KeysError::Publish`].
    pub fn bundle(&self) -> Result<Bundle, KeysError> {
        self.read(bundle::of)
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
    /// same commit.
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

    async fn batch(
        &self,
        steps: &[Step],
        before: Option<signet_store::Seq>,
        origin: Origin,
    ) -> Result<Batch, KeysError> {
        let now = origin.when;
        let mut batch = Batch::new(origin).expecting(Expect {
            kind: BUNDLE_META,
            key: Bytes::from_static(META_KEY),
            seq: before,
        });
        if !self.read(KeyRing::is_sealed) {
            // First, so that whoever loads the log knows about the seal before the first key.
            batch.changes.push(self.seal_check()?);
        }
        let mut root = None;
        for step in steps {
            match step {
                Step::Create { purpose, state } => {
                    let made = self.make(*purpose, root.as_ref(), steps, now).await?;
                    batch.changes.push(self.sealed(&made)?);
                    batch
                        .changes
                        .push(put_state(&made.kid, *state, false, now, Times::default()));
                    if (*purpose, *state) == (Purpose::X509Root, KeyState::Active) {
                        root = Some(made);
                    }
                }
                Step::Move {
                    key,
                    state,
                    is_tainted,
                } => {
                    if *state == KeyState::Retired {
                        batch.changes.push(unsealed(key));
                    }
                    batch
                        .changes
                        .push(put_state(key.kid(), *state, *is_tainted, now, key.times()));
                }
                Step::Forget { key } => {
                    batch
                        .changes
                        .push(Change::delete(SEALED_KEY, SCHEMA, kid_key(key.kid())));
                    batch
                        .changes
                        .push(Change::delete(KEY_STATE, SCHEMA, kid_key(key.kid())));
                }
            }
        }
        let meta = records::BundleMeta {
            refresh_hint_s: self.config.refresh_hint.as_secs(),
        };
        batch
            .changes
            .push(Change::put(BUNDLE_META, SCHEMA, META_KEY, meta.encode_to_vec()));
        Ok(batch)
    }

    /// A new key and, for X.509, its certificate, which is recorded before it is returned.
    async fn make(
        &self,
        purpose: Purpose,
        new_root: Option<&Made>,
        steps: &[Step],
        now: UnixTime,
    ) -> Result<Made, KeysError> {
        let key = LocalKey::generate(self.config.kind(purpose)).map_err(KeysError::Crypto)?;
        let mut made = Made {
            kid: kid_of(key.public_key()),
            purpose,
            pkcs8: key.to_pkcs8().map_err(KeysError::Crypto)?,
            signer: Signer::from(key),
            certificate: None,
            created_at: now,
        };
        made.certificate = match purpose {
            Purpose::JwtSvid => None,
            Purpose::X509Root => Some(self.certify(&made, &made.signer, None, now).await?),
            Purpose::X509Svid => {
                let (signer, certificate) = match new_root {
                    Some(root) => (root.signer.clone(), root.certificate.clone()),
                    None => self.root_of(steps)?,
                };
                let der = certificate.ok_or(KeysError::NoActive {
                    purpose: Purpose::X509Root,
                })?;
                let issuer = IssuerCert::parse(&der).map_err(KeysError::X509)?;
                Some(self.certify(&made, &signer, Some(&issuer), now).await?)
            }
        };
        Ok(made)
    }

    /// The root that signs once `steps` are done.
    fn root_of(&self, steps: &[Step]) -> Result<(Signer, Option<Der>), KeysError> {
        let purpose = Purpose::X509Root;
        let next = steps.iter().find_map(|step| match step {
            Step::Move { key, state, .. } if key.purpose() == purpose && *state == KeyState::Active => {
                Some(key.clone())
            }
            _ => None,
        });
        let root = next.map_or_else(|| self.active(purpose), Ok)?;
        let signer = root.signer_unchecked().ok_or(KeysError::NoActive { purpose })?;
        Ok((signer.clone(), root.certificate().cloned()))
    }

    async fn certify(
        &self,
        made: &Made,
        signer: &Signer,
        issuer: Option<&IssuerCert>,
        now: UnixTime,
    ) -> Result<Der, KeysError> {
        let slot = self.recorder.reserve().map_err(KeysError::Record)?;
        let (kind, life, path_len, title) = match issuer {
            None => (CaKind::Root, self.config.root_life, 1, "root"),
            Some(_) => (
                CaKind::Intermediate,
                self.config.intermediate_life,
                0,
                "intermediate",
            ),
        };
        let end = now + life;
        let template = CaCert {
            trust_domain: self.config.trust_domain.clone(),
            common_name: format!("{title} {}", made.kid),
            public_key: made.signer.public_key().clone(),
            serial: Serial::new(slot.serial()).map_err(KeysError::X509)?,
            not_before: (now - BACKDATE).floor_secs(),
            not_after: issuer
                .map_or(end, |issuer| end.min(issuer.not_after()))
                .floor_secs(),
            path_len: Some(path_len),
            kind,
        };
        let algorithm = signer.public_key().kind().default_algorithm();
        let tbs = match issuer {
            None => template.tbs_self(algorithm),
            Some(issuer) => template.tbs(issuer, algorithm),
        }
        .map_err(KeysError::X509)?;
        let signature = signer
            .sign(algorithm, SignatureEncoding::Asn1, tbs.bytes())
            .await
            .map_err(KeysError::Crypto)?;
        let der = tbs.assemble(&signature).map_err(KeysError::X509)?;
        let record = IssueRecord {
            subject: self.config.trust_domain.id(),
            issued_at_ms: now.as_millis(),
            not_before_ms: template.not_before.as_millis(),
            not_after_ms: template.not_after.as_millis(),
            public_key_sha256: Bytes::copy_from_slice(&template.public_key.fingerprint()),
            issuer_key_id: kid_of(signer.public_key()),
            requested_by: "system".to_owned(),
            state_seq: self.followed.seq().0,
            credential_sha256: Bytes::copy_from_slice(&signet_crypto::digest::sha256(&der)),
            ..slot.record(CredentialKind::Authority)
        };
        self.recorder
            .release(Unrecorded::new(der, record))
            .await
            .map_err(KeysError::Record)
    }

    fn seal_check(&self) -> Result<Change, KeysError> {
        let aad = check_aad(&self.config.trust_domain);
        let record = records::SealCheck {
            seal: self.seal.name().to_owned(),
            sealed: self.seal.seal(&aad, SEAL_TEXT).map_err(KeysError::Crypto)?.into(),
        };
        Ok(Change::put(SEAL_CHECK, SCHEMA, SEAL_KEY, record.encode_to_vec()))
    }

    fn sealed(&self, made: &Made) -> Result<Change, KeysError> {
        let aad = key_aad(&self.config.trust_domain, made.purpose, &made.kid);
        let record = records::SealedKey {
            purpose: made.purpose.to_record().into(),
            public_key: Bytes::copy_from_slice(made.signer.public_key().spki_der()),
            sealed: self
                .seal
                .seal(&aad, made.pkcs8.expose())
                .map_err(KeysError::Crypto)?
                .into(),
            seal: self.seal.name().to_owned(),
            certificate: made
                .certificate
                .as_ref()
                .map(|der| Bytes::copy_from_slice(der))
                .unwrap_or_default(),
            created_at_ms: made.created_at.as_millis(),
        };
        Ok(Change::put(
            SEALED_KEY,
            SCHEMA,
            kid_key(&made.kid),
            record.encode_to_vec(),
        ))
    }
}

/// A key that is not in the log yet.
struct Made {
    kid: String,
    purpose: Purpose,
    pkcs8: signet_crypto::Secret,
    signer: Signer,
    certificate: Option<Der>,
    created_at: UnixTime,
}

fn kid_key(kid: &str) -> Bytes {
    Bytes::copy_from_slice(kid.as_bytes())
}

/// The record of `key` without its private half.
fn unsealed(key: &IssuingKey) -> Change {
    let record = records::SealedKey {
        purpose: key.purpose().to_record().into(),
        public_key: Bytes::copy_from_slice(key.public_key().spki_der()),
        sealed: Bytes::new(),
        seal: String::new(),
        certificate: key
            .certificate()
            .map(|der| Bytes::copy_from_slice(der))
            .unwrap_or_default(),
        created_at_ms: 0,
    };
    Change::put(SEALED_KEY, SCHEMA, kid_key(key.kid()), record.encode_to_vec())
}

/// The record of the state `state`, entered at `now` if it is a new one.
fn put_state(kid: &str, state: KeyState, tainted: bool, now: UnixTime, times: Times) -> Change {
    let entered = |of: KeyState, known: Option<UnixTime>| {
        known
            .or((state == of).then_some(now))
            .map_or(0, UnixTime::as_millis)
    };
    let record = records::KeyState {
        state: state.to_record().into(),
        tainted,
        prepared_at_ms: entered(KeyState::Prepared, times.prepared),
        activated_at_ms: entered(KeyState::Active, times.activated),
        draining_at_ms: entered(KeyState::Draining, times.draining),
        retired_at_ms: entered(KeyState::Retired, times.retired),
    };
    Change::put(KEY_STATE, SCHEMA, kid_key(kid), record.encode_to_vec())
}
