//! Workloads that never stop, and what they are told.

use super::WITHIN;
use core::time::Duration;
use signet_crypto::Secret;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError, X509Context};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const FOLLOWERS: usize = 8;
const TOKEN_ASKERS: usize = 3;

/// Between two attempts of a workload that was told to try again.
const PAUSE: Duration = Duration::from_millis(5);

/// Keys that are looked for on the disk: the first of so many.
const KEYS_MAX: usize = 200;

/// What a workload may be told instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// The status for what cannot be had for the moment, a connection that broke included.
    Unavailable,
    /// Nobody listens.
    Unreachable,
    Other(String),
}

/// Some of them follow a stream, others ask for tokens.
pub(super) struct Workloads {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    seen: Vec<watch::Receiver<BTreeSet<String>>>,
    stop: CancellationToken,
}

struct Shared {
    socket: PathBuf,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    answers: u64,
    told: BTreeMap<Told, u64>,
    keys: Vec<PrivateKey>,
}

impl Workloads {
    pub(super) fn hire(socket: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            socket,
            noted: Mutex::default(),
        });
        let (mut tasks, mut seen, stop) = (JoinSet::new(), Vec::new(), CancellationToken::new());
        for _ in 0..FOLLOWERS {
            let (sender, shown) = watch::channel(BTreeSet::new());
            seen.push(shown);
            tasks.spawn(stopped_by(stop.clone(), Arc::clone(&shared).follow(sender)));
        }
        for number in 0..TOKEN_ASKERS {
            tasks.spawn(stopped_by(stop.clone(), Arc::clone(&shared).ask(number)));
        }
        Self {
            shared,
            tasks,
            seen,
            stop,
        }
    }

    /// Waits until each stream shows exactly these.
    pub(super) async fn show(&mut self, wanted: &BTreeSet<String>) {
        for seen in &mut self.seen {
            let shown = tokio::time::timeout(WITHIN, seen.wait_for(|seen| seen == wanted)).await;
            let in_time = shown.map(|shown| drop(shown.expect("a workload has stopped")));
            if in_time.is_err() {
                panic!("a stream shows {:?} and not {wanted:?}", *seen.borrow());
            }
        }
    }

    pub(super) fn answers(&self) -> u64 {
        self.shared.noted.lock().unwrap().answers
    }

    pub(super) fn told(&self) -> BTreeMap<Told, u64> {
        self.shared.noted.lock().unwrap().told.clone()
    }

    /// Fails with whatever one of them has found.
    pub(super) fn assert_all_work(&mut self) {
        if let Some(ended) = self.tasks.try_join_next() {
            ended.unwrap();
            panic!("a workload has stopped");
        }
    }

    /// Stops all of them, and gives the keys that they had.
    pub(super) async fn stop(&mut self) -> Vec<PrivateKey> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        core::mem::take(&mut self.shared.noted.lock().unwrap().keys)
    }
}

async fn stopped_by(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

impl Shared {
    async fn connect(&self) -> Result<WorkloadClient, WorkloadError> {
        WorkloadClient::connect(&Endpoint::Unix(self.socket.clone())).await
    }

    async fn note(&self, error: WorkloadError) {
        let told = match error {
            WorkloadError::Unavailable { .. } => Told::Unavailable,
            WorkloadError::Unreachable { .. } => Told::Unreachable,
            other => Told::Other(other.to_string()),
        };
        *self.noted.lock().unwrap().told.entry(told).or_default() += 1;
        tokio::time::sleep(PAUSE).await;
    }

    /// Holds a stream open, and opens another one where it ends.
    async fn follow(self: Arc<Self>, seen: watch::Sender<BTreeSet<String>>) {
        loop {
            if let Err(error) = self.hold(&seen).await {
                self.note(error).await;
            }
        }
    }

    async fn hold(&self, seen: &watch::Sender<BTreeSet<String>>) -> Result<(), WorkloadError> {
        let mut stream = self.connect().await?.watch_x509().await?;
        loop {
            let context = stream.next().await?.ok_or(WorkloadError::Ended)?;
            self.take(&context);
            seen.send_replace(context.svids().iter().map(|svid| svid.id.to_string()).collect());
        }
    }

    fn take(&self, context: &X509Context) {
        let mut noted = self.noted.lock().unwrap();
        noted.answers += 1;
        for svid in context.svids() {
            if noted.keys.len() < KEYS_MAX {
                let key = PrivateKey::of(&svid.key.to_pkcs8().unwrap());
                if !noted.keys.contains(&key) {
                    noted.keys.push(key);
                }
            }
        }
    }

    /// Asks for one token after the other, each for an audience that nobody has asked for before.
    async fn ask(self: Arc<Self>, number: usize) {
        for asked in 0_u64.. {
            let audience = format!("audience-{number}-{asked}");
            let fetched = match self.connect().await {
                Ok(client) => client.fetch_jwt(&[audience], None).await,
                Err(error) => Err(error),
            };
            match fetched {
                Ok(_) => self.noted.lock().unwrap().answers += 1,
                Err(error) => self.note(error).await,
            }
        }
    }
}

/// What of a P-256 key nobody else may know, as it stands in a file.
#[derive(PartialEq, Eq)]
pub(super) struct PrivateKey {
    number: Vec<u8>,
    /// Most of the number in base64.
    text: String,
}

impl PrivateKey {
    /// Of a key in PKCS #8, where the number stands behind these bytes (RFC 5915 §3).
    pub(super) fn of(pkcs8: &Secret) -> Self {
        let bytes = pkcs8.expose();
        let before = [2, 1, 1, 4, 32];
        let at = bytes.windows(5).position(|window| window == before).unwrap() + 5;
        let pem = signet_x509::pem::encode_key(pkcs8);
        let pem = core::str::from_utf8(pem.expose()).unwrap();
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        Self {
            number: bytes[at..at + 32].to_vec(),
            // Three bytes are four characters.
            text: text[at.div_ceil(3) * 4..(at + 32) / 3 * 4].to_owned(),
        }
    }

    /// What would stand in a file that holds it: as it is, or as the body of a PEM file without its line breaks.
    pub(super) fn traces(&self) -> [&[u8]; 2] {
        [&self.number, self.text.as_bytes()]
    }
}
