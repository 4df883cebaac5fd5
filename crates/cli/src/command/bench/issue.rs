//! `signet bench issue`: certificates that a server signs, in batches, as one busy node asks for them.

use super::facts;
use super::fleet::{Node, Trouble, in_time};
use super::latency::{Latencies, Summary, millis, tenth};
use super::made::{Made, Things, nobody, spiffe_id};
use super::run::{self, End, Errors, Interrupt, Progress};
use super::watched::{ServerPid, Used};
use crate::api::Api;
use crate::args::Global;
use crate::error::CliError;
use crate::{Outcome, clock, output, runtime};
use core::time::Duration;
use serde::Serialize;
use signet_api::{JoinString, JoinTokenRequest};
use signet_crypto::{KeyKind, LocalKey};
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::issue_answer::Outcome as Answered;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::{IssueItem, IssueRequest, X509Wish};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// `signet bench issue`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Joins as a node and creates --batch entries for it, below spiffe://TRUST-DOMAIN/bench/, and takes all of \
                  it away at the end. Each signing request is made once and sent again and again: what is measured is the \
                  server, which checks, signs and records each anew."
)]
pub(crate) struct Issue {
    /// Certificates in one call.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// So many calls at once, on one connection.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    callers: u16,
    /// So many certificates in all; the last call may go beyond it.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Where the server listens for agents. Without, where its join strings lead.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    #[command(flatten)]
    pid: ServerPid,
    /// Do this to a server that is not `signet dev`.
    #[arg(long)]
    yes: bool,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    batch: u16,
    callers: u16,
    ended: End,
    seconds: f64,
    issued: u64,
    failed: u64,
    errors: Errors,
    per_second: f64,
    /// Of calls, each for a whole batch.
    latency: Option<Summary>,
    /// For each certificate.
    cpu: Vec<Used>,
}

impl Issue {
    pub(super) fn run(self, global: &Global) -> Outcome {
        runtime::client(async move {
            let mut made = Made::new(Arc::new(Api::new(global)?)).await?;
            let most = Things {
                entries: self.batch.into(),
                nodes: 1,
            };
            made.may_begin(self.yes, &global.api, most).await?;
            let interrupt = Interrupt::listen()?;
            let measured = self.measure(global, &mut made, interrupt.token()).await;
            if measured.is_err() {
                made.find().await?;
            }
            let cleaned = made.clean().await;
            let report = Report {
                ended: interrupt.end(),
                ..measured?
            };
            cleaned?;
            output::result(global.output, &report, Report::shown)?;
            run::unless_none(report.issued, &report.errors)
        })
    }

