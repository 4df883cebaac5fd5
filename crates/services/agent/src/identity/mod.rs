//! Which caller has which identity, and the SVIDs behind them.
//!
//! Callers that look alike share a [`View`]; entries that match several views share one SVID. SVIDs are made when
//! first asked for, renewed around half their life while anybody uses them, and served until they expire when the
//! server is away. One task, [`Identities::run`], keeps all of it moving.

mod frames;
mod index;
mod inner;
mod jwt;
mod slot;
mod slots;
mod svid;
mod tokens;
mod view;
mod wit;
mod x509;

pub(crate) use frames::unique_hint;
pub(crate) use jwt::JwtSvid;
pub(crate) use svid::{Svid, scatter};
pub(crate) use view::{One, Shown, Sight, SvidSight, View};
pub(crate) use wit::WitSvid;
pub(crate) use x509::X509Svid;

use crate::attest::Selectors;
use crate::issuer::Coalescer;
use crate::metrics::{Outcome, Series};
use crate::reload::Live;
use crate::settings::Pace;
use crate::{AgentError, IssueError};
use frames::same_authorities;
use index::Index;
use inner::Inner;
use signet_crypto::digest::hex;
use signet_feed::{FeedEntry, NodeState};
use signet_proto::agent::v1::IssueItem;
use signet_time::SharedClock;
use signet_trust::TrustView;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use svid::Wanted;
use tokio::sync::{Notify, watch};
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
        Arc::new(Self {
            clock,
            coalescer,
            pace,
            live,
            series,
            inner: Mutex::default(),
            wake: Notify::new(),
            applied: watch::Sender::new(None),
        })
    }

    /// Follows `state` until its sender is gone.
    pub(crate) async fn run(self: Arc<Self>, mut state: watch::Receiver<Option<Arc<NodeState>>>) {
        state.mark_changed();
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
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at the clock again. For a clock that was set; one that runs is followed anyway.
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
        S::slots(&mut inner).used(&sight.entries, now);
        if is_news || !matches!(S::sight(&sight), SvidSight::Ready(_)) {
            inner.refresh(view, now);
            drop(inner);
            self.wake();
        }
    }

    /// Serves from `node` from now on.
    fn replace(&self, node: Arc<NodeState>) {
        let now = self.clock.now();
        let index = Index::new(Arc::clone(&node));
        let mut inner = self.lock();
        let before = inner.index.replace(index);
        let old = before.as_ref().map(|index| &index.node);
        let trust_changed = old.is_none_or(|old| !same_authorities(&old.trust, &node.trust));
        if trust_changed {
            inner.renew_bundles(&node.trust);
            if old.is_some_and(|old| jwt_key_left(&old.trust, &node.trust)) {
                inner.jwt.clear();
            }
        }
        let entries: HashMap<EntryId, &Arc<FeedEntry>> = node.entries.iter().map(|e| (e.id, e)).collect();
        let new_trust = trust_changed.then_some(&node.trust);
        inner.x509.follow(&entries, new_trust, now);
        inner.wit.follow(&entries, new_trust, now);
        let unchanged: HashSet<EntryId> = old
            .map(|old| {
                old.entries
                    .iter()
                    .filter(|e| entries.get(&e.id).is_some_and(|n| n.seq == e.seq))
            })
            .into_iter()
            .flatten()
            .map(|e| e.id)
            .collect();
        inner.jwt.retain(now, |id| unchanged.contains(&id));
        inner.refresh_all(now);
        drop(inner);
        self.applied.send_replace(Some(node.cursor.seq));
        self.series
            .entries
            .set(i64::try_from(node.entries.len()).unwrap_or(i64::MAX));
        info!(
            seq = node.cursor.seq,
            entries = node.entries.len(),
            bundles = node.trust.bundles().len(),
            "serving new state"
        );
    }

    /// Does what is due; how long nothing else will be.
    fn pass(self: &Arc<Self>) -> Duration {
        let now = self.clock.now();
        let mut inner = self.lock();
        let (in_use_x509, in_use_wit) = (inner.in_use::<X509Svid>(), inner.in_use::<WitSvid>());
        let Inner { x509, wit, index, .. } = &mut *inner;
        let x509 = x509.due(index.as_ref(), &in_use_x509, now);
        let wit = wit.due(index.as_ref(), &in_use_wit, now);
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
        drop(inner);
        for entry in x509.begin {
            tokio::spawn(Arc::clone(self).fetch::<X509Svid>(entry));
        }
        for entry in wit.begin {
            tokio::spawn(Arc::clone(self).fetch::<WitSvid>(entry));
        }
        next.since(now).max(Duration::from_millis(1))
    }

    async fn fetch<S: Svid>(self: Arc<Self>, entry: Arc<FeedEntry>) {
        let began = tokio::time::Instant::now();
        let result = self.ask::<S>(&entry).await;
        self.series.issued(S::KIND, Outcome::of(&result), began.elapsed());
        let now = self.clock.now();
        let mut inner = self.lock();
        let Some(slot) = S::slots(&mut inner).get_mut(entry.id) else {
            return;
        };
        slot.under_way = false;
        match result {
            Ok(svid) if slot.wants(&entry) => {
                debug!(kind = S::NAME, spiffe_id = %entry.spiffe_id, not_after = %svid.not_after(), "svid ready");
                slot.put(svid, now);
            }
            // The entry changed meanwhile: what came is not what is wanted any more.
            Ok(_) => slot.retry_at = now,
            Err(error) => {
                let pause = self.backoff(slot.failures, &error);
                slot.failures = slot.failures.saturating_add(1);
                slot.retry_at = now + pause;
                warn!(kind = S::NAME, spiffe_id = %entry.spiffe_id, entry = %hex(&entry.id), %error, retry_ms = pause.as_millis(), "no svid");
            }
        }
        inner.changed.insert(entry.id);
        drop(inner);
        self.wake();
    }

    async fn ask<S: Svid>(&self, entry: &FeedEntry) -> Result<S, AgentError> {
        let (wanted, wish) = Wanted::new::<S>(entry, self.live.svid_key()).await?;
        let item = IssueItem {
            entry_id: entry.id.to_vec().into(),
            wish: Some(wish),
        };
        let issued = self.coalescer.issue(item).await?;
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

/// Whether a key that signs JWT-SVIDs of the own domain is gone or tainted, so that cached tokens may be worthless.
fn jwt_key_left(old: &TrustView, new: &TrustView) -> bool {
    old.own_bundle().is_some_and(|old| {
        old.jwt()
            .iter()
            .filter(|key| !key.tainted)
            .any(|key| new.own_bundle().is_none_or(|new| new.jwt_key(&key.kid).is_none()))
    })
}

/// The longest time without a look at the clock, which may be set.
const IDLE_MAX: Duration = Duration::from_secs(30);
