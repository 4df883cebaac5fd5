//! Entries that nobody needs any more: listed, and deleted in one go.

use crate::api::Api;
use crate::output::{self, Format};
use crate::{Outcome, runtime, style};
use serde::Serialize;
use signet_api::{
    ApplyDelete, ApplyRequest, ENTRIES_MAX, ORPHAN_DAYS_DEFAULT, ORPHAN_DAYS_MAX, OrphanView, OrphansView,
};
use signet_time::Day;

/// Which entries nobody needs.
#[derive(Debug, clap::Args)]
pub(crate) struct Orphans {
    /// Those that nobody needs any more: their end is past, or nothing was signed for them for long.
    #[arg(long)]
    pub(crate) orphaned: bool,
    /// With --orphaned: for how many whole days nothing was signed for them.
    #[arg(long, value_name = "N", requires = "orphaned", default_value_t = ORPHAN_DAYS_DEFAULT,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(ORPHAN_DAYS_MAX)))]
    days: u16,
}

/// What `delete --orphaned` writes.
#[derive(Serialize)]
struct Deleted<'a> {
    dry_run: bool,
    days: u16,
    deleted: &'a [OrphanView],
}

impl Orphans {
    pub(crate) async fn fetch(&self, api: &Api, owner: Option<&str>) -> Outcome<OrphansView> {
        let days = self.days.to_string();
        let mut query = vec![("days", days.as_str())];
        query.extend(owner.map(|owner| ("owner", owner)));
        api.orphaned_entries(&query).await
    }

    /// Deletes them, each only as it was listed.
    pub(crate) fn delete(&self, api: &Api, owner: Option<&str>, dry_run: bool, format: Format) -> Outcome {
        let orphans = runtime::client(async {
            let orphans = self.fetch(api, owner).await?;
            if !dry_run {
                self.remove(api, &orphans.items).await?;
            }
            Ok(orphans)
        })?;
        let deleted = Deleted {
            dry_run,
            days: self.days,
            deleted: &orphans.items,
        };
        output::result(format, &deleted, |_| told(&orphans, dry_run))
    }

    /// Deletes `orphans`, as many at a time as one commit takes: all of those or none.
    async fn remove(&self, api: &Api, orphans: &[OrphanView]) -> Outcome {
        for some in orphans.chunks(ENTRIES_MAX) {
            let delete = some.iter().map(|orphan| ApplyDelete {
                id: orphan.entry.id.clone().unwrap_or_default(),
                seq: orphan.seq,
                // What is used since it was listed stays.
                orphaned_days: Some(self.days),
            });
            let wish = ApplyRequest {
                delete: delete.collect(),
                ..ApplyRequest::default()
            };
            let applied = api.apply_entries(&wish).await;
            applied.map_err(|refused| match refused.code.as_str() {
                CHANGED | NEEDED => refused.next("run the command again: it looks at what there is now"),
                _ => refused,
            })?;
        }
        Ok(())
    }
}

/// What the server says when somebody changed one of them meanwhile.
const CHANGED: &str = "SGRG021";
/// What it says when one of them was used meanwhile.
const NEEDED: &str = "SGRG025";

fn told(orphans: &OrphansView, dry_run: bool) -> String {
    let done = if dry_run { "to delete" } else { "deleted" };
    let count = format!("{} {done}", orphans.items.len());
    if orphans.items.is_empty() {
        return [count, watched(orphans)].join("; ");
    }
    format!("{}\n{count}", table(&orphans.items))
}

/// The list, for people.
pub(crate) fn overview(orphans: &OrphansView) -> String {
    if orphans.items.is_empty() {
        return format!("no entry is orphaned; {}", watched(orphans));
    }
    table(&orphans.items)
}

/// Why there may be none yet.
fn watched(orphans: &OrphansView) -> String {
    let since = orphans.watched_since.as_ref();
    let since = since.map_or_else(
        || "are not known yet".to_owned(),
        |day| format!("are known since {day}"),
    );
    format!(
        "uses {since}, an entry has to be without for {} days",
        orphans.days
    )
}

fn table(items: &[OrphanView]) -> String {
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|orphan| {
            vec![
                orphan.entry.id.clone().unwrap_or_default(),
                orphan.entry.spiffe_id.to_string(),
                why(orphan),
                orphan
                    .last_used
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), Day::to_string),
                orphan.entry.owner.clone().unwrap_or_default(),
            ]
        })
        .collect();
    style::table(&["ID", "SPIFFE ID", "WHY", "LAST USED", "OWNER"], &rows)
}

fn why(orphan: &OrphanView) -> String {
    let since = &orphan.since;
    match orphan.why.as_str() {
        "expired" => format!("expired on {since}"),
        "node_banned" => "its node is banned".to_owned(),
        "node_unknown" => "no node of its parent's name".to_owned(),
        "never_used" => format!("never used since {since}"),
        "unused" => format!("not used since {since}"),
        // Of a later server.
        other => other.to_owned(),
    }
}
