//! Which caller has which identity, and the SVIDs behind them.
//!
//! Callers that look alike share a [`View`]; entries that match several views share one SVID. SVIDs are made when
//! first asked for, renewed around half their life while anybody uses them, and served until they expire when the
//! server is away. One task, [`Identities::run`], keeps all of it moving.

mod cache;
mod explain;
mod frames;
mod index;
mod inner;
mod jwt;
mod message;
mod slot;
mod slots;
mod svid;
mod tokens;
mod trouble;
mod under_way;
mod view;
mod warm;
mod wit;
mod x509;

pub(crate) use explain::{Explained, Scope, SvidState, Tried};
pub(crate) use frames::{Bundles, frame, unique_hint, wiped};
pub(crate) use jwt::JwtSvid;
pub(crate) use message::Message;
pub(crate) use svid::{Svid, scatter};
pub(crate) use trouble::Trouble;
pub(crate) use view::{One, OneSvid, Shown, Sight, SvidSight, View};
pub(crate) use warm::{InUse, Warm};
pub(crate) use wit::WitSvid;
pub(crate) use x509::X509Svid;

use crate::attest::Selectors;
use crate::issuer::Coalescer;
use crate::metrics::{Outcome, Series};
use crate::reload::Live;
use crate::settings::Pace;
use crate::{AgentError, IssueError};
use cache::JwtCache;
use frames::same_authorities;
use index::Index;
use inner::Inner;
use signet_crypto::digest::hex;
use signet_feed::{FeedEntry, NodeState};
use signet_time::{SharedClock, Steps};
use signet_trust::TrustView;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use svid::Wanted;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// The name of an entry.
pub(crate) type EntryId = [u8; 16];

/// All identities of this node.
pub(crate) struct Identities {
    clock: SharedClock,
    coalescer: Coalescer,
    pace: Pace,
    live: Live,
    series: Series,
    inner: Mutex<Inner>,
    /// Places for SVIDs that are being asked for.
    fetching: Semaphore,
    /// Something is due, or due earlier than the task thinks.
    wake: Notify,
    /// The change whose state is served; none at first.
    applied: watch::Sender<Option<u64>>,
}

impl Identities {
    pub(crate) fn new(
        clock: SharedClock,
        coalescer: Coalescer,
        pace: Pace,
        live: Live,
        series: Series,
    ) -> Arc<Self> {
        let jwt = JwtCache::new(series.jwt_cache.clone());
        Arc::new(Self {
            clock,
            coalescer,
            pace,
            live,
            series,
            inner: Mutex::new(Inner::new(jwt)),
            fetching: Semaphore::new(FETCHING_MAX),
            wake: Notify::new(),
            applied: watch::Sender::new(None),
        })
    }

    /// Follows `state` until its sender is gone.
    pub(crate) async fn run(self: Arc<Self>, mut state: watch::Receiver<Option<Arc<NodeState>>>) {
        state.mark_changed();
        let mut steps = Steps::new(self.clock.now(), Instant::now().into_std());
        loop {
            if state.has_changed().is_err() {
                return;
            }
            if state.has_changed().is_ok_and(|changed| changed) {
                let node = state.borrow_and_update().clone();
                if let Some(node) = node {
                    self.replace(node);
                }
            }
            let pause = self.pass();
            tokio::select! {
                changed = state.changed() => match changed {
                    Ok(()) => state.mark_changed(),
                    Err(_) => return,
                },
                () = self.wake.notified() => {}
                () = self.rest(pause, &mut steps) => {}
            }
        }
    }

    /// Waits for `pause`, or until the clock was set: what that ended is not to be shown any longer.
    async fn rest(&self, pause: Duration, steps: &mut Steps) {
        let end = Instant::now() + pause;
        loop {
            let at = Instant::now();
            let now = self.clock.now();
            if steps.is_step(now, at.into_std()) {
                info!(%now, "the clock was set");
                return;
            }
            if at >= end {
                return;
            }
            tokio::time::sleep_until(end.min(at + Steps::LOOK_EVERY)).await;
        }
    }

    /// Looks at the clock again at once, and not when that is due next.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The change whose state is served; none before the first.
    pub(crate) fn applied(&self) -> watch::Receiver<Option<u64>> {
        self.applied.subscribe()
    }

    /// Whether there is a state to serve from.
    pub(crate) fn is_ready(&self) -> bool {
        self.applied.borrow().is_some()
    }

