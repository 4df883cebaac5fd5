use crate::api::{Api, Refused};
use crate::command::entry::warn_of;
use crate::error::ENTRY_FILE;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::output::Format;
use crate::{Outcome, output, runtime};
use serde::Serialize;
use signet_api::{EntriesApplied, EntryDoc, EntryFault, EntryPlanView, MemberChange, Problem};
use signet_id::{IdPattern, Selector};
use std::path::{Path, PathBuf};

/// `signet entry apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// The folder: every *.jsonl in it, with one JSON document a line as for `entry create --file`.
    #[arg(long, value_name = "DIR")]
    file: PathBuf,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also delete every entry of the server that the folder does not have, whoever made it.
    #[arg(long)]
    prune: bool,
}

/// What came of it, as JSON.
#[derive(Serialize)]
struct Report {
    /// Whether only the plan was wanted.
    dry_run: bool,
    /// Whether entries that the folder does not have were to go.
    prune: bool,
    /// How many entries are, or would be, created, updated and deleted.
    changes: usize,
    create: Vec<Create>,
    update: Vec<Update>,
    unchanged: Vec<Unchanged>,
    delete: Vec<EntryDoc>,
    /// How many entries the folder does not have.
    unlisted: usize,
}

#[derive(Serialize)]
struct Create {
    file: String,
    line: usize,
    entry: EntryDoc,
}

#[derive(Serialize)]
struct Update {
    file: String,
    line: usize,
    entry: EntryDoc,
    changes: Vec<MemberChange>,
}

#[derive(Serialize)]
struct Unchanged {
    file: String,
    line: usize,
    id: String,
    spiffe_id: IdPattern,
}

impl Apply {
    pub(crate) fn run(self, api: &Api, format: Format) -> Outcome {
        let folder = Folder::read(&self.file)?;
        let plan = self.plan(api, &folder)?;
        let mut report = self.report(&folder, &plan);
        if !self.dry_run && !plan.is_empty() {
            let applied = runtime::client(api.apply_entries(&plan.request())).map_err(again)?;
            report.fill(applied);
        }
        let new = report.create.iter().map(|create| &create.entry);
        warn_of(new.chain(report.update.iter().map(|update| &update.entry)), api);
        output::result(format, &report, |report| report.text(&self.file))
    }

    /// The plan; or everything that is wrong in any file.
    fn plan(&self, api: &Api, folder: &Folder) -> Outcome<EntryPlanView> {
        let mut faults = folder.faults.clone();
        if folder.is_empty() {
            if faults.is_empty() {
                faults.push("there is no entry in any *.jsonl".to_owned());
            }
            return Err(self.mistakes(faults));
        }
        // Asked even where something cannot be read, so that all mistakes are told at once.
        let lines = folder.text.clone().into_bytes();
        match runtime::client(async { Ok(api.plan_entries(lines, self.prune).await) })? {
            Ok(plan) if faults.is_empty() => Ok(plan),
            Err(Refused::Problem(problem)) if FAULTY_LINES.contains(&problem.code.as_str()) => {
                faults.extend(placed(folder, &problem));
                Err(self.mistakes(faults))
            }
            Err(refused) if faults.is_empty() => Err(refused.into()),
            _ => Err(self.mistakes(faults)),
        }
    }

    fn mistakes(&self, items: Vec<String>) -> Failure {
        Failure {
            code: ENTRY_FILE.to_owned(),
            what: match items.len() {
                1 => format!("`{}`", self.file.display()),
                count => format!("`{}` has {count} mistakes", self.file.display()),
            },
            items,
            next: "correct them and run the command again; nothing was applied".to_owned(),
            is_usage: false,
        }
    }

