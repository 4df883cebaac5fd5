use crate::seal::Seal;
use crate::{KeyState, KeysError, Purpose, algorithm, records};
use core::time::Duration;
use prost::Message;
use signet_crypto::{LocalKey, PublicKey, Signer, digest};
use signet_id::TrustDomain;
use signet_jose::JwsAlgorithm;
use signet_store::{Change, Fold, FoldError, Kind, Seq, fold};
use signet_time::UnixTime;
use signet_x509::{Der, IssuerCert};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sealed keys.
pub const SEALED_KEY: Kind = Kind(16);
/// The states of keys.
pub const KEY_STATE: Kind = Kind(17);
/// What belongs to the bundle as a whole.
pub const BUNDLE_META: Kind = Kind(18);
/// The check of the seal.
pub const SEAL_CHECK: Kind = Kind(32);
/// All kinds that this crate owns.
pub const KINDS: &[Kind] = &[SEALED_KEY, KEY_STATE, BUNDLE_META, SEAL_CHECK];

/// The version of the form of this crate's records.
pub(crate) const SCHEMA: u16 = 1;
/// The only key of [`BUNDLE_META`].
pub(crate) const META_KEY: &[u8] = b"bundle";
/// The only key of [`SEAL_CHECK`].
pub(crate) const SEAL_KEY: &[u8] = b"seal";
/// What is sealed in the check.
pub(crate) const SEAL_TEXT: &[u8] = b"signet seal check";

/// A key of the trust domain with all that is needed to use it.
pub struct IssuingKey {
    kid: String,
    state: KeyState,
    is_tainted: bool,
    times: Times,
    material: Arc<Material>,
}

/// When a key came into each of its states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Published.
    pub prepared: Option<UnixTime>,
    /// Signing.
    pub activated: Option<UnixTime>,
    /// No longer signing.
    pub draining: Option<UnixTime>,
    /// No longer accepted.
    pub retired: Option<UnixTime>,
}

struct Material {
    purpose: Purpose,
    public_key: PublicKey,
    /// For tokens: what it was made for.
    made_for: Option<JwsAlgorithm>,
    /// Absent once the key is retired.
    signer: Option<Signer>,
    /// For X.509.
    issuer: Option<IssuerCert>,
}

impl IssuingKey {
    /// Its name, unique in the trust domain: half the SHA-256 of the public key, in hex.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.material.purpose
    }

    /// What may be done with it.
    #[must_use]
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Whether what it signed is not to be believed.
    #[must_use]
    pub fn is_tainted(&self) -> bool {
        self.is_tainted
    }

    /// When it came into each state.
    #[must_use]
    pub fn times(&self) -> Times {
        self.times
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.material.public_key
    }

    /// The one algorithm that it signs tokens with (token-J2).
    #[must_use]
    pub fn jws_algorithm(&self) -> JwsAlgorithm {
        algorithm::of_key(self.material.made_for, self.public_key().kind())
    }

    /// What it was made for, where that was said.
    pub(crate) fn made_for(&self) -> Option<JwsAlgorithm> {
        self.material.made_for
    }

    /// The private half.
    ///
    /// # Errors
    /// [`KeysError::State`] where the key does not sign: it is not active.
    pub fn signer(&self) -> Result<&Signer, KeysError> {
        let signer = self.material.signer.as_ref();
        signer
            .filter(|_| self.state == KeyState::Active)
            .ok_or_else(|| KeysError::State {
                kid: self.kid.clone(),
                state: self.state,
            })
    }

    /// The private half, whatever the state: for a key that becomes active with this very commit.
    pub(crate) fn signer_unchecked(&self) -> Option<&Signer> {
        self.material.signer.as_ref()
    }

    /// The certificate in the role of issuer, for X.509.
    #[must_use]
    pub fn issuer(&self) -> Option<&IssuerCert> {
        self.material.issuer.as_ref()
    }

    /// The certificate, for X.509.
    #[must_use]
    pub fn certificate(&self) -> Option<&Der> {
        self.issuer().map(|issuer| issuer.certificate().der())
    }

    /// The end of the certificate, for X.509: nothing that the key signs outlives it.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixTime> {
        self.issuer().map(IssuerCert::not_after)
    }

    /// How long the certificate is valid in all, for X.509.
    pub(crate) fn validity(&self) -> Option<Duration> {
        let certificate = self.issuer()?.certificate();
        Some(certificate.not_after().since(certificate.not_before()))
    }

    /// Whether `issuer` signed the certificate, as far as its key identifier tells.
    pub(crate) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer()
            .and_then(|own| own.certificate().authority_key_id())
            .is_some_and(|id| id == issuer.public_key().key_id())
    }
}

impl core::fmt::Debug for IssuingKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IssuingKey")
            .field("kid", &self.kid)
            .field("purpose", &self.purpose())
            .field("state", &self.state)
            .field("is_tainted", &self.is_tainted)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

