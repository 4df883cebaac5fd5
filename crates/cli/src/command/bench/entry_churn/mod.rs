//! `signet bench entry-churn`: how fast entries are taken, and how soon a change reaches a process.

mod bulk;
mod changes;
mod own;

use super::latency::Summary;
use super::made::{Made, Things};
use super::run::{End, Interrupt};
use super::watched::Used;
use super::{Target, facts};
use crate::api::Api;
use crate::args::Global;
use crate::{Outcome, clock, output, runtime};
use bulk::Bulk;
use changes::{Changes, Changing};
use core::time::Duration;
use own::Own;
use serde::Serialize;
use signet_id::SpiffeId;
use signet_workload::WorkloadClient;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// `signet bench entry-churn`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Creates entries below spiffe://TRUST-DOMAIN/bench/ and deletes them at the end, also after Ctrl-C. \
                  Those that are made in bulk match no process; those that change one by one give this program, run by \
                  this user, one identity more, and expire after an hour whatever happens."
)]
pub(crate) struct EntryChurn {
    #[command(flatten)]
    target: Target,
    /// Create so many entries in bulk before.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    entries: u32,
    /// So many of them in one request.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Then create and delete an entry so many times.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    changes: u32,
    /// Let nothing else stay, so that each stream ends when its entry is deleted. For a process that has no identity of
    /// its own.
    #[arg(long)]
    alone: bool,
    /// Do this to a server that is not `signet dev`.
    #[arg(long)]
    yes: bool,
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    /// Where the entries were.
    below: SpiffeId,
    ended: End,
    bulk: Bulk,
    changes: Changes,
    /// How many entries were deleted at the end.
    cleaned: u64,
}

impl EntryChurn {
    pub(super) fn run(self, global: &Global) -> Outcome {
        runtime::client(async move {
            let mut made = Made::new(Arc::new(Api::new(global)?)).await?;
            let most = Things {
                entries: u64::from(self.entries) + 2,
                nodes: 0,
            };
            made.may_begin(self.yes, &global.api, most).await?;
            let client = self.target.connect().await?;
            let interrupt = Interrupt::listen()?;
            let measured = self.measure(global, &client, &mut made, interrupt.token()).await;
            let end = interrupt.end();
            if measured.is_err() {
                made.find().await?;
            }
            let below = made.below().clone();
            let cleaned = made.clean().await;
            let (bulk, changes) = measured?;
            let report = Report {
                below,
                ended: end,
                bulk,
                changes,
                cleaned: cleaned?.entries,
            };
            output::result(global.output, &report, Report::shown)
        })
    }

    async fn measure(
        &self,
        global: &Global,
        client: &WorkloadClient,
        made: &mut Made,
        stop: &CancellationToken,
    ) -> Outcome<(Bulk, Changes)> {
        let watched = self.target.watch(&global.api).await?;
        let mut bulk = bulk::fill(self.entries, self.batch, made, stop).await?;
        bulk.cpu = watched.used(bulk.created.into());
        if self.changes == 0 {
            return Ok((bulk, Changes::default()));
        }
        let own = Own::of_this_process(made.below(), clock::system().now() + LIFE)?;
        let changing = Changing {
            own: &own,
            client,
            made,
            stop,
            times: self.changes,
        };
        let watched = self.target.watch(&global.api).await?;
        let mut changes = if self.alone {
            changing.of_the_last().await?
        } else {
            changing.beside_another().await?
        };
        changes.cpu = watched.used(changes.made);
        Ok((bulk, changes))
    }
}

impl Report {
    fn shown(&self) -> String {
        let bulk = &self.bulk;
        let tenths: Vec<String> = bulk
            .per_second_by_tenth
            .iter()
            .map(|n| format!("{n:.0}"))
            .collect();
        let rate = bulk
            .per_second
            .map(|rate| format!("{rate:.1} a second, for {:.3} s", bulk.seconds))
            .unwrap_or_default();
        let mut lines = vec![
            (
                "created".to_owned(),
                format!(
                    "{} entries below {}, {} in a request",
                    bulk.created, self.below, bulk.per_request
                ),
            ),
            ("rate".to_owned(), rate),
            ("by tenths".to_owned(), tenths.join(" ")),
        ];
        lines.extend(Used::facts(&bulk.cpu));
        let changes = &self.changes;
        lines.extend([
            (
                "changed".to_owned(),
                format!("{} times, created and deleted", changes.made),
            ),
            (
                "created to stream".to_owned(),
                Summary::shown(changes.created_to_stream),
            ),
            (
                "deleted to stream".to_owned(),
                Summary::shown(changes.deleted_to_stream),
            ),
        ]);
        lines.extend(Used::facts(&changes.cpu));
        lines.push(("cleaned".to_owned(), format!("{} entries deleted", self.cleaned)));
        facts(self.ended, &lines)
    }
}

/// For how long the entries hold that entitle somebody.
const LIFE: Duration = Duration::from_secs(3600);
