//! `signet bench stream`: idle streams, as many workloads hold them.

mod reopen;

use super::latency::{Latencies, Summary, millis, tenth};
use super::run::{self, End, Errors, Interrupt, Progress};
use super::watched::Used;
use super::{Target, facts};
use crate::args::Global;
use crate::{Outcome, output, runtime};
use core::time::Duration;
use reopen::{Reopened, Returns};
use serde::Serialize;
use signet_workload::{Endpoint, WorkloadClient, WorkloadError, X509Stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// `signet bench stream`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stream {
    #[command(flatten)]
    target: Target,
    /// Open so many streams, each on a connection of its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    streams: u32,
    /// Hold them for so many seconds once all are open.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    seconds: u32,
    /// Open a stream again when the agent closes it, as a workload's library does, and say how long each was without.
    #[arg(long)]
    reopen: bool,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    streams: u32,
    ended: End,
    /// Streams that had their first message.
    opened: u64,
    failed: u64,
    errors: Errors,
    open_seconds: f64,
    /// From connecting to the first message.
    first_message: Option<Summary>,
    held_seconds: f64,
    /// Messages after the first, of all streams.
    pushes: u64,
    /// Streams that were closed by the agent while they were held.
    closed: u64,
    /// Where they were opened again.
    #[serde(skip_serializing_if = "Option::is_none")]
    reopened: Option<Reopened>,
    agent_memory: Option<Memory>,
    cpu: Vec<Used>,
}

/// The agent's own resident memory.
#[derive(Serialize)]
struct Memory {
    pid: u32,
    bytes_before: u64,
    bytes_open: u64,
    bytes_held: u64,
    /// When all were open, for each stream.
    bytes_per_stream: Option<f64>,
}

impl Stream {
    pub(super) fn run(self, global: &Global) -> Outcome {
        runtime::client(async move {
            run::make_room(self.streams as usize)?;
            // What this one call fails with is a mistake and no measurement; and what an agent sets up for its first
            // caller is no part of a stream.
            self.target.connect().await?.fetch_x509().await?;
            // Until now, Ctrl-C simply ends the process.
            let interrupt = Interrupt::listen()?;
            let watched = self.target.watch(&global.api).await?;
            let before = watched.agent_memory();
            let started = Instant::now();
            let mut held = self.open(interrupt.token()).await?;
            let open_took = started.elapsed();
            let open = watched.agent_memory();
            let opened = held.first.total();
            held.wait(Duration::from_secs(self.seconds.into()), interrupt.token())
                .await;
            let memory = watched.agent().zip(before).zip(open).zip(watched.agent_memory());
            let report = Report {
                streams: self.streams,
                ended: interrupt.end(),
                opened,
                failed: held.errors.total(),
                open_seconds: millis(open_took) / 1000.0,
                first_message: held.first.summary(),
                held_seconds: millis(started.elapsed().saturating_sub(open_took)) / 1000.0,
                pushes: held.counts.pushes.load(Ordering::Relaxed),
                closed: held.counts.closed.load(Ordering::Relaxed),
                reopened: held.returns.as_ref().map(|returns| returns.report()),
                agent_memory: memory.map(|(((pid, bytes_before), bytes_open), bytes_held)| Memory {
                    pid,
                    bytes_before,
                    bytes_open,
                    bytes_held,
                    bytes_per_stream: (opened > 0)
                        .then(|| tenth((bytes_open as f64 - bytes_before as f64) / opened as f64)),
                }),
                cpu: watched.used(opened),
                errors: core::mem::take(&mut held.errors),
            };
            output::result(global.output, &report, Report::shown)?;
            run::unless_none(opened, &report.errors)
        })
    }

    /// Opens all streams, so many at a time that the agent's queue of connections does not overflow.
    async fn open(&self, stop: &CancellationToken) -> Outcome<Held> {
        let endpoint = self.target.endpoint()?;
        let mut held = Held {
            first: Latencies::new(),
            errors: Errors::default(),
            counts: Arc::default(),
            returns: self.reopen.then(Arc::default),
            streams: JoinSet::new(),
        };
        let counts = Arc::clone(&held.counts);
        let all = self.streams;
        let _progress = Progress::show(move || {
            format!("{} of {all} streams open", counts.opened.load(Ordering::Relaxed))
        });
        let mut opening = JoinSet::new();
        let mut begun = 0;
        loop {
            while begun < self.streams && opening.len() < OPENING_MAX && !stop.is_cancelled() {
                opening.spawn(open_one(endpoint.clone(), held.returns.clone()));
                begun += 1;
            }
            let opened = tokio::select! {
                opened = opening.join_next() => opened,
                () = stop.cancelled() => None,
            };
            match opened {
                Some(Ok(Ok(opened))) => held.take(opened, &endpoint),
                Some(Ok(Err(error))) => held.errors.add(&error),
                // One that panicked has nothing to add; the others go on.
                Some(Err(_)) => {}
                None => return Ok(held),
            }
        }
    }
}