    /// What callers with `selectors` see.
    pub(crate) fn view(&self, selectors: &Selectors) -> Result<Arc<View>, AgentError> {
        let mut inner = self.lock();
        if let Some(view) = inner.views.get(selectors).and_then(Weak::upgrade) {
            return Ok(view);
        }
        let now = self.clock.now();
        let sight = inner.look(selectors, None, now).ok_or(AgentError::Initialising)?;
        let view = Arc::new(View {
            selectors: Arc::clone(selectors),
            wants_x509: AtomicBool::new(false),
            wants_wit: AtomicBool::new(false),
            sender: watch::Sender::new(Arc::new(sight)),
        });
        // Views go when their callers do; sweeping as the map doubles keeps that cheap.
        if inner.views.len() == inner.views.capacity() {
            inner.views.retain(|_, view| view.strong_count() > 0);
        }
        inner.views.insert(Arc::clone(selectors), Arc::downgrade(&view));
        Ok(view)
    }

    /// Whether the server issues WIT-SVIDs: one that does publishes keys for them.
    pub(crate) fn has_wit(&self) -> bool {
        let inner = self.lock();
        let own = inner
            .index
            .as_ref()
            .and_then(|index| index.node.trust.own_bundle());
        own.is_some_and(|own| !own.wit().is_empty())
    }

    /// Has SVIDs of this kind made for `view`, if they are not there or on their way.
    pub(crate) fn want<S: Svid>(&self, view: &View) {
        let is_news = view.want::<S>();
        let sight = view.now();
        let now = self.clock.now();
        let mut inner = self.lock();
        // What has expired by now goes at once, and not when the clock is looked at next: it may have been set.
        let is_good = matches!(S::sight(&sight), SvidSight::Ready(shown) if shown.is_valid(now));
        if is_news || !is_good {
            inner.refresh(view, now);
        }
        S::slots(&mut inner).used(&view.now().entries, now);
        drop(inner);
        if is_news || !is_good {
            self.wake();
        }
    }

    /// Serves from `node` from now on. What costs time depends on what differs from the state before: a change of one
    /// entry among many touches nothing of the others.
    fn replace(&self, node: Arc<NodeState>) {
        let now = self.clock.now();
        // Nobody else replaces the state, so what takes long after a snapshot is done before callers have to wait.
        let old = self.lock().index.as_ref().map(|index| Arc::clone(&index.node));
        let first = old.is_none().then(|| Index::new(Arc::clone(&node)));
        let changes = old
            .as_ref()
            .map(|old| node.entries.changes_since(&old.entries))
            .unwrap_or_default();
        let trust_changed = old
            .as_ref()
            .is_none_or(|old| !same_authorities(&old.trust, &node.trust));
        let mut inner = self.lock();
        match (first, &mut inner.index) {
            (None, Some(index)) => index.follow(Arc::clone(&node), &changes),
            (first, index) => *index = first,
        }
        inner.x509.follow(&changes, now);
        inner.wit.follow(&changes, now);
        inner.x509.hope(now);
        inner.wit.hope(now);
        for id in changes
            .iter()
            .filter_map(|change| Some(change.before.as_ref()?.id))
        {
            inner.jwt.forget(id);
            inner.under_way.forget(id);
        }
        if trust_changed {
            inner.renew_bundles(&node.trust);
            if old
                .as_ref()
                .is_some_and(|old| jwt_key_left(&old.trust, &node.trust))
            {
                inner.jwt.clear();
                inner.under_way.clear();
            }
            inner.x509.recheck(&node.trust, now);
            inner.wit.recheck(&node.trust, now);
            inner.refresh_all(now);
        } else {
            inner.refresh_concerned(&changes, now);
        }
        drop(inner);
        self.applied.send_replace(Some(node.cursor.seq));
        self.series
            .entries
            .set(i64::try_from(node.entries.len()).unwrap_or(i64::MAX));
        let (seq, entries, bundles) = (node.cursor.seq, node.entries.len(), node.trust.bundles().len());
        if trust_changed || !changes.is_empty() {
            info!(
                seq,
                entries,
                bundles,
                changed = changes.len(),
                "serving new state"
            );
        } else {
            debug!(seq, entries, bundles, "nothing changed");
        }
    }

