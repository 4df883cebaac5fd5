//! From steps to a commit: keys are made, certified, recorded and sealed here.

use crate::config::BACKDATE;
use crate::plan::Step;
use crate::ring::{
    BUNDLE_META, KEY_STATE, META_KEY, SCHEMA, SEAL_CHECK, SEAL_KEY, SEAL_TEXT, SEALED_KEY, check_aad,
    key_aad, kid_of,
};
use crate::{IssuingKey, KeyRing, KeyState, Keys, KeysError, Purpose, Times, records};
use bytes::Bytes;
use prost::Message;
use signet_crypto::{CryptoError, KeyKind, LocalKey, SignatureEncoding, Signer};
use signet_jose::JwsAlgorithm;
use signet_record::{CredentialKind, IssueRecord, Unrecorded};
use signet_store::{Batch, Change, Expect, Origin};
use signet_time::UnixTime;
use signet_x509::{CaCert, CaKind, Der, IssuerCert, Serial};

impl Keys {
    /// The commit that does `steps` to keys that were last changed by `before`.
    pub(crate) async fn batch(
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
        let key = generate(self.config.kind(purpose)).await?;
        let mut made = Made {
            kid: kid_of(key.public_key()),
            purpose,
            made_for: self.config.jws_algorithm(purpose),
            pkcs8: key.to_pkcs8().map_err(KeysError::Crypto)?,
            signer: Signer::from(key),
            certificate: None,
            created_at: now,
        };
        made.certificate = match purpose {
            Purpose::JwtSvid | Purpose::WitSvid => None,
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
        let certificate = made.certificate.as_ref().map(|der| Bytes::copy_from_slice(der));
        let certificate = certificate.unwrap_or_default();
        let domain = &self.config.trust_domain;
        let aad = key_aad(domain, made.purpose, &made.kid, made.made_for, &certificate);
        let record = records::SealedKey {
            purpose: made.purpose.to_record().into(),
            public_key: Bytes::copy_from_slice(made.signer.public_key().spki_der()),
            sealed: self
                .seal
                .seal(&aad, made.pkcs8.expose())
                .map_err(KeysError::Crypto)?
                .into(),
            seal: self.seal.name().to_owned(),
            certificate,
            created_at_ms: made.created_at.as_millis(),
            jws_algorithm: alg_text(made.made_for),
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
    made_for: Option<JwsAlgorithm>,
    pkcs8: signet_crypto::Secret,
    signer: Signer,
    certificate: Option<Der>,
    created_at: UnixTime,
}

/// A new key, made on a thread that may block: an RSA key takes from tens to hundreds of milliseconds.
async fn generate(kind: KeyKind) -> Result<LocalKey, KeysError> {
    let made = tokio::task::spawn_blocking(move || LocalKey::generate(kind)).await;
    // The thread is lost where the runtime is shutting down.
    made.unwrap_or(Err(CryptoError::Generate { kind }))
        .map_err(KeysError::Crypto)
}

fn alg_text(algorithm: Option<JwsAlgorithm>) -> String {
    algorithm.map_or_else(String::new, |algorithm| algorithm.as_str().to_owned())
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
        jws_algorithm: alg_text(key.made_for()),
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
