use super::EntryId;
use super::frames::Bundles;
use super::message::Message;
use super::svid::{Held, Svid};
use super::wit::WitSvid;
use super::x509::X509Svid;
use crate::attest::Selectors;
use signet_feed::FeedEntry;
use signet_id::SpiffeId;
use signet_time::UnixTime;
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
    pub(crate) message: Message,
    pub(super) svids: Arc<[Held<S>]>,
    /// Entries whose SVID is on its way.
    pub(super) awaited: HashSet<EntryId>,
}

/// The SVID of one identity among those that are shown.
pub(crate) enum One {
    /// A message with it alone.
    Message(Message),
    /// It is on its way.
    Awaited,
    /// It could not be had.
    Unavailable,
}

/// The SVID itself of one identity among those that are shown.
pub(crate) enum OneSvid<S> {
    /// This one.
    Svid(Arc<S>),
    /// It is on its way.
    Awaited,
    /// It could not be had.
    Unavailable,
}

impl Sight {
    /// The X.509-SVID of `id`, which is one of the entries'. Where several entries give it, the oldest answers.
    pub(crate) fn x509_of(&self, id: &SpiffeId) -> OneSvid<X509Svid> {
        match &self.x509 {
            SvidSight::Pending => OneSvid::Awaited,
            SvidSight::Unavailable => OneSvid::Unavailable,
            SvidSight::Ready(shown) => shown.one_svid(id, self),
        }
    }
}

impl<S: Svid> Shown<S> {
    /// Whether none of them has expired.
    pub(super) fn is_valid(&self, now: UnixTime) -> bool {
        self.svids.iter().all(|held| now < held.svid.not_after())
    }

    /// Whether these are the ones that are shown, under the same hints, so that they need not be encoded again.
    pub(super) fn has_same(&self, svids: &[Held<S>]) -> bool {
        Held::are_same(&self.svids, svids)
    }

    /// What a stream sends that asked for `id` alone, which `sight` has. Where several entries give it, the oldest
    /// answers.
    pub(crate) fn one(&self, id: &SpiffeId, sight: &Sight) -> One {
        if let Some(held) = self.held(id) {
            One::Message(S::message(&Arc::from([held.clone()]), &sight.bundles))
        } else if self.is_awaited(id, sight) {
            One::Awaited
        } else {
            One::Unavailable
        }
    }

    fn one_svid(&self, id: &SpiffeId, sight: &Sight) -> OneSvid<S> {
        if let Some(held) = self.held(id) {
            OneSvid::Svid(Arc::clone(&held.svid))
        } else if self.is_awaited(id, sight) {
            OneSvid::Awaited
        } else {
            OneSvid::Unavailable
        }
    }

    fn held(&self, id: &SpiffeId) -> Option<&Held<S>> {
        self.svids.iter().find(|held| held.entry.spiffe_id == *id)
    }

    fn is_awaited(&self, id: &SpiffeId, sight: &Sight) -> bool {
        let of_id = |entry: &Arc<FeedEntry>| entry.spiffe_id == *id && self.awaited.contains(&entry.id);
        sight.entries.iter().any(of_id)
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