    /// Does what is due; how long nothing else will be.
    fn pass(self: &Arc<Self>) -> Duration {
        let now = self.clock.now();
        let mut inner = self.lock();
        let (in_use_x509, in_use_wit) = (inner.in_use::<X509Svid>(), inner.in_use::<WitSvid>());
        let Inner { x509, wit, index, .. } = &mut *inner;
        let latest = now + self.pace.look;
        let x509 = x509.due(index.as_ref(), &in_use_x509, now, latest);
        let wit = wit.due(index.as_ref(), &in_use_wit, now, latest);
        let mut next = x509.next.min(wit.next);
        inner.changed.extend(x509.ended.into_iter().chain(wit.ended));
        if let Some(end) = inner.first_end() {
            if end <= now {
                inner.refresh_all(now);
            } else {
                next = next.min(end);
            }
        }
        inner.refresh_changed(now);
        let jwt_bytes_max = self.live.jwt_cache_bytes_max();
        inner.jwt.expire(now);
        inner.jwt.shrink(jwt_bytes_max);
        x509.begin
            .iter()
            .chain(&wit.begin)
            .for_each(|_| inner.asked.begin());
        drop(inner);
        self.series.jwt_cache.bounded(jwt_bytes_max);
        for entry in x509.begin {
            self.fetch_in_turn::<X509Svid>(entry);
        }
        for entry in wit.begin {
            self.fetch_in_turn::<WitSvid>(entry);
        }
        next.since(now).max(Duration::from_millis(1))
    }

    /// Has one fetched as soon as there is a place for it. Until then it takes little.
    fn fetch_in_turn<S: Svid>(self: &Arc<Self>, entry: Arc<FeedEntry>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            // The places are never closed.
            let _place = this.fetching.acquire().await;
            Box::pin(Arc::clone(&this).fetch::<S>(entry)).await;
        });
    }

    async fn fetch<S: Svid>(self: Arc<Self>, entry: Arc<FeedEntry>) {
        let began = Instant::now();
        let result = self.ask::<S>(&entry).await;
        self.series.issued(S::KIND, Outcome::of(&result), began.elapsed());
        let now = self.clock.now();
        let mut inner = self.lock();
        if inner.asked.end() {
            tokio::spawn(give_back());
        }
        let Some(slot) = S::slots(&mut inner).get_mut(entry.id) else {
            return;
        };
        slot.under_way = false;
        match result {
            Ok(svid) if slot.wants(&entry) => {
                debug!(kind = S::NAME, spiffe_id = %entry.spiffe_id, not_after = %svid.not_after(), "svid ready");
                S::slots(&mut inner).put(entry.id, svid, now);
                inner.troubles.clear(entry.id, S::KIND);
            }
            // The entry changed meanwhile: what came is not what is wanted any more.
            Ok(_) => slot.ask_again(now),
            Err(error) => {
                let pause = self.backoff(slot.failures, &error);
                slot.failed(pause, now);
                warn!(kind = S::NAME, spiffe_id = %entry.spiffe_id, entry = %hex(&entry.id), %error, retry_ms = pause.as_millis(), "no svid");
                let Inner { troubles, index, .. } = &mut *inner;
                let there = |id| index.as_ref().is_some_and(|index| index.has(id));
                troubles.put(&entry, S::KIND, &error, now, there);
            }
        }
        inner.changed.insert(entry.id);
        drop(inner);
        self.wake();
    }

    async fn ask<S: Svid>(&self, entry: &FeedEntry) -> Result<S, AgentError> {
        let (wanted, wish) = Wanted::new::<S>(entry, self.live.svid_key()).await?;
        let issued = self.coalescer.issue(entry.item(wish)).await?;
        let (trust, number) = {
            let mut inner = self.lock();
            inner.next_number += 1;
            let trust = inner.index.as_ref().map(|index| index.node.trust.clone());
            (trust.ok_or(AgentError::Initialising)?, inner.next_number)
        };
        S::fulfil(wanted, issued, &trust, self.clock.now(), number)
    }

    fn backoff(&self, failures: u32, error: &AgentError) -> Duration {
        let pause = match error {
            AgentError::Issue(IssueError::Refused { retry: false, .. }) => self.pace.retry_max,
            _ => self
                .pace
                .retry_min
                .saturating_mul(2_u32.saturating_pow(failures.min(16))),
        };
        scatter(pause.min(self.pace.retry_max))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // INVARIANT: nothing under this lock panics half way, so a poisoned one is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives back the memory that it took to ask for many SVIDs, once streams were told of them.
async fn give_back() {
    tokio::time::sleep(TOLD_WITHIN).await;
    // There is nothing to wait for.
    drop(tokio::task::spawn_blocking(signet_sys::process::give_back_memory));
}

/// Whether a key that signs JWT-SVIDs of the own domain is gone or tainted, so that cached tokens may be worthless.
fn jwt_key_left(old: &TrustView, new: &TrustView) -> bool {
    old.own_bundle().is_some_and(|old| {
        old.jwt()
            .iter()
            .filter(|key| !key.tainted)
            .any(|key| new.own_bundle().is_none_or(|new| new.jwt_key(&key.kid).is_none()))
    })
}

/// With keys and signing requests: as many as go into one call to the server, and as many for the next one.
const FETCHING_MAX: usize = 128;
/// Most streams.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
