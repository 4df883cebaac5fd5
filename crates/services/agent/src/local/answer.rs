//! What is known, as the answer has it.

use super::Sources;
use crate::attest::Finding;
use crate::identity::{Explained, Scope, SvidState, Tried, Trouble};
use crate::link::LinkState;
use crate::metrics::IssueKind;
use crate::workload::public_message;
use crate::{AgentError, IssueError};
use signet_crypto::digest::hex;
use signet_fault::Coded as _;
use signet_id::Selector;
use signet_proto::local::v1::svid::State;
use signet_proto::local::v1::{Attestor, Entries, Entry, Fault, Feed, Process, ProcessResponse, Svid};
use signet_sys::{Peer, names};
use signet_time::UnixTime;

pub(super) fn answer(
    sources: &Sources,
    process: &Peer,
    findings: &[Finding],
    selectors: &[Selector],
    explained: Option<Explained>,
    scope: Scope,
) -> ProcessResponse {
    let link = sources.link.now();
    let fault = verdict(findings, selectors, explained.as_ref(), &link, scope);
    ProcessResponse {
        process: Some(about(process)),
        attestors: findings.iter().map(|finding| attestor(finding, scope)).collect(),
        selectors: texts(selectors),
        trust_domain: explained
            .as_ref()
            .map(|e| e.trust_domain.to_string())
            .unwrap_or_default(),
        entries: Some(entries(explained, scope)),
        feed: Some(Feed {
            connected: link.connected,
            since_ms: millis(link.since),
            server: link.server,
            reason: told(scope, link.reason, "the server cannot be reached"),
            node: link.node,
            applied: *sources.identities.applied().borrow(),
            heard: sources.state.borrow().as_ref().map(|state| state.cursor.seq),
        }),
        fault,
        now_ms: sources.clock.now().as_millis(),
    }
}

/// Why the process has no identity; none if it has one.
fn verdict(
    findings: &[Finding],
    selectors: &[Selector],
    explained: Option<&Explained>,
    link: &LinkState,
    scope: Scope,
) -> Option<Fault> {
    let Some(explained) = explained else {
        return Some(fault(&AgentError::Initialising, scope));
    };
    if explained.matched == 0 {
        let failure = findings
            .iter()
            .filter_map(|finding| finding.found.as_ref().err())
            .next_back();
        return Some(match failure {
            // As callers of the Workload API are told.
            Some(error) if selectors.is_empty() => fault(error, scope),
            _ => fault(&AgentError::NoIdentity, scope),
        });
    }
    let matching = explained.nearest.iter().filter(|tried| tried.matches);
    let states = || {
        matching
            .clone()
            .flat_map(|tried| &tried.svids)
            .map(|(_, state)| state)
    };
    let is_ready = states().any(|state| matches!(state, SvidState::Ready { .. }));
    let may_come = |tried: &Tried| {
        tried
            .svids
            .iter()
            .all(|(_, state)| matches!(state, SvidState::Signing))
    };
    if is_ready || (link.connected && matching.clone().any(may_come)) {
        return None;
    }
    let failed = states().find_map(|state| match state {
        SvidState::Failed { why: Some(why), .. } => Some(trouble(why, scope)),
        _ => None,
    });
    Some(failed.unwrap_or_else(|| fault(&IssueError::Away(link.reason.clone()).into(), scope)))
}

fn about(process: &Peer) -> Process {
    Process {
        pid: process.pid(),
        uid: process.uid(),
        gid: process.gid(),
        user: names::user(process.uid()).ok().flatten().unwrap_or_default(),
        executable: process.exe().path.to_string_lossy().into_owned(),
        start_time: process.start_time(),
    }
}

fn attestor(finding: &Finding, scope: Scope) -> Attestor {
    let (mut selectors, failed) = match &finding.found {
        Ok(found) => (texts(found), None),
        Err(error) => (Vec::new(), Some(fault(error, scope))),
    };
    selectors.sort_unstable();
    selectors.dedup();
    Attestor {
        name: finding.attestor.to_owned(),
        selectors,
        fault: failed,
    }
}

fn entries(explained: Option<Explained>, scope: Scope) -> Entries {
    let Some(explained) = explained else {
        return Entries::default();
    };
    Entries {
        total: count(explained.total),
        matched: count(explained.matched),
        nearest: explained
            .nearest
            .into_iter()
            .map(|tried| entry(tried, scope))
            .collect(),
    }
}

fn entry(tried: Tried, scope: Scope) -> Entry {
    let Tried {
        entry,
        matches,
        satisfied,
        missing,
        not_given,
        svids,
    } = tried;
    let template = match &entry.expansion {
        Some(expansion) => Some(&expansion.template),
        None => entry.spiffe_id.template(),
    };
    Entry {
        id: hex(&entry.source()),
        spiffe_id: entry.spiffe_id.to_string(),
        selectors: texts(&entry.selectors),
        satisfied: count(satisfied),
        matches,
        missing: missing.map(|s| s.to_string()).unwrap_or_default(),
        expires_at_ms: millis(entry.expires_at),
        id_template: template.map(ToString::to_string).unwrap_or_default(),
        not_given: not_given.map(|why| why.to_string()).unwrap_or_default(),
        svids: svids
            .into_iter()
            .map(|(kind, state)| svid(kind, state, scope))
            .collect(),
    }
}

fn svid(kind: IssueKind, state: SvidState, scope: Scope) -> Svid {
    let (is, not_after, why, retry_at) = match state {
        SvidState::Ready { not_after, failed } => (State::Ready, Some(not_after), failed, None),
        SvidState::Signing => (State::Signing, None, None, None),
        SvidState::Failed { why, retry_at } => (State::Failed, None, why, retry_at),
    };
    Svid {
        kind: kind.as_str().to_owned(),
        state: is.into(),
        not_after_ms: millis(not_after),
        failed_at_ms: millis(why.as_ref().map(|why| why.at)),
        fault: why.map(|why| trouble(&why, scope)),
        retry_at_ms: millis(retry_at),
    }
}

fn trouble(why: &Trouble, scope: Scope) -> Fault {
    Fault {
        code: why.code.clone(),
        message: told(scope, why.detail.clone(), &why.message),
        remedy: why.remedy.clone(),
    }
}

fn fault(error: &AgentError, scope: Scope) -> Fault {
    Fault {
        code: error.code().to_owned(),
        message: told(scope, signet_fault::chain(error), &public_message(error)),
        remedy: error.remedy().into_owned(),
    }
}

/// Addresses and the like stay with whoever runs the node.
fn told(scope: Scope, detail: String, public: &str) -> String {
    match scope {
        Scope::Node => detail,
        Scope::Own if detail.is_empty() => detail,
        Scope::Own => public.to_owned(),
    }
}

fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(Selector::to_string).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn millis(at: Option<UnixTime>) -> u64 {
    at.map_or(0, UnixTime::as_millis)
}