/// Streams that are being opened at one time; below the queue of 128 that a listener has by default.
const OPENING_MAX: usize = 64;
/// A first message that takes longer counts as none.
const FIRST_WITHIN: Duration = Duration::from_secs(30);

/// A stream that has had its first message, with what it lives on.
struct Opened {
    took: Duration,
    client: WorkloadClient,
    stream: X509Stream,
}

/// Opens a stream. Where streams are opened again, one that the agent ends before its first message is too.
async fn open_one(endpoint: Endpoint, returns: Option<Arc<Returns>>) -> Result<Opened, WorkloadError> {
    let started = Instant::now();
    let open = async {
        let opened = reopen::open(&endpoint).await;
        let (client, stream) = match (opened, returns) {
            (Err(error), Some(returns)) => returns.reopen(&endpoint, Err(error)).await,
            (opened, _) => opened?,
        };
        Ok(Opened {
            took: started.elapsed(),
            client,
            stream,
        })
    };
    tokio::time::timeout(FIRST_WITHIN, open)
        .await
        .unwrap_or_else(|_| {
            Err(WorkloadError::Refused {
                code: "no answer",
                message: String::new(),
            })
        })
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    pushes: AtomicU64,
    closed: AtomicU64,
}

/// All open streams.
struct Held {
    first: Latencies,
    errors: Errors,
    counts: Arc<Counts>,
    returns: Option<Arc<Returns>>,
    streams: JoinSet<()>,
}

impl Held {
    fn take(&mut self, opened: Opened, endpoint: &Endpoint) {
        let Opened {
            took,
            mut client,
            mut stream,
        } = opened;
        self.first.add(took);
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        let counts = Arc::clone(&self.counts);
        let again = self.returns.clone().map(|returns| (returns, endpoint.clone()));
        self.streams.spawn(async move {
            loop {
                let ended = loop {
                    match stream.next().await {
                        Ok(Some(_)) => counts.pushes.fetch_add(1, Ordering::Relaxed),
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    };
                };
                counts.closed.fetch_add(1, Ordering::Relaxed);
                let Some((returns, endpoint)) = &again else {
                    drop(client);
                    return;
                };
                (client, stream) = returns.reopen(endpoint, ended).await;
                counts.opened.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Holds them for `time`, or until `stop`.
    async fn wait(&mut self, time: Duration, stop: &CancellationToken) {
        let (counts, started) = (Arc::clone(&self.counts), Instant::now());
        let _progress = Progress::show(move || {
            format!(
                "{} streams held for {} s, {} pushes",
                counts.opened.load(Ordering::Relaxed) - counts.closed.load(Ordering::Relaxed),
                started.elapsed().as_secs(),
                counts.pushes.load(Ordering::Relaxed)
            )
        });
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Report {
    fn shown(&self) -> String {
        let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
        let mut lines = vec![
            (
                "opened".to_owned(),
                format!(
                    "{} of {} streams in {:.3} s",
                    self.opened, self.streams, self.open_seconds
                ),
            ),
            ("first message".to_owned(), Summary::shown(self.first_message)),
            ("errors".to_owned(), self.errors.shown()),
            (
                "held".to_owned(),
                format!(
                    "{:.3} s, {} pushes, {} closed by the agent",
                    self.held_seconds, self.pushes, self.closed
                ),
            ),
        ];
        if let Some(memory) = &self.agent_memory {
            let each = memory
                .bytes_per_stream
                .map(|bytes| format!(", {} a stream", kib(bytes)))
                .unwrap_or_default();
            lines.push((
                "memory of agent".to_owned(),
                format!(
                    "{} before, {} open{each}, {} at the end (pid {})",
                    kib(memory.bytes_before as f64),
                    kib(memory.bytes_open as f64),
                    kib(memory.bytes_held as f64),
                    memory.pid
                ),
            ));
        }
        if let Some(reopened) = &self.reopened {
            lines.push(("opened again".to_owned(), reopened.shown()));
        }
        lines.extend(Used::facts(&self.cpu));
        facts(self.ended, &lines)
    }
}
