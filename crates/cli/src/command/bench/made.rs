//! What a loader has made on a server, so that all of it can be taken away again.

use super::run::Progress;
use super::watched;
use crate::Outcome;
use crate::api::{self, Api};
use crate::error::CliError;
use core::fmt;
use serde::Serialize;
use signet_api::EntryDoc;
use signet_id::{Selector, SpiffeId};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// Entries and nodes that are there because of this process, all below one ID.
pub(super) struct Made {
    api: Arc<Api>,
    below: SpiffeId,
    entries: HashSet<String>,
    nodes: HashSet<SpiffeId>,
}

impl Made {
    /// Nothing yet, in a folder that no other run has.
    pub(super) async fn new(api: Arc<Api>) -> Outcome<Self> {
        let trust_domain = api.server().await?.trust_domain;
        let run = u32::from_be_bytes(signet_crypto::random()?);
        let below = spiffe_id(&format!("spiffe://{trust_domain}/bench/{run:08x}"))?;
        Ok(Self {
            api,
            below,
            entries: HashSet::new(),
            nodes: HashSet::new(),
        })
    }

    /// Where everything lies.
    pub(super) fn below(&self) -> &SpiffeId {
        &self.below
    }

    pub(super) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Whether the server at `url` is there to be tried things on: `signet dev`, or one of which the user says so.
    pub(super) async fn may_begin(&self, is_agreed: bool, url: &str, what: Things) -> Outcome {
        if is_agreed || is_dev(watched::listener(api::socket(url).as_deref()).await) {
            return Ok(());
        }
        Err(CliError::NotDev {
            what: what.to_string(),
            below: self.below.to_string(),
            api: url.to_owned(),
        }
        .into())
    }

    /// Creates all of `entries` or none of them, and gives their ids in the same order.
    pub(super) async fn create_all(
        &mut self,
        entries: impl IntoIterator<Item = EntryDoc>,
    ) -> Outcome<Vec<String>> {
        let mut lines = Vec::new();
        for entry in entries {
            let line = serde_json::to_vec(&entry).map_err(|e| CliError::Write {
                path: "an entry".into(),
                source: e.into(),
            })?;
            lines.extend(line);
            lines.push(b'\n');
        }
        let created = self.api.create_entries(lines).await?;
        let ids: Vec<String> = created.into_iter().filter_map(|entry| entry.id).collect();
        self.entries.extend(ids.iter().cloned());
        Ok(ids)
    }

    /// Creates one, and gives its id.
    pub(super) async fn create(&mut self, entry: &EntryDoc) -> Outcome<String> {
        let id = self.api.create_entry(entry).await?.id.unwrap_or_default();
        self.entries.insert(id.clone());
        Ok(id)
    }

    pub(super) async fn delete(&mut self, id: &str) -> Outcome {
        self.api.delete_entry(id).await?;
        self.entries.remove(id);
        Ok(())
    }

    /// Notes that there may be a node of this name from now on.
    pub(super) fn expect_node(&mut self, id: SpiffeId) {
        self.nodes.insert(id);
    }

    /// Takes all entries of its folder for its own: a request may have been done though its answer never came.
    pub(super) async fn find(&mut self) -> Outcome {
        let below = format!("{}/", self.below);
        let ours = |entry: &EntryDoc| entry.spiffe_id.to_string().starts_with(&below);
        let all = self.api.entries(&[]).await?;
        self.entries
            .extend(all.into_iter().filter(ours).filter_map(|entry| entry.id));
        Ok(())
    }

    /// Takes away what is left, and says how much that was.
    pub(super) async fn clean(self) -> Outcome<Things> {
        let all = Things {
            entries: self.entries.len() as u64,
            nodes: self.nodes.len() as u64,
        };
        let done = Arc::new(Done::default());
        let shown = Arc::clone(&done);
        let _progress = Progress::show(move || format!("{} of {all} taken away", shown.now()));
        let entries = self.entries.into_iter().map(Thing::Entry);
        let mut left = entries.chain(self.nodes.into_iter().map(Thing::Node));
        let mut going = JoinSet::new();
        let mut last_error = None;
        loop {
            while going.len() < AT_ONCE {
                let Some(thing) = left.next() else { break };
                going.spawn(thing.away(Arc::clone(&self.api), Arc::clone(&done)));
            }
            match going.join_next().await {
                Some(Ok(Err(failure))) => last_error = Some(failure.what),
                Some(_) => {}
                None => break,
            }
        }
        let (cleaned, gone) = (done.now(), done.gone.load(Ordering::Relaxed));
        // Of the nodes that were expected, those count that were there.
        let failed = Things {
            entries: all.entries - cleaned.entries,
            nodes: all.nodes - cleaned.nodes - gone,
        };
        if failed.entries + failed.nodes > 0 {
            return Err(CliError::Left {
                what: failed.to_string(),
                below: self.below.to_string(),
                why: last_error.unwrap_or_default(),
            }
            .into());
        }
        Ok(cleaned)
    }
}

