//! The registry at scale: memory per entry, creating in bulk, restarting. Prints a table and judges nothing.
//!
//! `signet-bench-spine DIR [ROUNDS]` makes its databases in DIR, each measured in a process of its own, so that no
//! figure carries what an earlier one left behind.

use signet_id::{Selector, TrustDomain};
use signet_registry::{NewEntry, Registry, limits};
use signet_store::follow::{Followed, Guard};
use signet_store::{ChangeLog, Origin};
use signet_store_sqlite::SqliteLog;
use signet_time::UnixTime;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// When the entries are created. The clock of the machine is of no interest here.
const NOW: UnixTime = UnixTime::from_millis(1_800_000_000_000);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["fill", dir, entries] => entries
            .parse()
            .map_err(Into::into)
            .and_then(|n| fill(Path::new(dir), n)),
        ["open", dir] => open(Path::new(dir)),
        [dir] => table(Path::new(dir), 1),
        [dir, rounds] => rounds
            .parse()
            .map_err(Into::into)
            .and_then(|n| table(Path::new(dir), n)),
        _ => Err("usage: signet-bench-spine DIR [ROUNDS]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signet-bench-spine: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What one process measured, by name.
type Figures = Vec<(String, f64)>;

/// Runs every measurement `rounds` times, and prints the medians.
fn table(dir: &Path, rounds: usize) -> Outcome {
    let sizes = [100_000_u32, 500_000, 1_000_000];
    let mut columns = vec![Vec::new(); sizes.len()];
    for _ in 0..rounds {
        // Interleaved, so that a busy moment of the machine does not hit one size alone.
        for (column, entries) in columns.iter_mut().zip(sizes) {
            let place = Scratch::make(dir.join(format!("spine-{entries}")))?;
            let mut figures = child(&["fill", place.text()?, &entries.to_string()])?;
            figures.extend(child(&["open", place.text()?])?);
            column.push(figures);
        }
    }
    println!("| {rounds} rounds: median (min to max) | 100,000 entries | 500,000 | 1,000,000 |");
    println!("|---|---|---|---|");
    let names = columns
        .first()
        .and_then(|column| column.first())
        .into_iter()
        .flatten();
    for (row, (name, _)) in names.enumerate() {
        let cells: Vec<_> = columns.iter().map(|column| cell(column, row)).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}

fn cell(column: &[Figures], row: usize) -> String {
    let mut all: Vec<f64> = column
        .iter()
        .filter_map(|f| f.get(row))
        .map(|(_, figure)| *figure)
        .collect();
    all.sort_by(f64::total_cmp);
    let at = |n: usize| all.get(n).copied().unwrap_or(f64::NAN);
    let (least, middle, most) = (at(0), at(all.len() / 2), at(all.len().saturating_sub(1)));
    format!("{middle:.1} ({least:.1} to {most:.1})")
}

/// Runs this program once more, and reads its `NAME: FIGURE` lines.
fn child(args: &[&str]) -> Outcome<Figures> {
    let output = Command::new(std::env::current_exe()?).args(args).output()?;
    if !output.status.success() {
        return Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = |line: &str| {
        let (name, figure) = line.rsplit_once(": ").ok_or("no figure")?;
        Ok((name.to_owned(), figure.parse()?))
    };
    text.lines().map(line).collect()
}

/// Creates `entries` entries, as many in one commit as one takes: what `entry create --file` asks of the registry.
fn fill(dir: &Path, entries: u32) -> Outcome {
    let runtime = runtime()?;
    runtime.block_on(async {
        let base = rss()?;
        let log: Arc<dyn ChangeLog> = Arc::new(SqliteLog::open(&database(dir))?);
        let registry = Registry::open(log, domain()?).await?;
        let (mut spent, mut cpu) = (Duration::ZERO, Duration::ZERO);
        let (mut first, mut last) = (None, Duration::ZERO);
        let numbers: Vec<u32> = (0..entries).collect();
        for numbers in numbers.chunks(limits::ENTRIES_PER_COMMIT_MAX) {
            let drafts: Vec<_> = numbers.iter().map(|n| draft(*n)).collect();
            let (begin, cpu_before) = (Instant::now(), cpu_time()?);
            registry
                .create(&drafts, Origin::new("bench", "bench", NOW))
                .await?;
            last = begin.elapsed();
            spent += last;
            cpu += cpu_time()?.saturating_sub(cpu_before);
            first.get_or_insert(last);
        }
        let per = f64::from(entries);
        println!("created, entries/s: {}", per / spent.as_secs_f64());
        println!("CPU for each created, µs: {}", cpu.as_secs_f64() * 1e6 / per);
        println!(
            "last commit took so many times the first: {}",
            last.as_secs_f64() / first.unwrap_or(last).as_secs_f64()
        );
        println!(
            "memory after creating (RSS with SQLite's page cache), bytes/entry: {}",
            grown(base)? / per
        );
        Ok(())
    })
}

/// Opens what [`fill`] left, as a server that starts does: store, registry, and the guard over all kinds.
fn open(dir: &Path) -> Outcome {
    let runtime = runtime()?;
    runtime.block_on(async {
        let (base, begin, cpu) = (rss()?, Instant::now(), cpu_time()?);
        let log: Arc<dyn ChangeLog> = Arc::new(SqliteLog::open(&database(dir))?);
        let (store, opened) = (grown(base)?, begin.elapsed());
        let registry = Registry::open(Arc::clone(&log), domain()?).await?;
        let state = grown(base)? - store;
        let guard = || Guard::new(&[signet_registry::KINDS]);
        let _guard = Followed::open(log, guard).await?;
        let (spent, cpu) = (begin.elapsed(), cpu_time()?.saturating_sub(cpu));
        let per = registry.read(|state| u32::try_from(state.entry_count()).map(f64::from))?;
        println!("restart, ms: {}", spent.as_secs_f64() * 1e3);
        println!("of that opening the store, ms: {}", opened.as_secs_f64() * 1e3);
        println!("CPU of the restart, ms: {}", cpu.as_secs_f64() * 1e3);
        println!("memory after it (RSS), bytes/entry: {}", grown(base)? / per);
        println!("of that the store, bytes/entry: {}", store / per);
        println!("of that the registry, bytes/entry: {}", state / per);
        matched(&registry)
    })
}

/// What a look-up by selectors costs.
fn matched(registry: &Registry) -> Outcome {
    const LOOKS: u32 = 10_000;
    let count = registry.read(|state| u32::try_from(state.entry_count()))?;
    let mut facts = Vec::new();
    for n in 0..LOOKS {
        let number = n.wrapping_mul(7_919) % count;
        let texts = draft(number).selectors;
        facts.push(
            texts
                .iter()
                .map(|text| Selector::parse(text))
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    let begin = Instant::now();
    let found: usize = registry.read(|state| facts.iter().map(|facts| state.matching(facts).len()).sum());
    let spent = begin.elapsed();
    if found != facts.len() {
        return Err(format!("{found} entries found for {LOOKS} workloads").into());
    }
    println!(
        "matching a workload's selectors, µs: {}",
        spent.as_secs_f64() * 1e6 / f64::from(LOOKS)
    );
    Ok(())
}

/// An entry as large fleets have it: 60 bytes of ID, one selector that all share, one of 34 bytes of its own.
fn draft(n: u32) -> NewEntry {
    let team = n.wrapping_mul(2_654_435_761) % 1_000;
    NewEntry {
        spiffe_id: format!("spiffe://example.org/ns/team-{team:04}/sa/service-{n:08}/ledger"),
        parent_id: Some(format!("spiffe://example.org/signet/node/join/{:08}", n % 3_334)),
        selectors: vec![
            "k8s:cluster:production-eu-west".to_owned(),
            format!("k8s:pod-label:app:service-{n:08}"),
        ],
        owner: format!("team-{team:04}"),
        ..NewEntry::default()
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

fn domain() -> Outcome<TrustDomain> {
    Ok(TrustDomain::parse("example.org")?)
}

fn database(dir: &Path) -> PathBuf {
    dir.join("state.db")
}

/// Resident memory of this process in bytes.
fn rss() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}

fn grown(base: f64) -> Outcome<f64> {
    Ok(rss()? - base)
}

/// Processor time of all threads of this process.
fn cpu_time() -> Outcome<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")?.flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat"))?;
        nanos += text
            .split_whitespace()
            .next()
            .ok_or("no schedstat")?
            .parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// A directory that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn make(path: PathBuf) -> Outcome<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn text(&self) -> Outcome<&str> {
        Ok(self.0.to_str().ok_or("a path that is no text")?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a few files in the directory that the caller named.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
