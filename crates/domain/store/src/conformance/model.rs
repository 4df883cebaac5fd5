//! A change log against the simplest model of one, for property tests: any numbers make a run of operations.

use super::support::{State, fold, start, state, verified_tail};
use crate::{Batch, Change, ChangeLog, CommitError, Cursor, Expect, Kind, LogEntry, Origin, Seq, Tail};
use bytes::Bytes;
use signet_time::UnixTime;
use std::sync::Arc;

/// Draws small numbers from one large one.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.0 % bound;
        self.0 /= bound;
        drawn
    }
}

/// Runs the operation that each of `numbers` encodes on the store named `name` and on a model, and compares answers,
/// state and history after each.
///
/// # Panics
/// When the two differ.
pub async fn change_log(open: &dyn Fn(&str) -> Arc<dyn ChangeLog>, name: &str, numbers: &[u64]) {
    let mut log = open(name);
    let genesis = start(log.load().await.expect("load").cursor);
    let mut model = Model {
        cursors: vec![genesis],
        ..Model::default()
    };
    for number in numbers {
        let mut draw = Draw(*number);
        match draw.below(10) {
            0 => {
                drop(log);
                log = open(name);
            }
            1 => {
                let before = Seq(draw.below(model.head().0 + 3));
                let pruned = log.prune(before).await.expect("prune");
                assert_eq!(pruned, model.prune(before));
            }
            _ => {
                let batch = draw_batch(&mut draw);
                let expected = model.commit(&batch);
                match (log.commit(batch).await, expected) {
                    (Ok(done), Ok((first, last))) => {
                        assert_eq!((done.first, done.last), (first, last));
                        model.cursors.resize(
                            usize::try_from(last.0).unwrap() + 1,
                            Cursor {
                                seq: Seq(u64::MAX),
                                ..genesis
                            },
                        );
                        *model.cursors.last_mut().unwrap() = done.cursor;
                    }
                    (Err(CommitError::Conflict { kind, key, found }), Err(conflict)) => {
                        assert_eq!((kind, key, found), conflict);
                    }
                    (Err(CommitError::Invalid(_)), Err(_)) => {}
                    (found, expected) => panic!("commit: {found:?}, not {expected:?}"),
                }
            }
        }
        model.compare(&*log).await;
    }
}

fn draw_batch(draw: &mut Draw) -> Batch {
    let mut batch = Batch::new(Origin::new("model", "", UnixTime::from_secs(draw.below(100))));
    for _ in 0..=draw.below(3) {
        let (kind, key) = draw_key(draw);
        // A key may come twice: then the batch is invalid.
        batch.changes.push(match draw.below(3) {
            0 => Change::delete(kind, 1, key),
            body => Change::put(kind, 1, key, vec![b'b'; usize::try_from(body).unwrap()]),
        });
    }
    for _ in 0..draw.below(2) {
        let (kind, key) = draw_key(draw);
        let seq = draw.below(12).checked_sub(1).map(Seq);
        batch.expect.push(Expect { kind, key, seq });
    }
    batch
}

fn draw_key(draw: &mut Draw) -> (Kind, Bytes) {
    let kind = Kind(65_280 + u16::try_from(draw.below(2)).unwrap());
    (
        kind,
        Bytes::from(vec![b'k'; 1 + usize::try_from(draw.below(4)).unwrap()]),
    )
}

type Conflict = (Kind, Bytes, Option<Seq>);

#[derive(Default)]
struct Model {
    state: State,
    entries: Vec<(Seq, Change)>,
    floor: u64,
    /// By sequence; places within a batch have none.
    cursors: Vec<Cursor>,
}

impl Model {
    fn head(&self) -> Seq {
        Seq(self.entries.len() as u64)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(Seq, Seq), Conflict> {
        let mut keys: Vec<_> = batch.changes.iter().map(|c| (c.kind, &c.key)).collect();
        keys.sort();
        if keys.windows(2).any(|two| two[0] == two[1]) {
            return Err((Kind(0), Bytes::new(), None));
        }
        for e in &batch.expect {
            let found = self.state.get(&(e.kind, e.key.clone())).map(|value| value.0);
            if found != e.seq {
                return Err((e.kind, e.key.clone(), found));
            }
        }
        let first = self.head().next();
        for change in &batch.changes {
            let entry = LogEntry {
                seq: self.head().next(),
                change: change.clone(),
                rest: 0,
                origin: batch.origin.clone(),
                chain: [0; 32],
            };
            self.entries.push((entry.seq, change.clone()));
            self.state = fold(std::mem::take(&mut self.state), &[entry]);
        }
        Ok((first, self.head()))
    }

    fn prune(&mut self, before: Seq) -> u64 {
        let floor = before.0.saturating_sub(1).clamp(self.floor, self.head().0);
        let pruned = floor - self.floor;
        self.floor = floor;
        pruned
    }

    async fn compare(&self, log: &dyn ChangeLog) {
        let snapshot = log.load().await.expect("load");
        assert_eq!(state(&snapshot), self.state);
        assert_eq!(snapshot.cursor, *self.cursors.last().unwrap());
        assert_eq!(*log.head().borrow(), self.head());
        for cursor in self.cursors.iter().filter(|c| c.seq != Seq(u64::MAX)) {
            if cursor.seq.0 < self.floor {
                assert_eq!(log.tail(*cursor, 1).await.expect("tail"), Tail::Compacted);
                continue;
            }
            let (entries, end) = verified_tail(log, *cursor).await;
            assert_eq!(end, snapshot.cursor);
            let tail = entries.into_iter().map(|e| (e.seq, e.change));
            assert!(tail.eq(self.entries.iter().filter(|e| e.0 > cursor.seq).cloned()));
        }
    }
}
