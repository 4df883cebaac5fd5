//! The clocks of the server and of the agent are set an hour forth and back while they run, by libfaketime: what is served
//! meanwhile to the crate `spiffe`, and that all is well again when the clocks are.

use crate::scenarios::ensure;
use crate::{Failure, Fleet, run};
use signet_x509::Certificate;
use spiffe::workload_api::error::WorkloadApiError;
use spiffe::{WorkloadApiClient, X509Context};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_stream::StreamExt as _;

const HOUR_S: i64 = 3_600;
/// How long ago the trust domain was made: before any time that a clock is set to.
const AGE_S: i64 = 3 * HOUR_S;
/// An identity whose certificates an hour ends, and one whose certificates are not even renewed in the two hours between
/// the clocks.
const SHORT: (&str, &str) = ("/short", "10m");
const LONG: (&str, &str) = ("/long", "6h");

/// Who has another clock than everybody else, and by how much.
struct Case {
    server_s: i64,
    agent_s: i64,
    /// What the agent serves as long as it is so.
    served: Served,
}

/// What the agent can do with clocks that differ.
enum Served {
    /// Both agree: everything, as at any other time.
    All,
    /// What it had before, both of it, and nothing that is issued meanwhile.
    Before,
    /// What it had before and its clock did not end.
    LongOnly,
}

const CASES: [Case; 6] = [
    // Both agree with each other, and so they work as ever; what they serve is valid by their clocks.
    Case {
        server_s: HOUR_S,
        agent_s: HOUR_S,
        served: Served::All,
    },
    Case {
        server_s: -HOUR_S,
        agent_s: -HOUR_S,
        served: Served::All,
    },
    // What the server issues is over by the agent's clock, or has not begun: it serves what it has as long as that is valid.
    Case {
        server_s: 0,
        agent_s: HOUR_S,
        served: Served::LongOnly,
    },
    Case {
        server_s: 0,
        agent_s: -HOUR_S,
        served: Served::Before,
    },
    Case {
        server_s: HOUR_S,
        agent_s: 0,
        served: Served::Before,
    },
    Case {
        server_s: -HOUR_S,
        agent_s: 0,
        served: Served::Before,
    },
];

/// Each clock is set while an open stream and calls look at what is served.
///
/// # Errors
/// The first check that fails.
pub(crate) fn set() -> Result<String, Failure> {
    let library = library()?;
    let fleet = Fleet::with_around(|command, dir, name| {
        // Before it was made no trust domain has anything that is valid.
        set_clock(dir, name, if name == "init" { -AGE_S } else { 0 })?;
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", clock_file(dir, name))
            // Set while it runs; and it alone: timers go by another one, which nobody sets.
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        if name != "init" {
            command.stderr(Stdio::from(std::fs::File::create(log_file(dir, name))?));
        }
        Ok(())
    })?;
    let told = |error: Failure| {
        let log = |name| std::fs::read_to_string(log_file(fleet.dir(), name)).unwrap_or_default();
        format!("{error}\nserver: {}\nagent: {}", log("server"), log("agent")).into()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(all(&fleet)).map_err(told)
}

async fn all(fleet: &Fleet) -> Result<String, Failure> {
    for (path, ttl) in [SHORT, LONG] {
        fleet.entitle(path, ttl)?;
    }
    let client = WorkloadApiClient::connect_to(&fleet.workload_api).await?;
    let world = World {
        fleet,
        client,
        stream: Stream::open(fleet).await?,
    };
    let mut lines = Vec::new();
    world.serves_all(0, "at first").await?;
    for (number, case) in CASES.iter().enumerate() {
        let Case {
            server_s, agent_s, ..
        } = *case;
        let name = format!("server {server_s:+} s, agent {agent_s:+} s");
        let before = world
            .fetch(0)
            .await?
            .map_err(|e| format!("{name}: before: {e}"))?;
        let began = Instant::now();
        set_clock(fleet.dir(), "server", server_s)?;
        set_clock(fleet.dir(), "agent", agent_s)?;
        match case.served {
            Served::All => world.serves_all(agent_s, &name).await?,
            Served::Before => {
                world
                    .goes_on_with(&before, &[SHORT.0, LONG.0], agent_s, &name)
                    .await?
            }
            Served::LongOnly => world.goes_on_with(&before, &[LONG.0], agent_s, &name).await?,
        }
        if matches!(case.served, Served::All) {
            // Nothing stands still: what is decided now is served now.
            world
                .takes_up(&format!("/during-{number}"), agent_s, &name)
                .await?;
        }
        let during = began.elapsed();
        let began = Instant::now();
        set_clock(fleet.dir(), "server", 0)?;
        set_clock(fleet.dir(), "agent", 0)?;
        let name = format!("after {name}");
        world.serves_all(0, &name).await?;
        world.takes_up(&format!("/after-{number}"), 0, &name).await?;
        fleet.lasts()?;
        lines.push(format!(
            "{server_s:+}/{agent_s:+}: {:.1} s, {:.1} s",
            during.as_secs_f32(),
            began.elapsed().as_secs_f32()
        ));
    }
    for name in ["server", "agent"] {
        let log = std::fs::read_to_string(log_file(fleet.dir(), name))?;
        ensure(!log.contains("panicked"), || format!("the {name} panicked"))?;
    }
    Ok(format!(
        "clocks of server/agent set and set right, seconds until it served so: {}; {} messages on one stream",
        lines.join("; "),
        world.stream.seen()?
    ))
}

/// What is seen of the fleet.
struct World<'f> {
    fleet: &'f Fleet,
    client: WorkloadApiClient,
    stream: Stream,
}

