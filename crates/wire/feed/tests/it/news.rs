//! Deltas, snapshots in pieces, heartbeats; and what is refused of them, with what was known before left as it was.

use crate::{NOW, bundle, capabilities, cursor, domain, entry, producer};
use core::time::Duration;
use proptest::prelude::*;
use prost::Message as _;
use signet_crypto::SetHash;
use signet_feed::{
    CHUNKS_MAX, Capability, Changes, EntrySet, Event, FeedCursor, FeedEntry, FeedError, NodeState, PeerHello,
    Replica, hello_holding,
};
use signet_proto::agent::v1::{self, sync_response::Message};
use signet_trust::Bundle;
use std::sync::{Arc, OnceLock};

/// Made once: what is in it does not matter here.
fn bundles() -> &'static [Arc<Bundle>; 2] {
    static MADE: OnceLock<[Arc<Bundle>; 2]> = OnceLock::new();
    MADE.get_or_init(|| [bundle("dev.test"), bundle("other.test")])
}

fn at(number: u8, seq: u64) -> FeedEntry {
    FeedEntry { seq, ..entry(number) }
}

fn over_the_wire(response: &v1::SyncResponse) -> v1::SyncResponse {
    v1::SyncResponse::decode(response.encode_to_vec().as_slice()).unwrap()
}

/// A replica that holds the entries 1 and 2 as of place 9.
fn holding() -> Replica {
    let mut replica = crate::greeted();
    for chunk in producer().chunks(cursor(9), bundles(), [at(1, 3), at(2, 9)], capabilities()) {
        replica.read(&over_the_wire(&chunk), NOW).unwrap();
    }
    replica
}

fn seqs(replica: &Replica) -> Vec<(u8, u64)> {
    let state = replica.state().unwrap();
    state
        .entries
        .iter()
        .map(|entry| (entry.id[0], entry.seq))
        .collect()
}

fn changes(removed: &[u8], entries: Vec<FeedEntry>) -> Changes {
    Changes {
        removed: removed.iter().map(|number| [*number; 16]).collect(),
        entries,
        ..Changes::default()
    }
}

fn delta(from: u64, to: u64, changes: &Changes) -> v1::SyncResponse {
    producer()
        .delta(cursor(from), cursor(to), changes, capabilities())
        .unwrap()
}

fn digest(entries: &[(u8, u64)]) -> SetHash {
    let mut hash = SetHash::default();
    entries
        .iter()
        .for_each(|(number, seq)| hash.insert(&[*number; 16], *seq));
    hash
}

fn beat(seq: u64, digest: Option<&SetHash>) -> v1::SyncResponse {
    producer().heartbeat(cursor(seq), digest, Duration::from_secs(20), NOW)
}

#[test]
fn a_delta_puts_removes_and_leaves_the_rest() {
    let mut replica = holding();
    let before = Arc::clone(replica.state().unwrap());
    let news = changes(&[1], vec![at(2, 11), at(3, 12)]);
    let Event::State(state) = replica.read(&over_the_wire(&delta(9, 12, &news)), NOW).unwrap() else {
        panic!("not a state");
    };
    assert_eq!(seqs(&replica), [(2, 11), (3, 12)]);
    assert_eq!((state.cursor, state.trust.bundles().len()), (cursor(12), 2));
    assert_eq!(**state.entries.get(&[3; 16]).unwrap(), at(3, 12));
    assert_eq!(
        before.entries.len(),
        2,
        "whoever still looks at it sees what it was"
    );
    replica.read(&delta(12, 12, &Changes::default()), NOW).unwrap();
    assert_eq!(seqs(&replica), [(2, 11), (3, 12)]);
}

