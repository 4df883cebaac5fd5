//! The report for people: what was found, what was tried, what may still come.

use super::report::{Entry, Feed, Report, Svid, SvidState};
use crate::style;
use signet_time::UnixTime;

pub(super) fn text(report: &Report) -> String {
    let process = &report.process;
    let user = match &process.user {
        Some(name) => format!("{} ({})", process.uid, plain(name)),
        None => process.uid.to_string(),
    };
    let feed = &report.feed;
    let about = style::facts(&[
        (
            "process",
            format!("{} {}", process.pid, plain(&process.executable)),
        ),
        ("user", user),
        ("identity", identity(report)),
        ("entries", tried(report)),
        ("changes", changes(feed)),
        ("server", server(feed, report.now)),
        ("node", feed.node.clone().unwrap_or_default()),
    ]);
    let mut parts = vec![about, found(report)];
    if !report.entries.nearest.is_empty() {
        parts.push(compared(report));
    }
    if let Some(command) = &report.suggestion {
        parts.push(format!("To entitle it:\n  {command}"));
    }
    parts.join("\n\n")
}

fn identity(report: &Report) -> String {
    match &report.error {
        Some(error) => format!("none [{}]: {}", error.code, plain(&error.message)),
        None => {
            let matching = report.entries.nearest.iter().filter(|entry| entry.matches);
            let mut ids: Vec<&str> = matching.map(|entry| entry.spiffe_id.as_str()).collect();
            ids.dedup();
            ids.join(" ")
        }
    }
}

fn tried(report: &Report) -> String {
    let entries = &report.entries;
    let shown = entries.nearest.len();
    let all = usize::try_from(entries.total).unwrap_or(usize::MAX);
    let more = match shown {
        // To its owner alone: whoever runs the node is shown the others too.
        0 => "; none has a selector in common with it".to_owned(),
        _ if shown < all => format!("; the nearest {shown} are below"),
        _ => "; all are below".to_owned(),
    };
    match (report.feed.applied, entries.total) {
        (None, _) => "not known yet: the agent waits for its first state".to_owned(),
        (Some(_), 0) => "none on this node".to_owned(),
        (Some(_), total) => format!("{} of {total} on this node match{more}", entries.matched),
    }
}

fn changes(feed: &Feed) -> String {
    match (feed.applied, feed.heard) {
        (applied, Some(heard)) if Some(heard) > applied => {
            let applied = applied.map_or("none".to_owned(), |seq| seq.to_string());
            format!(
                "{heard} has come from the server and is on its way to callers; applied so far: {applied}"
            )
        }
        (Some(applied), _) if feed.connected => {
            format!("{applied} is applied, and the newest that the server sent")
        }
        (Some(applied), _) => format!("{applied} is applied; newer ones cannot be heard of"),
        (None, _) => "none yet".to_owned(),
    }
}

fn server(feed: &Feed, now: UnixTime) -> String {
    let since = feed
        .since
        .map(|since| format!(" since {}", style::time(since, now)))
        .unwrap_or_default();
    let server = feed.server.as_deref().map(|server| format!(" {}", plain(server)));
    let server = server.unwrap_or_default();
    if feed.connected {
        return format!("connected{server}{since}");
    }
    let reason = feed.reason.as_deref().unwrap_or("no answer yet");
    format!("NOT connected{server}{since}: {}", plain(reason))
}

fn found(report: &Report) -> String {
    let mut rows = Vec::new();
    for attestor in &report.attestors {
        let mut name = attestor.name.clone();
        let mut add = |text: String| rows.push(vec![core::mem::take(&mut name), text]);
        for selector in &attestor.selectors {
            add(plain(selector));
        }
        match &attestor.error {
            Some(error) => add(format!(
                "error[{}]: {}, {}",
                error.code,
                plain(&error.message),
                error.remedy
            )),
            None if attestor.selectors.is_empty() => add("(found nothing)".to_owned()),
            None => {}
        }
    }
    style::table(&["ATTESTOR", "SELECTORS OF THE PROCESS"], &rows)
}

fn compared(report: &Report) -> String {
    let row = |entry: &Entry| {
        vec![
            if entry.matches { "yes" } else { "no" }.to_owned(),
            entry.id.clone(),
            entry.spiffe_id.clone(),
            format!("{} of {}", entry.satisfied, entry.selectors.len()),
            because(entry, &report.selectors, report.now),
        ]
    };
    let rows: Vec<_> = report.entries.nearest.iter().map(row).collect();
    style::table(&["MATCH", "ENTRY", "SPIFFE ID", "HAS", "BECAUSE"], &rows)
}

