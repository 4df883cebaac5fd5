//! State in memory that follows the log: a [`Fold`], the log it folds, and the place it has reached.

use crate::{
    Change, ChangeLog, Cursor, Fold, FoldError, Kind, LogEntry, Piece, Seq, Snapshot, StoreError, Tail,
    Wanted, chain, fold,
};
use core::time::Duration;
use signet_fault::Coded;
use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, mpsc, watch};

/// Why state does not follow its log any more.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// The log could not be read. The state is as it was; trying again may help.
    #[error("follow the change log")]
    Store(#[source] StoreError),
    /// A change could not be folded. It stays so until another program reads the log.
    #[error("fold the change log")]
    Fold(#[source] FoldError),
}

impl Coded for FollowError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(e) => e.code(),
            Self::Fold(e) => e.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Store(e) => e.remedy(),
            Self::Fold(e) => e.remedy(),
        }
    }
}

/// A fold that follows a log. Readers look at memory and never at the log.
///
/// Each change must carry the chain hash that follows from the one before: a log that was altered where it is kept ends
/// the following.
pub struct Followed<F> {
    log: Arc<dyn ChangeLog>,
    fresh: Fresh<F>,
    /// Written only by whoever holds `place`, a whole batch at a time: readers never see half of one.
    state: RwLock<F>,
    /// How far `state` is; an error once a change could not be folded.
    place: Mutex<Result<Cursor, FoldError>>,
    applied: watch::Sender<Seq>,
}

/// Makes an empty state.
type Fresh<F> = Arc<dyn Fn() -> F + Send + Sync>;