#[test]
fn a_delta_changes_bundles() {
    let mut replica = holding();
    let renewed = Bundle::new(
        domain("other.test"),
        8,
        None,
        bundles()[1].x509().to_vec(),
        Vec::new(),
    )
    .unwrap();
    let news = Changes {
        bundles: vec![Arc::new(renewed)],
        ..Changes::default()
    };
    replica
        .read(&delta(9, 10, &news), NOW + Duration::from_secs(1))
        .unwrap();
    let foreign = |replica: &Replica| {
        let trust = &replica.state().unwrap().trust;
        trust
            .bundle(&domain("other.test"))
            .map(|bundle| bundle.sequence())
    };
    assert_eq!(foreign(&replica), Some(8));
    assert_eq!(
        replica.state().unwrap().trust.received_at(),
        NOW + Duration::from_secs(1)
    );
    let news = Changes {
        bundles_removed: vec![domain("other.test")],
        ..Changes::default()
    };
    replica.read(&delta(10, 11, &news), NOW).unwrap();
    assert_eq!(foreign(&replica), None);
    assert!(replica.state().unwrap().trust.own_bundle().is_some());
}

#[test]
fn a_snapshot_in_pieces_counts_once_it_is_whole() {
    let many: Vec<_> = (0_u16..9_000)
        .map(|number| {
            let mut entry = at(1, 5);
            entry.id[..2].copy_from_slice(&number.to_be_bytes());
            entry
        })
        .collect();
    let pieces: Vec<_> = producer()
        .chunks(cursor(20), bundles(), many, capabilities())
        .map(|piece| over_the_wire(&piece))
        .collect();
    assert!(pieces.len() > 3, "{} pieces", pieces.len());
    assert!(
        pieces.iter().all(|piece| piece.encoded_len() < 260 << 10),
        "each is short"
    );
    let mut replica = holding();
    let (last, others) = pieces.split_last().unwrap();
    for piece in others {
        assert!(matches!(replica.read(piece, NOW), Ok(Event::Piece)));
        assert_eq!(seqs(&replica), [(1, 3), (2, 9)], "the old state goes on");
    }
    assert!(matches!(replica.read(last, NOW), Ok(Event::State(_))));
    let state = replica.state().unwrap();
    assert_eq!((state.entries.len(), state.cursor), (9_000, cursor(20)));
    // One that is never finished, and one that is whole after it on the next stream.
    let mut replica = Replica::resuming(domain("dev.test"), Arc::clone(state));
    replica.read(&producer().hello(NOW), NOW).unwrap();
    replica.read(&pieces[0], NOW).unwrap();
    assert!(matches!(
        replica.read(&producer().going_away("x", Duration::ZERO), NOW),
        Ok(Event::GoingAway { .. })
    ));
    assert_eq!(replica.state().unwrap().entries.len(), 9_000);
}

#[test]
fn an_entry_that_comes_again_as_it_was_is_not_held_twice() {
    let held = Arc::clone(holding().state().unwrap());
    let mut replica = Replica::resuming(domain("dev.test"), Arc::clone(&held));
    replica.read(&producer().hello(NOW), NOW).unwrap();
    let [same, mut other] = [at(1, 3), at(2, 9)];
    other.hint = "changed".to_owned();
    let all = producer().snapshot(cursor(30), bundles(), [same, other], capabilities());
    replica.read(&over_the_wire(&all), NOW).unwrap();
    let fresh = replica.state().unwrap();
    let entry = |state: &NodeState, number: u8| Arc::clone(state.entries.get(&at(number, 0).id).unwrap());
    assert!(Arc::ptr_eq(&entry(&held, 1), &entry(fresh, 1)));
    assert_eq!(
        entry(fresh, 2).hint,
        "changed",
        "one that differs is taken as it comes"
    );
}

#[test]
fn an_empty_snapshot_is_one_piece() {
    let pieces: Vec<_> = producer()
        .chunks(cursor(9), &bundles()[..1], [], capabilities())
        .collect();
    assert_eq!(pieces.len(), 1);
    assert!(matches!(
        crate::greeted().read(&pieces[0], NOW),
        Ok(Event::State(_))
    ));
}

