//! The agent's answer, as it is written and judged.

use crate::error::CliError;
use crate::failure::Failure;
use serde::Serialize;
use signet_id::SpiffeId;
use signet_proto::local::v1;
use signet_proto::local::v1::svid::State;
use signet_time::UnixTime;
use std::path::Path;

/// What `why --pid` writes as JSON.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) has_identity: bool,
    /// Why not.
    pub(super) error: Option<Fault>,
    /// A command that would give it one, where no entry does.
    pub(super) suggestion: Option<String>,
    pub(super) process: Process,
    pub(super) attestors: Vec<Attestor>,
    /// What the attestors found together.
    pub(super) selectors: Vec<String>,
    /// None before the agent's first state.
    pub(super) trust_domain: Option<String>,
    pub(super) entries: Entries,
    pub(super) feed: Feed,
    /// The agent's clock.
    pub(super) now: UnixTime,
}

#[derive(Serialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: Option<String>,
    pub(super) executable: String,
    /// In clock ticks since the machine started.
    pub(super) start_time: u64,
}

#[derive(Serialize)]
pub(super) struct Attestor {
    pub(super) name: String,
    pub(super) selectors: Vec<String>,
    pub(super) error: Option<Fault>,
}

#[derive(Serialize)]
pub(super) struct Entries {
    pub(super) total: u32,
    pub(super) matched: u32,
    pub(super) nearest: Vec<Entry>,
}

#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) id: String,
    /// What it gives to this process; a template where that is nothing.
    pub(super) spiffe_id: String,
    /// The template that it is, if it is one.
    pub(super) id_template: Option<String>,
    /// Why the template gives this process nothing.
    pub(super) not_given: Option<String>,
    pub(super) matches: bool,
    pub(super) selectors: Vec<String>,
    pub(super) satisfied: u32,
    /// The first selector that the process lacks.
    pub(super) missing: Option<String>,
    pub(super) expires_at: Option<UnixTime>,
    pub(super) svids: Vec<Svid>,
}

#[derive(Serialize)]
pub(super) struct Svid {
    pub(super) kind: String,
    pub(super) state: SvidState,
    pub(super) not_after: Option<UnixTime>,
    pub(super) error: Option<Fault>,
    pub(super) failed_at: Option<UnixTime>,
    pub(super) retry_at: Option<UnixTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SvidState {
    Ready,
    Signing,
    Failed,
    Unknown,
}

#[derive(Serialize)]
pub(super) struct Feed {
    pub(super) connected: bool,
    pub(super) since: Option<UnixTime>,
    pub(super) server: Option<String>,
    /// Why there is no connection.
    pub(super) reason: Option<String>,
    pub(super) node: Option<String>,
    /// The change that callers are served from.
    pub(super) applied: Option<u64>,
    /// The change that the server sent last.
    pub(super) heard: Option<u64>,
    /// Whether something is on its way to this process: a change that is not applied yet, or an SVID.
    pub(super) pending: bool,
}

#[derive(Clone, Serialize)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) message: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Report {
    pub(super) fn of(answer: v1::ProcessResponse) -> Result<Self, CliError> {
        let lacks = |field| CliError::AgentAnswer { field };
        let process = answer.process.ok_or_else(|| lacks("process"))?;
        let entries = entries(answer.entries.ok_or_else(|| lacks("entries"))?);
        let is_signing = entries
            .nearest
            .iter()
            .flat_map(|entry| &entry.svids)
            .any(|svid| svid.state == SvidState::Signing);
        let feed = feed(answer.feed.ok_or_else(|| lacks("feed"))?, is_signing);
        let trust_domain = some(answer.trust_domain);
        let suggestion = trust_domain
            .as_deref()
            .filter(|_| entries.matched == 0)
            .and_then(|domain| suggestion(domain, &process.executable, &answer.selectors));
        Ok(Self {
            has_identity: answer.fault.is_none(),
            error: answer.fault.map(fault),
            suggestion,
            process: Process {
                pid: process.pid,
                uid: process.uid,
                gid: process.gid,
                user: some(process.user),
                executable: process.executable,
                start_time: process.start_time,
            },
            attestors: answer.attestors.into_iter().map(attestor).collect(),
            selectors: answer.selectors,
            trust_domain,
            entries,
            feed,
            now: UnixTime::from_millis(answer.now_ms),
        })
    }

    /// Why the process has no identity, and what to do; none if it has one.
    pub(super) fn failure(&self) -> Option<Failure> {
        let error = self.error.as_ref()?;
        let next = if self.feed.pending {
            "a change is on its way: ask again in a moment".to_owned()
        } else {
            match &self.suggestion {
                Some(command) if error.code == NO_IDENTITY => match self.entries.nearest.first() {
                    Some(entry) if entry.satisfied > 0 => {
                        format!("mend the nearest entry ({}), or create one: {command}", entry.id)
                    }
                    _ => format!("create an entry for it: {command}"),
                },
                _ => error.remedy.clone(),
            }
        };
        Some(Failure {
            code: error.code.clone(),
            what: format!(
                "process {} has no identity: {}",
                self.process.pid,
                signet_fault::shown(&error.message, MESSAGE_CHARS_MAX)
            ),
            items: Vec::new(),
            next,
            is_usage: false,
        })
    }
}