impl<F: Fold + Send + Sync + 'static> Followed<F> {
    /// Loads the state of `log` into what `fresh` makes. `fresh` is called again whenever a snapshot must be taken.
    ///
    /// # Errors
    /// [`FollowError`]; a log that holds something that must be understood and is not does not open.
    pub async fn open(
        log: Arc<dyn ChangeLog>,
        fresh: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Self, FollowError> {
        let fresh: Fresh<F> = Arc::new(fresh);
        let (state, cursor) = loaded(&*log, &fresh).await?;
        Ok(Self {
            log,
            fresh,
            state: RwLock::new(state),
            place: Mutex::new(Ok(cursor)),
            applied: watch::Sender::new(cursor.seq),
        })
    }

    /// The log, for commits.
    pub fn log(&self) -> &dyn ChangeLog {
        &*self.log
    }

    /// Looks at the state. `look` must be quick: writers wait for it.
    pub fn read<R>(&self, look: impl FnOnce(&F) -> R) -> R {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last change that the state has taken in.
    #[must_use]
    pub fn seq(&self) -> Seq {
        *self.applied.borrow()
    }

    /// The place in the log that the state has reached. State read after this is at least so new.
    ///
    /// # Errors
    /// [`FollowError::Fold`] once a change could not be folded.
    pub async fn cursor(&self) -> Result<Cursor, FollowError> {
        self.place.lock().await.clone().map_err(FollowError::Fold)
    }

    /// Looks at the state together with the place in the log that it is exactly at.
    ///
    /// # Errors
    /// [`FollowError::Fold`] once a change could not be folded.
    pub async fn read_at<R>(&self, look: impl FnOnce(&F) -> R) -> Result<(Cursor, R), FollowError> {
        // Nobody moves the state while this is held.
        let place = self.place.lock().await;
        let cursor = place.clone().map_err(FollowError::Fold)?;
        Ok((cursor, self.read(look)))
    }

    /// Has the log go on under another epoch, and follows it there.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn begin_epoch(&self) -> Result<Cursor, FollowError> {
        let begun = self.log.begin_epoch().await.map_err(FollowError::Store)?;
        self.catch_up().await?;
        Ok(begun)
    }

    /// Wakes its holder each time the state has moved.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<Seq> {
        self.applied.subscribe()
    }

    /// Takes in everything that the log holds when this is called.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn catch_up(&self) -> Result<Seq, FollowError> {
        let mut place = self.place.lock().await;
        loop {
            let cursor = place.clone().map_err(FollowError::Fold)?;
            let tail = self
                .log
                .tail(cursor, READ_CHANGES)
                .await
                .map_err(FollowError::Store)?;
            match tail {
                Tail::Changes(entries) => {
                    let Some(last) = entries.last() else {
                        return Ok(cursor.seq);
                    };
                    let reached = Cursor {
                        seq: last.seq,
                        chain: last.chain,
                        ..cursor
                    };
                    *place = chain::check(&cursor.chain, &entries)
                        .and_then(|()| self.take_in(cursor, &entries))
                        .map(|()| reached);
                }
                Tail::Compacted | Tail::Diverged => {
                    *place = match loaded(&*self.log, &self.fresh).await {
                        Ok((state, cursor)) => {
                            *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
                            Ok(cursor)
                        }
                        Err(FollowError::Fold(error)) => Err(error),
                        Err(error @ FollowError::Store(_)) => return Err(error),
                    };
                }
            }
            let reached = place.clone().map_err(FollowError::Fold)?;
            self.applied.send_replace(reached.seq);
        }
    }

    /// Returns once the state has taken in the change at `seq`.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn wait_applied(&self, seq: Seq) -> Result<(), FollowError> {
        let mut applied = self.applied();
        while *applied.borrow_and_update() < seq {
            if self.catch_up().await? < seq && applied.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Follows the log until the future is dropped. Where the log cannot be read, it tries again after a pause.
    ///
    /// Returns the change that could not be folded: the state stands still from then on and serves nobody.
    pub async fn follow(&self) -> FoldError {
        let mut head = self.log.head();
        loop {
            head.mark_unchanged();
            match self.catch_up().await {
                Ok(_) => {
                    if head.changed().await.is_err() {
                        // The log is gone, and with it every writer: there is nothing more to follow.
                        core::future::pending::<()>().await;
                    }
                }
                Err(FollowError::Fold(e)) => return e,
                Err(FollowError::Store(_)) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    fn take_in(&self, mut place: Cursor, entries: &[LogEntry]) -> Result<(), FoldError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            if state.owns(entry.change.kind) {
                state.apply(entry.seq, &entry.change)?;
            }
            (place.seq, place.chain) = (entry.seq, entry.chain);
            state.reached(&place);
        }
        Ok(())
    }
}

/// The state that `log` leads to, and the place that it is at. Rows of kinds that what `fresh` makes does not own are
/// passed over: see [`Guard`].
async fn loaded<F: Fold + Send + 'static>(
    log: &dyn ChangeLog,
    fresh: &Fresh<F>,
) -> Result<(F, Cursor), FollowError> {
    let (state, empty) = (fresh(), fresh());
    let wanted: Wanted = Box::new(move |kind| empty.owns(kind));
    let (mut state, cursor) = if state.takes_any_order() {
        folded_as_read(state, log, wanted).await?
    } else {
        let snapshot = log.load_kinds(wanted).await.map_err(FollowError::Store)?;
        let cursor = snapshot.cursor;
        (folded(state, snapshot).map_err(FollowError::Fold)?, cursor)
    };
    if let Some(wish) = state.past() {
        let past = log.past(cursor, wish).await.map_err(FollowError::Store)?;
        // As of what follows, nothing is told of a log that was altered.
        chain::check(&past.from.chain, &past.entries)
            .and_then(|()| state.recall(&past))
            .map_err(FollowError::Fold)?;
    }
    // What was read is freed, and a process lives for months with what it keeps now.
    signet_sys::process::give_back_memory();
    Ok((state, cursor))
}

/// Folds each piece of the snapshot while the log reads the next.
async fn folded_as_read<F: Fold>(
    mut state: F,
    log: &dyn ChangeLog,
    wanted: Wanted,
) -> Result<(F, Cursor), FollowError> {
    let (sender, mut pieces) = mpsc::channel(PIECES_WAITING_MAX);
    let folding = async {
        let mut is_first = true;
        while let Some(Piece { rows, of }) = pieces.recv().await {
            if core::mem::take(&mut is_first) {
                state.expect(of);
            }
            for row in rows {
                if let Err(error) = state.apply(row.seq, &row.into_change()) {
                    // The log need not read on.
                    pieces.close();
                    return Err(error);
                }
            }
        }
        Ok(())
    };
    let (folded, cursor) = tokio::join!(folding, log.load_pieces(wanted, sender));
    // A log that could not be read to its end comes first: what was folded of it says nothing.
    let cursor = cursor.map_err(FollowError::Store)?;
    folded.map_err(FollowError::Fold)?;
    state.reached(&cursor);
    Ok((state, cursor))
}