#[test]
fn a_stream_goes_on_from_the_state_that_the_hello_named() {
    let held = Arc::clone(holding().state().unwrap());
    let said = hello_holding("agent", Some(held.cursor), NOW);
    assert_eq!(PeerHello::read(&said).unwrap().holds, Some(cursor(9)));
    let mut replica = Replica::resuming(domain("dev.test"), held);
    assert!(matches!(
        replica.read(&delta(9, 11, &Changes::default()), NOW),
        Err(FeedError::Order { .. })
    ));
    replica.read(&producer().hello(NOW), NOW).unwrap();
    assert!(
        matches!(replica.read(&beat(9, None), NOW), Err(FeedError::Order { .. })),
        "a stream begins with a state"
    );
    replica.read(&delta(9, 11, &changes(&[2], vec![])), NOW).unwrap();
    assert_eq!(seqs(&replica), [(1, 3)]);
    // A server that is behind sends what it has.
    let older = Arc::clone(replica.state().unwrap());
    let mut replica = Replica::resuming(domain("dev.test"), older);
    replica.read(&producer().hello(NOW), NOW).unwrap();
    let behind = producer().snapshot(cursor(5), bundles(), [at(1, 3)], capabilities());
    assert!(matches!(replica.read(&behind, NOW), Ok(Event::State(_))));
}

#[test]
fn a_heartbeat_moves_the_place_and_a_digest_that_differs_does_not() {
    let mut replica = holding();
    let right = digest(&[(1, 3), (2, 9)]);
    for (seq, digest) in [(9, None), (12, None), (15, Some(&right))] {
        let event = replica.read(&over_the_wire(&beat(seq, digest)), NOW).unwrap();
        let Event::Alive { interval, now } = event else {
            panic!("{event:?}");
        };
        assert_eq!((interval, now), (Duration::from_secs(20), NOW));
        assert_eq!(replica.state().unwrap().cursor, cursor(seq));
    }
    for wrong in [
        digest(&[(1, 3), (2, 8)]),
        digest(&[(1, 3)]),
        digest(&[(1, 3), (2, 9), (3, 9)]),
    ] {
        let event = replica.read(&beat(16, Some(&wrong)), NOW).unwrap();
        assert!(
            matches!(event, Event::Drift { held: 2, told } if told == wrong.count()),
            "{event:?}"
        );
        assert_eq!(replica.state().unwrap().cursor, cursor(15));
    }
    // The snapshot that is asked for then.
    for piece in producer().chunks(cursor(17), bundles(), [at(3, 17)], capabilities()) {
        replica.read(&piece, NOW).unwrap();
    }
    assert_eq!(seqs(&replica), [(3, 17)]);
}

/// What `message` is refused with by a replica that holds something, which it goes on holding.
fn refused(message: v1::SyncResponse) -> FeedError {
    refused_after(&[], message)
}

fn refused_after(before: &[v1::SyncResponse], message: v1::SyncResponse) -> FeedError {
    let mut replica = holding();
    let held = Arc::clone(replica.state().unwrap());
    for message in before {
        replica.read(message, NOW).unwrap();
    }
    let error = replica.read(&over_the_wire(&message), NOW).unwrap_err();
    let same = |state: &Arc<NodeState>| Arc::ptr_eq(state, &held);
    assert!(replica.state().is_some_and(same), "{error} left another state");
    assert_eq!(seqs(&replica), [(1, 3), (2, 9)]);
    error
}

fn edited(mut message: v1::SyncResponse, edit: impl FnOnce(&mut v1::Delta)) -> v1::SyncResponse {
    let Some(Message::Delta(delta)) = &mut message.message else {
        panic!("not a delta");
    };
    edit(delta);
    message
}

#[test]
fn a_delta_from_another_place_is_refused() {
    for from in [8, 10] {
        let error = refused(delta(from, 12, &Changes::default()));
        assert!(matches!(error, FeedError::Place { held: Some(9), .. }), "{error}");
    }
    for change in [
        |c: &mut FeedCursor| c.epoch = [0; 16],
        |c: &mut FeedCursor| c.chain = [0; 32],
    ] {
        let mut from = cursor(9);
        change(&mut from);
        let news = producer()
            .delta(from, cursor(12), &Changes::default(), capabilities())
            .unwrap();
        assert!(matches!(refused(news), FeedError::Place { .. }));
    }
    let mut empty = crate::greeted();
    let error = empty.read(&delta(9, 12, &Changes::default()), NOW).unwrap_err();
    assert!(matches!(error, FeedError::Place { held: None, .. }), "{error}");
    for (epoch, seq) in [([0; 16], 12), ([5; 16], 8)] {
        let to = FeedCursor { epoch, ..cursor(seq) };
        let news = producer()
            .delta(cursor(9), to, &Changes::default(), capabilities())
            .unwrap();
        assert!(matches!(refused(news), FeedError::Order { .. }));
    }
}

