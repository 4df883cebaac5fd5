//! The node's own identity.

use super::files::{NodeFile, StateDir};
use crate::AgentError;
use crate::identity::scatter;
use arc_swap::ArcSwap;
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_feed::bundle_from_proto;
use signet_id::{SpiffeId, TrustDomain};
use signet_proto::agent::v1::NodeSvid;
use signet_time::UnixTime;
use signet_tls::LiveIdentity;
use signet_trust::{Bundle, TrustView};
use signet_x509::Der;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A node that has joined: its key, its SVID, and what it verifies its servers with.
pub(super) struct Node {
    pub(super) id: SpiffeId,
    pub(super) key: Arc<LocalKey>,
    pub(super) servers: Vec<String>,
    /// What is shown to servers; renewed in place.
    pub(super) shown: Arc<LiveIdentity>,
    /// The own domain's bundle; renewed in place.
    pub(super) trust: Arc<ArcSwap<TrustView>>,
    state: Option<StateDir>,
    times: Mutex<Times>,
    tainted: Mutex<Tainted>,
}

/// A node as the server knows it: by name and key, whatever its SVID is worth.
pub(super) struct Known {
    pub(super) id: SpiffeId,
    pub(super) key: Arc<LocalKey>,
    /// SHA-256 of the roots that its servers may have: those of the kept bundle that are not tainted.
    pub(super) roots: Vec<[u8; 32]>,
    /// SHA-256 of all that ever were.
    pub(super) tainted: Tainted,
    pub(super) servers: Vec<String>,
}

/// What a state directory held.
pub(super) enum Kept {
    Good(Node),
    /// With an SVID that has expired, or does not stand before the bundle beside it.
    Stale(Known),
}

/// SHA-256 of roots that were ever tainted, the newest last. A bundle forgets them when they leave it, but whoever stole one
/// has it still, and it may stand in a join string or a file of anchors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tainted(Vec<[u8; 32]>);

impl Tainted {
    /// As `state` has it, for a node that begins anew.
    pub(super) fn kept(state: Option<&StateDir>) -> Self {
        let file = state.and_then(|state| state.node().ok().flatten());
        let mut tainted = Self(file.as_ref().and_then(NodeFile::tainted).unwrap_or_default());
        if let Some(bundle) = file.and_then(|file| file.bundle()) {
            tainted.note(&bundle);
        }
        tainted
    }

    /// Whether `root` is none of them.
    pub(super) fn spares(&self, root: &[u8; 32]) -> bool {
        !self.0.contains(root)
    }

    /// Adds those of `bundle`; whether there were new ones.
    fn note(&mut self, bundle: &Bundle) -> bool {
        let before = self.0.len();
        for root in roots(bundle, true) {
            if self.spares(&root) {
                self.0.push(root);
            }
        }
        let is_news = self.0.len() > before;
        let over = self.0.len().saturating_sub(TAINTED_MAX);
        self.0.drain(..over);
        is_news
    }
}

/// Roots live for years and one is stolen hardly ever; of more, the oldest is forgotten.
const TAINTED_MAX: usize = 256;

#[derive(Clone, Copy)]
struct Times {
    not_after: UnixTime,
    renew_at: UnixTime,
}

/// The node's key: the one kept, else a new one, which is kept before it is first shown, so that an attempt that is
/// cut off can be made again with the same key.
pub(super) fn key(state: Option<&StateDir>) -> Result<LocalKey, AgentError> {
    if let Some(state) = state
        && let Some(key) = state.key()?
    {
        return Ok(key);
    }
    let key = LocalKey::generate(KeyKind::P256).map_err(AgentError::Key)?;
    if let Some(state) = state {
        state.keep_key(&key)?;
    }
    Ok(key)
}

impl Node {
    /// The node as it was kept, if it was.
    ///
    /// # Errors
    /// What keeps the files from being read.
    pub(super) fn kept(state: &StateDir, now: UnixTime) -> Result<Option<Kept>, AgentError> {
        let (Some(key), Some(file)) = (state.key()?, state.node()?) else {
            return Ok(None);
        };
        let broken = || AgentError::Server("the kept identity cannot be read".to_owned());
        let chain = signet_x509::pem::parse_certs(file.chain.as_bytes()).map_err(|_| broken())?;
        let bundle = file.bundle().ok_or_else(broken)?;
        let mut known = Known {
            id: identity(&chain).ok_or_else(broken)?,
            key: Arc::new(key),
            roots: roots(&bundle, false),
            tainted: Tainted(file.tainted().ok_or_else(broken)?),
            servers: file.servers,
        };
        known.tainted.note(&bundle);
        let made = Self::new(
            Arc::clone(&known.key),
            chain,
            bundle,
            &file.trust_domain,
            known.servers.clone(),
            Some(state.clone()),
            known.tainted.clone(),
            now,
        );
        match made {
            Ok(node) => Ok(Some(Kept::Good(node))),
            // Expired, most likely: the node was away for long.
            Err(error) => {
                tracing::warn!(%error, "the kept node identity opens no door any more");
                Ok(Some(Kept::Stale(known)))
            }
        }
    }

