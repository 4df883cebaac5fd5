use super::frames::Bundles;
use super::inner::Inner;
use super::message::{Message, X509Svids};
use super::slots::Slots;
use super::svid::{Held, Svid, Wanted, check_id, wrong};
use super::view::{Sight, SvidSight, View};
use crate::metrics::IssueKind;
use crate::settings::SvidKey;
use crate::{AgentError, IssueError};
use core::sync::atomic::AtomicBool;
use signet_crypto::{KeyKind, Secret};
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_proto::agent::v1::{X509Wish, issue_item::Wish};
use signet_time::UnixTime;
use signet_trust::TrustView;
use signet_x509::Der;
use std::sync::Arc;

/// An X.509-SVID with its key, shared by all callers that its entry matches.
pub(crate) struct X509Svid {
    pub(super) id: SpiffeId,
    leaf: Der,
    /// What came behind the leaf: the same for all that one authority signed, which share it.
    behind: Arc<[Der]>,
    /// In PKCS #8.
    key: Secret,
    not_after: UnixTime,
    number: u64,
}

impl X509Svid {
    /// Leaf first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Der> {
        core::iter::once(&self.leaf).chain(&*self.behind)
    }

    /// The private key in PKCS #8.
    pub(crate) const fn key(&self) -> &Secret {
        &self.key
    }
}

#[cfg(test)]
impl X509Svid {
    /// No certificates, but bytes of about their size.
    pub(super) fn for_tests(number: usize) -> Self {
        let text = format!("spiffe://a.test/service/{number}");
        Self {
            id: SpiffeId::parse(&text).expect("id"),
            leaf: Der::from(text.repeat(18).into_bytes()),
            behind: [Der::from(vec![1; 500]), Der::from(vec![2; 130])].into(),
            key: Secret::new(text.repeat(4).into_bytes()),
            not_after: UnixTime::EPOCH,
            number: number as u64,
        }
    }
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
        signet_check::x509::verify_svid_parts(&self.leaf, &self.behind, trust, now).is_ok()
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
        // Copies, because what came may be a small part of what was read with it.
        let mut chain = issued.chain.iter().map(|der| Der::from(der.to_vec()));
        let leaf = chain.next().ok_or_else(|| wrong(&"an empty chain"))?;
        let behind: Arc<[Der]> = chain.collect();
        let verified =
            signet_check::x509::verify_svid_parts(&leaf, &behind, trust, now).map_err(|e| wrong(&e))?;
        check_id(&verified.id, &wanted.id)?;
        signet_check::x509::match_private_key(&verified.leaf, &wanted.key).map_err(|e| wrong(&e))?;
        Ok(Self {
            id: wanted.id,
            leaf,
            behind,
            key: wanted.key.to_pkcs8().map_err(AgentError::Key)?,
            not_after: verified.not_after,
            number,
        })
    }

    fn share(&mut self, other: &Self) {
        if self.behind == other.behind {
            self.behind = Arc::clone(&other.behind);
        }
    }

    fn message(svids: &Arc<[Held<Self>]>, bundles: &Arc<Bundles>) -> Message {
        X509Svids::new(svids, bundles).into()
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