#[test]
fn a_delta_that_does_not_fit_what_is_held_is_refused() {
    let error = refused(delta(9, 12, &changes(&[1, 3], vec![])));
    assert!(
        matches!(error, FeedError::Unknown { what: "an entry" }),
        "{error}"
    );
    for news in [
        changes(&[1, 1], vec![]),
        changes(&[1], vec![at(1, 12)]),
        changes(&[], vec![at(3, 12), at(3, 11)]),
    ] {
        assert!(matches!(refused(delta(9, 12, &news)), FeedError::Twice { .. }));
    }
    for seq in [9, 13] {
        let error = refused(delta(9, 12, &changes(&[], vec![at(3, seq)])));
        assert!(matches!(error, FeedError::Malformed { .. }), "{error}");
    }
    let own_goes = Changes {
        bundles_removed: vec![domain("dev.test")],
        ..Changes::default()
    };
    assert!(matches!(
        refused(delta(9, 12, &own_goes)),
        FeedError::OwnBundle { .. }
    ));
    let unknown = Changes {
        bundles_removed: vec![domain("third.test")],
        ..Changes::default()
    };
    assert!(matches!(
        refused(delta(9, 12, &unknown)),
        FeedError::Unknown { what: "a bundle" }
    ));
    let older = Bundle::new(domain("other.test"), 6, None, Vec::new(), Vec::new()).unwrap();
    let older = Changes {
        bundles: vec![Arc::new(older)],
        ..Changes::default()
    };
    assert!(matches!(refused(delta(9, 12, &older)), FeedError::Order { .. }));
    let passes_for_ours = Changes {
        bundles: vec![Arc::clone(&bundles()[1])],
        ..Changes::default()
    };
    let message = edited(delta(9, 12, &passes_for_ours), |delta| {
        delta.bundles[0].own = true
    });
    assert!(matches!(refused(message), FeedError::OwnBundle { .. }));
}

#[test]
fn a_malformed_delta_is_refused() {
    let good = || delta(9, 12, &changes(&[1], vec![at(3, 12)]));
    let edits: [fn(&mut v1::Delta); 6] = [
        |d| d.from = None,
        |d| d.to = None,
        |d| d.removed[0] = vec![1; 15].into(),
        |d| d.entries[0].selectors.clear(),
        |d| d.entries[0].spiffe_id = "spiffe://other.test/w".into(),
        |d| d.jwt_issuer = "i".repeat(1_025),
    ];
    for edit in edits {
        refused(edited(good(), edit));
    }
    let many = edited(good(), |d| d.removed = vec![vec![9; 16].into(); 100_001]);
    assert!(matches!(refused(many), FeedError::Bound { .. }));
}

fn pieces(entries: Vec<FeedEntry>) -> Vec<v1::SnapshotChunk> {
    let all = producer().chunks(cursor(20), bundles(), entries, capabilities());
    let mut split = Vec::new();
    for message in all {
        let Some(Message::Chunk(chunk)) = message.message else {
            panic!("not a piece");
        };
        let (bundles, entries) = (chunk.bundles, chunk.entries);
        let piece = |number, bundles, entries, end| v1::SnapshotChunk {
            number,
            bundles,
            entries,
            end,
        };
        split.push(piece(0, bundles, Vec::new(), None));
        split.push(piece(1, Vec::new(), entries, None));
        split.push(piece(2, Vec::new(), Vec::new(), chunk.end));
    }
    split
}

fn piece(chunk: v1::SnapshotChunk) -> v1::SyncResponse {
    v1::SyncResponse {
        message: Some(Message::Chunk(chunk)),
    }
}

