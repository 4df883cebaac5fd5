//! Those who work with the fleet while the server is killed: workloads, which never stop, and administrators, who stop
//! when they get no answer.

use super::admin::{Admin, escaped};
use super::issued::Issued;
use super::ledger::{Ledger, Place};
use crate::dice::Dice;
use core::time::Duration;
use http::Method;
use serde_json::json;
use signet_agent::{Agent, AgentSettings, Launch, Pace};
use signet_api::{EntriesCreated, EntryDoc, JoinTokenReply, JoinTokenRequest, NodeView};
use signet_id::{Selector, SpiffeId};
use signet_net::NetError;
use signet_time::SharedClock;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long anything may take while the server runs, before something must be wrong.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// Between two attempts of a workload that was told to try again.
const PAUSE: Duration = Duration::from_millis(5);

/// What all of them share.
#[derive(Clone)]
pub(super) struct World {
    pub(super) admin: Admin,
    pub(super) workload_api: Endpoint,
    pub(super) issued: Arc<Issued>,
    pub(super) entries: Arc<Mutex<Ledger<EntryDoc>>>,
    pub(super) nodes: Arc<Mutex<Ledger<Place>>>,
    pub(super) clock: SharedClock,
    pub(super) directory: PathBuf,
    /// The user whose processes the entries are for.
    pub(super) uid: u32,
}

pub(super) fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://fleet.test{path}")).unwrap()
}

/// The identity that is always there.
pub(super) fn base() -> SpiffeId {
    id("/base")
}

impl World {
    /// An entry for processes of the user `uid`, with everything said that the server would else fill in.
    pub(super) fn entry(&self, path: &str, uid: u32) -> EntryDoc {
        let selector = Selector::parse(&format!("unix:uid:{uid}")).unwrap();
        let mut doc = EntryDoc::new(id(path), vec![selector]);
        doc.x509_ttl = Some(Duration::from_secs(3_600));
        doc.jwt_ttl = Some(Duration::from_secs(300));
        doc
    }

    /// A workload that asks for token after token, each for an audience that nobody has asked for before. What it is
    /// told meanwhile may be that nothing can be had, and nothing else.
    pub(super) async fn ask_for_tokens(self, name: usize, stop: CancellationToken) {
        let mut asked = 0_u64;
        while !stop.is_cancelled() {
            let client = WorkloadClient::connect(&self.workload_api).await.unwrap();
            for _ in 0..50 {
                asked += 1;
                let audience = format!("audience-{name}-{asked}");
                match client
                    .fetch_jwt(core::slice::from_ref(&audience), Some(&base()))
                    .await
                {
                    Ok(svids) => svids.iter().for_each(|svid| self.issued.token(svid, &audience)),
                    Err(WorkloadError::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
                    Err(other) => panic!("a token was refused: {other}"),
                }
                if stop.is_cancelled() {
                    break;
                }
            }
        }
    }

    /// A workload that keeps one stream open through all crashes, and tells which identities it has.
    pub(super) async fn follow(self, seen: watch::Sender<BTreeSet<String>>, stop: CancellationToken) {
        let client = WorkloadClient::connect(&self.workload_api).await.unwrap();
        let mut stream = client.watch_x509().await.unwrap();
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = stream.next() => message,
            };
            let context = message
                .unwrap_or_else(|error| panic!("a workload's stream broke: {error}"))
                .unwrap_or_else(|| panic!("a workload's stream ended"));
            self.issued.certificates(&context);
            seen.send_replace(context.svids().iter().map(|svid| svid.id.to_string()).collect());
        }
    }

    /// Waits for a new stream to show `wanted`.
    async fn fetch(&self, wanted: &SpiffeId) {
        loop {
            let client = WorkloadClient::connect(&self.workload_api).await.unwrap();
            let Ok(mut stream) = client.watch_x509().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Ok(Some(context)) = stream.next().await {
                self.issued.certificates(&context);
                if context.svids().iter().any(|svid| svid.id == *wanted) {
                    return;
                }
            }
        }
    }
}

/// One round's work, until the server is killed.
#[derive(Clone)]
pub(super) struct Round {
    pub(super) world: World,
    pub(super) number: u64,
    /// Cancelled just before the kill: from then on no answer is a surprise.
    pub(super) killing: CancellationToken,
}

