//! What the writers write: everything follows from the writer's number and the step.

use bytes::Bytes;
use signet_store::{Batch, Change, Expect, Kind, Origin, Seq};
use signet_time::UnixTime;
use std::collections::BTreeMap;

/// How many writers run at once.
pub const WRITERS: u32 = 6;
/// The kind of all keys.
pub const KIND: Kind = Kind(65_281);
/// Keys of a writer, beside its counter.
const KEYS: u32 = 8;

/// The key under which a writer counts its steps.
#[must_use]
pub fn counter(writer: u32) -> Bytes {
    Bytes::from(format!("{writer}/counter"))
}

fn key(writer: u32, n: u32) -> Bytes {
    Bytes::from(format!("{writer}/{}", n % KEYS))
}

fn body(writer: u32, step: u32) -> Bytes {
    let length = 40 + (step.wrapping_mul(37) % 360) as usize;
    Bytes::from(format!("{writer}:{step};").repeat(length / 4))
}

/// One step: the counter, a key, and at times a key that goes.
#[must_use]
pub fn batch(writer: u32, step: u32, counted: Option<Seq>) -> Batch {
    let mut batch = Batch::new(Origin::new(format!("writer {writer}"), "crash", UnixTime::EPOCH))
        .with(Change::put(KIND, 1, counter(writer), step.to_string()))
        .with(Change::put(KIND, 1, key(writer, step), body(writer, step)))
        .expecting(Expect {
            kind: KIND,
            key: counter(writer),
            seq: counted,
        });
    if step % 5 == 4 {
        batch.changes.push(Change::delete(KIND, 1, key(writer, step + 3)));
    }
    batch
}

/// What a writer's keys hold after `steps` steps.
#[must_use]
pub fn state(writer: u32, steps: u32) -> BTreeMap<Bytes, Bytes> {
    let mut state = BTreeMap::new();
    for step in 1..=steps {
        for change in batch(writer, step, None).changes {
            match change.body {
                Some(body) => state.insert(change.key, body),
                None => state.remove(&change.key),
            };
        }
    }
    state
}

/// The journal record of one step: its writer, the step, and bytes that follow from both.
#[must_use]
pub fn record(writer: u32, step: u32) -> Bytes {
    let length = 20 + (step.wrapping_mul(97).wrapping_add(writer * 31) % 2_500) as usize;
    let mut bytes = format!("{writer} {step} ").into_bytes();
    let fill = (0..length).map(|n| (n as u32).wrapping_mul(step | 1).to_le_bytes()[0]);
    bytes.extend(fill);
    Bytes::from(bytes)
}

/// Whose record this is, and of which step.
#[must_use]
pub fn parse_record(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut parts = bytes.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    Some((number()?, number()?))
}