/// The certificates that were served, by path.
type Leaves = BTreeMap<String, Vec<u8>>;

impl World<'_> {
    /// What a call gets. It may be an error, but must come in time; and nothing in it is over by the agent's clock.
    async fn fetch(&self, agent_s: i64) -> Result<Result<Leaves, WorkloadApiError>, Failure> {
        let call = tokio::time::timeout(CALL_WITHIN, self.client.fetch_x509_context());
        let context = match call.await.map_err(|_| "a call to the agent stood still")? {
            Ok(context) => context,
            Err(error) => return Ok(Err(error)),
        };
        let leaves = leaves(&context);
        let now = now_s(agent_s)?;
        for (path, leaf) in &leaves {
            let (_, end) = life(leaf)?;
            ensure(now <= end + ROUNDING_S, || {
                format!(
                    "{path} was served {} s after its end, by the agent's clock",
                    now - end
                )
            })?;
        }
        Ok(Ok(leaves))
    }

    /// Waits until both identities are served by calls and on the stream, valid by the agent's clock, with tokens.
    async fn serves_all(&self, agent_s: i64, when: &str) -> Result<(), Failure> {
        let mut told = String::new();
        let began = Instant::now();
        while began.elapsed() < WITHIN {
            match self.fetch(agent_s).await? {
                Ok(leaves) if valid(&leaves, agent_s)? && self.stream.shows(&leaves)? => {
                    let token = self.client.fetch_jwt_token(["clock"], None).await?;
                    self.client.validate_jwt_token("clock", &token).await?;
                    return Ok(());
                }
                Ok(leaves) => {
                    told = format!("{:?}, on the stream {:?}", lives(&leaves)?, self.stream.lives()?)
                }
                Err(error) => told = error.to_string(),
            }
            tokio::time::sleep(MOMENT).await;
        }
        Err(format!("{when}: it does not come to serve everything: {told}").into())
    }

    /// For a while nothing but the certificates of `before` under `paths` are served.
    async fn goes_on_with(
        &self,
        before: &Leaves,
        paths: &[&str],
        agent_s: i64,
        when: &str,
    ) -> Result<(), Failure> {
        let wanted: Leaves = before
            .iter()
            .filter(|(path, _)| paths.contains(&path.as_str()))
            .map(|(path, leaf)| (path.clone(), leaf.clone()))
            .collect();
        ensure(wanted.len() == paths.len(), || {
            format!("{when}: before there were {:?}", before.keys())
        })?;
        let began = Instant::now();
        let mut since = None;
        // The open stream is told of what its agent's clock ended, a moment later.
        while began.elapsed() < WITHIN {
            let served = self.fetch(agent_s).await?.map_err(|e| format!("{when}: {e}"))?;
            let served: Leaves = served
                .into_iter()
                .filter(|(path, _)| [SHORT.0, LONG.0].contains(&path.as_str()))
                .collect();
            ensure(served == wanted, || format!("{when}: {:?}", lives(&served)))?;
            if self.stream.shows(&wanted)? {
                let since = since.get_or_insert_with(Instant::now);
                if since.elapsed() > FOR {
                    return Ok(());
                }
            }
            tokio::time::sleep(MOMENT).await;
        }
        Err(format!("{when}: the stream shows {:?}", self.stream.lives()?).into())
    }

    /// A new entry is served, with a certificate that was made for it now.
    async fn takes_up(&self, path: &str, agent_s: i64, when: &str) -> Result<(), Failure> {
        let entry = self.fleet.entitle_with(path, "10m", &[])?;
        let began = Instant::now();
        loop {
            if let Ok(leaves) = self.fetch(agent_s).await?
                && leaves.contains_key(path)
            {
                break;
            }
            ensure(began.elapsed() < WITHIN, || {
                format!("{when}: a new entry is not served")
            })?;
            tokio::time::sleep(MOMENT).await;
        }
        let id = entry.get("id").and_then(serde_json::Value::as_str);
        self.fleet.administer(&["entry", "delete", id.ok_or("no id")?])?;
        Ok(())
    }
}

