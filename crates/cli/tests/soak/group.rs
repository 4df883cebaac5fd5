//! Processes that hold streams, and the identities that come and go for them.

use super::admin::Admin;
use super::clients::{Report, SAYS, SHOWN, VARIABLE, Wanted};
use super::{Counts, WITHIN};
use core::time::Duration;
use signet_api::EntryDoc;
use signet_id::{Selector, SpiffeId};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

/// What ends a stream whose caller has no identity any more (Workload API §5.2.1).
pub(super) const DENIED: &str = "PermissionDenied";
/// What is answered where nothing can be had for the moment (Workload Endpoint §6).
pub(super) const UNAVAILABLE: &str = "Unavailable";

/// Between two processes that are given something.
const PAUSE: Duration = Duration::from_millis(100);

/// Of certificates and tokens: they are renewed at half of it.
const TTL: Duration = Duration::from_secs(120);

pub(super) fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://fleet.test{path}")).unwrap()
}

/// Gives and takes, process by process, until `stop`.
pub(super) async fn toggle(
    mut groups: Vec<Group>,
    counts: Arc<Counts>,
    stop: CancellationToken,
) -> Vec<Group> {
    loop {
        for group in &mut groups {
            if stop.is_cancelled() {
                return groups;
            }
            group.give_and_take().await;
            counts.toggles.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// An entry for the processes that run `program`.
fn entry(number: usize, name: &str, program: &Path) -> EntryDoc {
    let selector = Selector::parse(&format!("unix:path:{}", program.display())).unwrap();
    let mut doc = EntryDoc::new(id(&format!("/group-{number}/{name}")), vec![selector]);
    doc.x509_ttl = Some(TTL);
    doc.jwt_ttl = Some(TTL);
    doc
}

/// One process with its streams.
pub(super) struct Group {
    number: usize,
    program: PathBuf,
    admin: Admin,
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
    base: EntryDoc,
    given: usize,
    // The program that it runs.
    _place: tempfile::TempDir,
}

impl Group {
    /// Starts a process that is entitled to one identity, and waits until all its streams show it.
    pub(super) async fn start(number: usize, streams: usize, socket: PathBuf, admin: &Admin) -> Self {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let program = place.path().join(format!("group-{number}"));
        let this = std::env::current_exe().unwrap();
        std::fs::hard_link(&this, &program).unwrap();
        let path = program.canonicalize().unwrap();
        let prefix = format!("spiffe://fleet.test/group-{number}/");
        let base = admin.create(&entry(number, "base", &path)).await;
        let wanted = Wanted {
            socket,
            streams,
            prefix,
        };
        let mut process = Command::new(&path)
            .args(["--ignored", "--exact", "clients::clients", "--nocapture"])
            .env(VARIABLE, serde_json::to_string(&wanted).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = process.stdin.take().unwrap();
        let mut group = Self {
            number,
            program: path,
            admin: admin.clone(),
            process,
            says,
            told,
            base,
            given: 0,
            _place: place,
        };
        group.show_base(&[]).await;
        group
    }

    /// Whether this is the process that is left without any identity at times.
    fn is_bereft_at_times(&self) -> bool {
        self.number == 0
    }

    /// The statuses that this process may be told.
    pub(super) fn allowed(&self) -> &'static [&'static str] {
        if self.is_bereft_at_times() {
            &[UNAVAILABLE, DENIED]
        } else {
            &[UNAVAILABLE]
        }
    }

    /// Has all streams show another identity, and then see it go; or see all of them go, and another one come.
    pub(super) async fn give_and_take(&mut self) {
        self.given += 1;
        let new = entry(self.number, &format!("given-{}", self.given), &self.program);
        if self.is_bereft_at_times() {
            self.admin.delete(&self.base).await;
            self.show(&[]).await;
            self.base = self.admin.create(&new).await;
        } else {
            let new = self.admin.create(&new).await;
            self.show_base(&[new.spiffe_id.to_string()]).await;
            self.admin.delete(&new).await;
        }
        self.show_base(&[]).await;
    }

    async fn show_base(&mut self, more: &[String]) {
        let base = self.base.spiffe_id.to_string();
        self.show(&[&[base], more].concat()).await;
    }

    /// Waits until all streams show exactly these identities.
    async fn show(&mut self, ids: &[String]) {
        self.told
            .write_all((ids.join(" ") + "\n").as_bytes())
            .await
            .unwrap();
        let shown = tokio::time::timeout(WITHIN, self.hear()).await;
        let shown =
            shown.unwrap_or_else(|_| panic!("the streams of process {} do not show {ids:?}", self.number));
        assert_eq!(shown, SHOWN);
    }

    async fn hear(&mut self) -> String {
        while let Some(line) = self.says.next_line().await.unwrap() {
            if let Some(said) = line.strip_prefix(SAYS) {
                return said.to_owned();
            }
        }
        panic!("process {} has ended", self.number);
    }

    /// Ends the process, and gives what it has seen.
    pub(super) async fn end(self) -> Report {
        let Self {
            mut process,
            mut says,
            told,
            number,
            ..
        } = self;
        drop(told);
        let mut report = None;
        while let Some(line) = says.next_line().await.unwrap() {
            report = line.strip_prefix(SAYS).map(str::to_owned).or(report);
        }
        assert!(
            process.wait().await.unwrap().success(),
            "process {number} has failed"
        );
        serde_json::from_str(&report.expect("a report")).unwrap()
    }
}