/// Whether the seal at hand is the one that the keys are sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SealFit {
    Unchecked,
    Right,
    Wrong,
}

/// All keys of the trust domain at one place in the log.
pub struct KeyRing {
    trust_domain: TrustDomain,
    seal: Arc<dyn Seal>,
    fit: SealFit,
    materials: BTreeMap<String, Arc<Material>>,
    states: BTreeMap<String, (KeyState, bool, Times)>,
    /// Keys with both halves of their record, oldest first.
    keys: Vec<Arc<IssuingKey>>,
    meta: Option<(Seq, Duration)>,
}

impl KeyRing {
    /// An empty ring of `trust_domain`, whose keys `seal` opens.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, seal: Arc<dyn Seal>) -> Self {
        Self {
            trust_domain,
            seal,
            fit: SealFit::Unchecked,
            materials: BTreeMap::new(),
            states: BTreeMap::new(),
            keys: Vec::new(),
            meta: None,
        }
    }

    /// All keys, oldest first.
    #[must_use]
    pub fn keys(&self) -> &[Arc<IssuingKey>] {
        &self.keys
    }

    /// One key.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&Arc<IssuingKey>> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// The key that signs for `purpose`.
    ///
    /// # Errors
    /// [`KeysError::NoActive`].
    pub fn active(&self, purpose: Purpose) -> Result<&Arc<IssuingKey>, KeysError> {
        self.find(purpose, KeyState::Active)
            .ok_or(KeysError::NoActive { purpose })
    }

    /// The keys that verifiers are to know for `purpose`: all that are not retired.
    pub fn published(&self, purpose: Purpose) -> impl Iterator<Item = &Arc<IssuingKey>> {
        self.of(purpose).filter(|key| key.state < KeyState::Retired)
    }

    /// The last change of any key: the sequence number of the bundle (SPIFFE Trust Domain and Bundle §4.1.1).
    #[must_use]
    pub fn sequence(&self) -> Seq {
        self.meta.map_or(Seq::ZERO, |(seq, _)| seq)
    }

    /// How often readers of the bundle should look for a new one.
    #[must_use]
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.meta.map(|(_, hint)| hint)
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    pub(crate) fn of(&self, purpose: Purpose) -> impl Iterator<Item = &Arc<IssuingKey>> {
        self.keys.iter().filter(move |key| key.purpose() == purpose)
    }

    pub(crate) fn find(&self, purpose: Purpose, state: KeyState) -> Option<&Arc<IssuingKey>> {
        self.of(purpose).find(|key| key.state == state)
    }

    pub(crate) fn meta_seq(&self) -> Option<Seq> {
        self.meta.map(|(seq, _)| seq)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.fit != SealFit::Unchecked
    }

    /// Refuses a ring whose keys another seal closed.
    pub(crate) fn check_seal(&self) -> Result<(), KeysError> {
        if self.fit == SealFit::Wrong {
            let name = self.seal.name();
            return Err(KeysError::WrongSeal { name });
        }
        Ok(())
    }

    fn rebuild(&mut self) {
        let mut keys: Vec<_> = self
            .materials
            .iter()
            .filter_map(|(kid, material)| {
                let (state, is_tainted, times) = *self.states.get(kid)?;
                // Only a retired key lies in the log without its private half. Whoever cannot seal must not be able
                // to publish a key of their own.
                if state < KeyState::Retired && material.signer.is_none() && self.fit != SealFit::Wrong {
                    return None;
                }
                Some(Arc::new(IssuingKey {
                    kid: kid.clone(),
                    state,
                    is_tainted,
                    times,
                    material: material.clone(),
                }))
            })
            .collect();
        keys.sort_by_key(|key| key.times.prepared.or(key.times.activated));
        self.keys = keys;
    }

    fn material(&self, kid: &str, body: &[u8]) -> Result<Material, String> {
        let record = records::SealedKey::decode(body).map_err(|e| e.to_string())?;
        let purpose = Purpose::from_record(record.purpose()).ok_or("unknown purpose")?;
        let public_key = PublicKey::from_spki_der(&record.public_key).map_err(|e| e.to_string())?;
        if kid_of(&public_key) != kid {
            return Err("the public key is another key's".to_owned());
        }
        let made_for = algorithm::from_record(&record.jws_algorithm, public_key.kind())?;
        let signer = if record.sealed.is_empty() || self.fit == SealFit::Wrong {
            None
        } else {
            let aad = key_aad(&self.trust_domain, purpose, kid, made_for, &record.certificate);
            let pkcs8 = self.seal.open(&aad, &record.sealed).map_err(|e| e.to_string())?;
            let key = LocalKey::from_pkcs8(pkcs8.expose()).map_err(|e| e.to_string())?;
            if *key.public_key() != public_key {
                return Err("the private key belongs to another public key".to_owned());
            }
            Some(Signer::from(key))
        };
        let issuer = match record.certificate.as_ref() {
            [] => None,
            der => Some(IssuerCert::parse(der).map_err(|e| e.to_string())?),
        };
        if issuer.is_some() != purpose.has_certificate() {
            return Err("a certificate is missing or out of place".to_owned());
        }
        Ok(Material {
            purpose,
            public_key,
            made_for,
            signer,
            issuer,
        })
    }

    fn put(&mut self, seq: Seq, kind: Kind, key: &[u8], body: &[u8]) -> Result<(), String> {
        let decoded = |e: prost::DecodeError| e.to_string();
        let kid = || core::str::from_utf8(key).map_err(|e| e.to_string());
        match kind {
            SEALED_KEY => {
                let kid = kid()?.to_owned();
                let material = self.material(&kid, body)?;
                self.materials.insert(kid, Arc::new(material));
            }
            KEY_STATE => {
                let record = records::KeyState::decode(body).map_err(decoded)?;
                let state = KeyState::from_record(record.state()).ok_or("unknown state")?;
                let at = |millis: u64| (millis != 0).then(|| UnixTime::from_millis(millis));
                let times = Times {
                    prepared: at(record.prepared_at_ms),
                    activated: at(record.activated_at_ms),
                    draining: at(record.draining_at_ms),
                    retired: at(record.retired_at_ms),
                };
                self.states
                    .insert(kid()?.to_owned(), (state, record.tainted, times));
            }
            BUNDLE_META => {
                let record = records::BundleMeta::decode(body).map_err(decoded)?;
                self.meta = Some((seq, Duration::from_secs(record.refresh_hint_s)));
            }
            _ => {
                let record = records::SealCheck::decode(body).map_err(decoded)?;
                let opened = self.seal.open(&check_aad(&self.trust_domain), &record.sealed);
                self.fit = match opened {
                    Ok(text) if text.ct_eq(SEAL_TEXT) => SealFit::Right,
                    _ => SealFit::Wrong,
                };
            }
        }
        Ok(())
    }

    fn remove(&mut self, kind: Kind, key: &[u8]) -> Result<(), String> {
        let kid = core::str::from_utf8(key).map_err(|e| e.to_string())?;
        match kind {
            SEALED_KEY => drop(self.materials.remove(kid)),
            KEY_STATE => drop(self.states.remove(kid)),
            _ => return Err("it is never deleted".to_owned()),
        }
        Ok(())
    }
}

