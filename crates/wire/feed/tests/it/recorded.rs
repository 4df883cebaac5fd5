//! Streams as they were spoken by agents and servers of this and earlier days, in `tests/streams`: what they say is
//! understood for as long as their protocol is.
//!
//! A line of a file is a comment (`#`), a message in hexadecimal (`agent`, `server`), or what it has led to: `state`
//! with the place and each entry's id and last change, `piece`, `alive`, `drift`, `away` with the pause, `again` for a
//! new stream that goes on from the state.

use crate::{NOW, bundle, cursor, domain, entry, hello};
use core::fmt::Write as _;
use core::time::Duration;
use prost::Message as _;
use signet_crypto::{SetHash, digest::hex};
use signet_feed::{Changes, Event, FeedEntry, PeerHello, Producer, Replica, hello_holding, resync};
use signet_proto::agent::v1::{self, SyncRequest, sync_request, sync_response};
use std::path::PathBuf;
use std::sync::Arc;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/streams")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(core::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn files() -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What an event is called in a file.
fn told(event: &Event, replica: &Replica) -> String {
    match event {
        Event::Hello(_) => "hello".to_owned(),
        Event::Piece => "piece".to_owned(),
        Event::Alive { .. } => format!("alive {}", replica.state().unwrap().cursor.seq),
        Event::Drift { held, told } => format!("drift {held} {told}"),
        Event::GoingAway { retry_after, .. } => format!("away {}", retry_after.as_millis()),
        Event::State(state) => {
            let mut text = format!("state {}", state.cursor.seq);
            for entry in &state.entries {
                write!(text, " {}@{}", hex(&entry.id), entry.seq).unwrap();
            }
            text
        }
    }
}

#[test]
fn what_was_recorded_is_understood() {
    let files = files();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["bare", "news", "whole"]);
    for (name, text) in &files {
        let mut replica = Replica::new(domain("dev.test"));
        let (mut last, mut events) = (None, 0);
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "#" => {}
                "agent" => match SyncRequest::decode(unhex(rest).as_slice())
                    .unwrap()
                    .message
                    .unwrap()
                {
                    sync_request::Message::Hello(said) => drop(PeerHello::read(&said).unwrap()),
                    sync_request::Message::Applied(_) | sync_request::Message::Resync(_) => {}
                },
                "server" => {
                    let message = v1::SyncResponse::decode(unhex(rest).as_slice()).unwrap();
                    let event = replica.read(&message, NOW).unwrap();
                    last = Some(told(&event, &replica));
                }
                "again" => {
                    let held = Arc::clone(replica.state().unwrap());
                    replica = Replica::resuming(domain("dev.test"), held);
                }
                _ => {
                    assert_eq!(last.as_deref(), Some(line), "{name}");
                    events += 1;
                }
            }
        }
        assert!(events >= 4, "{name} says something");
    }
}