    /// What it can prove itself with when its SVID is of no more use.
    pub(super) fn known(&self) -> Known {
        let trust = self.trust.load();
        Known {
            id: self.id.clone(),
            key: Arc::clone(&self.key),
            roots: trust.own_bundle().map(|b| roots(b, false)).unwrap_or_default(),
            tainted: self.tainted().clone(),
            servers: self.servers.clone(),
        }
    }

    /// The node that a server made of `key`.
    pub(super) fn issued(
        key: Arc<LocalKey>,
        svid: NodeSvid,
        trust_domain: &TrustDomain,
        servers: Vec<String>,
        state: Option<StateDir>,
        tainted: Tainted,
        now: UnixTime,
    ) -> Result<Self, AgentError> {
        let bundle = svid
            .bundle
            .as_ref()
            .ok_or_else(|| AgentError::Server("it sent no bundle".to_owned()))?;
        let bundle = bundle_from_proto(bundle).map_err(|e| AgentError::Server(e.to_string()))?;
        let chain = chain(svid.chain);
        let node = Self::new(key, chain, bundle, trust_domain, servers, state, tainted, now)?;
        if node.id.as_str() != svid.spiffe_id {
            return Err(AgentError::Server(format!(
                "a certificate for `{}` that it calls `{}`",
                node.id, svid.spiffe_id
            )));
        }
        node.keep()?;
        Ok(node)
    }

    fn new(
        key: Arc<LocalKey>,
        chain: Vec<Der>,
        bundle: Bundle,
        trust_domain: &TrustDomain,
        servers: Vec<String>,
        state: Option<StateDir>,
        mut tainted: Tainted,
        now: UnixTime,
    ) -> Result<Self, AgentError> {
        tainted.note(&bundle);
        if bundle.trust_domain() != trust_domain {
            return Err(AgentError::Server(format!(
                "the bundle of `{}`",
                bundle.trust_domain()
            )));
        }
        let trust = TrustView::new(trust_domain.clone())
            .with_bundle(bundle)
            .received(now);
        let (id, times) = check(&chain, &key, &trust, now)?;
        let shown =
            LiveIdentity::new(chain, &key).map_err(|e| AgentError::Server(signet_fault::chain(&e)))?;
        Ok(Self {
            id,
            key,
            servers,
            shown: Arc::new(shown),
            trust: Arc::new(ArcSwap::from_pointee(trust)),
            state,
            times: Mutex::new(times),
            tainted: Mutex::new(tainted),
        })
    }

    /// Shows a new SVID from now on.
    pub(super) fn renew(&self, svid: NodeSvid, now: UnixTime) -> Result<(), AgentError> {
        let chain = chain(svid.chain);
        let (id, times) = check(&chain, &self.key, &self.trust.load(), now)?;
        if id != self.id {
            return Err(AgentError::Server(format!(
                "a certificate for `{id}` instead of `{}`",
                self.id
            )));
        }
        self.shown
            .set(chain, &self.key)
            .map_err(|e| AgentError::Server(signet_fault::chain(&e)))?;
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
        self.keep()
    }

    /// Verifies servers with `trust` from now on. Kept for the next start if it differs.
    pub(super) fn trust(&self, trust: &TrustView) -> Result<(), AgentError> {
        let sequence = |view: &TrustView| view.own_bundle().map(|b| b.sequence());
        let is_tainted = trust
            .own_bundle()
            .is_some_and(|bundle| self.tainted().note(bundle));
        let is_news = is_tainted || sequence(&self.trust.load()) != sequence(trust);
        self.trust.store(Arc::new(trust.clone()));
        if is_news { self.keep() } else { Ok(()) }
    }

    /// Whether what we show stands before `trust`; not so where an authority above it is tainted.
    pub(super) fn stands(&self, trust: &TrustView, now: UnixTime) -> bool {
        match signet_check::x509::verify_svid(&self.shown.chain(), trust, now) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(node = %self.id, %error, "the node's identity stands no more, renewing it");
                false
            }
        }
    }

    /// Whether another agent still lives from this identity, which hands it over.
    pub(super) fn is_awaited(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.pen().is_awaited())
    }

    pub(super) fn renew_at(&self) -> UnixTime {
        self.times().renew_at
    }

    pub(super) fn not_after(&self) -> UnixTime {
        self.times().not_after
    }

    fn tainted(&self) -> MutexGuard<'_, Tainted> {
        self.tainted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything down but the key, if there is a place.
    fn keep(&self) -> Result<(), AgentError> {
        let Some(state) = &self.state else { return Ok(()) };
        let trust = self.trust.load();
        let Some(bundle) = trust.own_bundle() else {
            return Ok(());
        };
        let chain = signet_x509::pem::encode_certs(&self.shown.chain());
        state.keep_node(&NodeFile::new(
            trust.own().clone(),
            self.servers.clone(),
            chain,
            bundle,
            &self.tainted().0,
        ))
    }
}

fn roots(bundle: &Bundle, tainted: bool) -> Vec<[u8; 32]> {
    let these = bundle
        .x509()
        .iter()
        .filter(|authority| authority.tainted == tainted);
    these
        .map(|authority| digest::sha256(&authority.certificate))
        .collect()
}

