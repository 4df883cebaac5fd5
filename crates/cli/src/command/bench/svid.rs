//! `signet bench svid`: fetches, one after the other, by many callers.

use super::latency::{Latencies, Summary, tenth};
use super::run::{self, End, Errors, Interrupt, Progress};
use super::watched::Used;
use super::{Target, facts};
use crate::args::Global;
use crate::{Outcome, output, runtime};
use core::time::Duration;
use serde::Serialize;
use signet_workload::{WorkloadClient, WorkloadError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// `signet bench svid`.
#[derive(Debug, clap::Args)]
pub(crate) struct Svid {
    #[command(flatten)]
    target: Target,
    /// What is fetched: certificates by a new stream each time, or a token for a new audience each time.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// So many calls at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    callers: u16,
    /// Share so many connections. Without, each caller has its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Option<u16>,
    /// Call for so many seconds.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        conflicts_with = "count"
    )]
    seconds: u32,
    /// Make so many calls in all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// X.509-SVIDs.
    #[default]
    X509,
    /// JWT-SVIDs.
    Jwt,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    kind: Kind,
    callers: u16,
    connections: u16,
    ended: End,
    seconds: f64,
    succeeded: u64,
    failed: u64,
    errors: Errors,
    per_second: f64,
    latency: Option<Summary>,
    cpu: Vec<Used>,
}

impl Svid {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let connections = self.connections.unwrap_or(self.callers).min(self.callers);
        runtime::client(async move {
            run::make_room(connections.into())?;
            let clients = self.connect(connections).await?;
            // Until now, Ctrl-C simply ends the process.
            let interrupt = Interrupt::listen()?;
            let watched = self.target.watch(&global.api).await?;
            let work = Arc::new(Work {
                kind: self.kind,
                left: AtomicU64::new(self.count.unwrap_or(u64::MAX)),
                done: AtomicU64::new(0),
                run: std::process::id(),
            });
            let started = Instant::now();
            let measured = self.load(&clients, &work, interrupt.token()).await;
            let took = started.elapsed();
            let succeeded = measured.latencies.total();
            let failed = measured.errors.total();
            let report = Report {
                kind: self.kind,
                callers: self.callers,
                connections,
                ended: interrupt.end(),
                seconds: super::latency::millis(took) / 1000.0,
                succeeded,
                failed,
                errors: measured.errors,
                per_second: tenth(succeeded as f64 / took.as_secs_f64()),
                latency: measured.latencies.summary(),
                cpu: watched.used(succeeded + failed),
            };
            output::result(global.output, &report, Report::shown)?;
            run::unless_none(report.succeeded, &report.errors)
        })
    }

    /// Opens the connections, and tries one call on each: what fails now is a mistake and no measurement.
    async fn connect(&self, connections: u16) -> Outcome<Vec<WorkloadClient>> {
        let mut clients = Vec::with_capacity(connections.into());
        for n in 0..connections {
            let client = self.target.connect().await?;
            match self.kind {
                Kind::X509 => drop(client.fetch_x509().await?),
                Kind::Jwt => drop(client.fetch_jwt(&[format!("bench-first-{n}")], None).await?),
            }
            clients.push(client);
        }
        Ok(clients)
    }

    async fn load(&self, clients: &[WorkloadClient], work: &Arc<Work>, stop: &CancellationToken) -> Measured {
        let progress = {
            let work = Arc::clone(work);
            Progress::show(move || format!("{} calls", work.done.load(Ordering::Relaxed)))
        };
        let until = stop.child_token();
        let mut callers = JoinSet::new();
        for client in clients.iter().cycle().take(self.callers.into()) {
            callers.spawn(Arc::clone(work).call(client.clone(), until.clone(), stop.clone()));
        }
        let mut measured = Measured {
            latencies: Latencies::new(),
            errors: Errors::default(),
        };
        let timer = async {
            match self.count {
                Some(_) => core::future::pending().await,
                None => tokio::time::sleep(Duration::from_secs(self.seconds.into())).await,
            }
        };
        tokio::pin!(timer);
        loop {
            tokio::select! {
                () = &mut timer, if !until.is_cancelled() => until.cancel(),
                caller = callers.join_next() => match caller {
                    Some(Ok(caller)) => measured.merge(&caller),
                    // A caller that panicked has nothing to add; the others go on.
                    Some(Err(_)) => {}
                    None => break,
                },
            }
        }
        drop(progress);
        measured
    }
}

/// What the callers share.
struct Work {
    kind: Kind,
    /// Calls that nobody has begun.
    left: AtomicU64,
    done: AtomicU64,
    /// Keeps this run's audiences apart from another's.
    run: u32,
}

impl Work {
    /// Calls until there is nothing left or `until` is cancelled. A call that has begun is waited for, unless by `stop`
    /// nobody waits any more.
    async fn call(
        self: Arc<Self>,
        client: WorkloadClient,
        until: CancellationToken,
        stop: CancellationToken,
    ) -> Measured {
        let mut measured = Measured {
            latencies: Latencies::new(),
            errors: Errors::default(),
        };
        while !until.is_cancelled() {
            let Some(n) = self.next() else { break };
            let started = Instant::now();
            let answer = tokio::time::timeout(CALL_WITHIN, self.fetch(&client, n));
            let Some(answer) = stop.run_until_cancelled(answer).await else {
                break;
            };
            let outcome = match answer {
                Ok(outcome) => outcome,
                Err(_) => Err(WorkloadError::Refused {
                    code: "no answer",
                    message: String::new(),
                }),
            };
            match outcome {
                Ok(()) => measured.latencies.add(started.elapsed()),
                Err(error) => {
                    measured.errors.add(&error);
                    // One that is refused at once must not turn into a loop that starves the others.
                    tokio::task::yield_now().await;
                }
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        measured
    }

    /// The number of the next call.
    fn next(&self) -> Option<u64> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .ok()
    }

    async fn fetch(&self, client: &WorkloadClient, n: u64) -> Result<(), WorkloadError> {
        match self.kind {
            Kind::X509 => client.fetch_x509().await.map(drop),
            Kind::Jwt => {
                let audience = format!("bench-{}-{n}", self.run);
                client.fetch_jwt(&[audience], None).await.map(drop)
            }
        }
    }
}

/// A call that takes longer counts as one without an answer.
const CALL_WITHIN: Duration = Duration::from_secs(30);

struct Measured {
    latencies: Latencies,
    errors: Errors,
}

impl Measured {
    fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.errors.merge(&other.errors);
    }
}

impl Report {
    fn shown(&self) -> String {
        let what = match self.kind {
            Kind::X509 => "X.509-SVIDs, a new stream each",
            Kind::Jwt => "JWT-SVIDs, a new audience each",
        };
        let mut lines = vec![
            ("fetched".to_owned(), format!("{} {what}", self.succeeded)),
            (
                "callers".to_owned(),
                format!("{} on {} connections", self.callers, self.connections),
            ),
            (
                "rate".to_owned(),
                format!("{:.1} a second, for {:.3} s", self.per_second, self.seconds),
            ),
            ("latency".to_owned(), Summary::shown(self.latency)),
            ("errors".to_owned(), self.errors.shown()),
        ];
        lines.extend(Used::facts(&self.cpu));
        facts(self.ended, &lines)
    }
}