/// The command that would entitle this process and what looks like it: by its user, and by its unit, else by its
/// program.
fn suggestion(trust_domain: &str, executable: &str, selectors: &[String]) -> Option<String> {
    let of_kind = |kind: &str| {
        let found = selectors.iter().find(|selector| selector.starts_with(kind));
        found.filter(|selector| !selector.chars().any(char::is_control))
    };
    let program = of_kind("systemd:unit:").or_else(|| of_kind("unix:path:"));
    let chosen: Vec<&String> = of_kind("unix:uid:").into_iter().chain(program).collect();
    if chosen.is_empty() {
        return None;
    }
    let name = Path::new(executable).file_name().and_then(|name| name.to_str());
    let name = name
        .filter(|name| SpiffeId::is_segment(name))
        .unwrap_or("workload");
    let mut command = format!("signet entry create --spiffe-id spiffe://{trust_domain}/{name}");
    for selector in chosen {
        command.push_str(" --selector ");
        command.push_str(&quoted(selector));
    }
    Some(command)
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn attestor(attestor: v1::Attestor) -> Attestor {
    Attestor {
        name: attestor.name,
        selectors: attestor.selectors,
        error: attestor.fault.map(fault),
    }
}

fn entries(entries: v1::Entries) -> Entries {
    Entries {
        total: entries.total,
        matched: entries.matched,
        nearest: entries.nearest.into_iter().map(entry).collect(),
    }
}

fn entry(entry: v1::Entry) -> Entry {
    Entry {
        id: entry.id,
        spiffe_id: entry.spiffe_id,
        id_template: some(entry.id_template),
        not_given: some(entry.not_given),
        matches: entry.matches,
        selectors: entry.selectors,
        satisfied: entry.satisfied,
        missing: some(entry.missing),
        expires_at: time(entry.expires_at_ms),
        svids: entry.svids.into_iter().map(svid).collect(),
    }
}

fn svid(svid: v1::Svid) -> Svid {
    Svid {
        state: match svid.state() {
            State::Ready => SvidState::Ready,
            State::Signing => SvidState::Signing,
            State::Failed => SvidState::Failed,
            State::Unspecified => SvidState::Unknown,
        },
        kind: svid.kind,
        not_after: time(svid.not_after_ms),
        error: svid.fault.map(fault),
        failed_at: time(svid.failed_at_ms),
        retry_at: time(svid.retry_at_ms),
    }
}

fn feed(feed: v1::Feed, is_signing: bool) -> Feed {
    Feed {
        connected: feed.connected,
        since: time(feed.since_ms),
        server: some(feed.server),
        reason: some(feed.reason),
        node: some(feed.node),
        applied: feed.applied,
        heard: feed.heard,
        pending: is_signing || feed.heard > feed.applied,
    }
}

fn fault(fault: v1::Fault) -> Fault {
    Fault {
        code: fault.code,
        message: fault.message,
        remedy: fault.remedy,
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn time(ms: u64) -> Option<UnixTime> {
    Some(ms).filter(|ms| *ms != 0).map(UnixTime::from_millis)
}

/// The agent's code for a process that no entry matches.
const NO_IDENTITY: &str = "SGAG009";
/// A server's message is quoted up to here.
const MESSAGE_CHARS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_can_be_pasted() {
        let of = |executable, selectors: &[&str]| {
            let selectors: Vec<String> = selectors.iter().map(|s| (*s).to_owned()).collect();
            suggestion("a.test", executable, &selectors)
        };
        assert_eq!(
            of(
                "/usr/bin/web",
                &["unix:gid:5", "unix:path:/usr/bin/web", "unix:uid:7"]
            )
            .unwrap(),
            "signet entry create --spiffe-id spiffe://a.test/web --selector unix:uid:7 --selector unix:path:/usr/bin/web"
        );
        assert_eq!(
            of(
                "/o p/it's",
                &["systemd:unit:web.service", "unix:path:/o p/it's", "unix:uid:7"]
            )
            .unwrap(),
            "signet entry create --spiffe-id spiffe://a.test/workload --selector unix:uid:7 --selector \
             systemd:unit:web.service"
        );
        assert!(
            of("/a", &["unix:path:/o p/it's"])
                .unwrap()
                .ends_with(r"--selector 'unix:path:/o p/it'\''s'")
        );
        assert_eq!(of("/a", &[]), None);
        assert_eq!(of("/a", &["unix:path:/a\nb"]), None, "not for a terminal");
    }
}