impl Round {
    /// Goes on with the answer, or stops where none came because of the kill.
    fn answer<T>(&self, outcome: Result<T, NetError>) -> Option<T> {
        match outcome {
            Ok(answer) => Some(answer),
            Err(error) if self.killing.is_cancelled() => {
                drop(error);
                None
            }
            Err(error) => panic!("the server gave no answer though it was not killed: {error}"),
        }
    }

    /// An administrator who creates, changes and deletes entries that are for nobody.
    pub(super) async fn churn(self, name: usize, mut dice: Dice) {
        let prefix = format!("{}/", id(&format!("/churn-{name}")));
        for n in 0_u64.. {
            let mine = self.world.entries.lock().unwrap().there(&prefix);
            let new = format!("/churn-{name}/{}-{n}", self.number);
            let work = match dice.below(10) {
                0..=3 if mine.len() < ENTRIES_MAX => self.create(&new).await,
                4 if mine.len() < ENTRIES_MAX => self.create_many(&new, &mut dice).await,
                choice if mine.is_empty() => self.create(&format!("{new}-{choice}")).await,
                choice => {
                    let at = usize::try_from(dice.below(mine.len() as u64)).unwrap();
                    match choice {
                        5..=7 => self.update(&mine[at].1, n).await,
                        _ => self.delete(&mine[at].1).await,
                    }
                }
            };
            if work.is_none() || self.killing.is_cancelled() {
                return;
            }
        }
    }

    async fn create(&self, path: &str) -> Option<EntryDoc> {
        self.create_for(path, NOBODY).await
    }

    pub(super) async fn create_for(&self, path: &str, uid: u32) -> Option<EntryDoc> {
        let doc = self.world.entry(path, uid);
        let id = doc.spiffe_id.to_string();
        self.entries(|entries| entries.ask(&id, Some(doc.clone())));
        let made = self.answer(self.world.admin.create(&doc).await)?;
        self.entries(|entries| entries.told(&id, Some(made.clone())));
        Some(made)
    }

    async fn create_many(&self, path: &str, dice: &mut Dice) -> Option<EntryDoc> {
        let docs: Vec<_> = (0..2 + dice.below(20))
            .map(|n| self.world.entry(&format!("{path}-{n}"), NOBODY))
            .collect();
        let by_id = |docs: &[EntryDoc]| -> Vec<_> {
            docs.iter()
                .map(|doc| (doc.spiffe_id.to_string(), doc.clone()))
                .collect()
        };
        let lines: String = docs
            .iter()
            .map(|doc| serde_json::to_string(doc).unwrap() + "\n")
            .collect();
        self.entries(|entries| entries.ask_all(&by_id(&docs)));
        let sent = self.world.admin.send(
            Method::POST,
            "/api/v1/entries/batch",
            "application/x-ndjson",
            lines.into_bytes(),
        );
        let made = self.answer(sent.await)?;
        let made: EntriesCreated = serde_json::from_slice(&made).unwrap();
        assert_eq!(made.created.len(), docs.len());
        self.entries(|entries| entries.told_all(by_id(&made.created)));
        made.created.into_iter().next()
    }

    async fn update(&self, old: &EntryDoc, n: u64) -> Option<EntryDoc> {
        let mut doc = old.clone();
        doc.hint = Some(format!("round {} change {n}", self.number));
        let id = doc.spiffe_id.to_string();
        self.entries(|entries| entries.ask(&id, Some(doc.clone())));
        let path = path_of(old);
        let made: EntryDoc = self.answer(self.world.admin.change(Method::PUT, &path, &doc).await)?;
        assert_eq!(made, doc);
        self.entries(|entries| entries.told(&id, Some(made.clone())));
        Some(made)
    }

    pub(super) async fn delete(&self, doc: &EntryDoc) -> Option<EntryDoc> {
        let id = doc.spiffe_id.to_string();
        self.entries(|entries| entries.ask(&id, None));
        self.answer(self.world.admin.delete(&path_of(doc)).await)?;
        self.entries(|entries| entries.told(&id, None));
        Some(doc.clone())
    }

    fn entries<T>(&self, work: impl FnOnce(&mut Ledger<EntryDoc>) -> T) -> T {
        work(&mut self.world.entries.lock().unwrap())
    }

