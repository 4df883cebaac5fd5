//! Reading records back.

use crate::JournalFileError;
use crate::keeper::Segments;
use bytes::Bytes;
use signet_store::{Cause, Index, JournalError, RANGE_RECORDS_MAX};
use std::sync::PoisonError;

/// Most bytes of records that one range returns, beyond its first record.
const RANGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Up to `limit` records from `from` on, before `next`.
pub(crate) fn range(
    segments: &Segments,
    from: u64,
    next: u64,
    limit: usize,
) -> Result<Vec<(Index, Bytes)>, JournalError> {
    let segments = segments.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let oldest = segments.first().map_or(1, |segment| segment.header.base);
    if from < oldest {
        return Err(JournalError::Pruned {
            oldest: Index(oldest),
        });
    }
    let limit = limit.min(RANGE_RECORDS_MAX);
    let mut records = Vec::new();
    let mut bytes = 0_usize;
    for (n, segment) in segments.iter().enumerate() {
        let end = segments
            .get(n.saturating_add(1))
            .map_or(next, |after| after.header.base.min(next));
        let wanted = |count: usize, bytes: usize| count < limit && bytes < RANGE_BYTES_MAX;
        if from >= end {
            continue;
        }
        if !wanted(records.len(), bytes) {
            break;
        }
        segment
            .walk(from, end, |index, record| {
                records.push((Index(index), Bytes::copy_from_slice(record)));
                bytes = bytes.saturating_add(record.len());
                wanted(records.len(), bytes)
            })
            .map_err(unavailable)?;
    }
    Ok(records)
}

/// An error of ours as the port's.
pub(crate) fn unavailable(error: JournalFileError) -> JournalError {
    JournalError::Unavailable(Cause::new(error))
}
