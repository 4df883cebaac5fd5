use super::support::{KIND, batch, fold, origin, start, state, verified_tail};
use crate::backup::{Backup, Image, ImagePart, Proof};
use crate::{
    BATCH_BYTES_MAX, BATCH_CHANGES_MAX, BATCH_EXPECTS_MAX, BODY_BYTES_MAX, Batch, Change, ChangeLog,
    CommitError, Cursor, Earlier, Expect, Invalid, KEY_BYTES_MAX, Kind, Past, PastWish, Seq, Snapshot, Tail,
    WHO_BYTES_MAX, WHY_BYTES_MAX,
};
use bytes::Bytes;
use signet_time::UnixTime;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The change log's suite, except for the faults of [`change_log_faults`](super::change_log_faults).
///
/// # Panics
/// At the first promise that is not kept.
pub async fn change_log(open: &dyn Fn(&str) -> Arc<dyn ChangeLog>) {
    starts_empty(&*open("empty")).await;
    numbers_and_chains(&*open("numbers")).await;
    checks_expectations(&*open("expect")).await;
    commits_whole_batches_or_nothing(&*open("atomic")).await;
    holds_its_bounds(&*open("bounds")).await;
    takes_what_the_bounds_allow(&*open("largest")).await;
    loads_the_fold_of_the_tail(&*open("fold")).await;
    knows_foreign_cursors(&*open("foreign"), &*open("other")).await;
    prunes(&*open("prune")).await;
    tells_its_past(&*open("past"), &*open("past of another")).await;
    is_imaged_at_one_place(open("image")).await;
    prunes_by_age(&*open("age")).await;
    begins_an_epoch(open).await;
    loses_nothing_of_concurrent_writers(open("writers")).await;
    lets_one_of_two_racing_writers_win(open("race")).await;
    wakes_those_who_wait(open("wake")).await;
    works_though_nobody_waits(&*open("dropped")).await;
    survives_reopening(open).await;
}

/// An image taken while others write fits together: what it holds of the log leads to what it holds of the state.
async fn is_imaged_at_one_place(log: Arc<dyn ChangeLog>) {
    let imaged = async |log: &dyn ChangeLog| {
        let image = log.image().await.expect("image");
        let backup = Backup {
            trust_domain: "dev.test".to_owned(),
            version: "1".to_owned(),
            seal: "none".to_owned(),
            taken: UnixTime::EPOCH,
            record_next: 1,
            image,
            proof: Proof::default(),
        };
        let whole = Backup::decode(&backup.encode()).expect("whole").image;
        // In parts it is the same, while nobody writes.
        let (sender, mut parts) = mpsc::channel(1);
        let (read, gathered) = tokio::join!(log.image_parts(sender), async {
            let (mut head, mut changes, mut rows) = (None, Vec::new(), Vec::new());
            while let Some(part) = parts.recv().await {
                match part {
                    ImagePart::Head(first) => {
                        assert_eq!((head.replace(first), changes.len(), rows.len()), (None, 0, 0));
                    }
                    ImagePart::Changes(some) => {
                        assert!(rows.is_empty(), "changes come first");
                        changes.extend(some);
                    }
                    ImagePart::Rows(some) => rows.extend(some),
                }
            }
            (head.expect("a head"), changes, rows)
        });
        read.expect("image in parts");
        let (head, changes, rows) = gathered;
        let count = |n: usize| u64::try_from(n).expect("few");
        assert_eq!(
            (head.changes, head.rows),
            (count(changes.len()), count(rows.len()))
        );
        let backup = Backup {
            image: Image {
                floor: head.floor,
                changes,
                snapshot: Snapshot {
                    cursor: head.cursor,
                    rows,
                },
            },
            ..backup
        };
        Backup::decode(&backup.encode()).expect("whole in parts");
        whole
    };
    assert_eq!(imaged(&*log).await.snapshot.cursor.seq, Seq::ZERO);
    for n in 0..8 {
        log.commit(batch(&[("a", "1"), ("b", "1")]))
            .await
            .expect("commit");
        assert_eq!(imaged(&*log).await.changes.len(), (n + 1) * 2);
    }
    log.prune(Seq(6)).await.expect("prune");
    assert_eq!(imaged(&*log).await.floor.0, Seq(5));
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for n in 0..200 {
                let body = n.to_string();
                log.commit(batch(&[("a", &body), ("b", &body)]))
                    .await
                    .expect("commit");
            }
        })
    };
    while !writer.is_finished() {
        let image = imaged(&*log).await;
        let bodies: Vec<_> = image.snapshot.rows.iter().map(|row| &row.body).collect();
        assert_eq!(bodies[0], bodies[1], "half of a batch was imaged");
        tokio::task::yield_now().await;
    }
    writer.await.expect("write");
    let (image, loaded) = (imaged(&*log).await, log.load().await.expect("load"));
    assert_eq!(image.snapshot.cursor, loaded.cursor);
    assert_eq!(state(&image.snapshot), state(&loaded));
}