    /// An administrator who entitles our own processes to ever new identities, each of which a new stream fetches.
    pub(super) async fn entitle(self, name: usize) {
        for n in 0_u64.. {
            let path = format!("/x509-{name}/{}-{n}", self.number);
            let Some(doc) = self.create_for(&path, self.world.uid).await else {
                return;
            };
            let id = doc.spiffe_id.one().expect("it is no template");
            let fetched = tokio::time::timeout(WITHIN, self.world.fetch(id));
            tokio::select! {
                () = self.killing.cancelled() => return,
                fetched = fetched => fetched.unwrap_or_else(|_| panic!("{} was not issued", doc.spiffe_id)),
            }
            if self.delete(&doc).await.is_none() {
                return;
            }
        }
    }

    /// Nodes that join; some are banned and some evicted.
    pub(super) async fn join_nodes(self, mut dice: Dice) {
        for n in 0_u64.. {
            let place = id(&format!("/place/{}-{n}", self.number));
            let wish = JoinTokenRequest {
                ttl: None,
                spiffe_id: Some(place.clone()),
            };
            let made = self
                .world
                .admin
                .change(Method::POST, "/api/v1/join-tokens", &wish)
                .await;
            let Some(made): Option<JoinTokenReply> = self.answer(made) else {
                return;
            };
            if self.join(&place.to_string(), &made.join).await.is_none() {
                return;
            }
            let fate = match dice.below(3) {
                0 => self.ban(&place.to_string()).await,
                1 => self.evict(&place.to_string()).await,
                _ => Some(()),
            };
            if fate.is_none() {
                return;
            }
        }
    }

    async fn join(&self, id: &str, join: &str) -> Option<()> {
        let mut settings = AgentSettings {
            metrics: None,
            ..AgentSettings::default()
        };
        settings.workload_api.path = self.world.directory.join("node.sock");
        self.nodes(|nodes| {
            nodes.ask(
                id,
                Some(Place {
                    banned: false,
                    certified: false,
                }),
            )
        });
        let shutdown = CancellationToken::new();
        let clock = self.world.clock.clone();
        let agent = Agent::start(Launch {
            settings,
            join: Some(join),
            clock,
            pace: Pace::default(),
            shutdown: shutdown.clone(),
        })
        .await
        .unwrap();
        let ready = tokio::select! {
            () = self.killing.cancelled() => false,
            ready = tokio::time::timeout(WITHIN, agent.ready()) => {
                ready.unwrap_or_else(|_| panic!("{id} could not join")).unwrap();
                true
            }
        };
        shutdown.cancel();
        agent.wait().await.unwrap();
        if ready {
            self.nodes(|nodes| {
                nodes.told(
                    id,
                    Some(Place {
                        banned: false,
                        certified: true,
                    }),
                )
            });
        }
        ready.then_some(())
    }

    async fn ban(&self, id: &str) -> Option<()> {
        self.nodes(|nodes| {
            nodes.ask(
                id,
                Some(Place {
                    banned: true,
                    certified: true,
                }),
            )
        });
        let path = format!("/api/v1/nodes/{}/ban", escaped(id));
        let body = json!({"reason": "drawn by lot"});
        let node: NodeView = self.answer(self.world.admin.change(Method::POST, &path, &body).await)?;
        assert!(node.banned);
        self.nodes(|nodes| {
            nodes.told(
                id,
                Some(Place {
                    banned: true,
                    certified: true,
                }),
            )
        });
        Some(())
    }

    async fn evict(&self, id: &str) -> Option<()> {
        self.nodes(|nodes| nodes.ask(id, None));
        let path = format!("/api/v1/nodes/{}", escaped(id));
        self.answer(self.world.admin.delete(&path).await)?;
        self.nodes(|nodes| nodes.told(id, None));
        Some(())
    }

    fn nodes<T>(&self, work: impl FnOnce(&mut Ledger<Place>) -> T) -> T {
        work(&mut self.world.nodes.lock().unwrap())
    }
}

fn path_of(doc: &EntryDoc) -> String {
    format!("/api/v1/entries/{}", doc.id.as_deref().unwrap())
}

/// A user that runs nothing.
const NOBODY: u32 = 4_000_000_123;

/// How many entries each administrator keeps; every change of one is pushed to the agent with all the others.
const ENTRIES_MAX: usize = 40;
