use super::EntryId;
use super::frames::Bundles;
use super::svid::{Held, Svid};
use super::wit::WitSvid;
use super::x509::X509Svid;
use crate::attest::Selectors;
use bytes::Bytes;
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// What callers with one set of selectors see, kept up to date while somebody holds it.
pub(crate) struct View {
    pub(super) selectors: Selectors,
    /// Whether anybody asked for X.509-SVIDs: nothing is issued that nobody wants.
    pub(super) wants_x509: AtomicBool,
    /// Whether anybody asked for WIT-SVIDs.
    pub(super) wants_wit: AtomicBool,
    pub(super) sender: watch::Sender<Arc<Sight>>,
}

/// What a view shows at one time.
pub(crate) struct Sight {
    /// The entries that match, oldest first. None: the caller has no identity.
    pub(crate) entries: Vec<Arc<FeedEntry>>,
    /// The bundles that these callers may use.
    pub(crate) bundles: Arc<Bundles>,
    /// Their X.509-SVIDs.
    pub(crate) x509: SvidSight<X509Svid>,
    /// Their WIT-SVIDs.
    pub(crate) wit: SvidSight<WitSvid>,
}

/// The state of the SVIDs of one kind of a view.
pub(crate) enum SvidSight<S> {
    /// Not there yet, but on their way (or not asked for).
    Pending,
    /// At least one is there.
    Ready(Arc<Shown<S>>),
    /// None could be had, and those that were had have expired.
    Unavailable,
}

/// The SVIDs of one kind that a view shows.
pub(crate) struct Shown<S> {
    /// All of them, as the stream of this kind sends them.
    pub(crate) message: Bytes,
    pub(super) svids: Vec<Held<S>>,
    /// Entries whose SVID is on its way.
    pub(super) awaited: HashSet<EntryId>,
}

/// The SVID of one identity among those that are shown.
pub(crate) enum One {
    /// A message with it alone.
    Message(Bytes),
    /// It is on its way.
    Awaited,
    /// It could not be had.
    Unavailable,
}

impl<S: Svid> Shown<S> {
    /// Whether these are the ones that are shown, under the same hints, so that they need not be encoded again.
    pub(super) fn has_same(&self, svids: &[Held<S>]) -> bool {
        let names = |held: &Held<S>| (held.entry.id, held.svid.number());
        self.svids.len() == svids.len()
            && self
                .svids
                .iter()
                .zip(svids)
                .all(|(a, b)| names(a) == names(b) && a.hint == b.hint)
    }

    /// What a stream sends that asked for `id` alone, which `sight` has. Where several entries give it, the oldest
    /// answers.
    pub(crate) fn one(&self, id: &SpiffeId, sight: &Sight) -> One {
        if let Some(held) = self.svids.iter().find(|held| held.entry.spiffe_id == *id) {
            return One::Message(S::message(core::slice::from_ref(held), &sight.bundles));
        }
        let is_awaited = |entry: &Arc<FeedEntry>| entry.spiffe_id == *id && self.awaited.contains(&entry.id);
        if sight.entries.iter().any(is_awaited) {
            One::Awaited
        } else {
            One::Unavailable
        }
    }
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

    /// Notes that SVIDs of this kind are wanted from now on. Whether that is news.
    pub(super) fn want<S: Svid>(&self) -> bool {
        !S::wanted_by(self).swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_wanted<S: Svid>(&self) -> bool {
        S::wanted_by(self).load(Ordering::Acquire)
    }
}
