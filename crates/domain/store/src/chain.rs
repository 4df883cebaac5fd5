//! The hash chain over a log: each change's hash covers the change and all before it, so that equal hashes at equal
//! places mean equal histories.

use crate::{Change, FoldError, LogEntry, Origin, Seq};
use signet_crypto::digest::Sha256;

/// The hash before the first change of a log.
#[must_use]
pub fn genesis(epoch: &[u8; 16]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"signet change log v1\0");
    hash.update(epoch);
    hash.finish()
}

/// The hash after `change`, given the one before it. Every field is of fixed size or has its length before it.
#[must_use]
pub fn link(before: &[u8; 32], seq: Seq, change: &Change, rest: u32, origin: &Origin) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(&seq.0.to_be_bytes());
    hash.update(&change.kind.0.to_be_bytes());
    hash.update(&change.schema.to_be_bytes());
    hash.update(&[u8::from(change.must_understand), u8::from(change.body.is_some())]);
    hash.update(&rest.to_be_bytes());
    hash.update(&origin.when.as_millis().to_be_bytes());
    let body = change.body.as_deref().unwrap_or_default();
    for part in [&*change.key, body, origin.who.as_bytes(), origin.why.as_bytes()] {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finish()
}

/// Checks that `entries` follow one another, and the first of them `before`.
///
/// # Errors
/// [`FoldError::Altered`] with the first that does not.
pub fn check(before: &[u8; 32], entries: &[LogEntry]) -> Result<(), FoldError> {
    let mut before = before;
    for entry in entries {
        if !follows(before, entry) {
            return Err(FoldError::Altered { seq: entry.seq });
        }
        before = &entry.chain;
    }
    Ok(())
}

/// Whether `entry` follows `before`.
#[must_use]
pub fn follows(before: &[u8; 32], entry: &LogEntry) -> bool {
    link(before, entry.seq, &entry.change, entry.rest, &entry.origin) == entry.chain
}