async fn starts_empty(log: &dyn ChangeLog) {
    let snapshot = log.load().await.expect("load");
    assert_eq!(snapshot.rows, []);
    assert_eq!(
        snapshot.cursor,
        start(snapshot.cursor),
        "an empty log stands at its genesis"
    );
    assert_eq!(*log.head().borrow(), Seq::ZERO);
    assert_eq!(
        log.tail(snapshot.cursor, 10).await.expect("tail"),
        Tail::Changes(vec![])
    );
    assert_eq!(log.prune(Seq(100)).await.expect("prune"), 0);
}

async fn numbers_and_chains(log: &dyn ChangeLog) {
    let genesis = log.load().await.expect("load").cursor;
    let one = log.commit(batch(&[("a", "1")])).await.expect("commit");
    assert_eq!((one.first, one.last), (Seq(1), Seq(1)));
    let three = batch(&[("b", "2"), ("c", "3"), ("a", "4")]);
    let three = log.commit(three).await.expect("commit");
    assert_eq!((three.first, three.last), (Seq(2), Seq(4)));
    assert_eq!(*log.head().borrow(), Seq(4));

    let (entries, end) = verified_tail(log, genesis).await;
    assert_eq!(end, three.cursor);
    assert_eq!(entries[0].chain, one.cursor.chain);
    assert_eq!(entries.iter().map(|e| e.rest).collect::<Vec<_>>(), [0, 2, 1, 0]);
    assert!(entries.iter().all(|e| e.origin == origin()));
    let Ok(Tail::Changes(rest)) = log.tail(one.cursor, 1).await else {
        panic!("tail from the middle");
    };
    assert_eq!(rest, entries[1..], "a batch comes whole, whatever the limit");
    assert_eq!(log.tail(end, 10).await.expect("tail"), Tail::Changes(vec![]));
}

async fn checks_expectations(log: &dyn ChangeLog) {
    let create = || batch(&[("k", "1")]).expecting(Expect::absent(KIND, "k"));
    let first = log.commit(create()).await.expect("create").last;
    let conflict = log.commit(create()).await;
    let Err(CommitError::Conflict { kind, key, found }) = conflict else {
        panic!("created twice: {conflict:?}");
    };
    assert_eq!((kind, &*key, found), (KIND, &b"k"[..], Some(first)));

    let update = |seq| batch(&[("k", "2")]).expecting(Expect::at(KIND, "k", seq));
    let second = log.commit(update(first)).await.expect("update").last;
    assert!(matches!(
        log.commit(update(first)).await,
        Err(CommitError::Conflict { found: Some(found), .. }) if found == second
    ));

    // A condition on a key that the batch does not write.
    let guarded = |seq| batch(&[("other", "1")]).expecting(Expect::at(KIND, "k", seq));
    assert!(matches!(
        log.commit(guarded(first)).await,
        Err(CommitError::Conflict { .. })
    ));
    log.commit(guarded(second)).await.expect("guarded");

    // The same key under another kind is another key.
    let foreign = batch(&[("k2", "1")]).expecting(Expect::absent(Kind(KIND.0 + 1), "k"));
    log.commit(foreign).await.expect("another kind");

    let delete = |seq| {
        Batch::new(origin())
            .with(Change::delete(KIND, 1, "k"))
            .expecting(Expect::at(KIND, "k", seq))
    };
    assert!(matches!(
        log.commit(delete(first)).await,
        Err(CommitError::Conflict { .. })
    ));
    log.commit(delete(second)).await.expect("delete");
    assert!(matches!(
        log.commit(update(second)).await,
        Err(CommitError::Conflict { found: None, .. })
    ));
    log.commit(create()).await.expect("create again after the delete");

    // Deleting what is absent is a change like any other.
    let head = *log.head().borrow();
    let nothing = Batch::new(origin()).with(Change::delete(KIND, 1, "never"));
    assert_eq!(
        log.commit(nothing).await.expect("delete nothing").last,
        head.next()
    );
}