    fn report(&self, folder: &Folder, plan: &EntryPlanView) -> Report {
        let place = |line: usize| {
            let (file, line) = folder.place(line);
            (file.to_owned(), line)
        };
        let create = plan.create.iter().map(|planned| {
            let (file, line) = place(planned.line);
            let entry = planned.entry.clone();
            Create { file, line, entry }
        });
        let update = plan.update.iter().map(|planned| {
            let (file, line) = place(planned.line);
            Update {
                file,
                line,
                entry: planned.entry.clone(),
                changes: planned.changes.clone(),
            }
        });
        let unchanged = plan.unchanged.iter().map(|planned| {
            let (file, line) = place(planned.line);
            Unchanged {
                file,
                line,
                id: planned.id.clone(),
                spiffe_id: planned.spiffe_id.clone(),
            }
        });
        Report {
            dry_run: self.dry_run,
            prune: self.prune,
            changes: plan.changes(),
            create: create.collect(),
            update: update.collect(),
            unchanged: unchanged.collect(),
            delete: plan.delete.iter().map(|planned| planned.entry.clone()).collect(),
            unlisted: plan.unlisted,
        }
    }
}

/// What the server says of lists that it cannot read and of entries that it does not take.
const FAULTY_LINES: [&str; 2] = ["SGAD010", "SGAD011"];

/// The faults of `problem`, each with its file and its line in there.
fn placed(folder: &Folder, problem: &Problem) -> Vec<String> {
    if problem.errors.is_empty() {
        return vec![problem.detail.clone()];
    }
    let each = problem.errors.iter().map(|item| {
        let (file, line) = folder.place(item.fault.line);
        let mut fault = EntryFault {
            line,
            ..item.fault.clone()
        };
        if let Some(first) = fault.same_as {
            let (other, at) = folder.place(first);
            fault.message =
                format!("says the same as `{other}` line {at}: same identity, parent and selectors");
        }
        format!("`{file}` {fault}")
    });
    each.collect()
}

/// Somebody was faster: to plan anew is to run the command again.
fn again(mut refused: Failure) -> Failure {
    if refused.code == EXISTS {
        // The server counts the changes it was sent, and those are no lines of a file.
        refused.what =
            "somebody created an entry of the folder since the plan was made, nothing was applied".to_owned();
    }
    if FASTER.contains(&refused.code.as_str()) {
        return refused.next("run the command again: it plans with what there is now");
    }
    refused
}

/// What the server says when somebody made the same entry.
const EXISTS: &str = "SGRG004";

/// What it says when somebody changed, made or is making the same entries: outdated, exists, changed, contended.
const FASTER: [&str; 4] = ["SGRG021", EXISTS, "SGRG007", "SGRG015"];

impl Report {
    /// Puts in what the server made of the plan: new entries have ids by now.
    fn fill(&mut self, applied: EntriesApplied) {
        for (create, entry) in self.create.iter_mut().zip(applied.created) {
            create.entry = entry;
        }
        for (update, entry) in self.update.iter_mut().zip(applied.updated) {
            update.entry = entry;
        }
    }

    fn text(&self, dir: &Path) -> String {
        let mut lines = Vec::new();
        for Create { file, line, entry } in &self.create {
            lines.push(format!("create  {}  ({file} line {line})", said(entry)));
        }
        for update in &self.update {
            let Update {
                file, line, entry, ..
            } = update;
            lines.push(format!("update  {}  ({file} line {line})", said(entry)));
            let changes = update.changes.iter();
            lines.extend(changes.map(|c| format!("        {}: {} -> {}", c.field, c.from, c.to)));
        }
        lines.extend(self.delete.iter().map(|entry| format!("delete  {}", said(entry))));
        let [create, update, delete] = match self.dry_run {
            true => ["to create", "to update", "to delete"],
            false => ["created", "updated", "deleted"],
        };
        lines.push(format!(
            "{} {create}, {} {update}, {} {delete}, {} unchanged",
            self.create.len(),
            self.update.len(),
            self.delete.len(),
            self.unchanged.len()
        ));
        if self.unlisted > 0 && !self.prune {
            let (is, them) = match self.unlisted {
                1 => ("1 entry is".to_owned(), "it"),
                count => (format!("{count} entries are"), "them"),
            };
            lines.push(format!(
                "{is} not in `{}`; --prune would delete {them}",
                dir.display()
            ));
        }
        lines.join("\n")
    }
}

/// What an entry is told apart by.
fn said(entry: &EntryDoc) -> String {
    let selectors: Vec<&str> = entry.selectors.iter().map(Selector::as_str).collect();
    let on = entry.parent_id.as_ref().map(|id| format!(" on {id}"));
    format!(
        "{} {}{}",
        entry.spiffe_id,
        selectors.join(" "),
        on.unwrap_or_default()
    )
}