/// Whom the leaf names. Nothing relies on it but the question to the server whether it knows this node by its key.
fn identity(chain: &[Der]) -> Option<SpiffeId> {
    let leaf = signet_x509::Certificate::parse(chain.first()?).ok()?;
    match leaf.uri_names() {
        [one] => SpiffeId::parse(one).ok(),
        _ => None,
    }
}

fn chain(chain: Vec<bytes::Bytes>) -> Vec<Der> {
    chain.into_iter().map(|der| Der::from(Vec::from(der))).collect()
}

/// What a server of the own domain would check, and that the certificate is for our key.
fn check(
    chain: &[Der],
    key: &LocalKey,
    trust: &TrustView,
    now: UnixTime,
) -> Result<(SpiffeId, Times), AgentError> {
    let unfit =
        |e: signet_check::x509::X509SvidError| AgentError::Server(format!("the node's certificate: {e}"));
    let verified = signet_check::x509::verify_svid(chain, trust, now).map_err(unfit)?;
    if verified.id.trust_domain() != trust.own() {
        return Err(AgentError::Server(format!("a certificate for `{}`", verified.id)));
    }
    signet_check::x509::match_private_key(&verified.leaf, key).map_err(unfit)?;
    let not_after = verified.not_after;
    let renew_at = now + scatter(not_after.since(now) / 2);
    Ok((verified.id, Times { not_after, renew_at }))
}

#[cfg(test)]
mod tests {
    use super::super::contact::Visit;
    use super::*;
    use signet_feed::bundle_to_proto;
    use signet_testkit::START;
    use signet_testkit::forge::Authority;
    use signet_trust::X509Authority;

    #[test]
    fn a_root_that_was_tainted_is_no_anchor_after_it_left_the_bundle_and_after_a_start() {
        let folder = tempfile::tempdir().expect("folder");
        let state = StateDir::open(&folder.path().join("state")).expect("open");
        let domain: TrustDomain = "a.test".parse().expect("domain");
        let (stolen, good) = (Authority::root("a.test"), Authority::root("a.test"));
        let bundle =
            |sequence, x509| Bundle::new(domain.clone(), sequence, None, x509, Vec::new()).expect("bundle");
        let authority = |root: &Authority, tainted| X509Authority {
            certificate: root.certificate.clone(),
            tainted,
        };
        let leaf = good.leaf("spiffe://a.test/signet/node/x");
        state.keep_key(&leaf.key).expect("keep");
        let svid = NodeSvid {
            spiffe_id: "spiffe://a.test/signet/node/x".to_owned(),
            chain: vec![leaf.certificate.to_vec().into()],
            bundle: Some(bundle_to_proto(
                &bundle(1, vec![authority(&stolen, false), authority(&good, false)]),
                true,
            )),
            ..NodeSvid::default()
        };
        let key = Arc::new(leaf.key);
        let node = Node::issued(
            key,
            svid,
            &domain,
            Vec::new(),
            Some(state.clone()),
            Tainted::default(),
            START,
        )
        .expect("issued");
        let hash = |root: &Authority| digest::sha256(&root.certificate);
        let anchors = || vec![hash(&stolen), hash(&good)];
        let follows = |sequence, x509| TrustView::new(domain.clone()).with_bundle(bundle(sequence, x509));
        assert!(
            Visit::comeback(&node.known(), anchors())
                .roots()
                .contains(&hash(&stolen))
        );
        node.trust(&follows(
            2,
            vec![authority(&stolen, true), authority(&good, false)],
        ))
        .expect("kept");
        node.trust(&follows(3, vec![authority(&good, false)]))
            .expect("kept");
        let Some(Kept::Good(again)) = Node::kept(&state, START).expect("read") else {
            panic!("the identity is good");
        };
        for known in [node.known(), again.known()] {
            let visit = Visit::comeback(&known, anchors());
            assert!(!visit.roots().contains(&hash(&stolen)));
            assert!(visit.roots().contains(&hash(&good)));
        }
        // Whoever begins anew in this directory does not believe it either.
        assert!(!Tainted::kept(Some(&state)).spares(&hash(&stolen)));
    }

    #[test]
    fn of_more_than_may_be_the_oldest_is_forgotten() {
        let mut tainted = Tainted(
            (0..TAINTED_MAX)
                .map(|n| [u8::try_from(n).expect("few"); 32])
                .collect(),
        );
        let root = Authority::root("a.test");
        let authority = X509Authority {
            certificate: root.certificate.clone(),
            tainted: true,
        };
        let bundle = Bundle::new(
            "a.test".parse().expect("domain"),
            1,
            None,
            vec![authority],
            Vec::new(),
        )
        .expect("bundle");
        assert!(tainted.note(&bundle) && !tainted.note(&bundle));
        assert_eq!(tainted.0.len(), TAINTED_MAX);
        assert!(tainted.spares(&[0; 32]) && !tainted.spares(&[1; 32]));
        assert!(!tainted.spares(&digest::sha256(&root.certificate)));
    }
}
