use super::EntryId;
use super::frames::Bundles;
use crate::attest::Selectors;
use bytes::Bytes;
use signet_feed::FeedEntry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What callers with one set of selectors see, kept up to date while somebody holds it.
pub(crate) struct View {
    pub(super) selectors: Selectors,
    /// Whether anybody asked for X.509-SVIDs: nothing is issued that nobody wants.
    pub(super) wants_x509: AtomicBool,
    pub(super) sender: watch::Sender<Arc<Sight>>,
}

/// What a view shows at one time.
pub(crate) struct Sight {
    /// The entries that match, oldest first. None: the caller has no identity.
    pub(crate) entries: Vec<Arc<FeedEntry>>,
    /// The bundles that these callers may use.
    pub(crate) bundles: Arc<Bundles>,
    /// Their X.509-SVIDs.
    pub(crate) x509: X509Sight,
    /// Which SVIDs the message holds, and under which hint, so that the same is not encoded and sent twice.
    pub(super) shown: Vec<(EntryId, u64, String)>,
}

/// The state of the X.509-SVIDs of a view.
#[derive(Clone)]
pub(crate) enum X509Sight {
    /// Not there yet, but on their way (or not asked for).
    Pending,
    /// The message of `FetchX509SVID`.
    Ready(Bytes),
    /// None could be had, and those that were had have expired.
    Unavailable,
}

impl View {
    /// Follows what is shown.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Sight>> {
        self.sender.subscribe()
    }

    /// What is shown now.
    pub(crate) fn now(&self) -> Arc<Sight> {
        Arc::clone(&self.sender.borrow())
    }

    /// Notes that X.509-SVIDs are wanted from now on. Whether that is news.
    pub(super) fn want_x509(&self) -> bool {
        !self.wants_x509.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_x509_wanted(&self) -> bool {
        self.wants_x509.load(Ordering::Acquire)
    }
}
