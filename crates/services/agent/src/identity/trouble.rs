use super::EntryId;
use crate::metrics::IssueKind;
use crate::workload::public_message;
use crate::{AgentError, IssueError};
use signet_fault::Coded as _;
use signet_feed::FeedEntry;
use signet_time::UnixTime;
use std::collections::HashMap;
use std::sync::Arc;

/// Why the last attempt to have an SVID failed, kept when nobody waits for it any more, for those who ask.
#[derive(Default)]
pub(crate) struct Troubles(HashMap<(EntryId, IssueKind), (EntryId, Arc<Trouble>)>);

/// One such failure, in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The server's code where it is the server that refused.
    pub(crate) code: String,
    /// As the workload is told.
    pub(crate) message: String,
    /// With all that is known: for whoever runs the agent.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) remedy: String,
    pub(crate) at: UnixTime,
}

impl Trouble {
    fn new(error: &AgentError, at: UnixTime) -> Self {
        let code = match error {
            AgentError::Issue(IssueError::Refused { code, .. }) if !code.is_empty() => code.clone(),
            error => error.code().to_owned(),
        };
        Self {
            code,
            message: public_message(error),
            detail: signet_fault::chain(error),
            remedy: error.remedy().into_owned(),
            at,
        }
    }
}

impl Troubles {
    /// Notes what failed. Only entries that are `there` keep theirs: an agent that lives long must not gather those of
    /// entries that are gone.
    pub(super) fn put(
        &mut self,
        entry: &FeedEntry,
        kind: IssueKind,
        error: &AgentError,
        at: UnixTime,
        there: impl Fn(EntryId) -> bool,
    ) {
        if self.0.len() == self.0.capacity() {
            self.0.retain(|_, (source, _)| there(*source));
        }
        let key = (entry.id, kind);
        if self.0.len() >= KEPT_MAX && !self.0.contains_key(&key) {
            // One template makes as many entries as callers make it, and all of them are there as long as it is.
            let oldest = self.0.iter().min_by_key(|(_, (_, trouble))| trouble.at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.0.remove(&oldest);
            }
        }
        let trouble = Arc::new(Trouble::new(error, at));
        self.0.insert(key, (entry.source(), trouble));
    }

    /// It went well.
    pub(super) fn clear(&mut self, entry: EntryId, kind: IssueKind) {
        self.0.remove(&(entry, kind));
    }

    pub(super) fn of(&self, entry: EntryId, kind: IssueKind) -> Option<Arc<Trouble>> {
        self.0.get(&(entry, kind)).map(|(_, trouble)| Arc::clone(trouble))
    }
}

/// What an operator looks at, and more.
const KEPT_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::svid::entry_for_tests;
    use core::time::Duration;

    #[test]
    fn so_many_are_kept_and_the_oldest_go_first() {
        let mut troubles = Troubles::default();
        let start = UnixTime::from_secs(1_000);
        let id = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&u64::try_from(n).unwrap().to_be_bytes());
            id
        };
        for n in 0..KEPT_MAX + 10 {
            let mut entry = entry_for_tests(1, "spiffe://a.test/one-of-many");
            entry.id = id(n);
            let at = start + Duration::from_secs(u64::try_from(n).unwrap());
            for _ in 0..2 {
                troubles.put(&entry, IssueKind::Jwt, &AgentError::Draining, at, |_| true);
            }
        }
        assert!(troubles.0.len() <= KEPT_MAX);
        assert!(troubles.of(id(KEPT_MAX + 9), IssueKind::Jwt).is_some());
        assert!(troubles.of(id(9), IssueKind::Jwt).is_none());
    }
}
