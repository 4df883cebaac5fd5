//! What comes over a wire or from a file that travelled.

use crate::laws::{is_fit_to_print, text};
use prost::Message as _;
use signet_api::{EntryFault, JoinString, parse_entry, read_entry_array, read_entry_lines};
use signet_feed::{ENTRIES_MAX, Event, Form, ITEMS_MAX, NodeState, PeerHello, Replica, Screen, hello};
use signet_id::TrustDomain;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::sync_response::Message;
use signet_proto::agent::v1::{AttestRequest, IssueRequest, SyncRequest, SyncResponse, sync_request};
use signet_record::Record;
use signet_server::backup::Backup;
use signet_time::UnixTime;
use std::sync::Arc;

pub(crate) fn entries(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let lines = text.split('\n').count();
    let read = read_entry_lines(text);
    assert!(read.entries.len() <= lines);
    for placed in &read.entries {
        let written = serde_json::to_string(&placed.doc).unwrap_or_default();
        assert_eq!(parse_entry(&written), Ok(placed.doc.clone()), "from {written}");
    }
    have_places(&read.faults, lines);
    have_places(&read_entry_array(text).faults, usize::MAX);
    if let Err(faults) = parse_entry(text) {
        have_places(&faults, lines);
    }
}

fn have_places(faults: &[EntryFault], lines: usize) {
    for fault in faults {
        assert!(fault.line <= lines, "{fault:?} in {lines} lines");
        is_fit_to_print(fault);
    }
}

pub(crate) fn join_strings(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match JoinString::parse(text) {
        Ok(join) => {
            let again = join.encode().and_then(|written| JoinString::parse(&written));
            let same = again.is_ok_and(|again| {
                again.trust_domain == join.trust_domain
                    && again.servers == join.servers
                    && again.root_hashes == join.root_hashes
                    && again.token.expose() == join.token.expose()
            });
            assert!(same, "{join:?} does not come back");
        }
        Err(error) => is_fit_to_print(&error),
    }
}

/// One message, or several of a stream, each with its length before it.
pub(crate) fn feed(bytes: &[u8]) {
    let (Ok(domain), now) = (
        TrustDomain::parse("example.org"),
        UnixTime::from_secs(1_900_000_000),
    ) else {
        return;
    };
    // What an agent sends to a server is read by the same library.
    if let Ok(SyncRequest {
        message: Some(sync_request::Message::Hello(said)),
    }) = SyncRequest::decode(bytes)
    {
        let _ = PeerHello::read(&said);
    }
    if let Ok(message) = SyncResponse::decode(bytes) {
        let fresh = Replica::new(domain.clone()).read(&message, now);
        assert!(!matches!(fresh, Ok(Event::State(_))), "a state before the hello");
        follow(&domain, core::iter::once(message), now);
    }
    let mut rest = bytes;
    let stream = core::iter::from_fn(|| SyncResponse::decode_length_delimited(&mut rest).ok());
    follow(&domain, stream.take(64), now);
}

fn follow(domain: &TrustDomain, messages: impl Iterator<Item = SyncResponse>, now: UnixTime) {
    let mut replica = Replica::new(domain.clone());
    let greeting = SyncResponse {
        message: Some(Message::Hello(hello("fuzz", now))),
    };
    assert!(replica.read(&greeting, now).is_ok());
    for message in messages {
        let before = replica.state().cloned();
        match replica.read(&message, now) {
            Ok(Event::State(state)) => {
                assert!(state.entries.len() <= ENTRIES_MAX);
                let ours = |id: &signet_id::IdPattern| id.trust_domain() == domain;
                assert!(state.entries.iter().all(|entry| ours(&entry.spiffe_id)));
                assert!(state.trust.own_bundle().is_some());
                assert_eq!(state.entries.digest().count(), state.entries.len() as u64);
            }
            Ok(Event::Alive { interval, .. }) => assert!(!interval.is_zero() && replica.state().is_some()),
            Ok(Event::Piece | Event::Drift { .. }) => is_untouched(before.as_ref(), &replica),
            Ok(Event::GoingAway { reason, .. }) => is_fit_to_print(&format!("reason: {reason}")),
            // A second one is refused.
            Ok(Event::Hello(_)) => unreachable!("a second hello"),
            Err(error) => {
                is_fit_to_print(&error);
                return is_untouched(before.as_ref(), &replica);
            }
        }
    }
}

/// What was known is known, and nothing else is.
fn is_untouched(before: Option<&Arc<NodeState>>, replica: &Replica) {
    let same = match (before, replica.state()) {
        (None, None) => true,
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    };
    assert!(
        same,
        "a message that was refused, or is part of something, changed the state"
    );
}

/// What passes decodes to no more than was counted, and pieces of any size are judged as the whole is.
pub(crate) fn agent_requests(bytes: &[u8]) {
    let Ok(length) = u32::try_from(bytes.len()) else {
        return;
    };
    let framed = [&[0], length.to_be_bytes().as_slice(), bytes].concat();
    for form in [&Form::ATTEST, &Form::RENEW, &Form::SYNC, &Form::ISSUE] {
        let whole = Screen::new(form).pass(&framed);
        let mut screen = Screen::new(form);
        let in_bytes = framed.chunks(1).try_for_each(|byte| screen.pass(byte));
        assert_eq!(whole, in_bytes, "judged by the pieces that it came in");
        if let Err(excess) = &whole {
            is_fit_to_print(excess);
        }
    }
    if Screen::new(&Form::ISSUE).pass(&framed).is_ok()
        && let Ok(request) = IssueRequest::decode(bytes)
    {
        assert!(request.items.len() <= ITEMS_MAX);
        let audiences = request.items.iter().map(|item| match &item.wish {
            Some(Wish::Jwt(jwt)) => jwt.audience.len(),
            _ => 0,
        });
        assert!(audiences.sum::<usize>() <= 16 * ITEMS_MAX);
        let facts = request.items.iter().map(|item| item.facts.len());
        assert!(facts.sum::<usize>() <= 16 * ITEMS_MAX);
    }
    if Screen::new(&Form::ATTEST).pass(&framed).is_ok()
        && let Ok(request) = AttestRequest::decode(bytes)
    {
        let capabilities = request.hello.map_or(0, |hello| hello.capabilities.len());
        assert!(capabilities <= 256);
    }
}

/// Whoever can change a file can also mend its checksum; what proves it is the seal's to check.
pub(crate) fn backups(bytes: &[u8]) {
    let summed = [bytes, &signet_crypto::digest::sha256(bytes)].concat();
    for bytes in [bytes, &summed] {
        match Backup::decode(bytes) {
            Ok(backup) => assert!(backup.encode() == bytes, "{backup:?} is written in another way"),
            Err(error) => is_fit_to_print(&error),
        }
    }
}

pub(crate) fn records(bytes: &[u8]) {
    match Record::decode(bytes) {
        Ok(Record::Issue(record)) => {
            let again = Record::decode(&Record::encode_issue(&record));
            assert!(matches!(again, Ok(Record::Issue(again)) if again == record));
        }
        Ok(_) => {}
        Err(error) => is_fit_to_print(&error),
    }
}
