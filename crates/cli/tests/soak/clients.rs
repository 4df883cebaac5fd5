//! A process that holds streams, as the soak starts it: a copy of this very program under another path.
//!
//! It is told on standard input what its streams are to show, and says on standard output when all of them do; every
//! line of it begins with [`SAYS`].

use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use signet_time::UnixTime;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError, X509Context};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;

/// The variable with the [`Wanted`] of a process.
pub(super) const VARIABLE: &str = "SIGNET_SOAK_CLIENTS";
/// Before what it says.
pub(super) const SAYS: &str = "soak: ";
/// That all streams show what they are to show.
pub(super) const SHOWN: &str = "shown";

/// After a status, before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two tokens that a process asks for.
const TOKEN_EVERY: Duration = Duration::from_millis(200);

/// Audiences of those tokens.
const AUDIENCES: usize = 4;

/// A stream is closed after so many messages, give or take, and opened anew.
const MESSAGES_MAX: usize = 12;

/// What a process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) socket: PathBuf,
    pub(super) streams: usize,
    /// What all identities of this process begin with.
    pub(super) prefix: String,
}

/// What a process has seen.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    /// Streams opened, those that ended with a status included.
    pub(super) opened: u64,
    pub(super) messages: u64,
    pub(super) tokens: u64,
    /// How often each status ended a stream or refused a token.
    pub(super) statuses: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.messages += other.messages;
        self.tokens += other.tokens;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            opened,
            messages,
            tokens,
            statuses,
        } = self;
        write!(
            f,
            "{opened} streams opened, {messages} messages, {tokens} tokens, statuses {statuses:?}"
        )
    }
}

#[tokio::test]
#[ignore = "a process that the soak starts"]
async fn clients() {
    let wanted = std::env::var(VARIABLE).expect("only the soak starts this");
    let clients = Arc::new(Clients {
        wanted: serde_json::from_str(&wanted).unwrap(),
        report: Mutex::default(),
    });
    // The entry was written a moment ago, and is on its way to the agent.
    while clients.connect().await.unwrap().fetch_x509().await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    let mut seen = Vec::new();
    for number in 0..clients.wanted.streams {
        let (sender, mut shown) = watch::channel(None);
        tokio::spawn(or_abort(Arc::clone(&clients).follow(number, sender)));
        // One after the other, so that the queue of the socket never overflows.
        shown.changed().await.unwrap();
        seen.push(shown);
    }
    tokio::spawn(or_abort(Arc::clone(&clients).ask_for_tokens()));
    // Somebody who opens a stream and never reads from it: the others must not notice, and the agent must not grow.
    let deaf = clients.connect().await.unwrap();
    let _unread = deaf.watch_x509().await.unwrap();
    // What the test harness has begun to write is a line of its own.
    println!();
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        let ids: BTreeSet<String> = line.split_whitespace().map(str::to_owned).collect();
        for shown in &mut seen {
            shown
                .wait_for(|shown| shown.as_ref() == Some(&ids))
                .await
                .unwrap();
        }
        println!("{SAYS}{SHOWN}");
    }
    let report = core::mem::take(&mut *clients.report.lock().unwrap());
    println!("{SAYS}{}", serde_json::to_string(&report).unwrap());
}

/// What it is told, line by line, until nobody can tell it anything any more.
fn lines() -> UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Ends the whole process with the first of its tasks that fails.
async fn or_abort(work: impl Future<Output = ()> + Send + 'static) {
    if tokio::spawn(work).await.is_err() {
        std::process::abort();
    }
}

struct Clients {
    wanted: Wanted,
    report: Mutex<Report>,
}

/// The identities of a stream's last message; none where it was told that there are none; nothing at first, and after
/// any other status.
type Shown = Option<BTreeSet<String>>;

impl Clients {
    async fn connect(&self) -> Result<WorkloadClient, WorkloadError> {
        WorkloadClient::connect(&Endpoint::Unix(self.wanted.socket.clone())).await
    }

    fn note(&self, error: &WorkloadError) {
        let name = match error {
            WorkloadError::NoIdentity { .. } => super::group::DENIED.to_owned(),
            WorkloadError::Unavailable { .. } => super::group::UNAVAILABLE.to_owned(),
            other => other.to_string(),
        };
        *self.report.lock().unwrap().statuses.entry(name).or_default() += 1;
    }

    /// Holds a stream, for ever.
    async fn follow(self: Arc<Self>, number: usize, seen: watch::Sender<Shown>) {
        for round in 0_usize.. {
            let messages_max = 2 + (number + round) % MESSAGES_MAX;
            match self.hold(messages_max, &seen).await {
                Ok(()) => {}
                Err(error) => {
                    self.note(&error);
                    let denied = matches!(error, WorkloadError::NoIdentity { .. });
                    seen.send_replace(denied.then(BTreeSet::new));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn hold(&self, messages_max: usize, seen: &watch::Sender<Shown>) -> Result<(), WorkloadError> {
        self.report.lock().unwrap().opened += 1;
        let client = self.connect().await?;
        let mut stream = client.watch_x509().await?;
        for _ in 0..messages_max {
            let context = stream.next().await?.ok_or(WorkloadError::Ended)?;
            let ids = self.check(&context);
            self.report.lock().unwrap().messages += 1;
            seen.send_replace(Some(ids));
        }
        Ok(())
    }

    /// Everything in a message is this process's own, and valid now.
    fn check(&self, context: &X509Context) -> BTreeSet<String> {
        let now = now();
        for svid in context.svids() {
            let valid = signet_check::x509::verify_svid(&svid.chain, context.view(), now).unwrap();
            assert_eq!(valid.id, svid.id);
            let id = svid.id.to_string();
            assert!(id.starts_with(&self.wanted.prefix), "{id} is for another process");
        }
        context.svids().iter().map(|svid| svid.id.to_string()).collect()
    }

    async fn ask_for_tokens(self: Arc<Self>) {
        for number in 0_usize.. {
            let audience = format!("audience-{}", number % AUDIENCES);
            let fetched = match self.connect().await {
                Ok(client) => client.fetch_jwt(&[audience], None).await,
                Err(error) => Err(error),
            };
            match fetched {
                Ok(svids) => {
                    let own = |id: &str| id.starts_with(&self.wanted.prefix);
                    assert!(svids.iter().all(|svid| own(&svid.id.to_string())));
                    self.report.lock().unwrap().tokens += 1;
                }
                Err(error) => self.note(&error),
            }
            tokio::time::sleep(TOKEN_EVERY).await;
        }
    }
}

fn now() -> UnixTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the processes under test go by the wall clock"
    )]
    let now = SystemTime::now();
    UnixTime::EPOCH + now.duration_since(SystemTime::UNIX_EPOCH).unwrap()
}
