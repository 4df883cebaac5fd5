use super::EntryId;
use super::index::Index;
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
    /// Notes what failed. Only entries of `index` keep theirs: an agent that lives long must not gather those of
    /// entries that are gone.
    pub(super) fn put(
        &mut self,
        entry: &FeedEntry,
        kind: IssueKind,
        error: &AgentError,
        at: UnixTime,
        index: Option<&Index>,
    ) {
        if self.0.len() == self.0.capacity() {
            self.0
                .retain(|_, (source, _)| index.is_some_and(|index| index.has(*source)));
        }
        let trouble = Arc::new(Trouble::new(error, at));
        self.0.insert((entry.id, kind), (entry.source(), trouble));
    }

    /// It went well.
    pub(super) fn clear(&mut self, entry: EntryId, kind: IssueKind) {
        self.0.remove(&(entry, kind));
    }

    pub(super) fn of(&self, entry: EntryId, kind: IssueKind) -> Option<Arc<Trouble>> {
        self.0.get(&(entry, kind)).map(|(_, trouble)| Arc::clone(trouble))
    }
}