#[test]
fn pieces_that_do_not_make_a_snapshot_are_refused() {
    let good = pieces(vec![at(3, 12), at(4, 13)]);
    let [first, second, last] = [0, 1, 2].map(|n| piece(good[n].clone()));
    let mut replica = holding();
    for message in [&first, &second, &last] {
        replica.read(message, NOW).unwrap();
    }
    assert_eq!(seqs(&replica), [(3, 12), (4, 13)]);
    // Out of turn, twice, begun anew, something between.
    assert!(matches!(refused(second.clone()), FeedError::Order { .. }));
    for between in [
        first.clone(),
        last.clone(),
        beat(9, None),
        delta(9, 12, &Changes::default()),
        producer().snapshot(cursor(20), bundles(), [], capabilities()),
    ] {
        let error = refused_after(core::slice::from_ref(&first), between);
        assert!(matches!(error, FeedError::Order { .. }), "{error}");
    }
    type Edit = fn(&mut [v1::SnapshotChunk]);
    let edits: [(&str, Edit); 7] = [
        ("SGFE016", |p| {
            p[2].end.as_mut().unwrap().digest = Some(v1::Digest {
                sum: vec![0; 32].into(),
                entries: 2,
            })
        }),
        ("SGFE016", |p| drop(p[1].entries.pop())),
        ("SGFE004", |p| p[2].end.as_mut().unwrap().digest = None),
        ("SGFE004", |p| p[2].end.as_mut().unwrap().cursor = None),
        ("SGFE013", |p| p[1].entries[1].id = p[1].entries[0].id.clone()),
        ("SGFE002", |p| p[2].bundles = p[0].bundles.clone()),
        ("SGFE011", |p| drop(p[0].bundles.remove(0))),
    ];
    for (code, edit) in edits {
        let mut bad = good.clone();
        edit(&mut bad);
        let mut replica = holding();
        let error = bad
            .into_iter()
            .find_map(|chunk| replica.read(&piece(chunk), NOW).err());
        let error = error.expect("refused");
        assert_eq!(signet_fault::Coded::code(&error), code, "{error}");
        assert_eq!(seqs(&replica), [(1, 3), (2, 9)]);
    }
}

#[test]
fn a_snapshot_has_an_end() {
    let nothing = |number| {
        piece(v1::SnapshotChunk {
            number,
            ..v1::SnapshotChunk::default()
        })
    };
    assert!(matches!(refused(nothing(0)), FeedError::Malformed { .. }));
    let mut replica = holding();
    let mut refusal = None;
    for number in 0..=u32::try_from(CHUNKS_MAX).unwrap() {
        let mut entry = at(1, 3);
        entry.id[..4].copy_from_slice(&number.to_be_bytes());
        let chunk = v1::SnapshotChunk {
            number,
            entries: vec![entry.to_proto()],
            ..v1::SnapshotChunk::default()
        };
        if let Err(error) = replica.read(&piece(chunk), NOW) {
            refusal = Some((number, error));
            break;
        }
    }
    let (number, error) = refusal.expect("pieces without end");
    assert_eq!(number as usize, CHUNKS_MAX, "{error}");
    assert_eq!(seqs(&replica), [(1, 3), (2, 9)]);
}

#[test]
fn a_malformed_heartbeat_is_refused() {
    let edits: [fn(&mut v1::Heartbeat); 5] = [
        |h| h.cursor = None,
        |h| h.interval_ms = 0,
        |h| h.digest = Some(v1::Digest::default()),
        |h| h.cursor.as_mut().unwrap().seq = 8,
        |h| h.cursor.as_mut().unwrap().epoch = vec![0; 16].into(),
    ];
    for edit in edits {
        let mut message = beat(9, None);
        let Some(Message::Heartbeat(inner)) = &mut message.message else {
            panic!("not a heartbeat");
        };
        edit(inner);
        refused(message);
    }
}