async fn commits_whole_batches_or_nothing(log: &dyn ChangeLog) {
    log.commit(batch(&[("taken", "1")])).await.expect("commit");
    let before = log.load().await.expect("load");
    let mut wishes = batch(&[("x", "1"), ("y", "2"), ("taken", "3")]);
    wishes.expect = ["x", "y", "taken"].map(|key| Expect::absent(KIND, key)).to_vec();
    assert!(matches!(
        log.commit(wishes).await,
        Err(CommitError::Conflict { .. })
    ));
    let after = log.load().await.expect("load");
    assert_eq!((after.cursor, state(&after)), (before.cursor, state(&before)));
    assert_eq!(*log.head().borrow(), before.cursor.seq);
}

async fn holds_its_bounds(log: &dyn ChangeLog) {
    let put = |key: usize, body: usize| {
        Batch::new(origin()).with(Change::put(KIND, 1, vec![b'k'; key], vec![b'b'; body]))
    };
    let many = |count: usize, body: usize| {
        let mut batch = Batch::new(origin());
        let body = Bytes::from(vec![b'b'; body]);
        batch.changes = (0..count)
            .map(|n| Change::put(KIND, 1, n.to_be_bytes().to_vec(), body.clone()))
            .collect();
        batch
    };
    let mut who = batch(&[("k", "1")]);
    who.origin.who = "w".repeat(WHO_BYTES_MAX + 1);
    let mut why = batch(&[("k", "1")]);
    why.origin.why = "w".repeat(WHY_BYTES_MAX + 1);
    let mut expects = batch(&[("k", "1")]);
    expects.expect = vec![Expect::absent(KIND, "k"); BATCH_EXPECTS_MAX + 1];
    let whole_bodies = BATCH_BYTES_MAX / BODY_BYTES_MAX;
    for (bad, invalid) in [
        (Batch::new(origin()), Invalid::Empty),
        (put(0, 1), Invalid::Key { bytes: 0 }),
        (
            put(KEY_BYTES_MAX + 1, 1),
            Invalid::Key {
                bytes: KEY_BYTES_MAX + 1,
            },
        ),
        (
            put(1, BODY_BYTES_MAX + 1),
            Invalid::Body {
                bytes: BODY_BYTES_MAX + 1,
            },
        ),
        (batch(&[("k", "1"), ("k", "2")]), Invalid::Twice { kind: KIND }),
        (
            many(BATCH_CHANGES_MAX + 1, 1),
            Invalid::Changes {
                count: BATCH_CHANGES_MAX + 1,
            },
        ),
        (
            expects,
            Invalid::Expects {
                count: BATCH_EXPECTS_MAX + 1,
            },
        ),
        (
            many(whole_bodies, BODY_BYTES_MAX),
            Invalid::Bytes {
                bytes: BATCH_BYTES_MAX + whole_bodies * size_of::<usize>(),
            },
        ),
        (
            batch(&[("k", "1")]).expecting(Expect::absent(KIND, "")),
            Invalid::Key { bytes: 0 },
        ),
        (who, Invalid::Origin),
        (why, Invalid::Origin),
    ] {
        let refused = log.commit(bad).await;
        assert!(
            matches!(&refused, Err(CommitError::Invalid(found)) if *found == invalid),
            "{invalid:?}: {refused:?}"
        );
    }
    assert_eq!(*log.head().borrow(), Seq::ZERO, "nothing invalid was written");
}

