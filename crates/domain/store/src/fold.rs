//! State is the fold of the log: what a crate that owns kinds implements, and how changes reach it.

use crate::{Change, Cursor, FoldError, Kind, LogEntry, Past, PastWish, Seq, Snapshot};

/// State that is made of changes.
pub trait Fold {
    /// Whether changes of `kind` are this fold's.
    fn owns(&self, kind: Kind) -> bool;

    /// Whether it comes to the same state in whatever order the rows of a snapshot come. Then it takes them in while
    /// others are still read; else it has them in the order in which they were written.
    fn takes_any_order(&self) -> bool {
        false
    }

    /// About `rows` rows of a snapshot come: whoever holds much makes room at once. More or fewer may come.
    fn expect(&mut self, rows: usize) {
        let _ = rows;
    }

    /// How much it wants to know of what led to a snapshot; `None` if nothing.
    fn past(&self) -> Option<PastWish> {
        None
    }

    /// Takes note of what led to the place that it is at: once a snapshot was taken in.
    ///
    /// # Errors
    /// As [`Fold::apply`].
    fn recall(&mut self, _past: &Past) -> Result<(), FoldError> {
        Ok(())
    }

    /// Takes in one change of a kind that it owns. A row of a snapshot comes as the change that wrote it.
    ///
    /// # Errors
    /// [`FoldError`] when the change is not understood and must be, or is malformed; the fold is of no use then.
    fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError>;

    /// Takes note of the place that the state is at: once a snapshot was taken in, and after each change that follows,
    /// of whatever kind. For folds that tell others what changed since; most have no use for it.
    fn reached(&mut self, _place: &Cursor) {}
}

/// Gives one change to each of `folds` that owns its kind.
///
/// # Errors
/// [`FoldError::NotUnderstood`] when nobody owns it and it must be understood; else what a fold says.
pub fn apply(folds: &mut [&mut dyn Fold], seq: Seq, change: &Change) -> Result<(), FoldError> {
    let mut owned = false;
    for fold in folds.iter_mut().filter(|fold| fold.owns(change.kind)) {
        owned = true;
        fold.apply(seq, change)?;
    }
    if !owned && change.must_understand {
        return Err(not_understood(seq, change));
    }
    Ok(())
}

/// Gives every row of `snapshot` to `folds`, in the order in which the rows were written.
///
/// # Errors
/// As [`apply`].
pub fn load(folds: &mut [&mut dyn Fold], snapshot: &Snapshot) -> Result<(), FoldError> {
    let mut rows: Vec<_> = snapshot.rows.iter().collect();
    rows.sort_unstable_by_key(|row| row.seq);
    rows.into_iter()
        .try_for_each(|row| apply(folds, row.seq, &row.to_change()))
}

/// Gives every entry of a tail to `folds`.
///
/// # Errors
/// As [`apply`].
pub fn follow(folds: &mut [&mut dyn Fold], entries: &[LogEntry]) -> Result<(), FoldError> {
    entries
        .iter()
        .try_for_each(|entry| apply(folds, entry.seq, &entry.change))
}

/// The error for a kind or schema that a fold does not know.
#[must_use]
pub fn not_understood(seq: Seq, change: &Change) -> FoldError {
    FoldError::NotUnderstood {
        seq,
        kind: change.kind,
        schema: change.schema,
    }
}

/// The error for a body that does not decode.
pub fn malformed(seq: Seq, change: &Change, why: impl core::fmt::Display) -> FoldError {
    FoldError::Malformed {
        seq,
        kind: change.kind,
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names(Vec<(Seq, Vec<u8>)>);

    impl Fold for Names {
        fn owns(&self, kind: Kind) -> bool {
            kind == Kind(7)
        }

        fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError> {
            if change.schema > 1 {
                return Err(not_understood(seq, change));
            }
            self.0.push((seq, change.key.to_vec()));
            Ok(())
        }
    }

    #[test]
    fn what_must_be_understood_and_is_not_stops_the_reader() {
        let mut names = Names(Vec::new());
        let mut folds: [&mut dyn Fold; 1] = [&mut names];
        let known = Change::put(Kind(7), 1, "a", "x");
        let newer = Change::put(Kind(7), 2, "b", "x");
        let foreign = Change::put(Kind(8), 1, "c", "x");
        let mut optional = foreign.clone();
        optional.must_understand = false;
        assert_eq!(apply(&mut folds, Seq(1), &known), Ok(()));
        assert_eq!(
            apply(&mut folds, Seq(2), &newer),
            Err(not_understood(Seq(2), &newer))
        );
        assert_eq!(
            apply(&mut folds, Seq(3), &foreign),
            Err(not_understood(Seq(3), &foreign))
        );
        assert_eq!(apply(&mut folds, Seq(4), &optional), Ok(()));
        assert_eq!(names.0, [(Seq(1), b"a".to_vec())]);
    }
}