#[test]
fn what_is_too_much_for_one_message_is_no_delta() {
    let long = |number: u16| {
        let mut entry = at(1, 12);
        entry.id[..2].copy_from_slice(&number.to_be_bytes());
        entry.jwt_audiences = vec!["a".repeat(1_000); 10];
        entry
    };
    let news = |count| changes(&[], (0..count).map(long).collect());
    assert!(
        producer()
            .delta(cursor(9), cursor(12), &news(100), capabilities())
            .is_some()
    );
    assert!(
        producer()
            .delta(cursor(9), cursor(12), &news(500), capabilities())
            .is_none()
    );
}

/// A side is sent nothing that it has not named.
#[test]
fn bundles_in_news_hold_what_was_named() {
    let mut said = hello_holding("old", None, NOW);
    said.capabilities.retain(|name| name != "wit-svid");
    let theirs = PeerHello::read(&said).unwrap().capabilities;
    assert!(theirs.has(Capability::Delta) && theirs.has(Capability::Chunks));
    let news = Changes {
        bundles: bundles().to_vec(),
        ..Changes::default()
    };
    let sent = producer().delta(cursor(9), cursor(10), &news, theirs).unwrap();
    let Some(Message::Delta(sent)) = sent.message else {
        panic!("not a delta");
    };
    assert!(
        sent.bundles
            .iter()
            .all(|bundle| bundle.wit.is_empty() && !bundle.jwt.is_empty())
    );
}

proptest! {
    /// However a state is cut into pieces and news, a replica comes to it.
    #[test]
    fn every_way_leads_to_the_same_state(
        steps in prop::collection::vec(prop::collection::btree_map(0_u8..24, any::<bool>(), 0..6), 1..12),
        begin in 0_usize..12,
        breaks in any::<u16>(),
    ) {
        let mut truth = EntrySet::default();
        let mut replica: Option<Replica> = None;
        let mut place = 100;
        for (step, wanted) in steps.into_iter().enumerate() {
            let from = place;
            let mut news = Changes::default();
            for (number, is_there) in wanted {
                place += 1;
                let entry = at(number, place);
                if is_there {
                    truth.put(Arc::new(entry.clone()));
                    news.entries.push(entry);
                } else if truth.remove(&entry.id).is_some() {
                    news.removed.push(entry.id);
                }
            }
            let whole = || producer().chunks(
                cursor(place),
                bundles(),
                truth.iter().map(|entry| (**entry).clone()).collect::<Vec<_>>(),
                capabilities(),
            );
            let messages: Vec<_> = match &mut replica {
                // It connected first when some of it had happened.
                None if step < begin => continue,
                None => {
                    replica = Some(crate::greeted());
                    whole().collect()
                }
                Some(_) if breaks & (1 << (step % 16)) == 0 => vec![delta(from, place, &news)],
                Some(known) => {
                    // The connection breaks, in the middle of a snapshot every other time.
                    if step % 2 == 0 {
                        let mut pieces = pieces(vec![at(99, 1)]).into_iter();
                        known.read(&piece(pieces.next().unwrap()), NOW).unwrap();
                    }
                    let held = Arc::clone(known.state().unwrap());
                    prop_assert_eq!(held.cursor, cursor(from));
                    *known = Replica::resuming(domain("dev.test"), held);
                    known.read(&producer().hello(NOW), NOW).unwrap();
                    if step % 3 == 0 { whole().collect() } else { vec![delta(from, place, &news)] }
                }
            };
            let replica = replica.as_mut().unwrap();
            for message in &messages {
                replica.read(&over_the_wire(message), NOW).unwrap();
            }
            let state = replica.state().unwrap();
            prop_assert!(state.entries.changes_since(&truth).is_empty());
            prop_assert_eq!(state.entries.digest(), truth.digest());
            let digest = truth.digest();
            let event = replica.read(&beat(place, Some(&digest)), NOW).unwrap();
            let alive = matches!(event, Event::Alive { .. });
            prop_assert!(alive);
        }
    }

    #[test]
    fn no_stream_of_bytes_panics(messages in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut replica = holding();
        for bytes in messages {
            if let Ok(response) = v1::SyncResponse::decode(bytes.as_slice()) {
                let _ = replica.read(&response, NOW);
            }
        }
    }
}