/// The state in a snapshot.
fn folded<F: Fold>(mut state: F, snapshot: Snapshot) -> Result<F, FoldError> {
    let Snapshot { cursor, mut rows, .. } = snapshot;
    rows.sort_unstable_by_key(|row| row.seq);
    // Each row goes when it is folded: a large state is not held twice.
    state.expect(rows.len());
    for row in rows {
        state.apply(row.seq, &row.into_change())?;
    }
    state.reached(&cursor);
    Ok(state)
}

/// A fold over what nobody owns: it fails on the first change of another kind that must be understood.
///
/// Several folds that each follow the log pass over each other's kinds. A guard beside them, which knows the kinds of
/// all, makes sure that nothing falls between.
pub struct Guard {
    known: Vec<Kind>,
}

impl Guard {
    /// Guards everything but the kinds in `known`, one list for each fold.
    #[must_use]
    pub fn new(known: &[&[Kind]]) -> Self {
        Self {
            known: known.concat(),
        }
    }
}

impl Fold for Guard {
    fn owns(&self, kind: Kind) -> bool {
        !self.known.contains(&kind)
    }

    fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError> {
        if change.must_understand {
            return Err(fold::not_understood(seq, change));
        }
        Ok(())
    }
}

/// Changes read at once.
const READ_CHANGES: usize = 1_000;

/// Pieces of a snapshot that wait to be folded.
const PIECES_WAITING_MAX: usize = 4;