async fn takes_what_the_bounds_allow(log: &dyn ChangeLog) {
    let mut batch = Batch::new(origin());
    batch.origin.who = "w".repeat(WHO_BYTES_MAX);
    batch.origin.why = "y".repeat(WHY_BYTES_MAX);
    let largest = Change::put(KIND, u16::MAX, vec![0xff; KEY_BYTES_MAX], vec![0; BODY_BYTES_MAX]);
    batch.changes = vec![
        largest.clone(),
        Change {
            must_understand: false,
            ..Change::put(Kind(u16::MAX), 0, vec![0], Bytes::new())
        },
    ];
    log.commit(batch).await.expect("the largest change");
    let snapshot = log.load().await.expect("load");
    assert!(snapshot.rows.iter().any(|row| row.to_change() == largest));
    assert!(
        snapshot
            .rows
            .iter()
            .any(|row| row.body.is_empty() && !row.must_understand)
    );

    let mut bulk = Batch::new(origin());
    bulk.changes = (0..BATCH_CHANGES_MAX)
        .map(|n| Change::put(KIND, 1, n.to_be_bytes().to_vec(), "bulk"))
        .collect();
    bulk.expect = (0..BATCH_CHANGES_MAX)
        .map(|n| Expect::absent(KIND, n.to_be_bytes().to_vec()))
        .collect();
    let done = log.commit(bulk).await.expect("the largest batch");
    assert_eq!(done.last.0 - done.first.0 + 1, BATCH_CHANGES_MAX as u64);
    let Ok(Tail::Changes(all)) = log.tail(snapshot.cursor, 1).await else {
        panic!("tail of the largest batch");
    };
    assert_eq!(all.len(), BATCH_CHANGES_MAX, "a batch comes whole");
}

async fn loads_the_fold_of_the_tail(log: &dyn ChangeLog) {
    let genesis = log.load().await.expect("load").cursor;
    for round in 0..40_u32 {
        let key = |n: u32| format!("key-{}", n % 7);
        let mut changes = Batch::new(origin()).with(Change::put(KIND, 1, key(round), round.to_string()));
        changes.changes.push(if round % 3 == 0 {
            Change::delete(KIND, 1, key(round + 2))
        } else {
            Change::put(Kind(KIND.0 + 1), 2, key(round + 2), "x")
        });
        log.commit(changes).await.expect("commit");
        let snapshot = log.load().await.expect("load");
        let (entries, end) = verified_tail(log, genesis).await;
        assert_eq!(end, snapshot.cursor);
        assert_eq!(fold(Default::default(), &entries), state(&snapshot));
        let mut some = log.load_kinds(Box::new(|kind| kind == KIND)).await.expect("load");
        some.rows.sort_by_key(|row| row.seq);
        let mut of_kind = snapshot;
        of_kind.rows.retain(|row| row.kind == KIND);
        of_kind.rows.sort_by_key(|row| row.seq);
        assert_eq!(some, of_kind, "only the kinds asked for");
    }
    hands_over_pieces(log).await;
}

/// More rows than any backend hands over at once; the pieces together are the snapshot.
async fn hands_over_pieces(log: &dyn ChangeLog) {
    let mut bulk = Batch::new(origin());
    bulk.changes = (0..BATCH_CHANGES_MAX)
        .map(|n| Change::put(KIND, 1, format!("piece-{n}"), "x"))
        .collect();
    log.commit(bulk).await.expect("the largest batch");
    let mut whole = log.load_kinds(Box::new(|kind| kind == KIND)).await.expect("load");
    let (sender, mut pieces) = mpsc::channel(1);
    let reading = log.load_pieces(Box::new(|kind| kind == KIND), sender);
    let mut rows = Vec::new();
    let taking = async {
        while let Some(piece) = pieces.recv().await {
            assert!(
                piece.of >= whole.rows.len(),
                "{} of {}",
                piece.of,
                whole.rows.len()
            );
            rows.extend(piece.rows);
        }
    };
    let (cursor, ()) = tokio::join!(reading, taking);
    assert_eq!(cursor.expect("read"), whole.cursor);
    rows.sort_by_key(|row| row.seq);
    whole.rows.sort_by_key(|row| row.seq);
    assert_eq!(rows, whole.rows);

    let (sender, pieces) = mpsc::channel(1);
    drop(pieces);
    let nobody = log.load_pieces(Box::new(|_| true), sender).await;
    assert_eq!(nobody.expect("nobody takes them"), whole.cursor);
}