/// Why an entry gives nothing, or what it gives.
fn because(entry: &Entry, found: &[String], now: UnixTime) -> String {
    if let Some(missing) = &entry.missing {
        return format!("lacks {}{}", plain(missing), instead(missing, found));
    }
    if let Some(why) = &entry.not_given {
        return format!("it has all selectors, but {}", plain(why));
    }
    match entry.expires_at {
        Some(end) if !entry.matches => return format!("ended {}", style::time(end, now)),
        _ => {}
    }
    let by = entry
        .id_template
        .as_ref()
        .map(|template| format!(" (by the template {})", plain(template)));
    let by = by.unwrap_or_default();
    if entry.svids.is_empty() {
        return format!("it has all selectors{by}; no svid was asked for yet");
    }
    let svids: Vec<String> = entry.svids.iter().map(|svid| state(svid, now)).collect();
    format!("{}{by}", svids.join("; "))
}

/// What the process has in place of the selector that it lacks.
fn instead(missing: &str, found: &[String]) -> String {
    let key = key(missing);
    let alike: Vec<&String> = found
        .iter()
        .filter(|selector| self::key(selector) == key)
        .collect();
    match alike.as_slice() {
        [] => format!(" (no {} was found)", plain(key)),
        [one] => format!(" (it is {})", plain(one)),
        [one, rest @ ..] => format!(" (it is {} and {} more)", plain(one), rest.len()),
    }
}

/// Kind and fact of a selector: `unix:uid` of `unix:uid:1000`.
fn key(selector: &str) -> &str {
    let mut colons = selector.match_indices(':');
    match (colons.next(), colons.next()) {
        (_, Some((second, _))) => selector.get(..second).unwrap_or(selector),
        (Some((first, _)), None) => selector.get(..first).unwrap_or(selector),
        (None, None) => selector,
    }
}

fn state(svid: &Svid, now: UnixTime) -> String {
    let kind = &svid.kind;
    let at = |time: Option<UnixTime>| time.map(|time| style::time(time, now)).unwrap_or_default();
    let error = svid.error.as_ref();
    let failed = error.map(|error| format!("[{}] {}", error.code, plain(&error.message)));
    match (svid.state, failed) {
        (SvidState::Ready, None) => format!("{kind} svid until {}", at(svid.not_after)),
        (SvidState::Ready, Some(why)) => {
            format!(
                "{kind} svid until {}, and no successor: {why}",
                at(svid.not_after)
            )
        }
        (SvidState::Signing, _) => format!("{kind} svid is being signed"),
        (SvidState::Failed, why) => {
            let why = why.unwrap_or_else(|| "it expired, and none could be had".to_owned());
            let retry = match svid.retry_at {
                Some(retry) => format!("; next attempt {}", style::time(retry, now)),
                None => format!("; last tried {}", at(svid.failed_at)),
            };
            format!("no {kind} svid: {why}{retry}")
        }
        (SvidState::Unknown, _) => format!("{kind} svid in a state that this version does not know"),
    }
}

/// What came from elsewhere, as a terminal may show it.
fn plain(text: &str) -> String {
    signet_fault::shown(text, TEXT_CHARS_MAX)
}

