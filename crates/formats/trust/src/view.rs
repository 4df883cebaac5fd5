use crate::Bundle;
use signet_id::TrustDomain;
use signet_time::UnixTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bundles that a verifier goes by, each for its own trust domain only.
///
/// A view does not change; holders put a new one in the place of the old. Cloning shares the bundles.
#[derive(Clone, Debug)]
pub struct TrustView {
    own: TrustDomain,
    bundles: BTreeMap<TrustDomain, Arc<Bundle>>,
    received_at: UnixTime,
}

/// What became of a bundle that was offered to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It stands in the view.
    Taken,
    /// The view's own is newer and stays.
    Older,
}

impl TrustView {
    /// A view from within the domain `own` that has no bundle yet, not even that domain's.
    #[must_use]
    pub fn new(own: TrustDomain) -> Self {
        Self {
            own,
            bundles: BTreeMap::new(),
            received_at: UnixTime::EPOCH,
        }
    }

    /// The same with `bundle`, which takes the place of the one of its domain: bundles are never merged.
    #[must_use]
    pub fn with_bundle(mut self, bundle: impl Into<Arc<Bundle>>) -> Self {
        let bundle = bundle.into();
        self.bundles.insert(bundle.trust_domain().clone(), bundle);
        self
    }

    /// The same with `bundle`, unless the one of its domain is newer: whoever fetches bundles may be given an old copy.
    #[must_use]
    pub fn with_newer(self, bundle: impl Into<Arc<Bundle>>) -> (Self, Offer) {
        let bundle = bundle.into();
        match self.bundle(bundle.trust_domain()) {
            Some(current) if !bundle.may_replace(current) => (self, Offer::Older),
            _ => (self.with_bundle(bundle), Offer::Taken),
        }
    }

    /// The same without the bundle of `trust_domain`: its SVIDs are refused from now on.
    #[must_use]
    pub fn without(mut self, trust_domain: &TrustDomain) -> Self {
        self.bundles.remove(trust_domain);
        self
    }

    /// The same, said to have been received at `at`.
    #[must_use]
    pub fn received(mut self, at: UnixTime) -> Self {
        self.received_at = at;
        self
    }

    /// The domain that the verifier is in.
    #[must_use]
    pub fn own(&self) -> &TrustDomain {
        &self.own
    }

    /// The bundle of `trust_domain`, and of no other.
    #[must_use]
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&Arc<Bundle>> {
        self.bundles.get(trust_domain)
    }

    /// The bundle of the verifier's own domain.
    #[must_use]
    pub fn own_bundle(&self) -> Option<&Arc<Bundle>> {
        self.bundle(&self.own)
    }

    /// All bundles, by domain.
    pub fn bundles(&self) -> impl ExactSizeIterator<Item = &Arc<Bundle>> {
        self.bundles.values()
    }

    /// When the view was last confirmed by whoever keeps it.
    #[must_use]
    pub fn received_at(&self) -> UnixTime {
        self.received_at
    }
}