async fn knows_foreign_cursors(log: &dyn ChangeLog, other: &dyn ChangeLog) {
    for n in 0..3 {
        log.commit(batch(&[("k", &n.to_string())])).await.expect("commit");
        other
            .commit(batch(&[("k", &n.to_string())]))
            .await
            .expect("commit");
    }
    let mine = log.load().await.expect("load").cursor;
    let theirs = other.load().await.expect("load").cursor;
    assert_ne!(mine.epoch, theirs.epoch, "two logs never share an epoch");
    for (what, foreign) in [
        ("another log", theirs),
        (
            "another epoch",
            Cursor {
                epoch: theirs.epoch,
                ..mine
            },
        ),
        (
            "another history",
            Cursor {
                chain: theirs.chain,
                ..mine
            },
        ),
        ("ahead", Cursor { seq: Seq(4), ..mine }),
        ("another place", Cursor { seq: Seq(2), ..mine }),
        ("another start", Cursor { seq: Seq(0), ..mine }),
    ] {
        assert_eq!(
            log.tail(foreign, 10).await.expect("tail"),
            Tail::Diverged,
            "{what}"
        );
    }
    assert_eq!(log.tail(mine, 10).await.expect("tail"), Tail::Changes(vec![]));
}

async fn prunes(log: &dyn ChangeLog) {
    let genesis = log.load().await.expect("load").cursor;
    let mut cursors = vec![genesis];
    for n in 0..10 {
        let done = log.commit(batch(&[("k", &n.to_string())])).await.expect("commit");
        cursors.push(done.cursor);
    }
    let before = state(&log.load().await.expect("load"));
    assert_eq!(log.prune(Seq(6)).await.expect("prune"), 5);
    assert_eq!(log.prune(Seq(6)).await.expect("prune again"), 0);
    for cursor in &cursors[..5] {
        assert_eq!(log.tail(*cursor, 10).await.expect("tail"), Tail::Compacted);
    }
    for cursor in &cursors[5..] {
        let (_, end) = verified_tail(log, *cursor).await;
        assert_eq!(end, cursors[10]);
    }
    let wrong = Cursor {
        chain: genesis.chain,
        ..cursors[5]
    };
    assert_eq!(
        log.tail(wrong, 10).await.expect("tail"),
        Tail::Diverged,
        "the floor is checked too"
    );
    assert_eq!(
        state(&log.load().await.expect("load")),
        before,
        "pruning forgets no state"
    );

    // All of it, and more than there is.
    assert_eq!(log.prune(Seq(u64::MAX)).await.expect("prune all"), 5);
    let snapshot = log.load().await.expect("load");
    assert_eq!((snapshot.cursor, state(&snapshot)), (cursors[10], before));
    assert_eq!(log.tail(cursors[9], 10).await.expect("tail"), Tail::Compacted);
    let next = log.commit(batch(&[("k", "after")])).await.expect("commit");
    assert_eq!(next.first, Seq(11), "numbers go on after pruning");
    let (entries, end) = verified_tail(log, cursors[10]).await;
    assert_eq!((entries.len(), end), (1, next.cursor));
}

async fn tells_its_past(log: &dyn ChangeLog, other: &dyn ChangeLog) {
    const OTHER: Kind = Kind(KIND.0 + 1);
    let genesis = log.load().await.expect("load").cursor;
    let mut cursors = vec![genesis];
    let body = |body: &str| Earlier::Body(Bytes::copy_from_slice(body.as_bytes()));
    let changes = [
        Change::put(KIND, 1, "a", "1"),
        Change::put(KIND, 1, "b", "1"),
        Change::delete(KIND, 1, "b"),
        Change::put(OTHER, 1, "a", "other"),
        Change::put(KIND, 1, "a", "2"),
        // From here on.
        Change::put(KIND, 1, "a", "3"),
        Change::put(KIND, 1, "c", "1"),
        Change::put(KIND, 1, "b", "2"),
        Change::put(OTHER, 1, "a", "again"),
        Change::delete(KIND, 1, "a"),
    ];
    for change in changes {
        let batch = Batch::new(origin()).with(change);
        cursors.push(log.commit(batch).await.expect("commit").cursor);
    }
    let wish = |changes_max, back_max| PastWish {
        changes_max,
        kind: KIND,
        back_max,
    };
    let past = log.past(cursors[10], wish(5, 100)).await.expect("past");
    assert_eq!(past.from, cursors[5]);
    assert_eq!(past.entries, verified_tail(log, cursors[5]).await.0);
    let untold = || Earlier::Untold;
    assert_eq!(
        past.earlier,
        [body("2"), untold(), Earlier::Gone, untold(), untold()]
    );
    // Not looked for so far back.
    let past = log.past(cursors[10], wish(5, 1)).await.expect("past");
    assert_eq!(past.earlier[..3], [body("2"), untold(), untold()]);
    // Up to a place that is not the last, and all that there is.
    let past = log.past(cursors[9], wish(100, 100)).await.expect("past");
    assert_eq!((past.from, past.entries.len()), (genesis, 9));
    assert!(past.earlier.iter().all(|earlier| *earlier == Earlier::Untold));
    let none = log.past(cursors[9], wish(0, 100)).await.expect("past");
    assert_eq!(none, Past::none(cursors[9]));
    // What was forgotten is not told.
    log.prune(Seq(8)).await.expect("prune");
    let past = log.past(cursors[10], wish(100, 100)).await.expect("past");
    assert_eq!((past.from, past.entries.len()), (cursors[7], 3));
    assert_eq!(past.earlier, [untold(), untold(), untold()]);
    let wrong = Cursor {
        chain: genesis.chain,
        ..cursors[9]
    };
    let ahead = Cursor {
        seq: Seq(11),
        ..cursors[10]
    };
    let foreign = other.load().await.expect("load").cursor;
    for place in [wrong, ahead, foreign, cursors[6]] {
        assert_eq!(
            log.past(place, wish(9, 9)).await.expect("past"),
            Past::none(place)
        );
    }
}