/// A stream that stays open; opened anew by itself only when the agent ended it.
struct Stream(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    last: Leaves,
    messages: usize,
}

impl Stream {
    async fn open(fleet: &Fleet) -> Result<Self, Failure> {
        let source = WorkloadApiClient::connect_to(&fleet.workload_api).await?;
        let shown = Arc::new(Mutex::new(Shown::default()));
        let of_task = Arc::clone(&shown);
        tokio::spawn(async move {
            loop {
                let Ok(stream) = source.stream_x509_contexts().await else {
                    tokio::time::sleep(MOMENT).await;
                    continue;
                };
                let mut stream = core::pin::pin!(stream);
                loop {
                    let message = stream.next().await;
                    let Ok(mut shown) = of_task.lock() else { return };
                    shown.messages += 1;
                    match message {
                        Some(Ok(context)) => shown.last = leaves(&context),
                        _ => {
                            shown.last = Leaves::new();
                            break;
                        }
                    }
                }
            }
        });
        Ok(Self(shown))
    }

    fn shows(&self, wanted: &Leaves) -> Result<bool, Failure> {
        let shown = self.0.lock().map_err(|_| "poisoned")?;
        Ok(wanted
            .iter()
            .all(|(path, leaf)| shown.last.get(path) == Some(leaf))
            && shown.last.contains_key(SHORT.0) == wanted.contains_key(SHORT.0))
    }

    fn lives(&self) -> Result<BTreeMap<String, (i64, i64)>, Failure> {
        lives(&self.0.lock().map_err(|_| "poisoned")?.last)
    }

    fn seen(&self) -> Result<usize, Failure> {
        Ok(self.0.lock().map_err(|_| "poisoned")?.messages)
    }
}

fn leaves(context: &X509Context) -> Leaves {
    let of = |svid: &Arc<spiffe::X509Svid>| {
        (
            svid.spiffe_id().path().to_owned(),
            svid.leaf().as_bytes().to_vec(),
        )
    };
    context.svids().iter().map(of).collect()
}

/// Whether both identities are there and valid by a clock that is `off_s` ahead.
fn valid(leaves: &Leaves, off_s: i64) -> Result<bool, Failure> {
    let now = now_s(off_s)?;
    for (path, _) in [SHORT, LONG] {
        let Some(leaf) = leaves.get(path) else {
            return Ok(false);
        };
        let (begin, end) = life(leaf)?;
        if !(begin..end).contains(&now) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lives(leaves: &Leaves) -> Result<BTreeMap<String, (i64, i64)>, Failure> {
    let of = |(path, leaf): (&String, &Vec<u8>)| Ok((path.clone(), life(leaf)?));
    leaves.iter().map(of).collect()
}

/// From when to when a certificate is valid.
fn life(leaf: &[u8]) -> Result<(i64, i64), Failure> {
    let leaf = Certificate::parse(leaf)?;
    let (begin, end) = (leaf.not_before().as_secs(), leaf.not_after().as_secs());
    Ok((i64::try_from(begin)?, i64::try_from(end)?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a scenario goes by the clock that foreign clients have"
)]
fn now_s(off_s: i64) -> Result<i64, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_secs())? + off_s)
}

fn clock_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.clock"))
}

fn log_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

/// Sets the clock of the process `name`, from its next look on.
fn set_clock(dir: &Path, name: &str, off_s: i64) -> Result<(), Failure> {
    let file = clock_file(dir, name);
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{off_s:+}\n"))?;
    std::fs::rename(new, file)?;
    Ok(())
}

/// The library that Debian's `faketime` preloads, in the form for programs with threads.
fn library() -> Result<OsString, Failure> {
    let shown = run(Command::new("faketime").args(["-m", "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]))
        .map_err(|e| format!("{e}; `cargo xtask test setup` installs it"))?;
    let text = String::from_utf8(shown.stdout)?;
    let library = text
        .split([':', ' ', '\n'])
        .find(|part| part.contains("libfaketimeMT"));
    Ok(library
        .ok_or_else(|| format!("faketime preloads `{text}`"))?
        .into())
}

/// Far more than the longest pause that an agent makes between two attempts.
const WITHIN: Duration = Duration::from_secs(150);
/// How long what is served is watched for not changing: longer than the time between two heartbeats, at which a server looks
/// whether the identities of its nodes have ended.
const FOR: Duration = Duration::from_secs(25);
const CALL_WITHIN: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(50);
/// Certificates end at whole seconds, and a call takes a moment.
const ROUNDING_S: i64 = 2;
