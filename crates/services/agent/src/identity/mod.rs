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
mod svid;
mod tokens;
mod view;

pub(crate) use frames::unique_hint;
pub(crate) use jwt::JwtSvid;
pub(crate) use svid::scatter;
pub(crate) use view::{Sight, View, X509Sight};

use crate::attest::Selectors;
use crate::issuer::Coalescer;
use crate::metrics::{IssueKind, Outcome, Series};
use crate::reload::Live;
use crate::settings::Pace;
use crate::{AgentError, IssueError};
use frames::same_authorities;
use index::Index;
use inner::Inner;
use signet_crypto::digest::hex;
use signet_feed::{FeedEntry, NodeState};
use signet_proto::agent::v1::IssueItem;
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_time::SharedClock;
use signet_trust::TrustView;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use svid::{Wanted, X509Svid};
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
            sender: watch::Sender::new(Arc::new(sight)),
        });
        // Views go when their callers do; sweeping as the map doubles keeps that cheap.
        if inner.views.len() == inner.views.capacity() {
            inner.views.retain(|_, view| view.strong_count() > 0);
        }
        inner.views.insert(Arc::clone(selectors), Arc::downgrade(&view));
        Ok(view)
    }

    /// Has X.509-SVIDs made for `view`, if they are not there or on their way.
    pub(crate) fn want_x509(&self, view: &View) {
        let is_news = view.want_x509();
        let sight = view.now();
        let now = self.clock.now();
        let mut inner = self.lock();
        for entry in &sight.entries {
            if let Some(slot) = inner.slots.get_mut(&entry.id) {
                slot.used_at = now;
            }
        }
        if is_news || !matches!(sight.x509, X509Sight::Ready(_)) {
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
        inner
            .slots
            .retain(|id, slot| entries.get(id).is_some_and(|entry| slot.follow(entry, now)));
        if trust_changed {
            // A tainted or withdrawn authority: what it signed is replaced at once.
            for slot in inner.slots.values_mut() {
                slot.recheck(&node.trust, now);
            }
        }
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
        let mut next = now + IDLE_MAX;
        let in_use = inner.in_use();
        let mut begin = Vec::new();
        let mut ended = Vec::new();
        let Inner { slots, index, .. } = &mut *inner;
        slots.retain(|id, slot| {
            let entry = index.as_ref().and_then(|index| index.entry(*id));
            if slot.expire(now) {
                ended.push(*id);
            }
            let used = in_use.contains(id);
            if used {
                slot.used_at = now;
            }
            match entry {
                Some(entry) if slot.is_due(now) && (used || slot.is_worth_renewing(now)) => {
                    slot.under_way = true;
                    begin.push(Arc::clone(entry));
                }
                Some(_) => next = next.min(slot.next(now, used)),
                None => return false,
            }
            used || slot.under_way || slot.current.is_some()
        });
        inner.changed.extend(ended);
        if let Some(end) = inner.first_end() {
            if end <= now {
                inner.refresh_all(now);
            } else {
                next = next.min(end);
            }
        }
        inner.refresh_changed(now);
        drop(inner);
        for entry in begin {
            tokio::spawn(Arc::clone(self).fetch_x509(entry));
        }
        next.since(now).max(Duration::from_millis(1))
    }

    async fn fetch_x509(self: Arc<Self>, entry: Arc<FeedEntry>) {
        let began = tokio::time::Instant::now();
        let result = self.ask_x509(&entry).await;
        self.series
            .issued(IssueKind::X509, Outcome::of(&result), began.elapsed());
        let now = self.clock.now();
        let mut inner = self.lock();
        let Some(slot) = inner.slots.get_mut(&entry.id) else {
            return;
        };
        slot.under_way = false;
        match result {
            Ok(svid) if slot.wants(&entry) => {
                debug!(spiffe_id = %svid.id, not_after = %svid.not_after, "x509-svid ready");
                slot.current = Some(Arc::new(svid));
                slot.failures = 0;
            }
            // The entry changed meanwhile: what came is not what is wanted any more.
            Ok(_) => slot.retry_at = now,
            Err(error) => {
                let pause = self.backoff(slot.failures, &error);
                slot.failures = slot.failures.saturating_add(1);
                slot.retry_at = now + pause;
                warn!(spiffe_id = %entry.spiffe_id, entry = %hex(&entry.id), %error, retry_ms = pause.as_millis(), "no x509-svid");
            }
        }
        inner.changed.insert(entry.id);
        drop(inner);
        self.wake();
    }

    async fn ask_x509(&self, entry: &FeedEntry) -> Result<X509Svid, AgentError> {
        let (wanted, wish) = Wanted::new(entry, self.live.svid_key()).await?;
        let item = IssueItem {
            entry_id: entry.id.to_vec().into(),
            wish: Some(wish),
        };
        let issued = match self.coalescer.issue(item).await? {
            Issued::X509(issued) => issued,
            _ => {
                return Err(
                    IssueError::Protocol("no certificate as answer to a wish for one".to_owned()).into(),
                );
            }
        };
        let (trust, number) = {
            let mut inner = self.lock();
            inner.next_number += 1;
            let trust = inner.index.as_ref().map(|index| index.node.trust.clone());
            (trust.ok_or(AgentError::Initialising)?, inner.next_number)
        };
        wanted.fulfil(issued, &trust, self.clock.now(), number)
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
