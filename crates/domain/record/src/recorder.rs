use crate::{IssueRecord, Record, RecordError, Slot};
use bytes::Bytes;
use signet_store::Journal;
use std::sync::Arc;

/// A credential that is signed but not recorded. Its bytes cannot be read; only [`Recorder::release`] opens it.
pub struct Unrecorded<C> {
    credential: C,
    record: IssueRecord,
}

impl<C> Unrecorded<C> {
    /// Closes `credential` up with the record that must be written first.
    pub fn new(credential: C, record: IssueRecord) -> Self {
        Self { credential, record }
    }

    /// What will be recorded.
    #[must_use]
    pub fn record(&self) -> &IssueRecord {
        &self.record
    }
}

impl<C> core::fmt::Debug for Unrecorded<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unrecorded").finish_non_exhaustive()
    }
}

/// Writes records and releases what they stand for.
#[derive(Clone)]
pub struct Recorder {
    journal: Arc<dyn Journal>,
}

impl core::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that writes to `journal`.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal }
    }

    /// Reserves a place in the record for one credential.
    ///
    /// # Errors
    /// [`RecordError::Random`].
    pub fn reserve(&self) -> Result<Slot, RecordError> {
        Slot::draw()
    }

    /// Records one credential and hands it out.
    ///
    /// # Errors
    /// [`RecordError::Journal`] when the record is not certainly durable; [`RecordError::Incomplete`]. The credential
    /// is dropped unread either way.
    pub async fn release<C>(&self, unrecorded: Unrecorded<C>) -> Result<C, RecordError> {
        let record = encoded(&unrecorded.record)?;
        self.journal.append(record).await.map_err(RecordError::Journal)?;
        Ok(unrecorded.credential)
    }

    /// Records many credentials in as few flushes as the journal can, and hands out each whose record is durable.
    /// The answers stand in the order of `unrecorded`.
    pub async fn release_all<C>(&self, unrecorded: Vec<Unrecorded<C>>) -> Vec<Result<C, RecordError>> {
        let (mut records, mut closed) = (
            Vec::with_capacity(unrecorded.len()),
            Vec::with_capacity(unrecorded.len()),
        );
        for Unrecorded { credential, record } in unrecorded {
            let encoded = encoded(&record).map(|record| records.push(record));
            closed.push((encoded, credential));
        }
        // All are under way before the first is waited for.
        let mut appends = self.journal.append_all(records).into_iter();
        let mut released = Vec::with_capacity(closed.len());
        for (encoded, credential) in closed {
            // What was not appended has no answer in the journal's list; what was has one, or was not recorded.
            let append = encoded.and_then(|()| {
                appends.next().ok_or(RecordError::Incomplete {
                    field: "answer from the journal",
                })
            });
            released.push(match append {
                Ok(append) => append.await.map(|_| credential).map_err(RecordError::Journal),
                Err(error) => Err(error),
            });
        }
        released
    }
}

/// The bytes of a record that says what one must.
fn encoded(record: &IssueRecord) -> Result<Bytes, RecordError> {
    let incomplete = |field| Err(RecordError::Incomplete { field });
    match record {
        _ if record.identifier.len() != 16 => incomplete("identifier"),
        _ if record.subject.is_empty() => incomplete("subject"),
        _ if record.kind == 0 => incomplete("kind"),
        _ => Ok(Record::encode_issue(record)),
    }
}
