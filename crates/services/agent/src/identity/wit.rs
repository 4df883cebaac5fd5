use super::frames::{self, Bundles};
use super::inner::Inner;
use super::message::Message;
use super::slots::Slots;
use super::svid::{Held, Svid, Wanted, check_id, wrong};
use super::view::{Sight, SvidSight, View};
use crate::metrics::IssueKind;
use crate::settings::SvidKey;
use crate::{AgentError, IssueError};
use core::sync::atomic::AtomicBool;
use signet_check::wit::{SeenProofs, make_proof, validate_svid};
use signet_crypto::{KeyKind, Secret};
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_jose::{JwsAlgorithm, PrivateJwk};
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_proto::agent::v1::{WitWish, issue_item::Wish};
use signet_time::UnixTime;
use signet_trust::TrustView;
use std::sync::Arc;

/// A WIT-SVID with its key, shared by all callers that its entry matches.
pub(crate) struct WitSvid {
    pub(super) id: SpiffeId,
    /// In compact serialization.
    pub(super) token: String,
    /// The key as private JWK.
    pub(super) key: Secret,
    issued_at: UnixTime,
    not_after: UnixTime,
    number: u64,
}

impl Svid for WitSvid {
    const KIND: IssueKind = IssueKind::Wit;
    const NAME: &'static str = "wit-svid";

    fn not_after(&self) -> UnixTime {
        self.not_after
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn stands(&self, trust: &TrustView, now: UnixTime) -> bool {
        validate_svid(&self.token, trust, now.max(self.issued_at)).is_ok()
    }

    /// Whatever X.509-SVIDs have: this is the kind of the nine algorithms of SVIDs that every verifier knows.
    fn key_kind(_: SvidKey) -> KeyKind {
        KeyKind::P256
    }

    fn dns_names(_: &FeedEntry) -> &[String] {
        &[]
    }

    fn wish(csr: Vec<u8>) -> Wish {
        Wish::Wit(WitWish { csr: csr.into() })
    }

    /// A token tells whose it is to those alone who prove its key, so that is done here too.
    fn fulfil(
        wanted: Wanted,
        issued: Issued,
        trust: &TrustView,
        now: UnixTime,
        number: u64,
    ) -> Result<Self, AgentError> {
        let Issued::Wit(issued) = issued else {
            let what = "no wit-svid as answer to a wish for one";
            return Err(IssueError::Protocol(what.to_owned()).into());
        };
        let Wanted { key, id } = wanted;
        let key = PrivateJwk::new(key, JwsAlgorithm::Es256).map_err(|e| wrong(&e))?;
        // A clock that is behind the server's is told elsewhere; it must not keep a workload from its identity.
        let issued_at = UnixTime::from_secs(issued.issued_at_s);
        let at = now.max(issued_at);
        let proof = make_proof(&issued.token, &key, OURSELVES, at).map_err(|e| wrong(&e))?;
        let verified = validate_svid(&issued.token, trust, at)
            .and_then(|unproven| unproven.prove(&proof, OURSELVES, &mut SeenProofs::new(1), at))
            .map_err(|e| wrong(&e))?;
        check_id(&verified.id, &id)?;
        if verified.exp <= now {
            return Err(wrong(&"a token that has expired"));
        }
        Ok(Self {
            id,
            token: issued.token,
            key: key.to_text().map_err(|e| wrong(&e))?,
            issued_at,
            not_after: verified.exp,
            number,
        })
    }

    fn message(svids: &Arc<[Held<Self>]>, _: &Arc<Bundles>) -> Message {
        Message::Whole(frames::wit_svids(svids))
    }

    fn slots(inner: &mut Inner) -> &mut Slots<Self> {
        &mut inner.wit
    }

    fn sight(sight: &Sight) -> &SvidSight<Self> {
        &sight.wit
    }

    fn wanted_by(view: &View) -> &AtomicBool {
        &view.wants_wit
    }
}

/// Whom the proof is for that the agent makes to itself.
const OURSELVES: &str = "signet-agent";
