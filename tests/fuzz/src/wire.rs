//! What comes over a wire or from a file that travelled.

use crate::laws::{is_fit_to_print, text};
use prost::Message as _;
use signet_api::{EntryFault, JoinString, parse_entry, read_entry_array, read_entry_lines};
use signet_feed::{ENTRIES_MAX, Event, Replica, hello};
use signet_id::TrustDomain;
use signet_proto::agent::v1::sync_response::Message;
use signet_proto::agent::v1::{SyncRequest, SyncResponse};
use signet_record::Record;
use signet_time::UnixTime;

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

pub(crate) fn feed(bytes: &[u8]) {
    let (Ok(domain), now) = (
        TrustDomain::parse("example.org"),
        UnixTime::from_secs(1_900_000_000),
    ) else {
        return;
    };
    // What an agent sends to a server is read by the same library.
    let _ = SyncRequest::decode(bytes);
    let Ok(message) = SyncResponse::decode(bytes) else {
        return;
    };
    let mut replica = Replica::new(domain.clone());
    let greeting = SyncResponse {
        message: Some(Message::Hello(hello("fuzz", now))),
    };
    assert!(replica.read(&greeting, now).is_ok());
    match replica.read(&message, now) {
        Ok(Event::State(state)) => {
            assert!(state.entries.len() <= ENTRIES_MAX);
            let ours = |id: &signet_id::SpiffeId| id.trust_domain() == &domain;
            assert!(state.entries.iter().all(|entry| ours(&entry.spiffe_id)));
        }
        Ok(Event::GoingAway { reason, .. }) => is_fit_to_print(&format!("reason: {reason}")),
        // A second one is refused.
        Ok(Event::Hello(_)) => unreachable!("a second hello"),
        Err(error) => is_fit_to_print(&error),
    }
    let fresh = Replica::new(domain).read(&message, now);
    assert!(!matches!(fresh, Ok(Event::State(_))), "a state before the hello");
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