async fn begins_an_epoch(open: &dyn Fn(&str) -> Arc<dyn ChangeLog>) {
    let log = open("epoch");
    log.commit(batch(&[("a", "1"), ("b", "1")]))
        .await
        .expect("commit");
    let before = log.load().await.expect("load");
    let mut head = log.head();
    head.mark_unchanged();
    let begun = log.begin_epoch().await.expect("begin");
    assert!(head.has_changed().expect("a log"), "who waits is woken");
    assert_ne!(begun.epoch, before.cursor.epoch);
    assert_eq!((begun.seq, begun.chain), (before.cursor.seq, before.cursor.chain));
    let now = log.load().await.expect("load");
    assert_eq!((now.cursor, state(&now)), (begun, state(&before)));
    assert_eq!(log.tail(before.cursor, 10).await.expect("tail"), Tail::Diverged);
    let next = log.commit(batch(&[("a", "2")])).await.expect("commit");
    assert_eq!((next.first, next.cursor.epoch), (Seq(3), begun.epoch));
    assert_eq!(verified_tail(&*log, begun).await.1, next.cursor);
    drop(log);
    let log = open("epoch");
    // A log in memory is gone with its last holder.
    if log.load().await.expect("load").cursor.seq > Seq::ZERO {
        assert_eq!(log.load().await.expect("load").cursor, next.cursor);
    }
}

async fn prunes_by_age(log: &dyn ChangeLog) {
    let mut cursors = Vec::new();
    for second in [10, 20, 15, 30, 5] {
        let mut one = batch(&[("k", "x")]);
        one.origin.when = UnixTime::from_secs(second);
        cursors.push(log.commit(one).await.expect("commit").cursor);
    }
    assert_eq!(log.prune_older(UnixTime::from_secs(10)).await.expect("prune"), 0);
    // The change at 30 is kept, and with it the older one that follows it.
    assert_eq!(log.prune_older(UnixTime::from_secs(30)).await.expect("prune"), 3);
    assert_eq!(log.tail(cursors[1], 9).await.expect("tail"), Tail::Compacted);
    assert_eq!(verified_tail(log, cursors[2]).await.0.len(), 2);
    assert_eq!(log.prune_older(UnixTime::from_secs(31)).await.expect("prune"), 2);
}

async fn loses_nothing_of_concurrent_writers(log: Arc<dyn ChangeLog>) {
    const WRITERS: u32 = 16;
    const EACH: u32 = 25;
    let genesis = log.load().await.expect("load").cursor;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for n in 0..EACH {
                    let (own, shared) = (format!("{writer}/{n}"), format!("shared-{}", n % 3));
                    let two =
                        batch(&[(&own, "x"), (&shared, &own)]).expecting(Expect::absent(KIND, own.clone()));
                    seqs.push(log.commit(two).await.expect("commit"));
                }
                seqs
            })
        })
        .collect();
    let mut committed = Vec::new();
    for task in tasks {
        let own = task.await.expect("writer");
        assert!(
            own.is_sorted_by_key(|c| c.first),
            "a writer's commits are in its order"
        );
        committed.extend(own);
    }
    committed.sort_by_key(|c| c.first);
    let (entries, end) = verified_tail(&*log, genesis).await;
    assert_eq!(entries.len(), committed.len() * 2);
    assert_eq!(committed.last().map(|c| c.cursor), Some(end));
    for (done, two) in committed.iter().zip(entries.chunks(2)) {
        assert_eq!(
            (done.first, done.last),
            (two[0].seq, two[1].seq),
            "batches do not mix"
        );
        assert_eq!(done.cursor.chain, two[1].chain);
    }
    let snapshot = log.load().await.expect("load");
    assert_eq!(state(&snapshot), fold(Default::default(), &entries));
    assert_eq!(snapshot.rows.len(), (WRITERS * EACH + 3) as usize);
}

