use super::frames::{self, Bundles, wiped};
use super::inner::Inner;
use super::slots::Slots;
use super::svid::{Held, Svid, Wanted, check_id, wrong};
use super::view::{Sight, SvidSight, View};
use crate::metrics::IssueKind;
use crate::settings::SvidKey;
use crate::{AgentError, IssueError};
use bytes::Bytes;
use core::sync::atomic::AtomicBool;
use signet_crypto::KeyKind;
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_proto::agent::v1::{X509Wish, issue_item::Wish};
use signet_time::UnixTime;
use signet_trust::TrustView;
use signet_x509::Der;

/// An X.509-SVID with its key, shared by all callers that its entry matches.
pub(crate) struct X509Svid {
    pub(super) id: SpiffeId,
    /// Leaf first; concatenated DER.
    pub(super) chain_der: Bytes,
    pub(super) key_pkcs8: Bytes,
    not_after: UnixTime,
    chain: Vec<Der>,
    number: u64,
}

impl Svid for X509Svid {
    const KIND: IssueKind = IssueKind::X509;
    const NAME: &'static str = "x509-svid";

    fn not_after(&self) -> UnixTime {
        self.not_after
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn stands(&self, trust: &TrustView, now: UnixTime) -> bool {
        signet_check::x509::verify_svid(&self.chain, trust, now).is_ok()
    }

    fn key_kind(setting: SvidKey) -> KeyKind {
        setting.kind()
    }

    fn dns_names(entry: &FeedEntry) -> &[String] {
        &entry.dns_names
    }

    fn wish(csr: Vec<u8>) -> Wish {
        Wish::X509(X509Wish { csr: csr.into() })
    }

    fn fulfil(
        wanted: Wanted,
        issued: Issued,
        trust: &TrustView,
        now: UnixTime,
        number: u64,
    ) -> Result<Self, AgentError> {
        let Issued::X509(issued) = issued else {
            let what = "no certificate as answer to a wish for one";
            return Err(IssueError::Protocol(what.to_owned()).into());
        };
        if issued.chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(wrong(&format!("a chain of {} certificates", issued.chain.len())));
        }
        let chain: Vec<Der> = issued
            .chain
            .into_iter()
            .map(|der| Der::from(Vec::from(der)))
            .collect();
        let verified = signet_check::x509::verify_svid(&chain, trust, now).map_err(|e| wrong(&e))?;
        check_id(&verified.id, &wanted.id)?;
        signet_check::x509::match_private_key(&verified.leaf, &wanted.key).map_err(|e| wrong(&e))?;
        let key_pkcs8 = wanted.key.to_pkcs8().map_err(AgentError::Key)?;
        Ok(Self {
            id: wanted.id,
            chain_der: chain
                .iter()
                .flat_map(|der| der.as_ref())
                .copied()
                .collect::<Vec<u8>>()
                .into(),
            key_pkcs8: wiped(key_pkcs8.expose().to_vec()),
            not_after: verified.not_after,
            chain,
            number,
        })
    }

    fn message(svids: &[Held<Self>], bundles: &Bundles) -> Bytes {
        frames::x509_svids(svids, bundles)
    }

    fn slots(inner: &mut Inner) -> &mut Slots<Self> {
        &mut inner.x509
    }

    fn sight(sight: &Sight) -> &SvidSight<Self> {
        &sight.x509
    }

    fn wanted_by(view: &View) -> &AtomicBool {
        &view.wants_x509
    }
}

const CHAIN_CERTIFICATES_MAX: usize = 8;