/// A server of today says to an agent of then, byte for byte, what a server of then said.
#[test]
fn agents_from_before_are_sent_what_they_were_sent_then() {
    let producer = Producer::new(
        domain("dev.test"),
        "signet-server/0.1.0",
        "https://localhost/workload",
    );
    let mut compared = 0;
    for (_, text) in files().into_iter().filter(|(name, _)| name != "news") {
        let mut theirs = None;
        for line in text.lines() {
            let Some((kind, rest)) = line.split_once(' ') else {
                continue;
            };
            if kind == "agent" {
                let said = SyncRequest::decode(unhex(rest).as_slice())
                    .unwrap()
                    .message
                    .unwrap();
                if let sync_request::Message::Hello(said) = said {
                    theirs = Some(PeerHello::read(&said).unwrap());
                }
            }
            if kind != "server" {
                continue;
            }
            let theirs = theirs.as_ref().expect("the agent speaks first");
            let message = v1::SyncResponse::decode(unhex(rest).as_slice()).unwrap();
            let again = match message.message.as_ref().unwrap() {
                // Names of what is new are passed over.
                sync_response::Message::Hello(said) => {
                    let sync_response::Message::Hello(now) = producer.hello_to(theirs, NOW).message.unwrap()
                    else {
                        panic!("not a hello");
                    };
                    assert_eq!(
                        (said.protocol, said.now_ms, &said.software),
                        (now.protocol, now.now_ms, &now.software)
                    );
                    assert!(
                        said.capabilities
                            .iter()
                            .all(|name| now.capabilities.contains(name))
                    );
                    continue;
                }
                sync_response::Message::Snapshot(_) => {
                    let mut replica = crate::greeted();
                    replica.read(&message, NOW).unwrap();
                    let state = replica.state().unwrap();
                    let bundles: Vec<_> = state.trust.bundles().cloned().collect();
                    let entries = state.entries.iter().map(|entry| (**entry).clone());
                    producer.snapshot(
                        state.cursor,
                        &bundles,
                        entries.collect::<Vec<_>>(),
                        theirs.capabilities,
                    )
                }
                sync_response::Message::GoingAway(away) => {
                    producer.going_away(&away.reason, Duration::from_millis(away.retry_after_ms))
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(hex(&again.encode_to_vec()), rest);
            compared += 1;
        }
    }
    assert_eq!(compared, 9);
}

/// Makes the recordings that are not there yet: `SIGNET_BLESS=1 cargo test -p signet-feed recorded`. One that is there is
/// what was said then, and stays.
#[test]
fn recordings_are_made_once() {
    let path = folder().join("news.txt");
    if path.exists() || std::env::var_os("SIGNET_BLESS").is_none() {
        assert!(path.exists(), "make it with SIGNET_BLESS=1");
        return;
    }
    let mut tape = Tape::default();
    tape.line("# An agent and a server of protocol 1 that know of deltas, pieces and heartbeats.");
    let producer = Producer::new(
        domain("dev.test"),
        "signet-server/0.1.0",
        "https://localhost/workload",
    );
    let bundles = [bundle("dev.test"), bundle("other.test")];
    let theirs = crate::capabilities();
    let at = |number, seq| FeedEntry { seq, ..entry(number) };
    tape.ask(sync_request::Message::Hello(hello("signet-agent/0.1.0", NOW)));
    tape.say(&producer.hello(NOW));
    let mut whole = producer.chunks(cursor(7), &bundles, [at(1, 3), at(2, 5)], theirs);
    let Some(v1::SyncResponse {
        message: Some(sync_response::Message::Chunk(mut first)),
    }) = whole.next()
    else {
        panic!("not a piece");
    };
    let second = v1::SnapshotChunk {
        number: 1,
        bundles: Vec::new(),
        entries: first.entries.split_off(1),
        end: first.end.take(),
    };
    for chunk in [first, second] {
        tape.say(&v1::SyncResponse {
            message: Some(sync_response::Message::Chunk(chunk)),
        });
    }
    tape.ask(sync_request::Message::Applied(v1::Applied { seq: 7 }));
    let digest = |entries: &[(u8, u64)]| {
        let mut hash = SetHash::default();
        entries
            .iter()
            .for_each(|(number, seq)| hash.insert(&[*number; 16], *seq));
        hash
    };
    let beat =
        |seq, digest: Option<&SetHash>| producer.heartbeat(cursor(seq), digest, Duration::from_secs(20), NOW);
    tape.say(&beat(8, Some(&digest(&[(1, 3), (2, 5)]))));
    let news = |removed: Vec<[u8; 16]>, entries, bundles| Changes {
        removed,
        entries,
        bundles,
        ..Changes::default()
    };
    let first = news(vec![[1; 16]], vec![at(2, 11), at(3, 10)], Vec::new());
    tape.say(&producer.delta(cursor(8), cursor(11), &first, theirs).unwrap());
    tape.say(&beat(12, None));
    tape.say(&beat(12, Some(&digest(&[(2, 11)]))));
    tape.lines
        .push(format!("agent {}", hex(&resync(cursor(12)).encode_to_vec())));
    for piece in producer.chunks(cursor(13), &bundles, [at(2, 11)], theirs) {
        tape.say(&piece);
    }
    tape.line("again");
    let held = tape.replica.as_ref().unwrap().state().unwrap();
    tape.replica = Some(Replica::resuming(domain("dev.test"), Arc::clone(held)));
    tape.ask(sync_request::Message::Hello(hello_holding(
        "signet-agent/0.1.0",
        Some(cursor(13)),
        NOW,
    )));
    tape.say(&producer.hello(NOW));
    let later = news(Vec::new(), vec![at(4, 15)], bundles.to_vec());
    tape.say(&producer.delta(cursor(13), cursor(15), &later, theirs).unwrap());
    tape.say(&producer.going_away("the server stops", Duration::from_millis(500)));
    std::fs::write(path, tape.lines.join("\n") + "\n").unwrap();
}

#[derive(Default)]
struct Tape {
    lines: Vec<String>,
    replica: Option<Replica>,
}

impl Tape {
    fn line(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }

    fn ask(&mut self, message: sync_request::Message) {
        let request = SyncRequest {
            message: Some(message),
        };
        self.lines
            .push(format!("agent {}", hex(&request.encode_to_vec())));
    }

    fn say(&mut self, response: &v1::SyncResponse) {
        self.lines
            .push(format!("server {}", hex(&response.encode_to_vec())));
        let replica = self
            .replica
            .get_or_insert_with(|| Replica::new(domain("dev.test")));
        let event = replica.read(response, NOW).unwrap();
        if !matches!(event, Event::Hello(_)) {
            self.lines.push(told(&event, replica));
        }
    }
}