async fn lets_one_of_two_racing_writers_win(log: Arc<dyn ChangeLog>) {
    for round in 0..20 {
        let key = format!("race-{round}");
        let race: Vec<_> = (0..8)
            .map(|writer: u32| {
                let wish = batch(&[(&key, &writer.to_string())]).expecting(Expect::absent(KIND, key.clone()));
                let log = Arc::clone(&log);
                tokio::spawn(async move { log.commit(wish).await })
            })
            .collect();
        let mut winners = Vec::new();
        let mut losers = Vec::new();
        for one in race {
            match one.await.expect("racer") {
                Ok(done) => winners.push(done.last),
                Err(CommitError::Conflict { found, .. }) => losers.push(found),
                Err(other) => panic!("race: {other}"),
            }
        }
        assert_eq!(winners.len(), 1);
        assert!(losers.iter().all(|found| *found == Some(winners[0])));
    }
}

async fn wakes_those_who_wait(log: Arc<dyn ChangeLog>) {
    let mut head = log.head();
    let start = log.load().await.expect("load").cursor;
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for n in 0..30_u32 {
                log.commit(batch(&[("k", &n.to_string())])).await.expect("commit");
            }
        })
    };
    let mut seen = start;
    while seen.seq < Seq(30) {
        head.changed().await.expect("the log is there");
        let told = *head.borrow_and_update();
        let (_, end) = verified_tail(&*log, seen).await;
        assert!(
            end.seq >= told,
            "a tail after a wake-up sees what it was woken for"
        );
        seen = end;
    }
    writer.await.expect("writer");
}

async fn works_though_nobody_waits(log: &dyn ChangeLog) {
    drop(log.commit(batch(&[("dropped", "1")])));
    let second = log.commit(batch(&[("kept", "1")])).await.expect("commit");
    assert_eq!(
        second.last,
        Seq(2),
        "a commit takes effect when it is called, in order"
    );
}

async fn survives_reopening(open: &dyn Fn(&str) -> Arc<dyn ChangeLog>) {
    let log = open("reopen");
    let genesis = log.load().await.expect("load").cursor;
    let mut last = genesis;
    for n in 0..20 {
        let wish = batch(&[(&format!("key-{n}"), "x"), ("shared", &n.to_string())]);
        last = log.commit(wish).await.expect("commit").cursor;
    }
    let gone = Batch::new(origin()).with(Change::delete(KIND, 1, "key-3"));
    last.seq = last.seq.next();
    let deleted = log.commit(gone).await.expect("delete");
    assert_eq!(deleted.last, last.seq);
    let before = log.load().await.expect("load");
    drop(log);

    let log = open("reopen");
    let after = log.load().await.expect("load");
    assert_eq!((after.cursor, state(&after)), (before.cursor, state(&before)));
    assert_eq!(*log.head().borrow(), last.seq);
    assert_eq!(verified_tail(&*log, genesis).await.0.len(), 41);
    let stale = batch(&[("shared", "y")]).expecting(Expect::at(KIND, "shared", Seq(2)));
    assert!(matches!(
        log.commit(stale).await,
        Err(CommitError::Conflict { .. })
    ));
    let again = batch(&[("key-3", "y")]).expecting(Expect::absent(KIND, "key-3"));
    assert_eq!(log.commit(again).await.expect("commit").first, last.seq.next());
    log.prune(Seq(30)).await.expect("prune");
    drop(log);

    let log = open("reopen");
    assert_eq!(log.tail(genesis, 9).await.expect("tail"), Tail::Compacted);
    assert_eq!(verified_tail(&*log, before.cursor).await.0.len(), 1);
}
