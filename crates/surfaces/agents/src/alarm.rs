//! What a server must not keep to itself: its state was put back.

use crate::AgentsError;
use crate::agents::Agents;
use crate::sync::store_cursor;
use core::time::Duration;
use signet_fault::{Coded as _, chain};
use signet_feed::FeedCursor;
use signet_id::SpiffeId;
use signet_store::Tail;
use signet_time::UnixTime;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::{error, warn};

/// Whether agents know of changes that the server's log does not hold. What is told here stays so until the server starts
/// again: somebody has to look.
#[derive(Debug, Default)]
pub struct Alarm(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: Option<String>,
    begun_at: Option<UnixTime>,
}

/// An epoch that begins has all agents take a snapshot. Whoever holds a node's key can say what he likes about the place
/// that he knows, so that happens no more often than this.
const EPOCHS_APART: Duration = Duration::from_secs(3_600);

impl Alarm {
    /// What somebody has to look at, if there is anything.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        self.inner().told.clone()
    }

    fn ring(&self, why: String) {
        // The first is the one that was there when it was found.
        self.inner().told.get_or_insert(why);
    }

    /// Whether another epoch may begin; from then on one has.
    fn may_begin(&self, now: UnixTime) -> bool {
        let mut inner = self.inner();
        let may = inner.begun_at.is_none_or(|at| now.since(at) >= EPOCHS_APART);
        if may {
            inner.begun_at = Some(now);
        }
        may
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // INVARIANT: nothing under this lock panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agents {
    /// Looks whether the place that `node` holds is one of a log that was ours and is not any more: then an older copy of
    /// the state was put in its place. Its numbers are given once more from then on, so that it goes on under an epoch of
    /// its own: nobody takes what comes for what was.
    pub(crate) async fn check_place(&self, node: &SpiffeId, held: &FeedCursor) {
        let (followed, place) = (self.registry.followed(), store_cursor(*held));
        let is_known = self.registry.read(|state| {
            let recent = state.recent();
            recent.place().is_none_or(|here| here.epoch != place.epoch)
                || recent.touches_since(&place).is_some()
        });
        // What another server has just written is in the log, and may not be here yet.
        if is_known || followed.catch_up().await.is_err() {
            return;
        }
        let Ok(Tail::Diverged) = followed.log().tail(place, 1).await else {
            return;
        };
        let Ok(here) = followed.cursor().await else { return };
        // Another stream may have found the same meanwhile.
        if here.epoch != place.epoch {
            return;
        }
        let found = AgentsError::PutBack {
            node: node.clone(),
            held: place.seq.0,
            here: here.seq.0,
        };
        self.series.put_back();
        error!(%node, held = place.seq.0, here = here.seq.0, code = found.code(), error = chain(&found), "the state was put back");
        self.alarm.ring(format!("{} [{}]", chain(&found), found.code()));
        if !self.alarm.may_begin(self.clock.now()) {
            return;
        }
        match followed.begin_epoch().await {
            Ok(_) => warn!("a new epoch of the change log begins: all agents take a snapshot"),
            Err(error) => error!(error = chain(&error), "no new epoch could begin"),
        }
    }
}
