//! Whoever changes entries all the time.

use super::admin::Admin;
use super::{Counts, group};
use crate::dice::Dice;
use core::time::Duration;
use signet_api::EntryDoc;
use signet_id::Selector;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// From one change to the next, or longer.
const PACE: Duration = Duration::from_millis(20);

/// Users that run nothing.
const NOBODY: u32 = 4_000_000_000;

/// The entries that are changed.
pub(super) struct Churn {
    admin: Admin,
    entries: Vec<EntryDoc>,
    dice: Dice,
}

impl Churn {
    /// Creates them.
    pub(super) async fn fill(admin: Admin, count: usize, dice: Dice) -> Self {
        let docs: Vec<_> = (0..count).map(new).collect();
        let entries = admin.create_many(&docs).await;
        Self { admin, entries, dice }
    }

    /// Changes one after the other, and deletes some in favour of others, until `stop`.
    pub(super) async fn work(mut self, counts: Arc<Counts>, stop: CancellationToken) {
        let mut next = self.entries.len();
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            pace.tick().await;
            next += 1;
            let at = usize::try_from(self.dice.below(self.entries.len() as u64)).unwrap();
            let entry = &mut self.entries[at];
            if self.dice.below(3) == 0 {
                self.admin.delete(entry).await;
                *entry = self.admin.create(&new(next)).await;
            } else {
                entry.hint = Some(format!("change {next}"));
                self.admin.update(entry).await;
            }
            counts.changes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn new(number: usize) -> EntryDoc {
    let user = NOBODY + u32::try_from(number % 100_000).unwrap();
    let selector = Selector::parse(&format!("unix:uid:{user}")).unwrap();
    EntryDoc::new(group::id(&format!("/churn/{number}")), vec![selector])
}