/// How many entries and nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Things {
    pub(super) entries: u64,
    pub(super) nodes: u64,
}

impl fmt::Display for Things {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { entries, nodes: 0 } => write!(f, "{entries} entries"),
            Self { entries: 0, nodes } => write!(f, "{nodes} nodes"),
            Self { entries, nodes } => write!(f, "{entries} entries and {nodes} nodes"),
        }
    }
}

/// What has gone so far.
#[derive(Default)]
struct Done {
    entries: AtomicU64,
    nodes: AtomicU64,
    /// Nodes that never came to be.
    gone: AtomicU64,
}

impl Done {
    fn now(&self) -> Things {
        Things {
            entries: self.entries.load(Ordering::Relaxed),
            nodes: self.nodes.load(Ordering::Relaxed),
        }
    }
}

/// One thing that was made.
enum Thing {
    Entry(String),
    Node(SpiffeId),
}

impl Thing {
    async fn away(self, api: Arc<Api>, done: Arc<Done>) -> Outcome {
        let counted = match self {
            Self::Entry(id) => {
                api.delete_entry(&id).await?;
                &done.entries
            }
            Self::Node(id) => match api.evict_node(id.as_str()).await {
                Ok(()) => &done.nodes,
                Err(failure) if failure.code == NODE_UNKNOWN => &done.gone,
                Err(failure) => return Err(failure),
            },
        };
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// An entry that no process matches: no program has that path. One selector is shared by all of them and one is its own,
/// by `path`, which lies below the folder of a run.
pub(super) fn nobody(below: &SpiffeId, path: &str) -> Outcome<EntryDoc> {
    let id = spiffe_id(&format!("{below}/{path}"))?;
    let selectors = vec![
        selector("unix:uid:4294967294")?,
        selector(&format!("unix:path:/nowhere{}", id.path()))?,
    ];
    Ok(EntryDoc::new(id, selectors))
}

pub(super) fn spiffe_id(text: &str) -> Outcome<SpiffeId> {
    Ok(SpiffeId::parse(text)?)
}

pub(super) fn selector(text: &str) -> Outcome<Selector> {
    Ok(Selector::parse(text)?)
}

/// Whether the process `pid` was started as `signet dev`. What cannot be told is not.
fn is_dev(pid: Option<u32>) -> bool {
    let words = pid.and_then(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
    words.is_some_and(|words| words.split(|b| *b == 0).nth(1) == Some(b"dev"))
}

/// Requests at one time, so that the server can put several into one commit.
pub(super) const AT_ONCE: usize = 16;
/// What a server says of a node that it does not know.
const NODE_UNKNOWN: &str = "SGRG008";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_in_bulk_differ_and_lie_below_the_run() {
        let below = spiffe_id("spiffe://dev.test/bench/00c0ffee").unwrap();
        let (a, b) = (
            nobody(&below, "bulk/1").unwrap(),
            nobody(&below, "bulk/2").unwrap(),
        );
        assert_eq!(a.spiffe_id.to_string(), "spiffe://dev.test/bench/00c0ffee/bulk/1");
        assert_eq!(
            a.selectors[1].to_string(),
            "unix:path:/nowhere/bench/00c0ffee/bulk/1"
        );
        assert_ne!(a.selectors, b.selectors);
        assert_eq!(a.selectors[0], b.selectors[0]);
    }

    #[test]
    fn what_is_not_known_to_be_signet_dev_is_not() {
        assert!(!is_dev(None));
        assert!(!is_dev(Some(std::process::id())));
    }

    #[test]
    fn what_there_is_none_of_is_not_named() {
        let told = |entries, nodes| Things { entries, nodes }.to_string();
        assert_eq!(told(2, 0), "2 entries");
        assert_eq!(told(0, 3), "3 nodes");
        assert_eq!(told(2, 3), "2 entries and 3 nodes");
    }
}
