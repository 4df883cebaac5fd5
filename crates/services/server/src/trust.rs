//! What the keys say, in the forms that other parts need.

use crate::ServerError;
use arc_swap::ArcSwap;
use signet_fault::chain;
use signet_keys::{Keys, Purpose};
use signet_time::{SharedClock, UnixTime};
use signet_trust::TrustView;
use signet_x509::Der;
use std::sync::Arc;
use tracing::error;

/// The root certificates that are published and were not called off.
pub(crate) fn roots(keys: &Keys) -> Vec<Der> {
    let roots = keys.published(Purpose::X509Root);
    roots
        .iter()
        .filter(|key| !key.is_tainted())
        .filter_map(|key| key.certificate().cloned())
        .collect()
}

/// What agents' certificates are checked against.
pub(crate) fn view(keys: &Keys, now: UnixTime) -> Result<TrustView, ServerError> {
    let bundle = keys.bundle().map_err(ServerError::part("make the bundle"))?;
    let own = bundle.trust_domain().clone();
    Ok(TrustView::new(own).with_bundle(bundle).received(now))
}

/// Keeps `shared` up with the keys for ever.
pub(crate) async fn keep(keys: Arc<Keys>, shared: Arc<ArcSwap<TrustView>>, clock: SharedClock) {
    let mut applied = keys.followed().applied();
    // What changed before this task ran must not be missed.
    applied.mark_changed();
    while applied.changed().await.is_ok() {
        match view(&keys, clock.now()) {
            Ok(view) => shared.store(Arc::new(view)),
            Err(error) => error!(error = chain(&error), "trust stays as it was"),
        }
    }
    core::future::pending().await
}