    async fn measure(&self, global: &Global, made: &mut Made, stop: &CancellationToken) -> Outcome<Report> {
        let (channel, request) = self.join(made).await?;
        let work = Arc::new(Work {
            channel,
            request,
            left: AtomicU64::new(self.count.div_ceil(self.batch.into())),
            done: AtomicU64::new(0),
        });
        // The connection is opened by the first call, which is no part of what is measured.
        work.call().await.map_err(failed)?;
        let watched = self.pid.watch(&global.api).await?;
        let _progress = {
            let work = Arc::clone(&work);
            Progress::show(move || format!("{} certificates", work.done.load(Ordering::Relaxed)))
        };
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            callers.spawn(Arc::clone(&work).calls(stop.clone()));
        }
        let mut all = Measured::default();
        while let Some(caller) = callers.join_next().await {
            // A caller that panicked has nothing to add; the others go on.
            if let Ok(caller) = caller {
                all.merge(&caller);
            }
        }
        let took = started.elapsed();
        Ok(Report {
            batch: self.batch,
            callers: self.callers,
            ended: End::Done,
            seconds: millis(took) / 1000.0,
            issued: all.issued,
            failed: all.errors.total(),
            per_second: tenth(all.issued as f64 / took.as_secs_f64().max(1e-9)),
            latency: all.latencies.summary(),
            cpu: watched.used(all.issued),
            errors: all.errors,
        })
    }

    /// Joins, and makes the call that is made again and again.
    async fn join(&self, made: &mut Made) -> Outcome<(Channel, IssueRequest)> {
        let clock = clock::system();
        let id = spiffe_id(&format!("{}/node/0", made.below()))?;
        let below = made.below().clone();
        let entries = (0..self.batch).map(|n| {
            let mut entry = nobody(&below, &format!("workload/{n}"))?;
            entry.parent_id = Some(id.clone());
            entry.expires_at = Some(clock.now() + LIFE);
            Ok(entry)
        });
        let entry_ids = made.create_all(entries.collect::<Outcome<Vec<_>>>()?).await?;
        made.expect_node(id.clone());
        let wish = JoinTokenRequest {
            ttl: None,
            spiffe_id: Some(id),
        };
        let reply = made.api().create_join_token(&wish).await?;
        let join = JoinString::parse(&reply.join).map_err(unreadable)?;
        let server = self.server.clone().or_else(|| join.servers.first().cloned());
        let server = server.unwrap_or_default();
        let node = Node::join(&join, &server, &clock).await.map_err(failed)?;
        let channel = node.channel(&server, &clock).map_err(failed)?;
        let mut items = Vec::with_capacity(self.batch.into());
        for entry_id in entry_ids {
            let entry_id = u128::from_str_radix(&entry_id, 16).map_err(unreadable)?;
            let key = LocalKey::generate(KeyKind::P256)?;
            let csr = signet_x509::make_csr(&key, None, &[])?;
            items.push(IssueItem {
                entry_id: entry_id.to_be_bytes().to_vec().into(),
                wish: Some(Wish::X509(X509Wish { csr: csr.into() })),
                ..IssueItem::default()
            });
        }
        Ok((channel, IssueRequest { items }))
    }
}

/// What the callers share.
struct Work {
    channel: Channel,
    request: IssueRequest,
    /// Calls that nobody has begun.
    left: AtomicU64,
    done: AtomicU64,
}

impl Work {
    async fn calls(self: Arc<Self>, stop: CancellationToken) -> Measured {
        let mut measured = Measured::default();
        let begin = || {
            let left = &self.left;
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        };
        while begin().is_ok() {
            let started = Instant::now();
            let Some(answer) = stop.run_until_cancelled(self.call()).await else {
                break;
            };
            match answer {
                Ok((issued, refused)) => {
                    measured.latencies.add(started.elapsed());
                    measured.issued += issued;
                    measured.errors.merge(&refused);
                    self.done.fetch_add(issued, Ordering::Relaxed);
                }
                Err(trouble) => measured.errors.count(trouble.name),
            }
        }
        measured
    }

    /// One call: how many were signed, and why the others were not.
    async fn call(&self) -> Result<(u64, Errors), Trouble> {
        let mut client = AgentClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let response = in_time(client.issue(self.request.clone())).await?;
        let (mut issued, mut errors) = (0, Errors::default());
        for answer in response.answers {
            match answer.outcome {
                Some(Answered::X509(_)) => issued += 1,
                Some(Answered::Refusal(refusal)) => errors.count(Trouble::refusal(&refusal.code, true).name),
                _ => errors.count("an answer to no wish"),
            }
        }
        Ok((issued, errors))
    }
}

/// What one caller saw.
#[derive(Default)]
struct Measured {
    latencies: Latencies,
    issued: u64,
    errors: Errors,
}

impl Measured {
    fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.issued += other.issued;
        self.errors.merge(&other.errors);
    }
}

/// What fails before anything is measured is a mistake and no measurement.
fn failed(trouble: Trouble) -> CliError {
    CliError::NoneSucceeded { errors: trouble.name }
}

fn unreadable(error: impl core::fmt::Display) -> CliError {
    CliError::Answer {
        server: "the server".to_owned(),
        why: error.to_string(),
    }
}

impl Report {
    fn shown(&self) -> String {
        let mut lines = vec![
            (
                "issued".to_owned(),
                format!(
                    "{} X.509-SVIDs, {} in a call, {} calls at once",
                    self.issued, self.batch, self.callers
                ),
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

/// When the entries expire, should nobody come to delete them.
const LIFE: Duration = Duration::from_secs(3600);
/// 256 answers, each a chain of a few kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