impl Fold for KeyRing {
    fn owns(&self, kind: Kind) -> bool {
        KINDS.contains(&kind)
    }

    fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError> {
        if change.schema != SCHEMA {
            return Err(fold::not_understood(seq, change));
        }
        let done = match &change.body {
            Some(body) => self.put(seq, change.kind, &change.key, body),
            None => self.remove(change.kind, &change.key),
        };
        done.map_err(|why| fold::malformed(seq, change, why))?;
        self.rebuild();
        Ok(())
    }
}

/// The name of a key.
pub(crate) fn kid_of(key: &PublicKey) -> String {
    let fingerprint = key.fingerprint();
    let (head, _) = fingerprint.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    digest::hex(head)
}

/// What a sealed key is bound to: moved to another purpose, name, algorithm or trust domain, or beside another
/// certificate, it does not open. `certificate` is empty for keys that have none.
pub(crate) fn key_aad(
    trust_domain: &TrustDomain,
    purpose: Purpose,
    kid: &str,
    made_for: Option<JwsAlgorithm>,
    certificate: &[u8],
) -> Vec<u8> {
    let certificate = digest::hex(&digest::sha256(certificate));
    let mut text = format!("signet key v1\0{trust_domain}\0{purpose}\0{kid}\0{certificate}");
    if let Some(algorithm) = made_for {
        text.push('\0');
        text.push_str(algorithm.as_str());
    }
    text.into_bytes()
}

pub(crate) fn check_aad(trust_domain: &TrustDomain) -> Vec<u8> {
    format!("signet seal check v1\0{trust_domain}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sealed stays sealed under these very bytes: another form would open nothing that exists.
    #[test]
    fn the_bytes_that_a_key_is_bound_to_stay_as_they_are() {
        let domain = TrustDomain::parse("dev.test").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let aad = |made_for| key_aad(&domain, Purpose::JwtSvid, "k", made_for, b"");
        let plain = format!("signet key v1\0dev.test\0jwt-svid\0k\0{empty}");
        assert_eq!(aad(None), plain.as_bytes());
        let named = format!("{plain}\0PS256");
        assert_eq!(aad(Some(JwsAlgorithm::Ps256)), named.as_bytes());
    }
}
