use super::frames::wiped;
use crate::AgentError;
use crate::settings::SvidKey;
use bytes::Bytes;
use signet_crypto::{CryptoError, LocalKey};
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_proto::agent::v1::{X509Issued, X509Wish, issue_item::Wish};
use signet_time::UnixTime;
use signet_trust::TrustView;
use signet_x509::Der;
use std::time::Duration;

/// An X.509-SVID with its key, shared by all callers that its entry matches.
pub(crate) struct X509Svid {
    pub(super) id: SpiffeId,
    /// Leaf first; concatenated DER.
    pub(super) chain_der: Bytes,
    pub(super) key_pkcs8: Bytes,
    pub(super) not_after: UnixTime,
    /// From then on a successor is wanted.
    pub(super) renew_at: UnixTime,
    chain: Vec<Der>,
    /// Tells it from every other one in this process.
    pub(super) number: u64,
}

/// A key made for a wish that is under way.
pub(super) struct Wanted {
    key: LocalKey,
    id: SpiffeId,
}

impl Wanted {
    /// Makes a key and the wish for its certificate.
    pub(super) async fn new(entry: &FeedEntry, key: SvidKey) -> Result<(Self, Wish), AgentError> {
        let key = generate(key).await?;
        let csr = signet_x509::make_csr(&key, Some(&entry.spiffe_id), &entry.dns_names)
            .map_err(AgentError::Certificate)?;
        let wish = Wish::X509(X509Wish { csr: csr.into() });
        Ok((
            Self {
                key,
                id: entry.spiffe_id.clone(),
            },
            wish,
        ))
    }

    /// Takes what was issued, if it is what a verifier of the own trust domain would take for this identity and
    /// fits the key.
    pub(super) fn fulfil(
        self,
        issued: X509Issued,
        trust: &TrustView,
        now: UnixTime,
        number: u64,
    ) -> Result<X509Svid, AgentError> {
        let wrong = |what: String| AgentError::Issued(what);
        if issued.chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(wrong(format!("a chain of {} certificates", issued.chain.len())));
        }
        let chain: Vec<Der> = issued
            .chain
            .into_iter()
            .map(|der| Der::from(Vec::from(der)))
            .collect();
        let verified =
            signet_check::x509::verify_svid(&chain, trust, now).map_err(|e| wrong(e.to_string()))?;
        if verified.id != self.id {
            return Err(wrong(format!("`{}` instead of `{}`", verified.id, self.id)));
        }
        signet_check::x509::match_private_key(&verified.leaf, &self.key).map_err(|e| wrong(e.to_string()))?;
        let key_pkcs8 = self.key.to_pkcs8().map_err(AgentError::Key)?;
        Ok(X509Svid {
            id: self.id,
            chain_der: chain
                .iter()
                .flat_map(|der| der.as_ref())
                .copied()
                .collect::<Vec<u8>>()
                .into(),
            key_pkcs8: wiped(key_pkcs8.expose().to_vec()),
            not_after: verified.not_after,
            renew_at: half_life(now, verified.not_after),
            chain,
            number,
        })
    }
}

impl X509Svid {
    /// The same SVID, with a successor wanted from `at`.
    pub(super) fn renewed_at(&self, at: UnixTime) -> Self {
        Self {
            renew_at: at,
            id: self.id.clone(),
            chain_der: self.chain_der.clone(),
            key_pkcs8: self.key_pkcs8.clone(),
            chain: self.chain.clone(),
            ..*self
        }
    }

    pub(super) fn is_valid(&self, now: UnixTime) -> bool {
        now < self.not_after
    }

    /// Whether a verifier with `trust` would still take it.
    pub(super) fn stands(&self, trust: &TrustView, now: UnixTime) -> bool {
        signet_check::x509::verify_svid(&self.chain, trust, now).is_ok()
    }
}

/// A new key. RSA takes tens of milliseconds and more, so it goes to a thread that may block; the others take less than
/// the way there.
async fn generate(key: SvidKey) -> Result<LocalKey, AgentError> {
    let kind = key.kind();
    let make = move || LocalKey::generate(kind);
    let made = match key {
        SvidKey::Rsa2048 | SvidKey::Rsa3072 => tokio::task::spawn_blocking(make)
            .await
            // The thread is lost where the runtime is shutting down.
            .unwrap_or(Err(CryptoError::Generate { kind })),
        _ => make(),
    };
    made.map_err(AgentError::Key)
}

/// Half of the time from `now` to `end`, a tenth earlier or later, so that not all come back at once.
pub(super) fn half_life(now: UnixTime, end: UnixTime) -> UnixTime {
    now + scatter(end.since(now) / 2)
}

/// `span`, up to a tenth shorter or longer.
pub(crate) fn scatter(span: Duration) -> Duration {
    // Without randomness all come back at once, which is a pity and no more.
    let random = signet_crypto::random::<4>().map_or(u32::MAX / 2, u32::from_le_bytes);
    span.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

const CHAIN_CERTIFICATES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_falls_near_half_life_for_short_lives_too() {
        for life_s in [2, 20, 3600, 21_600] {
            let now = UnixTime::from_secs(1_800_000_000);
            let end = now + Duration::from_secs(life_s);
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..200 {
                let at =
                    half_life(now, end).since(now).as_secs_f64() / Duration::from_secs(life_s).as_secs_f64();
                assert!((0.449..=0.551).contains(&at), "{at}");
                seen.insert(half_life(now, end));
            }
            assert!(seen.len() > 50, "they scatter");
        }
    }
}