/// As long as a selector may be.
const TEXT_CHARS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use signet_proto::local::v1::{self, svid::State};

    const NOW_MS: u64 = 1_800_000_000_000;

    /// An agent that is connected and serves change 7, asked about a process that one entry matches.
    fn answer() -> v1::ProcessResponse {
        let uid = "unix:uid:7".to_owned();
        v1::ProcessResponse {
            process: Some(v1::Process {
                pid: 42,
                uid: 7,
                executable: "/bin/\u{1b}[2Jweb".to_owned(),
                ..Default::default()
            }),
            attestors: vec![v1::Attestor {
                name: "unix".to_owned(),
                selectors: vec![uid.clone()],
                fault: None,
            }],
            selectors: vec![uid.clone()],
            entries: Some(v1::Entries {
                total: 1,
                matched: 1,
                nearest: vec![v1::Entry {
                    id: "0a".to_owned(),
                    spiffe_id: "spiffe://a.test/web".to_owned(),
                    selectors: vec![uid],
                    satisfied: 1,
                    matches: true,
                    ..Default::default()
                }],
            }),
            feed: Some(v1::Feed {
                connected: true,
                since_ms: NOW_MS,
                server: "s:8445".to_owned(),
                applied: Some(7),
                heard: Some(7),
                ..Default::default()
            }),
            fault: None,
            trust_domain: "a.test".to_owned(),
            now_ms: NOW_MS,
        }
    }

    fn fault(code: &str) -> Option<v1::Fault> {
        Some(v1::Fault {
            code: code.to_owned(),
            message: "why".to_owned(),
            remedy: "mend it".to_owned(),
        })
    }

    fn shown(answer: v1::ProcessResponse) -> String {
        text(&Report::of(answer).unwrap())
    }

    fn with_svid(state: State, failed: Option<v1::Fault>) -> v1::ProcessResponse {
        let mut answer = answer();
        answer.entries.as_mut().unwrap().nearest[0].svids = vec![v1::Svid {
            kind: "x509".to_owned(),
            state: state.into(),
            not_after_ms: if state == State::Ready { NOW_MS + 60_000 } else { 0 },
            fault: failed,
            failed_at_ms: NOW_MS - 5_000,
            retry_at_ms: 0,
        }];
        answer
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let text = shown(answer());
        assert!(
            text.contains(r"/bin/\u{1b}[2Jweb") && !text.contains('\u{1b}'),
            "{text}"
        );
    }

    #[test]
    fn a_change_on_its_way_is_said_and_is_what_to_wait_for() {
        let mut on_its_way = answer();
        on_its_way.feed.as_mut().unwrap().heard = Some(9);
        on_its_way.fault = fault("SGAG009");
        on_its_way.entries = Some(v1::Entries::default());
        let report = Report::of(on_its_way).unwrap();
        assert!(report.feed.pending);
        assert!(
            text(&report)
                .contains("9 has come from the server and is on its way to callers; applied so far: 7")
        );
        let failure = report.failure().unwrap();
        assert!(failure.next.contains("ask again"), "{}", failure.next);
        assert!(shown(answer()).contains("7 is applied, and the newest that the server sent"));
        let mut first = answer();
        let feed = first.feed.as_mut().unwrap();
        (feed.applied, feed.heard) = (None, None);
        let text = shown(first);
        assert!(
            text.contains("none yet") && text.contains("waits for its first state"),
            "{text}"
        );
    }

    #[test]
    fn the_svids_of_an_entry_that_matches_are_told_with_their_failures() {
        for (state, failed, told) in [
            (
                State::Ready,
                None,
                "x509 svid until 2027-01-15T08:01:00Z (in 1 min 0 s)",
            ),
            (State::Ready, fault("SGAG024"), "and no successor: [SGAG024] why"),
            (State::Signing, None, "x509 svid is being signed"),
            (
                State::Failed,
                fault("SGRG001"),
                "no x509 svid: [SGRG001] why; last tried 2027-01-15T07:59:55Z (5 s ago)",
            ),
        ] {
            let text = shown(with_svid(state, failed));
            assert!(text.contains(told), "{told}: {text}");
        }
        assert!(shown(answer()).contains("no svid was asked for yet"));
    }

    #[test]
    fn a_template_is_told_with_what_it_gives_or_why_it_gives_nothing() {
        let mut given = answer();
        given.entries.as_mut().unwrap().nearest[0].id_template = "spiffe://a.test/h/x/{unix.user}".to_owned();
        let text = shown(given.clone());
        assert!(
            text.contains("by the template spiffe://a.test/h/x/{unix.user}"),
            "{text}"
        );
        let entry = &mut given.entries.as_mut().unwrap().nearest[0];
        (entry.matches, entry.not_given) = (false, "`{unix.user}` has no value\u{1b}".to_owned());
        let text = shown(given);
        assert!(
            text.contains("it has all selectors, but `{unix.user}` has no value\\u{1b}"),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_is_away_is_told_with_reason_and_time() {
        let mut away = answer();
        let feed = away.feed.as_mut().unwrap();
        feed.connected = false;
        feed.since_ms = NOW_MS - 120_000;
        feed.reason = "refused".to_owned();
        let text = shown(away);
        assert!(
            text.contains("NOT connected s:8445 since 2027-01-15T07:58:00Z (2 min 0 s ago): refused"),
            "{text}"
        );
        assert!(
            text.contains("7 is applied; newer ones cannot be heard of"),
            "{text}"
        );
    }

    #[test]
    fn what_the_process_has_instead_stands_beside_what_it_lacks() {
        let found = [
            "unix:gid:1",
            "unix:supplementary_gid:2",
            "unix:supplementary_gid:3",
        ]
        .map(str::to_owned);
        assert_eq!(instead("unix:gid:9", &found), " (it is unix:gid:1)");
        assert_eq!(
            instead("unix:supplementary_gid:9", &found),
            " (it is unix:supplementary_gid:2 and 1 more)"
        );
        assert_eq!(
            instead("systemd:unit:a.service", &found),
            " (no systemd:unit was found)"
        );
    }
}