/// The pause before an unreadable log is read again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty::{Fault, FaultyLog, Op};
    use crate::{Batch, Origin, memory::MemoryLog};
    use signet_time::UnixTime;

    const OURS: Kind = Kind(65_280);

    /// Counts the changes of one kind.
    #[derive(Default)]
    struct Count(usize);

    impl Fold for Count {
        fn owns(&self, kind: Kind) -> bool {
            kind == OURS
        }

        fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError> {
            if change.schema != 1 {
                return Err(fold::not_understood(seq, change));
            }
            self.0 += 1;
            Ok(())
        }
    }

    fn batch(change: Change) -> Batch {
        Batch::new(Origin::new("test", "test", UnixTime::EPOCH)).with(change)
    }

    #[tokio::test]
    async fn what_is_missing_is_read_and_an_unreadable_log_changes_nothing() {
        let memory = MemoryLog::new();
        let log = FaultyLog::new(Arc::new(memory.clone()));
        let followed = Followed::open(Arc::new(log.clone()), Count::default)
            .await
            .unwrap();
        for key in ["a", "b"] {
            memory
                .commit(batch(Change::put(OURS, 1, key, "x")))
                .await
                .unwrap();
        }
        memory
            .commit(batch(Change::put(Kind(9), 1, "other", "x")))
            .await
            .unwrap();
        log.plan(Op::Tail, 1, Fault::Lost);
        assert!(matches!(followed.catch_up().await, Err(FollowError::Store(_))));
        assert_eq!((followed.seq(), followed.read(|count| count.0)), (Seq(0), 0));
        assert_eq!(followed.catch_up().await.unwrap(), Seq(3));
        assert_eq!((followed.seq(), followed.read(|count| count.0)), (Seq(3), 2));
        followed.wait_applied(Seq(2)).await.unwrap();
    }

    /// Counts as [`Count`] does, while the rows come.
    #[derive(Default)]
    struct AnyOrder(Count);

    impl Fold for AnyOrder {
        fn owns(&self, kind: Kind) -> bool {
            self.0.owns(kind)
        }

        fn takes_any_order(&self) -> bool {
            true
        }

        fn apply(&mut self, seq: Seq, change: &Change) -> Result<(), FoldError> {
            self.0.apply(seq, change)
        }
    }

    #[tokio::test]
    async fn a_fold_that_takes_any_order_opens_as_others_do() {
        let memory = MemoryLog::new();
        for key in ["a", "b", "c"] {
            memory
                .commit(batch(Change::put(OURS, 1, key, "x")))
                .await
                .unwrap();
        }
        let log = FaultyLog::new(Arc::new(memory.clone()));
        for fault in [Fault::Lost, Fault::Unanswered] {
            log.plan(Op::Load, 1, fault);
            let opened = Followed::open(Arc::new(log.clone()), AnyOrder::default).await;
            assert!(matches!(opened.err(), Some(FollowError::Store(_))), "{fault:?}");
        }
        let followed = Followed::open(Arc::new(log), AnyOrder::default).await.unwrap();
        assert_eq!(followed.read(|count| count.0.0), 3);
        assert_eq!(
            followed.cursor().await.unwrap(),
            memory.load().await.unwrap().cursor
        );
        let bad = memory.commit(batch(Change::put(OURS, 2, "b", "x")));
        bad.await.unwrap();
        let opened = Followed::open(Arc::new(memory), AnyOrder::default).await;
        assert!(matches!(opened.err(), Some(FollowError::Fold(_))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn state_and_its_place_are_read_together() {
        let log = MemoryLog::new();
        let followed = Followed::open(Arc::new(log.clone()), Count::default)
            .await
            .unwrap();
        let followed = Arc::new(followed);
        let follower = {
            let followed = Arc::clone(&followed);
            tokio::spawn(async move { followed.follow().await })
        };
        let writer = tokio::spawn(async move {
            for _ in 0..500 {
                log.commit(batch(Change::put(OURS, 1, "a", "x"))).await.unwrap();
            }
        });
        loop {
            let (cursor, count) = followed.read_at(|count| count.0).await.unwrap();
            assert_eq!(cursor.seq, Seq(u64::try_from(count).unwrap()));
            if count == 500 {
                break;
            }
            tokio::task::yield_now().await;
        }
        writer.await.unwrap();
        follower.abort();
    }

    #[tokio::test]
    async fn a_change_that_is_not_understood_ends_the_following() {
        let log = MemoryLog::new();
        let followed = Followed::open(Arc::new(log.clone()), Count::default)
            .await
            .unwrap();
        log.commit(batch(Change::put(OURS, 2, "a", "x"))).await.unwrap();
        assert!(matches!(
            followed.follow().await,
            FoldError::NotUnderstood { schema: 2, .. }
        ));
        log.commit(batch(Change::put(OURS, 1, "b", "x"))).await.unwrap();
        assert!(matches!(followed.catch_up().await, Err(FollowError::Fold(_))));
        assert_eq!(followed.read(|count| count.0), 0, "nothing is taken in behind it");
    }

    #[tokio::test]
    async fn state_that_is_ahead_of_its_log_is_dropped_and_loaded_anew() {
        let log = MemoryLog::new();
        let followed = Followed::open(Arc::new(log.clone()), Count::default)
            .await
            .unwrap();
        let put = |key: &'static str| log.commit(batch(Change::put(OURS, 1, key, "x")));
        put("kept").await.unwrap();
        let copy = log.copy();
        for key in ["lost", "lost as well"] {
            put(key).await.unwrap();
        }
        assert_eq!(followed.catch_up().await.unwrap(), Seq(3));
        let ahead = followed.cursor().await.unwrap();

        log.put_back(&copy);
        assert_eq!(followed.catch_up().await.unwrap(), Seq(1));
        assert_eq!((followed.seq(), followed.read(|count| count.0)), (Seq(1), 1));
        // What comes then has the numbers of what was lost, and is told from it by the chain: also by one who was not
        // there when the log was behind.
        for key in ["new", "newer"] {
            put(key).await.unwrap();
        }
        assert_eq!(followed.catch_up().await.unwrap(), Seq(3));
        let now = followed.cursor().await.unwrap();
        assert_eq!((now.epoch, now.seq), (ahead.epoch, ahead.seq));
        assert_ne!(now.chain, ahead.chain);
        assert!(matches!(log.tail(ahead, 10).await, Ok(Tail::Diverged)));
        assert_eq!(followed.read(|count| count.0), 3);
    }

    #[tokio::test]
    async fn a_guard_finds_what_nobody_owns() {
        let log = MemoryLog::new();
        let guard = || Guard::new(&[&[OURS], &[Kind(1), Kind(2)]]);
        let followed = Followed::open(Arc::new(log.clone()), guard).await.unwrap();
        let optional = Change {
            must_understand: false,
            ..Change::put(Kind(9), 1, "a", "x")
        };
        for fine in [
            Change::put(OURS, 1, "a", "x"),
            Change::put(Kind(2), 7, "a", "x"),
            optional,
        ] {
            log.commit(batch(fine)).await.unwrap();
        }
        followed.catch_up().await.unwrap();
        log.commit(batch(Change::put(Kind(9), 1, "b", "x")))
            .await
            .unwrap();
        assert!(matches!(followed.catch_up().await, Err(FollowError::Fold(_))));
        assert!(Followed::open(Arc::new(log), guard).await.is_err());
    }
}
